//! Agents that come to this node and leave it.
//!
//! Invariants kept here:
//! - No life begins but with custody's leave ([`Steward::claim`](igor_spine::custody::Steward::claim), or its start).
//! - While a handoff has no answer it is asked for, with pauses, until it has.
//! - What the operator's policy refuses is refused before anything of the agent is kept.

use super::{
    Node, blocking,
    carry::{Prepared, Start},
};
use crate::{
    Error, Wishes,
    api::wire::{MoveEvent, NodeRow, NodeStatus},
    local,
    moves::{Gate, NodePeers, NodeSteward},
    stored::Shelf,
};
use igor_network::{Config, Network};
use igor_protocol::{
    AgentId, Manifest, NodeId, Seq,
    custody::Status,
    limits::BLOB_BYTES_MAX,
    transfer::{Offer, Reason, Refusal},
};
use igor_sandbox::{RUNTIME_ID, WasmProgram};
use igor_spine::{
    Restored,
    custody::{Admission, Failed, Progress},
};
use igor_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Time that peers have to say what they know of an agent, before a node that was down goes on with it.
const PEERS_WITHIN: Duration = Duration::from_secs(2);
/// Pauses between questions for the answer to a handoff: the first, and the longest.
const ASK_AFTER: Duration = Duration::from_millis(500);
const ASK_AFTER_MAX: Duration = Duration::from_secs(15);
/// Agents that are handed on at once when the node drains.
const DRAIN_AT_ONCE: usize = 4;

/// Agents that were restored before this node has custody of them.
#[derive(Default)]
pub(super) struct Waiting(Mutex<BTreeMap<AgentId, Ready>>);

/// One of them, with its place.
pub(super) struct Ready {
    restored: Restored<WasmProgram, Shelf, crate::RealWorld>,
    start: Start,
}

impl Waiting {
    fn put(&self, agent: AgentId, ready: Ready) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(agent, ready);
    }

    fn take(&self, agent: AgentId) -> Option<Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&agent)
    }
}

impl Node {
    pub(super) fn peers(&self) -> &Arc<NodePeers> {
        self.steward.peers()
    }

    /// Compiles a program, or finds that it was compiled before. Waits for disks and for the compiler.
    pub(crate) fn load(&self, program: &[u8], manifest: &Manifest) -> Result<WasmProgram, Error> {
        Ok(self.sandbox.load(program, manifest)?)
    }

    /// The custody of this node's agents.
    pub(crate) const fn steward(&self) -> &Arc<NodeSteward> {
        &self.steward
    }

    /// Joins the network, where the configuration names one. From now on agents can come and go.
    pub async fn join(self: &Arc<Self>) -> Result<Option<Network>, Error> {
        let said = &self.config().network;
        if !said.is_on() {
            return Ok(None);
        }
        let mut config = Config::new(&self.key.seed())?;
        config.listen.clone_from(&said.listen);
        config.bootstrap.clone_from(&said.peers);
        config.mdns = said.mdns;
        config.private = said.private;
        // Whom the operator takes agents from is never kept out for want of room.
        config.allow = said.allow.iter().chain(&self.config().policy.nodes).copied().collect();
        config.deny = said.deny.iter().copied().collect();
        let network = Network::start(config, Arc::new(Gate::new(Arc::downgrade(self)))).await?;
        self.peers().join(network.clone());
        if let Some(mut hearing) = self.hearing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let node = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(tidings) = hearing.recv().await {
                    let Some(node) = node.upgrade() else { return };
                    let agent = tidings.agent;
                    if let Err(error) = node.steward.hear(tidings).await {
                        tracing::warn!(%agent, %error, "what a node answered about an agent's custody is refused");
                    }
                }
            });
        }
        Ok(Some(network))
    }

    /// After a restart: finishes what was interrupted, and lets peers say what this node slept through.
    pub(super) async fn wake_all(self: &Arc<Self>) -> Result<(), Error> {
        for agent in self.store.list()? {
            match Box::pin(self.steward.wake(agent)).await {
                Ok(Status::Given(to)) => self.pursue(agent, to),
                Ok(_) => {}
                Err(error) => tracing::error!(%agent, %error, "an agent's custody cannot be told; it does not run"),
            }
        }
        if self.peers().network().is_some() && !self.store.list()?.is_empty() {
            tokio::time::sleep(PEERS_WITHIN).await;
        }
        Ok(())
    }

    /// Asks for the answer to a handoff until there is one.
    fn pursue(self: &Arc<Self>, agent: AgentId, to: NodeId) {
        let node = self.clone();
        tokio::spawn(async move {
            let mut pause = ASK_AFTER;
            loop {
                tokio::time::sleep(pause).await;
                match node.steward.pursue(agent).await {
                    Ok(()) | Err(Failed::Declined) => break,
                    Err(error) => tracing::warn!(%agent, node = %to, %error, "a handoff has no answer yet"),
                }
                if !matches!(node.steward.status(agent), Ok(Status::Given(_))) {
                    break;
                }
                pause = (pause * 2).min(ASK_AFTER_MAX);
            }
            tracing::info!(%agent, node = %to, "a handoff has its answer");
        });
    }

    /// Hands an agent to another node. `tell` is told how far that is; the last event is returned.
    pub async fn give(
        self: &Arc<Self>,
        agent: AgentId,
        to: NodeId,
        tell: impl Fn(MoveEvent) + Send + Sync,
    ) -> Result<MoveEvent, Error> {
        let given = self.steward.give(agent, to, |progress| {
            tell(match progress {
                Progress::Offered { has } => MoveEvent::Offer { has: has.0 },
                Progress::Ahead { round, bytes } => MoveEvent::Precopy { round, bytes },
                Progress::Frozen => MoveEvent::Freeze,
                Progress::Given { bytes } => MoveEvent::Transfer { bytes },
            });
        });
        let given = given.await;
        self.metrics.peers.went(given.as_ref());
        match given {
            Ok(moved) => {
                tracing::info!(%agent, node = %to, pause_ns = moved.pause.0, bytes = moved.bytes, "an agent moved");
                Ok(MoveEvent::Accepted { pause_ns: moved.pause.0, bytes: moved.bytes })
            }
            Err(error) => {
                if matches!(error, Failed::Unanswered(_)) {
                    self.pursue(agent, to);
                }
                Err(Error::Move(error))
            }
        }
    }

    /// Hands every agent that lives here to a peer that takes it. Gives how many went, and why others did not.
    pub async fn drain(self: &Arc<Self>) -> (usize, Vec<(AgentId, String)>) {
        use futures_util::StreamExt;
        self.draining.store(true, std::sync::atomic::Ordering::Relaxed);
        let agents: Vec<AgentId> =
            self.lives().by_agent.iter().filter(|(_, life)| !life.is_over()).map(|(agent, _)| *agent).collect();
        let handed = futures_util::stream::iter(agents).map(|agent| async move { (agent, self.hand_on(agent).await) });
        let ended: Vec<_> = handed.buffer_unordered(DRAIN_AT_ONCE).collect().await;
        let went = ended.iter().filter(|(_, ended)| ended.is_ok()).count();
        (went, ended.into_iter().filter_map(|(agent, ended)| ended.err().map(|why| (agent, why))).collect())
    }

    async fn hand_on(self: &Arc<Self>, agent: AgentId) -> Result<(), String> {
        let mut why = "no other node is connected that takes agents".to_owned();
        for row in self.known_nodes().into_iter().filter(|row| row.connected) {
            if row.status.as_ref().is_none_or(|status| status.draining || status.agents_free == 0) {
                continue;
            }
            match self.give(agent, row.node, |_| ()).await {
                Ok(_) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            if !matches!(self.steward.status(agent), Ok(Status::Custodian)) {
                break;
            }
        }
        Err(why)
    }

    /// The other nodes that are known, cheapest first.
    pub fn known_nodes(&self) -> Vec<NodeRow> {
        let Some(network) = self.peers().network() else { return Vec::new() };
        let mut rows: Vec<_> = network.peers().into_iter().collect();
        rows.sort_by_key(|peer| peer.status.as_ref().map_or(u64::MAX, |(status, _)| status.prices.price_per_ns));
        let row = |peer: igor_network::Peer| NodeRow {
            node: peer.node,
            connected: peer.connected,
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
            round_trip_ns: peer.round_trip.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            status: peer.status.map(|(status, _)| NodeStatus {
                price: status.prices.per_second().to_string(),
                agents_free: status.agents_free,
                memory_free_bytes: status.memory_free_bytes,
                stored_free_bytes: status.stored_free_bytes,
                draining: status.draining,
                version: status.version,
            }),
        };
        rows.into_iter().map(row).collect()
    }

    /// What this node says of itself to others.
    pub(crate) fn standing_offer(&self) -> igor_network::Status {
        let room = self.info().room;
        igor_network::Status {
            prices: self.terms(),
            agents_free: u32::try_from(room.agents.max.saturating_sub(room.agents.used)).unwrap_or(u32::MAX),
            memory_free_bytes: room.memory_bytes.max.saturating_sub(room.memory_bytes.used),
            stored_free_bytes: room.stored_bytes.max.saturating_sub(room.stored_bytes.used),
            draining: self.is_draining(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether the operator takes this agent from this node, and at which price.
    pub(crate) fn admit_from(&self, from: NodeId, offer: &Offer) -> Result<Admission, Refusal> {
        let refuse = |reason, why: String| Err(Refusal::new(reason, why));
        if self.is_draining() {
            return refuse(Reason::Draining, "this node is about to stop".into());
        }
        if !self.config().policy.nodes.contains(&from) {
            return refuse(Reason::Policy, format!("policy.nodes of this node does not list {from}"));
        }
        let body = &offer.genesis.body;
        if !body.policy.allows(&self.terms()) {
            return refuse(Reason::Price, "this node asks for more than the agent's owner allows".into());
        }
        let named = &body.policy.custodians;
        if !named.is_empty() && body.custodian != self.id() && !named.contains(&self.id()) {
            return refuse(Reason::Policy, "the agent's owner does not name this node".into());
        }
        if body.runtime != RUNTIME_ID {
            let runtime: String = body.runtime.chars().take(100).collect();
            return refuse(Reason::Program, format!("it runs on {runtime}; this node has {RUNTIME_ID}"));
        }
        self.grants(&offer.manifest).map_err(|why| Refusal::new(Reason::Capability, why))?;
        let room = self.admission.admit(&offer.manifest);
        // Given back at once: the place is taken when the agent is restored.
        room.map(drop).map_err(|why| Refusal::new(Reason::Capacity, why))?;
        let limits = &self.config().admission;
        let stored = self.info().room.stored_bytes;
        let bytes_max = limits.stored_bytes_per_agent.min(stored.max.saturating_sub(stored.used));
        Ok(Admission { terms: self.terms(), bytes_max })
    }

    /// Restores an agent that this node does not have custody of yet.
    pub(crate) async fn restore(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        let _slot = self.slot().await?;
        let node = self.clone();
        let Prepared { start, program } = blocking(move || node.prepare(agent, Wishes::default())).await?;
        let restored = Restored::new(self.parts(Arc::new(program), &start.stored), agent).await?;
        self.waiting.put(agent, Ready { restored, start });
        Ok(())
    }

    /// Forgets what [`Node::restore`] kept.
    pub(crate) fn forget(&self, agent: AgentId) {
        drop(self.waiting.take(agent));
    }

    /// Lets an agent live that custody says is this node's.
    pub(crate) async fn live(self: &Arc<Self>, agent: AgentId, wishes: Wishes) -> Result<(), Error> {
        let Some(Ready { mut restored, start }) = self.waiting.take(agent) else {
            return self.start(agent, wishes).await.map(drop);
        };
        let _busy = self.occupy(&agent.to_string())?;
        let name = self.give_name(agent, &start.genesis.name).await?;
        let start = Start { name, ..start };
        self.steward.claim(agent).await?;
        let life = match restored.follow() {
            Ok(()) => restored.live().await,
            Err(error) => Err(error),
        };
        match life {
            Ok(life) => self.carry(start, life).await.map(drop),
            Err(error) => {
                self.steward.release(agent).await;
                Err(error.into())
            }
        }
    }

    /// The name that an agent which came has here: its own, or, where that is taken, its own and a part of its id.
    async fn give_name(&self, agent: AgentId, own: &str) -> Result<String, Error> {
        if let Some(name) = local::names(&*self.store)?.remove(&agent) {
            return Ok(name);
        }
        let taken = local::agent_named(&*self.store, own)?.is_some_and(|other| other != agent);
        let id = agent.to_string();
        let name = if taken {
            format!("{}-{}", &own[..own.floor_char_boundary(50)], &id[id.len() - 6..])
        } else {
            own.to_owned()
        };
        local::put_name(&*self.store, &name, agent).await?;
        Ok(name)
    }

    /// Writes the journal that is here as a portable file among the orphans, before it leaves the store.
    pub(crate) fn write_orphan(&self, agent: AgentId) -> Result<(), Error> {
        let end = self.tail(agent)?;
        let path = self.home().orphan(agent, end.epoch)?;
        let mut hashes = std::collections::BTreeSet::new();
        for commit in self.store.read(agent, Seq(0))? {
            for (_, _, bytes) in commit?.entries() {
                let entry = igor_protocol::Entry::decode(bytes).map_err(igor_spine::Error::from)?;
                hashes.extend(entry.body.blobs().iter().map(igor_protocol::entry::Named::hash));
            }
        }
        let blobs = hashes.into_iter().filter_map(|hash| {
            let blob = self.store.get_blob(hash, BLOB_BYTES_MAX).transpose()?;
            Some(blob.map(|bytes| (hash, bytes)))
        });
        crate::portable::write(&path, blobs, self.store.read(agent, Seq(0))?)?;
        tracing::warn!(%agent, file = %path.display(), "an owner's takeover orphaned the end of this journal; it is kept as a file");
        Ok(())
    }
}
