//! What the operator says about the network, and the time limits.
//!
//! Invariant: a [`Config`] that [`Config::check`] passes can be started but for what only the system knows.

use crate::{Error, Limits, identity};
use igor_protocol::NodeId;
use libp2p::{Multiaddr, identity::Keypair};
use std::{collections::BTreeSet, time::Duration};

/// Time limits and intervals. [`Default`] suits a network of data centres and homes; tests take shorter ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// To finish the handshake of a connection.
    pub handshake: Duration,
    /// To agree on a protocol when a stream begins.
    pub negotiation: Duration,
    /// For a request, from the call to the answer; and for a peer to send its request.
    pub request: Duration,
    /// For the next frame of a transfer to begin, and for the peer to take more of what is sent.
    pub idle: Duration,
    /// For a frame of a transfer to be whole once it began.
    pub frame: Duration,
    /// For a peer's transfer beside what its bytes may take at
    /// [`TRANSFER_BYTES_PER_SECOND_MIN`](crate::limits::TRANSFER_BYTES_PER_SECOND_MIN). Only waiting for it counts.
    pub transfer: Duration,
    /// Before a peer may begin another transfer after one that was too slow: others get their turn.
    pub rest: Duration,
    /// Between pings on a connection.
    pub ping_interval: Duration,
    /// For the answer to a ping; without one the connection is closed.
    pub ping: Duration,
    /// Between questions for each connected peer's status.
    pub status_interval: Duration,
    /// Between looks for somebody else with this node's key; up to half longer by chance.
    pub mirror_interval: Duration,
    /// Before the first attempt to reach a peer again; each failure doubles it.
    pub retry_min: Duration,
    /// The longest pause between attempts.
    pub retry_max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            negotiation: Duration::from_secs(5),
            request: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            frame: Duration::from_secs(30),
            transfer: Duration::from_mins(2),
            rest: Duration::from_secs(30),
            ping_interval: Duration::from_secs(3),
            ping: Duration::from_secs(5),
            status_interval: Duration::from_secs(10),
            mirror_interval: Duration::from_mins(1),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_mins(1),
        }
    }
}

/// How a node takes part in the network.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) key: Keypair,
    pub(crate) node: NodeId,
    /// Where to listen. Port 0 takes a free one; [`Network::addresses`](crate::Network::addresses) says which.
    pub listen: Vec<Multiaddr>,
    /// What peers are told that this node is reached at, instead of where it listens: behind a router or a proxy that is
    /// somewhere else. Empty: nothing; who is to reach it must know.
    pub announce: Option<Vec<Multiaddr>>,
    /// Peers to stay connected with: addresses that end in `/p2p/ID`. `/dns/`, `/dns4/` and `/dns6/` are looked up
    /// at each attempt. The node's own address may be among them.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to find peers on the local network, and be found there.
    pub mdns: bool,
    /// Peers that are let in also when the node is full; with `private`, nobody else (but the bootstrap peers) is.
    pub allow: BTreeSet<NodeId>,
    /// Peers that are never let in, nor connected to.
    pub deny: BTreeSet<NodeId>,
    /// Whether only bootstrap peers and those on the allow list may connect.
    pub private: bool,
    /// How much peers may take.
    pub limits: Limits,
    /// How long things may take.
    pub times: Times,
}

impl Config {
    /// A node with this key that listens nowhere and knows nobody.
    ///
    /// The seed is that of the node's [`KeyPair`](igor_protocol::KeyPair).
    pub fn new(seed: &[u8; 32]) -> Result<Self, Error> {
        let unusable = || Error::Config("the node's key is no Ed25519 key".into());
        let key = identity::keypair_of(seed).ok_or_else(unusable)?;
        let node = identity::node_of(key.public().to_peer_id()).ok_or_else(unusable)?;
        Ok(Self {
            key,
            node,
            listen: vec![],
            announce: None,
            bootstrap: vec![],
            mdns: false,
            allow: BTreeSet::new(),
            deny: BTreeSet::new(),
            private: false,
            limits: Limits::default(),
            times: Times::default(),
        })
    }

    /// The node that this is the configuration of.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The bootstrap peers with their addresses, or what is wrong.
    pub(crate) fn check(&self) -> Result<Vec<(NodeId, Multiaddr)>, Error> {
        if let Some(fault) = self.limits.fault() {
            return Err(Error::Config(fault.into()));
        }
        let times = &self.times;
        let limits = [times.handshake, times.negotiation, times.request, times.idle, times.frame, times.transfer];
        let paces = [
            times.ping_interval,
            times.ping,
            times.status_interval,
            times.mirror_interval,
            times.retry_min,
            times.retry_max,
            times.rest,
        ];
        if limits.iter().chain(&paces).any(Duration::is_zero) {
            return Err(Error::Config("a time limit of zero lets nothing happen".into()));
        }
        let named = |address: &Multiaddr| {
            let (bare, peer) = identity::without_peer(address.clone());
            let node = peer.and_then(identity::node_of).ok_or_else(|| {
                Error::Config(format!("bootstrap peer {address} does not end in /p2p/ID of an Ed25519 key"))
            })?;
            Ok((node, bare))
        };
        self.bootstrap.iter().map(named).collect()
    }
}
