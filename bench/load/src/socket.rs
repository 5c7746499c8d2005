//! UDP in batches, each datagram with the time at which the kernel took it: what the load itself waits for is no delay of the
//! server's.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams of one call.
const BATCH: usize = 64;
/// No datagram of WebRTC is longer than an Ethernet frame.
const LONGEST: usize = 2048;
/// Bytes that a socket may hold: half a second of video at 4 Mbit/s, the kernel's overhead included.
const RECEIVE_BUFFER: libc::c_int = 1 << 20;
/// Words of control messages: a time and some room.
const CONTROL_WORDS: usize = 8;

/// A socket on a free port of all interfaces, not blocking.
pub fn bind(of: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if of.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    // Beyond the limit for everybody only with a privilege; the plain request stands where that fails.
    set_option(&socket, libc::SO_RCVBUF, RECEIVE_BUFFER);
    set_option(&socket, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER);
    set_option(&socket, libc::SO_TIMESTAMPNS, 1);
    Ok(socket)
}

/// The address of this machine from which it reaches another.
pub fn route_to(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

fn set_option(socket: &UdpSocket, name: libc::c_int, value: libc::c_int) {
    // SAFETY: the option's value lives over the call and has the length given.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), 4) };
}

/// Nanoseconds of the clock that the kernel stamps datagrams with.
pub fn wall_ns() -> u64 {
    // SAFETY: plain C structure; the call fills it in.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: the structure lives over the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    nanoseconds(time)
}

fn nanoseconds(time: libc::timespec) -> u64 {
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Where batches are received; one is enough for all sockets.
pub struct Inbox {
    bytes: Vec<[u8; LONGEST]>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Default for Inbox {
    fn default() -> Self {
        // SAFETY: plain C structures for which zero bytes are a valid value.
        let (name, header) = unsafe { (zeroed::<libc::sockaddr_storage>(), zeroed::<libc::mmsghdr>()) };
        let mut bytes = vec![[0; LONGEST]; BATCH];
        let vector = |slot: &mut [u8; LONGEST]| libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: LONGEST };
        let vectors = bytes.iter_mut().map(vector).collect();
        let controls = vec![[0; CONTROL_WORDS]; BATCH];
        Self { bytes, names: vec![name; BATCH], controls, vectors, headers: vec![header; BATCH] }
    }
}

impl Inbox {
    /// Receives what waits, up to a batch; says how much, and whether there may be more.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<(usize, bool)> {
        for (index, header) in self.headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&self.controls[index]) as _;
        }
        // SAFETY: every header points to memory of this inbox, which is borrowed over the call, and says its length.
        let count = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as _, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        match usize::try_from(count) {
            Ok(count) => Ok((count, count == BATCH)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok((0, false)),
                // An ICMP message about an earlier datagram (a peer that has gone) is told once, in place of data.
                error if error.kind() == io::ErrorKind::ConnectionRefused => Ok((0, true)),
                error => Err(error),
            },
        }
    }

    /// One datagram of the last batch: its bytes, where it came from, and when, in nanoseconds of [`wall_ns`]'s clock.
    pub fn datagram(&self, index: usize) -> Option<(&[u8], SocketAddr, u64)> {
        let header = &self.headers[index];
        let bytes = &self.bytes[index][..(header.msg_len as usize).min(LONGEST)];
        Some((bytes, address(&self.names[index])?, arrival(&header.msg_hdr)?))
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is this structure, and the storage is large enough for either.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            Some(SocketAddr::new(u32::from_be(name.sin_addr.s_addr).to_be_bytes().into(), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::new(name.sin6_addr.s6_addr.into(), u16::from_be(name.sin6_port)))
        }
        _ => None,
    }
}

fn arrival(header: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel has filled in the control messages, and the CMSG functions walk within them.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_TIMESTAMPNS {
                return Some(nanoseconds(libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned()));
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_with_their_sender_and_their_time() {
        let local: IpAddr = [127, 0, 0, 1].into();
        let (one, other) = (bind(local).unwrap(), bind(local).unwrap());
        let to = SocketAddr::new(local, other.local_addr().unwrap().port());
        let before = wall_ns();
        one.send_to(b"first", to).unwrap();
        one.send_to(b"second", to).unwrap();
        let mut inbox = Inbox::default();
        assert_eq!(inbox.receive(&other).unwrap(), (2, false));
        let (bytes, from, at) = inbox.datagram(1).unwrap();
        assert_eq!((bytes, from.port()), (b"second".as_slice(), one.local_addr().unwrap().port()));
        assert!((before..=wall_ns()).contains(&at));
        assert_eq!(inbox.receive(&other).unwrap(), (0, false));
        assert_eq!(route_to(to).unwrap(), local);
    }
}
