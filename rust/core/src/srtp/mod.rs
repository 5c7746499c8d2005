//! SRTP and SRTCP (RFC 3711, AES-GCM after RFC 7714), keyed by DTLS (RFC 5764).
//!
//! An [`Inbound`] takes one peer's packets out of protection, an [`Outbound`] puts those for a peer in. Each is keyed once;
//! rekeying and the key identifiers of RFC 3711 §3.1 (MKI) do not occur in WebRTC (RFC 8827 §6.5). The ciphers themselves
//! are in `rtpcore-cipher`.

mod context;
mod kdf;
mod replay;
mod session;
mod tagger;

pub use context::{ClearHeader, Deferred, Inbound, Outbound};
pub use tagger::Tagger;

/// A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2), in our order of preference.
///
/// AES-256 costs a few per cent more than AES-128 on a forwarded packet, so the peer may choose; AES-CM costs the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`.
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, the one that every endpoint has (RFC 8827 §6.5).
    Aes128CmSha1_80,
}

impl Profile {
    /// All profiles, best first.
    pub const ALL: [Self; 3] = [Self::AeadAes128Gcm, Self::AeadAes256Gcm, Self::Aes128CmSha1_80];

    /// The number of this profile in the `use_srtp` extension of DTLS.
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 0x0001,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// The profile with this number in the `use_srtp` extension, if it is one of ours.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.id() == id)
    }

    /// Length of the master key in bytes, and of the session keys for encryption.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt in bytes, and of the session salts.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Length of the authentication tag in bytes, of RTP and of RTCP.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => rtpcore_cipher::AEAD_TAG_LEN,
            Self::Aes128CmSha1_80 => rtpcore_cipher::CM_TAG_LEN,
        }
    }

    /// How many bytes of keying material DTLS must export (RFC 5764 §4.2): key and salt, for both sides.
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// The masters of the DTLS client and of the DTLS server, in this order, from the exported keying material; none
    /// unless it has [`Self::keying_material_len`] bytes. Each side sends under its own and receives under the other.
    pub fn split_keying_material(self, material: &[u8]) -> Option<(Master<'_>, Master<'_>)> {
        if material.len() != self.keying_material_len() {
            return None;
        }
        let (client_key, rest) = material.split_at_checked(self.key_len())?;
        let (server_key, rest) = rest.split_at_checked(self.key_len())?;
        let (client_salt, server_salt) = rest.split_at_checked(self.salt_len())?;
        Some((Master { key: client_key, salt: client_salt }, Master { key: server_key, salt: server_salt }))
    }
}

/// A master key and master salt, for one direction (RFC 3711 §3.2.1). Not printable.
#[derive(Clone, Copy)]
pub struct Master<'a> {
    /// As long as the profile's keys.
    pub key: &'a [u8],
    /// As long as the profile's salts.
    pub salt: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keying_material_is_keys_then_salts() {
        for (profile, len) in Profile::ALL.into_iter().zip([56, 88, 60]) {
            let material: Vec<u8> = (0..len).collect();
            let (client, server) = profile.split_keying_material(&material).unwrap();
            assert_eq!([client.key, server.key, client.salt, server.salt].concat(), material);
            assert_eq!((client.key.len(), server.salt.len()), (profile.key_len(), profile.salt_len()));
            assert!(profile.split_keying_material(&material[1..]).is_none());
            assert!(profile.split_keying_material(&[&material[..], &[0]].concat()).is_none());
        }
    }

    #[test]
    fn profiles_go_by_their_registered_numbers() {
        assert_eq!(Profile::ALL.map(Profile::id), [7, 8, 1]);
        assert_eq!(Profile::from_id(7), Some(Profile::AeadAes128Gcm));
        assert_eq!(Profile::from_id(2), None, "the 32-bit tag is not offered");
    }
}
