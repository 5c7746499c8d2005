//! The AV1 RTP payload: its aggregation header (AV1 RTP payload specification §4.4) and the OBU headers behind it.
//!
//! For streams without a dependency descriptor, or whose structure is lost: with one, nothing here is looked at.

use super::vp8::take;

/// OBU types (AV1 specification §6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const METADATA: u8 = 5;
const PADDING: u8 = 15;

/// OBU elements looked at before a picture's own must have come.
const MAX_ELEMENTS: usize = 16;

/// The start of an AV1 payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Z: begins with the rest of an OBU of the packet before.
    pub continues: bool,
    /// Y: ends with an OBU that the next packet continues.
    pub continued: bool,
    /// N: first packet of a coded video sequence.
    pub new_sequence: bool,
    /// A sequence header is in the packet: a keyframe follows.
    pub sequence_header: bool,
    /// Temporal (0 to 7) and spatial layer (0 to 3) of the first OBU that has them.
    pub layer: Option<(u8, u8)>,
}

/// Reads the aggregation header and OBU headers up to the first of a picture; none if an element is cut off.
pub fn parse(payload: &[u8]) -> Option<Payload> {
    let mut rest = payload;
    let first = take(&mut rest)?;
    let mut got = Payload {
        continues: first & 0x80 != 0,
        continued: first & 0x40 != 0,
        new_sequence: first & 0x08 != 0,
        sequence_header: false,
        layer: None,
    };
    if rest.is_empty() {
        return None;
    }
    let count = usize::from(first >> 4 & 3);
    for i in 0..MAX_ELEMENTS {
        // W tells how many elements there are, and then the last goes without its length.
        let len = if i + 1 == count { rest.len() } else { take_leb128(&mut rest)? };
        let (element, tail) = rest.split_at_checked(len)?;
        rest = tail;
        if (i > 0 || !got.continues) && got.read_obu(element) || rest.is_empty() {
            break;
        }
    }
    Some(got)
}

impl Payload {
    /// Reads one OBU header; true if it belongs to a picture, so that no header can follow that matters.
    fn read_obu(&mut self, obu: &[u8]) -> bool {
        let Some(&header) = obu.first() else { return false };
        if let (true, Some(&extension)) = (header & 0x04 != 0, obu.get(1)) {
            self.layer.get_or_insert((extension >> 5, extension >> 3 & 3));
        }
        match header >> 3 & 0xF {
            SEQUENCE_HEADER => self.sequence_header = true,
            TEMPORAL_DELIMITER | METADATA | PADDING => {}
            _ => return true,
        }
        false
    }
}

/// Takes a length in groups of seven bits, lowest first, off the front; none beyond 32 bits (AV1 specification
/// §4.10.5).
fn take_leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for group in 0..8 {
        let byte = take(rest)?;
        value |= u64::from(byte & 0x7F) << (group * 7);
        if byte & 0x80 == 0 {
            return usize::try_from(u32::try_from(value).ok()?).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: u8 = 6;

    /// An OBU without size field, with an extension for layers above zero.
    fn obu(kind: u8, layer: Option<(u8, u8)>, body: usize) -> Vec<u8> {
        let mut bytes = vec![kind << 3 | if layer.is_some() { 4 } else { 0 }];
        bytes.extend(layer.map(|(temporal, spatial)| temporal << 5 | spatial << 3));
        bytes.resize(bytes.len() + body, 0xDD);
        bytes
    }

    /// A payload of these elements: with W if there are up to three and `counted`, else with every length.
    fn packet(flags: u8, elements: &[Vec<u8>], counted: bool) -> Vec<u8> {
        let counted = counted && elements.len() <= 3;
        let mut bytes = vec![flags | if counted { u8::try_from(elements.len()).unwrap() << 4 } else { 0 }];
        for (i, element) in elements.iter().enumerate() {
            if !(counted && i + 1 == elements.len()) {
                let len = u8::try_from(element.len()).unwrap();
                if len < 128 { bytes.push(len) } else { bytes.extend([len, 1]) }
            }
            bytes.extend(element);
        }
        bytes
    }

    #[test]
    fn a_new_sequence_is_told_by_n_and_by_its_header() {
        for counted in [true, false] {
            let elements = [obu(SEQUENCE_HEADER, None, 10), obu(FRAME, None, 200)];
            let got = parse(&packet(0x48, &elements, counted)).unwrap();
            assert!(got.new_sequence && got.sequence_header && !got.continues && got.continued);
            assert_eq!(got.layer, None);
        }
        let plain = parse(&packet(0, &[obu(FRAME, None, 3)], true)).unwrap();
        assert!(!plain.new_sequence && !plain.sequence_header);
    }

    #[test]
    fn layers_come_from_the_first_extension() {
        let elements = [obu(METADATA, None, 3), obu(FRAME, Some((2, 1)), 3), obu(FRAME, Some((2, 2)), 3)];
        assert_eq!(parse(&packet(0, &elements, true)).unwrap().layer, Some((2, 1)));
        assert_eq!(parse(&packet(0, &elements, false)).unwrap().layer, Some((2, 1)));
    }

    #[test]
    fn the_rest_of_a_fragment_is_not_read_as_a_header() {
        // The continued element would read as a sequence header.
        let got = parse(&packet(0x80, &[obu(SEQUENCE_HEADER, Some((1, 1)), 3)], true)).unwrap();
        assert!(got.continues && !got.sequence_header && got.layer.is_none());
        let got = parse(&packet(0x80, &[vec![0xAA; 5], obu(FRAME, Some((1, 1)), 3)], true)).unwrap();
        assert_eq!(got.layer, Some((1, 1)));
    }

    #[test]
    fn sixteen_elements_are_looked_at() {
        let sequence_after = |count: usize| {
            let mut elements = vec![obu(METADATA, None, 2); count];
            elements.push(obu(SEQUENCE_HEADER, None, 10));
            elements.push(obu(FRAME, None, 10));
            parse(&packet(0, &elements, false)).unwrap().sequence_header
        };
        assert!(sequence_after(MAX_ELEMENTS - 1));
        assert!(!sequence_after(MAX_ELEMENTS));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x10]), None, "a header and nothing else");
        assert_eq!(parse(&[0x20, 5, 0x08, 0, 0, 0]), None, "an element beyond the end");
        assert_eq!(parse(&[0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), None, "an endless length");
        assert_eq!(parse(&[0x00, 0x80, 0x80, 0x80, 0x80, 0x10]), None, "a length of 33 bits");
    }

    proptest! {
        #[test]
        fn the_last_header_before_the_picture_is_found(
            before in prop::collection::vec(prop::sample::select(vec![TEMPORAL_DELIMITER, METADATA, PADDING]), 0..10),
            sequence: bool, counted: bool, layer in prop::option::of((0_u8..8, 0_u8..4)),
        ) {
            let mut elements: Vec<_> = before.iter().map(|&kind| obu(kind, None, 2)).collect();
            if sequence {
                elements.push(obu(SEQUENCE_HEADER, None, 10));
            }
            elements.push(obu(FRAME, layer, 150));
            let got = parse(&packet(0, &elements, counted)).unwrap();
            prop_assert_eq!((got.sequence_header, got.layer), (sequence, layer));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            parse(&bytes);
        }
    }
}
