//! The H.265 payload format (RFC 7798), without DONL fields (`sprop-max-don-diff` of 0, as all WebRTC endpoints have
//! it): single NAL units, aggregation packets, fragmentation units.
//!
//! Only NAL unit headers are read: what is behind them may be encrypted end to end.

pub use super::nal::Units;

/// NAL unit types (H.265 table 7-1, RFC 7798 §4.4).
const TSA_N: u8 = 2;
const STSA_R: u8 = 5;
const FIRST_IRAP: u8 = 16;
const LAST_IRAP: u8 = 21;
const LAST_VCL: u8 = 31;
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const AGGREGATE: u8 = 48;
const FRAGMENT: u8 = 49;

/// Reads the NAL unit headers of a payload; none if it is cut off.
pub fn parse(payload: &[u8]) -> Option<Units> {
    let (&[first, second], rest) = payload.split_first_chunk()?;
    // nuh_temporal_id_plus1 is forbidden to be 0. Of an aggregate it is the lowest of all its units.
    let temporal = (second & 7).checked_sub(1)?;
    let units = match first >> 1 & 0x3F {
        AGGREGATE => parse_aggregate(rest)?,
        FRAGMENT => {
            let &header = rest.first()?;
            let (start, kind) = (header & 0x80 != 0, header & 0x3F);
            let unit = unit(kind);
            Units { opener: if start { unit.opener } else { 0 }, continues: !start, ..unit }
        }
        kind => unit(kind),
    };
    Some(Units { temporal, ..units })
}

/// A single NAL unit, its temporal layer aside.
fn unit(kind: u8) -> Units {
    Units {
        keyframe: matches!(kind, FIRST_IRAP..=LAST_IRAP | VPS | SPS | PPS),
        opener: match kind {
            VPS => 2,
            SPS => 1,
            _ => 0,
        },
        // TSA and STSA pictures both start their own layer; TSA the ones above it too.
        temporal_switch: matches!(kind, TSA_N..=STSA_R),
        ..Units::default()
    }
}

/// Several NAL units, each with its length in front (RFC 7798 §4.4.2).
fn parse_aggregate(mut rest: &[u8]) -> Option<Units> {
    let mut all = Units::default();
    let (mut has_irap, mut has_sets, mut has_other) = (false, false, false);
    while !rest.is_empty() {
        let (&len, tail) = rest.split_first_chunk::<2>()?;
        let (nal, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(len)))?;
        rest = tail;
        let Some(kind) = nal.first().map(|header| header >> 1 & 0x3F) else { continue };
        let unit = unit(kind);
        match kind {
            FIRST_IRAP..=LAST_IRAP => has_irap = true,
            0..=LAST_VCL => has_other = true,
            _ => has_sets |= unit.keyframe,
        }
        all.opener = all.opener.max(unit.opener);
        all.temporal_switch |= unit.temporal_switch;
    }
    // Some encoders repeat the parameter sets before every picture.
    all.keyframe = has_irap || has_sets && !has_other;
    if !all.keyframe {
        all.opener = 0;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A NAL unit header of this type and temporal layer.
    fn header(kind: u8, temporal: u8) -> [u8; 2] {
        [kind << 1, temporal + 1]
    }

    fn single(kind: u8, temporal: u8) -> Units {
        let [a, b] = header(kind, temporal);
        parse(&[a, b, 0xAF]).unwrap()
    }

    fn aggregate(kinds: &[u8]) -> Vec<u8> {
        let mut packet = header(AGGREGATE, 0).to_vec();
        for &kind in kinds {
            packet.extend([0, 3]);
            packet.extend(header(kind, 0));
            packet.push(0xAF);
        }
        packet
    }

    #[test]
    fn random_access_pictures_and_parameter_sets_are_keyframes() {
        for kind in 0..48 {
            let expected = (16..=21).contains(&kind) || (32..=34).contains(&kind);
            assert_eq!(single(kind, 0).keyframe, expected, "{kind}");
        }
        assert_eq!([32, 33, 34, 19].map(|kind| single(kind, 0).opener), [2, 1, 0, 0]);
    }

    #[test]
    fn the_temporal_layer_is_in_the_header() {
        for temporal in 0..7 {
            assert_eq!(single(1, temporal).temporal, temporal);
        }
        assert_eq!(parse(&[0x02, 0x00, 0xAF]), None, "a temporal id plus one of zero");
        let switches: Vec<_> = (0..32).filter(|&kind| single(kind, 1).temporal_switch).collect();
        assert_eq!(switches, [2, 3, 4, 5]);
    }

    #[test]
    fn an_aggregate_is_walked_to_its_end() {
        let sets = parse(&aggregate(&[VPS, SPS, PPS])).unwrap();
        assert!(sets.keyframe && sets.opener == 2);
        assert!(!parse(&aggregate(&[1, 1])).unwrap().keyframe);
        let repeated_sets = parse(&aggregate(&[VPS, SPS, PPS, 1])).unwrap();
        assert!(!repeated_sets.keyframe && repeated_sets.opener == 0);
        let good = aggregate(&[SPS, 19]);
        assert!(parse(&good).unwrap().keyframe);
        for len in [3, 5, 8, good.len() - 1] {
            assert_eq!(parse(&good[..len]), None, "{len}");
        }
    }

    #[test]
    fn fragments_tell_the_type_of_the_whole() {
        let [a, b] = header(FRAGMENT, 2);
        let first = parse(&[a, b, 0x80 | 0x13, 0xAF]).unwrap();
        assert!(first.keyframe && !first.continues && first.temporal == 2);
        let last = parse(&[a, b, 0x43, 0xAF]).unwrap();
        assert!(!last.keyframe && last.continues && last.temporal_switch);
        assert_eq!(parse(&[a, b]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), fragment: bool) {
            parse(&bytes);
            let mut packet = header(if fragment { FRAGMENT } else { AGGREGATE }, 0).to_vec();
            packet.extend(bytes);
            parse(&packet);
        }
    }
}
