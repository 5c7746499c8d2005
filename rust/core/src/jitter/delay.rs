//! How long to hold frames back: long enough for most packets to be there in time, no longer.

use core::time::Duration;

use crate::time::Time;

/// Width of a bin: finer than a frame, coarser than the noise of a scheduler.
const BIN: i64 = 5_000_000;
/// Bins, one second together.
const BINS: usize = 200;
/// How many of a hundred packets should be in time; the rest is for concealment to hide.
const IN_TIME_PERCENT: u32 = 97;
/// When so many packets were counted, all counts are halved: 10 to 20 s of speech are remembered.
const MEMORY: u32 = 1000;
/// The fastest packet of the last one or two spans of this length is what delays are measured from.
const BASELINE_SPAN: Duration = Duration::from_secs(2);
/// Downwards the delay goes a fiftieth of the time, 20 ms in a second: nobody hears the pace.
const DOWN_SHARE: u64 = 50;

/// The playout delay of one stream.
///
/// Transit is arrival minus media time; its clocks have different starts, so only differences mean anything. The fastest
/// recent transit is the baseline, what a packet takes longer is its variation. Frames are due at media time plus
/// `offset`, which goes up at once and down slowly.
#[derive(Clone, Debug)]
pub(super) struct Delay {
    min: i64,
    max: i64,
    histogram: [u32; BINS],
    counted: u32,
    /// The least transit of the span that runs, and of the one before.
    fastest: [i64; 2],
    span_began_at: Time,
    updated_at: Time,
    offset: i64,
}

impl Delay {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min: signed(min),
            max: signed(max),
            histogram: [0; BINS],
            counted: 0,
            fastest: [i64::MAX; 2],
            span_began_at: Time::ZERO,
            updated_at: Time::ZERO,
            offset: 0,
        }
    }

    /// A stream begins with this packet. What was learned of the network is kept.
    pub(super) fn begin(&mut self, now: Time, media: i64) {
        let transit = nanos(now) - media;
        self.fastest = [transit, i64::MAX];
        self.span_began_at = now;
        self.updated_at = now;
        self.offset = transit + self.target();
    }

    /// How far a packet is from where its timestamp belongs.
    pub(super) fn shift(&self, now: Time, media: i64) -> Duration {
        Duration::from_nanos((nanos(now) - media).abs_diff(self.baseline()))
    }

    /// Learns from a packet; `is_free` where silence before it hides any change of delay.
    pub(super) fn update(&mut self, now: Time, media: i64, is_free: bool) {
        let transit = nanos(now) - media;
        let before = self.baseline();
        self.note_fastest(now, transit);
        let baseline = self.baseline();
        self.shift_down(baseline.saturating_sub(before));
        self.count(transit - baseline);
        let wanted = baseline + self.target();
        // Too late for its turn: half the way at once, so that one straggler costs half of itself and a new state of
        // the network is followed within a few packets.
        let late_by = (transit - self.offset).max(0);
        let elapsed = now.since(self.updated_at).as_nanos() / u128::from(DOWN_SHARE);
        let down = i64::try_from(elapsed).unwrap_or(i64::MAX);
        self.offset =
            if is_free || wanted > self.offset { wanted } else { wanted.max(self.offset.saturating_sub(down)) };
        self.offset = (self.offset + late_by / 2).clamp(baseline + self.min, baseline + self.max);
        self.updated_at = now;
    }

    /// When a frame of this media time is due.
    pub(super) fn due_at(&self, media: i64) -> Time {
        Time::from_nanos(u64::try_from(media.saturating_add(self.offset)).unwrap_or(0))
    }

    /// The delay above the fastest packets.
    pub(super) fn added(&self) -> Duration {
        let baseline = self.baseline();
        if baseline == i64::MAX { Duration::ZERO } else { Duration::from_nanos(self.offset.abs_diff(baseline)) }
    }

    fn baseline(&self) -> i64 {
        let [current, before] = self.fastest;
        current.min(before)
    }

    fn note_fastest(&mut self, now: Time, transit: i64) {
        let [current, before] = self.fastest;
        self.fastest = if now.since(self.span_began_at) >= BASELINE_SPAN {
            self.span_began_at = now;
            [transit, current]
        } else {
            [current.min(transit), before]
        };
    }

    /// The baseline went up: what read as variation was a longer way.
    fn shift_down(&mut self, rise: i64) {
        let bins = usize::try_from(rise / BIN).unwrap_or(0).min(BINS);
        if bins == 0 {
            return;
        }
        let (gone, kept) = self.histogram.split_at(bins);
        let mut shifted = [0; BINS];
        for (to, from) in shifted.iter_mut().zip(kept) {
            *to = *from;
        }
        if let Some(first) = shifted.first_mut() {
            *first += gone.iter().sum::<u32>();
        }
        self.histogram = shifted;
    }

    fn count(&mut self, variation: i64) {
        let bin = usize::try_from(variation / BIN).unwrap_or(0).min(BINS - 1);
        if let Some(count) = self.histogram.get_mut(bin) {
            *count += 1;
            self.counted += 1;
        }
        if self.counted >= MEMORY {
            self.histogram.iter_mut().for_each(|count| *count /= 2);
            self.counted = self.histogram.iter().sum();
        }
    }

    /// The upper edge of the bin below which enough packets were in time.
    fn target(&self) -> i64 {
        let enough = (self.counted * IN_TIME_PERCENT).div_ceil(100);
        let mut sum = 0;
        let mut edge = 0;
        for count in &self.histogram {
            if sum >= enough {
                break;
            }
            sum += count;
            edge += BIN;
        }
        edge.clamp(self.min, self.max)
    }
}

fn nanos(at: Time) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

fn signed(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}
