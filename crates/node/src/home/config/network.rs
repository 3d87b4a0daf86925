//! How a node takes part in the network.

use igor_network::Multiaddr;
use igor_protocol::NodeId;
use serde::{Deserialize, Deserializer, de::Error};

use super::policy::keys;

/// The least that a transfer may be slowed down to: the largest frame is 8 MiB, and must be whole within 30 s.
const PACE_MIN: u32 = 512 << 10;
/// Most addresses in one list.
const ADDRESSES_MAX: usize = 64;

/// `[network]`: where other nodes are met. Without `listen` and `peers` the node is on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Where to listen: `/ip4/0.0.0.0/udp/4100/quic-v1`, `/ip4/0.0.0.0/tcp/4100`.
    #[serde(deserialize_with = "addresses")]
    pub listen: Vec<Multiaddr>,
    /// What other nodes are told that this one is reached at, instead of where it listens; empty: nothing.
    #[serde(deserialize_with = "announced")]
    pub announce: Option<Vec<Multiaddr>>,
    /// Nodes to stay connected with: addresses that end in `/p2p/ID`, as those nodes print them.
    #[serde(deserialize_with = "addresses")]
    pub peers: Vec<Multiaddr>,
    /// Whether to find nodes on the local network.
    pub mdns: bool,
    /// Whether only `peers` and those that `allow` lists may connect.
    pub private: bool,
    /// Nodes that are let in also when there is no room for others.
    #[serde(deserialize_with = "keys")]
    pub allow: Vec<NodeId>,
    /// Nodes that are never let in.
    #[serde(deserialize_with = "keys")]
    pub deny: Vec<NodeId>,
    /// How many bytes a second each agent that comes or goes may take each way; without it as many as it gets.
    #[serde(deserialize_with = "pace")]
    pub transfer_bytes_per_second: Option<u32>,
}

impl NetworkConfig {
    /// Whether there is a network at all.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty() || !self.peers.is_empty()
    }
}

fn pace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let pace = u32::deserialize(deserializer)?;
    if pace < PACE_MIN {
        return Err(D::Error::custom(format_args!(
            "transfer_bytes_per_second is {pace}; below {PACE_MIN} the largest commit of a journal does not arrive in time"
        )));
    }
    Ok(Some(pace))
}

fn announced<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Multiaddr>>, D::Error> {
    addresses(deserializer).map(Some)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Multiaddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > ADDRESSES_MAX {
        return Err(D::Error::custom(format_args!("{} addresses, at most {ADDRESSES_MAX} are allowed", texts.len())));
    }
    let address = |text: String| text.parse().map_err(|e| D::Error::custom(format_args!("{text:?}: {e}")));
    texts.into_iter().map(address).collect()
}
