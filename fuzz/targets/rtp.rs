//! An RTP packet with header extensions: what is found lies where it should, and can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap, ExtensionWriter, Extensions, FixedHeader, Header};

fuzz_target!(|data: &[u8]| {
    let Ok(header) = Header::parse(data) else { return };
    let end = usize::from(header.payload_offset) + usize::from(header.payload_len) + usize::from(header.padding_len);
    assert_eq!(end, data.len());
    assert_eq!(header.payload(data).len(), usize::from(header.payload_len));
    assert!(header.csrcs(data).len() <= 60 && header.csrcs(data).len() % 4 == 0);

    // Ids of the one-byte form, and some beyond it.
    let mut map = ExtensionMap::NONE;
    for (kind, id) in ExtensionKind::ALL.into_iter().zip([1, 2, 3, 4, 5, 6, 7, 8, 14, 15, 200]) {
        map.set(kind, id);
    }
    let found = Extensions::parse(&header, data, &map);
    let block = usize::from(header.extension_offset)..usize::from(header.payload_offset);
    let mut elements = Vec::new();
    for kind in ExtensionKind::ALL {
        let Some(value) = found.find(kind, data) else { continue };
        let start = found.offset(kind).expect("what was found lies somewhere");
        assert!(block.start <= start && start + value.len() <= block.end, "{kind:?} lies in the block");
        elements.push((kind, value));
    }
    read_values(&found, data);

    let mut out = vec![0; FixedHeader::LEN + 4 * usize::from(u16::MAX)];
    let mut writer = ExtensionWriter::new(&mut out[FixedHeader::LEN..]);
    for (kind, value) in &elements {
        writer.push(map.id(*kind).expect("set above"), value).expect("what was read can be written");
    }
    let len = writer.finish();
    let fixed = FixedHeader { has_extension: len > 0, ..header.fixed() };
    fixed.write(&mut out).expect("there is room");
    out.truncate(FixedHeader::LEN + len);
    let again = Header::parse(&out).expect("what is written can be read");
    assert_eq!(
        (again.ssrc, again.sequence_number, again.timestamp),
        (header.ssrc, header.sequence_number, header.timestamp)
    );
    let found = Extensions::parse(&again, &out, &map);
    for (kind, value) in elements {
        assert_eq!(found.find(kind, &out), Some(value));
    }
});

fn read_values(found: &Extensions, data: &[u8]) {
    assert!(found.mid(data).is_none_or(|mid| (1..=16).contains(&mid.as_bytes().len())));
    assert!(found.rid(data).is_none_or(|rid| rid.as_str().is_ascii()));
    assert!(found.repaired_rid(data).is_none_or(|rid| rid.as_str().is_ascii()));
    assert!(found.audio_level(data).is_none_or(|level| level.level <= 127));
    assert!(found.abs_send_time(data).is_none_or(|time| time.units() < 1 << 24));
    assert!(found.playout_delay(data).is_none_or(|delay| delay.max.as_millis() <= 40_950));
    assert!(found.video_layers_allocation(data).is_none_or(|layers| layers.layers().len() <= 16));
    let _ = (found.transport_cc(data), found.abs_capture_time(data), found.video_orientation(data));
}
