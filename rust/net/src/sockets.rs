//! Which addresses a forwarder listens on, and the candidates they make (RFC 8445 §5.1.1).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use is::Candidate;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Where to listen and what to tell peers.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Local addresses; `0.0.0.0` and `::` stand for every address of the machine that a peer can use.
    pub addresses: Vec<IpAddr>,
    /// The UDP port for all peers; 0 lets the kernel choose.
    pub udp_port: u16,
    /// The port for passive TCP candidates, if any; 0 lets the kernel choose.
    pub tcp_port: Option<u16>,
    /// Addresses that peers see instead of the local ones: those of a NAT or a load balancer, by family.
    pub advertise: Vec<IpAddr>,
    /// Peers are told the local ones all the same, after those: some sit on this side of the NAT.
    pub advertise_local: bool,
}

/// One socket of one worker, with the address that peers know it by.
pub(crate) struct UdpPort {
    pub(crate) socket: mio::net::UdpSocket,
    pub(crate) advertised: SocketAddr,
}

/// Sockets wanted by a worker: big enough to hold what comes while it is busy. The kernel may grant less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

impl Listen {
    /// The local addresses meant, wildcards resolved.
    pub(crate) fn resolve(&self) -> io::Result<Vec<IpAddr>> {
        let machine = if_addrs::get_if_addrs()?;
        let usable: Vec<IpAddr> = machine
            .iter()
            .filter(|interface| !interface.is_loopback() && interface.is_oper_up())
            .map(if_addrs::Interface::ip)
            .filter(|ip| is_usable(*ip))
            .collect();
        Ok(resolve(&self.addresses, &usable))
    }

    pub(crate) fn advertised(&self, local: SocketAddr) -> SocketAddr {
        self.advertise
            .iter()
            .find(|ip| ip.is_ipv4() == local.is_ipv4())
            .map_or(local, |&ip| SocketAddr::new(ip, local.port()))
    }
}

/// The addresses meant, on a machine that peers can reach by the `usable` ones.
fn resolve(addresses: &[IpAddr], usable: &[IpAddr]) -> Vec<IpAddr> {
    let mut resolved = Vec::new();
    for address in addresses {
        if address.is_unspecified() {
            resolved.extend(usable.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4()));
        } else {
            resolved.push(*address);
        }
    }
    if let (true, Some(first)) = (resolved.is_empty(), addresses.first()) {
        // A machine without a network can still serve itself. One that has it in one family alone has none in the other.
        resolved.push(if first.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    resolved.sort();
    resolved.dedup();
    resolved
}

/// Not link-local: such an address means nothing without its interface.
fn is_usable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

/// Which of the sockets on one port is bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// The first: the port must be free. With SO_REUSEPORT from the start it could be had beside another forwarder of
    /// the same user, and each would get a part of the other's packets.
    First,
    /// A further worker's.
    Further,
}

/// One UDP socket; several workers share the port, and the kernel spreads peers over them (SO_REUSEPORT).
pub(crate) fn bind_udp(address: SocketAddr, share: Share) -> io::Result<UdpSocket> {
    let socket = unbound(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(share == Share::Further)?;
    socket.bind(&SockAddr::from(address))?;
    socket.set_reuse_port(true)?;
    // Refusals are harmless: the sizes stay what the kernel allows.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    Ok(socket.into())
}

/// One TCP listener.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(256)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn unbound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The candidate of one UDP port.
pub(crate) fn udp_candidate(advertised: SocketAddr) -> Option<Candidate> {
    Candidate::builder().udp().host(advertised).build().ok()
}

/// The candidate of the local address of a UDP port that has another one for peers outside; worse than that.
pub(crate) fn inner_candidate(local: SocketAddr) -> Option<Candidate> {
    let (ip, port) = (local.ip(), local.port());
    Candidate::from_sdp_string(&format!("candidate:2 1 udp 2113937151 {ip} {port} typ host")).ok()
}

/// The candidate of one TCP port; `tcptype passive` (RFC 6544 §4.5).
pub(crate) fn tcp_candidate(advertised: SocketAddr) -> Option<Candidate> {
    let passive = Candidate::from_sdp_string(&format!(
        "candidate:1 1 tcp 1518280447 {} {} typ host tcptype passive",
        advertised.ip(),
        advertised.port()
    ));
    passive.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips<const N: usize>(texts: [&str; N]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn everywhere_is_what_the_machine_has() {
        let both = ips(["0.0.0.0", "::"]);
        assert_eq!(resolve(&both, &ips(["2001:db8::5", "10.0.0.5"])), ips(["10.0.0.5", "2001:db8::5"]));
        assert_eq!(resolve(&both, &ips(["10.0.0.5"])), ips(["10.0.0.5"]), "no IPv6, no candidate for it");
        assert_eq!(resolve(&ips(["::"]), &ips(["10.0.0.5"])), ips(["::1"]));
        assert_eq!(resolve(&both, &[]), ips(["127.0.0.1"]));
    }

    #[test]
    fn an_address_named_twice_is_one() {
        assert_eq!(resolve(&ips(["10.0.0.5", "0.0.0.0"]), &ips(["10.0.0.5"])), ips(["10.0.0.5"]));
    }

    #[test]
    fn the_inner_address_is_told_last() {
        let outer = udp_candidate("198.51.100.7:7882".parse().expect("an address")).expect("a candidate");
        let inner = inner_candidate("10.0.0.5:7882".parse().expect("an address")).expect("a candidate");
        assert!(inner.prio() < outer.prio());
    }
}
