//! What the router asks of the heap: nothing for a packet, and little for a subscriber.
//!
//! Counts are per thread, so that tests do not count each other.
#![allow(unsafe_code)] // a global allocator is unsafe by its nature

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Instant;

use rtpcore_core::Ssrc;
use rtpcore_core::Time;
use rtpcore_core::command::{Command, Security};
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::router::{Limits, Router, RouterConfig};
use rtpcore_core::transmit::SendSlab;
use rtpcore_sim::media::{Media, Naming, Track};
use rtpcore_sim::peer::{KeyRing, Peer, Studio};

/// Counts what this thread asks for while it is told to.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static SIZES: Cell<Option<&'static Sizes>> = const { Cell::new(None) };
}

/// By size of block, how many bytes live in blocks of that size: fixed, since it counts within the allocator.
struct Sizes([Cell<i64>; 64]);

// SAFETY: hands everything to the system's allocator; counting itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn note(size: usize, sign: i64) {
    let bytes = sign * i64::try_from(size).unwrap_or(0);
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    if sign > 0 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    }
    let _ = SIZES.try_with(|sizes| {
        if let Some(Sizes(sizes)) = sizes.get() {
            let class = usize::try_from(usize::BITS - size.leading_zeros()).unwrap_or(0);
            sizes[class].set(sizes[class].get() + bytes);
        }
    });
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often the heap was asked during `run`.
fn calls(run: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    run();
    CALLS.get() - before
}

fn path(peer: usize) -> Path {
    let port = u16::try_from(5000 + peer).unwrap();
    Path { via: Via::Udp, local: ([192, 0, 2, 1], 7000).into(), remote: ([10, 0, 0, 1], port).into() }
}

fn track(number: u16, media: Media) -> Track {
    Track { number, media, has_rtx: media != Media::Opus, naming: Naming::Ssrc }
}

/// A router with one publisher of `tracks` and its peer.
struct Room {
    router: Router,
    publisher: Peer,
    studio: Studio,
    tracks: Vec<Track>,
    slab: SendSlab,
    now: Time,
    senders: u64,
}

impl Room {
    fn new(media: &[Media]) -> Self {
        let config = RouterConfig {
            worker: 0,
            epoch: Instant::now(),
            seed: 1,
            locals: Vec::new(),
            limits: Limits::default(),
            neighbours: 0,
        };
        let keys = KeyRing::new(1, 0);
        let mut room = Self {
            router: Router::new(config),
            publisher: Peer::new(0, &keys),
            studio: Studio::default(),
            tracks: Vec::new(),
            slab: SendSlab::new(512),
            now: Time::ZERO,
            senders: 0,
        };
        room.add_transport(0, &keys);
        for (number, &media) in (0..).zip(media) {
            let track = track(number, media);
            let (transport, receiver) = (TransportId::new(0, 0), ReceiverId::new(0, number.into()));
            let parameters = Box::new(track.receiver());
            room.router.handle_command(Time::ZERO, Command::AddReceiver { transport, receiver, parameters });
            room.publisher.publish(Time::ZERO, track, 1);
            room.tracks.push(track);
        }
        room
    }

    fn add_transport(&mut self, peer: usize, keys: &KeyRing) {
        let transport = TransportId::new(0, peer as u64);
        let security = Box::new(Security::Keyed { path: path(peer), keys: Box::new(keys.of_router()) });
        self.router.handle_command(self.now, Command::AddTransport { transport, security });
    }

    fn add_subscriber(&mut self, peer: usize) {
        self.add_transport(peer, &KeyRing::new(1, peer));
        for track in &self.tracks {
            let (transport, source) = (TransportId::new(0, peer as u64), ReceiverId::new(0, track.number.into()));
            let ssrc = Ssrc(0x1000_0000 + 2 * u32::from(track.number));
            let parameters = Box::new(track.sender(ssrc, track.has_rtx, "sim"));
            let sender = SenderId::new(0, self.senders);
            self.senders += 1;
            self.router.handle_command(self.now, Command::AddSender { transport, sender, source, parameters });
        }
        while self.router.poll_event().is_some() {}
    }

    /// Plays until `until`; returns how often the heap was asked for packets alone, and how many datagrams left.
    fn play(&mut self, until: Time) -> (u64, u64) {
        let (mut asked, mut sent) = (0, 0);
        while self.publisher.poll_timeout() < until {
            self.now = self.publisher.poll_timeout().max(self.now);
            self.publisher.handle_timeout(self.now, &mut self.studio);
            // A whole picture of every encoding is one batch.
            let mut batch = Vec::new();
            while let Some(outgoing) = self.publisher.poll_transmit() {
                batch.push((outgoing.bytes, outgoing.label.is_some()));
            }
            for (bytes, is_media) in &batch {
                let (router, now) = (&mut self.router, self.now);
                let count = calls(|| router.handle_datagram(now, path(0), bytes));
                asked += if *is_media { count } else { 0 };
            }
            asked += self.drain(&mut sent, false);
            // Reports and requests are another matter: they are per second, not per packet.
            if self.router.poll_timeout().is_due(self.now) {
                self.router.handle_timeout(self.now);
            }
            self.drain(&mut 0, true);
            while self.router.poll_event().is_some() {}
        }
        (asked, sent)
    }

    /// Sends what waits; the publisher hears what is for it.
    fn drain(&mut self, sent: &mut u64, is_heard: bool) -> u64 {
        let mut asked = 0;
        loop {
            self.slab.clear();
            let Self { router, slab, now, .. } = self;
            asked += calls(|| router.poll_transmit(*now, slab));
            if self.slab.runs().is_empty() {
                return asked;
            }
            for run in self.slab.runs() {
                *sent += run.count() as u64;
                if is_heard && run.path == path(0) {
                    for datagram in self.slab.bytes_of(run).chunks(run.segment) {
                        self.publisher.handle_datagram(self.now, datagram, &self.studio);
                    }
                }
            }
        }
    }
}

#[test]
fn a_packet_asks_nothing_of_the_heap() {
    for media in
        [Media::SIMULCAST, Media::H264, Media::Vp9 { spatial: 3, temporal: 3 }, Media::Av1 { spatial: 3, temporal: 3 }]
    {
        let mut room = Room::new(&[media, Media::Opus]);
        for peer in 1..=20 {
            room.add_subscriber(peer);
        }
        let (warm_up, _) = room.play(Time::from_millis(3_000));
        assert!(warm_up > 0, "the counter counts");
        let (asked, sent) = room.play(Time::from_millis(8_000));
        assert!(sent > 20 * 5 * 80, "{sent} datagrams");
        assert_eq!(asked, 0, "for {sent} datagrams of {media:?}");
    }
}

#[test]
fn a_subscriber_of_audio_and_video_takes_less_than_100_kilobytes() {
    const SUBSCRIBERS: usize = 200;
    let mut room = Room::new(&[Media::SIMULCAST, Media::Opus]);
    room.play(Time::from_millis(500));
    // What the test itself keeps grows too: the publisher's history is full before it counts.
    room.play(Time::from_millis(9_000));
    let sizes: &'static Sizes = Box::leak(Box::new(Sizes(std::array::from_fn(|_| Cell::new(0)))));
    let (before, idle_for) = (LIVE.get(), room.now);
    SIZES.set(Some(sizes));
    for peer in 1..=SUBSCRIBERS {
        room.add_subscriber(peer);
    }
    let joined = LIVE.get() - before;
    SIZES.set(None);
    let each = joined / i64::try_from(SUBSCRIBERS).unwrap();
    let by_size: BTreeMap<_, _> = (0..64)
        .map(|class| (1u64 << class, sizes.0[class].get() / i64::try_from(SUBSCRIBERS).unwrap()))
        .filter(|(_, bytes)| *bytes > 200)
        .collect();
    println!("{each} bytes per subscriber; by size of block (below): {by_size:?}");
    assert!(each < 100_000, "{each} bytes per subscriber; by size of block (below): {by_size:?}");

    // And with their queues in use.
    room.play(idle_for + core::time::Duration::from_secs(2));
    let playing = (LIVE.get() - before) / i64::try_from(SUBSCRIBERS).unwrap();
    println!("{playing} bytes per subscriber while playing");
    assert!(playing < 100_000, "{playing} bytes per subscriber while playing");
}
