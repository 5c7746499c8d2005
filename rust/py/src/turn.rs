//! The TURN server and the STUN question as Python sees them: text for addresses, one dictionary of counters.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rtpcore_turn::{Config, DROPS, Keys, Limits, Media, Network, Policy, RelayAddress, Server, TlsError, tls_config};

use crate::errors::Error;

type Address = (String, u16);

/// A TURN server, from its start to its end.
#[pyclass(frozen, module = "rtpcore._core")]
pub(crate) struct TurnServer {
    running: Mutex<Option<Server>>,
}

#[pymethods]
impl TurnServer {
    /// Binds the sockets and starts the thread.
    #[new]
    #[pyo3(signature = (*, udp, tcp, certificate, keys, relays, ports, media, denied, allowed, relays_of_one, patience_ms, idle_ms))]
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // keyword-only, filled in by rtpcore.turn alone
    fn new(
        py: Python<'_>,
        udp: Vec<Address>,
        tcp: Vec<Address>,
        certificate: Option<(Vec<u8>, Vec<u8>)>,
        keys: HashMap<String, String>,
        relays: Vec<(String, String)>,
        ports: (u16, u16),
        media: Vec<(Address, Address)>,
        denied: Vec<(String, u8)>,
        allowed: Vec<(String, u8)>,
        relays_of_one: usize,
        patience_ms: u64,
        idle_ms: u64,
    ) -> Result<Self, Error> {
        let tls = match &certificate {
            None => None,
            Some((certificate, key)) => Some(tls_config(certificate, key)?),
        };
        let relays = relays.iter().map(|(local, advertised)| -> Result<_, Error> {
            Ok(RelayAddress { local: ip(local)?, advertised: ip(advertised)? })
        });
        let media = media.iter().map(|(advertised, local)| -> Result<_, Error> {
            Ok(Media { advertised: address(advertised)?, local: address(local)? })
        });
        let policy = Policy {
            media: media.collect::<Result<_, _>>()?,
            own: Vec::new(),
            denied: networks(&denied)?,
            allowed: networks(&allowed)?,
        };
        let config = Config {
            udp: udp.iter().map(address).collect::<Result<_, _>>()?,
            tcp: tcp.iter().map(address).collect::<Result<_, _>>()?,
            tls,
            keys: Keys::new(keys),
            relays: relays.collect::<Result<_, _>>()?,
            ports: ports.0..=ports.1,
            policy,
            limits: Limits {
                relays_of_one,
                patience: Duration::from_millis(patience_ms),
                idle: Duration::from_millis(idle_ms),
                ..Limits::default()
            },
        };
        let server = py.detach(|| Server::start(config))?;
        Ok(Self { running: Mutex::new(Some(server)) })
    }

    /// Ends all relays and joins the thread. Idempotent.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            let taken = self.lock().take();
            if let Some(mut server) = taken {
                server.stop();
            }
        });
    }

    /// Where it listens, for datagrams and for connections, with the ports that the kernel chose for 0.
    #[allow(clippy::type_complexity)] // two lists of addresses
    fn addresses(&self) -> Result<(Vec<Address>, Vec<Address>), Error> {
        let texts = |addresses: &[SocketAddr]| addresses.iter().map(|at| (at.ip().to_string(), at.port())).collect();
        self.with(|server| Ok((texts(server.udp()), texts(server.tcp()))))
    }

    /// What it did so far.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let lock = self.lock();
        let server = lock.as_ref().ok_or(Error::Closed("TURN server"))?;
        let counters = server.counters();
        let stats = PyDict::new(py);
        for (name, counter) in [
            ("clients", &counters.clients),
            ("connections", &counters.connections),
            ("allocations", &counters.allocations),
            ("allocations_made", &counters.allocations_made),
            ("packets_to_peers", &counters.packets_to_peers),
            ("bytes_to_peers", &counters.bytes_to_peers),
            ("packets_to_clients", &counters.packets_to_clients),
            ("bytes_to_clients", &counters.bytes_to_clients),
        ] {
            stats.set_item(name, counter.load(Ordering::Relaxed))?;
        }
        let drops = PyDict::new(py);
        for (reason, name) in DROPS {
            drops.set_item(name, counters.drops(reason))?;
        }
        stats.set_item("drops", drops)?;
        Ok(stats)
    }
}

impl TurnServer {
    fn lock(&self) -> MutexGuard<'_, Option<Server>> {
        // Nothing below panics while holding it; if it did, the value is whole all the same.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, action: impl FnOnce(&Server) -> Result<T, Error>) -> Result<T, Error> {
        action(self.lock().as_ref().ok_or(Error::Closed("TURN server"))?)
    }
}

/// A STUN Binding request; `transaction` is twelve random bytes.
#[pyfunction]
pub(crate) fn stun_request(py: Python<'_>, transaction: [u8; 12]) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &rtpcore_turn::binding_request(transaction))
}

/// The address and port in the answer to it; None where `answer` is none.
#[pyfunction]
pub(crate) fn stun_answer(answer: &[u8], transaction: [u8; 12]) -> Option<Address> {
    rtpcore_turn::mapped_address(answer, transaction).map(|at| (at.ip().to_string(), at.port()))
}

impl From<rtpcore_turn::StartError> for Error {
    fn from(error: rtpcore_turn::StartError) -> Self {
        Self::Start(match error {
            rtpcore_turn::StartError::Bind(address, cause) => rtpcore_net::StartError::Bind(address, cause),
            rtpcore_turn::StartError::System(cause) => rtpcore_net::StartError::System(cause),
        })
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::NoCertificate => Self::Config("turn.cert_file", "holds no certificate in PEM".into()),
            TlsError::NoKey => Self::Config("turn.key_file", "holds no private key in PEM".into()),
            TlsError::Unusable(cause) => {
                Self::Config("turn.cert_file", format!("and turn.key_file cannot be used together: {cause}"))
            }
        }
    }
}

fn ip(text: &str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| Error::Parameters(format!("{text:?} is not an IP address")))
}

fn address((host, port): &Address) -> Result<SocketAddr, Error> {
    Ok(SocketAddr::new(ip(host)?, *port))
}

fn networks(texts: &[(String, u8)]) -> Result<Vec<Network>, Error> {
    texts.iter().map(|(text, prefix)| Ok(Network { address: ip(text)?, prefix: *prefix })).collect()
}
