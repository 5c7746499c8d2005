//! A hub as Python sees it: numbers for members and tracks, one call per command.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use rtpcore_core::command::Command;
use rtpcore_core::data::{Audience, Change, Destinations, HubCommand, Label, Message, Names, Report, Rights};
use rtpcore_core::id::{DataTrackId, HubId, MemberId, TransportId};

use crate::errors::Error;
use crate::forwarder::{Forwarder, placement};
use crate::stats;

/// One hub on all workers.
#[pyclass(frozen, module = "rtpcore._core")]
pub(crate) struct Hub {
    forwarder: Py<Forwarder>,
    id: HubId,
}

#[pymethods]
impl Hub {
    /// The number that its events carry.
    #[getter]
    fn number(&self) -> u64 {
        self.id.as_u64()
    }

    /// Ends it: nobody hears anybody any more.
    fn close(&self) -> Result<(), Error> {
        self.broadcast(|_| HubCommand::Close)
    }

    /// Adds a member; says its number.
    #[pyo3(signature = (sid, identity, *, may_publish, is_hidden, is_agent, beside))]
    fn add_member(
        &self,
        sid: &str,
        identity: &str,
        may_publish: bool,
        is_hidden: bool,
        is_agent: bool,
        beside: Option<u64>,
    ) -> Result<u64, Error> {
        let member = self.forwarder.get().with(|running| Ok(running.net.next_member(placement(beside))))?;
        let rights = Rights { may_publish, is_hidden, is_agent };
        self.broadcast(|worker| {
            if worker == member.worker() {
                HubCommand::AddMember { member, names: Names { sid: sid.into(), identity: identity.into() }, rights }
            } else {
                HubCommand::AddElsewhere(member)
            }
        })?;
        Ok(member.as_u64())
    }

    /// Forgets a member.
    fn remove_member(&self, member: u64) -> Result<(), Error> {
        self.broadcast(|_| HubCommand::RemoveMember(MemberId::from_u64(member)))
    }

    /// What a member may do from now on.
    #[pyo3(signature = (member, *, may_publish, is_hidden, is_agent))]
    fn set_rights(&self, member: u64, may_publish: bool, is_hidden: bool, is_agent: bool) -> Result<(), Error> {
        let member = MemberId::from_u64(member);
        let rights = Rights { may_publish, is_hidden, is_agent };
        self.command(member.worker(), HubCommand::SetRights { member, rights })
    }

    /// Where a member's messages come in.
    fn set_input(&self, member: u64, transport: Option<u64>) -> Result<(), Error> {
        let (member, input) = together(member, transport)?;
        self.command(member.worker(), HubCommand::SetTransports { member, input, output: Change::Keep })
    }

    /// Where a member gets messages.
    fn set_output(&self, member: u64, transport: Option<u64>) -> Result<(), Error> {
        let (member, output) = together(member, transport)?;
        self.command(member.worker(), HubCommand::SetTransports { member, input: Change::Keep, output })
    }

    /// Lets a member hear.
    fn activate(&self, member: u64) -> Result<(), Error> {
        let member = MemberId::from_u64(member);
        self.command(member.worker(), HubCommand::Activate(member))
    }

    /// Also reports what a member hears as events, or stops.
    fn listen(&self, member: u64, is_listening: bool) -> Result<(), Error> {
        let member = MemberId::from_u64(member);
        self.command(member.worker(), HubCommand::Listen { member, is_listening })
    }

    /// Says something in a member's name, as if it had come by its transport.
    fn say(&self, member: u64, label: &str, payload: &[u8]) -> Result<(), Error> {
        let member = MemberId::from_u64(member);
        let (label, payload) = (Label::new(label), Bytes::copy_from_slice(payload));
        self.command(member.worker(), HubCommand::Say { member, label, payload })
    }

    /// Says something to these members, or to all.
    fn send(&self, label: &str, payload: &[u8], to: Option<Vec<u64>>) -> Result<(), Error> {
        let mut workers = u64::MAX;
        let to = match to {
            None => Audience::Named(Destinations::default()),
            Some(numbers) => {
                let mut members: Vec<_> = numbers.into_iter().map(MemberId::from_u64).collect();
                members.sort_unstable();
                workers = members.iter().fold(0, |workers, member| workers | 1 << (member.worker() & 63));
                Audience::Members(members.into())
            }
        };
        let (label, payload) = (Label::new(label), Bytes::copy_from_slice(payload));
        let message = Arc::new(Message { from: None, label, is_binary: true, payload, to });
        self.forwarder.get().with(|running| {
            for worker in 0..u8::try_from(running.net.worker_count()).unwrap_or(u8::MAX) {
                if workers & (1 << (worker & 63)) != 0 {
                    running.net.send(worker, Command::Hub(self.id, HubCommand::Send(message.clone())))?;
                }
            }
            Ok(())
        })
    }

    /// Also reports what members say as events, or stops.
    fn tap(&self, is_tapped: bool) -> Result<(), Error> {
        self.broadcast(|_| HubCommand::Tap(is_tapped))
    }

    /// Reports the answers to this RPC request instead of passing them on, or no longer.
    fn expect(&self, request: &str, is_expected: bool) -> Result<(), Error> {
        self.broadcast(|_| HubCommand::Expect { request: request.into(), is_expected })
    }

    /// Announces a data track; says its number.
    fn add_track(&self, publisher: u64, handle: u16) -> Result<u64, Error> {
        let publisher = MemberId::from_u64(publisher);
        let track = self.forwarder.get().with(|running| Ok(running.net.next_data_track(publisher)))?;
        self.command(publisher.worker(), HubCommand::AddTrack { track, publisher, handle })?;
        Ok(track.as_u64())
    }

    /// Ends a data track.
    fn remove_track(&self, track: u64) -> Result<(), Error> {
        self.broadcast(|_| HubCommand::RemoveTrack(DataTrackId::from_u64(track)))
    }

    /// Gives a member a data track under this number, or no longer.
    fn subscribe(&self, track: u64, member: u64, handle: Option<u16>) -> Result<(), Error> {
        let (track, member) = (DataTrackId::from_u64(track), MemberId::from_u64(member));
        self.command(member.worker(), HubCommand::Subscribe { track, member, handle })?;
        if track.worker() != member.worker() {
            self.command(track.worker(), HubCommand::Subscribe { track, member, handle })?;
        }
        Ok(())
    }

    /// What a member's worker last published of it.
    fn stats<'py>(&self, py: Python<'py>, member: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let member = MemberId::from_u64(member);
        let snapshots = self.forwarder.get().with(|running| Ok(running.net.snapshots()))?;
        let Some(snapshot) = snapshots.get(usize::from(member.worker())) else { return Ok(None) };
        match snapshot.members.binary_search_by_key(&member, |stats| stats.member) {
            Ok(index) => snapshot.members.get(index).map(|stats| stats::member_dict(py, stats)).transpose(),
            Err(_) => Ok(None),
        }
    }
}

impl Hub {
    pub(crate) fn open(forwarder: &Bound<'_, Forwarder>) -> Result<Self, Error> {
        let id = forwarder.get().with(|running| Ok(running.net.next_hub()))?;
        let hub = Self { forwarder: forwarder.clone().unbind(), id };
        hub.broadcast(|_| HubCommand::Open)?;
        Ok(hub)
    }

    fn command(&self, worker: u8, command: HubCommand) -> Result<(), Error> {
        self.forwarder.get().command(worker, Command::Hub(self.id, command))
    }

    fn broadcast(&self, command: impl Fn(u8) -> HubCommand) -> Result<(), Error> {
        self.forwarder
            .get()
            .with(|running| Ok(running.net.broadcast(|worker| Command::Hub(self.id, command(worker)))?))
    }
}

/// A member and a transport, which must live on one worker.
fn together(member: u64, transport: Option<u64>) -> Result<(MemberId, Change), Error> {
    let (member, transport) = (MemberId::from_u64(member), transport.map(TransportId::from_u64));
    if transport.is_some_and(|transport| transport.worker() != member.worker()) {
        return Err(Error::Parameters("the transport lives on another worker: add it with beside=member".into()));
    }
    Ok((member, Change::Set(transport)))
}

pub(crate) fn event_tuple<'py>(
    py: Python<'py>,
    hub: HubId,
    report: Report,
    message: &Message,
) -> PyResult<Bound<'py, PyTuple>> {
    let (why, member, request) = match report {
        Report::Tapped => ("tapped", None, None),
        Report::Heard(member) => ("heard", Some(member.as_u64()), None),
        Report::Reply(request) => ("reply", None, Some(String::from(request))),
    };
    let from = message.from.map(MemberId::as_u64);
    let payload = PyBytes::new(py, &message.payload);
    ("message", hub.as_u64(), (why, member, request), from, message.label.as_str(), message.is_binary, payload)
        .into_pyobject(py)
}
