//! The session keys of one direction.

use rtpcore_cipher::{AeadKey, CmKey};

use super::kdf::{Label, derive};
use super::{Master, Profile};

/// What protects RTP, and what protects RTCP.
pub(super) struct Session {
    pub(super) rtp: Transform,
    pub(super) rtcp: Transform,
}

/// A cipher with the salt that makes its nonces.
pub(super) enum Transform {
    Aead(Aead),
    Cm(Box<CmKey>),
}

pub(super) struct Aead {
    pub(super) key: AeadKey,
    salt: [u8; 12],
}

impl Session {
    /// None if the master does not fit the profile.
    pub(super) fn new(profile: Profile, master: Master<'_>) -> Option<Self> {
        if master.key.len() != profile.key_len() || master.salt.len() != profile.salt_len() {
            return None;
        }
        let (rtp, rtcp) = match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                let aead = |encryption, salt| Aead::derive(profile, master, encryption, salt).map(Transform::Aead);
                (aead(Label::RtpEncryption, Label::RtpSalt)?, aead(Label::RtcpEncryption, Label::RtcpSalt)?)
            }
            Profile::Aes128CmSha1_80 => (
                cm(master, Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt)?,
                cm(master, Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt)?,
            ),
        };
        Some(Self { rtp, rtcp })
    }
}

impl Aead {
    pub(super) fn new(key: &[u8], salt: [u8; 12]) -> Option<Self> {
        Some(Self { key: AeadKey::new(key)?, salt })
    }

    fn derive(profile: Profile, master: Master<'_>, encryption: Label, salt: Label) -> Option<Self> {
        let mut keys = Erased([0; 32], [0; 20], [0; 14]);
        let Erased(key, _, salt_bytes) = &mut keys;
        let key = key.get_mut(..profile.key_len())?;
        derive(master, encryption, key)?;
        let salt_bytes = salt_bytes.first_chunk_mut::<12>()?;
        derive(master, salt, salt_bytes)?;
        Self::new(key, *salt_bytes)
    }

    /// The nonce of one packet (RFC 7714 §8.1 for RTP, §9.1 for RTCP, whose index has only 31 bits).
    pub(super) fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let packet = u128::from(ssrc) << 48 | u128::from(index & 0xFFFF_FFFF_FFFF);
        let mut nonce = self.salt;
        for (byte, with) in nonce.iter_mut().zip(packet.to_be_bytes().iter().skip(4)) {
            *byte ^= with;
        }
        nonce
    }
}

fn cm(master: Master<'_>, encryption: Label, authentication: Label, salt: Label) -> Option<Transform> {
    let mut keys = Erased([0; 32], [0; 20], [0; 14]);
    let Erased(key, authentication_key, salt_bytes) = &mut keys;
    let key = key.first_chunk_mut::<16>()?;
    derive(master, encryption, key)?;
    derive(master, authentication, authentication_key)?;
    derive(master, salt, salt_bytes)?;
    Some(Transform::Cm(Box::new(CmKey::new(key, authentication_key, salt_bytes))))
}

/// Key bytes on the stack that do not stay there.
struct Erased([u8; 32], [u8; 20], [u8; 14]);

impl Drop for Erased {
    fn drop(&mut self) {
        rtpcore_cipher::erase(&mut self.0);
        rtpcore_cipher::erase(&mut self.1);
        rtpcore_cipher::erase(&mut self.2);
    }
}
