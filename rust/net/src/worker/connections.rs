//! TCP connections of one worker: accepted, told whose they are, read, handed to the worker where their peer lives, closed.

use std::time::Duration;

use mio::{Interest, Token};
use rtpcore_core::Time;
use rtpcore_core::command::Command;
use rtpcore_core::router::Router;

use super::{FIRST_CONNECTION, Worker, guard};
use crate::forwarder::Message;
use crate::tcp::{Connection, Progress};

/// How many connections one worker holds; strangers count too.
const MAX_CONNECTIONS: usize = 4096;

/// How long a connection may take until a peer has passed a check on it, and how long it is kept once that peer is gone.
const STRANGER_PATIENCE: Duration = Duration::from_secs(10);

impl Worker {
    pub(super) fn accept(&mut self, index: usize) {
        loop {
            let Some((listener, local, advertised)) = self.listeners.get(index) else { return };
            let (local, advertised) = (*local, *advertised);
            let Ok((stream, _)) = listener.accept() else { return };
            let Ok(mut connection) = Connection::new(stream) else { continue };
            if connection.local.port() == local.port() {
                connection.local = advertised;
            }
            connection.stranger_since = Some(self.clock.now());
            self.adopt(connection);
        }
    }

    /// Takes a connection from whichever worker accepted it.
    pub(super) fn adopt(&mut self, connection: Connection) {
        if let Some(key) = self.register(connection) {
            self.read_connection(key);
        }
    }

    /// Where there are too many, the stranger that has been here longest gives way; peers do not.
    fn register(&mut self, mut connection: Connection) -> Option<usize> {
        if self.connections.len() >= MAX_CONNECTIONS {
            let &(_, oldest) = self.strangers.first()?;
            self.drop_connection(oldest);
        }
        let path = connection.path();
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(connection.stream(), Token(FIRST_CONNECTION + key), interest).ok()?;
        self.strangers.extend(connection.stranger_since.map(|since| (since, key)));
        entry.insert(connection);
        self.by_path.insert(path, key);
        Some(key)
    }

    pub(super) fn read_connection(&mut self, key: usize) {
        let is_stranger = |connection: &&mut Connection| connection.stranger_since.is_some();
        if let Some(connection) = self.connections.get_mut(key).filter(is_stranger) {
            let (now, router) = (self.clock.now(), &mut self.router);
            let path = connection.path();
            let (progress, frame) = connection.peek();
            match frame.map(|frame| (frame, Router::owner_of(frame))) {
                // Not a whole frame yet.
                None if progress == Progress::Open => return,
                None => return self.end_connection(key, progress),
                Some((frame, None)) => {
                    // For its count: the router takes nothing else from a stranger.
                    guard(router, |router| router.handle_datagram(now, path, frame));
                    return self.drop_connection(key);
                }
                Some((_, Some(owner))) if owner != self.number => return self.hand_over(key, owner),
                // It stays a stranger until its check has passed.
                Some((_, Some(_))) => {}
            }
        }
        let now = self.clock.now();
        let Self { connections, router, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        let path = connection.path();
        let progress = connection.receive(|packet| guard(router, |router| router.handle_datagram(now, path, packet)));
        if progress != Progress::Open {
            self.end_connection(key, progress);
        } else if self.router.is_heard(&path)
            && let Some(since) = self.connections.get_mut(key).and_then(|it| it.stranger_since.take())
        {
            self.strangers.remove(&(since, key));
        }
        self.flush(now);
    }

    fn end_connection(&mut self, key: usize, progress: Progress) {
        if progress == Progress::Unframed {
            self.router.handle_frame_refused();
        }
        self.drop_connection(key);
    }

    /// Gives a connection to the worker where its peer lives.
    fn hand_over(&mut self, key: usize, owner: u8) {
        let Some(connection) = self.remove_connection(key) else { return };
        if let Some(messages) = self.neighbours.messages.get(usize::from(owner)) {
            // A worker with a full inbox has worse troubles than one connection.
            let _ = messages.try_send(Message::Adopt(Box::new(connection)));
            self.neighbours.touched |= 1 << owner;
            self.neighbours.wake();
        }
    }

    pub(super) fn drop_connection(&mut self, key: usize) {
        let Some(connection) = self.remove_connection(key) else { return };
        if connection.stranger_since.is_none() {
            let (now, local, remote) = (self.clock.now(), connection.local, connection.remote);
            self.guarded(|router| router.handle_command(now, Command::PathClosed { local, remote }));
        }
    }

    fn remove_connection(&mut self, key: usize) -> Option<Connection> {
        let mut connection = self.connections.try_remove(key)?;
        let _ = self.poll.registry().deregister(connection.stream());
        if let Some(since) = connection.stranger_since {
            self.strangers.remove(&(since, key));
        }
        self.by_path.remove(&connection.path());
        Some(connection)
    }

    /// Closes the connections of those whom nobody here knows, and of those who have gone.
    pub(super) fn sort_out(&mut self, now: Time) {
        let Self { connections, router, strangers, .. } = self;
        for (key, connection) in &mut *connections {
            if connection.stranger_since.is_none() && !router.is_heard(&connection.path()) {
                connection.stranger_since = Some(now);
                strangers.insert((now, key));
            }
        }
        while let Some(&(since, key)) = self.strangers.first()
            && now.since(since) >= STRANGER_PATIENCE
        {
            self.drop_connection(key);
        }
    }
}
