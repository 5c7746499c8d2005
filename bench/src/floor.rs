//! The least that a fan-out can cost: a bare loop of rewrite, seal and send.
//!
//! It does what no forwarding unit can leave out and nothing else: no receiving, no look-up, no history, no selection, no
//! check. The same packets go to the same sockets in the same runs.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rtpcore_cipher::{AEAD_TAG_LEN, AeadKey};

use crate::room::Media;
use crate::socket::{TRAINS, Train};

/// Fixed header, and one extension block of four bytes behind its head: mid, and for audio the level.
const HEADER: usize = 20;

struct Subscriber {
    key: AeadKey,
    salt: [u8; 12],
    ssrc: u32,
    seq_offset: u16,
    timestamp_offset: u32,
    to: SocketAddr,
}

/// A bare sender to a list of subscribers, AES-128-GCM.
pub struct Floor {
    media: Media,
    socket: UdpSocket,
    subscribers: Vec<Subscriber>,
    payload: Vec<u8>,
    slab: Vec<u8>,
    train: Train,
    seq: u64,
}

impl Floor {
    /// Will send from `socket` to each address.
    pub fn new(media: Media, socket: UdpSocket, to: &[SocketAddr]) -> Self {
        let subscribers = to
            .iter()
            .enumerate()
            .map(|(n, &to)| {
                let mut key = [3; 16];
                key[0] = n as u8;
                key[1] = (n >> 8) as u8;
                Subscriber {
                    key: AeadKey::new(&key).expect("16 bytes are a key"),
                    salt: [n as u8; 12],
                    ssrc: n as u32,
                    seq_offset: n as u16,
                    timestamp_offset: 7,
                    to,
                }
            })
            .collect();
        let packet = HEADER + media.payload_len() + AEAD_TAG_LEN;
        Self {
            media,
            socket,
            subscribers,
            payload: (0..media.payload_len()).map(|n| n as u8).collect(),
            slab: vec![0; TRAINS * media.frame_packets() * packet],
            train: Train::default(),
            seq: 0,
        }
    }

    /// Sends one frame to everybody; says how many packets that were.
    pub fn send_frame(&mut self) -> io::Result<usize> {
        let count = self.media.frame_packets();
        let len = HEADER + self.payload.len() + AEAD_TAG_LEN;
        let Self { subscribers, payload, slab, train, socket, seq, .. } = self;
        for group in subscribers.chunks(TRAINS) {
            for (n, (subscriber, run)) in group.iter().zip(slab.chunks_exact_mut(count * len)).enumerate() {
                for (k, out) in run.chunks_exact_mut(len).enumerate() {
                    write_packet(subscriber, *seq + k as u64, k + 1 == count, payload, out);
                }
                train.set(n, subscriber.to, run, len);
            }
            train.send(socket, group.len())?;
        }
        self.seq += count as u64;
        Ok(self.subscribers.len() * count)
    }
}

fn write_packet(subscriber: &Subscriber, seq: u64, is_last: bool, payload: &[u8], out: &mut [u8]) {
    let (header, sealed) = out.split_at_mut(HEADER);
    let index = seq + u64::from(subscriber.seq_offset);
    header[0] = 0x90;
    header[1] = 96 | u8::from(is_last) << 7;
    header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    header[4..8].copy_from_slice(&((seq * 3000 / 8) as u32).wrapping_add(subscriber.timestamp_offset).to_be_bytes());
    header[8..12].copy_from_slice(&subscriber.ssrc.to_be_bytes());
    header[12..20].copy_from_slice(&[0xBE, 0xDE, 0, 1, 0x40, b'0', 0, 0]);
    let mut nonce = subscriber.salt;
    let mixed = u128::from(subscriber.ssrc) << 48 | u128::from(index);
    for (byte, with) in nonce.iter_mut().zip(&mixed.to_be_bytes()[4..]) {
        *byte ^= with;
    }
    subscriber.key.seal(&nonce, header, &[], payload, sealed);
}
