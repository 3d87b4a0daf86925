//! Addresses that are worth dialling: looked up where they are names, and plausible where a peer told them.

use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{
    io,
    net::{IpAddr, TcpListener},
};

/// Most addresses that one name may give.
const LOOKED_UP_MAX: usize = 8;

/// The IP address that it begins with.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Fails where somebody listens on this TCP address already: libp2p would share the port with them, and each would get
/// a part of the connections.
pub(crate) fn probe(address: &Multiaddr) -> io::Result<()> {
    if let (Some(ip), Some(Protocol::Tcp(port @ 1..))) = (ip(address), address.iter().nth(1)) {
        TcpListener::bind((ip, port))?;
    }
    Ok(())
}

/// Whether it begins with a name.
pub(crate) fn is_name(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
}

/// Whether a peer may have told the truth with this address of its own, given where we see it: of a form that we
/// speak, somewhere definite, and loopback only if we are on the same machine.
pub(crate) fn is_plausible(told: &Multiaddr, seen: &Multiaddr) -> bool {
    let mut parts = told.iter().skip(1);
    let form = match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None) => port != 0,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => port != 0 && parts.next().is_none(),
        _ => false,
    };
    form && ip(told).is_some_and(|told| {
        let local = ip(seen).is_some_and(|seen| seen.is_loopback());
        !told.is_unspecified() && !told.is_multicast() && (local || !told.is_loopback())
    })
}

/// The addresses behind names; others as they are. A name that is not known now gives none.
pub(crate) async fn look_up(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut found = vec![];
    for address in addresses {
        let first = address.iter().next();
        let Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) = first else {
            found.push(address);
            continue;
        };
        match tokio::net::lookup_host((&*name, 0)).await {
            Ok(hosts) => {
                let hosts = hosts.map(|host| host.ip()).filter(|ip| suits(&address, *ip)).take(LOOKED_UP_MAX);
                found.extend(hosts.filter_map(|ip| address.replace(0, |_| Some(Protocol::from(ip)))));
            }
            Err(error) => tracing::debug!(%name, "cannot be looked up: {error}"),
        }
    }
    found
}

fn suits(address: &Multiaddr, ip: IpAddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Dns4(_)) => ip.is_ipv4(),
        Some(Protocol::Dns6(_)) => ip.is_ipv6(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Multiaddr {
        address.parse().expect("an address")
    }

    #[test]
    fn peers_are_believed_only_what_is_plausible() {
        let far = at("/ip4/192.0.2.1/tcp/9");
        let check = |told: &str, plausible: bool| assert_eq!(is_plausible(&at(told), &far), plausible, "{told}");
        check("/ip4/192.0.2.1/tcp/4001", true);
        check("/ip4/10.1.2.3/udp/4001/quic-v1", true);
        check("/ip6/2001:db8::1/udp/4001/quic-v1", true);
        check("/ip4/127.0.0.1/tcp/4001", false);
        check("/ip4/0.0.0.0/tcp/4001", false);
        check("/ip4/224.0.0.251/udp/4001/quic-v1", false);
        check("/ip4/192.0.2.1/tcp/0", false);
        check("/ip4/192.0.2.1/udp/4001", false);
        check("/ip4/192.0.2.1/tcp/4001/ws", false);
        check("/dns4/example.com/tcp/4001", false);
        assert!(is_plausible(&at("/ip4/127.0.0.1/tcp/4001"), &at("/ip4/127.0.0.1/tcp/9")));
    }

    #[tokio::test]
    async fn names_are_looked_up_and_the_rest_is_kept() {
        let found = look_up(vec![at("/dns4/localhost/udp/1/quic-v1"), at("/ip4/192.0.2.1/tcp/2")]).await;
        assert_eq!(found, [at("/ip4/127.0.0.1/udp/1/quic-v1"), at("/ip4/192.0.2.1/tcp/2")]);
    }
}
