//! Asking a publisher for a keyframe: many wishes, few requests (PLI, RFC 4585 §6.3.1; FIR, RFC 5104 §4.3.1).

use core::time::Duration;

use crate::parameters::CodecParameters;
use crate::time::Time;

/// The usual time between two requests: a keyframe costs the publisher as much as seconds of video.
pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(500);

/// How often an unanswered request is repeated before it is dropped: a publisher that ignores ten is not sending.
pub const MAX_TRIES: u8 = 10;

/// How a keyframe is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyframeRequest {
    /// Picture loss indication.
    Pli,
    /// Full intra request with its command number, the same in repeats.
    Fir {
        /// Counts the requests, modulo 256.
        sequence_number: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Pli,
    Fir,
}

/// The wishes for a keyframe of one encoding, merged.
#[derive(Clone, Debug)]
pub struct KeyframeRequests {
    /// None where the publisher negotiated neither.
    method: Option<Method>,
    interval: Duration,
    /// Set while a keyframe is wished for and has not begun to arrive.
    due_at: Time,
    tries: u8,
    last_sent_at: Option<Time>,
    sequence_number: u8,
}

impl KeyframeRequests {
    /// Nobody wishes. PLI where negotiated, else FIR; `interval` is the shortest time between two requests.
    pub fn new(codec: &CodecParameters, interval: Duration) -> Self {
        let method = match (codec.pli, codec.fir) {
            (true, _) => Some(Method::Pli),
            (false, true) => Some(Method::Fir),
            (false, false) => None,
        };
        Self { method, interval, due_at: Time::NEVER, tries: 0, last_sent_at: None, sequence_number: 0 }
    }

    /// Somebody needs a keyframe. Merged with a wish that is still open.
    pub fn request(&mut self, now: Time) {
        if self.method.is_none() || self.is_wanted() {
            return;
        }
        self.tries = 0;
        self.due_at = self.last_sent_at.map_or(now, |sent_at| now.max(sent_at + self.interval));
    }

    /// A keyframe begins to arrive: all wishes so far are granted.
    pub fn handle_keyframe(&mut self) {
        self.due_at = Time::NEVER;
    }

    /// The request to send at `now`, if one is due; it counts as sent. `rtt` is the round trip if known.
    ///
    /// Repeats wait for the interval, and for the answer to have had time to come.
    pub fn poll(&mut self, now: Time, rtt: Option<Duration>) -> Option<KeyframeRequest> {
        if !self.due_at.is_due(now) {
            return None;
        }
        let method = self.method?;
        if self.tries == 0 && method == Method::Fir {
            self.sequence_number = self.sequence_number.wrapping_add(1);
        }
        self.tries += 1;
        self.last_sent_at = Some(now);
        let answer_takes = rtt.unwrap_or_default().saturating_mul(3) / 2;
        self.due_at = if self.tries < MAX_TRIES { now + self.interval.max(answer_takes) } else { Time::NEVER };
        Some(match method {
            Method::Pli => KeyframeRequest::Pli,
            Method::Fir => KeyframeRequest::Fir { sequence_number: self.sequence_number },
        })
    }

    /// When a request is due, [`Time::NEVER`] while none is open.
    pub fn deadline(&self) -> Time {
        self.due_at
    }

    /// Whether a wish is open.
    pub fn is_wanted(&self) -> bool {
        self.due_at != Time::NEVER
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::Codec;
    use crate::units::Pt;

    fn requests(pli: bool, fir: bool) -> KeyframeRequests {
        let codec = CodecParameters {
            codec: Codec::Vp8,
            payload_type: Pt(96),
            clock_rate: 90_000,
            format: 0,
            rtx: None,
            nack: true,
            pli,
            fir,
            transport_cc: true,
            remb: false,
        };
        KeyframeRequests::new(&codec, DEFAULT_INTERVAL)
    }

    fn sent(requests: &mut KeyframeRequests, from: u64, to: u64) -> Vec<u64> {
        (from..to).filter(|&now| requests.poll(Time::from_millis(now), None).is_some()).collect()
    }

    #[test]
    fn wishes_of_one_interval_are_one_request() {
        let mut requests = requests(true, true);
        assert_eq!(sent(&mut requests, 0, 100), []);
        for now in 100..150 {
            requests.request(Time::from_millis(now));
        }
        assert_eq!(requests.poll(Time::from_millis(150), None), Some(KeyframeRequest::Pli));
        requests.handle_keyframe();
        requests.request(Time::from_millis(200));
        assert_eq!(requests.deadline(), Time::from_millis(650), "not before the interval is over");
        assert_eq!(sent(&mut requests, 200, 1000), [650]);
    }

    #[test]
    fn a_keyframe_grants_what_is_held_back() {
        let mut requests = requests(true, false);
        requests.request(Time::ZERO);
        assert_eq!(sent(&mut requests, 0, 1), [0]);
        requests.handle_keyframe();
        requests.request(Time::from_millis(1));
        requests.handle_keyframe();
        assert_eq!((requests.deadline(), requests.is_wanted()), (Time::NEVER, false));
    }

    #[test]
    fn repeats_ten_times_and_then_waits_to_be_asked() {
        let mut requests = requests(true, false);
        requests.request(Time::ZERO);
        assert_eq!(sent(&mut requests, 0, 20_000), (0..10).map(|i| i * 500).collect::<Vec<_>>());
        requests.request(Time::from_millis(20_000));
        assert_eq!(sent(&mut requests, 20_000, 20_400), [20_000]);
    }

    #[test]
    fn a_repeat_waits_for_the_answer_to_arrive() {
        let mut requests = requests(true, false);
        requests.request(Time::ZERO);
        requests.poll(Time::ZERO, Some(Duration::from_millis(600)));
        assert_eq!(requests.deadline(), Time::from_millis(900));
    }

    #[test]
    fn fir_counts_commands_and_not_repeats() {
        let mut requests = requests(false, true);
        let mut numbers = Vec::new();
        requests.request(Time::ZERO);
        for now in [0, 500, 1000, 1500] {
            if now == 1000 {
                requests.handle_keyframe();
                requests.request(Time::from_millis(now));
            }
            numbers.push(requests.poll(Time::from_millis(now), None));
        }
        let fir = |sequence_number| Some(KeyframeRequest::Fir { sequence_number });
        assert_eq!(numbers, [fir(1), fir(1), fir(2), fir(2)]);
    }

    #[test]
    fn without_feedback_nothing_is_asked() {
        let mut requests = requests(false, false);
        requests.request(Time::ZERO);
        assert_eq!((requests.deadline(), requests.poll(Time::ZERO, None)), (Time::NEVER, None));
    }

    proptest! {
        /// However many wish, requests are an interval apart and every wish is answered by a request within one.
        #[test]
        fn requests_are_an_interval_apart(wishes in prop::collection::btree_map(0u64..5000, prop::bool::weighted(0.2), 1..200)) {
            let mut requests = requests(true, false);
            let mut sent = Vec::new();
            let mut waiting_since = None;
            for now in 0..6000 {
                match wishes.get(&now) {
                    Some(true) => {
                        requests.handle_keyframe();
                        waiting_since = None;
                    }
                    Some(false) => {
                        requests.request(Time::from_millis(now));
                        waiting_since = waiting_since.or(Some(now));
                    }
                    None => {}
                }
                if requests.poll(Time::from_millis(now), None).is_some() {
                    prop_assert!(sent.last().is_none_or(|last| now - last >= 500));
                    sent.push(now);
                    waiting_since = None;
                }
                prop_assert!(waiting_since.is_none_or(|since| now - since < 500));
            }
        }
    }
}
