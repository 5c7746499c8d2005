//! A selective forwarding unit (RFC 7667 §3.7) as a pure state machine.
//!
//! Bytes, commands and a [`Time`] go in; datagrams, events and the next deadline come out. There is no socket, thread,
//! clock or global here, so that a whole room can be replayed from a seed: see `rust/sim`. Sockets and threads live in
//! `rust/net`, Python in `rust/py`.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used))]

pub mod allocate;
mod bandwidth;
pub mod bwe;
pub mod command;
pub mod crossing;
pub mod data;
pub mod demux;
pub mod drop;
pub mod dtls;
pub mod event;
pub mod fec;
mod fill;
pub mod histogram;
pub mod ice;
pub mod id;
pub mod jitter;
pub mod pacer;
pub mod packet;
pub mod parameters;
pub mod payload;
pub mod receive;
pub mod router;
pub mod rtcp;
pub mod rtp;
pub mod sctp;
pub mod send;
pub mod speaker;
pub mod srtp;
pub mod stats;
mod steps;
pub mod store;
pub mod time;
pub mod transmit;
mod transport;
pub mod units;

pub use drop::{Drop, DropCounts};
pub use packet::Packet;
pub use time::Time;
pub use units::{Bitrate, Mid, Pt, Rid, SeqNo, Ssrc};
