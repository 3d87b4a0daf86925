//! The peers that are known: where they are, whether they are connected, what they said of themselves.
//!
//! Invariants kept here:
//! - At most [`PEERS_MAX`] peers with [`ADDRESSES_PER_PEER`] addresses each; those that the operator named, and those
//!   that are connected, are never forgotten for others.
//! - Nobody is dialled by itself but whom the operator named and whom mDNS found; each failure doubles the pause.

use crate::{
    Status,
    identity::peer_of,
    limits::{ADDRESSES_PER_PEER, FOUND_MAX, PEERS_MAX},
};
use igor_protocol::NodeId;
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    /// Where it was reached, or said that it is.
    pub addresses: Vec<Multiaddr>,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Whether the operator named it (bootstrap peers and allow list).
    pub listed: bool,
    /// The last ping's time, there and back.
    pub round_trip: Option<Duration>,
    /// What it last said of itself, and how long ago.
    pub status: Option<(Status, Duration)>,
}

#[derive(Debug)]
struct Entry {
    peer: PeerId,
    /// Those that the operator named come first and stay.
    addresses: Vec<Multiaddr>,
    named: usize,
    listed: bool,
    found: bool,
    connections: Vec<(ConnectionId, Instant)>,
    round_trip: Option<Duration>,
    status: Option<(Status, Instant)>,
    asked: Option<Instant>,
    dialling: bool,
    pause: Duration,
    next: Instant,
}

impl Entry {
    fn is_kept(&self) -> bool {
        self.listed || self.found || !self.connections.is_empty() || self.dialling
    }
}

/// All known peers.
#[derive(Debug)]
pub(crate) struct Book {
    entries: BTreeMap<NodeId, Entry>,
    retry: (Duration, Duration),
}

impl Book {
    /// Attempts to reach a peer are first so far apart, and at most so far.
    pub(crate) fn new(retry_min: Duration, retry_max: Duration) -> Self {
        Self { entries: BTreeMap::new(), retry: (retry_min, retry_max.max(retry_min)) }
    }

    fn entry(&mut self, node: NodeId, now: Instant) -> Option<&mut Entry> {
        if !self.entries.contains_key(&node) {
            let peer = peer_of(node)?;
            if self.entries.len() >= PEERS_MAX {
                let gone = self.entries.iter().find(|(_, entry)| !entry.is_kept()).map(|(node, _)| *node)?;
                self.entries.remove(&gone);
            }
            let entry = Entry {
                peer,
                addresses: vec![],
                named: 0,
                listed: false,
                found: false,
                connections: vec![],
                round_trip: None,
                status: None,
                asked: None,
                dialling: false,
                pause: self.retry.0,
                next: now,
            };
            self.entries.insert(node, entry);
        }
        self.entries.get_mut(&node)
    }

    /// The operator named this peer, perhaps with an address.
    pub(crate) fn list(&mut self, node: NodeId, address: Option<Multiaddr>, now: Instant) {
        let Some(entry) = self.entry(node, now) else { return };
        entry.listed = true;
        if let Some(address) = address.filter(|address| !entry.addresses.contains(address)) {
            entry.addresses.insert(entry.named, address);
            entry.named += 1;
        }
    }

    /// mDNS found this peer here.
    pub(crate) fn find(&mut self, node: NodeId, address: Multiaddr, now: Instant) {
        let found = self.entries.values().filter(|entry| entry.found).count();
        if found < FOUND_MAX || self.entries.get(&node).is_some_and(|entry| entry.found) {
            self.learn(node, address, now);
            if let Some(entry) = self.entries.get_mut(&node) {
                entry.found = true;
            }
        }
    }

    /// mDNS no longer hears it.
    pub(crate) fn lose(&mut self, node: NodeId) {
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.found = false;
        }
    }

    /// An address of a peer. The oldest that nobody named makes room.
    pub(crate) fn learn(&mut self, node: NodeId, address: Multiaddr, now: Instant) {
        let Some(entry) = self.entry(node, now) else { return };
        if entry.addresses.contains(&address) {
            return;
        }
        if entry.addresses.len() >= ADDRESSES_PER_PEER {
            if entry.named >= ADDRESSES_PER_PEER {
                return;
            }
            entry.addresses.remove(entry.named);
        }
        entry.addresses.push(address);
    }

    /// A connection was made. Says whether it is the peer's first.
    pub(crate) fn connected(&mut self, node: NodeId, id: ConnectionId, now: Instant) -> bool {
        let Some(entry) = self.entry(node, now) else { return false };
        entry.dialling = false;
        entry.connections.push((id, now));
        entry.connections.len() == 1
    }

    /// A connection ended. Says whether it was the peer's last.
    pub(crate) fn closed(&mut self, node: NodeId, id: ConnectionId, now: Instant, jitter: u32) -> bool {
        let (min, max) = self.retry;
        let Some(entry) = self.entries.get_mut(&node) else { return false };
        let Some(index) = entry.connections.iter().position(|(open, _)| *open == id) else { return false };
        let (_, since) = entry.connections.remove(index);
        // One that held for longer than the pause was a good one; others, as of a peer that refuses us, count as
        // failures.
        entry.pause = if now.saturating_duration_since(since) > entry.pause { min } else { (entry.pause * 2).min(max) };
        entry.next = now + jittered(entry.pause, jitter);
        if !entry.connections.is_empty() {
            return false;
        }
        entry.round_trip = None;
        entry.asked = None;
        true
    }

    /// An attempt to reach it failed.
    pub(crate) fn failed(&mut self, node: NodeId, now: Instant, jitter: u32) {
        let max = self.retry.1;
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.dialling = false;
            entry.next = now + jittered(entry.pause, jitter);
            entry.pause = (entry.pause * 2).min(max);
        }
    }

    /// The peers to dial now. They count as being dialled from here on.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(NodeId, PeerId, Vec<Multiaddr>)> {
        let due = |(_, entry): &(&NodeId, &mut Entry)| {
            let wanted = entry.listed || entry.found;
            let idle = entry.connections.is_empty() && !entry.dialling;
            wanted && idle && entry.next <= now && !entry.addresses.is_empty()
        };
        let due = self.entries.iter_mut().filter(due);
        due.map(|(node, entry)| {
            entry.dialling = true;
            (*node, entry.peer, entry.addresses.clone())
        })
        .collect()
    }

    /// The connection to use for a peer: the newest.
    pub(crate) fn connection(&self, node: NodeId) -> Option<(PeerId, ConnectionId)> {
        let entry = self.entries.get(&node)?;
        entry.connections.last().map(|(id, _)| (entry.peer, *id))
    }

    /// Where a peer is, as far as is known.
    pub(crate) fn addresses(&self, node: NodeId) -> Vec<Multiaddr> {
        self.entries.get(&node).map(|entry| entry.addresses.clone()).unwrap_or_default()
    }

    /// Connected peers.
    pub(crate) fn connected_peers(&self) -> Vec<NodeId> {
        let connected = self.entries.iter().filter(|(_, entry)| !entry.connections.is_empty());
        connected.map(|(node, _)| *node).collect()
    }

    /// Where to dial a peer that is asked for, if it is not being dialled already.
    pub(crate) fn dial(&mut self, node: NodeId) -> Dial {
        match self.entries.get_mut(&node) {
            Some(entry) if entry.dialling => Dial::Underway,
            Some(entry) if !entry.addresses.is_empty() => {
                entry.dialling = true;
                Dial::At(entry.peer, entry.addresses.clone())
            }
            _ => Dial::Nowhere,
        }
    }

    pub(crate) fn pinged(&mut self, node: NodeId, round_trip: Duration) {
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.round_trip = Some(round_trip);
        }
    }

    /// Connected peers whose status was last asked for longer than `interval` ago. They count as asked from here on.
    pub(crate) fn unasked(&mut self, now: Instant, interval: Duration) -> Vec<NodeId> {
        let due = |(_, entry): &(&NodeId, &mut Entry)| {
            let asked = entry.asked.is_some_and(|asked| now.saturating_duration_since(asked) < interval);
            !entry.connections.is_empty() && !asked
        };
        let due = self.entries.iter_mut().filter(due);
        due.map(|(node, entry)| {
            entry.asked = Some(now);
            *node
        })
        .collect()
    }

    pub(crate) fn answered(&mut self, node: NodeId, status: Status, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.status = Some((status, now));
        }
    }

    /// All peers, by node id.
    pub(crate) fn peers(&self, now: Instant) -> Vec<Peer> {
        let peer = |(node, entry): (&NodeId, &Entry)| Peer {
            node: *node,
            addresses: entry.addresses.clone(),
            connected: !entry.connections.is_empty(),
            listed: entry.listed,
            round_trip: entry.round_trip,
            status: entry.status.clone().map(|(status, at)| (status, now.saturating_duration_since(at))),
        };
        self.entries.iter().map(peer).collect()
    }
}

/// Where to dial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    /// Here.
    At(PeerId, Vec<Multiaddr>),
    /// Somebody does already.
    Underway,
    /// No address is known.
    Nowhere,
}

/// The pause, or up to half of it more, so that peers that lost each other do not meet in step for ever.
pub(crate) fn jittered(pause: Duration, jitter: u32) -> Duration {
    pause + (pause / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
