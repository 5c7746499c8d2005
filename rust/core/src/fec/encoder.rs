//! Sums up what one subscriber is sent, and writes its repair packets.

use super::protection::{MAX_REPAIRS, WINDOW};
use super::{Coverage, Parity, Plan, flexfec, ulpfec};
use crate::rtp::FixedHeader;
use crate::units::Ssrc;

/// How repair packets go to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`flexfec`], for the stream with this SSRC.
    FlexFec(Ssrc),
    /// [`ulpfec`]; the RED byte in front of it is the caller's.
    UlpFec,
}

/// One sum that is open, and which packets of the window are in it.
#[derive(Clone, Debug)]
struct Open {
    parity: Parity,
    mask: u64,
}

/// The open window of one stream: some 1.5 kB for each of the plan's repair packets, and as much for what was sent.
///
/// For each media packet, in the order they are sent, call [`add`](Self::add). When it says that the window is
/// complete, call [`write`](Self::write) until it gives none, before the next packet.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Of the open window.
    plan: Plan,
    /// Of the next.
    wanted: Plan,
    open: Vec<Open>,
    /// The sequence number of the window's first packet.
    base: u16,
    /// Bit `i` says that packet `base + i` is in the window.
    seen: u64,
    /// The sums that the last packet is in.
    joined: u32,
    packets: u8,
    frames: u8,
    /// Which sum is written next; none while the window is open.
    next: Option<usize>,
    coverage: Coverage,
}

impl Encoder {
    /// Allocates all it will ever need for plans of up to as many repair packets as this one.
    pub fn new(plan: Plan) -> Self {
        let mut encoder = Self {
            plan,
            wanted: plan,
            open: Vec::new(),
            base: 0,
            seen: 0,
            joined: 0,
            packets: 0,
            frames: 0,
            next: None,
            coverage: Coverage::default(),
        };
        encoder.set_plan(plan);
        encoder
    }

    /// Follows another plan from the next window on. May allocate: not for the packet path.
    pub fn set_plan(&mut self, plan: Plan) {
        self.wanted = plan;
        let repairs = usize::from(plan.repairs()).max(self.open.len()).min(MAX_REPAIRS);
        self.open.resize_with(repairs, || Open { parity: Parity::new(), mask: 0 });
        if self.packets == 0 {
            self.plan = plan;
        }
    }

    /// What it follows.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Which lost packets the repair packets written lately can recover.
    pub fn coverage(&mut self) -> &mut Coverage {
        &mut self.coverage
    }

    /// Adds one packet about to be sent for the first time, as [`Parity::add`] takes it; true when its window is
    /// complete, at the end of a frame or, with large frames, within one.
    ///
    /// A packet from before the window or one twice is left out, and one that does not fit is (see [`Parity::add`]).
    #[inline]
    pub fn add(&mut self, header: &FixedHeader, parts: &[&[u8]]) -> bool {
        self.joined = 0;
        if self.next.is_some() {
            self.restart();
        }
        if self.packets == 0 {
            self.base = header.sequence_number;
        }
        let ahead = header.sequence_number.wrapping_sub(self.base);
        if ahead >= 1 << 15 {
            return false;
        }
        if ahead >= WINDOW.into() {
            // The numbers jumped: what there is gets protected, this one opens no window of its own.
            return self.close();
        }
        let bit = 1_u64 << ahead;
        if self.seen & bit != 0 {
            return false;
        }
        for index in self.plan.sums_of(self.packets) {
            if let Some(open) = self.open.get_mut(index)
                && open.parity.add(header, parts)
            {
                open.mask |= bit;
                self.joined |= 1 << index;
            }
        }
        self.seen |= bit;
        self.packets += 1;
        self.frames += u8::from(header.marker);
        if self.packets >= self.plan.packets() || self.frames >= self.plan.frames() || u16::from(WINDOW) == ahead + 1 {
            return self.close();
        }
        false
    }

    /// Takes bytes of the packet added last out of its sums again (see [`Parity::cancel`]): those of a
    /// [mutable](super::MUTABLE) extension. Before the next call of [`write`](Self::write).
    #[inline]
    pub fn cancel(&mut self, offset: usize, bytes: &[u8]) {
        for (index, open) in self.open.iter_mut().enumerate() {
            if self.joined >> index & 1 != 0 {
                open.parity.cancel(offset, bytes);
            }
        }
    }

    /// Completes the window early, for a stream that pauses; true where there is something to write.
    pub fn close(&mut self) -> bool {
        if self.packets == 0 {
            return false;
        }
        self.next.get_or_insert(0);
        true
    }

    /// Whether repair packets wait to be written.
    pub fn is_complete(&self) -> bool {
        self.next.is_some()
    }

    /// Writes the payload of the next repair packet of a complete window and returns its length. None when there are no
    /// more, and the next window may begin.
    ///
    /// One that does not fit in `out` is left out.
    pub fn write(&mut self, format: Format, out: &mut [u8]) -> Option<usize> {
        while let Some(open) = self.open.get_mut(self.next?) {
            self.next = self.next.map(|next| next + 1);
            if open.mask == 0 {
                continue;
            }
            let first = open.mask.trailing_zeros();
            let base = self.base.wrapping_add(u16::try_from(first).unwrap_or(0));
            let mask = open.mask >> first;
            let written = match format {
                Format::FlexFec(ssrc) => flexfec::write(&open.parity.repair(Some(ssrc), base, mask.into()), out),
                Format::UlpFec => ulpfec::write(&open.parity.repair(None, base, mask.into()), out),
            };
            open.parity.clear();
            open.mask = 0;
            if written.is_some() {
                self.coverage.add(base, mask);
                return written;
            }
        }
        self.restart();
        None
    }

    /// Begins an empty window.
    fn restart(&mut self) {
        for open in self.open.iter_mut().filter(|open| open.mask != 0) {
            open.parity.clear();
            open.mask = 0;
        }
        (self.seen, self.packets, self.frames, self.next) = (0, 0, 0, None);
        self.plan = self.wanted;
    }
}
