//! The Opus payload (RFC 7587): its table of contents byte (RFC 6716 §3.1), for concealment and jitter buffers.

/// Samples of the 48 kHz RTP clock in the shortest frame, 2.5 ms.
const TICKS_2_5_MS: u32 = 120;
/// No packet is longer than 120 ms (RFC 6716 §3.2.5).
const MAX_TICKS: u32 = 48 * TICKS_2_5_MS;
/// Shorter payloads carry no sound: a header without frame, or with an empty one (RFC 6716 §2.1.9).
const MAX_DTX_LEN: usize = 2;

/// What the first bytes of an Opus packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Two channels.
    pub stereo: bool,
    /// How many frames there are, 0 to 48.
    pub frames: u8,
    /// How long one frame is, in ticks of the 48 kHz RTP clock: 120 to 2880.
    pub frame_ticks: u32,
    /// The encoder had nothing to say (discontinuous transmission).
    pub is_dtx: bool,
}

impl Contents {
    /// How long the packet is, in ticks of the 48 kHz RTP clock: at most 5760.
    pub const fn ticks(&self) -> u32 {
        self.frames as u32 * self.frame_ticks
    }
}

/// Reads the first bytes of an Opus packet; none if it is empty, lacks its frame count, or is longer than 120 ms.
pub fn parse(payload: &[u8]) -> Option<Contents> {
    let &toc = payload.first()?;
    let config = toc >> 3;
    let frame_ticks = TICKS_2_5_MS
        * match (config, config & 3) {
            (0..12, 3) => 24,
            (0..12, size) => 4 << size,
            (12..16, size) => 4 << (size & 1),
            (_, size) => 1 << size,
        };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => payload.get(1)? & 0x3F,
    };
    let contents = Contents { stereo: toc & 4 != 0, frames, frame_ticks, is_dtx: payload.len() <= MAX_DTX_LEN };
    (contents.ticks() <= MAX_TICKS).then_some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_configuration_has_the_length_of_the_rfc() {
        // RFC 6716 table 2, in tenths of milliseconds.
        let expected: Vec<u32> = [[100, 200, 400, 600]; 3]
            .concat()
            .into_iter()
            .chain([[100, 200]; 2].concat())
            .chain([[25, 50, 100, 200]; 4].concat())
            .collect();
        let got: Vec<_> = (0..32).map(|config| parse(&[config << 3, 1, 2, 3]).unwrap().ticks() * 10 / 48).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn frames_are_counted_by_code() {
        // Config 31: CELT, full band, 20 ms; stereo.
        let count = |code: u8, second: u8| parse(&[0xFC | code, second, 0, 0]).map(|c| c.frames);
        assert_eq!([count(0, 9), count(1, 9), count(2, 9), count(3, 0x86)], [Some(1), Some(2), Some(2), Some(6)]);
        assert_eq!(count(3, 7), None, "140 ms");
        assert_eq!(parse(&[0xFF]), None, "no frame count");
        assert_eq!(parse(&[]), None);
        assert!(parse(&[0xFC, 0, 0]).unwrap().stereo && !parse(&[0xF8, 0, 0]).unwrap().stereo);
    }

    #[test]
    fn two_bytes_are_silence_and_three_are_sound() {
        assert!(parse(&[0xF8]).unwrap().is_dtx);
        assert!(parse(&[0xF8, 0xFF]).unwrap().is_dtx);
        assert!(!parse(&[0xF8, 0xFF, 0xFE]).unwrap().is_dtx);
    }

    proptest! {
        #[test]
        fn no_packet_is_longer_than_120_ms(bytes in prop::collection::vec(any::<u8>(), 0..4)) {
            if let Some(contents) = parse(&bytes) {
                prop_assert!(contents.ticks() <= 5760 && contents.frame_ticks >= 120);
            }
        }
    }
}
