//! Both engines against peers of their kind: our own over a network in virtual time, and OpenSSL as other people use it.

use std::sync::LazyLock;
use std::time::Duration;

use ::openssl::asn1::Asn1Time;
use ::openssl::bn::BigNum;
use ::openssl::ec::{EcGroup, EcKey};
use ::openssl::hash::MessageDigest;
use ::openssl::nid::Nid;
use ::openssl::pkey::{PKey, Private};
use ::openssl::rsa::Rsa;
use ::openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslOptions, SslStream, SslVerifyMode};
use ::openssl::x509::{X509, X509NameBuilder};

use super::openssl::Datagrams;
use super::*;

/// Ours, and our peers'.
pub(crate) static ECDSA: LazyLock<Certificate> = LazyLock::new(|| {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    certify(&PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
});
static RSA: LazyLock<Certificate> = LazyLock::new(|| certify(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()));

fn certify(key: &PKey<Private>) -> Certificate {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "webrtc").unwrap();
    let name = name.build();
    let mut x509 = X509::builder().unwrap();
    x509.set_version(2).unwrap();
    x509.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    x509.set_subject_name(&name).unwrap();
    x509.set_issuer_name(&name).unwrap();
    x509.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    x509.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    x509.set_pubkey(key).unwrap();
    x509.sign(key, MessageDigest::sha256()).unwrap();
    Certificate { certificate: x509.build().to_der().unwrap(), private_key: key.private_key_to_pkcs8().unwrap() }
}

pub(crate) fn fingerprint(certificate: &Certificate) -> Fingerprint {
    Fingerprint::Sha256(Fingerprint::sha256(&certificate.certificate))
}

/// One end of an association.
trait End {
    fn hand(&mut self, now: Instant, datagram: &[u8]);
    /// Lets time pass and takes what is to be sent.
    fn drain(&mut self, now: Instant) -> Vec<Vec<u8>>;
}

/// An association of ours with all that came of it.
struct Ours {
    dtls: Dtls,
    keys: Option<Box<Keys>>,
    data: Vec<Vec<u8>>,
    is_closed: bool,
    failure: Option<DtlsFailure>,
    timeout: Option<Instant>,
}

impl Ours {
    fn new(dtls: Dtls, peer: &Certificate) -> Self {
        let mut ours = Self { dtls, keys: None, data: Vec::new(), is_closed: false, failure: None, timeout: None };
        ours.dtls.set_expected(vec![fingerprint(peer)]);
        ours
    }

    fn server(now: Instant, peer: &Certificate) -> Self {
        Self::new(Dtls::new(ECDSA.clone(), DtlsRole::Server, now).unwrap(), peer)
    }

    fn client(now: Instant, own: &Certificate, peer: &Certificate) -> Self {
        Self::new(Dtls::new(own.clone(), DtlsRole::Client, now).unwrap(), peer)
    }

    /// A client like a browser.
    fn dimpl_client(now: Instant, peer: &Certificate) -> Self {
        let mut ours = Self::client(now, &ECDSA, peer);
        ours.dtls.stage = Stage::Running(Box::new(Dimpl::new(&ECDSA, DtlsRole::Client, now).unwrap()));
        ours
    }

    fn profile(&self) -> Option<Profile> {
        self.keys.as_ref().map(|keys| keys.profile)
    }
}

impl End for Ours {
    fn hand(&mut self, now: Instant, datagram: &[u8]) {
        if self.failure.is_none() {
            self.failure = self.dtls.handle_datagram(now, datagram).err();
        }
    }

    fn drain(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut buffer = Vec::new();
        if self.failure.is_none() {
            self.failure = self.dtls.handle_timeout(now).err();
        }
        while self.failure.is_none() {
            match self.dtls.poll_output(&mut buffer) {
                Ok(DtlsOutput::Datagram(len)) => datagrams.push(buffer[..len].to_vec()),
                Ok(DtlsOutput::Data(len)) => self.data.push(buffer[..len].to_vec()),
                Ok(DtlsOutput::Connected(keys)) => self.keys = Some(keys),
                Ok(DtlsOutput::Closed) => self.is_closed = true,
                Ok(DtlsOutput::Timeout(at)) => {
                    self.timeout = at;
                    break;
                }
                Err(failure) => self.failure = Some(failure),
            }
        }
        datagrams
    }
}

/// OpenSSL as GStreamer uses it: all suites, an MTU of its own choice, one SRTP profile.
struct Theirs {
    stream: SslStream<Datagrams>,
    is_connected: bool,
    has_failed: bool,
    data: Vec<Vec<u8>>,
}

impl Theirs {
    fn new(own: &Certificate, role: DtlsRole, profiles: Option<&str>) -> Self {
        let mut context = SslContext::builder(SslMethod::dtls()).unwrap();
        context.set_cipher_list("ALL:!ADH:!LOW:!EXP:!MD5:@STRENGTH").unwrap();
        context.set_certificate(&X509::from_der(&own.certificate).unwrap()).unwrap();
        context.set_private_key(&PKey::private_key_from_der(&own.private_key).unwrap()).unwrap();
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        context.set_options(SslOptions::NO_QUERY_MTU);
        if let Some(profiles) = profiles {
            context.set_tlsext_use_srtp(profiles).unwrap();
        }
        let mut ssl = Ssl::new(&context.build()).unwrap();
        ssl.set_mtu(256).unwrap();
        match role {
            DtlsRole::Client => ssl.set_connect_state(),
            DtlsRole::Server => ssl.set_accept_state(),
        }
        let stream = SslStream::new(ssl, Datagrams::default()).unwrap();
        Self { stream, is_connected: false, has_failed: false, data: Vec::new() }
    }

    fn keying_material(&self, profile: Profile) -> Vec<u8> {
        let mut material = vec![0; profile.keying_material_len()];
        self.stream.ssl().export_keying_material(&mut material, "EXTRACTOR-dtls_srtp", None).unwrap();
        material
    }

    fn advance(&mut self) {
        if !self.is_connected {
            match self.stream.do_handshake() {
                Ok(()) => self.is_connected = true,
                Err(error) if error.code() == ErrorCode::WANT_READ => return,
                Err(_) => {
                    self.has_failed = true;
                    return;
                }
            }
        }
        let mut buffer = [0; 4096];
        while let Ok(len) = self.stream.ssl_read(&mut buffer) {
            self.data.push(buffer[..len].to_vec());
        }
    }
}

impl End for Theirs {
    fn hand(&mut self, _now: Instant, datagram: &[u8]) {
        self.stream.get_mut().arrive(Some(datagram));
        self.advance();
    }

    fn drain(&mut self, _now: Instant) -> Vec<Vec<u8>> {
        if !self.is_connected && !self.has_failed {
            self.stream.get_mut().arrive(None);
            self.advance();
        }
        self.stream.get_mut().outbound.drain(..).collect()
    }
}

/// Carries datagrams both ways until there are none; those that `lose` picks by their number get lost.
fn carry(now: Instant, one: &mut impl End, other: &mut impl End, mut lose: impl FnMut(usize) -> bool) {
    let mut count = 0;
    loop {
        let (there, back) = (one.drain(now), other.drain(now));
        if there.is_empty() && back.is_empty() {
            return;
        }
        for datagram in there {
            count += 1;
            if !lose(count) {
                other.hand(now, &datagram);
            }
        }
        for datagram in back {
            count += 1;
            if !lose(count) {
                one.hand(now, &datagram);
            }
        }
    }
}

fn keep(_: usize) -> bool {
    false
}

#[allow(clippy::disallowed_methods)] // `Instant` has no zero; nothing here depends on which it is
fn start() -> Instant {
    // Making keys takes a while, and is no part of what follows.
    LazyLock::force(&ECDSA);
    LazyLock::force(&RSA);
    Instant::now()
}

fn assert_same_keys(keys: &Keys, material: &[u8], role: DtlsRole) {
    let expected = Keys::from_export(keys.profile, material, role).unwrap();
    assert_eq!((&keys.local.key, &keys.local.salt), (&expected.local.key, &expected.local.salt));
    assert_eq!((&keys.remote.key, &keys.remote.salt), (&expected.remote.key, &expected.remote.salt));
    assert_ne!(keys.local.key, keys.remote.key);
}

#[test]
fn a_client_with_rsa_connects_and_talks() {
    let now = start();
    let mut server = Ours::server(now, &RSA);
    let mut client = Theirs::new(&RSA, DtlsRole::Client, Some("SRTP_AES128_CM_SHA1_80"));
    carry(now, &mut client, &mut server, keep);
    assert!(client.is_connected && server.dtls.is_connected(), "{:?}", server.failure);
    let keys = server.keys.take().unwrap();
    assert_same_keys(&keys, &client.keying_material(Profile::Aes128CmSha1_80), DtlsRole::Server);

    server.dtls.send(b"from us").unwrap();
    client.stream.get_mut().arrive(None);
    client.stream.ssl_write(b"to us").unwrap();
    carry(now, &mut client, &mut server, keep);
    assert_eq!((client.data, server.data), (vec![b"from us".to_vec()], vec![b"to us".to_vec()]));
    assert_eq!(server.timeout, None);
}

#[test]
fn a_server_with_rsa_connects() {
    let now = start();
    let mut client = Ours::client(now, &ECDSA, &RSA);
    let mut server = Theirs::new(&RSA, DtlsRole::Server, Some("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM"));
    carry(now, &mut client, &mut server, keep);
    assert!(server.is_connected && client.dtls.is_connected(), "{:?}", client.failure);
    let keys = client.keys.take().unwrap();
    assert_same_keys(&keys, &server.keying_material(keys.profile), DtlsRole::Client);
}

#[test]
fn gcm_is_what_a_peer_ends_up_with() {
    let all = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM";
    for (offered, chosen) in [
        (all, Profile::AeadAes128Gcm),
        ("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", Profile::AeadAes256Gcm),
        ("SRTP_AES128_CM_SHA1_80", Profile::Aes128CmSha1_80),
    ] {
        let now = start();
        let mut server = Ours::server(now, &RSA);
        carry(now, &mut Theirs::new(&RSA, DtlsRole::Client, Some(offered)), &mut server, keep);
        assert_eq!(server.profile(), Some(chosen));
    }
}

#[test]
fn a_wrong_certificate_is_refused_before_anything_counts() {
    let now = start();
    let mut server = Ours::server(now, &ECDSA);
    let mut client = Theirs::new(&RSA, DtlsRole::Client, Some("SRTP_AES128_CM_SHA1_80"));
    carry(now, &mut client, &mut server, keep);
    assert_eq!(server.failure, Some(DtlsFailure::WrongFingerprint));
    assert!(server.keys.is_none() && !server.dtls.is_connected());
    assert!(!client.is_connected, "it did not even get our last flight");
}

#[test]
fn a_peer_without_srtp_fails() {
    for profiles in [None, Some("SRTP_AES128_CM_SHA1_32")] {
        let now = start();
        let mut server = Ours::server(now, &RSA);
        carry(now, &mut Theirs::new(&RSA, DtlsRole::Client, profiles), &mut server, keep);
        assert_eq!(server.failure, Some(DtlsFailure::NoSrtpProfile));
    }
}

#[test]
fn both_ends_say_goodbye() {
    let now = start();
    let mut server = Ours::server(now, &RSA);
    let mut client = Ours::client(now, &RSA, &ECDSA);
    carry(now, &mut client, &mut server, keep);
    assert_eq!((client.profile(), server.profile()), (Some(Profile::AeadAes128Gcm), Some(Profile::AeadAes128Gcm)));
    client.dtls.close();
    carry(now, &mut client, &mut server, keep);
    assert!(server.is_closed && server.failure.is_none());

    let mut early = Ours::server(now, &RSA);
    early.dtls.close();
    assert!(early.drain(now).is_empty(), "nobody to tell");
}

#[test]
fn a_burst_of_data_arrives_whole_and_one_too_large_ends_nothing() {
    let now = start();
    let mut server = Ours::server(now, &ECDSA);
    let mut client = Ours::dimpl_client(now, &ECDSA);
    carry(now, &mut client, &mut server, keep);
    for (burst, arrives) in [(200, 200), (10_000, 4096)] {
        client.data.clear();
        for _ in 0..burst {
            server.dtls.send(&[7; 1000]).unwrap();
        }
        // As the router does: each datagram is taken apart before the next.
        for datagram in server.drain(now) {
            client.hand(now, &datagram);
            client.drain(now);
        }
        assert_eq!(client.data.len(), arrives);
    }
    assert!(server.failure.is_none() && client.failure.is_none());
}

/// Loses one datagram, then lets time pass until both are connected.
fn connect_after_loss(lost: usize, start: Instant, client: &mut Ours, server: &mut Ours) {
    let mut now = start;
    carry(now, client, server, |count| count == lost);
    for _ in 0..4 {
        if client.keys.is_some() && server.keys.is_some() {
            break;
        }
        let due = [client.timeout, server.timeout].into_iter().flatten().min().unwrap();
        assert!(due > now, "a deadline that has passed would spin");
        now = due;
        carry(now, client, server, keep);
    }
    assert!(client.keys.is_some() && server.keys.is_some(), "after the loss of datagram {lost}");
    assert!(now - start <= Duration::from_secs(4), "{:?}", now - start);
    client.dtls.send(b"ping").unwrap();
    carry(now, client, server, keep);
    assert_eq!(server.data, [b"ping".to_vec()]);
}

#[test]
fn lost_flights_come_again_when_our_own_time_says_so() {
    let now = start();
    for lost in 1..=6 {
        let mut server = Ours::server(now, &ECDSA);
        server.dtls.stage = Stage::Running(any_certificate(&ECDSA, DtlsRole::Server, now).unwrap());
        connect_after_loss(lost, now, &mut Ours::dimpl_client(now, &ECDSA), &mut server);
    }
    for lost in 1..=3 {
        let mut client = Ours::client(now, &RSA, &ECDSA);
        connect_after_loss(lost, now, &mut client, &mut Ours::server(now, &RSA));
    }
}

/// The one repetition that OpenSSL's own timer makes, so this takes the second that it takes.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_client_asks_for_the_last_flight_of_the_server() {
    let mut now = start();
    let mut client = Ours::client(now, &RSA, &ECDSA);
    let mut server = Ours::server(now, &RSA);
    carry(now, &mut client, &mut server, |count| count == 4);
    assert!(server.keys.is_some() && client.keys.is_none(), "the fourth is the server's last");
    // On a slow machine OpenSSL's second may begin too late for our first deadline; then the next one does it.
    while client.keys.is_none() && client.failure.is_none() {
        if client.timeout.is_some_and(|due| due <= now) {
            carry(now, &mut client, &mut server, keep);
        }
        std::thread::yield_now();
        now = Instant::now();
    }
    assert_eq!(client.failure, None);
}

#[test]
fn a_client_that_nobody_answers_asks_seldomer_and_gives_up() {
    let start = start();
    let mut client = Ours::client(start, &RSA, &ECDSA);
    let mut asked_at = Vec::new();
    let mut now = start;
    while client.failure.is_none() {
        for _ in client.drain(now) {
            asked_at.push((now - start).as_secs());
        }
        now = client.timeout.unwrap().max(now);
    }
    assert_eq!(asked_at, [0, 1, 3, 7, 15, 31]);
    assert_eq!((client.failure, now - start), (Some(DtlsFailure::Protocol), Duration::from_secs(40)));
}

#[test]
fn a_browser_gets_the_engine_for_browsers() {
    let now = start();
    let mut server = Ours::server(now, &ECDSA);
    let mut client = Ours::dimpl_client(now, &ECDSA);
    let hello = client.drain(now);
    assert_eq!(Hello::default().hear(&hello[0]), Heard::EcdsaStack);
    for datagram in hello {
        server.hand(now, &datagram);
    }
    carry(now, &mut client, &mut server, keep);
    assert!(client.keys.is_some() && server.keys.is_some(), "{:?} {:?}", client.failure, server.failure);
    client.dtls.send(b"ping").unwrap();
    carry(now, &mut client, &mut server, keep);
    assert_eq!(server.data, [b"ping".to_vec()]);
}

#[test]
fn garbage_is_no_reason_to_fail() {
    let now = start();
    let mut server = Ours::server(now, &RSA);
    let mut client = Theirs::new(&RSA, DtlsRole::Client, Some("SRTP_AES128_CM_SHA1_80"));
    let hello = client.drain(now);
    let garbage = |server: &mut Ours| {
        for kind in 20..=63 {
            for len in [1, 13, 14, 25, 200] {
                let mut datagram = vec![0x5a; len];
                datagram[0] = kind;
                server.hand(now, &datagram);
            }
        }
        // A record of the right version whose content is nothing.
        server.hand(now, &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 1, 2, 3]);
        assert_eq!(server.failure, None);
    };
    garbage(&mut server);
    assert_eq!(hello.len(), 2, "in two parts, as from GStreamer");
    server.hand(now, &hello[0]);
    assert!(server.drain(now).is_empty(), "it waits for the rest");
    server.hand(now, &hello[1]);
    carry(now, &mut client, &mut server, keep);
    garbage(&mut server);
    client.stream.get_mut().arrive(None);
    client.stream.ssl_write(b"still here").unwrap();
    carry(now, &mut client, &mut server, keep);
    assert_eq!(server.data, [b"still here".to_vec()]);
}
