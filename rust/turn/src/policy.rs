//! Where relayed packets may go: to this server's own media, and to the public Internet; not into the networks behind it.
//!
//! A relay speaks from inside: whatever it may reach, everybody with a token may. Hence the machine's other ports, loopback,
//! link-local and private networks are closed unless the operator opens them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One of this server's media ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// As clients are told: behind a NAT, the NAT's address.
    pub advertised: SocketAddr,
    /// As it is bound. Packets go here: few NATs turn them round.
    pub local: SocketAddr,
}

/// A range of addresses, such as 10.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address in it.
    pub address: IpAddr,
    /// How many leading bits count: at most 32 or 128.
    pub prefix: u8,
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => same_prefix(network.to_bits(), ip.to_bits(), self.prefix, 32),
            (IpAddr::V6(network), IpAddr::V6(ip)) => same_prefix(network.to_bits(), ip.to_bits(), self.prefix, 128),
            _ => false,
        }
    }
}

fn same_prefix<N>(one: N, other: N, prefix: u8, width: u8) -> bool
where
    N: std::ops::BitXor<Output = N>,
    u128: From<N>,
{
    prefix == 0 || u128::from(one ^ other) >> (width - prefix.min(width)) == 0
}

/// What decides.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Always open.
    pub media: Vec<Media>,
    /// This machine's other addresses and those it is known by: closed but for `media`.
    pub own: Vec<IpAddr>,
    /// Closed on the operator's word.
    pub denied: Vec<Network>,
    /// Open on the operator's word, though not public.
    pub allowed: Vec<Network>,
}

impl Policy {
    /// Whether a client may ask for packets from and to this address.
    pub fn may_permit(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.media.iter().any(|media| media.advertised.ip() == ip || media.local.ip() == ip) || self.is_open(ip)
    }

    /// Where a packet for `peer` is sent; None where it must not be.
    pub fn destination(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let own = self.media.iter().find(|media| media.advertised == peer || media.local == peer);
        own.map(|media| media.local).or_else(|| (peer.port() != 0 && self.is_open(peer.ip())).then_some(peer))
    }

    /// By which name clients know the peer that sent from here.
    pub fn name_of(&self, from: SocketAddr) -> SocketAddr {
        self.media.iter().find(|media| media.local == from).map_or(from, |media| media.advertised)
    }

    fn is_open(&self, ip: IpAddr) -> bool {
        let lies_in = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        let is_ours = self.own.contains(&ip)
            || self.media.iter().any(|media| media.advertised.ip() == ip || media.local.ip() == ip);
        !is_ours && !lies_in(&self.denied) && (is_public(ip) || lies_in(&self.allowed) && !is_special(ip))
    }
}

/// Nothing that a packet could be sent to and mean one peer.
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
    }
}

/// Reachable from anywhere, going by the registries of special addresses (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    let closed: &[(IpAddr, u8)] = match ip {
        IpAddr::V4(_) => &V4_CLOSED,
        IpAddr::V6(_) => &V6_CLOSED,
    };
    !closed.iter().any(|&(address, prefix)| Network { address, prefix }.contains(ip))
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> (IpAddr, u8) {
    (IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), prefix)
}

const fn v6(first: u16, second: u16, prefix: u8) -> (IpAddr, u8) {
    (IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix)
}

const V4_CLOSED: [(IpAddr, u8); 15] = [
    v4(0, 0, 0, 8),
    v4(10, 0, 0, 8),
    v4(100, 64, 0, 10), // carriers' NATs, and clouds' own services
    v4(127, 0, 0, 8),
    v4(169, 254, 0, 16), // link-local, and clouds' metadata
    v4(172, 16, 0, 12),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 88, 99, 24),
    v4(192, 168, 0, 16),
    v4(198, 18, 0, 15),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
];

const V6_CLOSED: [(IpAddr, u8); 10] = [
    v6(0, 0, 8),            // unspecified, loopback, IPv4 in disguise
    v6(0x0064, 0xff9b, 32), // NAT64, which leads to any IPv4 address
    v6(0x0100, 0, 64),
    v6(0x2001, 0, 23), // Teredo and other protocols' own
    v6(0x2001, 0x0db8, 32),
    v6(0x2002, 0, 16), // 6to4: IPv4 again
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
    v6(0xfec0, 0, 10),
    v6(0xff00, 0, 8),
];

#[cfg(test)]
mod tests;
