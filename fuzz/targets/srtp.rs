//! SRTP and SRTCP of one peer: what it sealed is taken once, what was damaged, repeated or made up is not.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use rtpcore_core::rtp::Header;
use rtpcore_core::srtp::{ClearHeader, Inbound, Master, Outbound, Profile};
use rtpcore_core::store::MAX_PACKET;
use rtpcore_core::{Drop, Ssrc};
use rtpcore_fuzz::Input;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let Some(choice) = input.byte() else { return };
    let profile = Profile::ALL[usize::from(choice) % 3];
    let (key, salt) = ([7; 32], [9; 14]);
    let master = Master { key: &key[..profile.key_len()], salt: &salt[..profile.salt_len()] };
    let mut outbound = Outbound::new(profile, master).expect("the lengths fit");
    let mut inbound = Inbound::new(profile, master, 4).expect("the lengths fit");

    let mut index = 0_u64;
    let mut taken = BTreeSet::new();
    while let Some(op) = input.byte() {
        let Some(bytes) = input.chunk() else { return };
        match op % 4 {
            0 => {
                // Whatever the bytes are, nobody holds the key that would seal them; but packets sealed above may return.
                assert!(unprotect(&mut inbound, bytes).is_err());
                assert!(inbound.unprotect_rtcp(&mut bytes.to_vec()).is_err());
            }
            1 | 2 => {
                // Back and forth by less than the window, forward by any step that can be told.
                let Some(step) = input.short() else { return };
                index =
                    if op & 4 == 0 { index + u64::from(step & 0x7FFF) } else { index.saturating_sub(u64::from(step)) };
                let damage = if op & 8 == 0 { None } else { input.short() };
                rtp(&outbound, &mut inbound, index, bytes, damage, &mut taken);
            }
            _ => rtcp(&mut outbound, &mut inbound, bytes, op & 8 != 0),
        }
        let (rtp, rtcp) = inbound.ssrcs();
        assert!(rtp <= 4 && rtcp <= 4);
    }
});

fn rtp(
    outbound: &Outbound,
    inbound: &mut Inbound,
    index: u64,
    payload: &[u8],
    damage: Option<u16>,
    taken: &mut BTreeSet<u64>,
) {
    let [.., high, low] = index.to_be_bytes();
    let plain = [&[0x80, 96, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], payload].concat();
    let mut sealed = vec![0; plain.len() + outbound.rtp_overhead()];
    sealed[..12].copy_from_slice(&plain[..12]);
    let (head, body) = payload.split_at(payload.len().min(6));
    let len = outbound.protect_rtp(index, 12, head, body, &mut sealed).expect("there is room");
    assert_eq!(len, sealed.len());
    if let Some(damage) = damage {
        let at = usize::from(damage >> 3) % sealed.len();
        sealed[at] ^= 1 << (damage & 7);
        return assert!(unprotect(inbound, &sealed).is_err());
    }
    match unprotect(inbound, &sealed) {
        Ok(opened) => {
            assert_eq!(opened, plain);
            assert!(taken.insert(index), "{index} was taken before");
        }
        Err(Drop::Replayed) => assert!(taken.contains(&index) || is_misread(index, taken)),
        // Nobody can know in which cycle a stream begins: in the first (RFC 3711 §3.3.1).
        Err(Drop::TooOld | Drop::BadAuth) => assert!(!taken.is_empty() || index > 0xFFFF, "the first packet is taken"),
        Err(reason) => panic!("{reason:?}"),
    }
}

/// Further than half the number space from the newest: the guess of the cycle is wrong by rights (RFC 3711 §3.3.1).
fn is_misread(index: u64, taken: &BTreeSet<u64>) -> bool {
    taken.last().is_none_or(|newest| newest.abs_diff(index) >= 0x8000) || index > 0xFFFF
}

fn rtcp(outbound: &mut Outbound, inbound: &mut Inbound, body: &[u8], is_damaged: bool) {
    let plain = [&[0x80, 201, 0, 1, 0, 0, 0, 1][..], body].concat();
    let mut sealed = vec![0; plain.len() + outbound.rtcp_overhead()];
    let len = outbound.protect_rtcp(&plain, &mut sealed).expect("there is room");
    assert_eq!(len, sealed.len());
    if is_damaged {
        let at = body.first().map_or(0, |&byte| usize::from(byte)) % len;
        sealed[at] ^= 1;
        return assert!(inbound.unprotect_rtcp(&mut sealed).is_err());
    }
    let again = sealed.clone();
    assert_eq!(inbound.unprotect_rtcp(&mut sealed), Ok(&plain[..]));
    assert_eq!(inbound.unprotect_rtcp(&mut again.clone()), Err(Drop::Replayed));
}

fn unprotect(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Drop> {
    let header = Header::parse_clear(packet)?;
    let clear = ClearHeader {
        ssrc: Ssrc(header.ssrc.0),
        sequence_number: header.sequence_number,
        len: usize::from(header.payload_offset),
    };
    let mut out = [0; MAX_PACKET];
    let len = inbound.unprotect_rtp(packet, clear, &mut out)?;
    Ok(out[..len].to_vec())
}
