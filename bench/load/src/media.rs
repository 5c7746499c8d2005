//! Tracks that nobody filmed: packets of the right size at the right time, each with a stamp in its last bytes.
//!
//! The stamp is at the end because everything that servers look at, or write anew, is in front.

use std::time::{Duration, Instant};

/// Precedes each stamp, so that nothing else is taken for one.
const MARK: u64 = 0x6c6f_6164_2073_746d;
const STAMP_LEN: usize = 16;
/// A voice at 32 kbit/s.
const AUDIO_PAYLOAD_LEN: usize = 80;
/// What libwebrtc sends at most in a packet, less what it leaves for others to add.
const VIDEO_PAYLOAD_LEN: usize = 1100;

/// Writes a stamp: nanoseconds of the clock that the kernel stamps arrivals with.
fn stamp(payload: &mut [u8], now_ns: u64) {
    let at = payload.len() - STAMP_LEN;
    payload[at..at + 8].copy_from_slice(&MARK.to_be_bytes());
    payload[at + 8..].copy_from_slice(&now_ns.to_be_bytes());
}

/// Reads the stamp of a payload, if it has one.
pub fn stamped_at(payload: &[u8]) -> Option<u64> {
    let (mark, time) = payload.last_chunk::<STAMP_LEN>()?.split_at(8);
    (mark == MARK.to_be_bytes()).then(|| u64::from_be_bytes(time.try_into().expect("eight bytes")))
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Opus, 50 packets a second.
    Audio,
    /// VP8, 30 frames a second.
    Video,
}

impl Kind {
    fn interval(self) -> Duration {
        Duration::from_nanos(if self == Kind::Audio { 20_000_000 } else { 33_333_333 })
    }

    fn ticks(self) -> u32 {
        if self == Kind::Audio { 48_000 / 50 } else { 90_000 / 30 }
    }
}

/// One RTP packet to be.
pub struct Packet {
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The last of its frame.
    pub marker: bool,
    /// With its stamp.
    pub payload: Vec<u8>,
}

/// A track's clock and numbers.
pub struct Source {
    /// What it carries.
    pub kind: Kind,
    /// When its next frame is due.
    pub due_at: Instant,
    packets_per_frame: u32,
    is_keyframe_due: bool,
    seq: u64,
    timestamp: u32,
    picture_id: u16,
    /// Packets made so far.
    pub sent: u64,
}

impl Source {
    /// A track that begins at a time.
    pub fn new(kind: Kind, packets_per_frame: u32, begins_at: Instant) -> Self {
        let packets_per_frame = if kind == Kind::Audio { 1 } else { packets_per_frame.max(1) };
        // Any start below the first rollover, of which a receiver that comes late would know nothing.
        let (seq, timestamp, picture_id) = (1000, 90_000, 100);
        let (is_keyframe_due, sent) = (true, 0);
        Self { kind, due_at: begins_at, packets_per_frame, is_keyframe_due, seq, timestamp, picture_id, sent }
    }

    /// The next frame shows whole pictures.
    pub fn request_keyframe(&mut self) {
        self.is_keyframe_due = true;
    }

    /// Makes a frame's packets one by one, each stamped when it is made, and moves on to the next frame's time.
    pub fn make_frame(&mut self, now: Instant, now_ns: impl Fn() -> u64, mut send: impl FnMut(Packet)) {
        for index in 0..self.packets_per_frame {
            let mut payload = match self.kind {
                // TOC: SILK wideband, 20 ms, mono, one frame (RFC 6716 §3.1).
                Kind::Audio => with_head(AUDIO_PAYLOAD_LEN, &[0x48]),
                Kind::Video => with_head(VIDEO_PAYLOAD_LEN, &self.vp8_head(index == 0)),
            };
            stamp(&mut payload, now_ns());
            let marker = self.kind == Kind::Video && index + 1 == self.packets_per_frame;
            send(Packet { seq: self.seq, timestamp: self.timestamp, marker, payload });
            self.seq += 1;
            self.sent += 1;
        }
        self.is_keyframe_due = false;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(self.kind.ticks());
        self.due_at += self.kind.interval();
        // After a stop of the whole machine: what was missed is not made up for in one burst.
        if self.due_at + Duration::from_secs(1) < now {
            self.due_at = now;
        }
    }

    /// Payload descriptor with a picture id of 15 bits (RFC 7741 §4.2), and behind the first the frame's header (§4.3).
    fn vp8_head(&self, is_first: bool) -> Vec<u8> {
        let [high, low] = self.picture_id.to_be_bytes();
        let mut head = vec![if is_first { 0x90 } else { 0x80 }, 0x80, 0x80 | high, low];
        if is_first && self.is_keyframe_due {
            // P = 0 and shown, the start code, 1280 x 720.
            head.extend([0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
        } else if is_first {
            head.extend([0x11, 0, 0]);
        }
        head
    }
}

fn with_head(len: usize, head: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x5a; len];
    payload[..head.len()].copy_from_slice(head);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: &mut Source) -> Vec<Packet> {
        let mut packets = Vec::new();
        source.make_frame(source.due_at, || 77, |packet| packets.push(packet));
        packets
    }

    #[test]
    fn a_stamp_is_read_from_the_end_and_nothing_else_is_taken_for_one() {
        let packets = frame(&mut Source::new(Kind::Audio, 8, Instant::now()));
        assert_eq!(packets.len(), 1);
        assert_eq!(stamped_at(&packets[0].payload), Some(77));
        assert_eq!(stamped_at(&packets[0].payload[1..]), Some(77));
        assert_eq!(stamped_at(&packets[0].payload[..79]), None);
        assert_eq!(stamped_at(b"short"), None);
    }

    #[test]
    fn a_video_frame_is_a_train_with_one_timestamp_and_a_marker_at_its_end() {
        let mut source = Source::new(Kind::Video, 3, Instant::now());
        let first = frame(&mut source);
        let second = frame(&mut source);
        assert_eq!(first.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [false, false, true]);
        assert!(first.iter().all(|packet| packet.timestamp == first[0].timestamp && packet.payload.len() == 1100));
        assert_eq!(second[0].timestamp - first[0].timestamp, 3000);
        assert_eq!(second[0].seq, first[2].seq + 1);
    }

    #[test]
    fn a_keyframe_comes_first_and_when_asked_for() {
        let is_key = |packets: &[Packet]| packets[0].payload[4] & 1 == 0;
        let mut source = Source::new(Kind::Video, 2, Instant::now());
        assert!(is_key(&frame(&mut source)));
        assert!(!is_key(&frame(&mut source)));
        source.request_keyframe();
        assert!(is_key(&frame(&mut source)));
        assert!(!is_key(&frame(&mut source)));
    }

    #[test]
    fn time_that_was_missed_is_not_made_up_for() {
        let mut source = Source::new(Kind::Audio, 1, Instant::now());
        let late = source.due_at + Duration::from_secs(60);
        source.make_frame(late, || 0, drop);
        assert_eq!(source.due_at, late);
    }
}
