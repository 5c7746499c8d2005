//! The engine for browsers: the sans-IO crate `dimpl`, DTLS 1.2 with ECDSA certificates.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Error, Output, SrtpProfile};

use super::{Certificate, DtlsFailure, DtlsRole, Engine, EngineOutput, MAX_RECORD, MTU};
use crate::srtp::Profile;

/// Datagrams that may wait between two calls of `poll_output`: more than an association sends at once, whose window is
/// rarely above a megabyte. The crate's ten were less than a burst of data.
const MAX_QUEUE: usize = 4096;

/// A flight that is not answered is sent again after so long, then after twice as long and so on. RFC 6347 §4.2.4.1 has a
/// second, for networks where nobody waits for a picture; a flight too many is 2 kB.
const FIRST_RETRY: Duration = Duration::from_millis(150);
/// Until the handshake as a whole is given up.
const RETRIES: usize = 8;

pub(super) struct Dimpl(dimpl::Dtls);

impl Dimpl {
    /// The SRTP profiles are chosen by us as server (AES-GCM first), which only DTLS 1.2 lets us do: the 1.3 engine takes the
    /// client's first, and Chrome's first is the dear AES-CM.
    pub(super) fn new(certificate: &Certificate, role: DtlsRole, now: Instant) -> Option<Self> {
        let config = Config::builder()
            .mtu(usize::from(MTU))
            .max_queue_tx(MAX_QUEUE)
            // Who gets here has passed a connectivity check on this path, which proves more than a cookie (RFC 6347 §4.2.1)
            // does; a round trip less until the first picture.
            .use_server_cookie(false)
            .flight_start_rto(FIRST_RETRY)
            .flight_retries(RETRIES)
            .build()
            .ok()?;
        let mut engine = dimpl::Dtls::new_12(Arc::new(config), certificate.clone(), now);
        if role == DtlsRole::Client {
            engine.set_active(true);
        }
        Some(Self(engine))
    }
}

impl Engine for Dimpl {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure> {
        self.handle_timeout(now)?;
        self.0.handle_packet(datagram).map_err(|_| DtlsFailure::Protocol)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        self.0.handle_timeout(now).map_err(|_| DtlsFailure::Protocol)
    }

    fn send(&mut self, data: &[u8]) -> Result<(), DtlsFailure> {
        match self.0.send_application_data(data) {
            // A packet too many is a lost packet, which SCTP knows to repeat.
            Ok(_) | Err(Error::TransmitQueueFull) => Ok(()),
            Err(_) => Err(DtlsFailure::Protocol),
        }
    }

    fn close(&mut self) {
        // A handshake that has not finished has nobody to tell.
        let _ = self.0.close();
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Result<EngineOutput, DtlsFailure> {
        loop {
            return Ok(match self.0.poll_output(buffer) {
                Output::Packet(packet) => EngineOutput::Datagram(packet.len()),
                Output::BufferTooSmall { needed } => {
                    buffer.resize(needed.min(MAX_RECORD), 0);
                    continue;
                }
                Output::Timeout(at) => EngineOutput::Timeout(Some(at)),
                Output::PeerCert(der) => EngineOutput::Certificate(der.to_vec()),
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
                        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        _ => return Err(DtlsFailure::NoSrtpProfile),
                    };
                    EngineOutput::KeyingMaterial(profile, material.to_vec())
                }
                Output::Connected => EngineOutput::Connected,
                Output::ApplicationData(data) => EngineOutput::Data(data.len()),
                Output::CloseNotify => EngineOutput::Closed,
                _ => continue,
            });
        }
    }
}
