//! The running forwarder as Python sees it: numbers for names, text for candidates, one call per command.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dimpl::certificate::generate_self_signed_certificate;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use rtpcore_core::Bitrate;
use rtpcore_core::command::{Command, Security};
use rtpcore_core::dtls::DtlsFailure;
use rtpcore_core::dtls::{Certificate, Fingerprint, Keys, MasterKeys};
use rtpcore_core::event::{Event, Reason, TransportState};
use rtpcore_core::ice::{Path, Role, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::router::Limits;
use rtpcore_core::sctp::dcep::{Open, Reliability};
use rtpcore_core::send::Layer;
use rtpcore_core::speaker;
use rtpcore_core::srtp::Outbound;
use rtpcore_net::{Config, Listen, Placement};

use crate::convert;
use crate::errors::Error;
use crate::hub::{self, Hub};
use crate::stats;
use crate::testing::{bad_master, profile_named};

/// One forwarder's workers, or what they will be started with.
#[pyclass(frozen, module = "rtpcore._core")]
pub(crate) struct Forwarder {
    config: Config,
    role: Role,
    running: Mutex<Option<Running>>,
}

pub(crate) struct Running {
    pub(crate) net: rtpcore_net::Forwarder,
    certificate: Certificate,
    fingerprint: [u8; 32],
}

#[pymethods]
impl Forwarder {
    /// Remembers how to start; binds nothing.
    #[new]
    #[pyo3(signature = (*, workers, addresses, udp_port, tcp_port, advertise, advertise_local, ice_lite, history_packets, snapshot_interval_ms, seed, max_transports, keyframe_interval_ms, estimates_bandwidth, start_bitrate_bps, speaker_interval_ms, speaker_softest, speaker_least_percent))]
    #[allow(clippy::too_many_arguments)] // keyword-only, filled in by rtpcore.config alone
    fn new(
        workers: u8,
        addresses: Vec<String>,
        udp_port: u16,
        tcp_port: Option<u16>,
        advertise: Vec<String>,
        advertise_local: bool,
        ice_lite: bool,
        history_packets: usize,
        snapshot_interval_ms: u64,
        seed: u64,
        max_transports: usize,
        keyframe_interval_ms: u32,
        estimates_bandwidth: bool,
        start_bitrate_bps: u64,
        speaker_interval_ms: u64,
        speaker_softest: u8,
        speaker_least_percent: u8,
    ) -> Result<Self, Error> {
        let parse = |texts: Vec<String>| -> Result<Vec<IpAddr>, Error> {
            texts
                .into_iter()
                .map(|text| text.parse().map_err(|_| Error::Parameters(format!("{text:?} is not an IP address"))))
                .collect()
        };
        let (addresses, advertise) = (parse(addresses)?, parse(advertise)?);
        let listen = Listen { addresses, udp_port, tcp_port, advertise, advertise_local };
        let speaking = speaker::Settings {
            interval: Duration::from_millis(speaker_interval_ms),
            softest: speaker_softest,
            least_percent: speaker_least_percent,
        };
        let limits = Limits {
            max_transports,
            history_packets,
            keyframe_interval_ms,
            estimates_bandwidth,
            start_bitrate: Bitrate::from_bps(start_bitrate_bps),
            speaking,
        };
        Ok(Self {
            config: Config { workers, listen, limits, seed, snapshot_interval_ms },
            role: if ice_lite { Role::Lite } else { Role::Controlled },
            running: Mutex::new(None),
        })
    }

    /// Makes the certificate, binds the sockets, starts the workers. Does nothing if they run.
    fn start(&self, py: Python<'_>) -> Result<(), Error> {
        py.detach(|| {
            let mut running = self.lock();
            if running.is_none() {
                let certificate = generate_self_signed_certificate()
                    .map_err(|error| Error::Parameters(format!("no certificate could be made: {error}")))?;
                let fingerprint = Fingerprint::sha256(&certificate.certificate);
                let net = rtpcore_net::Forwarder::start(&self.config)?;
                *running = Some(Running { net, certificate, fingerprint });
            }
            Ok(())
        })
    }

    /// Says goodbye to all peers and joins the workers. Idempotent.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            // Taken out first: whoever calls meanwhile is told that it is closed instead of waiting.
            let taken = self.lock().take();
            if let Some(mut running) = taken {
                running.net.stop();
            }
        });
    }

    /// How many workers run.
    fn worker_count(&self) -> Result<usize, Error> {
        self.with(|running| Ok(running.net.worker_count()))
    }

    /// The descriptor that is readable while events wait.
    fn event_fd(&self) -> Result<i32, Error> {
        self.with(|running| Ok(running.net.event_fd()))
    }

    /// Up to `most` events, oldest first, as tuples whose first item names the kind.
    fn drain<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let events = self.with(|running| Ok(running.net.drain_events(most)))?;
        events.into_iter().map(|event| event_tuple(py, event)).collect()
    }

    /// Our host candidates in SDP's spelling, without the `a=`.
    fn candidates(&self) -> Result<Vec<String>, Error> {
        self.with(|running| Ok(running.net.candidates().iter().map(is::Candidate::to_sdp_string).collect()))
    }

    /// Where media is received over UDP: each socket's own address and port, then those that peers are told.
    #[allow(clippy::type_complexity)] // two addresses
    fn udp_addresses(&self) -> Result<Vec<((String, u16), (String, u16))>, Error> {
        let text = |at: &SocketAddr| (at.ip().to_string(), at.port());
        self.with(|running| {
            Ok(running.net.udp_addresses().iter().map(|(local, told)| (text(local), text(told))).collect())
        })
    }

    /// The certificate's SHA-256 digest.
    fn fingerprint<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyBytes>, Error> {
        self.with(|running| Ok(PyBytes::new(py, &running.fingerprint)))
    }

    /// Expects a peer; says its number and our ICE user name fragment and password.
    #[pyo3(signature = (*, beside))]
    fn add_transport(&self, beside: Option<u64>) -> Result<(u64, String, String), Error> {
        self.with(|running| {
            let transport = running.net.next_transport(placement(beside));
            let local = rtpcore_net::Forwarder::credentials(transport)?;
            let security = Box::new(Security::WebRtc {
                local: local.clone(),
                role: self.role,
                certificate: running.certificate.clone(),
            });
            running.net.send(transport.worker(), Command::AddTransport { transport, security })?;
            Ok((transport.as_u64(), local.ufrag, local.pass))
        })
    }

    /// Expects a peer whose path and keys are known already; says its number.
    #[allow(clippy::needless_pass_by_value)] // PyO3 hands bytes over
    #[pyo3(signature = (*, local, remote, profile, outgoing, incoming))]
    fn add_keyed_transport(
        &self,
        local: &str,
        remote: &str,
        profile: &str,
        outgoing: (Vec<u8>, Vec<u8>),
        incoming: (Vec<u8>, Vec<u8>),
    ) -> Result<u64, Error> {
        let path = Path { via: Via::Udp, local: address(local)?, remote: address(remote)? };
        let profile = profile_named(profile)?;
        let [local, remote] = [outgoing, incoming].map(|(key, salt)| MasterKeys { key, salt });
        if Outbound::new(profile, local.as_master()).is_none() || Outbound::new(profile, remote.as_master()).is_none() {
            return Err(bad_master());
        }
        let security = Box::new(Security::Keyed { path, keys: Box::new(Keys { profile, local, remote }) });
        self.with(|running| {
            let transport = running.net.next_transport(placement(None));
            running.net.send(transport.worker(), Command::AddTransport { transport, security })?;
            Ok(transport.as_u64())
        })
    }

    /// The peer's description has come or changed.
    #[allow(clippy::needless_pass_by_value)] // PyO3 hands lists over
    #[pyo3(signature = (transport, *, ufrag, pwd, is_lite, fingerprints, is_client, max_message))]
    #[allow(clippy::too_many_arguments)] // keyword-only, filled in by rtpcore.forwarder alone
    fn set_remote(
        &self,
        transport: u64,
        ufrag: String,
        pwd: String,
        is_lite: bool,
        fingerprints: Vec<(String, Vec<u8>)>,
        is_client: bool,
        max_message: Option<u32>,
    ) -> Result<(), Error> {
        let remote = Box::new(convert::remote(ufrag, pwd, &fingerprints, is_lite, is_client, max_message)?);
        let transport = TransportId::from_u64(transport);
        self.command(transport.worker(), Command::SetRemote { transport, remote })
    }

    /// One candidate of the peer, in SDP's spelling.
    fn add_candidate(&self, transport: u64, candidate: &str) -> Result<(), Error> {
        let candidate = Box::new(convert::candidate(candidate)?);
        let transport = TransportId::from_u64(transport);
        self.command(transport.worker(), Command::AddCandidate { transport, candidate })
    }

    /// New ICE credentials of ours: fragment and password.
    fn restart_ice(&self, transport: u64) -> Result<(String, String), Error> {
        let transport = TransportId::from_u64(transport);
        let local = rtpcore_net::Forwarder::credentials(transport)?;
        let credentials = (local.ufrag.clone(), local.pass.clone());
        self.command(transport.worker(), Command::RestartIce { transport, local })?;
        Ok(credentials)
    }

    /// Says goodbye to one peer.
    fn close_transport(&self, transport: u64) -> Result<(), Error> {
        let transport = TransportId::from_u64(transport);
        self.command(transport.worker(), Command::CloseTransport(transport))
    }

    /// Expects a track; says its number.
    fn add_receiver(&self, transport: u64, track: &Bound<'_, PyAny>) -> Result<u64, Error> {
        let parameters = Box::new(convert::receiver(track)?);
        let transport = TransportId::from_u64(transport);
        self.with(|running| {
            let receiver = running.net.next_receiver(transport);
            running.net.send(transport.worker(), Command::AddReceiver { transport, receiver, parameters })?;
            Ok(receiver.as_u64())
        })
    }

    /// Forgets a track.
    fn remove_receiver(&self, receiver: u64) -> Result<(), Error> {
        let receiver = ReceiverId::from_u64(receiver);
        self.command(receiver.worker(), Command::RemoveReceiver(receiver))
    }

    /// Gives a peer a copy of a track; says its number.
    fn add_sender(&self, transport: u64, source: u64, track: &Bound<'_, PyAny>) -> Result<u64, Error> {
        let parameters = Box::new(convert::sender(track)?);
        let transport = TransportId::from_u64(transport);
        let source = ReceiverId::from_u64(source);
        self.with(|running| {
            let sender = running.net.next_sender(transport);
            running.net.send(transport.worker(), Command::AddSender { transport, sender, source, parameters })?;
            Ok(sender.as_u64())
        })
    }

    /// Ends a copy.
    fn remove_sender(&self, sender: u64) -> Result<(), Error> {
        let sender = SenderId::from_u64(sender);
        self.command(sender.worker(), Command::RemoveSender(sender))
    }

    /// Continues a copy with another track.
    fn follow(&self, sender: u64, source: u64) -> Result<(), Error> {
        let (sender, source) = (SenderId::from_u64(sender), ReceiverId::from_u64(source));
        self.command(sender.worker(), Command::Follow { sender, source })
    }

    /// At most this layer, and how it ranks where bandwidth is short.
    fn prefer(&self, sender: u64, spatial: u8, temporal: u8, priority: u8) -> Result<(), Error> {
        let sender = SenderId::from_u64(sender);
        self.command(sender.worker(), Command::Prefer { sender, most: Layer { spatial, temporal }, priority })
    }

    /// Whether video may be paused where bandwidth is short.
    fn allow_pause(&self, transport: u64, is_allowed: bool) -> Result<(), Error> {
        let transport = TransportId::from_u64(transport);
        self.command(transport.worker(), Command::AllowPause { transport, is_allowed })
    }

    /// Sends nothing, or sends again.
    fn pause(&self, sender: u64, is_paused: bool) -> Result<(), Error> {
        let sender = SenderId::from_u64(sender);
        self.command(sender.worker(), Command::Pause { sender, is_paused })
    }

    /// Asks the publisher for a keyframe.
    fn request_keyframe(&self, receiver: u64, encoding: Option<u8>) -> Result<(), Error> {
        let receiver = ReceiverId::from_u64(receiver);
        self.command(receiver.worker(), Command::RequestKeyframe { receiver, encoding })
    }

    /// Opens a data channel.
    #[pyo3(signature = (transport, label, *, protocol, is_ordered, max_retransmits, max_lifetime_ms, negotiated))]
    #[allow(clippy::too_many_arguments)] // as RTCDataChannelInit has them
    fn open_channel(
        &self,
        transport: u64,
        label: &str,
        protocol: String,
        is_ordered: bool,
        max_retransmits: Option<u32>,
        max_lifetime_ms: Option<u32>,
        negotiated: Option<u16>,
    ) -> Result<(), Error> {
        let reliability = match (max_retransmits, max_lifetime_ms) {
            (None, None) => Reliability::Reliable,
            (Some(count), None) => Reliability::Retransmits(count),
            (None, Some(millis)) => Reliability::Lifetime(millis),
            (Some(_), Some(_)) => {
                return Err(Error::Parameters(
                    "a channel gives up by count or by time: set max_retransmits or max_lifetime_ms, not both".into(),
                ));
            }
        };
        let mut open = Open::new(label, is_ordered, reliability);
        open.protocol = protocol;
        let transport = TransportId::from_u64(transport);
        self.command(transport.worker(), Command::OpenChannel { transport, open, negotiated })
    }

    /// Queues one message.
    fn send_data(&self, transport: u64, label: String, payload: &[u8], is_binary: bool) -> Result<(), Error> {
        let transport = TransportId::from_u64(transport);
        let payload = Bytes::copy_from_slice(payload);
        self.command(transport.worker(), Command::SendData { transport, label, is_binary, payload })
    }

    /// Forwards the messages of one peer to another, or stops.
    fn follow_data(&self, transport: u64, source: u64, is_following: bool) -> Result<(), Error> {
        let (transport, source) = (TransportId::from_u64(transport), TransportId::from_u64(source));
        self.command(transport.worker(), Command::FollowData { transport, source, is_following })
    }

    /// Also reports messages of a label as events, or stops.
    fn tap(&self, label: &str, is_tapped: bool) -> Result<(), Error> {
        self.with(|running| Ok(running.net.broadcast(|_| Command::Tap { label: label.into(), is_tapped })?))
    }

    /// Opens a hub.
    fn add_hub(slf: &Bound<'_, Self>) -> Result<Hub, Error> {
        Hub::open(slf)
    }

    /// The counters of all workers as last published, in one dictionary.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let snapshots = self.with(|running| Ok(running.net.snapshots()))?;
        stats::merged(py, &snapshots)
    }
}

impl Forwarder {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // Nothing below panics while holding it; if it did, the value is whole all the same.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with<T>(&self, action: impl FnOnce(&Running) -> Result<T, Error>) -> Result<T, Error> {
        let running = self.lock();
        action(running.as_ref().ok_or(Error::Closed("forwarder"))?)
    }

    pub(crate) fn command(&self, worker: u8, command: Command) -> Result<(), Error> {
        self.with(|running| Ok(running.net.send(worker, command)?))
    }
}

/// An address with its port.
fn address(text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|_| Error::Parameters(format!("{text:?} is not an IP address with a port")))
}

/// Beside what has this number, of whatever kind, or anywhere.
pub(crate) fn placement(beside: Option<u64>) -> Placement {
    beside.map_or(Placement::InTurn, |beside| Placement::On(TransportId::from_u64(beside).worker()))
}

fn event_tuple(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::TransportChanged { transport, state, reason } => {
            ("transport", transport.as_u64(), state_name(state), reason_name(reason)).into_pyobject(py)
        }
        Event::ChannelOpened { transport, label } => ("channel_opened", transport.as_u64(), label).into_pyobject(py),
        Event::ChannelClosed { transport, label } => ("channel_closed", transport.as_u64(), label).into_pyobject(py),
        Event::DataReceived { transport, label, is_binary, payload } => {
            ("data", transport.as_u64(), label, is_binary, PyBytes::new(py, &payload)).into_pyobject(py)
        }
        Event::MessageReported { hub, report, message } => hub::event_tuple(py, hub, report, &message),
        Event::EncodingStarted { receiver, encoding } => {
            ("encoding_started", receiver.as_u64(), encoding).into_pyobject(py)
        }
        Event::AudioLevelChanged { receiver, eighths } => {
            ("audio_level", receiver.as_u64(), f64::from(eighths) / 8.0).into_pyobject(py)
        }
        Event::LayerChanged { sender, layer } => {
            let layer = layer.map(|layer| (layer.spatial, layer.temporal));
            ("layer", sender.as_u64(), layer).into_pyobject(py)
        }
        Event::StreamPaused { sender, is_paused } => ("stream_paused", sender.as_u64(), is_paused).into_pyobject(py),
        Event::BandwidthChanged { transport, bitrate } => {
            ("bandwidth", transport.as_u64(), bitrate.as_bps()).into_pyobject(py)
        }
        Event::ReceiverEnded { receiver } => ("receiver_ended", receiver.as_u64()).into_pyobject(py),
    }
}

pub(crate) fn state_name(state: TransportState) -> &'static str {
    match state {
        TransportState::New => "new",
        TransportState::Connecting => "connecting",
        TransportState::Connected => "connected",
        TransportState::Disconnected => "disconnected",
        TransportState::Failed => "failed",
        TransportState::Closed => "closed",
    }
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Normal => "normal",
        Reason::ConsentExpired => "consent_expired",
        Reason::Dtls(DtlsFailure::WrongFingerprint) => "wrong_fingerprint",
        Reason::Dtls(DtlsFailure::NoSrtpProfile) => "no_srtp_profile",
        Reason::Dtls(DtlsFailure::Protocol) => "dtls_failed",
        Reason::ClosedByPeer => "closed_by_peer",
        Reason::ClosedByOwner => "closed_by_owner",
        Reason::Fault => "fault",
    }
}
