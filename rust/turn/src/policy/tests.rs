use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn peer(text: &str) -> SocketAddr {
    text.parse().expect("an address with port")
}

fn network(text: &str) -> Network {
    let (address, prefix) = text.split_once('/').expect("a network");
    Network { address: ip(address), prefix: prefix.parse().expect("bits") }
}

fn behind_a_nat() -> Policy {
    Policy {
        media: vec![Media { advertised: peer("8.8.4.4:7882"), local: peer("10.0.0.5:7882") }],
        own: vec![ip("10.0.0.5"), ip("127.0.0.1"), ip("9.9.9.9")],
        ..Policy::default()
    }
}

#[test]
fn media_is_reached_where_it_is_bound() {
    let policy = behind_a_nat();
    assert!(policy.may_permit(ip("8.8.4.4")));
    assert_eq!(policy.destination(peer("8.8.4.4:7882")), Some(peer("10.0.0.5:7882")));
    assert_eq!(policy.destination(peer("10.0.0.5:7882")), Some(peer("10.0.0.5:7882")));
    assert_eq!(policy.name_of(peer("10.0.0.5:7882")), peer("8.8.4.4:7882"));
    assert_eq!(policy.name_of(peer("1.1.1.1:5")), peer("1.1.1.1:5"));
}

#[test]
fn no_other_port_of_this_machine_is_reached() {
    let policy = behind_a_nat();
    for other in ["8.8.4.4:22", "10.0.0.5:6379", "9.9.9.9:7882", "127.0.0.1:7882", "[::ffff:127.0.0.1]:7882"] {
        assert_eq!(policy.destination(peer(other)), None, "{other}");
    }
}

#[test]
fn the_public_internet_is_open() {
    let policy = behind_a_nat();
    for public in ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"] {
        assert!(policy.may_permit(ip(public)), "{public}");
        assert!(policy.destination(SocketAddr::new(ip(public), 5000)).is_some(), "{public}");
    }
    assert_eq!(policy.destination(peer("1.1.1.1:0")), None);
}

#[test]
fn what_lies_behind_this_machine_is_closed() {
    let policy = behind_a_nat();
    let closed = [
        "0.0.0.0",
        "10.1.2.3",
        "100.100.100.200",
        "127.0.0.53",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "2001:db8::1",
        "2002:a00:1::",
        "fd00::1",
        "fe80::1",
        "ff02::1",
    ];
    for address in closed {
        assert!(!policy.may_permit(ip(address)), "{address}");
        assert_eq!(policy.destination(SocketAddr::new(ip(address), 80)), None, "{address}");
    }
}

#[test]
fn the_operator_opens_and_closes() {
    let mut policy = behind_a_nat();
    policy.allowed = vec![network("10.0.0.0/8"), network("0.0.0.0/0"), network("fd00::/8")];
    policy.denied = vec![network("10.9.0.0/16"), network("1.0.0.0/8")];
    assert!(policy.may_permit(ip("10.1.2.3")));
    assert!(policy.may_permit(ip("fd00::1")));
    assert!(!policy.may_permit(ip("10.9.2.3")), "a closed part of an open network");
    assert!(!policy.may_permit(ip("1.1.1.1")));
    assert!(!policy.may_permit(ip("224.0.0.1")), "no peer");
    assert_eq!(policy.destination(peer("10.0.0.5:22")), None, "this machine stays closed");
    assert_eq!(policy.destination(peer("8.8.4.4:7882")), Some(peer("10.0.0.5:7882")));
    policy.denied = vec![network("0.0.0.0/0"), network("::/0")];
    assert_eq!(policy.destination(peer("8.8.4.4:7882")), Some(peer("10.0.0.5:7882")), "media is always open");
    assert!(!policy.may_permit(ip("9.8.7.6")));
}
