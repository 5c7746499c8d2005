//! From master to session keys (RFC 3711 §4.3; with 256-bit keys RFC 6188, with AES-GCM RFC 7714 §11).

use rtpcore_cipher::keystream;

use super::Master;

/// What a session key is for (RFC 3711 §4.3.1, §4.3.2).
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Derives one session key into `out`, with a key derivation rate of zero: once, for the life of the session. None if
/// the master is not of any profile.
pub(super) fn derive(master: Master<'_>, label: Label, out: &mut [u8]) -> Option<()> {
    // A salt of 12 bytes counts as one of 14 that ends in zeroes.
    let mut block = [0; 16];
    block.first_chunk_mut::<14>()?.get_mut(..master.salt.len())?.copy_from_slice(master.salt);
    // The label stands above the 48 bits of the (zero) packet index, which end where the salt ends.
    if let Some(byte) = block.get_mut(7) {
        *byte ^= label as u8;
    }
    keystream(master.key, &block, out).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::context::tests::hex;

    #[test]
    fn rfc_3711_appendix_b3() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let derived = |label, len| {
            let mut out = vec![0; len];
            derive(Master { key: &key, salt: &salt }, label, &mut out).unwrap();
            out
        };
        assert_eq!(derived(Label::RtpEncryption, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(Label::RtpSalt, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let long = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098
                    6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2";
        assert_eq!(derived(Label::RtpAuthentication, 94), hex(long));
    }

    /// RFC 6188 §7.4.
    #[test]
    fn rfc_6188_with_a_256_bit_master() {
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let salt = hex("3b04803de51ee7c96423ab5b78d2");
        let mut out = [0; 32];
        derive(Master { key: &key, salt: &salt }, Label::RtpEncryption, &mut out).unwrap();
        assert_eq!(out[..], hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
        let mut out = [0; 14];
        derive(Master { key: &key, salt: &salt }, Label::RtpSalt, &mut out).unwrap();
        assert_eq!(out[..], hex("fa31791685ca444a9e07c6c64e93"));
    }

    #[test]
    fn a_short_salt_ends_in_zeroes() {
        let (mut short, mut long) = ([0; 16], [0; 16]);
        let mut salt = [7; 14];
        derive(Master { key: &[1; 16], salt: &salt[..12] }, Label::RtcpSalt, &mut short).unwrap();
        salt[12..].fill(0);
        derive(Master { key: &[1; 16], salt: &salt }, Label::RtcpSalt, &mut long).unwrap();
        assert_eq!(short, long);
    }

    #[test]
    fn refuses_what_is_no_master() {
        assert!(derive(Master { key: &[1; 16], salt: &[0; 15] }, Label::RtpSalt, &mut [0]).is_none());
        assert!(derive(Master { key: &[1; 24], salt: &[0; 14] }, Label::RtpSalt, &mut [0]).is_none());
    }
}
