//! Datagrams of a peer that ICE has let in, for a DTLS server that has to find out who is asking and which engine to give it.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rtpcore_core::dtls::{Certificate, Dtls, DtlsOutput, DtlsRole, Fingerprint};
use rtpcore_fuzz::Input;

// An identity for this and nothing else.
const CERTIFICATE: &[u8] = include_bytes!("../src/certificate.der");
const KEY: &[u8] = include_bytes!("../src/key.der");

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let certificate = Certificate { certificate: CERTIFICATE.to_vec(), private_key: KEY.to_vec() };
    let mut dtls = Dtls::new(certificate, DtlsRole::Server, now).expect("the identity is sound");
    dtls.set_expected(vec![Fingerprint::Sha256(Fingerprint::sha256(CERTIFICATE))]);

    let mut input = Input(data);
    let mut buffer = Vec::new();
    while let Some(later) = input.byte() {
        let Some(datagram) = input.chunk() else { break };
        now += Duration::from_millis(10 * u64::from(later));
        if dtls.handle_timeout(now).is_err() || dtls.handle_datagram(now, datagram).is_err() {
            return;
        }
        loop {
            match dtls.poll_output(&mut buffer) {
                Ok(DtlsOutput::Datagram(len)) => assert!(0 < len && len <= 1200, "{len} bytes"),
                Ok(DtlsOutput::Timeout(at)) => {
                    assert!(at.is_none_or(|at| at > now));
                    break;
                }
                Ok(DtlsOutput::Connected(_) | DtlsOutput::Data(_)) => panic!("nobody guesses a private key"),
                Ok(DtlsOutput::Closed) | Err(_) => return,
            }
        }
    }
    assert!(!dtls.is_connected());
});
