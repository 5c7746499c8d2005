//! What must hold on any network, whatever the figures of `bench/quality.txt` are: audio goes on, nobody is flooded, pictures
//! come back.

use rtpcore_sim::quality::{self, Figures, Scenario};

/// Every viewer of some scenarios of a family, with the number of its scenario.
fn viewers(family: &str, count: usize) -> Vec<(usize, Figures)> {
    let mut scenarios = quality::all();
    scenarios.retain(|scenario| scenario.family == family);
    assert!(scenarios.len() >= count, "{family} has {} scenarios", scenarios.len());
    let runs = scenarios.iter().take(count).enumerate();
    runs.flat_map(|(number, scenario)| scenario.run().viewers.into_iter().map(move |viewer| (number, viewer))).collect()
}

#[test]
fn there_are_two_hundred_scenarios_and_one_seed_is_one_run() {
    let scenarios = quality::all();
    assert_eq!(scenarios.len(), 200);
    let run = |scenario: &Scenario| scenario.run().viewers;
    let lossy = scenarios.iter().find(|scenario| scenario.family == "limited lossy").unwrap();
    assert_eq!(run(lossy), run(lossy));
}

#[test]
fn a_clean_link_costs_nothing_and_shows_everything() {
    for (number, it) in viewers("clean", 4) {
        assert!(it.repair == 0.0 && it.overflowed == 0.0 && it.audio_lost < 0.1, "{number}: {it:?}");
        assert!(it.padding < 0.5 && it.frozen_s == 0.0 && it.switches == Some(0.0), "{number}: {it:?}");
        assert!(it.used.unwrap() > 98.0 && it.first_frame_ms.unwrap() < 300.0, "{number}: {it:?}");
    }
}

#[test]
fn a_limited_link_is_used_without_a_queue_or_a_change() {
    let all = viewers("limited", 12);
    let used = all.iter().map(|(_, it)| it.used.unwrap()).sum::<f64>() / all.len() as f64;
    assert!(used > 85.0, "{used} % of the layers that fit");
    for (number, it) in all {
        assert!(it.queue_p95_ms < 100.0 && it.longest_over_s <= 1.0, "{number}: {it:?}");
        assert!(it.switches.unwrap() <= 8.0 && it.longest_silence_s < 0.5, "{number}: {it:?}");
        assert!(it.frozen_s < 2.0 && it.pauses == 0, "{number}: {it:?}");
    }
}

#[test]
fn audio_is_never_paused_and_video_is_before_audio_suffers() {
    for (number, it) in viewers("narrow", 5) {
        // The start, at a rate that is not known yet, fills the queue once.
        assert!(it.longest_silence_s < 0.7 && it.longest_over_s <= 1.5 && it.audio_lost < 5.0, "{number}: {it:?}");
    }
    for (number, it) in viewers("squeeze 80", 4) {
        assert!(it.longest_silence_s < 1.0 && it.pauses >= 1, "{number}: {it:?}");
    }
}

#[test]
fn the_full_picture_is_back_within_six_seconds() {
    for family in ["squeeze 600", "squeeze 80", "step up"] {
        for (number, it) in viewers(family, 5) {
            assert!(it.recovered_s.unwrap() <= 6.0, "{family} {number}: {it:?}");
            assert!(it.longest_over_s <= 2.5, "{family} {number}: {it:?}");
        }
    }
}

#[test]
fn loss_is_repaired_for_what_it_costs() {
    for (number, it) in viewers("loss 5 rtt 20", 4) {
        assert!(it.repair <= 15.0 && it.frozen_s < 1.5 && it.audio_lost < 0.5, "{number}: {it:?}");
        assert!(it.used.unwrap() > 90.0, "{number}: loss alone takes no picture away: {it:?}");
    }
    for (number, it) in viewers("lossy publisher", 3) {
        assert!(it.used.unwrap() > 95.0, "{number}: what a publisher loses is not the viewer's path: {it:?}");
    }
}

#[test]
fn those_who_share_a_link_with_others_get_through() {
    for family in ["beside tcp", "beside constant"] {
        for (number, it) in viewers(family, 3) {
            assert!(it.longest_silence_s < 0.5 && it.longest_gap_s < 2.0, "{family} {number}: {it:?}");
        }
    }
}
