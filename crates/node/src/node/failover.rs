//! Standing by: agents of other nodes that name this one are followed, and gone on with when their node is silent.
//!
//! ```text
//!   custodian ── pulse, again and again ──► standby: follows the journal in the shared store, compiled and restored
//!       ✗ silent for too long ────────────► fence in the next slot: the store says who was first ──► lives here
//! ```
//!
//! Invariants kept here:
//! - A pulse is a hint, and so is silence: the store decides. Being wrong costs a pause.
//! - A node pulses only while the store answers it: one that is cut off from the bucket goes silent as well.
//! - Only an agent whose owner names this node, and which its operator would take in a move, is followed.

use super::{Node, blocking, moving::STORE_WITHIN};
use crate::{
    Error, Hosted,
    api::wire::{AgentCheck, StandbyCheck},
};
use igor_network::{
    Request, Response,
    message::{BEATS_MAX, Beat, Follow},
};
use igor_protocol::{
    AgentId, Epoch, Nanos, NodeId, Seq, custody::Status, entry::StoreKind, limits::STANDBY_MAX, transfer::Offer,
};
use igor_spine::{custody::Succession, inspect};
use igor_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How often a node says that its agents are well.
const PULSE_EVERY: Duration = Duration::from_millis(200);
/// A store that has answered nothing for so long is no reason to be well.
const STORE_SILENT: Duration = Duration::from_millis(500);
/// How long a node may be silent where the owner does not say it.
const SILENT_FOR: Duration = Duration::from_millis(800);
/// How long a node may be silent after this one has started.
const SILENT_SINCE_START: Duration = Duration::from_secs(5);
/// How much longer each node further back in line waits.
const LINE_STEP: Duration = Duration::from_millis(300);
/// How often it is looked who is silent.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Pauses after an attempt that failed: the first, and the longest.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// What a node said of an agent so long ago is what it would do.
const FOLLOWER_RECENT: Duration = Duration::from_secs(2);
/// And so long ago is forgotten.
const FOLLOWER_FORGOTTEN: Duration = Duration::from_mins(1);
/// How often it is looked whether slots may be collected.
const COLLECT_EVERY: Duration = Duration::from_secs(20);
/// Agents of other nodes that are heard of, at most.
const WATCHED_MAX: usize = 4096;
/// Agents of other nodes that are read on at once.
const FOLLOWED_AT_ONCE: usize = 16;

/// Agents of other nodes, as they were heard of last.
pub(super) struct Watched {
    all: Mutex<BTreeMap<AgentId, Watch>>,
    /// Who has one of these reads on.
    turns: Semaphore,
}

impl Default for Watched {
    fn default() -> Self {
        Self { all: Mutex::default(), turns: Semaphore::new(FOLLOWED_AT_ONCE) }
    }
}

/// One of them.
struct Watch {
    node: NodeId,
    epoch: Epoch,
    /// The end of its journal, as its node says.
    next: Seq,
    heard: Instant,
    /// Something is being done about it.
    busy: bool,
    /// It is followed, and this node may go on with it once its own was silent for so long.
    after: Option<Duration>,
    failed: u32,
    not_before: Instant,
}

/// What the nodes that stand by for agents here said of them last.
#[derive(Default)]
pub(super) struct Followers(Mutex<BTreeMap<(AgentId, NodeId), (Follow, Instant)>>);

impl Followers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(AgentId, NodeId), (Follow, Instant)>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, node: NodeId, follows: Vec<Follow>) {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, (_, said)| now.duration_since(*said) < FOLLOWER_FORGOTTEN);
        all.extend(follows.into_iter().map(|follow| ((follow.agent, node), (follow, now))));
    }

    /// What a node said of an agent a moment ago.
    fn of(&self, agent: AgentId, node: NodeId) -> Option<Follow> {
        let said = self.lock().get(&(agent, node)).copied();
        said.filter(|(_, said)| said.elapsed() < FOLLOWER_RECENT).map(|(follow, _)| follow)
    }
}

impl Watched {
    /// How far this node is with an agent: nothing where it would not go on with it.
    fn after(&self, agent: AgentId) -> Option<Duration> {
        self.lock().get(&agent).and_then(|watch| watch.after)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Watch>> {
        // No update can fail in the middle.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in that an agent is well. Says whether there is news of it that nobody looks at yet.
    fn hear(&self, node: NodeId, beat: &Beat, now: Instant) -> bool {
        let mut all = self.lock();
        if all.len() >= WATCHED_MAX && !all.contains_key(&beat.agent) {
            return false;
        }
        let new = || Watch {
            node,
            epoch: beat.epoch,
            next: Seq(0),
            heard: now,
            busy: false,
            after: None,
            failed: 0,
            not_before: now,
        };
        let watch = all.entry(beat.agent).or_insert_with(new);
        if beat.epoch < watch.epoch || (beat.epoch == watch.epoch && node != watch.node) {
            return false; // it is behind, or says what another node says as well
        }
        (watch.node, watch.epoch, watch.heard) = (node, beat.epoch, now);
        let news = beat.next > watch.next && now >= watch.not_before;
        watch.next = watch.next.max(beat.next);
        news && !std::mem::replace(&mut watch.busy, true)
    }

    /// Those whose node was silent for too long; somebody looks after them from now on.
    fn silent(&self, now: Instant) -> Vec<(AgentId, NodeId, Epoch)> {
        let mut all = self.lock();
        let due = |watch: &Watch| {
            let silent = watch.after.is_some_and(|after| now.duration_since(watch.heard) > after);
            silent && !watch.busy && now >= watch.not_before
        };
        let silent = all.iter_mut().filter(|(_, watch)| due(watch));
        silent
            .map(|(agent, watch)| {
                watch.busy = true;
                (*agent, watch.node, watch.epoch)
            })
            .collect()
    }

    /// What was done about an agent is done.
    fn done(&self, agent: AgentId, change: impl FnOnce(&mut Watch)) {
        if let Some(watch) = self.lock().get_mut(&agent) {
            watch.busy = false;
            change(watch);
        }
    }

    fn failed(&self, agent: AgentId) {
        self.done(agent, |watch| {
            let pause = AGAIN_AFTER.saturating_mul(1 << watch.failed.min(10)).min(AGAIN_AFTER_MAX);
            watch.failed = watch.failed.saturating_add(1);
            watch.not_before = Instant::now() + pause;
        });
    }
}

impl Node {
    /// Those that this node stood by for when it ended, as far as it knows: their nodes have some time to say that they
    /// are well.
    async fn remember_watched(self: &Arc<Self>) -> Result<(), Error> {
        for agent in self.store.list()? {
            if self.store.kind(agent) == StoreKind::Disk || self.steward.status(agent)? != Status::Elsewhere {
                continue;
            }
            let node = self.clone();
            let book = blocking(move || node.book(agent)).await?;
            if book.policy().standby.nodes.contains(&self.id()) && book.ledger().ended.is_none() {
                let beat = Beat { agent, epoch: book.chain().epoch, next: Seq(0) };
                self.watched.hear(book.custodian(), &beat, Instant::now());
                self.watched.done(agent, |watch| watch.after = Some(SILENT_SINCE_START));
            }
        }
        Ok(())
    }

    /// Says from now on that the agents here are well, and watches over those of others.
    pub(super) fn stand_by(self: &Arc<Self>) {
        let node = self.clone();
        tokio::spawn(async move {
            if let Err(error) = node.remember_watched().await {
                tracing::warn!(%error, "agents that this node stood by for are followed once their nodes say that they are well");
            }
        });
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PULSE_EVERY).await;
                let Some(node) = node.upgrade() else { return };
                node.pulse();
            }
        });
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(node) = node.upgrade() else { return };
                if node.is_carrying() && !node.is_draining() {
                    for (agent, custodian, epoch) in node.watched.silent(Instant::now()) {
                        let node = node.clone();
                        tokio::spawn(async move { node.succeed(agent, custodian, epoch).await });
                    }
                }
            }
        });
    }

    /// Tells the nodes that stand by that their agents are well.
    fn pulse(&self) {
        let Some(network) = self.peers().network() else { return };
        let silent = self.store.wing().and_then(|wing| wing.bucket.silent_for());
        if silent.is_some_and(|silent| silent > STORE_SILENT) {
            return;
        }
        let mut beats: BTreeMap<NodeId, Vec<Beat>> = BTreeMap::new();
        for life in self.lives().by_agent.values().filter(|life| !life.is_over()) {
            if self.store.kind(life.agent()) == StoreKind::Disk {
                continue;
            }
            let now = life.watch().borrow().clone();
            let beat = Beat { agent: life.agent(), epoch: now.chain.epoch, next: now.chain.next };
            for node in now.standby.into_iter().take(STANDBY_MAX).filter(|node| *node != self.id()) {
                beats.entry(node).or_default().push(beat);
            }
        }
        for (node, beats) in beats {
            for beats in beats.chunks(BEATS_MAX) {
                let (network, beats) = (network.clone(), beats.to_vec());
                // Whoever does not hear it goes by its silence.
                let me = self.me.clone();
                tokio::spawn(async move {
                    let answer = network.request(node, Request::Pulse { beats }).await;
                    if let (Ok(Response::Following { follows }), Some(me)) = (answer, me.upgrade()) {
                        me.followers.note(node, follows);
                    }
                });
            }
        }
    }

    /// Puts what is before an agent's checkpoints together, now and then, as long as it lives here.
    pub(super) fn collect_while(self: &Arc<Self>, life: Arc<Hosted>) {
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(COLLECT_EVERY).await;
                let Some(node) = node.upgrade().filter(|_| !life.is_over()) else { return };
                if let Err(error) = node.store.collect(life.agent()).await {
                    tracing::warn!(agent = %life.agent(), %error, "old slots of an agent's journal stay in the bucket for now");
                }
            }
        });
    }

    /// Another node says that agents are well there. Gives those that this one would go on with.
    pub(crate) fn heard(self: &Arc<Self>, node: NodeId, beats: &[Beat]) -> Vec<Follow> {
        if self.store.wing().is_none() || !self.config().policy.nodes.contains(&node) || !self.is_carrying() {
            return Vec::new();
        }
        let (now, mut follows) = (Instant::now(), Vec::new());
        for beat in beats {
            let agent = beat.agent;
            if self.watched.hear(node, beat, now) {
                let me = self.clone();
                tokio::spawn(async move { me.follow(agent, node).await });
            }
            let after = self.watched.after(agent).filter(|_| !self.is_draining());
            if let (Some(after), Ok(Some(end))) = (after, self.store.tail(agent)) {
                let after = Nanos(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
                follows.push(Follow { agent, next: end.next, after: Some(after) });
            }
        }
        follows
    }

    /// What would happen to the agents here if this node died now.
    pub fn check(&self) -> Vec<AgentCheck> {
        let lives: Vec<_> = self.lives().by_agent.values().filter(|life| !life.is_over()).cloned().collect();
        let mut checks: Vec<_> = lives.iter().map(|life| self.check_one(life)).collect();
        checks.sort_by(|one, other| one.name.cmp(&other.name));
        checks
    }

    fn check_one(&self, life: &Hosted) -> AgentCheck {
        let (agent, now) = (life.agent(), life.watch().borrow().clone());
        let shared = self.store.kind(agent) != StoreKind::Disk;
        let standby = now.standby.iter().filter(|node| **node != self.id()).map(|node| {
            let follow = self.followers.of(agent, *node);
            StandbyCheck {
                node: *node,
                follows: follow.is_some(),
                behind: follow.map(|follow| now.chain.next.0.saturating_sub(follow.next.0)),
                after_ns: follow.and_then(|follow| follow.after).map(|after| after.0),
            }
        });
        let standby: Vec<_> = standby.collect();
        let first = standby.iter().filter(|one| one.after_ns.is_some()).min_by_key(|one| one.after_ns);
        AgentCheck {
            agent,
            name: life.name().to_owned(),
            durable_on: self.durable_on(self.store.kind(agent)),
            taken_by: first.map(|one| one.node),
            lost: if shared { "nothing".to_owned() } else { "what no export or archive elsewhere has".to_owned() },
            standby,
        }
    }

    /// Reads on, and has the agent ready to go on here, if its owner names this node.
    async fn follow(self: &Arc<Self>, agent: AgentId, from: NodeId) {
        let Ok(_turn) = self.watched.turns.acquire().await else { return };
        match self.try_follow(agent, from).await {
            Ok(after) => self.watched.done(agent, |watch| (watch.after, watch.failed) = (after, 0)),
            Err(error) => {
                tracing::warn!(%agent, node = %from, %error, "an agent that names this node as standby is not followed");
                if matches!(error, Error::Store(igor_store::Error::Quota { .. }))
                    && let Err(error) = self.let_go(agent).await
                {
                    tracing::warn!(%agent, %error, "what was read of it stays here");
                }
                self.watched.failed(agent);
            }
        }
    }

    /// What was read of an agent that does not fit goes again; the store that it was read from has it.
    async fn let_go(&self, agent: AgentId) -> Result<(), Error> {
        if self.steward.status(agent)? != Status::Elsewhere || self.store.kind(agent) == StoreKind::Disk {
            return Ok(());
        }
        self.close_account(agent).await?;
        Ok(self.store.remove(agent).await?)
    }

    async fn try_follow(self: &Arc<Self>, agent: AgentId, from: NodeId) -> Result<Option<Duration>, Error> {
        let accounts = self.admission.accounts();
        let attached = self.store.attach(agent, accounts.room(agent)).await;
        let node = self.clone();
        // What came before it failed is counted too, so that there is less room the next time.
        blocking(move || node.admission.accounts().of(agent).catch_up(&node.store)).await?;
        attached?;
        if self.store.kind(agent) == StoreKind::Disk {
            // What is here came by file, and does not go on as the bucket does.
            return Err(igor_spine::custody::Error::InBucket(agent).into());
        }
        let node = self.clone();
        let book = blocking(move || node.book(agent)).await?;
        let standby = book.policy().standby.clone();
        let named = standby.nodes.iter().filter(|node| **node != from).position(|node| *node == self.id());
        let Some(place) = named else { return Ok(None) };
        if self.steward.status(agent)? != Status::Elsewhere {
            return Ok(None);
        }
        if !self.waiting.has(agent) {
            let first = self.store.read(agent, Seq(0))?.next().ok_or(igor_spine::Error::NoJournal(agent))??;
            let offer = Offer {
                genesis: inspect::genesis::<igor_store::Error>(&first)?,
                manifest: book.manifest().clone(),
                epoch: book.chain().epoch,
                next: book.chain().next,
                state_bytes: book.ledger().checkpoint.map_or(0, |checkpoint| checkpoint.bytes),
                records: Vec::new(),
                given: false,
                runtime: book.ledger().runtime.clone(),
            };
            self.admit_from(from, &offer).map_err(|refusal| Error::NotAdmitted { agent, why: refusal.to_string() })?;
        }
        self.restore(agent).await?;
        let silent_for = standby.silent_for.map_or(SILENT_FOR, Nanos::to_duration);
        let place = if standby.any_order { 0 } else { u32::try_from(place).unwrap_or(u32::MAX) };
        Ok(Some(silent_for + LINE_STEP.saturating_mul(place)))
    }

    /// Finds out what became of an agent that another process appended to while it lived here.
    pub(super) fn read_on(self: &Arc<Self>, agent: AgentId) {
        let node = self.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(STORE_WITHIN, node.store.refresh(agent)).await {
                Ok(Ok(())) => Box::pin(node.settled(agent)).await,
                Ok(Err(error)) => node.report(agent, &error.into()),
                Err(_) => node.report(agent, &Error::StoreSilent { agent }),
            }
        });
    }

    /// Goes on with an agent whose node is silent.
    async fn succeed(self: &Arc<Self>, agent: AgentId, custodian: NodeId, epoch: Epoch) {
        tracing::warn!(%agent, node = %custodian, %epoch, "a node is silent; this one goes on with its agent, if it is first");
        match self.steward.succeed(agent, (custodian, epoch), self.terms()).await {
            Ok(Succession::Taken(epoch)) => {
                tracing::warn!(%agent, from = %custodian, %epoch, "an agent goes on here");
                self.watched.lock().remove(&agent);
            }
            Ok(Succession::GoneOn(node, epoch)) => {
                tracing::info!(%agent, %node, %epoch, "another node was faster, or the agent is well");
                self.watched.done(agent, |watch| {
                    (watch.node, watch.epoch, watch.heard) = (node, epoch, Instant::now());
                });
            }
            Err(error) => {
                tracing::warn!(%agent, node = %custodian, %error, "an agent whose node is silent does not go on here");
                self.watched.failed(agent);
            }
        }
    }
}
