//! Sockets: where clients come in, and the ports that relays have.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use mio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Wanted for the sockets that many clients share. The kernel may grant less.
const SHARED_BUFFER: usize = 4 * 1024 * 1024;

/// Wanted for one relay: a second of a good video stream.
const RELAY_BUFFER: usize = 512 * 1024;

/// How many ports are tried for one relay: with half the range taken, all of these fail once in 2^64 times.
const TRIES: u16 = 64;

/// Where relays are bound, one of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// On this machine.
    pub local: IpAddr,
    /// As clients and their peers are told.
    pub advertised: IpAddr,
}

/// Every address of this machine.
pub(crate) fn machine() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(|interface| interface.ip().to_canonical()).collect())
}

/// The addresses meant. A datagram's answer must come from where it was sent, so each address has a socket of its own.
pub(crate) fn resolve(addresses: &[SocketAddr], machine: &[IpAddr]) -> Vec<SocketAddr> {
    let mut resolved = Vec::new();
    for address in addresses {
        if address.ip().is_unspecified() {
            let alike = machine.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4() && !is_link_local(**ip));
            resolved.extend(alike.map(|&ip| SocketAddr::new(ip, address.port())));
        } else {
            resolved.push(*address);
        }
    }
    resolved.sort_unstable();
    resolved.dedup();
    resolved
}

/// Such an address means nothing without its interface.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

pub(crate) fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    bind_udp(address, SHARED_BUFFER)
}

pub(crate) fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(256)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A socket on a free port of the range, chosen at random so that nobody can guess it; None where none was found.
pub(crate) fn bind_relay(ip: IpAddr, ports: &RangeInclusive<u16>) -> Option<(UdpSocket, u16)> {
    let count = u32::from(ports.end() - ports.start()) + 1;
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    let first = u32::from_le_bytes(random);
    (0..u32::from(TRIES).min(count)).find_map(|step| {
        let port = ports.start() + u16::try_from(first.wrapping_add(step) % count).ok()?;
        Some((bind_udp(SocketAddr::new(ip, port), RELAY_BUFFER).ok()?, port))
    })
}

fn bind_udp(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = unbound(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&SockAddr::from(address))?;
    // Refusals are harmless: the sizes stay what the kernel allows.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    Ok(UdpSocket::from_std(socket.into()))
}

fn unbound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address with port")
    }

    #[test]
    fn everywhere_is_each_address_of_the_family() {
        let machine =
            ["127.0.0.1", "10.0.0.5", "169.254.1.1", "::1", "fe80::1"].map(|ip| ip.parse().expect("an address"));
        assert_eq!(resolve(&[at("0.0.0.0:3478")], &machine), [at("10.0.0.5:3478"), at("127.0.0.1:3478")]);
        assert_eq!(resolve(&[at("[::]:3478"), at("[::1]:3478")], &machine), [at("[::1]:3478")]);
        assert_eq!(resolve(&[at("192.0.2.1:1")], &machine), [at("192.0.2.1:1")]);
    }

    #[test]
    fn a_range_has_as_many_relays_as_free_ports() {
        let ip: IpAddr = "127.0.0.1".parse().expect("an address");
        let (taken, port) = bind_relay(ip, &(20_000..=60_000)).expect("a free port");
        assert!(bind_relay(ip, &(port..=port)).is_none());
        drop(taken);
        let (_, again) = bind_relay(ip, &(port..=port)).expect("the port is free again");
        assert_eq!(again, port);
    }
}
