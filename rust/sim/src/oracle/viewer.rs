//! What the people in the room see when the trouble is over.

use core::time::Duration;

use rtpcore_core::Time;
use rtpcore_core::send::Layer;

use super::{Rule, Violation};
use crate::media::{Media, Track};
use crate::peer::Shown;

/// How long after the last fault or wish everybody must have what they want: a keyframe request every half second, some of
/// which get lost.
pub const SETTLED: Duration = Duration::from_secs(4);

/// What is looked at.
const LAST: Duration = Duration::from_millis(1200);

/// What one viewer wants at the end of a run.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Its copy's number in the world.
    pub view: usize,
    /// The track.
    pub track: Track,
    /// The highest layer.
    pub most: Layer,
}

/// Checks that a viewer saw what it wanted in the last second before `end`; `late` is what it decoded too late to see it.
pub fn check(wish: &Wish, shown: &[Shown], late: &[Shown], end: Time) -> Option<Violation> {
    let is_own = |shown: &&Shown| end.since(shown.at) < LAST && shown.tag.track == wish.track.number;
    let own = shown.iter().filter(is_own);
    let object = |rule, what| Some(Violation { rule, view: wish.view, at: end, what });
    let media = wish.track.media;
    let expected = LAST.as_nanos() / u128::from(media.interval());
    let step = wish.most.spatial.min(media.steps() - 1);
    let temporal = wish.most.temporal.min(media.temporal() - 1);
    let (encoding, spatial) = if media.encodings() > 1 { (step, 0) } else { (0, step) };
    let rate = match (media.temporal(), temporal) {
        (3, 0) => expected / 4,
        (3, 1) | (2, 0) => expected / 2,
        _ => expected,
    };
    let count = own.clone().filter(|shown| shown.spatial == 0).count() as u128;
    // Some frames are under way, and some were lost on the way.
    if count * 10 < rate * 6 {
        return object(Rule::Seen, format!("{count} of {rate} frames of {media:?} in the last second"));
    }
    if media == Media::Opus {
        return None;
    }
    let is_layer = |shown: &&Shown| shown.tag.encoding == encoding && shown.spatial == spatial;
    // An upper layer is repaired when the lower ones have been shown, time after time where every other picture loses a
    // packet: it was sent all the same, and who waits for all layers sees it.
    let of_layer: Vec<_> = own.chain(late.iter().filter(is_own)).filter(is_layer).collect();
    let best = of_layer.iter().map(|shown| shown.temporal).max();
    if best != Some(temporal) || (of_layer.len() as u128) * 10 < rate * 6 {
        let what = format!(
            "wants {:?} of {media:?}, gets {} of {rate} frames up to rate {best:?}",
            Layer { spatial: step, temporal },
            of_layer.len()
        );
        return object(Rule::Layer, what);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Naming, Tag};

    fn thirty_a_second(encoding: u8, spatial: u8, temporal: impl Fn(u32) -> u8) -> Vec<Shown> {
        (0..300)
            .map(|n| Shown {
                at: Time::from_millis(u64::from(n) * 33),
                tag: Tag { track: 0, encoding, frame: n, part: 0 },
                spatial,
                temporal: temporal(n),
            })
            .collect()
    }

    fn judged(encoding: u8, temporal: impl Fn(u32) -> u8, until_ms: u64) -> Option<Rule> {
        let track = Track { number: 0, media: Media::SIMULCAST, has_rtx: true, naming: Naming::Ssrc };
        let wish = Wish { view: 0, track, most: Layer { spatial: 2, temporal: 2 } };
        let mut shown = thirty_a_second(encoding, 0, temporal);
        shown.retain(|shown| shown.at < Time::from_millis(until_ms));
        check(&wish, &shown, &[], Time::from_millis(9_900)).map(|violation| violation.rule)
    }

    #[test]
    fn a_viewer_who_has_it_all_is_content() {
        assert_eq!(judged(2, |n| u8::try_from(n % 3).unwrap(), 99_999), None);
    }

    #[test]
    fn a_stream_gone_quiet_is_objected_to() {
        assert_eq!(judged(2, |n| u8::try_from(n % 3).unwrap(), 9_000), Some(Rule::Seen));
    }

    #[test]
    fn a_layer_that_is_always_repaired_too_late_to_be_shown_is_sent() {
        let media = Media::Av1 { spatial: 2, temporal: 1 };
        let track = Track { number: 0, media, has_rtx: true, naming: Naming::Ssrc };
        let wish = Wish { view: 0, track, most: Layer { spatial: 1, temporal: 0 } };
        let [shown, late] = [0, 1].map(|spatial| thirty_a_second(0, spatial, |_| 0));
        let rule = |late| check(&wish, &shown, late, Time::from_millis(9_900)).map(|violation| violation.rule);
        assert_eq!((rule(&late), rule(&[])), (None, Some(Rule::Layer)));
    }

    #[test]
    fn another_layer_than_the_one_wanted_is_objected_to() {
        assert_eq!(judged(1, |n| u8::try_from(n % 3).unwrap(), 99_999), Some(Rule::Layer));
        assert_eq!(judged(2, |_| 1, 99_999), Some(Rule::Layer));
    }
}
