use proptest::prelude::*;

use crate::{AeadKey, CmKey, keystream, pure};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc_3711_appendix_b2_keystream() {
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
    let iv: [u8; 16] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
    let salt: [u8; 14] = iv[..14].try_into().unwrap();
    let blocks =
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0");
    let late =
        hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44");
    let len = 0xff02 * 16;
    let mut out = vec![0; len];
    assert!(keystream(&key, &iv, &mut out));
    assert_eq!((&out[..48], &out[len - 48..]), (&blocks[..], &late[..]));
    let key: [u8; 16] = key.try_into().unwrap();
    for cm in [CmKey::new(&key, &[0; 20], &salt), CmKey::new_narrow(&key, &[0; 20], &salt)] {
        let mut out = vec![0; len];
        cm.apply_in_place(0, 0, &mut out);
        assert_eq!((&out[..48], &out[len - 48..]), (&blocks[..], &late[..]));
    }
}

#[test]
fn refuses_other_key_lengths() {
    for len in [0, 15, 17, 24, 31, 33] {
        assert!(AeadKey::new(&vec![0; len]).is_none());
        assert!(!keystream(&vec![0; len], &[0; 16], &mut [0; 16]));
    }
}

#[test]
fn debug_shows_no_key() {
    let shown =
        format!("{:?} {:?}", AeadKey::new(&[0xAB; 16]).unwrap(), CmKey::new(&[0xAB; 16], &[0xAB; 20], &[0xAB; 14]));
    assert_eq!(shown, "AeadKey { .. } CmKey { .. }");
}

#[test]
fn counter_mode_of_every_length_and_split() {
    let data: Vec<u8> = (0..1500u32).map(|n| (n * 11) as u8).collect();
    let cm = CmKey::new(&[3; 16], &[4; 20], &[5; 14]);
    let narrow = CmKey::new_narrow(&[3; 16], &[4; 20], &[5; 14]);
    let oracle = pure::CmKey::new(&[3; 16], &[4; 20], &[5; 14]);
    for len in 0..=data.len() {
        let mut expected = data[..len].to_vec();
        oracle.apply_in_place(0xDEAD_BEEF, 0xFFFF_1234_5678, &mut expected);
        for head in [0, 1, len % 17, 16, 63, 64, 65, 130] {
            let (head, body) = data[..len].split_at(head.min(len));
            let mut out = vec![0; len];
            oracle.apply(0xDEAD_BEEF, 0xFFFF_1234_5678, head, body, &mut out);
            assert_eq!(out, expected);
            for key in [&cm, &narrow] {
                // A byte more than needed on both sides shows a write out of bounds.
                let mut out = vec![0xEE; len + 2];
                key.apply(0xDEAD_BEEF, 0xFFFF_1234_5678, head, body, &mut out[1..=len]);
                assert_eq!(&out[1..=len], &expected[..], "{len} bytes, head of {}", head.len());
                assert_eq!((out[0], out[len + 1]), (0xEE, 0xEE));
            }
        }
        for key in [&cm, &narrow] {
            let mut out = data[..len].to_vec();
            key.apply_in_place(0xDEAD_BEEF, 0xFFFF_1234_5678, &mut out);
            assert_eq!(out, expected);
        }
    }
}

fn aead_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::array::uniform16(any::<u8>()).prop_map(Vec::from),
        prop::array::uniform32(any::<u8>()).prop_map(Vec::from)
    ]
}

proptest! {
    #[test]
    fn gcm_agrees_with_the_oracle(
        key in aead_key(),
        nonce: [u8; 12],
        aad in prop::collection::vec(any::<u8>(), 0..100),
        text in prop::collection::vec(any::<u8>(), 0..1500),
        head in 0usize..=40,
        flip: prop::sample::Index,
    ) {
        let (ours, oracle) = (AeadKey::new(&key).unwrap(), pure::AeadKey::new(&key).unwrap());
        let (head, body) = text.split_at(head.min(text.len()));
        let mut sealed = vec![0; text.len() + 16];
        ours.seal(&nonce, &aad, head, body, &mut sealed);
        let mut expected = vec![0; text.len() + 16];
        oracle.seal(&nonce, &aad, head, body, &mut expected);
        prop_assert_eq!(&sealed, &expected);

        let mut opened = vec![0; text.len()];
        prop_assert!(ours.open(&nonce, &aad, &sealed, &mut opened));
        prop_assert_eq!(&opened, &text);
        let mut opened = vec![0; text.len()];
        prop_assert!(oracle.open(&nonce, &aad, &sealed, &mut opened));
        prop_assert_eq!(&opened, &text);
        let mut both = sealed.clone();
        prop_assert!(ours.open_in_place(&nonce, &aad, &mut both));
        prop_assert_eq!(&both[..text.len()], &text);
        let mut both = sealed.clone();
        prop_assert!(oracle.open_in_place(&nonce, &aad, &mut both));
        prop_assert_eq!(&both[..text.len()], &text);

        let mut forged = sealed.clone();
        forged[flip.index(sealed.len())] ^= 0x10;
        let mut opened = vec![0; text.len()];
        prop_assert!(!ours.open(&nonce, &aad, &forged, &mut opened));
        prop_assert!(opened.iter().all(|&b| b == 0), "nothing of a forged packet is left");
        prop_assert!(!oracle.open(&nonce, &aad, &forged, &mut opened));
        prop_assert!(opened.iter().all(|&b| b == 0));
        prop_assert!(!ours.open_in_place(&nonce, &aad, &mut forged.clone()));
        prop_assert!(!oracle.open_in_place(&nonce, &aad, &mut forged));
    }

    #[test]
    fn tag_agrees_with_the_oracle(
        key: [u8; 20],
        message in prop::collection::vec(any::<u8>(), 0..1600),
        roc: u32,
        flip in 0usize..80,
    ) {
        let ours = CmKey::new(&[0; 16], &key, &[0; 14]);
        let oracle = pure::CmKey::new(&[0; 16], &key, &[0; 14]);
        let tag = oracle.tag(&message, roc);
        prop_assert_eq!(ours.tag(&message, roc), tag);
        prop_assert!(ours.verify(&message, roc, &tag) && oracle.verify(&message, roc, &tag));
        let mut forged = tag;
        forged[flip / 8] ^= 1 << (flip % 8);
        prop_assert!(!ours.verify(&message, roc, &forged) && !oracle.verify(&message, roc, &forged));
        prop_assert!(!ours.verify(&message, roc.wrapping_add(1), &tag));
    }

    #[test]
    fn derivation_agrees_with_the_oracle(key in aead_key(), iv: [u8; 16], len in 0usize..70) {
        let (mut ours, mut theirs) = (vec![1; len], vec![2; len]);
        prop_assert!(keystream(&key, &iv, &mut ours) && pure::keystream(&key, &iv, &mut theirs));
        prop_assert_eq!(ours, theirs);
    }
}
