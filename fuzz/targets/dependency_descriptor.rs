//! A stream of dependency descriptors (AV1 RTP specification, appendix A), read, rewritten for a subscriber, and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::payload::Codec;
use rtpcore_core::payload::dependency_descriptor::{
    ActiveTargets, Frame, Header, MAX_DECODE_TARGETS, MAX_REFERENCES, MAX_SPATIAL, MAX_TEMPLATES, MAX_TEMPORAL,
    Structure, write,
};
use rtpcore_fuzz::{Input, read_stream};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut known = None;
    while let (Some(mask), Some(offset)) = (input.byte(), input.short()) {
        let Some(descriptor) = input.chunk() else { break };
        take(descriptor, &mut known, u32::from(mask), offset);
    }
    // And through what remembers them for a stream, under a payload that is not looked into.
    let mut stream = Vec::new();
    let mut input = Input(data);
    while let Some(descriptor) = input.chunk() {
        stream.extend([4, 1, 0x10, descriptor.len() as u8]);
        stream.extend(descriptor);
    }
    read_stream(Codec::Av1, &stream);
});

fn take(descriptor: &[u8], known: &mut Option<Structure>, mask: u32, offset: u16) {
    let mut own = None;
    let Some(header) = Header::parse(descriptor, &mut own) else { return };
    assert_eq!(header.has_structure, own.is_some());
    if let Some(structure) = own {
        check_structure(&structure);
        *known = own;
    }
    let Some(structure) = known else { return };
    let before = header.frame(structure);
    if let Some(frame) = &before {
        check_frame(frame);
    }
    let count = structure.decode_targets().count();
    for active in [None, Some(ActiveTargets { mask: mask & mask_of(count), count })] {
        let mut out = vec![0; descriptor.len() + 5];
        let Some(len) = write(descriptor, offset, active, &mut out) else {
            // One that ends before its own mask of active targets: nobody can read its frame either.
            assert!(before.is_none() && active.is_some(), "what was read can be written");
            continue;
        };
        let mut own = None;
        let again = Header::parse(&out[..len], &mut own).expect("what was written can be read");
        assert_eq!(again.frame_number, header.frame_number.wrapping_add(offset));
        assert_eq!(again.template_id, header.template_id);
        assert_eq!((again.start_of_frame, again.end_of_frame), (header.start_of_frame, header.end_of_frame));
        assert_eq!(own.is_some(), header.has_structure);
        let Some(before) = before else { continue };
        let after = again.frame(structure).expect("as before");
        let active = active.map_or(before.active, |active| Some(active.mask));
        assert_eq!(after, Frame { active, ..before });
    }
}

fn mask_of(count: u8) -> u32 {
    u32::MAX.checked_shr(32 - u32::from(count)).unwrap_or(0)
}

fn check_structure(structure: &Structure) {
    assert!(structure.templates().len() <= MAX_TEMPLATES);
    assert!((1..=MAX_DECODE_TARGETS).contains(&usize::from(structure.decode_targets().count())));
    assert!(structure.chain_count() <= structure.decode_targets().count());
    assert!(structure.resolutions().is_none_or(|sizes| sizes.len() <= MAX_SPATIAL));
    for template in structure.templates() {
        assert!(usize::from(template.spatial) < MAX_SPATIAL && usize::from(template.temporal) < MAX_TEMPORAL);
        assert!(template.references().as_slice().len() <= MAX_REFERENCES);
    }
}

fn check_frame(frame: &Frame) {
    assert!(usize::from(frame.spatial) < MAX_SPATIAL && usize::from(frame.temporal) < MAX_TEMPORAL);
    assert!(frame.references.as_slice().len() <= MAX_REFERENCES);
    assert!(frame.references.as_slice().iter().all(|&difference| difference > 0));
    assert!(frame.chains.as_slice().len() <= MAX_DECODE_TARGETS);
}
