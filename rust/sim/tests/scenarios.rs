//! Committed seeds: each room is small, and everything that comes out of it is judged.

use rtpcore_sim::links::Conditions;
use rtpcore_sim::media::Media;
use rtpcore_sim::{Act, Plan};

fn room(seed: u64, conditions: Conditions, watchers: usize, media: &[Media]) -> Plan {
    let mut plan = Plan::new(seed);
    let publisher = plan.peer(conditions);
    let tracks: Vec<_> = media.iter().map(|&media| plan.track(publisher, media)).collect();
    for _ in 0..watchers {
        let watcher = plan.peer(conditions);
        for &track in &tracks {
            plan.view(watcher, track);
        }
    }
    plan
}

#[test]
fn a_clean_room_of_one_and_five() {
    let plan = room(1, Conditions::CLEAN, 5, &[Media::SIMULCAST, Media::Opus]);
    let outcome = plan.run();
    outcome.assert_sound("clean");
    let _ = Act::Join;
}
