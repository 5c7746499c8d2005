//! The engine for peers whose certificate may be of any kind: OpenSSL, DTLS 1.2, through the safe crate `openssl`.
//!
//! OpenSSL believes in sockets and in the machine's clock. It gets two queues instead of a socket. Its clock it keeps, but
//! nothing depends on it: what its retransmission timer sends is told apart and thrown away ([`Datagrams`]), and the flight
//! that waits for an answer goes out again when our own deadline, counted in the caller's `now`, says so. Such a flight is
//! repeated to the byte: a peer that has seen a record drops its repetition (RFC 6347 §4.1.2.6), one that has not takes it.
//! When a client repeats its last flight because it misses ours (RFC 6347 §4.2.4), OpenSSL answers without a timer.
//!
//! One repetition must not be to the byte: ours of the last flight as client, by which the server learns that its own got
//! lost, needs a new record number. So as client we let OpenSSL's timer send when our deadline comes. In real time the two
//! agree; where time is virtual, OpenSSL has nothing to send yet and the old bytes go out.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslStream, SslVerifyMode,
    SslVersion,
};
use openssl::x509::X509;

use super::{Certificate, DtlsFailure, DtlsRole, Engine, EngineOutput, MAX_RECORD, MTU};
use crate::srtp::Profile;

/// Forward secrecy and authenticated encryption, as RFC 8827 §6.5 wants them. As server we have an ECDSA certificate; the
/// suites with RSA are for servers that have the other kind.
const SUITES: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:\
                      ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305";

/// In the order of [`Profile::ALL`], of which we as server choose the first that the client has.
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";

/// What SRTP keys are exported under (RFC 5764 §4.2).
const SRTP_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// How long a flight waits for its answer, the first time; doubled each time (RFC 6347 §4.2.4.1).
const FIRST_RESEND: Duration = Duration::from_secs(1);

/// When a handshake is over if it has not ended, as in the other engine.
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) struct OpenSsl {
    stream: SslStream<Datagrams>,
    handshake: Option<Handshake>,
    /// What came of the datagrams so far.
    news: VecDeque<News>,
}

/// A handshake under way.
struct Handshake {
    role: DtlsRole,
    /// What was sent last and has not been answered.
    flight: Vec<Vec<u8>>,
    resend_after: Duration,
    resend_at: Option<Instant>,
    gives_up_at: Option<Instant>,
}

impl Handshake {
    fn deadline(&self) -> Option<Instant> {
        [self.resend_at, self.gives_up_at].into_iter().flatten().min()
    }
}

enum News {
    Certificate(Vec<u8>),
    KeyingMaterial(Profile, Vec<u8>),
    Connected,
    Data(Vec<u8>),
    Closed,
}

impl OpenSsl {
    pub(super) fn new(certificate: &Certificate, role: DtlsRole, _now: Instant) -> Option<Self> {
        let ssl = configure(certificate, role).ok()?;
        let stream = SslStream::new(ssl, Datagrams::default()).ok()?;
        let handshake = Some(Handshake {
            role,
            flight: Vec::new(),
            resend_after: FIRST_RESEND,
            resend_at: None,
            gives_up_at: None,
        });
        Some(Self { stream, handshake, news: VecDeque::new() })
    }

    /// Goes as far as what has come allows.
    fn advance(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        if let Some(handshake) = &mut self.handshake {
            let sent_before = self.stream.get_ref().outbound.len();
            let done = self.stream.do_handshake();
            let answer: Vec<_> = self.stream.get_ref().outbound.iter().skip(sent_before).cloned().collect();
            if !answer.is_empty() {
                handshake.flight = answer;
                handshake.resend_after = FIRST_RESEND;
                handshake.resend_at = Some(now + FIRST_RESEND);
            }
            match done {
                Ok(()) => self.finish()?,
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(()),
                Err(_) => return Err(DtlsFailure::Protocol),
            }
        }
        self.read()
    }

    /// The handshake is over: who was it, and what are the keys?
    fn finish(&mut self) -> Result<(), DtlsFailure> {
        let ssl = self.stream.ssl();
        let certificate = ssl.peer_certificate().and_then(|certificate| certificate.to_der().ok());
        self.news.push_back(News::Certificate(certificate.ok_or(DtlsFailure::WrongFingerprint)?));
        let profile = ssl.selected_srtp_profile().ok_or(DtlsFailure::NoSrtpProfile)?;
        let id = u16::try_from(profile.id().as_raw()).ok();
        let profile = id.and_then(Profile::from_id).ok_or(DtlsFailure::NoSrtpProfile)?;
        let mut material = vec![0; profile.keying_material_len()];
        ssl.export_keying_material(&mut material, SRTP_LABEL, None).map_err(|_| DtlsFailure::Protocol)?;
        self.news.push_back(News::KeyingMaterial(profile, material));
        self.news.push_back(News::Connected);
        self.handshake = None;
        Ok(())
    }

    /// Opens the records that have come.
    fn read(&mut self) -> Result<(), DtlsFailure> {
        let mut record = vec![0; MAX_RECORD];
        loop {
            match self.stream.ssl_read(&mut record) {
                Ok(len) => self.news.push_back(News::Data(record.get(..len).unwrap_or(&[]).to_vec())),
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ => return Ok(()),
                    ErrorCode::ZERO_RETURN => {
                        self.news.push_back(News::Closed);
                        return Ok(());
                    }
                    _ => return Err(DtlsFailure::Protocol),
                },
            }
        }
    }
}

impl Engine for OpenSsl {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure> {
        self.handle_timeout(now)?;
        self.stream.get_mut().arrive(Some(datagram));
        self.advance(now)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        let Some(handshake) = &mut self.handshake else { return Ok(()) };
        if *handshake.gives_up_at.get_or_insert(now + PATIENCE) <= now {
            return Err(DtlsFailure::Protocol);
        }
        if handshake.role == DtlsRole::Client && handshake.flight.is_empty() {
            self.stream.get_mut().arrive(None);
            return self.advance(now);
        }
        if handshake.resend_at.is_some_and(|at| at <= now) {
            handshake.resend_after *= 2;
            handshake.resend_at = Some(now + handshake.resend_after);
            let sent_before = self.stream.get_ref().outbound.len();
            if handshake.role == DtlsRole::Client {
                self.stream.get_mut().arrive(None);
                self.stream.get_mut().is_timer_heard = true;
                // There is nothing to read, so the handshake gets no further.
                let _ = self.stream.do_handshake();
            }
            let outbound = &mut self.stream.get_mut().outbound;
            if outbound.len() == sent_before {
                outbound.extend(handshake.flight.iter().cloned());
            }
        }
        Ok(())
    }

    fn send(&mut self, data: &[u8]) -> Result<(), DtlsFailure> {
        if self.handshake.is_some() {
            return Err(DtlsFailure::Protocol);
        }
        self.stream.get_mut().arrive(None);
        self.stream.ssl_write(data).map(|_| ()).map_err(|_| DtlsFailure::Protocol)
    }

    fn close(&mut self) {
        if self.handshake.is_none() {
            self.stream.get_mut().arrive(None);
            // Who has gone already hears no goodbye.
            let _ = self.stream.shutdown();
        }
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Result<EngineOutput, DtlsFailure> {
        let mut fill = |bytes: &[u8]| {
            if buffer.len() < bytes.len() {
                buffer.resize(bytes.len(), 0);
            }
            buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            bytes.len()
        };
        // The news first: a peer that is not who it should be gets no answer.
        Ok(match self.news.pop_front() {
            Some(News::Certificate(der)) => EngineOutput::Certificate(der),
            Some(News::KeyingMaterial(profile, material)) => EngineOutput::KeyingMaterial(profile, material),
            Some(News::Connected) => EngineOutput::Connected,
            Some(News::Data(data)) => EngineOutput::Data(fill(&data)),
            Some(News::Closed) => EngineOutput::Closed,
            None => match self.stream.get_mut().outbound.pop_front() {
                Some(datagram) => EngineOutput::Datagram(fill(&datagram)),
                None => EngineOutput::Timeout(self.handshake.as_ref().and_then(Handshake::deadline)),
            },
        })
    }
}

/// What OpenSSL has for a socket: a datagram to read, and datagrams to send.
#[derive(Default)]
pub(super) struct Datagrams {
    inbound: Option<Vec<u8>>,
    pub(super) outbound: VecDeque<Vec<u8>>,
    /// Everything was read since [`arrive`](Self::arrive). OpenSSL answers what it reads before it reads on; only when it
    /// finds nothing more does it look at its timer. So what is written from then on is the timer's.
    is_dry: bool,
    /// What the timer writes is sent.
    is_timer_heard: bool,
}

impl Datagrams {
    /// Before every call of OpenSSL: what there is to read, if anything.
    pub(super) fn arrive(&mut self, datagram: Option<&[u8]>) {
        self.inbound = datagram.map(<[u8]>::to_vec);
        self.is_dry = false;
        self.is_timer_heard = false;
    }
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.inbound.take() else {
            self.is_dry = true;
            return Err(io::ErrorKind::WouldBlock.into());
        };
        datagram.as_slice().read(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if !self.is_dry || self.is_timer_heard {
            self.outbound.push_back(datagram.to_vec());
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn configure(certificate: &Certificate, role: DtlsRole) -> Result<Ssl, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::dtls())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_cipher_list(SUITES)?;
    context.set_tlsext_use_srtp(SRTP_PROFILES)?;
    let (x509, key) =
        (X509::from_der(&certificate.certificate)?, PKey::private_key_from_der(&certificate.private_key)?);
    context.set_certificate(&x509)?;
    context.set_private_key(&key)?;
    // Nobody has signed a certificate of WebRTC but its owner, so every one passes here; the handshake proves that the peer
    // has the private key, and whose certificate it is, its fingerprint says.
    context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
    context.set_options(
        SslOptions::NO_QUERY_MTU
            | SslOptions::NO_TICKET
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_mode(SslMode::RELEASE_BUFFERS);
    let mut ssl = Ssl::new(&context.build())?;
    ssl.set_mtu(u32::from(MTU))?;
    match role {
        DtlsRole::Client => ssl.set_connect_state(),
        DtlsRole::Server => ssl.set_accept_state(),
    }
    Ok(ssl)
}
