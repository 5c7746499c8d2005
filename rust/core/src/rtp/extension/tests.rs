use super::*;
use crate::rtp::FixedHeader;
use proptest::prelude::*;

/// A packet with one extension block, and where its elements lie.
fn parse(profile: u16, elements: &[u8], map: &ExtensionMap) -> (Vec<u8>, Extensions) {
    let mut packet = FixedHeader { has_extension: true, ..FixedHeader::default() }.to_bytes().to_vec();
    packet.extend(profile.to_be_bytes());
    packet.extend(u16::try_from(elements.len() / 4).unwrap().to_be_bytes());
    packet.extend(elements);
    // A payload that would read as elements, should anything run over.
    packet.extend([0x11; 40]);
    let header = Header::parse(&packet).unwrap();
    let found = Extensions::parse(&header, &packet, map);
    (packet, found)
}

fn map(ids: &[(ExtensionKind, u8)]) -> ExtensionMap {
    let mut map = ExtensionMap::NONE;
    for &(kind, id) in ids {
        map.set(kind, id);
    }
    map
}

const MID_1_LEVEL_2: [(ExtensionKind, u8); 2] = [(ExtensionKind::Mid, 1), (ExtensionKind::AudioLevel, 2)];

#[test]
fn one_byte_elements_with_padding_between() {
    let (packet, found) = parse(ONE_BYTE, b"\0\x11ab\0\0\x20\x85", &map(&MID_1_LEVEL_2));
    assert_eq!(found.mid(&packet).unwrap().as_str(), "ab");
    assert_eq!(found.offset(ExtensionKind::Mid), Some(18));
    assert_eq!(found.audio_level(&packet), Some(AudioLevel { level: 5, voice: true }));
    assert_eq!(found.find(ExtensionKind::Rid, &packet), None);
}

#[test]
fn two_byte_elements_of_every_length() {
    for profile in [0x1000, 0x100F] {
        let map = map(&[(ExtensionKind::Mid, 1), (ExtensionKind::Rid, 15), (ExtensionKind::DependencyDescriptor, 255)]);
        let (packet, found) = parse(profile, b"\x01\x02ab\0\xFF\0\x0F\x01x\0\0", &map);
        assert_eq!(found.mid(&packet).unwrap().as_str(), "ab");
        assert_eq!(found.rid(&packet).unwrap().as_str(), "x");
        assert_eq!(found.find(ExtensionKind::DependencyDescriptor, &packet), Some(&[][..]), "there, and empty");
    }
    let mut long = b"\xFF\xFF".to_vec();
    long.extend([7; 255]);
    long.extend([0; 3]);
    let (packet, found) = parse(0x1000, &long, &map(&[(ExtensionKind::DependencyDescriptor, 255)]));
    assert_eq!(found.find(ExtensionKind::DependencyDescriptor, &packet), Some(&[7; 255][..]));
}

#[test]
fn ids_0_with_a_length_and_15_end_a_one_byte_block() {
    for stop in [b"\xF0x", b"\x01x"] {
        let mut elements = b"\x10a".to_vec();
        elements.extend(stop);
        elements.extend(b"\x20\x05\0\0");
        let (packet, found) = parse(ONE_BYTE, &elements, &map(&MID_1_LEVEL_2));
        assert_eq!(found.mid(&packet).unwrap().as_str(), "a");
        assert_eq!(found.audio_level(&packet), None, "behind the end");
    }
    let (packet, found) = parse(ONE_BYTE, b"\xF0x\0\0", &map(&[(ExtensionKind::Mid, 15)]));
    assert_eq!(found.mid(&packet), None, "an id that only the two-byte form has");
}

#[test]
fn an_element_beyond_the_block_ends_it() {
    let map = map(&MID_1_LEVEL_2);
    let (packet, found) = parse(ONE_BYTE, b"\x10a\x21\x05", &map);
    assert_eq!((found.mid(&packet).unwrap().as_str(), found.audio_level(&packet)), ("a", None));
    let (packet, found) = parse(TWO_BYTE, b"\x01\x01a\0\x02\x01\x05\x02", &map);
    assert_eq!(found.audio_level(&packet), Some(AudioLevel { level: 5, voice: false }), "the last has no length");
    let (packet, found) = parse(TWO_BYTE, b"\x01\x01a\0\x02\x03\x05\x02", &map);
    assert_eq!((found.mid(&packet).unwrap().as_str(), found.audio_level(&packet)), ("a", None));
}

#[test]
fn of_two_elements_with_one_id_the_last_counts() {
    let (packet, found) = parse(ONE_BYTE, b"\x10a\x10b", &map(&MID_1_LEVEL_2));
    assert_eq!(found.mid(&packet).unwrap().as_str(), "b");
}

#[test]
fn other_profiles_and_unknown_ids_are_skipped() {
    assert_eq!(parse(0xABAC, b"\x10a\x10b", &map(&MID_1_LEVEL_2)).1, Extensions::NONE);
    assert_eq!(parse(0x1010, b"\x01\x01a\0", &map(&MID_1_LEVEL_2)).1, Extensions::NONE);
    assert_eq!(parse(ONE_BYTE, b"\x50a\x60b", &map(&MID_1_LEVEL_2)).1, Extensions::NONE);
}

#[test]
fn a_map_has_one_kind_per_id_and_one_id_per_kind() {
    let mut map = map(&[(ExtensionKind::Mid, 3), (ExtensionKind::Rid, 4)]);
    map.set(ExtensionKind::AudioLevel, 3);
    assert_eq!((map.id(ExtensionKind::Mid), map.kind(3)), (None, Some(ExtensionKind::AudioLevel)));
    map.set(ExtensionKind::AudioLevel, 200);
    assert_eq!((map.kind(3), map.kind(200)), (None, Some(ExtensionKind::AudioLevel)));
    let (packet, found) = parse(TWO_BYTE, b"\x03\x01\x01\0\xC8\x01\x02\0", &map);
    assert_eq!(found.audio_level(&packet).unwrap().level, 2);
    map.set(ExtensionKind::AudioLevel, 0);
    assert_eq!(map.iter().collect::<Vec<_>>(), [(ExtensionKind::Rid, 4)]);
    assert_eq!(map.kind(0), None);
}

#[test]
fn uris_lead_back_to_their_kinds() {
    for (index, kind) in ExtensionKind::ALL.into_iter().enumerate() {
        assert_eq!(ExtensionKind::from_uri(kind.uri()), Some(kind));
        assert_eq!(kind as usize, index);
    }
    assert_eq!(ExtensionKind::from_uri("urn:ietf:params:rtp-hdrext:toffset"), None);
    assert_eq!(ExtensionKind::COUNT, 11);
}

proptest! {
    #[test]
    fn random_blocks_never_panic_and_stay_inside(
        profile in prop_oneof![Just(ONE_BYTE), Just(TWO_BYTE), any::<u16>()],
        words in prop::collection::vec(any::<[u8; 4]>(), 0..30),
        ids in any::<[u8; ExtensionKind::COUNT]>(),
    ) {
        let mut map = ExtensionMap::NONE;
        ExtensionKind::ALL.into_iter().zip(ids).for_each(|(kind, id)| map.set(kind, id % 32));
        let elements = words.concat();
        let (packet, found) = parse(profile, &elements, &map);
        for kind in ExtensionKind::ALL {
            if let Some(value) = found.find(kind, &packet) {
                let start = found.offset(kind).unwrap();
                prop_assert!(start >= 16 && start + value.len() <= 16 + elements.len());
            }
        }
        let _ = (found.mid(&packet), found.video_layers_allocation(&packet), found.abs_capture_time(&packet));
    }
}
