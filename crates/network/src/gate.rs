//! Who may connect: lists, numbers and rates, decided before and after a peer has said who it is.
//!
//! Invariants kept here:
//! - Before the handshake an address is under limits of its own, so that one address cannot take what others need.
//! - After it the peer is: denied peers never get in, unlisted ones not into a private node, and listed ones always
//!   do, however full the node is with others.
//! - What is remembered of addresses and peers is bounded.

use crate::{Config, Limits, Refusal, bucket::Bucket, identity::node_of, limits};
use igor_protocol::NodeId;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::ConnectionId};
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Instant,
};

/// The lists of the operator.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    listed: BTreeSet<NodeId>,
    deny: BTreeSet<NodeId>,
    private: bool,
}

impl Lists {
    pub(crate) fn new(config: &Config, bootstrap: &[(NodeId, Multiaddr)]) -> Self {
        let listed = config.allow.iter().copied().chain(bootstrap.iter().map(|(node, _)| *node)).collect();
        Self { listed, deny: config.deny.clone(), private: config.private }
    }

    /// Why this node is refused by name, if it is.
    pub(crate) fn refusal(&self, node: NodeId) -> Option<Refusal> {
        if self.deny.contains(&node) {
            Some(Refusal::Denied)
        } else if self.private && !self.listed.contains(&node) {
            Some(Refusal::Unlisted)
        } else {
            None
        }
    }

    pub(crate) fn is_listed(&self, node: NodeId) -> bool {
        self.listed.contains(&node) && !self.deny.contains(&node)
    }
}

/// What an address is counted by: itself for IPv4, the network that one customer gets for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source([u8; 16]);

impl Source {
    fn of(address: &Multiaddr) -> Self {
        let ip = address.iter().find_map(|part| match part {
            Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
            Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
            _ => None,
        });
        match ip {
            Some(IpAddr::V4(ip)) => Self(ip.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(ip)) => {
                let mut octets = ip.octets();
                octets[8..].fill(0);
                Self(octets)
            }
            // No transport of ours gives such an address; all of them together are one source.
            None => Self([0; 16]),
        }
    }
}

/// What an address did lately.
#[derive(Debug)]
struct Record {
    handshakes: usize,
    rate: Bucket,
}

/// The state of admission.
#[derive(Debug)]
pub(crate) struct Gate {
    lists: Lists,
    limits: Limits,
    rate: Bucket,
    sources: HashMap<Source, Record>,
    handshakes: HashMap<ConnectionId, Source>,
    /// Open connections by peer, and how many of unlisted peers there are in all.
    peers: HashMap<PeerId, usize>,
    unlisted: usize,
}

impl Gate {
    pub(crate) fn new(lists: Lists, limits: Limits, now: Instant) -> Self {
        let rate = Bucket::new(limits::HANDSHAKE_BURST_IN_ALL, limits::HANDSHAKES_PER_SECOND_IN_ALL, now);
        Self {
            lists,
            limits,
            rate,
            sources: HashMap::new(),
            handshakes: HashMap::new(),
            peers: HashMap::new(),
            unlisted: 0,
        }
    }

    /// Somebody knocks.
    pub(crate) fn knock(&mut self, id: ConnectionId, from: &Multiaddr, now: Instant) -> Result<(), Refusal> {
        if self.handshakes.len() >= self.limits.handshakes {
            return Err(Refusal::Handshakes);
        }
        let source = Source::of(from);
        if !self.sources.contains_key(&source) && self.sources.len() >= limits::ADDRESSES_MAX {
            self.sources.retain(|_, record| record.handshakes > 0 || !record.rate.is_full(now));
            if self.sources.len() >= limits::ADDRESSES_MAX {
                return Err(Refusal::HandshakeRate);
            }
        }
        let limits = &self.limits;
        let fresh =
            || Record { handshakes: 0, rate: Bucket::new(limits.handshake_burst, limits.handshakes_per_second, now) };
        let record = self.sources.entry(source).or_insert_with(fresh);
        if record.handshakes >= self.limits.handshakes_per_address {
            return Err(Refusal::Handshakes);
        }
        if !record.rate.take(1, now) || !self.rate.take(1, now) {
            return Err(Refusal::HandshakeRate);
        }
        record.handshakes += 1;
        self.handshakes.insert(id, source);
        Ok(())
    }

    /// The handshake is over, one way or the other.
    pub(crate) fn handshake_over(&mut self, id: ConnectionId) {
        if let Some(record) = self.handshakes.remove(&id).and_then(|source| self.sources.get_mut(&source)) {
            record.handshakes -= 1;
        }
    }

    /// Whether this peer may have one more connection that it made.
    pub(crate) fn enter(&self, peer: PeerId) -> Result<NodeId, Refusal> {
        let node = self.known(peer)?;
        if self.peers.get(&peer).is_some_and(|open| *open >= self.limits.connections_per_peer) {
            return Err(Refusal::PeerConnections);
        }
        if !self.lists.is_listed(node) && self.unlisted >= self.limits.connections {
            return Err(Refusal::Connections);
        }
        Ok(node)
    }

    /// Whether this peer may be known at all.
    pub(crate) fn known(&self, peer: PeerId) -> Result<NodeId, Refusal> {
        let node = node_of(peer).ok_or(Refusal::WrongKey)?;
        self.lists.refusal(node).map_or(Ok(node), Err)
    }

    pub(crate) fn opened(&mut self, peer: PeerId) {
        *self.peers.entry(peer).or_default() += 1;
        self.unlisted += usize::from(self.counts(peer));
    }

    pub(crate) fn closed(&mut self, peer: PeerId) {
        self.unlisted -= usize::from(self.counts(peer));
        if let Some(open) = self.peers.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                self.peers.remove(&peer);
            }
        }
    }

    fn counts(&self, peer: PeerId) -> bool {
        !node_of(peer).is_some_and(|node| self.lists.is_listed(node))
    }
}

#[cfg(test)]
mod tests;
