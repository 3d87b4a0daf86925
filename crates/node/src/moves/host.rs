//! The lives of this node's agents, as custody moves them.

use crate::{Node, Wishes, node::blocking};
use igor_protocol::{
    AgentId, Chain, Hash, Manifest, NodeId,
    limits::PROGRAM_BYTES_MAX,
    transfer::{Offer, Reason, Refusal},
};
use igor_spine::custody::{Admission, Host};
use igor_store::Store;
use std::sync::{Arc, Weak};

/// The node around its steward.
pub(crate) struct NodeHost(pub(crate) Weak<Node>);

impl NodeHost {
    fn node(&self) -> Result<Arc<Node>, String> {
        self.0.upgrade().ok_or_else(|| "the node is gone".to_owned())
    }
}

impl Host for NodeHost {
    async fn freeze(&self, agent: AgentId) -> Result<(), String> {
        let node = self.node()?;
        let Some(life) = node.life(agent).filter(|life| !life.is_over()) else { return Ok(()) };
        match &*life.stop().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn stop(&self, agent: AgentId) {
        let Ok(node) = self.node() else { return };
        if let Some(life) = node.life(agent).filter(|life| !life.is_over()) {
            life.abandon().await;
        }
    }

    async fn start(&self, agent: AgentId) {
        let Ok(node) = self.node() else { return };
        if !node.is_carrying() {
            // A command has the home for a moment: the agent lives when a node carries it.
            node.forget(agent);
            return;
        }
        // Not waited for: custody goes on while the agent is restored.
        tokio::spawn(async move {
            if let Err(error) = Box::pin(node.live(agent, Wishes::default())).await {
                tracing::error!(%agent, %error, "an agent that is this node's cannot live");
            }
        });
    }

    fn admit(&self, from: NodeId, offer: &Offer) -> Result<Admission, Refusal> {
        let node = self.node().map_err(|why| Refusal::new(Reason::Store, why))?;
        node.admit_from(from, offer)
    }

    async fn prepare(&self, program: Hash, manifest: &Manifest) -> Result<(), Refusal> {
        let node = self.node().map_err(|why| Refusal::new(Reason::Store, why))?;
        let manifest = manifest.clone();
        let loaded = blocking(move || {
            let bytes = node.store().get_blob(program, PROGRAM_BYTES_MAX as u64)?;
            let bytes = bytes.ok_or(igor_spine::Error::MissingBlob { what: "the program", hash: program })?;
            node.load(&bytes, &manifest).map(drop)
        });
        loaded.await.map_err(|error| Refusal::new(Reason::Program, error))
    }

    async fn restore(&self, agent: AgentId) -> Result<(), Refusal> {
        let node = self.node().map_err(|why| Refusal::new(Reason::Store, why))?;
        node.restore(agent).await.map_err(|error| {
            tracing::warn!(%agent, %error, "an agent that came does not restore here");
            Refusal::new(Reason::Program, error)
        })
    }

    fn forget(&self, agent: AgentId) {
        if let Ok(node) = self.node() {
            node.forget(agent);
        }
    }

    async fn set_aside(&self, agent: AgentId, base: Chain) -> Result<(), String> {
        let node = self.node()?;
        blocking(move || node.keep_orphan(agent, base)).await.map_err(|error| error.to_string())
    }
}
