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

mod followers;

pub(super) use followers::Followers;

use super::{Node, blocking, moving::STORE_WITHIN, phases::Phase};
use crate::{Error, Hosted, world::RealWorld};
use igor_network::{
    Request, Response,
    message::{BEATS_MAX, Beat, Follow},
};
use igor_protocol::{
    AgentId, Epoch, Nanos, NodeId, Seq, custody::Status, entry::StoreKind, limits::STANDBY_MAX, transfer::Offer,
};
use igor_spine::{
    World,
    custody::Succession,
    inspect,
    standby::{ASK_STORE_EVERY, Following, LOOK_EVERY, Looks, PULSE_EVERY, Pulse, STORE_SILENT, Watched, is_anothers},
};
use igor_store::{Store, shared::answers};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a question is waited for to a store that is silent: what hangs longer hangs for good, and others were sent after it.
const ASK_STORE_FOR: Duration = Duration::from_secs(3);
/// How often it is looked whether slots may be collected.
const COLLECT_EVERY: Duration = Duration::from_secs(20);
/// What other nodes say of an agent is a reason to ask the store so often, at most.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Agents of other nodes that are read on at once.
const FOLLOWED_AT_ONCE: usize = 16;

/// Agents of other nodes, and who has one of the turns in which they are read on.
pub(super) struct Standby {
    watched: Watched,
    turns: Arc<Semaphore>,
    /// Who asks the bucket whether it is there.
    asks: Arc<Semaphore>,
    /// Agents that other nodes said something of, while the store is asked about them; and whether more was said since.
    asked: Mutex<BTreeMap<AgentId, bool>>,
}

impl Default for Standby {
    fn default() -> Self {
        let (watched, turns) = (Watched::default(), Arc::new(Semaphore::new(FOLLOWED_AT_ONCE)));
        Self { watched, turns, asks: Arc::new(Semaphore::new(1)), asked: Mutex::default() }
    }
}

impl Standby {
    fn asked(&self) -> MutexGuard<'_, BTreeMap<AgentId, bool>> {
        // No update can fail in the middle.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was said of an agent. Whether the store is to be asked now; else somebody does already, and will again.
    fn begins_to_ask(&self, agent: AgentId) -> bool {
        let mut asked = self.asked();
        let begins = !asked.contains_key(&agent);
        asked.insert(agent, !begins);
        begins
    }

    /// The store was asked. Whether it is to be asked again, since more was said meanwhile.
    fn asks_again(&self, agent: AgentId) -> bool {
        let mut asked = self.asked();
        let again = asked.insert(agent, false) == Some(true);
        if !again {
            asked.remove(&agent);
        }
        again
    }
}

/// Somebody looks after an agent of another node. Who does not come to an end has failed.
struct Looking {
    node: Arc<Node>,
    agent: AgentId,
    is_done: bool,
}

impl Looking {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if !self.is_done {
            self.node.standby.watched.failed(self.agent, false, now());
        }
    }
}

/// The clock that silence is measured on.
fn now() -> Nanos {
    RealWorld.monotonic()
}

impl Node {
    /// Stands by for an agent of another node that there is a journal of here, if that names this node. Its node has some time
    /// to say that it is well.
    pub(super) async fn remember(self: &Arc<Self>, agent: AgentId) {
        if let Err(error) = self.try_remember(agent).await {
            tracing::warn!(%agent, %error, "this node does not stand by for an agent until its node says that it is well");
        }
    }

    async fn try_remember(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        if self.store.kind(agent) == StoreKind::Disk || !is_anothers(self.steward.status(agent)?) {
            return Ok(());
        }
        self.leave_nothing_said(agent).await?;
        let node = self.clone();
        let book = blocking(move || node.book(agent)).await?;
        if !book.policy().standby.nodes.contains(&self.id()) {
            return Ok(());
        }
        if self.standby.watched.remember(agent, book.custodian(), book.chain().epoch, now()) {
            self.follow_soon(agent, None);
        }
        Ok(())
    }

    fn follow_soon(self: &Arc<Self>, agent: AgentId, turn: Option<OwnedSemaphorePermit>) {
        let me = self.clone();
        self.look_after(agent, async move { me.follow(agent, turn).await });
    }

    /// Does something about an agent that is watched, as a task of its own.
    fn look_after(self: &Arc<Self>, agent: AgentId, work: impl Future<Output = ()> + Send + 'static) {
        let looking = Looking { node: self.clone(), agent, is_done: false };
        tokio::spawn(async move {
            work.await;
            looking.done();
        });
    }

    /// Says from now on that the agents here are well, and watches over those of others.
    pub(super) fn stand_by(self: &Arc<Self>) {
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PULSE_EVERY.to_duration()).await;
                let Some(node) = node.upgrade() else { return };
                node.pulse();
            }
        });
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut looks = Looks::begin(now());
            loop {
                tokio::time::sleep(LOOK_EVERY.to_duration()).await;
                let Some(node) = node.upgrade() else { return };
                let now = now();
                // A node that was not there, or does not reach the store itself, has no reason to think that others do not.
                if looks.is_late(now) || node.is_store_silent() {
                    node.standby.watched.begin_anew(now);
                    node.ask_store();
                } else if node.is_carrying() && !node.is_draining() {
                    // Those for which there is no turn are gone on with no later for that.
                    while let Ok(turn) = node.standby.turns.clone().try_acquire_owned() {
                        let Some(agent) = node.standby.watched.suspect(now) else { break };
                        node.follow_soon(agent, Some(turn));
                    }
                    for (agent, custodian, epoch) in node.standby.watched.silent(now) {
                        let me = node.clone();
                        node.look_after(agent, async move { me.succeed(agent, custodian, epoch).await });
                    }
                }
            }
        });
    }

    /// Whether the bucket has not answered for some time.
    fn is_store_silent(&self) -> bool {
        let silent = self.store.wing().and_then(|wing| wing.bucket.silent_for());
        silent.is_some_and(|silent| silent > STORE_SILENT.to_duration())
    }

    /// Asks the bucket something now and then, so that its silence ends when it answers.
    fn ask_store(self: &Arc<Self>) {
        if let Ok(turn) = self.standby.asks.clone().try_acquire_owned() {
            let node = self.clone();
            tokio::spawn(async move {
                tokio::spawn(async move {
                    if let Some(wing) = node.store.wing() {
                        // What it says does not matter: that it answers does.
                        drop(tokio::time::timeout(ASK_STORE_FOR, answers(&wing.bucket)).await);
                    }
                });
                // One that hangs is not given up yet, but keeps the next one from being asked no longer than that.
                tokio::time::sleep(ASK_STORE_EVERY.to_duration()).await;
                drop(turn);
            });
        }
    }

    /// Tells the nodes that stand by that their agents are well.
    fn pulse(&self) {
        let Some(network) = self.peers().network() else { return };
        if self.is_store_silent() {
            return;
        }
        let mut beats: BTreeMap<NodeId, Vec<Beat>> = BTreeMap::new();
        // In the pause of a move it is well, too.
        let is_well = |life: &&Arc<Hosted>| !life.is_over() || self.steward.is_handing_over(life.agent());
        let lives: Vec<_> = self.lives().by_agent.values().filter(is_well).cloned().collect();
        let agents: BTreeSet<_> = lives.iter().map(|life| life.agent()).collect();
        self.followers.retain(|agent| agents.contains(&agent));
        for life in lives {
            if self.store.kind(life.agent()) == StoreKind::Disk {
                continue;
            }
            let now = life.watch().borrow().clone();
            let beat = Beat { agent: life.agent(), epoch: now.chain.epoch, next: now.chain.next };
            self.leave_room(life.agent(), now.standby.iter().any(|node| *node != self.id()));
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
                    let answer = network.request(node, Request::Pulse { beats: beats.clone() }).await;
                    if let (Ok(Response::Following { follows }), Some(me)) = (answer, me.upgrade()) {
                        me.followers.note(node, &beats, follows);
                    }
                });
            }
        }
    }

    /// Whoever stands by and hears nothing of this node, while it writes to the bucket all the time, must be able to come between.
    fn leave_room(&self, agent: AgentId, has_standby: bool) {
        let leaves = has_standby && self.followers.leaves_room(agent);
        self.store.leave_room(agent, leaves);
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
        let (now, mut follows) = (now(), Vec::new());
        for beat in beats {
            let Beat { agent, epoch, next } = *beat;
            let turn = self.standby.turns.clone().try_acquire_owned().ok();
            if self.standby.watched.hear(node, &Pulse { agent, epoch, next }, turn.is_none(), now) {
                let me = self.clone();
                self.look_after(agent, async move { me.heed_pulse(node, agent, epoch, turn).await });
            }
            let after = self.standby.watched.after(agent).filter(|_| !self.is_draining());
            if let (Some(after), Ok(Some(end))) = (after, self.store.tail(agent)) {
                follows.push(Follow { agent, next: end.next, after: Some(after) });
            }
        }
        follows
    }

    /// Another node says that it has an agent: that is a reason to read on, unless it is this node that has it since.
    async fn heed_pulse(
        self: &Arc<Self>,
        from: NodeId,
        agent: AgentId,
        epoch: Epoch,
        turn: Option<OwnedSemaphorePermit>,
    ) {
        let node = self.clone();
        match blocking(move || Ok::<_, Error>(node.steward.corrects(from, agent, epoch)?)).await {
            Ok(true) => {
                tracing::info!(%agent, node = %from, %epoch, "a node is told that an agent is this one's since");
                // It is told again, later and later, as long as it does not heed it.
                self.standby.watched.failed(agent, false, now());
            }
            Ok(false) => self.follow(agent, turn).await,
            Err(error) => {
                tracing::warn!(%agent, %error, "it cannot be told who has an agent");
                self.standby.watched.failed(agent, false, now());
            }
        }
    }

    /// Reads on, and has the agent ready to go on here, if its owner names this node; in this turn, or once there is one.
    async fn follow(self: &Arc<Self>, agent: AgentId, turn: Option<OwnedSemaphorePermit>) {
        if self.is_draining() {
            // It takes none any more, which is no refusal: what is here of it stays.
            return self.standby.watched.failed(agent, false, now());
        }
        let turn = match turn {
            Some(turn) => Ok(turn),
            None => self.standby.turns.clone().acquire_owned().await,
        };
        let Ok(turn) = turn else { return };
        match self.try_follow(agent).await {
            Ok(Some(found)) => self.standby.watched.read(agent, found, now()),
            Ok(None) => {
                tracing::debug!(%agent, "this node does not stand by for an agent");
                self.standby.watched.rests(agent, now());
                self.stand_down(agent);
                drop(turn);
                self.tend_own(agent).await;
            }
            Err(error) => {
                tracing::warn!(%agent, %error, "an agent of another node is not followed");
                let is_refused = !self.is_draining()
                    && matches!(error, Error::NotAdmitted { .. } | Error::Store(igor_store::Error::Quota { .. }));
                if is_refused {
                    self.stand_down(agent);
                    self.let_go(agent).await;
                }
                self.standby.watched.failed(agent, is_refused, now());
            }
        }
        // What was promised for a move is counted as it comes here.
        self.admission.accounts().settle(agent);
    }

    /// Lets an agent live that turns out to be this node's: of a fence that landed it may have heard only that it failed.
    async fn tend_own(self: &Arc<Self>, agent: AgentId) {
        let lives = self.lives().opening.contains(&agent) || self.life(agent).is_some_and(|life| !life.is_over());
        if !lives && matches!(self.steward.status(agent), Ok(Status::Custodian)) {
            Box::pin(self.settled(agent)).await;
        }
    }

    /// An agent that this node does not stand by for any more gives its place to others.
    fn stand_down(&self, agent: AgentId) {
        if self.waiting.has(agent) && matches!(self.steward.status(agent), Ok(Status::Elsewhere)) {
            self.forget(agent);
        }
    }

    /// What was read of an agent that this node does not take goes again; the store that it was read from has it.
    async fn let_go(&self, agent: AgentId) {
        if self.store.kind(agent) == StoreKind::Disk || !matches!(self.steward.status(agent), Ok(Status::Elsewhere)) {
            return;
        }
        match self.steward.delete(agent).await {
            Ok(_) => {
                if let Err(error) = self.close_account(agent).await {
                    tracing::warn!(%agent, %error, "an agent that is gone is still counted");
                }
            }
            Err(error) => tracing::debug!(%agent, %error, "what was read of it stays here"),
        }
    }

    /// Nothing where this node does not stand by for it.
    async fn try_follow(self: &Arc<Self>, agent: AgentId) -> Result<Option<Following>, Error> {
        let accounts = self.admission.accounts();
        let attached = self.store.attach(agent, self.standby.watched.until(agent), accounts.room(agent)).await;
        let node = self.clone();
        // What came before it failed is counted too, so that there is less room the next time.
        blocking(move || node.admission.accounts().of(agent).catch_up(&node.store)).await?;
        attached?;
        if self.store.tail(agent)?.is_none() {
            return Ok(None);
        }
        if self.store.kind(agent) == StoreKind::Disk {
            // What is here came by file, and does not go on as the bucket does.
            return Err(igor_spine::custody::Error::InBucket(agent).into());
        }
        let (node, me) = (self.clone(), self.id());
        let look = move || Ok(node.steward.look(agent, |book| (book.custodian(), Following::of(me, book)))?);
        let found = blocking::<_, Error>(look).await?;
        if !is_anothers(self.steward.status(agent)?) {
            return Ok(None);
        }
        // Where it lived until it was fenced off it may not have noticed yet.
        self.steward.dismiss(agent).await?;
        self.leave_nothing_said(agent).await?;
        let Some((custodian, Some(following))) = found else { return Ok(None) };
        if !self.config().policy.nodes.contains(&custodian) {
            let why = format!("policy.nodes of this node does not list {custodian}, which has it");
            return Err(Error::NotAdmitted { agent, why });
        }
        if !self.waiting.has(agent) {
            let first = self.store.read(agent, Seq(0))?.next().ok_or(igor_spine::Error::NoJournal(agent))??;
            let node = self.clone();
            let book = blocking(move || node.book(agent)).await?;
            let ledger = book.ledger();
            let offer = Offer {
                genesis: inspect::genesis::<igor_store::Error>(&first)?,
                manifest: book.manifest().clone(),
                epoch: book.chain().epoch,
                next: book.chain().next,
                state_bytes: ledger.checkpoint.map_or(0, |checkpoint| checkpoint.bytes),
                records: Vec::new(),
                given: false,
                runtime: ledger.runtime.clone(),
            };
            let admitted = self.admit_from(custodian, &offer, book.policy());
            admitted.map_err(|refusal| Error::NotAdmitted { agent, why: refusal.to_string() })?;
        }
        self.restore(agent).await?;
        Ok(Some(following))
    }

    /// Another node said something of an agent's custody: whatever it was, the shared store has it or it is not so. It is asked
    /// once for all that is said while it is, and then not before [`ASK_AGAIN_AFTER`]: strangers may say anything.
    pub(crate) fn hear_of_shared(&self, agent: AgentId) {
        if !self.standby.begins_to_ask(agent) {
            return;
        }
        let me = self.me.clone();
        tokio::spawn(async move {
            while let Some(node) = me.upgrade() {
                let told = match tokio::time::timeout(STORE_WITHIN, node.read_to_end(agent)).await {
                    Ok(Ok(())) => node.steward.dismiss(agent).await.map_err(Error::from),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(Error::StoreSilent { agent }),
                };
                if let Err(error) = told {
                    tracing::warn!(%agent, %error, "another node said something of an agent; the store does not tell what is so");
                }
                // A node that is gone asks nothing.
                drop(node);
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
                if !me.upgrade().is_some_and(|node| node.standby.asks_again(agent)) {
                    return;
                }
            }
        });
    }

    /// Finds out what became of an agent that another process appended to while it lived here.
    pub(super) fn read_on(self: &Arc<Self>, agent: AgentId) {
        let node = self.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(STORE_WITHIN, node.store.refresh(agent)).await {
                Ok(Ok(())) => {
                    if node.is_elsewhere(agent) {
                        node.metrics.bucket.lost();
                    }
                    Box::pin(node.settled(agent)).await;
                }
                Ok(Err(error)) => node.report(agent, &error.into()),
                Err(_) => node.report(agent, &Error::StoreSilent { agent }),
            }
        });
    }

    /// Goes on with an agent whose node is silent.
    async fn succeed(self: &Arc<Self>, agent: AgentId, custodian: NodeId, epoch: Epoch) {
        // Its operator takes agents from that node, or does not any more; it may be that it was not restored since.
        let is_followed = self.standby.watched.after(agent).is_some() && self.waiting.has(agent);
        if custodian == self.id() || !self.config().policy.nodes.contains(&custodian) || !is_followed {
            return self.follow(agent, None).await;
        }
        tracing::warn!(%agent, node = %custodian, %epoch, "a node is silent; this one goes on with its agent, if it is first");
        let (begun, me) = (now(), self.clone());
        self.stopwatches.begin(agent, self.standby.watched.silence(agent, begun).map(|silence| (custodian, silence)));
        let is_still = move || {
            me.stopwatches.lap(agent, Phase::Read);
            me.standby.watched.is_still_silent(agent, begun, now())
        };
        match Box::pin(self.steward.succeed(agent, (custodian, epoch), self.terms(), is_still)).await {
            Ok(Succession::Taken(epoch)) => {
                tracing::warn!(%agent, from = %custodian, %epoch, "an agent is this node's from now on");
                self.metrics.bucket.took();
                self.standby.watched.leave(agent);
            }
            Ok(Succession::GoneOn(node, _)) if node == self.id() => {
                self.stopwatches.end(agent);
                self.standby.watched.leave(agent);
                self.tend_own(agent).await;
            }
            Ok(Succession::Rests) => {
                self.stopwatches.end(agent);
                self.follow(agent, None).await;
            }
            Ok(Succession::GoneOn(node, epoch)) => {
                self.stopwatches.end(agent);
                tracing::info!(%agent, %node, %epoch, "another node was faster, or the agent is well");
                self.standby.watched.gone_on(agent, node, epoch, now());
            }
            Err(error) => {
                self.stopwatches.end(agent);
                tracing::warn!(%agent, node = %custodian, %error, "an agent whose node is silent does not go on here");
                self.standby.watched.failed(agent, false, now());
            }
        }
    }
}

#[cfg(test)]
mod tests;
