//! Agents that come to this node and leave it.
//!
//! Invariants kept here:
//! - An agent that is welcome has a place from then on.
//! - Every node that connects is asked what it knows of the agents here; those that are listed, before any agent lives.
//! - What the operator's policy refuses is refused before anything of the agent is kept.

use super::{
    Node, blocking,
    carry::{Prepared, Start},
    phases::Phase,
};
use crate::{
    Error, Wishes,
    api::wire::{MoveEvent, NodeRow, NodeStatus},
    local::{self, Flags},
    moves::{AgentWorld, Gate, NodePeers, NodeSteward},
    stored::Shelf,
};
use igor_network::{Config, Network};
use igor_protocol::{
    AgentId, Manifest, NodeId,
    custody::Status,
    entry::Policy,
    transfer::{FRAME_BYTES_MAX, Manner, Offer, Reason, Refusal},
};
use igor_sandbox::{RUNTIME_ID, WasmProgram};
use igor_spine::{
    Restored,
    custody::{Admission, Peers, Progress},
};
use igor_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Time that peers have to say what they know of an agent, before a node that was down goes on with it.
const PEERS_WITHIN: Duration = Duration::from_secs(2);
/// Time that a shared store has to say how far a journal goes.
pub(super) const STORE_WITHIN: Duration = Duration::from_secs(10);
/// How often they are asked what they know of the agents here; also whenever one connects.
const ASK_EVERY: Duration = Duration::from_mins(5);

/// A commit is one frame: what a journal may hold, the network must carry.
const _: () = assert!(FRAME_BYTES_MAX <= 16 << 20, "igor_network's limits allow no larger frame");

/// Agents that were restored before this node has custody of them.
#[derive(Default)]
pub(super) struct Waiting(Mutex<BTreeMap<AgentId, Ready>>);

/// One of them, with its place.
pub(super) struct Ready {
    pub(super) restored: Restored<WasmProgram, Shelf, AgentWorld>,
    pub(super) start: Start,
}

impl Waiting {
    fn put(&self, agent: AgentId, ready: Ready) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(agent, ready);
    }

    /// Whether an agent is ready to go on here.
    pub(super) fn has(&self, agent: AgentId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&agent)
    }

    pub(super) fn take(&self, agent: AgentId) -> Option<Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&agent)
    }
}

impl Node {
    pub(crate) fn peers(&self) -> &Arc<NodePeers> {
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
        config.announce.clone_from(&said.announce);
        config.bootstrap.clone_from(&said.peers);
        config.bootstrap.extend(self.remembered_addresses()?);
        config.mdns = said.mdns;
        // A commit is one frame.
        config.limits.frame_bytes = FRAME_BYTES_MAX;
        config.private = said.private;
        // Whom the operator takes agents from is never kept out for want of room.
        config.allow = said.allow.iter().chain(&self.config().policy.nodes).copied().collect();
        config.deny = said.deny.iter().copied().collect();
        let network = Network::start(config, Arc::new(Gate::new(Arc::downgrade(self)))).await?;
        self.peers().join(network.clone(), said.transfer_bytes_per_second);
        if let Some(mut hearing) = self.hearing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let node = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some((tidings, _until_taken_in)) = hearing.recv().await {
                    let Some(node) = node.upgrade() else { return };
                    let agent = tidings.agent;
                    if node.steward.is_shared(agent) {
                        // A store that does not answer keeps no other tidings waiting.
                        node.hear_of_shared(agent);
                        continue;
                    }
                    if let Err(error) = node.steward.hear(tidings).await {
                        tracing::warn!(%agent, %error, "what a node answered about an agent's custody is refused");
                    }
                }
            });
        }
        if self.store.wing().is_some() {
            self.stand_by();
        }
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                let Some(node) = node.upgrade() else { return };
                node.peers().all().into_iter().for_each(|peer| node.ask_of_all(peer));
            }
        });
        Ok(Some(network))
    }

    /// After a restart: finishes what was interrupted, and lets peers say what this node slept through.
    pub(super) async fn wake_all(self: &Arc<Self>) -> Result<(), Error> {
        let mut woken = Vec::new();
        for agent in self.store.list()? {
            // What a bucket knows is asked for when the agent has its turn: one that does not answer keeps nobody else waiting.
            if self.steward.is_shared(agent) {
                continue;
            }
            match Box::pin(self.steward.wake(agent)).await {
                Ok(status) => {
                    if let Status::Suspended(doubt) = status {
                        tracing::error!(%agent, %doubt, "an agent does not run: its owner decides, with `igor takeover`");
                    }
                    woken.push(agent);
                }
                Err(error) => tracing::error!(%agent, %error, "an agent's custody cannot be told; it does not run"),
            }
        }
        if !woken.is_empty() {
            self.let_peers_answer().await;
        }
        for agent in woken {
            self.steward.waited(agent);
        }
        Ok(())
    }

    /// As [`Node::wake_all`], for one agent that was not woken then: it did not read, or this node does not carry all.
    pub(super) async fn wake(&self, agent: AgentId) -> Result<(), Error> {
        if !self.steward.is_awake(agent) {
            Box::pin(self.steward.wake(agent)).await?;
            self.let_peers_answer().await;
            self.steward.waited(agent);
        }
        Ok(())
    }

    /// Gives peers the time to answer what they were asked. Those who are listed are worth waiting for; who else may know
    /// is not known.
    async fn let_peers_answer(&self) {
        if self.peers().network().is_none() {
            return;
        }
        let listed = self.listed();
        let all = async {
            if listed.is_empty() {
                std::future::pending::<()>().await;
            }
            self.peers().answered_by(&listed).await;
        };
        drop(tokio::time::timeout(PEERS_WITHIN, all).await);
    }

    /// Asks a node what it knows of all agents that are here.
    pub(crate) fn ask_of_all(&self, peer: NodeId) {
        match self.store.list() {
            Ok(agents) => self.peers().ask_all(peer, agents),
            Err(error) => tracing::warn!(%peer, %error, "a node is not asked what it knows"),
        }
    }

    /// Hands an agent to another node. `tell` is told how far that is; the last event is returned.
    pub async fn give(
        self: &Arc<Self>,
        agent: AgentId,
        to: NodeId,
        tell: impl Fn(MoveEvent) + Send + Sync,
    ) -> Result<MoveEvent, Error> {
        let node = self.clone();
        let may_go = blocking(move || {
            let stopped = local::flags(&*node.store, agent)?.stopped;
            if stopped { Err(Error::Stopped { name: node.agent(agent)?.name }) } else { Ok(()) }
        });
        may_go.await?;
        let given = self.steward.give(agent, to, |progress| {
            tell(match progress {
                Progress::Waiting => MoveEvent::Waiting,
                Progress::Offered { has } => MoveEvent::Offer { has: has.0 },
                Progress::Ahead { round, bytes } => MoveEvent::Precopy { round, bytes },
                Progress::Frozen => MoveEvent::Freeze,
                Progress::Given { bytes } => MoveEvent::Transfer { bytes },
            });
        });
        let given = given.await;
        // A handoff without an answer is attended to already.
        self.settled(agent).await;
        self.metrics.peers.went(given.as_ref());
        match given {
            Ok(moved) => {
                tracing::info!(%agent, node = %to, pause_ns = moved.pause.0, bytes = moved.bytes, "an agent moved");
                Ok(MoveEvent::Accepted { pause_ns: moved.pause.0, bytes: moved.bytes })
            }
            Err(error) => Err(Error::Move(error)),
        }
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

    /// Whether the operator takes this agent from this node as far as its owner's policy allows, and at which price.
    pub(crate) fn admit_from(&self, from: NodeId, offer: &Offer, policy: &Policy) -> Result<Admission, Refusal> {
        let refuse = |reason, why: String| Err(Refusal::new(reason, why));
        if self.is_draining() {
            let why = match self.impostor() {
                Some(_) => "this node is suspended: another process has its key",
                None => "this node is being emptied",
            };
            return refuse(Reason::Draining, why.into());
        }
        // Nobody else goes on with it at the next start.
        if !self.is_carrying() {
            return refuse(Reason::Policy, "only `igor node start` takes agents in, once it carries its own".into());
        }
        if !self.config().policy.nodes.contains(&from) {
            return refuse(Reason::Policy, format!("policy.nodes of this node does not list {from}"));
        }
        if !policy.allows(&self.terms()) {
            return refuse(Reason::Price, "this node asks for more than the agent's owner allows".into());
        }
        if !policy.names(self.id(), offer.genesis.body.custodian) {
            return refuse(Reason::Policy, "the agent's owner does not name this node".into());
        }
        // From a checkpoint it may go on with another runtime, as after an update of a node.
        let runtime = offer.runtime.as_ref().filter(|runtime| *runtime != RUNTIME_ID);
        if let Some(runtime) = runtime.filter(|_| offer.state_bytes == 0) {
            let runtime: String = runtime.chars().take(100).collect();
            return refuse(Reason::Program, format!("it runs on {runtime}; this node has {RUNTIME_ID}"));
        }
        self.grants(&offer.manifest).map_err(|why| Refusal::new(Reason::Capability, why))?;
        let room = self.admission.admit(&offer.manifest);
        // Kept until the agent lives here, or is forgotten.
        self.kept.keep(offer.agent(), room.map_err(|why| Refusal::new(Reason::Capacity, why))?);
        let bytes_max = self.admission.accounts().promise(offer.agent());
        Ok(Admission { terms: self.terms(), bytes_max })
    }

    /// How its operator has an agent live that goes away. What cannot be read is as the manifest says.
    pub(crate) fn manner(&self, agent: AgentId) -> Manner {
        let flags = local::flags(&*self.store, agent).unwrap_or_else(|error| {
            tracing::warn!(%agent, %error, "what was said of an agent does not go with it");
            Flags::default()
        });
        let Flags { paused, stopped, forgiven, interval, checkpoint_interval } = flags;
        Manner { paused, interval, checkpoint_interval, stopped, forgiven }
    }

    /// Keeps how an agent is to live here: in place of what was said when it was here before.
    pub(crate) async fn keep_manner(&self, agent: AgentId, manner: Manner) -> Result<(), Error> {
        let Manner { paused, interval, checkpoint_interval, stopped, forgiven } = manner;
        let flags = Flags { paused, stopped, forgiven, interval, checkpoint_interval };
        if local::flags(&*self.store, agent)? != flags {
            local::put_flags(&*self.store, agent, flags).await?;
        }
        Ok(())
    }

    /// Restores an agent that this node does not have custody of yet. One that was restored follows its journal.
    pub(crate) async fn restore(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        // What nobody here will run is declined while it can go on elsewhere.
        if self.lives().ending {
            return Err(self.closed());
        }
        if let Some(mut ready) = self.waiting.take(agent) {
            match ready.restored.follow().await {
                Ok(()) => {
                    self.waiting.put(agent, ready);
                    self.stopwatches.lap(agent, Phase::Replay);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%agent, %error, "an agent that comes in is restored anew");
                    self.kept.keep(agent, ready.start.place);
                }
            }
        }
        let _slot = self.slot().await?;
        let node = self.clone();
        let Prepared { start, program } = blocking(move || node.prepare(agent, Wishes::default())).await?;
        // Before this node accepts it: a kill right after that must not leave it without a name.
        let name = self.give_name(agent, &start.genesis.name).await?;
        let start = Start { name, ..start };
        self.stopwatches.lap(agent, Phase::Load);
        let restored = Restored::new(self.parts(Arc::new(program), &start.stored, &start.genesis), agent).await?;
        self.stopwatches.recovered(agent, restored.took());
        self.waiting.put(agent, Ready { restored, start });
        Ok(())
    }

    /// Forgets an agent that was to come, and gives its place to others. What came of it is counted.
    pub(crate) fn forget(&self, agent: AgentId) {
        drop((self.waiting.take(agent), self.kept.take(agent)));
        self.admission.accounts().settle(agent);
        if let (Some(node), Ok(runtime)) = (self.me.upgrade(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                // What came before a journal stays, and nothing names it.
                if matches!(node.store.tail(agent), Ok(None))
                    && let Err(error) = node.expect_loose_blobs().await
                {
                    tracing::warn!(%agent, %error, "what a move left here is not noted");
                }
                node.note(agent).await;
            });
        }
    }

    /// The name that an agent which came has here: its own, or, where that is taken or is none, one with a part of its id.
    pub(super) async fn give_name(self: &Arc<Self>, agent: AgentId, own: &str) -> Result<String, Error> {
        if let Some(name) = local::names(&*self.store)?.remove(&agent) {
            return Ok(name);
        }
        let id = agent.to_string();
        let root = if local::check_name(own).is_ok() { &own[..own.floor_char_boundary(50)] } else { "agent" };
        let longer = [6, 12].map(|length| format!("{root}-{}", &id[id.len() - length..]));
        let own = local::check_name(own).is_ok().then(|| own.to_owned());
        for name in own.into_iter().chain(longer) {
            // Nobody else takes it meanwhile.
            let Ok(_named) = self.occupy(&name) else { continue };
            if local::agent_named(&*self.store, &name)?.is_none_or(|other| other == agent) {
                local::put_name(&*self.store, &name, agent).await?;
                return Ok(name);
            }
        }
        // It is found by its id.
        Ok(id)
    }
}
