//! Which addresses a forwarder listens on, and the candidates they make (RFC 8445 §5.1.1).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

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
        let mut resolved = Vec::new();
        for &address in &self.addresses {
            if address.is_unspecified() {
                let machine = if_addrs::get_if_addrs()?;
                let mut usable: Vec<IpAddr> = machine
                    .iter()
                    .filter(|interface| !interface.is_loopback() && interface.is_oper_up())
                    .map(if_addrs::Interface::ip)
                    .filter(|ip| ip.is_ipv4() == address.is_ipv4() && is_usable(*ip))
                    .collect();
                if usable.is_empty() {
                    // A machine without a network can still serve itself.
                    usable.push(if address.is_ipv4() {
                        std::net::Ipv4Addr::LOCALHOST.into()
                    } else {
                        std::net::Ipv6Addr::LOCALHOST.into()
                    });
                }
                resolved.extend(usable);
            } else {
                resolved.push(address);
            }
        }
        resolved.sort();
        resolved.dedup();
        Ok(resolved)
    }

    pub(crate) fn advertised(&self, local: SocketAddr) -> SocketAddr {
        self.advertise
            .iter()
            .find(|ip| ip.is_ipv4() == local.is_ipv4())
            .map_or(local, |&ip| SocketAddr::new(ip, local.port()))
    }
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

/// The candidate of one TCP port; `tcptype passive` (RFC 6544 §4.5).
pub(crate) fn tcp_candidate(advertised: SocketAddr) -> Option<Candidate> {
    let passive = Candidate::from_sdp_string(&format!(
        "candidate:1 1 tcp 1518280447 {} {} typ host tcptype passive",
        advertised.ip(),
        advertised.port()
    ));
    passive.ok()
}
