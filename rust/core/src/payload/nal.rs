//! What H.264 and H.265 have in common: neither payload format says which packet starts a frame.

/// What the NAL units in one packet are, as far as forwarding cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// A picture from which a decoder can start, or parameter sets before one.
    pub keyframe: bool,
    /// The rank of the parameter set that opens a keyframe here: 1 a sequence's, 2 (H.265 only) a video's, 0 none.
    pub opener: u8,
    /// Not the first fragment of a NAL unit: no frame can start here.
    pub continues: bool,
    /// Temporal layer, 0 to 6 (H.265 only).
    pub temporal: u8,
    /// A decoder of the lower temporal layers can follow this one from here on (H.265 only).
    pub temporal_switch: bool,
}

/// Whether a timestamp is not newer than the newest seen: the same frame, or a straggler.
///
/// A step back of more than ten seconds (at the 90 kHz of all video) is no reordering: the publisher started anew.
pub(super) const fn is_seen(timestamp: u32, newest: u32) -> bool {
    newest.wrapping_sub(timestamp) <= 10 * 90_000
}

/// Where frames start in a stream of NAL units.
///
/// The first packet with a new timestamp starts a frame. Not so in a keyframe: if its parameter sets are lost and come
/// as a retransmission, starting a subscriber at the picture behind them gives it nothing to decode. So a keyframe starts
/// at them, whenever they come; they must come in band (RFC 7742 §6.2), and no description hands them on.
#[derive(Clone, Debug)]
pub(super) struct FrameStarts {
    newest: Option<u32>,
    /// The keyframe whose opening parameter set came.
    opened: Option<u32>,
    /// The rank of the parameter set that opens a keyframe of this format, see [`Units::opener`].
    opener: u8,
}

impl FrameStarts {
    /// Of a format whose keyframes are opened by parameter sets of this rank.
    pub(super) const fn new(opener: u8) -> Self {
        Self { newest: None, opened: None, opener }
    }

    /// Whether the packet with these units starts a frame.
    pub(super) fn is_start(&mut self, units: Units, timestamp: u32) -> bool {
        let is_new = self.newest.is_none_or(|newest| !is_seen(timestamp, newest));
        if is_new {
            self.newest = Some(timestamp);
        }
        if units.opener == self.opener {
            let is_first = self.opened != Some(timestamp);
            self.opened = Some(timestamp);
            return is_first;
        }
        is_new && !units.continues && !units.keyframe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Units = Units { keyframe: false, opener: 0, continues: false, temporal: 0, temporal_switch: false };
    const IDR: Units = Units { keyframe: true, ..SLICE };
    const SPS: Units = Units { keyframe: true, opener: 1, ..SLICE };
    const VPS: Units = Units { keyframe: true, opener: 2, ..SLICE };

    #[test]
    fn a_new_timestamp_starts_a_frame_once() {
        let mut starts = FrameStarts::new(1);
        assert!(starts.is_start(SLICE, 0xFFFF_F000));
        assert!(!starts.is_start(SLICE, 0xFFFF_F000));
        assert!(starts.is_start(SLICE, 2000), "across the wrap");
        assert!(!starts.is_start(SLICE, 0xFFFF_F000), "a straggler");
        assert!(!starts.is_start(Units { continues: true, ..SLICE }, 5000), "its first packet was lost");
    }

    #[test]
    fn ten_seconds_back_is_a_new_beginning() {
        let mut starts = FrameStarts::new(1);
        assert!(starts.is_start(SLICE, 5_000_000));
        assert!(!starts.is_start(SLICE, 4_100_000));
        assert!(starts.is_start(SLICE, 4_099_999));
    }

    #[test]
    fn a_keyframe_starts_at_its_parameter_sets_even_when_they_come_late() {
        let mut starts = FrameStarts::new(1);
        assert!(!starts.is_start(IDR, 0), "those of the first are lost");
        assert!(starts.is_start(SPS, 3000));
        assert!(!starts.is_start(IDR, 3000));
        // The next one's are lost, and retransmitted after the frame behind it began.
        assert!(!starts.is_start(IDR, 6000));
        assert!(starts.is_start(SLICE, 9000));
        assert!(starts.is_start(SPS, 6000));
        assert!(!starts.is_start(SPS, 6000), "told once");
    }

    #[test]
    fn a_stream_with_video_parameter_sets_starts_there() {
        let mut starts = FrameStarts::new(2);
        assert!(!starts.is_start(SPS, 0), "its VPS is missing");
        assert!(starts.is_start(VPS, 3000));
        assert!(!starts.is_start(SPS, 3000));
    }
}
