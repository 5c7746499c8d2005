//! Sockets of publishers and subscribers.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// A socket on a port of its own whose owner never reads: the kernel delivers what fits, then drops at its door.
pub fn deaf(address: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 1);
    Ok(socket)
}

/// A socket that holds much and notes when each datagram came.
pub fn listening(address: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // Beyond the limit for everybody only with a privilege; the plain request stands where that fails.
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 4 << 20);
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20);
    set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    Ok(socket)
}

fn set_option(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    // SAFETY: the option's value lives over the call and has the length given.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), 4) };
}

/// The most trains of one call.
pub const TRAINS: usize = 64;

/// Headers for sendmmsg, made once: runs of datagrams that the kernel cuts (UDP_SEGMENT).
pub struct Train {
    names: Box<[libc::sockaddr_in; TRAINS]>,
    controls: Box<[[u64; 3]; TRAINS]>,
    vectors: Box<[libc::iovec; TRAINS]>,
    headers: Box<[libc::mmsghdr; TRAINS]>,
}

impl Default for Train {
    fn default() -> Self {
        // SAFETY: plain C structures for which zero bytes are a valid value.
        unsafe {
            Self {
                names: Box::new(zeroed()),
                controls: Box::new([[0; 3]; TRAINS]),
                vectors: Box::new(zeroed()),
                headers: Box::new(zeroed()),
            }
        }
    }
}

impl Train {
    /// Fills in one message. The bytes must stay where they are until [`Self::send`].
    pub fn set(&mut self, index: usize, to: SocketAddr, bytes: &[u8], segment: usize) {
        let SocketAddr::V4(to) = to else { return };
        let name = &mut self.names[index];
        name.sin_family = libc::AF_INET as _;
        name.sin_port = to.port().to_be();
        name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        self.vectors[index] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as _;
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
        if bytes.len() > segment {
            let control = self.controls[index].as_mut_ptr();
            // SAFETY: three words are CMSG_SPACE(2) bytes, aligned for cmsghdr.
            unsafe {
                let message = control.cast::<libc::cmsghdr>();
                (*message).cmsg_level = libc::SOL_UDP;
                (*message).cmsg_type = libc::UDP_SEGMENT;
                (*message).cmsg_len = libc::CMSG_LEN(2) as _;
                libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment as u16);
                header.msg_controllen = libc::CMSG_SPACE(2) as _;
            }
            header.msg_control = control.cast();
        }
    }

    /// Sends the first `count` messages.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<()> {
        let mut done = 0;
        while done < count {
            // SAFETY: the messages from `done` to `count` were set, and the caller keeps their bytes.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr().add(done), (count - done) as u32, 0)
            };
            done += usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }
}

/// Nanoseconds of the clock that the kernel stamps datagrams with.
pub fn wall_ns() -> u64 {
    // SAFETY: plain C structure; the call fills it in.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: the structure lives over the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The next datagram that waits in a [`listening`] socket: its length in `buffer`, and when the kernel took it.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, u64)> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = [0u64; 8];
    // SAFETY: plain C structure for which zero bytes are a valid value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: all pointers are to memory of the given length that lives over the call; the kernel fills in the control
    // messages, and the CMSG functions walk within them.
    unsafe {
        let len = usize::try_from(libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT)).ok()?;
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(found) = message.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_TIMESTAMPNS {
                let time = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                return Some((len, time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()));
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    None
}
