//! One peer's DTLS association (RFC 6347) with key export for SRTP (RFC 5764), over one of two engines.
//!
//! `dimpl` is small, all Rust, lives in the caller's time, and knows ECDSA certificates only, which is what browsers have.
//! OpenSSL takes the peers that may show an RSA certificate: `docs/why/two-dtls-engines.md`. Which one a peer gets, its
//! ClientHello says ([`hello`]).
//!
//! What is ours: the peer's certificate is held against the fingerprints of its description (RFC 8122), and nothing that it
//! sends counts before that.

mod dimpl;
mod hello;
// A core for wasm32 has the one engine that is plain Rust, and no peers with RSA.
#[cfg(not(target_arch = "wasm32"))]
mod openssl;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Instant;

use sha2::{Digest, Sha256, Sha384, Sha512};

use self::dimpl::Dimpl;
use self::hello::{Heard, Hello};
use crate::srtp::{Master, Profile};

/// A certificate with its private key, both DER.
pub type Certificate = ::dimpl::DtlsCertificate;

/// The largest datagram that an engine makes of a handshake: what crosses every path without being cut (RFC 8831 §5 says
/// as much of SCTP).
const MTU: u16 = 1200;

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

/// What carries out the handshake and seals the records.
trait Engine: Send {
    /// Takes a datagram of the peer.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure>;

    /// Lets time pass; a client begins with the first call.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailure>;

    /// Queues application data.
    fn send(&mut self, data: &[u8]) -> Result<(), DtlsFailure>;

    /// Queues a `close_notify`, if there is anybody to tell.
    fn close(&mut self);

    /// The next thing to do; bytes to send or to read are put into the buffer, which grows to fit.
    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Result<EngineOutput, DtlsFailure>;
}

/// What an engine wants. Nothing in it has been checked against the peer's description.
enum EngineOutput {
    /// The first so many bytes of the buffer are a datagram to send.
    Datagram(usize),
    /// The first so many bytes of the buffer are data from the peer.
    Data(usize),
    /// The peer's certificate (DER); the peer has its private key once it is connected.
    Certificate(Vec<u8>),
    /// What was exported for SRTP.
    KeyingMaterial(Profile, Vec<u8>),
    /// The handshake is over.
    Connected,
    /// The peer said goodbye.
    Closed,
    /// Nothing until then.
    Timeout(Option<Instant>),
}

/// Where an association stands with its engine.
enum Stage {
    /// A server that has not heard enough of the ClientHello to choose.
    Listening { hello: Hello, certificate: Certificate },
    /// An engine is at work.
    Running(Box<dyn Engine>),
}

/// One peer's association.
pub struct Dtls {
    stage: Stage,
    role: DtlsRole,
    expected: Vec<Fingerprint>,
    is_trusted: bool,
    is_connected: bool,
    keys: Option<Box<Keys>>,
}

impl Dtls {
    /// An association that has not sent anything yet.
    ///
    /// As server we choose the engine by the ClientHello. As client we would have to choose before the peer says anything of
    /// its certificate, so it is the engine that takes any; few peers let us be client, and none of the browsers.
    pub fn new(certificate: Certificate, role: DtlsRole, now: Instant) -> Option<Self> {
        let stage = match role {
            DtlsRole::Client => Stage::Running(any_certificate(&certificate, role, now)?),
            DtlsRole::Server => Stage::Listening { hello: Hello::default(), certificate },
        };
        Some(Self { stage, role, expected: Vec::new(), is_trusted: false, is_connected: false, keys: None })
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
        let (hello, certificate) = match &mut self.stage {
            Stage::Running(engine) => return engine.handle_datagram(now, datagram),
            Stage::Listening { hello, certificate } => (hello, certificate),
        };
        let engine = match hello.hear(datagram) {
            Heard::NotEnough => return Ok(()),
            Heard::EcdsaStack => Dimpl::new(certificate, self.role, now).map(|engine| Box::new(engine) as _),
            Heard::OtherStack => any_certificate(certificate, self.role, now),
        };
        let mut engine = engine.ok_or(DtlsFailure::Protocol)?;
        for datagram in hello.take_datagrams() {
            engine.handle_datagram(now, &datagram)?;
        }
        self.stage = Stage::Running(engine);
        Ok(())
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        match &mut self.stage {
            Stage::Running(engine) => engine.handle_timeout(now),
            Stage::Listening { .. } => Ok(()),
        }
    }

    /// Queues application data: one SCTP packet.
    pub fn send(&mut self, data: &[u8]) -> Result<(), DtlsFailure> {
        match &mut self.stage {
            Stage::Running(engine) => engine.send(data),
            Stage::Listening { .. } => Err(DtlsFailure::Protocol),
        }
    }

    /// Queues a `close_notify`.
    pub fn close(&mut self) {
        if let Stage::Running(engine) = &mut self.stage {
            engine.close();
        }
    }

    /// The next thing to do; call until it is a timeout.
    pub fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Result<DtlsOutput, DtlsFailure> {
        let Stage::Running(engine) = &mut self.stage else { return Ok(DtlsOutput::Timeout(None)) };
        if buffer.len() < 2048 {
            buffer.resize(2048, 0);
        }
        loop {
            match engine.poll_output(buffer)? {
                EngineOutput::Datagram(len) => return Ok(DtlsOutput::Datagram(len)),
                EngineOutput::Data(len) if self.is_trusted => return Ok(DtlsOutput::Data(len)),
                EngineOutput::Data(_) => {}
                EngineOutput::Certificate(der) => {
                    if !self.expected.iter().any(|fingerprint| fingerprint.matches(&der)) {
                        return Err(DtlsFailure::WrongFingerprint);
                    }
                    self.is_trusted = true;
                }
                EngineOutput::KeyingMaterial(profile, material) => {
                    self.keys = Keys::from_export(profile, &material, self.role).map(Box::new);
                }
                EngineOutput::Connected => self.is_connected = true,
                EngineOutput::Closed => return Ok(DtlsOutput::Closed),
                EngineOutput::Timeout(at) => return Ok(DtlsOutput::Timeout(at)),
            }
            // Once: when handshake, certificate and export are all there.
            if self.is_connected
                && self.is_trusted
                && let Some(keys) = self.keys.take()
            {
                return Ok(DtlsOutput::Connected(keys));
            }
        }
    }
}

/// The engine for peers whose certificate may be of any kind.
#[cfg(not(target_arch = "wasm32"))]
fn any_certificate(certificate: &Certificate, role: DtlsRole, now: Instant) -> Option<Box<dyn Engine>> {
    Some(Box::new(openssl::OpenSsl::new(certificate, role, now)?))
}

/// The only engine there is on this target.
#[cfg(target_arch = "wasm32")]
fn any_certificate(certificate: &Certificate, role: DtlsRole, now: Instant) -> Option<Box<dyn Engine>> {
    Some(Box::new(Dimpl::new(certificate, role, now)?))
}
