//! One connection over TCP, with TLS or behind something that undoes it: a stream in, whole messages out.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

use crate::framing::{Frame, MAX_MESSAGE, frame, padding};

/// How much may wait for a client that takes it slowly; more would arrive too late to be played.
const MAX_QUEUED: usize = 256 * 1024;

/// How much of a stream may lie here unread: a few messages.
const MAX_INCOMING: usize = 8 * MAX_MESSAGE;

/// How much is read at one go, so that no client holds the thread.
const BUDGET: usize = 64 * 1024;

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All that was there was read.
    Drained,
    /// More may be there.
    More,
    /// The connection ended, or speaks neither TLS nor TURN.
    Closed,
}

pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    incoming: Vec<u8>,
    /// Without TLS: what the socket did not take yet. With it, TLS has that.
    outgoing: Vec<u8>,
}

impl Connection {
    /// Speaks TLS if `config` is given. None where the machine refuses.
    pub(crate) fn new(socket: TcpStream, config: Option<&Arc<ServerConfig>>) -> Option<Self> {
        socket.set_nodelay(true).ok()?;
        let tls = match config {
            None => None,
            Some(config) => {
                let mut tls = ServerConnection::new(config.clone()).ok()?;
                // Bounded here, message by message.
                tls.set_buffer_limit(None);
                Some(Box::new(tls))
            }
        };
        Some(Self { socket, tls, incoming: Vec::new(), outgoing: Vec::new() })
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether so much waits for the client that nothing more is to be done for it.
    pub(crate) fn is_full(&self) -> bool {
        self.outgoing.len() >= MAX_QUEUED
    }

    /// Reads some of what is there.
    pub(crate) fn read(&mut self) -> Progress {
        let mut chunk = [0; 16 * 1024];
        let mut taken = 0;
        while taken < BUDGET && self.incoming.len() < MAX_INCOMING {
            match self.read_once(&mut chunk) {
                Ok(0) => return Progress::Closed,
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Drained,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Closed,
            }
        }
        Progress::More
    }

    /// Reads once from the socket; says how many bytes came from the network.
    fn read_once(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            let count = self.socket.read(chunk)?;
            self.incoming.extend_from_slice(&chunk[..count]);
            return Ok(count);
        };
        let count = tls.read_tls(&mut self.socket)?;
        let state = tls.process_new_packets();
        // An answer to the handshake, or the reason why there is none.
        self.flush();
        state.map_err(io::Error::other)?;
        let Some(tls) = &mut self.tls else { return Ok(count) };
        loop {
            match tls.reader().read(chunk) {
                Ok(0) => return Ok(count),
                Ok(plain) => self.incoming.extend_from_slice(&chunk[..plain]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole message; an error where the stream is no TURN.
    pub(crate) fn next(&mut self, message: &mut Vec<u8>) -> Result<bool, ()> {
        match frame(&self.incoming) {
            Frame::Whole(len, padded) => {
                message.clear();
                message.extend_from_slice(&self.incoming[..len]);
                self.incoming.drain(..padded);
                Ok(true)
            }
            Frame::Partial => Ok(false),
            Frame::Unframed => Err(()),
        }
    }

    /// Sends a message; false where too much waits already, and the message is dropped.
    pub(crate) fn write(&mut self, message: &[u8]) -> bool {
        if self.is_full() {
            return false;
        }
        let zeros = [0; 4];
        let tail = &zeros[..padding(message)];
        match &mut self.tls {
            None => {
                self.outgoing.extend_from_slice(message);
                self.outgoing.extend_from_slice(tail);
            }
            Some(tls) => {
                // Without a limit, memory takes all of it.
                let written = tls.writer().write_all(message).and_then(|()| tls.writer().write_all(tail));
                if written.is_err() {
                    return false;
                }
            }
        }
        self.flush();
        true
    }

    /// Gives the socket what it takes. A connection that is broken says so when it is read.
    pub(crate) fn flush(&mut self) {
        let _ = self.seal();
        let mut sent = 0;
        while sent < self.outgoing.len() {
            match self.socket.write(&self.outgoing[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.outgoing.drain(..sent);
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush();
    }

    /// Moves what TLS has to say behind what waits for the socket.
    fn seal(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.outgoing)?;
            }
        }
        Ok(())
    }
}
