//! The lives of this node's agents, as custody moves them.

use crate::{Node, node::blocking};
use igor_protocol::{
    AgentId, Chain, Hash, Manifest, NodeId,
    limits::PROGRAM_BYTES_MAX,
    transfer::{Manner, Offer, Reason, Refusal},
};
use igor_sandbox::RUNTIME_ID;
use igor_spine::{
    command::Command,
    custody::{Admission, Error, Host, Lease},
};
use igor_store::Store;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// The node around its steward.
pub(crate) struct NodeHost(pub(crate) Weak<Node>);

impl NodeHost {
    fn node(&self) -> Result<Arc<Node>, String> {
        self.0.upgrade().ok_or_else(|| "the node is gone".to_owned())
    }
}

impl Host for NodeHost {
    fn runtime(&self) -> String {
        RUNTIME_ID.to_owned()
    }

    async fn seal(&self, agent: AgentId) {
        let Some(life) = self.node().ok().and_then(|node| node.life(agent)) else { return };
        let (answer, sealed) = oneshot::channel();
        // One that is over has sealed what it did.
        if life.command(Command::Seal { answer }).await.is_ok() {
            drop(sealed.await);
        }
    }

    async fn freeze(&self, agent: AgentId, checkpoint: bool) -> Result<(), String> {
        self.node()?.freeze(agent, checkpoint).await.map_err(|error| error.to_string())
    }

    fn start(&self, agent: AgentId, lease: Lease) {
        if let Ok(node) = self.node() {
            node.live(agent, lease);
        }
    }

    fn unsettled(&self, agent: AgentId) {
        if let Ok(node) = self.node() {
            node.attend(agent);
        }
    }

    fn lists(&self, from: NodeId) -> bool {
        self.node().is_ok_and(|node| node.config().policy.nodes.contains(&from))
    }

    fn admit(&self, from: NodeId, offer: &Offer) -> Result<Admission, Refusal> {
        let node = self.node().map_err(|why| Refusal::new(Reason::Store, why))?;
        node.admit_from(from, offer, &offer.genesis.body.policy)
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

    fn manner(&self, agent: AgentId) -> Manner {
        self.node().map(|node| node.manner(agent)).unwrap_or_default()
    }

    async fn heed(&self, agent: AgentId, manner: Manner) -> Result<(), String> {
        self.node()?.keep_manner(agent, manner).await.map_err(|error| error.to_string())
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

    fn unwritten(&self, agent: AgentId, error: &Error) {
        tracing::warn!(%agent, %error, "the archive of an agent that moved does not end with the answer to its handoff");
    }

    async fn set_aside(&self, agent: AgentId, base: Chain) -> Result<(), String> {
        let node = self.node()?;
        let kept = blocking(move || node.keep_orphan(agent, base).map(|()| node)).await;
        let node = kept.map_err(|error| error.to_string())?;
        node.expect_loose_blobs().await.map_err(|error| error.to_string())?;
        node.close_account(agent).await.map_err(|error| error.to_string())
    }
}
