//! Every oracle objects when its rule is broken: a check that cannot fail checks nothing.

use rtpcore_sim::links::Conditions;
use rtpcore_sim::media::Media;
use rtpcore_sim::oracle::Rule;
use rtpcore_sim::{Plan, Sabotage};

fn room(sabotage: Option<Sabotage>) -> Plan {
    let mut plan = Plan::new(7);
    plan.lasts_ms = 5_500;
    plan.sabotage = sabotage;
    let publisher = plan.peer(Conditions::CLEAN);
    let track = plan.track(publisher, Media::SIMULCAST);
    let watcher = plan.peer(Conditions::CLEAN);
    plan.view(watcher, track);
    plan
}

#[test]
fn an_honest_router_is_not_objected_to() {
    room(None).run().assert_sound("honest");
}

#[test]
fn each_sabotage_is_objected_to_by_its_rule() {
    for sabotage in Sabotage::ALL {
        let outcome = room(Some(sabotage)).run();
        let rules: &[Rule] = match sabotage {
            Sabotage::Withhold => &[Rule::Hole],
            Sabotage::WithholdAndClose => &[Rule::Whole, Rule::References],
            Sabotage::Repeat => &[Rule::NumberOnce, Rule::Order],
            Sabotage::ReuseNumber => &[Rule::IndexOnce],
            Sabotage::SkipNumber => &[Rule::Hole],
            Sabotage::TurnBackTime => &[Rule::Time],
            Sabotage::ChangePictureId => &[Rule::FrameNumber],
            Sabotage::FlipMarker => &[Rule::Marker],
            Sabotage::Garble => &[Rule::Readable],
            Sabotage::WithholdStart => &[Rule::Keyframe],
            Sabotage::ShiftReports => &[Rule::Clock],
            Sabotage::FallSilent => &[Rule::Seen],
            Sabotage::KeepPayloadType => &[Rule::Negotiated],
            Sabotage::Swap => &[Rule::Order],
        };
        for &rule in rules {
            assert!(outcome.breaks(rule), "{sabotage:?} goes unnoticed by {rule:?}: {:#?}", outcome.violations);
        }
    }
}
