//! One peer's DTLS association (RFC 6347) with key export for SRTP (RFC 5764): an adapter, so that engines can be exchanged.
//!
//! What is ours: the peer's certificate is held against the fingerprints of its description (RFC 8122), and nothing that it
//! sends counts before that.

use std::sync::Arc;
use std::time::Instant;

use dimpl::{Config, Dtls as Dimpl, DtlsCertificate, SrtpProfile as DimplProfile};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::srtp::{Master, Profile};

/// A certificate with its private key, both DER.
pub type Certificate = DtlsCertificate;

/// The largest plaintext record.
const MAX_RECORD: usize = 16_384 + 256;

/// Which end sends the ClientHello (RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// `setup:active`.
    Client,
    /// `setup:passive`.
    Server,
}

/// The digest of a certificate, as a description announces it (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// SHA-256, what every browser sends.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl Fingerprint {
    /// The fingerprint with this `a=fingerprint` hash function and these bytes, or none if the two do not fit.
    pub fn new(algorithm: &str, digest: &[u8]) -> Option<Self> {
        match algorithm.to_ascii_lowercase().as_str() {
            "sha-256" => digest.try_into().ok().map(Self::Sha256),
            "sha-384" => digest.try_into().ok().map(Self::Sha384),
            "sha-512" => digest.try_into().ok().map(Self::Sha512),
            _ => None,
        }
    }

    /// The SHA-256 fingerprint of a DER certificate.
    pub fn sha256(certificate: &[u8]) -> [u8; 32] {
        Sha256::digest(certificate).into()
    }

    /// Whether `certificate` (DER) is the one announced.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        match self {
            Self::Sha256(digest) => *digest == <[u8; 32]>::from(Sha256::digest(certificate)),
            Self::Sha384(digest) => *digest == <[u8; 48]>::from(Sha384::digest(certificate)),
            Self::Sha512(digest) => *digest == <[u8; 64]>::from(Sha512::digest(certificate)),
        }
    }
}

/// The SRTP keys of both directions, as DTLS exported them (RFC 5764 §4.2).
pub struct Keys {
    /// The profile both ends agreed on.
    pub profile: Profile,
    /// For what we send.
    pub local: MasterKeys,
    /// For what the peer sends.
    pub remote: MasterKeys,
}

/// A master key with its salt, owned (RFC 3711 §3.2.1).
pub struct MasterKeys {
    /// As long as the profile says.
    pub key: Vec<u8>,
    /// As long as the profile says.
    pub salt: Vec<u8>,
}

impl MasterKeys {
    /// As the SRTP contexts take them.
    pub fn as_master(&self) -> Master<'_> {
        Master { key: &self.key, salt: &self.salt }
    }
}

impl From<Master<'_>> for MasterKeys {
    fn from(master: Master<'_>) -> Self {
        Self { key: master.key.to_vec(), salt: master.salt.to_vec() }
    }
}

impl Keys {
    /// Sorts exported material by direction (RFC 5764 §4.2).
    fn from_export(profile: Profile, material: &[u8], role: DtlsRole) -> Option<Self> {
        let (client, server) = profile.split_keying_material(material)?;
        let (local, remote) = match role {
            DtlsRole::Client => (client, server),
            DtlsRole::Server => (server, client),
        };
        Some(Self { profile, local: local.into(), remote: remote.into() })
    }
}

/// Why an association ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsFailure {
    /// The peer's certificate is not the one its description announced.
    WrongFingerprint,
    /// No common SRTP profile, or none at all.
    NoSrtpProfile,
    /// The handshake or the association broke: version, cipher suite, certificate kind, timeout.
    Protocol,
}

/// What an association wants.
pub enum DtlsOutput {
    /// The first so many bytes of the buffer are a datagram to send.
    Datagram(usize),
    /// The first so many bytes of the buffer are data from the peer.
    Data(usize),
    /// The peer proved who it is, and media may flow.
    Connected(Box<Keys>),
    /// The peer said goodbye.
    Closed,
    /// Nothing until then.
    Timeout(Option<Instant>),
}

/// One peer's association.
pub struct Dtls {
    engine: Dimpl,
    role: DtlsRole,
    expected: Vec<Fingerprint>,
    is_trusted: bool,
    is_connected: bool,
    keys: Option<Box<Keys>>,
}

impl Dtls {
    /// An association that has not sent anything yet.
    ///
    /// The SRTP profiles are chosen by us as server (AES-GCM first), which only DTLS 1.2 lets us do: the 1.3 engine takes the
    /// client's first, and Chrome's first is the dear AES-CM.
    pub fn new(certificate: Certificate, role: DtlsRole, now: Instant) -> Option<Self> {
        let config = Config::builder().mtu(1200).build().ok()?;
        let mut engine = Dimpl::new_12(Arc::new(config), certificate, now);
        if role == DtlsRole::Client {
            engine.set_active(true);
        }
        Some(Self { engine, role, expected: Vec::new(), is_trusted: false, is_connected: false, keys: None })
    }

    /// What the peer's certificate must match, one of these.
    pub fn set_expected(&mut self, fingerprints: Vec<Fingerprint>) {
        self.expected = fingerprints;
    }

    /// Whether the handshake is over and the peer is who it claims to be.
    pub fn is_connected(&self) -> bool {
        self.is_connected && self.is_trusted
    }

    /// Takes a datagram of the peer.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure> {
        self.handle_timeout(now)?;
        self.engine.handle_packet(datagram).map_err(|_| DtlsFailure::Protocol)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        self.engine.handle_timeout(now).map_err(|_| DtlsFailure::Protocol)
    }

    /// Queues application data: one SCTP packet.
    pub fn send(&mut self, data: &[u8]) -> Result<(), DtlsFailure> {
        self.engine.send_application_data(data).map(|_| ()).map_err(|_| DtlsFailure::Protocol)
    }

    /// Queues a `close_notify`.
    pub fn close(&mut self) {
        // A handshake that has not finished has nobody to tell.
        let _ = self.engine.close();
    }

    /// The next thing to do; call until it is a timeout.
    pub fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Result<DtlsOutput, DtlsFailure> {
        if buffer.len() < 2048 {
            buffer.resize(2048, 0);
        }
        loop {
            match self.engine.poll_output(buffer) {
                dimpl::Output::Packet(packet) => return Ok(DtlsOutput::Datagram(packet.len())),
                dimpl::Output::BufferTooSmall { needed } => buffer.resize(needed.min(MAX_RECORD), 0),
                dimpl::Output::Timeout(at) => return Ok(DtlsOutput::Timeout(Some(at))),
                dimpl::Output::PeerCert(der) => {
                    if !self.expected.iter().any(|fingerprint| fingerprint.matches(der)) {
                        return Err(DtlsFailure::WrongFingerprint);
                    }
                    self.is_trusted = true;
                }
                dimpl::Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        DimplProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
                        DimplProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        DimplProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        _ => return Err(DtlsFailure::NoSrtpProfile),
                    };
                    self.keys = Keys::from_export(profile, &material, self.role).map(Box::new);
                    if let Some(keys) = self.take_keys() {
                        return Ok(DtlsOutput::Connected(keys));
                    }
                }
                dimpl::Output::Connected => {
                    self.is_connected = true;
                    if let Some(keys) = self.take_keys() {
                        return Ok(DtlsOutput::Connected(keys));
                    }
                }
                dimpl::Output::ApplicationData(data) if self.is_trusted => return Ok(DtlsOutput::Data(data.len())),
                dimpl::Output::CloseNotify => return Ok(DtlsOutput::Closed),
                _ => {}
            }
        }
    }

    /// The keys, once: when handshake, certificate and export are all there.
    fn take_keys(&mut self) -> Option<Box<Keys>> {
        if self.is_connected() { self.keys.take() } else { None }
    }
}
