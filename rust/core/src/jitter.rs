//! An ordered playout buffer for telephony and agents: packets in as they come, frames out when they are due.
//!
//! Never on the forwarding path. One stream of audio, its own numbers and clock; nothing is decoded here.

mod delay;

use core::time::Duration;

use self::delay::Delay;
use crate::drop::Drop;
use crate::receive::sequence::MAX_DROPOUT;
use crate::time::Time;
use crate::units::SeqNo;

/// A frame this far from where its timestamp belongs tells of a new timestamp base, not of delay.
const MAX_SHIFT: Duration = Duration::from_secs(10);

/// Longest frame that is taken for one, in parts of a second: Opus packets hold at most 120 ms.
const FRAMES_PER_SECOND: u32 = 8;

/// How a playout buffer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutParameters {
    /// Ticks of the RTP timestamp per second, above zero.
    pub clock_rate: u32,
    /// Least delay that is added to the fastest packets.
    pub min_delay: Duration,
    /// Most delay that is added, however the network jitters.
    pub max_delay: Duration,
    /// Most packets held at a time, at least 2: with frames of 20 ms, 64 hold 1.3 s.
    pub packets: u16,
    /// Most bytes of one payload.
    pub packet_bytes: u16,
}

/// What there is to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout<'a> {
    /// The next frame.
    Frame(Frame<'a>),
    /// The next frame is lost: conceal one.
    Missing {
        /// The timestamp that it probably had.
        timestamp: u32,
    },
    /// Nothing before this time; [`Time::NEVER`] where nothing is held. Silence, or a sender that ran dry.
    Wait(Time),
}

/// One frame in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its extended number.
    pub seq: SeqNo,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// When it was due, at or before the `now` it was popped at.
    pub due_at: Time,
    /// It begins a talk spurt (RFC 3551 §4.1).
    pub marker: bool,
    /// Its payload.
    pub payload: &'a [u8],
}

/// What became of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Frames played.
    pub played: u64,
    /// Frames concealed.
    pub missing: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that were there already.
    pub duplicates: u64,
    /// Packets thrown out for newer ones, unplayed.
    pub discarded: u64,
    /// Times that everything began anew.
    pub resets: u64,
}

/// An ordered playout buffer with adaptive delay. Allocates when it is made and not again.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    parameters: PlayoutParameters,
    /// By number modulo the count of slots.
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    held: usize,
    stream: Option<Timeline>,
    delay: Delay,
    /// The number that would prove a jump.
    proof: Option<u16>,
    stats: PlayoutStats,
}

/// Where a stream is.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    newest: SeqNo,
    /// The newest packet's timestamp, wraps above its 32 bits.
    newest_ticks: i64,
    /// The number whose turn it is.
    next: SeqNo,
    /// The timestamp of the last frame that had its turn.
    last_ticks: Option<i64>,
    /// Ticks of one frame.
    frame_ticks: i64,
    /// The latest step between neighbours; the same twice is the length of a frame.
    step: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    is_held: bool,
    marker: bool,
    len: u16,
    seq: SeqNo,
    ticks: i64,
}

impl JitterBuffer {
    /// An empty buffer.
    pub fn new(parameters: PlayoutParameters) -> Self {
        let parameters = PlayoutParameters {
            clock_rate: parameters.clock_rate.max(1),
            max_delay: parameters.max_delay.max(parameters.min_delay),
            packets: parameters.packets.max(2),
            ..parameters
        };
        let packets = usize::from(parameters.packets);
        Self {
            slots: vec![Slot::default(); packets].into_boxed_slice(),
            bytes: vec![0; packets * usize::from(parameters.packet_bytes)].into_boxed_slice(),
            held: 0,
            stream: None,
            delay: Delay::new(parameters.min_delay, parameters.max_delay),
            proof: None,
            stats: PlayoutStats::default(),
            parameters,
        }
    }

    /// Takes in a packet that arrived at `now`.
    ///
    /// Fails with [`Drop::Oversized`], [`Drop::Duplicate`], or [`Drop::TooLate`] where its turn is over. A jump of numbers
    /// or timestamps empties the buffer and begins anew; a jump of numbers is believed when its next number follows, and
    /// its first packet is [`Drop::TooLate`].
    pub fn push(&mut self, now: Time, low: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Result<(), Drop> {
        let len = u16::try_from(payload.len()).ok().filter(|len| *len <= self.parameters.packet_bytes);
        let len = len.ok_or(Drop::Oversized)?;
        let mut stream = match self.stream {
            Some(stream) => stream,
            None => self.begin(now, low, timestamp),
        };
        if low.wrapping_sub(stream.newest.low()).min(stream.newest.low().wrapping_sub(low)) >= MAX_DROPOUT {
            if self.proof != Some(low) {
                self.proof = Some(low.wrapping_add(1));
                return Err(Drop::TooLate);
            }
            stream = self.begin(now, low, timestamp);
        }
        self.proof = None;
        let mut ticks = stream.ticks(timestamp);
        if self.delay.shift(now, self.media_time(ticks)) > MAX_SHIFT {
            stream = self.begin(now, low, timestamp);
            ticks = stream.newest_ticks;
        }
        let seq = stream.newest.nearest(low);
        // A slot remembers its number when its frame was played: a doubled packet is no late one.
        if self.slot(seq).is_some_and(|slot| slot.seq == seq) {
            self.stats.duplicates += 1;
            return Err(Drop::Duplicate);
        }
        let is_spurt = marker || stream.is_after_silence(seq, ticks);
        self.delay.update(now, self.media_time(ticks), is_spurt && self.held == 0);
        if seq < stream.next && !stream.reopen(seq, self.slots.len()) {
            self.stats.late += 1;
            return Err(Drop::TooLate);
        }
        stream.measure_frame(seq, ticks, self.parameters.clock_rate);
        if seq > stream.newest {
            stream.newest = seq;
            stream.newest_ticks = ticks;
        }
        self.make_room(&mut stream, seq);
        self.store(Slot { is_held: true, marker, len, seq, ticks }, payload);
        self.stream = Some(stream);
        Ok(())
    }

    /// What has its turn at `now`. Call until it says [`Playout::Wait`].
    ///
    /// After a standstill of the network several frames may be due at once: who plays at a fixed pace keeps or skips
    /// them as it likes. A loss is told only while its turn lasts; who waited through it has concealed it already.
    pub fn pop(&mut self, now: Time) -> Playout<'_> {
        let Some(mut stream) = self.stream.filter(|_| self.held > 0) else { return Playout::Wait(Time::NEVER) };
        let Some(first) = self.first_held(stream.next) else { return Playout::Wait(Time::NEVER) };
        let frame_lasts = Duration::from_nanos(self.media_time(stream.frame_ticks).unsigned_abs());
        while stream.next < first.seq {
            let ticks = stream.missing_ticks(first.ticks, first.seq.0 - stream.next.0);
            let due_at = self.delay.due_at(self.media_time(ticks));
            if !due_at.is_due(now) {
                return Playout::Wait(due_at);
            }
            stream.pass(ticks);
            self.stream = Some(stream);
            self.stats.missing += 1;
            if due_at + frame_lasts > now {
                return Playout::Missing { timestamp: low_bits(ticks) };
            }
        }
        let due_at = self.delay.due_at(self.media_time(first.ticks));
        if !due_at.is_due(now) {
            return Playout::Wait(due_at);
        }
        stream.pass(first.ticks);
        self.stream = Some(stream);
        self.release(first.seq);
        self.stats.played += 1;
        let payload = self.bytes.get(self.room(first.seq)).and_then(|room| room.get(..usize::from(first.len)));
        Playout::Frame(Frame {
            seq: first.seq,
            timestamp: low_bits(first.ticks),
            due_at,
            marker: first.marker,
            payload: payload.unwrap_or(&[]),
        })
    }

    /// Throws everything out; the next packet begins a stream.
    pub fn reset(&mut self) {
        self.slots.fill(Slot::default());
        self.stats.discarded += self.held as u64;
        self.held = 0;
        self.stream = None;
        self.proof = None;
    }

    /// The delay now added to the fastest packets.
    pub fn delay(&self) -> Duration {
        self.delay.added()
    }

    /// How many packets are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// What became of the packets so far.
    pub fn stats(&self) -> PlayoutStats {
        self.stats
    }

    /// Begins a stream with this packet; numbers go on, far above the ones before.
    fn begin(&mut self, now: Time, low: u16, timestamp: u32) -> Timeline {
        let seq = match self.stream {
            Some(before) => SeqNo(((before.newest.0 >> 16) + 2) << 16 | u64::from(low)),
            None => SeqNo::first(low),
        };
        if self.stream.is_some() {
            self.reset();
            self.stats.resets += 1;
        }
        let newest_ticks = (1 << 32) + i64::from(timestamp);
        self.delay.begin(now, self.media_time(newest_ticks));
        let frame_ticks = i64::from(self.parameters.clock_rate / 50);
        let stream = Timeline { newest: seq, newest_ticks, next: seq, last_ticks: None, frame_ticks, step: 0 };
        self.stream = Some(stream);
        stream
    }

    /// Moves the turn on until `seq` fits, throwing out the oldest.
    fn make_room(&mut self, stream: &mut Timeline, seq: SeqNo) {
        let oldest = SeqNo((seq.0 + 1).saturating_sub(self.slots.len() as u64));
        if stream.next >= oldest {
            return;
        }
        // No more than what the slots hold can lie between.
        let end = oldest.0.min(stream.next.0 + self.slots.len() as u64);
        for passed in (stream.next.0..end).map(SeqNo) {
            if self.slot(passed).is_some_and(|slot| slot.is_held && slot.seq == passed) {
                self.release(passed);
                self.stats.discarded += 1;
            }
        }
        // What is missing before the first one held is long over.
        stream.next = self.first_held(oldest).map_or(seq, |slot| slot.seq.min(seq));
        stream.last_ticks = None;
    }

    fn store(&mut self, slot: Slot, payload: &[u8]) {
        let room = self.room(slot.seq);
        if let Some(bytes) = self.bytes.get_mut(room).and_then(|room| room.get_mut(..payload.len())) {
            bytes.copy_from_slice(payload);
        }
        let index = self.index(slot.seq);
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
            self.held += 1;
        }
    }

    fn release(&mut self, seq: SeqNo) {
        let index = self.index(seq);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.is_held = false;
            self.held -= 1;
        }
    }

    /// The oldest packet held, from `next` on.
    fn first_held(&self, next: SeqNo) -> Option<Slot> {
        (next.0..next.0 + self.slots.len() as u64)
            .find_map(|number| self.slot(SeqNo(number)).filter(|slot| slot.is_held && slot.seq.0 == number))
            .copied()
    }

    fn slot(&self, seq: SeqNo) -> Option<&Slot> {
        self.slots.get(self.index(seq))
    }

    /// The bytes of the slot of `seq`.
    fn room(&self, seq: SeqNo) -> core::ops::Range<usize> {
        let start = self.index(seq) * usize::from(self.parameters.packet_bytes);
        start..start + usize::from(self.parameters.packet_bytes)
    }

    #[allow(clippy::cast_possible_truncation)] // below the count of slots
    fn index(&self, seq: SeqNo) -> usize {
        (seq.0 % self.slots.len() as u64) as usize
    }

    /// Ticks in nanoseconds.
    fn media_time(&self, ticks: i64) -> i64 {
        let nanos = i128::from(ticks) * 1_000_000_000 / i128::from(self.parameters.clock_rate);
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

impl Timeline {
    /// A timestamp with its wraps, nearest to the newest one.
    fn ticks(&self, timestamp: u32) -> i64 {
        self.newest_ticks + i64::from(timestamp.wrapping_sub(low_bits(self.newest_ticks)).cast_signed())
    }

    /// Whether silence that was not sent lies before this packet (DTX): the timestamp went on, the numbers did not.
    fn is_after_silence(&self, seq: SeqNo, ticks: i64) -> bool {
        seq == self.newest.plus(1) && ticks - self.newest_ticks >= self.frame_ticks * 2
    }

    /// The frame whose turn it is had it.
    fn pass(&mut self, ticks: i64) {
        self.next = self.next.plus(1);
        self.last_ticks = Some(ticks);
    }

    /// Learns the length of a frame from two equal steps between neighbours.
    fn measure_frame(&mut self, seq: SeqNo, ticks: i64, clock_rate: u32) {
        if seq != self.newest.plus(1) {
            return;
        }
        let step = ticks - self.newest_ticks;
        if step == self.step && step > 0 && step <= i64::from(clock_rate / FRAMES_PER_SECOND) {
            self.frame_ticks = step;
        }
        self.step = step;
    }

    /// Goes back for a packet that came before the first one and was overtaken, while nothing has been played.
    fn reopen(&mut self, seq: SeqNo, slots: usize) -> bool {
        let is_open = self.last_ticks.is_none() && self.newest.0 - seq.0 < slots as u64;
        if is_open {
            self.next = seq;
        }
        is_open
    }

    /// The timestamp that the frame whose turn it is would have, `lost` numbers before one with `ticks`.
    fn missing_ticks(&self, ticks: i64, lost: u64) -> i64 {
        let lost = i64::try_from(lost).unwrap_or(i64::MAX);
        let guess = match self.last_ticks {
            Some(last) => last + self.frame_ticks,
            None => ticks - self.frame_ticks.saturating_mul(lost),
        };
        guess.min(ticks)
    }
}

/// The 32 bits of the wire.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn low_bits(ticks: i64) -> u32 {
    ticks as u32
}

#[cfg(test)]
mod tests;
