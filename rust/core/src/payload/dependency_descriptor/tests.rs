use proptest::prelude::*;

use super::*;

/// Bits in the order of the wire, written by other means than the code under test.
#[derive(Clone, Default)]
pub(crate) struct Bits(Vec<bool>);

impl Bits {
    pub(crate) fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    /// `ns(n)`, by the table in the AV1 specification: the first m values take one bit less.
    fn put_below(&mut self, value: u32, count: u32) -> &mut Self {
        let width = u32::BITS - count.leading_zeros();
        let short = (1 << width) - count;
        if value < short { self.put(value, width - 1) } else { self.put(value + short, width) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.chunks(8).map(|chunk| (0..8).fold(0, |b, i| b << 1 | u8::from(chunk.get(i) == Some(&true)))).collect()
    }
}

/// A template in the notation of the AV1 RTP specification: layers, DTIs, frame differences, chain differences.
pub(crate) type TemplateText = (u8, u8, String, Vec<u16>, Vec<u8>);

/// A structure to be written.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) offset: u8,
    pub(crate) templates: Vec<TemplateText>,
    pub(crate) protected_by: Vec<u8>,
    pub(crate) resolutions: Vec<(u16, u16)>,
}

pub(crate) fn template(spatial: u8, temporal: u8, dtis: &str, fdiffs: &[u16], chains: &[u8]) -> TemplateText {
    (spatial, temporal, dtis.to_owned(), fdiffs.to_vec(), chains.to_vec())
}

fn dti(letter: char) -> u32 {
    "-DSR".find(letter).unwrap().try_into().unwrap()
}

impl Text {
    pub(crate) fn targets(&self) -> usize {
        self.templates[0].2.len()
    }

    fn write(&self, bits: &mut Bits) {
        let targets = u32::try_from(self.targets()).unwrap();
        bits.put(self.offset.into(), 6).put(targets - 1, 5);
        for pair in self.templates.windows(2) {
            let idc = match (pair[1].0 - pair[0].0, pair[1].1 == pair[0].1) {
                (1, _) => 2,
                (_, true) => 0,
                (_, false) => 1,
            };
            bits.put(idc, 2);
        }
        bits.put(3, 2);
        for letter in self.templates.iter().flat_map(|t| t.2.chars()) {
            bits.put(dti(letter), 2);
        }
        for (.., fdiffs, _) in &self.templates {
            for &fdiff in fdiffs {
                bits.put(1, 1).put(u32::from(fdiff) - 1, 4);
            }
            bits.put(0, 1);
        }
        let chains = self.templates[0].4.len().try_into().unwrap();
        bits.put_below(chains, targets + 1);
        if chains > 0 {
            for &chain in &self.protected_by {
                bits.put_below(chain.into(), chains);
            }
            for &chain in self.templates.iter().flat_map(|t| &t.4) {
                bits.put(chain.into(), 4);
            }
        }
        bits.put(u32::from(!self.resolutions.is_empty()), 1);
        for &(width, height) in &self.resolutions {
            bits.put(u32::from(width) - 1, 16).put(u32::from(height) - 1, 16);
        }
    }
}

/// A descriptor to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    pub(crate) start: bool,
    pub(crate) end: bool,
    pub(crate) template_id: u8,
    pub(crate) frame_number: u16,
    pub(crate) structure: Option<Text>,
    /// Mask and width.
    pub(crate) active: Option<(u32, u32)>,
    pub(crate) dtis: Option<String>,
    pub(crate) fdiffs: Option<Vec<u16>>,
    pub(crate) chains: Option<Vec<u8>>,
}

impl Packet {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(self.start.into(), 1).put(self.end.into(), 1);
        bits.put(self.template_id.into(), 6).put(self.frame_number.into(), 16);
        let flags = [
            self.structure.is_some(),
            self.active.is_some(),
            self.dtis.is_some(),
            self.fdiffs.is_some(),
            self.chains.is_some(),
        ];
        if !flags.contains(&true) {
            return bits.bytes();
        }
        for flag in flags {
            bits.put(flag.into(), 1);
        }
        if let Some(structure) = &self.structure {
            structure.write(&mut bits);
        }
        if let Some((mask, width)) = self.active {
            bits.put(mask, width);
        }
        for letter in self.dtis.iter().flat_map(|dtis| dtis.chars()) {
            bits.put(dti(letter), 2);
        }
        if let Some(fdiffs) = &self.fdiffs {
            for &fdiff in fdiffs {
                let size = if fdiff <= 16 {
                    1
                } else if fdiff <= 256 {
                    2
                } else {
                    3
                };
                bits.put(size, 2).put(u32::from(fdiff) - 1, size * 4);
            }
            bits.put(0, 2);
        }
        for &chain in self.chains.iter().flatten() {
            bits.put(chain.into(), 8);
        }
        bits.bytes()
    }
}

/// One spatial and three temporal layers.
pub(crate) fn l1t3(offset: u8) -> Text {
    Text {
        offset,
        templates: vec![
            template(0, 0, "SSS", &[], &[0]),
            template(0, 0, "SSS", &[4], &[4]),
            template(0, 1, "-DS", &[2], &[2]),
            template(0, 2, "--D", &[1], &[1]),
            template(0, 2, "--D", &[1], &[3]),
        ],
        protected_by: vec![0, 0, 0],
        resolutions: vec![(1280, 720)],
    }
}

fn read_header(bytes: &[u8]) -> Option<(Header<'_>, Option<Structure>)> {
    let mut structure = None;
    Some((Header::parse(bytes, &mut structure)?, structure))
}

fn parsed(text: &Text) -> Structure {
    let packet = Packet { start: true, template_id: text.offset, structure: Some(text.clone()), ..Packet::default() };
    read_header(&packet.write()).unwrap().1.unwrap()
}

/// The structure as it comes out of a packet, if it does.
fn read_structure(text: Text) -> Option<Structure> {
    read_header(&Packet { structure: Some(text), ..Packet::default() }.write())?.1
}

fn letters(indications: Indications, targets: u8) -> String {
    (0..targets)
        .map(|target| match indications.of(target) {
            Indication::NotPresent => '-',
            Indication::Discardable => 'D',
            Indication::Switch => 'S',
            Indication::Required => 'R',
        })
        .collect()
}

#[test]
fn three_bytes_are_a_whole_descriptor() {
    let (header, structure) = read_header(&[0x85, 0x12, 0x34]).unwrap();
    assert!(header.start_of_frame && !header.end_of_frame && !header.has_structure && structure.is_none());
    assert_eq!((header.template_id, header.frame_number), (5, 0x1234));
    let (end, _) = read_header(&[0x40, 0, 0]).unwrap();
    assert!(!end.start_of_frame && end.end_of_frame);
    assert!(read_header(&[0x80, 0x12]).is_none());
}

/// A structure of one layer, laid out by hand: no chains, one target, one template.
#[test]
fn the_smallest_structure_bit_by_bit() {
    #[rustfmt::skip]
    let bytes = [
        0b1100_0111, 0x00, 0x2A,
        0b1000_0000, // structure; template_id_offset 7 begins: 000
        0b1110_0000, // 111; dt_cnt_minus_one 00000
        0b1110_0000, // next_layer_idc 3, DTI S (2), no fdiff, chain_cnt 0 in one bit, no resolutions, padding
    ];
    let (header, structure) = read_header(&bytes).unwrap();
    let structure = structure.unwrap();
    assert_eq!((structure.templates().len(), structure.chain_count()), (1, 0));
    assert_eq!(structure.decode_targets().as_slice(), [(0, 0)]);
    let frame = header.frame(&structure).unwrap();
    assert_eq!(frame.indications.of(0), Indication::Switch);
    assert!(frame.references.as_slice().is_empty() && frame.chains.as_slice().is_empty());
    assert!(structure.template(6).is_none() && structure.template(8).is_none());
}

#[test]
fn templates_fill_in_what_the_packet_leaves_out() {
    let structure = parsed(&l1t3(62));
    assert_eq!(structure.decode_targets().as_slice(), [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(structure.resolutions(), Some(&[Resolution { width: 1280, height: 720 }][..]));
    assert_eq!(structure.protected_by(), [0, 0, 0]);
    // Ids wrap at 64: the third template has id 0.
    let frame = read_header(&[0xC0, 0, 9]).unwrap().0.frame(&structure).unwrap();
    assert_eq!((frame.spatial, frame.temporal), (0, 1));
    assert_eq!(letters(frame.indications, 3), "-DS");
    assert_eq!((frame.references.as_slice(), frame.chains.as_slice()), (&[2][..], &[2][..]));
    assert!(read_header(&[0xC3, 0, 9]).unwrap().0.frame(&structure).is_none(), "a sixth template");
}

#[test]
fn custom_fields_go_before_the_template() {
    let structure = parsed(&l1t3(0));
    let packet = Packet {
        template_id: 1,
        active: Some((0b011, 3)),
        dtis: Some("RD-".to_owned()),
        fdiffs: Some(vec![16, 17, 256, 257, 4096]),
        chains: Some(vec![255]),
        ..Packet::default()
    };
    let frame = read_header(&packet.write()).unwrap().0.frame(&structure).unwrap();
    assert_eq!(letters(frame.indications, 3), "RD-");
    assert_eq!(frame.references.as_slice(), [16, 17, 256, 257, 4096]);
    assert_eq!((frame.chains.as_slice(), frame.active), (&[255][..], Some(0b011)));
}

#[test]
fn sixteen_references_are_read_and_seventeen_are_not() {
    let structure = parsed(&l1t3(0));
    let frame = |count: usize| {
        let packet = Packet { fdiffs: Some(vec![1; count]), ..Packet::default() };
        read_header(&packet.write()).unwrap().0.frame(&structure)
    };
    assert_eq!(frame(MAX_REFERENCES).unwrap().references.as_slice().len(), MAX_REFERENCES);
    assert!(frame(MAX_REFERENCES + 1).is_none());
    let in_template = |count: usize| {
        let templates = vec![template(0, 0, "S", &vec![1; count], &[])];
        let text = Text { offset: 0, templates, protected_by: vec![], resolutions: vec![] };
        read_structure(text)
    };
    assert!(in_template(MAX_REFERENCES).is_some());
    assert!(in_template(MAX_REFERENCES + 1).is_none());
}

#[test]
fn layers_and_templates_have_an_end() {
    let with = |layers: Vec<(u8, u8)>| {
        let templates = layers.into_iter().map(|(s, t)| template(s, t, "S", &[], &[])).collect();
        let text = Text { offset: 0, templates, protected_by: vec![], resolutions: vec![] };
        read_structure(text)
    };
    assert!(with((0..4).map(|s| (s, 0)).collect()).is_some());
    assert!(with((0..5).map(|s| (s, 0)).collect()).is_none());
    assert!(with((0..8).map(|t| (0, t)).collect()).is_some());
    assert!(with((0..9).map(|t| (0, t)).collect()).is_none());
    assert_eq!(with(vec![(0, 0); 64]).unwrap().templates().len(), 64);
    assert!(with(vec![(0, 0); 65]).is_none());
}

#[test]
fn what_is_cut_off_is_refused_at_every_length() {
    let packet = Packet {
        structure: Some(l1t3(3)),
        template_id: 3,
        active: Some((7, 3)),
        fdiffs: Some(vec![300]),
        chains: Some(vec![200]),
        ..Packet::default()
    };
    let bytes = packet.write();
    let read = |bytes: &[u8]| {
        let (header, structure) = read_header(bytes)?;
        header.frame(&structure?)
    };
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len]), None, "{len}");
    }
    assert!(read(&bytes).is_some());
}

#[test]
fn a_cut_is_told_in_five_bytes_at_most() {
    let targets = parsed(&l1t3(0)).decode_targets();
    let active = targets.up_to(0, 1);
    assert_eq!(active, ActiveTargets { mask: 0b011, count: 3 });
    let mut out = [0; 8];
    let len = write(&[0xC2, 0xFF, 0xFF], 2, Some(active), &mut out).unwrap();
    assert_eq!(out[..len], [0xC2, 0x00, 0x01, 0b0100_0011]);
    let widest = ActiveTargets { mask: u32::MAX, count: 32 };
    assert_eq!(write(&[0xC2, 0xFF, 0xFF], 2, Some(widest), &mut out), Some(8));
    assert_eq!(write(&[0xC2, 0xFF, 0xFF], 2, Some(widest), &mut out[..7]), None);
    assert_eq!(write(&[0xC2, 0xFF, 0xFF], 2, None, &mut out), Some(3));
    assert_eq!(out[..3], [0xC2, 0x00, 0x01]);
    assert_eq!(write(&[0xC2, 0xFF], 2, None, &mut out), None);
}

#[test]
fn a_mask_of_the_publisher_is_replaced_where_it_lies() {
    let packet = Packet {
        structure: Some(l1t3(0)),
        active: Some((0b111, 3)),
        fdiffs: Some(vec![5]),
        frame_number: 10,
        ..Packet::default()
    };
    // The structure in the packet decides the width, not the caller.
    let active = ActiveTargets { mask: 0b001, count: 9 };
    let mut out = [0; 64];
    let len = write(&packet.write(), 1, Some(active), &mut out).unwrap();
    let expected = Packet { active: Some((0b001, 3)), frame_number: 11, ..packet };
    assert_eq!(out[..len], expected.write());
}

prop_compose! {
    fn any_dtis(targets: usize)(letters in prop::collection::vec(prop::sample::select(vec!['-', 'D', 'S', 'R']), targets))
        -> String
    {
        letters.into_iter().collect()
    }
}

prop_compose! {
    fn any_text()(targets in 1_usize..=32, templates in 1_usize..=12)(
        offset in 0_u8..64,
        steps in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 1, 1, 2]), templates),
        dtis in prop::collection::vec(any_dtis(targets), templates),
        fdiffs in prop::collection::vec(prop::collection::vec(1_u16..=16, 0..5), templates),
        chains in 0..=targets,
        chain_seed in prop::collection::vec(0_u8..16, 32 * 12),
        protected in prop::collection::vec(any::<u8>(), targets),
        sizes in prop::option::of((1_u16.., 1_u16..)),
    ) -> Text {
        let (mut spatial, mut temporal) = (0, 0);
        let mut all = Vec::new();
        for (i, &step) in steps.iter().enumerate() {
            match step {
                1 if i > 0 && temporal < 7 => temporal += 1,
                2 if i > 0 && spatial < 3 => (spatial, temporal) = (spatial + 1, 0),
                _ => {}
            }
            let diffs = chain_seed[i * 32..i * 32 + chains].to_vec();
            all.push((spatial, temporal, dtis[i].clone(), fdiffs[i].clone(), diffs));
        }
        let protected_by = match u8::try_from(chains).unwrap() {
            0 => vec![],
            chains => protected.iter().map(|p| p % chains).collect(),
        };
        let resolutions = sizes.map_or(vec![], |size| vec![size; usize::from(spatial) + 1]);
        Text { offset, templates: all, protected_by, resolutions }
    }
}

prop_compose! {
    fn any_packet()(text in any_text())(
        which in 0..text.templates.len(),
        flags in any::<(bool, bool)>(),
        frame_number in any::<u16>(),
        with_structure in any::<bool>(),
        active in prop::option::of(any::<u32>()),
        dtis in prop::option::of(any_dtis(text.targets())),
        fdiffs in prop::option::of(prop::collection::vec(1_u16..=4096, 0..=16)),
        chains in prop::option::of(prop::collection::vec(any::<u8>(), text.templates[0].4.len())),
        text in Just(text),
    ) -> (Text, Packet) {
        let width = u32::try_from(text.targets()).unwrap();
        let packet = Packet {
            start: flags.0,
            end: flags.1,
            template_id: (text.offset + u8::try_from(which).unwrap()) % 64,
            frame_number,
            structure: with_structure.then(|| text.clone()),
            active: active.map(|mask| (u32::try_from(u64::from(mask) & ((1 << width) - 1)).unwrap(), width)),
            dtis,
            fdiffs,
            chains,
        };
        (text, packet)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read((text, packet) in any_packet()) {
        let structure = parsed(&text);
        let bytes = packet.write();
        let (header, read) = read_header(&bytes).unwrap();
        prop_assert_eq!((header.start_of_frame, header.end_of_frame), (packet.start, packet.end));
        prop_assert_eq!((header.template_id, header.frame_number), (packet.template_id, packet.frame_number));
        prop_assert_eq!(read, packet.structure.is_some().then_some(structure));
        prop_assert_eq!(structure.protected_by(), &text.protected_by[..]);
        prop_assert_eq!(structure.resolutions().map_or(0, <[_]>::len), text.resolutions.len());
        for size in structure.resolutions().unwrap_or(&[]) {
            prop_assert_eq!((size.width, size.height), text.resolutions[0]);
        }
        let frame = header.frame(&structure).unwrap();
        let (spatial, temporal, dtis, fdiffs, chains) =
            &text.templates[usize::from((packet.template_id + 64 - text.offset) % 64)];
        prop_assert_eq!((frame.spatial, frame.temporal), (*spatial, *temporal));
        let targets = u8::try_from(text.targets()).unwrap();
        prop_assert_eq!(&letters(frame.indications, targets), packet.dtis.as_ref().unwrap_or(dtis));
        prop_assert_eq!(frame.references.as_slice(), &packet.fdiffs.as_ref().unwrap_or(fdiffs)[..]);
        prop_assert_eq!(frame.chains.as_slice(), &packet.chains.as_ref().unwrap_or(chains)[..]);
        prop_assert_eq!(frame.active, packet.active.map(|(mask, _)| mask));
    }

    #[test]
    fn a_copy_differs_in_number_and_mask_only(
        (text, packet) in any_packet(), offset: u16, mask in prop::option::of(any::<u32>()),
    ) {
        let bytes = packet.write();
        let mut out = [0xEE; 2048];
        let count = u8::try_from(text.targets()).unwrap();
        let active = mask.map(|mask| ActiveTargets { mask, count });
        let len = write(&bytes, offset, active, &mut out).unwrap();
        prop_assert!(len <= bytes.len() + 5);
        let masked = |mask: u32| u32::try_from(u64::from(mask) & ((1 << count) - 1)).unwrap();
        let expected = Packet {
            frame_number: packet.frame_number.wrapping_add(offset),
            active: mask.map(|mask| (masked(mask), count.into())).or(packet.active),
            ..packet
        };
        let expected = expected.write();
        // Padding that was there may stay: at most one byte of zeros.
        prop_assert!(out[..len].starts_with(&expected));
        prop_assert!(len <= expected.len() + 1 && out[expected.len()..len].iter().all(|&b| b == 0));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), structured: bool) {
        let mut bytes = bytes;
        if let (true, Some(flags)) = (structured, bytes.get_mut(3)) {
            *flags |= 0x80;
        }
        let known = parsed(&l1t3(0));
        if let Some((header, structure)) = read_header(&bytes) {
            header.frame(structure.as_ref().unwrap_or(&known));
        }
        let mut out = [0; 300];
        for active in [None, Some(ActiveTargets { mask: 5, count: 32 })] {
            if let Some(len) = write(&bytes, 7, active, &mut out) {
                prop_assert!(len <= bytes.len() + 5);
            }
        }
    }
}
