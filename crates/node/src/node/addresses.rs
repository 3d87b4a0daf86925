//! Where the nodes that the operator lists were last reached: kept, so that a restart meets them at once and hears what
//! it slept through, also from those that `network.peers` has no address of.
//!
//! Invariants kept here:
//! - What is kept is a hint: who answers there proves by its key who it is. A line that does not read is left out.
//! - Only listed nodes are kept, and [`ADDRESSES_MAX`] addresses of each.

use super::Node;
use crate::Error;
use igor_network::Multiaddr;
use igor_protocol::NodeId;
use igor_store::Store;
use std::{collections::BTreeSet, time::Duration};

/// The local value: a node and an address a line.
const VALUE: &str = "addresses";
/// Addresses of one node, at most.
const ADDRESSES_MAX: usize = 4;
/// Nodes, at most.
const NODES_MAX: usize = 64;
/// A node that has just connected says a moment later where it is reached.
const SAYS_WITHIN: Duration = Duration::from_secs(3);

impl Node {
    /// The nodes that the operator lists by their keys.
    pub(super) fn listed(&self) -> BTreeSet<NodeId> {
        self.config().policy.nodes.iter().chain(&self.config().network.allow).copied().collect()
    }

    /// Where listed nodes were reached before, as addresses that name them.
    pub(super) fn remembered_addresses(&self) -> Result<Vec<Multiaddr>, Error> {
        let (listed, denied) = (self.listed(), &self.config().network.deny);
        let text = self.store.get_local(VALUE)?.unwrap_or_default();
        let lines = String::from_utf8_lossy(&text);
        let address = |line: &str| {
            let (node, address) = line.split_once(' ')?;
            let node = node.parse().ok().filter(|node| listed.contains(node) && !denied.contains(node))?;
            igor_network::address_of(node, address.parse().ok()?)
        };
        Ok(lines.lines().take(NODES_MAX * ADDRESSES_MAX).filter_map(address).collect())
    }

    /// Keeps where listed nodes are reached, one of which has just connected.
    pub(crate) async fn keep_addresses(&self, peer: NodeId) {
        if !self.listed().contains(&peer) {
            return;
        }
        tokio::time::sleep(SAYS_WITHIN).await;
        if let Err(error) = self.try_keep_addresses().await {
            tracing::warn!(%error, "where other nodes are reached is not kept for the next start");
        }
    }

    async fn try_keep_addresses(&self) -> Result<(), Error> {
        let (Some(network), listed) = (self.peers().network(), self.listed()) else { return Ok(()) };
        let peers = network.peers().into_iter().filter(|peer| listed.contains(&peer.node)).take(NODES_MAX);
        let lines = peers.flat_map(|peer| {
            let addresses = peer.addresses.into_iter().take(ADDRESSES_MAX);
            addresses.map(move |address| format!("{} {address}\n", peer.node))
        });
        let text: String = lines.collect();
        if self.store.get_local(VALUE)?.unwrap_or_default() != text.as_bytes() {
            self.store.put_local(VALUE, text.into_bytes()).await?;
        }
        Ok(())
    }
}
