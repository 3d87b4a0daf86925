//! Agents that ask to be moved themselves.
//!
//! Invariants kept here:
//! - A wish is looked at after the commit of the tick that has it, and carried out by the same handoff as any move, to
//!   none but nodes that the agent is shown.
//! - However often an agent asks, this node makes one attempt at a time, and a pause after each that failed, which
//!   doubles. Who came stays for a while, so that no two nodes spend their time on handing an agent to and fro.
//! - What a kill interrupted is in the ledger until the next tick that counts: the next life begins with it.

use super::Node;
use crate::Hosted;
use futures_util::future::{BoxFuture, FutureExt};
use igor_protocol::{
    AgentId, NodeId,
    custody::Status,
    entry::{Destination, GenesisBody, Listed},
    limits::NODES_LISTED_MAX,
};
use igor_spine::{Around, World};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long an agent stays at least where custody came to, unless the node drains; and longer by a second for so many
/// bytes of its state, since moving it costs the nodes that.
const STAY: Duration = Duration::from_secs(10);
const STAY_BYTES_PER_SECOND: u64 = 1 << 20;
/// How long a node that did not take an agent is not shown to it.
const REFUSED_FOR: Duration = Duration::from_mins(1);
/// Pauses after attempts that failed: the first, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What came of the wishes of agents, for as long as it matters.
#[derive(Default)]
pub(super) struct Wishes(Mutex<BTreeMap<AgentId, Past>>);

struct Past {
    refused: BTreeMap<NodeId, Instant>,
    pause: Duration,
    next: Instant,
}

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Past>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a node did not take an agent a short time ago.
    fn is_refused(&self, agent: AgentId, node: NodeId) -> bool {
        let refused = self.lock().get(&agent).and_then(|past| past.refused.get(&node).copied());
        refused.is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }

    /// The time until the next attempt.
    fn pause(&self, agent: AgentId) -> Duration {
        self.lock().get(&agent).map_or(Duration::ZERO, |past| past.next.saturating_duration_since(Instant::now()))
    }

    /// None of these nodes took the agent.
    fn failed(&self, agent: AgentId, nodes: &[NodeId]) {
        let (mut all, now) = (self.lock(), Instant::now());
        // Those who asked long ago leave room here.
        all.retain(|_, past| past.next.elapsed() < REFUSED_FOR);
        let past = all.entry(agent).or_insert_with(|| Past { refused: BTreeMap::new(), pause: PAUSE, next: now });
        past.refused.retain(|_, at| at.elapsed() < REFUSED_FOR);
        past.refused.extend(nodes.iter().map(|node| (*node, now)));
        past.next = now + past.pause;
        past.pause = (past.pause * 2).min(PAUSE_MAX);
    }
}

impl Node {
    /// The nodes around, as an agent is shown them: those that say that they have room and do not drain, that its
    /// owner allows, and that did not refuse it a short time ago; the cheapest first.
    pub(crate) fn around(&self, agent: AgentId, genesis: &GenesisBody) -> Around {
        let mut others = self.takers(genesis);
        others.retain(|listed| !self.wishes.is_refused(agent, listed.node));
        others.truncate(NODES_LISTED_MAX - 1);
        Around { draining: self.is_draining(), others }
    }

    /// The nodes that might take an agent which began so, the cheapest first. Only those that the operator named: a
    /// stranger who connects and asks for little gets no agents by that.
    pub(super) fn takers(&self, genesis: &GenesisBody) -> Vec<Listed> {
        let Some(network) = self.peers().network() else { return Vec::new() };
        let named = &genesis.policy.custodians;
        let mut takers: Vec<Listed> = network
            .peers()
            .into_iter()
            .filter(|peer| peer.connected && peer.listed)
            .filter_map(|peer| peer.status.map(|(status, _)| (peer.node, status)))
            .filter(|(_, status)| !status.draining && status.agents_free > 0)
            .map(|(node, status)| Listed { node, terms: status.prices })
            .filter(|one| genesis.policy.allows(&one.terms))
            .filter(|one| named.is_empty() || one.node == genesis.custodian || named.contains(&one.node))
            .collect();
        takers.sort_by_key(|one| (one.terms.price_per_ns, one.terms.price_per_fuel));
        takers
    }

    /// Does what an agent that lives here wishes, to the end of its life. `asked` is what its last durable tick that
    /// counts asked for; where nobody granted it, it is tried again for as long as it stands there.
    ///
    /// A boxed future, since it may begin a life that is heeded in turn.
    pub(super) fn heed(
        self: Arc<Self>,
        life: Arc<Hosted>,
        mut asked: watch::Receiver<Option<Destination>>,
    ) -> BoxFuture<'static, ()> {
        async move {
            // The life's end is the end of what it tells.
            while asked.wait_for(Option::is_some).await.is_ok() {
                self.until_free(&life).await;
                if life.is_over() {
                    return;
                }
                let to = *asked.borrow();
                if let Some(to) = to {
                    self.carry_out(life.agent(), life.genesis(), to).await;
                }
            }
        }
        .boxed()
    }

    /// Waits until the agent may go, or lives no more.
    async fn until_free(&self, life: &Hosted) {
        let stay = life.began().came.map_or(Duration::ZERO, |came| {
            let stayed = crate::RealWorld.wall_clock().since(came).to_duration();
            let moving = Duration::from_secs(life.began().checkpoint_bytes / STAY_BYTES_PER_SECOND);
            (STAY + moving).saturating_sub(stayed)
        });
        let mut draining = self.draining.subscribe();
        let free = async {
            tokio::select! {
                () = tokio::time::sleep(stay) => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
            tokio::time::sleep(self.wishes.pause(life.agent())).await;
        };
        tokio::select! {
            () = free => {}
            _ = life.over() => {}
        }
    }

    async fn carry_out(self: &Arc<Self>, agent: AgentId, genesis: &GenesisBody, to: Destination) {
        let mut targets = self.around(agent, genesis).others;
        targets.retain(|listed| to == Destination::Anywhere || to == Destination::Node(listed.node));
        let mut why = "it is not among the nodes that the agent is shown".to_owned();
        let mut tried = Vec::new();
        for Listed { node, .. } in targets {
            tracing::info!(%agent, %to, %node, "an agent asks to be moved");
            match self.give(agent, node, |_| ()).await {
                Ok(_) => return,
                Err(error) => why = error.to_string(),
            }
            if !matches!(self.steward().status(agent), Ok(Status::Custodian)) {
                // Its way out is decided, or being asked for.
                return;
            }
            tried.push(node);
        }
        self.wishes.failed(agent, &tried);
        self.metrics.move_not_granted();
        tracing::warn!(%agent, %to, why, "an agent that asks to be moved stays");
    }
}
