//! The H.264 payload format (RFC 6184), packetization modes 0 and 1: single NAL units, STAP-A, FU-A.
//!
//! Only NAL unit headers are read: what is behind them may be encrypted end to end. The format knows no temporal
//! layers; those come with the dependency descriptor.

pub use super::nal::Units;

/// NAL unit types (RFC 6184 §5.2, H.264 table 7-1).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Reads the NAL unit headers of a payload; none if it is empty or cut off.
pub fn parse(payload: &[u8]) -> Option<Units> {
    let (&first, rest) = payload.split_first()?;
    match first & 0x1F {
        STAP_A => parse_aggregate(rest),
        FU_A => {
            let &header = rest.first()?;
            let (start, kind) = (header & 0x80 != 0, header & 0x1F);
            // A parameter set in fragments is unheard of, but only its first fragment could open a frame.
            Some(Units { opener: u8::from(start && kind == SPS), continues: !start, ..unit(kind) })
        }
        kind => Some(unit(kind)),
    }
}

/// A single NAL unit. A PPS alone is read as a part of a keyframe: encoders that send it in packets of its own send it
/// between SPS and IDR.
fn unit(kind: u8) -> Units {
    Units { keyframe: matches!(kind, IDR | SPS | PPS), opener: u8::from(kind == SPS), ..Units::default() }
}

/// Several NAL units, each with its length in front (RFC 6184 §5.7.1).
fn parse_aggregate(mut rest: &[u8]) -> Option<Units> {
    let (mut has_idr, mut has_sps, mut has_slice) = (false, false, false);
    while !rest.is_empty() {
        let (&len, tail) = rest.split_first_chunk::<2>()?;
        let (nal, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(len)))?;
        match nal.first().map(|header| header & 0x1F) {
            Some(IDR) => has_idr = true,
            Some(SPS) => has_sps = true,
            Some(1..=4) => has_slice = true,
            _ => {}
        }
        rest = tail;
    }
    // Some encoders repeat the parameter sets before every picture.
    let keyframe = has_idr || has_sps && !has_slice;
    Some(Units { keyframe, opener: u8::from(keyframe && has_sps), ..Units::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_units_are_told_by_their_type() {
        for (header, keyframe, opener) in
            [(0x41, false, 0), (0x65, true, 0), (0x67, true, 1), (0x68, true, 0), (0x06, false, 0), (0x09, false, 0)]
        {
            let got = parse(&[header, 0x88, 0x84]).unwrap();
            assert_eq!((got.keyframe, got.opener, got.continues), (keyframe, opener, false), "{header:#x}");
        }
    }

    fn aggregate(nals: &[&[u8]]) -> Vec<u8> {
        let mut packet = vec![0x78];
        for nal in nals {
            packet.extend(u16::try_from(nal.len()).unwrap().to_be_bytes());
            packet.extend(*nal);
        }
        packet
    }

    #[test]
    fn an_aggregate_is_walked_to_its_end() {
        let sps_pps = parse(&aggregate(&[&[0x67, 0x42, 0xC0, 0x1F], &[0x68, 0xCE]])).unwrap();
        assert!(sps_pps.keyframe && sps_pps.opener == 1);
        let sei_idr = parse(&aggregate(&[&[0x06, 5], &[0x65, 0x88]])).unwrap();
        assert!(sei_idr.keyframe && sei_idr.opener == 0);
        let two_slices = parse(&aggregate(&[&[0x41, 1], &[0x41, 2]])).unwrap();
        assert!(!two_slices.keyframe);
        let repeated_sets = parse(&aggregate(&[&[0x67, 0x42], &[0x68, 0xCE], &[0x41, 1]])).unwrap();
        assert!(!repeated_sets.keyframe && repeated_sets.opener == 0);
    }

    #[test]
    fn a_length_beyond_the_packet_is_refused() {
        let good = aggregate(&[&[0x67, 0x42], &[0x65, 0x88]]);
        assert!(parse(&good).is_some());
        for len in [2, 4, 6, good.len() - 1] {
            assert_eq!(parse(&good[..len]), None, "{len}");
        }
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x7C]), None, "no FU header");
    }

    #[test]
    fn fragments_tell_the_type_of_the_whole() {
        let first = parse(&[0x7C, 0x85, 0x88]).unwrap();
        assert!(first.keyframe && !first.continues);
        let middle = parse(&[0x7C, 0x05, 0x88]).unwrap();
        assert!(middle.keyframe && middle.continues);
        let last_of_slice = parse(&[0x5C, 0x41, 0x9A]).unwrap();
        assert!(!last_of_slice.keyframe && last_of_slice.continues);
        assert_eq!(parse(&[0x7C, 0x87, 0x42]).unwrap().opener, 1);
        assert_eq!(parse(&[0x7C, 0x47, 0x42]).unwrap().opener, 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), kind: u8) {
            parse(&bytes);
            let mut bytes = bytes;
            bytes.insert(0, if kind % 2 == 0 { 0x78 } else { 0x7C });
            parse(&bytes);
        }
    }
}
