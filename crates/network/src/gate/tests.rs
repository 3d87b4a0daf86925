use super::*;
use crate::identity::peer_of;
use igor_protocol::KeyPair;
use std::time::Duration;

fn node(seed: u8) -> NodeId {
    KeyPair::from_seed(&[seed; 32]).public()
}

fn peer(seed: u8) -> PeerId {
    peer_of(node(seed)).expect("a key from a seed has a peer id")
}

fn gate(limits: Limits, change: impl FnOnce(&mut Config)) -> Gate {
    let mut config = Config::new(&[0; 32]).expect("a configuration");
    config.limits = limits.clone();
    change(&mut config);
    Gate::new(Lists::new(&config, &[(node(1), Multiaddr::empty())]), limits, Instant::now())
}

fn id(n: usize) -> ConnectionId {
    ConnectionId::new_unchecked(n)
}

fn at(address: &str) -> Multiaddr {
    address.parse().expect("an address")
}

#[test]
fn lists_decide_by_name() {
    let gate = gate(Limits::default(), |config| {
        config.private = true;
        config.allow = BTreeSet::from([node(2), node(3)]);
        config.deny = BTreeSet::from([node(3)]);
    });
    assert_eq!(gate.enter(peer(1)), Ok(node(1)), "bootstrap peers are listed");
    assert_eq!(gate.enter(peer(2)), Ok(node(2)));
    assert_eq!(gate.enter(peer(3)), Err(Refusal::Denied), "denied wins over allowed");
    assert_eq!(gate.enter(peer(4)), Err(Refusal::Unlisted));
    let foreign = PeerId::from_bytes(&[&[0x12, 0x20][..], &[9; 32]].concat()).expect("a peer id");
    assert_eq!(gate.enter(foreign), Err(Refusal::WrongKey));
}

#[test]
fn listed_peers_find_room_in_a_full_node() {
    let limits = Limits { connections: 2, connections_per_peer: 2, ..Limits::default() };
    let mut gate = gate(limits, |_| {});
    for seed in [10, 11] {
        gate.enter(peer(seed)).expect("room");
        gate.opened(peer(seed));
    }
    assert_eq!(gate.enter(peer(12)), Err(Refusal::Connections));
    for _ in 0..2 {
        gate.enter(peer(1)).expect("a listed peer always finds room");
        gate.opened(peer(1));
    }
    assert_eq!(gate.enter(peer(1)), Err(Refusal::PeerConnections));
    gate.closed(peer(10));
    gate.enter(peer(12)).expect("room again");
    gate.closed(peer(1));
    gate.enter(peer(1)).expect("room again");
}

#[test]
fn addresses_have_limits_of_their_own() {
    let now = Instant::now();
    let limits = Limits {
        handshakes: 4,
        handshakes_per_address: 2,
        handshake_burst: 3,
        handshakes_per_second: 1,
        ..Limits::default()
    };
    let mut gate = gate(limits, |_| {});
    let (first, second) = (at("/ip4/10.0.0.1/tcp/1"), at("/ip4/10.0.0.2/udp/2/quic-v1"));
    gate.knock(id(1), &first, now).expect("within limits");
    gate.knock(id(2), &first, now).expect("within limits");
    assert_eq!(gate.knock(id(3), &first, now), Err(Refusal::Handshakes), "another port is the same address");
    gate.knock(id(4), &second, now).expect("others are not affected");
    gate.handshake_over(id(1));
    gate.knock(id(5), &first, now).expect("within limits");
    gate.handshake_over(id(2));
    gate.handshake_over(id(2));
    assert_eq!(gate.knock(id(6), &first, now), Err(Refusal::HandshakeRate));
    gate.knock(id(7), &first, now + Duration::from_secs(1)).expect("one more after a second");
    gate.knock(id(8), &at("/ip4/10.0.0.3/tcp/1"), now).expect("within limits");
    assert_eq!(gate.knock(id(9), &at("/ip4/10.0.0.4/tcp/1"), now), Err(Refusal::Handshakes), "four in all");
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    let now = Instant::now();
    let mut gate = gate(Limits { handshakes_per_address: 1, ..Limits::default() }, |_| {});
    gate.knock(id(1), &at("/ip6/2001:db8::1/tcp/1"), now).expect("within limits");
    assert_eq!(gate.knock(id(2), &at("/ip6/2001:db8::ffff:1/tcp/1"), now), Err(Refusal::Handshakes));
    gate.knock(id(3), &at("/ip6/2001:db8:0:1::1/tcp/1"), now).expect("another network");
    gate.knock(id(4), &at("/ip4/10.0.0.1/tcp/1"), now).expect("within limits");
    assert_eq!(gate.knock(id(5), &at("/ip6/::ffff:10.0.0.1/tcp/1"), now), Err(Refusal::Handshakes));
}

#[test]
fn what_is_remembered_of_addresses_is_bounded() {
    let start = Instant::now();
    let mut gate = gate(Limits { handshakes: usize::MAX, ..Limits::default() }, |_| {});
    let address = |n: usize| at(&format!("/ip4/10.{}.{}.1/tcp/1", n >> 8, n & 255));
    gate.rate = Bucket::new(u32::MAX, 1, start);
    for n in 0..limits::ADDRESSES_MAX {
        gate.knock(id(n), &address(n), start).expect("within limits");
        gate.handshake_over(id(n));
    }
    let one_more = address(limits::ADDRESSES_MAX);
    assert_eq!(gate.knock(id(9999), &one_more, start), Err(Refusal::HandshakeRate));
    gate.knock(id(9999), &one_more, start + Duration::from_mins(1)).expect("those that went quiet are forgotten");
    assert_eq!(gate.sources.len(), 1);
}

#[test]
fn all_addresses_together_have_a_rate() {
    let start = Instant::now();
    let mut gate = gate(Limits::default(), |_| {});
    let mut within = 0;
    for n in 0..1000 {
        let knocked = gate.knock(id(n), &at(&format!("/ip4/10.0.{}.{}/tcp/1", n >> 8, n & 255)), start);
        within += u32::from(knocked.is_ok());
        gate.handshake_over(id(n));
    }
    assert_eq!(within, limits::HANDSHAKE_BURST_IN_ALL);
    gate.knock(id(1000), &at("/ip4/10.9.9.9/tcp/1"), start + Duration::from_secs(1)).expect("more with time");
}
