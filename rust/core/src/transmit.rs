//! Where a router writes what is to be sent: one slab for many datagrams, cut into runs that the kernel takes whole.

use crate::ice::Path;
use crate::store::MAX_PACKET;

/// The most datagrams in one run: what the kernel takes in one UDP_SEGMENT call (`UDP_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: usize = 64;

/// The most bytes in one run: what an IP packet holds, headers of IPv6 and UDP taken off.
pub const MAX_RUN: usize = 65_487;

/// Datagrams of one size to one peer, one after the other; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// From where to where.
    pub path: Path,
    /// First byte in the slab.
    pub start: usize,
    /// Bytes of all datagrams together.
    pub len: usize,
    /// Bytes of each datagram but the last.
    pub segment: usize,
}

impl Run {
    /// How many datagrams.
    pub fn count(&self) -> usize {
        self.len.div_ceil(self.segment.max(1))
    }
}

/// Bytes and runs of one batch.
pub struct SendSlab {
    bytes: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
}

impl SendSlab {
    /// A slab for about `datagrams` datagrams.
    pub fn new(datagrams: usize) -> Self {
        let datagrams = datagrams.max(8);
        Self { bytes: vec![0; datagrams * MAX_PACKET].into_boxed_slice(), used: 0, runs: Vec::with_capacity(datagrams) }
    }

    /// Forgets everything written.
    pub fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
    }

    /// The runs written so far.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The bytes of a run.
    pub fn bytes_of(&self, run: &Run) -> &[u8] {
        self.bytes.get(run.start..run.start + run.len).unwrap_or(&[])
    }

    /// Everything, for sealing what was written in groups.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Whether another datagram of any size fits.
    pub fn has_room(&self) -> bool {
        self.used + MAX_PACKET <= self.bytes.len() && self.runs.len() < self.runs.capacity()
    }

    /// Room for one datagram, and where it begins; ask [`has_room`](Self::has_room) first.
    pub fn reserve(&mut self) -> (usize, &mut [u8]) {
        let start = self.used;
        (start, self.bytes.get_mut(start..start + MAX_PACKET).unwrap_or(&mut []))
    }

    /// Keeps the first `len` bytes written to the last [`reserve`](Self::reserve), in the run before if they fit there.
    pub fn commit(&mut self, path: Path, len: usize) {
        if len == 0 {
            return;
        }
        if let Some(run) = self.runs.last_mut()
            && run.path == path
            && len <= run.segment
            && run.len % run.segment == 0
            && run.count() < MAX_SEGMENTS
            && run.len + len <= MAX_RUN
        {
            run.len += len;
        } else {
            self.runs.push(Run { path, start: self.used, len, segment: len });
        }
        self.used += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::Via;

    fn path(port: u16) -> Path {
        Path { via: Via::Udp, local: ([127, 0, 0, 1], 1).into(), remote: ([127, 0, 0, 1], port).into() }
    }

    fn write(slab: &mut SendSlab, port: u16, len: usize) {
        assert!(slab.has_room());
        slab.commit(path(port), len);
    }

    #[test]
    fn equal_datagrams_share_a_run_and_a_shorter_one_ends_it() {
        let mut slab = SendSlab::new(32);
        for len in [1000, 1000, 400, 400, 1000] {
            write(&mut slab, 9, len);
        }
        write(&mut slab, 10, 1000);
        let lens: Vec<_> = slab.runs().iter().map(|run| (run.segment, run.len, run.count())).collect();
        assert_eq!(lens, [(1000, 2400, 3), (400, 400, 1), (1000, 1000, 1), (1000, 1000, 1)]);
    }

    #[test]
    fn no_run_is_longer_than_the_kernel_takes() {
        let mut slab = SendSlab::new(200);
        for _ in 0..100 {
            write(&mut slab, 9, 100);
        }
        for _ in 0..60 {
            write(&mut slab, 9, 1400);
        }
        assert!(slab.runs().iter().all(|run| run.count() <= MAX_SEGMENTS && run.len <= MAX_RUN));
        assert_eq!(slab.runs().iter().map(Run::count).sum::<usize>(), 160);
    }
}
