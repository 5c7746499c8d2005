//! A LiveKit data packet on its way through: whatever it claims, it comes out under its sender's names, means the same when
//! it is read again, and is not much longer than it was.
//!
//! The first byte says who sends it: 1 an agent, 2 somebody hidden, 4 on the lossy channel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::Drop;
use rtpcore_core::data::envelope::{Kind, Origin, admit};

fuzz_target!(|data: &[u8]| {
    let Some((&flags, packet)) = data.split_first() else { return };
    let (is_agent, is_hidden) = (flags & 1 != 0, flags & 2 != 0);
    let origin = Origin { sid: "PA_sender", identity: "sender", is_hidden, is_agent };
    let kind = if flags & 4 == 0 { Kind::Reliable } else { Kind::Lossy };
    match admit(packet, &origin, kind) {
        Err(reason) => assert!(matches!(reason, Drop::BadDataPacket | Drop::NotPermitted), "{reason:?}"),
        Ok(envelope) => {
            let again = admit(&envelope.packet, &origin, kind);
            assert_eq!(again.as_ref(), Ok(&envelope), "a second time changes nothing");
            // Names twice, the kind, a flag, and lengths that grew by a byte.
            assert!(envelope.packet.len() <= packet.len() + 60);
            let has_name = envelope.packet.ends_with(b"\x8a\x01\x09PA_sender");
            assert_eq!(has_name, !is_hidden);
        }
    }
});
