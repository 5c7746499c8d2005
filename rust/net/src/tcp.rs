//! Passive TCP candidates: packets in frames of a 16-bit length (RFC 4571, RFC 6544).
//!
//! A stranger's connection holds nothing but one small buffer, and is closed unless a peer soon passes a check on it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use rtpcore_core::Time;
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::store::MAX_PACKET;

/// The largest frame taken: a peer that announces more is not speaking RFC 4571, and is cut off.
const MAX_FRAME: usize = 4 * MAX_PACKET;

/// How much may wait for a connection that takes it slowly; more would arrive too late to be played.
const MAX_QUEUED: usize = 256 * 1024;

/// One connection of a peer.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Since when no peer has passed a check on it; none where one has.
    pub(crate) stranger_since: Option<Time>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More may come.
    Open,
    /// The connection ended.
    Closed,
    /// The peer announced a frame that is no packet: what follows cannot be told apart.
    Unframed,
}

impl Connection {
    /// Under which the router knows it.
    pub(crate) fn path(&self) -> Path {
        Path { via: Via::Tcp, local: self.local, remote: self.remote }
    }

    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (local, remote) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
        Ok(Self { stream, local, remote, stranger_since: None, incoming: Vec::new(), outgoing: Vec::new(), sent: 0 })
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what is there into the buffer; at most a few frames at a time, so that one peer cannot hold the thread.
    fn fill(&mut self) -> io::Result<Progress> {
        let mut chunk = [0; 16 * 1024];
        while self.incoming.len() < 4 * MAX_FRAME {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Progress::Closed),
                Ok(n) => self.incoming.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Open),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Open)
    }

    /// Hands each whole frame to `take`.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Progress {
        loop {
            let before = self.incoming.len();
            let progress = self.fill().unwrap_or(Progress::Closed);
            let mut rest = self.incoming.as_slice();
            while let Some((frame, tail)) = split_frame(rest) {
                take(frame);
                rest = tail;
            }
            if frame_len(rest).is_some_and(|len| len > MAX_FRAME) {
                return Progress::Unframed;
            }
            let used = self.incoming.len() - rest.len();
            self.incoming.drain(..used);
            if progress == Progress::Closed || used == 0 && self.incoming.len() == before {
                return progress;
            }
        }
    }

    /// The first whole frame, left where it is.
    pub(crate) fn peek(&mut self) -> (Progress, Option<&[u8]>) {
        let progress = self.fill().unwrap_or(Progress::Closed);
        if frame_len(&self.incoming).is_some_and(|len| len > MAX_FRAME) {
            return (Progress::Unframed, None);
        }
        (progress, split_frame(&self.incoming).map(|(frame, _)| frame))
    }

    /// Queues one frame; false where too much waits already.
    pub(crate) fn send(&mut self, packet: &[u8]) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else { return false };
        if self.outgoing.len() - self.sent + packet.len() > MAX_QUEUED {
            return false;
        }
        self.outgoing.extend_from_slice(&len.to_be_bytes());
        self.outgoing.extend_from_slice(packet);
        true
    }

    /// Writes what is queued, as far as the connection takes it.
    pub(crate) fn flush(&mut self) -> Progress {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Progress::Closed,
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Closed,
            }
        }
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        } else if self.sent > MAX_QUEUED {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
        Progress::Open
    }
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|&len| usize::from(u16::from_be_bytes(len)))
}

fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = frame_len(bytes)?;
    bytes[2..].split_at_checked(len)
}

/// An IPv4 peer on a dual-stack socket, shown as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Connection::new(TcpStream::from_std(stream)).unwrap(), peer)
    }

    /// Reads until `count` frames came; the peer's bytes are on their way already.
    fn collect(connection: &mut Connection, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            assert_eq!(connection.receive(|frame| frames.push(frame.to_vec())), Progress::Open);
        }
        frames
    }

    #[test]
    fn frames_arrive_whole_however_they_were_cut() {
        let (mut connection, mut peer) = pair();
        let frames: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; usize::from(n) * 20]).collect();
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend(u16::try_from(frame.len()).unwrap().to_be_bytes());
            bytes.extend(frame);
        }
        for piece in bytes.chunks(333) {
            peer.write_all(piece).unwrap();
        }
        assert_eq!(collect(&mut connection, 50), frames);
    }

    #[test]
    fn a_frame_longer_than_any_packet_ends_the_connection() {
        let (mut connection, mut peer) = pair();
        peer.write_all(&[0xFF, 0xFF, 0, 0, 0]).unwrap();
        let mut progress = Progress::Open;
        for _ in 0..1_000_000 {
            progress = connection.receive(|_| panic!("no frame is whole"));
            if progress != Progress::Open {
                break;
            }
        }
        assert_eq!(progress, Progress::Unframed);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_a_bounded_queue() {
        let (mut connection, _peer) = pair();
        let packet = [7; 1200];
        let taken = (0..100_000).take_while(|_| {
            let taken = connection.send(&packet);
            connection.flush();
            taken
        });
        assert!(taken.count() < 100_000);
        assert!(connection.outgoing.len() <= 2 * MAX_QUEUED + 2 * packet.len());
    }
}
