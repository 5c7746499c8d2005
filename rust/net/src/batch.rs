//! Many datagrams per system call: recvmmsg with GRO, sendmmsg with GSO (`UDP_GRO`, `UDP_SEGMENT`; Linux 5.0 and 4.18).
//!
//! A send costs two microseconds of kernel however it is called; only a run of equal datagrams to one peer is cheaper, because
//! it crosses the stack once. Where the kernel refuses runs, they are sent one by one from then on.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::time::Duration;

use rtpcore_core::transmit::{Run, SendSlab};

/// How many datagrams, or trains of datagrams, one recvmmsg takes.
const RECV_MESSAGES: usize = 16;
const RECV_MESSAGES_U32: u32 = 16;

/// A train that the kernel merged is at most this long.
const RECV_BYTES: usize = 65_536;

/// How many runs one sendmmsg takes; the kernel's own limit is 1024, and past some dozens nothing is gained.
const SEND_MESSAGES: usize = 64;

/// Room for the control messages of one datagram: the size of a train (24 bytes) and the time of arrival (32 bytes).
type Control = [u64; 8];

/// Buffers for receiving, made once per worker.
pub(crate) struct RecvBatch {
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage; RECV_MESSAGES]>,
    controls: Box<[Control; RECV_MESSAGES]>,
    vectors: Box<[libc::iovec; RECV_MESSAGES]>,
    headers: Box<[libc::mmsghdr; RECV_MESSAGES]>,
}

// SAFETY: the raw pointers in `vectors` and `headers` point into the boxes beside them and are set anew before each call.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    pub(crate) fn new() -> Self {
        // SAFETY: all of these are plain C structures for which zero bytes are a valid value.
        unsafe {
            Self {
                buffers: vec![0; RECV_MESSAGES * RECV_BYTES].into_boxed_slice(),
                names: Box::new(zeroed()),
                controls: Box::new([[0; 8]; RECV_MESSAGES]),
                vectors: Box::new(zeroed()),
                headers: Box::new(zeroed()),
            }
        }
    }

    /// Receives what is there, and hands each datagram with its sender, and how long it waited in the socket, to `take`; says
    /// how many there were.
    ///
    /// `WouldBlock` once nothing is left.
    pub(crate) fn receive(
        &mut self,
        fd: RawFd,
        mut take: impl FnMut(SocketAddr, Duration, &[u8]),
    ) -> io::Result<usize> {
        for (index, header) in self.headers.iter_mut().enumerate() {
            let buffer = &mut self.buffers[index * RECV_BYTES..(index + 1) * RECV_BYTES];
            self.vectors[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: RECV_BYTES };
            header.msg_hdr.msg_name = (&raw mut self.names[index]).cast();
            header.msg_hdr.msg_namelen = len_of::<libc::sockaddr_storage>();
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: every pointer in the headers was set above to memory of the given length that lives as long as self.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                RECV_MESSAGES_U32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let mut datagrams = 0;
        let read_at = wall_clock();
        for index in 0..received {
            let header = &self.headers[index];
            let len = (header.msg_len as usize).min(RECV_BYTES);
            let Some(source) = address_of(&self.names[index]) else { continue };
            let train = &self.buffers[index * RECV_BYTES..index * RECV_BYTES + len];
            let facts = Facts::read(&header.msg_hdr);
            let segment = facts.segment.unwrap_or(len).max(1);
            // A wall clock that was set meanwhile must not make packets old.
            let waited = facts.arrived_at.map_or(0, |at| read_at - at).clamp(0, 1_000_000_000);
            let waited = Duration::from_nanos(u64::try_from(waited).unwrap_or(0));
            for datagram in train.chunks(segment) {
                take(source, waited, datagram);
                datagrams += 1;
            }
        }
        Ok(datagrams)
    }
}

/// What the kernel said of one message.
#[derive(Default)]
struct Facts {
    /// The size of the datagrams that GRO merged into it, if it did.
    segment: Option<usize>,
    /// When it came, by the wall clock, in nanoseconds.
    arrived_at: Option<i64>,
}

impl Facts {
    fn read(header: &libc::msghdr) -> Self {
        let mut facts = Self::default();
        // SAFETY: the kernel filled in msg_control and msg_controllen; the CMSG functions walk within them, and each kind of
        // message carries the type that is read from it.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while let Some(control) = message.as_ref() {
                match (control.cmsg_level, control.cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let size = libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned();
                        facts.segment = usize::try_from(size).ok();
                    }
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let at = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                        facts.arrived_at = Some(nanos(at));
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
        facts
    }
}

/// The clock of the kernel's arrival times. Read once per batch, and only to subtract them from it.
fn wall_clock() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a pointer to a timespec that lives over the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    nanos(now)
}

fn nanos(at: libc::timespec) -> i64 {
    at.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(at.tv_nsec)
}

/// Asks for the time of arrival of each datagram; says whether the kernel tells it.
pub(crate) fn enable_timestamps(fd: RawFd) -> bool {
    set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Headers for sending, made once per worker.
pub(crate) struct SendBatch {
    names: Box<[libc::sockaddr_storage; SEND_MESSAGES]>,
    controls: Box<[Control; SEND_MESSAGES]>,
    vectors: Box<[libc::iovec; SEND_MESSAGES]>,
    headers: Box<[libc::mmsghdr; SEND_MESSAGES]>,
    /// Whether the kernel takes runs. Once it refused one it is not asked again: each refusal costs a call.
    takes_runs: bool,
}

// SAFETY: as for RecvBatch.
unsafe impl Send for SendBatch {}

impl SendBatch {
    pub(crate) fn new(takes_runs: bool) -> Self {
        // SAFETY: plain C structures for which zero bytes are a valid value.
        unsafe {
            Self {
                names: Box::new(zeroed()),
                controls: Box::new([[0; 8]; SEND_MESSAGES]),
                vectors: Box::new(zeroed()),
                headers: Box::new(zeroed()),
                takes_runs,
            }
        }
    }

    /// Sends runs, all of which leave by the socket `fd`; says how many datagrams the kernel refused.
    pub(crate) fn send(&mut self, fd: RawFd, slab: &SendSlab, runs: &[Run]) -> usize {
        let mut refused = 0;
        for group in runs.chunks(SEND_MESSAGES) {
            let mut rest = group;
            while !rest.is_empty() {
                if !self.takes_runs && rest.iter().any(|run| run.count() > 1) {
                    refused += rest.iter().map(|run| self.send_singly(fd, slab, run)).sum::<usize>();
                    break;
                }
                match self.send_group(fd, slab, rest) {
                    Ok(sent) => rest = &rest[sent.max(1).min(rest.len())..],
                    Err(error) => match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        // What old kernels and some devices say to UDP_SEGMENT.
                        Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP) if self.takes_runs && rest[0].count() > 1 => {
                            self.takes_runs = false;
                        }
                        _ => {
                            // One unreachable peer (or a full socket) must not hold back the others.
                            refused += rest[0].count();
                            rest = &rest[1..];
                        }
                    },
                }
            }
        }
        refused
    }

    fn send_group(&mut self, fd: RawFd, slab: &SendSlab, runs: &[Run]) -> io::Result<usize> {
        for (index, run) in runs.iter().enumerate() {
            let bytes = slab.bytes_of(run);
            self.fill(index, run.path.remote, bytes);
            if run.count() > 1 {
                self.set_segment(index, run.segment);
            }
        }
        self.submit(fd, runs.len())
    }

    /// One datagram per call element: what is left where runs are refused.
    fn send_singly(&mut self, fd: RawFd, slab: &SendSlab, run: &Run) -> usize {
        let mut refused = 0;
        let datagrams: Vec<&[u8]> = slab.bytes_of(run).chunks(run.segment.max(1)).collect();
        for group in datagrams.chunks(SEND_MESSAGES) {
            let mut rest = group;
            while !rest.is_empty() {
                for (index, datagram) in rest.iter().enumerate() {
                    self.fill(index, run.path.remote, datagram);
                }
                match self.submit(fd, rest.len()) {
                    Ok(sent) => rest = &rest[sent.max(1).min(rest.len())..],
                    Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                    Err(_) => {
                        refused += 1;
                        rest = &rest[1..];
                    }
                }
            }
        }
        refused
    }

    fn fill(&mut self, index: usize, to: SocketAddr, bytes: &[u8]) {
        let len = write_address(to, &mut self.names[index]);
        self.vectors[index] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast();
        header.msg_namelen = len;
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
        header.msg_flags = 0;
    }

    fn set_segment(&mut self, index: usize, segment: usize) {
        let header = &mut self.headers[index].msg_hdr;
        header.msg_control = self.controls[index].as_mut_ptr().cast();
        // SAFETY: Control holds more than CMSG_SPACE(2) = 24 bytes and is aligned for cmsghdr.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(2) as _;
            let message = self.controls[index].as_mut_ptr().cast::<libc::cmsghdr>();
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(2) as _;
            let size = u16::try_from(segment).unwrap_or(u16::MAX);
            libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
        }
    }

    fn submit(&mut self, fd: RawFd, count: usize) -> io::Result<usize> {
        // SAFETY: the first `count` headers were filled in; their pointers are into self and into bytes that the caller
        // borrows over this call. sendmmsg only reads what they point to.
        let sent = unsafe {
            libc::sendmmsg(fd, self.headers.as_mut_ptr(), u32::try_from(count).unwrap_or(0), libc::MSG_DONTWAIT as _)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Asks for merged trains; says whether the kernel knows them.
pub(crate) fn enable_gro(fd: RawFd) -> bool {
    set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Whether the kernel knows runs: it takes a segment size of 0 (none) for a socket of its own accord.
pub(crate) fn knows_gso(fd: RawFd) -> bool {
    set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0)
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> bool {
    // SAFETY: the option value is a c_int that lives over the call.
    unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len_of::<libc::c_int>()) == 0 }
}

/// An eventfd: a counter that a Python event loop can wait for.
pub(crate) fn eventfd() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: eventfd takes two integers; a non-negative result is a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(std::os::fd::OwnedFd::from_raw_fd(fd)) }
    }
}

fn len_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

/// The address the kernel wrote; an IPv4 peer on a dual-stack socket is shown as IPv4.
fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure lies there, and storage is large enough for each.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

/// The families as the address structures hold them: small numbers, in 16 bits.
#[allow(clippy::cast_possible_truncation)]
const AF_INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
#[allow(clippy::cast_possible_truncation)]
const AF_INET6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

fn write_address(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: storage is larger than sockaddr_in and aligned for it.
            let out = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in>() };
            out.sin_family = AF_INET;
            out.sin_port = v4.port().to_be();
            out.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            len_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: storage is larger than sockaddr_in6 and aligned for it.
            let out = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in6>() };
            out.sin6_family = AF_INET6;
            out.sin6_port = v6.port().to_be();
            out.sin6_flowinfo = 0;
            out.sin6_addr.s6_addr = v6.ip().octets();
            out.sin6_scope_id = v6.scope_id();
            len_of::<libc::sockaddr_in6>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtpcore_core::ice::{Path, Via};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn exchange(takes_runs: bool, address: &str) {
        let receiver = UdpSocket::bind(address).unwrap();
        receiver.set_nonblocking(true).unwrap();
        enable_gro(receiver.as_raw_fd());
        assert!(enable_timestamps(receiver.as_raw_fd()));
        let sender = UdpSocket::bind(address).unwrap();
        let path = Path { via: Via::Udp, local: sender.local_addr().unwrap(), remote: receiver.local_addr().unwrap() };
        let mut slab = SendSlab::new(64);
        let lens = [900usize, 900, 900, 300, 20, 1200, 1200];
        for (n, &len) in lens.iter().enumerate() {
            let (_, out) = slab.reserve();
            out[..len].fill(u8::try_from(n).unwrap());
            slab.commit(path, len);
        }
        let mut batch = SendBatch::new(takes_runs);
        assert_eq!(batch.send(sender.as_raw_fd(), &slab, slab.runs()), 0);
        let mut got = Vec::new();
        let mut recv = RecvBatch::new();
        while recv
            .receive(receiver.as_raw_fd(), |from, _, bytes| {
                assert_eq!(from, path.local);
                got.push((bytes[0], bytes.len()));
            })
            .is_ok()
        {}
        let sent: Vec<_> = lens.iter().enumerate().map(|(n, &len)| (u8::try_from(n).unwrap(), len)).collect();
        assert_eq!(got, sent);
    }

    #[test]
    fn runs_arrive_as_the_datagrams_they_were() {
        exchange(true, "127.0.0.1:0");
        exchange(true, "[::1]:0");
    }

    #[test]
    fn without_runs_the_same_datagrams_arrive() {
        exchange(false, "127.0.0.1:0");
    }

    #[test]
    fn an_unreachable_peer_does_not_hold_back_the_others() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = sender.local_addr().unwrap();
        let mut slab = SendSlab::new(8);
        for remote in ["[2001:db8::1]:9".parse().unwrap(), receiver.local_addr().unwrap()] {
            slab.commit(Path { via: Via::Udp, local, remote }, 100);
        }
        // An IPv4 socket cannot send to an IPv6 address.
        assert_eq!(SendBatch::new(true).send(sender.as_raw_fd(), &slab, slab.runs()), 1);
        let mut buffer = [0; 200];
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 100);
    }
}
