//! Lives: how one begins again, what goes on beside it, and how all of them end.
//!
//! Invariants kept here:
//! - An agent has at most one life at a time, and a place for as long as it has one.
//! - A life that fails, or cannot begin, is reported, and the others go on.
//! - Once the node is being stopped no life begins, so that stopping all of them is stopping all of them.

use super::{Node, OwnLife, blocking, moving::STORE_WITHIN};
use crate::{
    Error, Wishes,
    admission::Place,
    hosted::{Beginning, Ends, Hosted},
    local::{self, Flags},
    moves::AgentWorld,
    stored::{Shelf, Stored},
};
use igor_protocol::{
    AgentId, Manifest, Seq, Tick,
    custody::{Refusal, Status as Custody},
    entry::{GenesisBody, StoreKind},
    limits::PROGRAM_BYTES_MAX,
};
use igor_sandbox::WasmProgram;
use igor_spine::{
    Ending, Life, Parts, Settings,
    command::Command,
    custody::{self, Lease, Leased},
    inspect,
};
use igor_store::Store;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::SemaphorePermit, task::JoinSet};

/// Wait before an agent that could not live is started again; it doubles each time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest such wait.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// Journals in a bucket that are read at once, of agents that are about to live.
pub(super) const WAKES_AT_ONCE: usize = 16;
/// Longest encoded manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Every life of this process by its agent, and whether others may begin.
#[derive(Default)]
pub(super) struct Lives {
    pub(super) by_agent: BTreeMap<AgentId, Arc<Hosted>>,
    /// The node stops.
    pub(super) ending: bool,
    /// It carries none, and takes in what it is given all the same.
    none: bool,
    /// Agents whose life is about to begin: custody let it, and it is restored.
    pub(super) opening: BTreeSet<AgentId>,
    /// Why agents that should live do not.
    pub(super) unable: BTreeMap<AgentId, Unable>,
}

impl Lives {
    /// Whether no life begins any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.ending || self.none
    }
}

/// Why an agent that should live does not.
pub(super) struct Unable {
    pub(super) why: String,
    attempts: u32,
}

/// What became of the agents of a home when its node began to carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// They live.
    pub living: usize,
    /// They ended, are suspended, were stopped, or are archives.
    pub resting: usize,
    /// They should live and cannot; each was reported.
    pub unable: usize,
}

/// A life that is about to begin.
pub(super) struct Start {
    pub(super) name: String,
    pub(super) genesis: GenesisBody,
    pub(super) manifest: Manifest,
    pub(super) wishes: Wishes,
    pub(super) resumed: bool,
    pub(super) place: Place,
    pub(super) stored: Arc<Stored>,
}

/// What an agent needs to go on.
pub(super) struct Prepared {
    pub(super) start: Start,
    pub(super) program: WasmProgram,
}

/// A life that is about to begin; whoever waits for it is told when it has, or will not.
pub(super) struct Opening {
    node: Arc<Node>,
    agent: AgentId,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.node.lives().opening.remove(&self.agent);
        self.node.opened.notify_waiters();
    }
}

impl Node {
    /// Says that this node is about to carry all agents of its home: from now on it takes others in.
    pub fn open_doors(&self) {
        self.carrying.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Begins to carry every agent of this home that should live, a few at a time, and goes on to do so: from now on
    /// one that is resumed or funded lives at once, and one that failed for want of something is tried again.
    ///
    /// Comes back when each had its turn.
    pub async fn carry_all(self: &Arc<Self>) -> Result<Carried, Error> {
        self.open_doors();
        Box::pin(self.wake_all()).await?;
        let mut turns = JoinSet::new();
        for agent in self.store.list()? {
            let node = self.clone();
            turns.spawn(async move {
                let tended = node.tend(agent).await;
                if !matches!(tended, Ok(true)) {
                    // What rests is not read again at the next start.
                    node.note(agent).await;
                    node.remember(agent).await;
                }
                tended
            });
        }
        let mut carried = Carried::default();
        while let Some(turn) = turns.join_next().await {
            match turn {
                Ok(Ok(true)) => carried.living += 1,
                Ok(Ok(false)) => carried.resting += 1,
                Ok(Err(Error::Stopping | Error::Impostor { .. })) => {}
                Ok(Err(_)) | Err(_) => carried.unable += 1,
            }
        }
        Ok(carried)
    }

    /// Whether this node carries all agents of its home, rather than those that a command names.
    pub(super) fn is_carrying(&self) -> bool {
        self.carrying.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sees to it that an agent lives if it should and this node carries all. Gives whether it lives. Why it cannot is
    /// kept and reported.
    pub(super) async fn tend(self: &Arc<Self>, agent: AgentId) -> Result<bool, Error> {
        let tended = self.try_tend(agent).await;
        match &tended {
            Ok(_) => drop(self.lives().unable.remove(&agent)),
            Err(Error::Stopping | Error::Impostor { .. } | Error::Starting { .. } | Error::Overtaken { .. }) => {}
            Err(e) => self.report(agent, e),
        }
        tended
    }

    async fn try_tend(self: &Arc<Self>, agent: AgentId) -> Result<bool, Error> {
        let lives = || self.life(agent).is_some_and(|life| !life.is_over());
        if lives() || !self.is_carrying() {
            return Ok(lives());
        }
        if self.steward.is_shared(agent) {
            // It is never closed.
            let _turn = self.wakes.acquire().await.map_err(|_| Error::Stopping)?;
            let read = tokio::time::timeout(STORE_WITHIN, Box::pin(self.steward.wake(agent))).await;
            read.map_err(|_| Error::StoreSilent { agent })??;
        }
        let wanted = {
            let _slot = self.slot().await?;
            self.wants(agent).await?
        };
        if !wanted {
            return Ok(false);
        }
        match self.start(agent, Wishes::default()).await {
            Ok(_) | Err(Error::Running { .. } | Error::Custody(custody::Error::Leased(_))) => Ok(true),
            // Somebody else went on meanwhile.
            Err(Error::Custody(custody::Error::Refused(Refusal::NotCustodian))) if self.steward.is_shared(agent) => {
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether nothing speaks against an agent's life: neither its journal nor its operator. Waits for disks.
    fn should_live(&self, agent: AgentId) -> Result<bool, Error> {
        let flags = local::flags(&*self.store, agent)?;
        let book = self.book(agent)?;
        let ledger = book.ledger();
        let suspended = ledger.is_suspended() && flags.forgiven != Some(ledger.tick);
        Ok(!flags.stopped && !suspended && ledger.ended.is_none() && self.steward.status(agent)? == Custody::Custodian)
    }

    /// Whether an agent should live, asked where that stops nobody.
    pub(super) async fn wants(self: &Arc<Self>, agent: AgentId) -> Result<bool, Error> {
        let node = self.clone();
        blocking(move || node.should_live(agent)).await
    }

    /// Keeps and tells why an agent that should live does not. Where that may pass, it is tried again.
    pub(super) fn report(self: &Arc<Self>, agent: AgentId, error: &Error) {
        let attempts = {
            let mut lives = self.lives();
            let unable = lives.unable.entry(agent).or_insert_with(|| Unable { why: String::new(), attempts: 0 });
            unable.why = error.to_string();
            unable.attempts = unable.attempts.saturating_add(1);
            unable.attempts
        };
        self.metrics.could_not_start();
        let retry = (self.is_carrying() && error.may_pass())
            .then(|| RETRY_AFTER.saturating_mul(1 << (attempts - 1).min(16)).min(RETRY_AFTER_MAX));
        tracing::error!(%agent, error = %error, retry_s = retry.map(|after| after.as_secs()), "an agent cannot live; the others go on");
        if let Some(after) = retry {
            let node = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                if let Ok(false) = Box::pin(node.tend(agent)).await {
                    // It may be another node's since.
                    Box::pin(node.settled(agent)).await;
                }
            });
        }
    }

    /// Goes on with the life of an agent that is here.
    pub async fn start(self: &Arc<Self>, agent: AgentId, wishes: Wishes) -> Result<Arc<Hosted>, Error> {
        let _busy = self.occupy(&agent.to_string())?;
        if let Some(life) = self.life(agent).filter(|life| !life.is_over()) {
            return Err(Error::Running { name: life.name().to_owned() });
        }
        self.wake(agent).await?;
        let slot = self.slot().await?;
        let node = self.clone();
        let prepared = blocking(move || {
            node.check_custody(agent)?;
            node.prepare(agent, wishes)
        })
        .await?;
        // A bucket that does not answer keeps nobody else from being started.
        let _slot = Some(slot).filter(|_| !self.steward.is_shared(agent));
        let lease = self.steward.claim(agent).await?;
        self.open_life(agent, prepared, lease).await
    }

    /// Goes on with an agent, unless custody takes its lease back before it is there.
    pub(super) async fn open_life(
        self: &Arc<Self>,
        agent: AgentId,
        prepared: Prepared,
        lease: Lease,
    ) -> Result<Arc<Hosted>, Error> {
        let Prepared { start, program } = prepared;
        let _opening = self.opening(agent);
        let opened = lease
            .unless_revoked(Box::pin(Life::open(self.parts(Arc::new(program), &start.stored, &start.genesis), agent)))
            .await;
        let life = opened.ok_or(Error::Overtaken { agent })??;
        self.stopwatches.recovered(agent, life.recovery());
        self.carry(start, Leased { life, lease }).await
    }

    /// Says that a life is about to begin, until what comes back is dropped.
    pub(super) fn opening(self: &Arc<Self>, agent: AgentId) -> Opening {
        self.lives().opening.insert(agent);
        Opening { node: self.clone(), agent }
    }

    /// Checkpoints and ends the life of an agent that is to be given away. One that is about to begin is waited for.
    /// Its place is kept until [`Node::settled`](Self::settled) gives it away.
    pub(crate) async fn freeze(&self, agent: AgentId, checkpoint: bool) -> Result<(), Error> {
        self.kept.expect(agent);
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            // What happens from here on is not missed.
            opened.as_mut().enable();
            if let Some(life) = self.life(agent).filter(|life| !life.is_over()) {
                let over = if checkpoint { life.stop().await } else { life.freeze().await };
                return match &*over {
                    Ok(_) => Ok(()),
                    Err(error) => Err(Error::Froze { why: error.to_string() }),
                };
            }
            if !self.lives().opening.contains(&agent) {
                return Ok(());
            }
            opened.await;
        }
    }

    /// Reads what an agent needs to go on, and compiles it unless that was done before. Whether it may go on here is
    /// custody's to say.
    pub(super) fn prepare(&self, agent: AgentId, wishes: Wishes) -> Result<Prepared, Error> {
        self.tail(agent)?;
        // Read when the life begins; what cannot be read is refused before anything is paid for.
        local::flags(&*self.store, agent)?;
        let first = self.store.read(agent, Seq(0))?.next().ok_or(igor_spine::Error::NoJournal(agent))??;
        let genesis = inspect::genesis::<igor_store::Error>(&first)?.body;
        let blob = |what, hash, max| {
            let bytes = self.store.get_blob(hash, max)?;
            bytes.ok_or(Error::Life(igor_spine::Error::MissingBlob { what, hash }))
        };
        let encoded = blob("the manifest", genesis.manifest, MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::decode(&encoded)?;
        self.grants(&manifest)?;
        let place = match self.kept.take(agent) {
            Some(place) => place,
            None => self.admission.admit(&manifest)?,
        };
        let bytes = blob("the program", genesis.program, PROGRAM_BYTES_MAX as u64)?;
        let stored = self.admission.accounts().of(agent);
        stored.catch_up(&self.store)?;
        if let Some(why) = stored.excess() {
            return Err(Error::TooMuchStored { why });
        }
        let program = self.sandbox.load(&bytes, &manifest)?;
        let name = self.name_of(agent, &genesis)?;
        Ok(Prepared { start: Start { name, genesis, manifest, wishes, resumed: true, place, stored }, program })
    }

    /// The name that an agent has here: nearly always the one in its Genesis. Waits for disks.
    fn name_of(&self, agent: AgentId, genesis: &GenesisBody) -> Result<String, Error> {
        if local::agent_named(&*self.store, &genesis.name)? == Some(agent) {
            return Ok(genesis.name.clone());
        }
        Ok(local::names(&*self.store)?.remove(&agent).unwrap_or_else(|| agent.to_string()))
    }

    pub(super) fn parts(
        &self,
        program: Arc<WasmProgram>,
        stored: &Arc<Stored>,
        genesis: &GenesisBody,
    ) -> super::OwnParts {
        let store = Arc::new(Shelf::new(self.store.clone(), stored.clone()));
        let world = AgentWorld::new(self.me.clone(), genesis.agent_id(), genesis.clone());
        Parts { program, store, world: Arc::new(world), key: self.key.clone() }
    }

    /// Waits for the right to compile or to start something.
    pub(super) async fn slot(&self) -> Result<SemaphorePermit<'_>, Error> {
        // It is never closed.
        self.slots.acquire().await.map_err(|_| Error::Stopping)
    }

    /// Lets a life run as a task of its own.
    pub(super) async fn carry(self: &Arc<Self>, start: Start, own: Leased<OwnLife>) -> Result<Arc<Hosted>, Error> {
        let Start { name, genesis, manifest, wishes, resumed, place, stored } = start;
        let (began, metrics) = (own.life.look(), self.metrics.of_agent(&name));
        let agent = began.chain.agent;
        // What its operator says from here on finds it among the lives.
        let _turn = self.turn(agent).await;
        let node = self.clone();
        let flags = blocking(move || local::flags(&*node.store, agent)).await?;
        let settings = settings(&manifest, wishes, flags, began.tick);
        let may_migrate = manifest.capabilities.migrate;
        let (hosted, ends) = Hosted::begin(Beginning {
            store: self.store.clone(),
            name,
            genesis,
            began,
            wishes,
            resumed,
            may_migrate,
            durable_on: self.durable_on(self.store.kind(agent)),
            metrics,
        });
        let hosted = Arc::new(hosted);
        {
            let mut lives = self.lives();
            if lives.is_closed() {
                return Err(self.closed());
            }
            lives.unable.remove(&agent);
            lives.by_agent.insert(agent, hosted.clone());
        }
        self.tell_phases(&hosted);
        let Ends { commands, outbox, asked, over } = ends;
        if may_migrate {
            tokio::spawn(self.clone().heed(hosted.clone(), asked));
        }
        if self.store.kind(agent) != StoreKind::Disk {
            // What was so in an earlier stay of it here is over.
            self.store.leave_room(agent, false);
            self.collect_while(hosted.clone());
        }
        tracing::info!(%agent, name = hosted.name(), tick = %hosted.began().tick, resumed, "an agent runs");
        let (node, carried) = (self.clone(), hosted.clone());
        tokio::spawn(async move {
            let Leased { life, lease } = own;
            let running = tokio::spawn(life.run(settings, commands, outbox));
            let ended = node.accompany(&carried, &stored, &lease, running).await;
            // Whoever waits for the end finds room. In the pause of a move nothing is written that may wait.
            if !node.kept.left(agent, place) {
                node.note(agent).await;
            }
            // Whoever waits for the end may take the agent from here, or start it again.
            drop(lease);
            over.send_replace(Some(ended.clone()));
            match &*ended {
                Err(e) if e.is_overtaken() => node.read_on(agent),
                // Its life was ended by what was read on already.
                Err(Error::Overtaken { .. }) if node.is_elsewhere(agent) => node.read_on(agent),
                Err(e) if e.may_pass() => node.report(agent, e),
                _ => {}
            }
        });
        Ok(hosted)
    }

    /// Whether the bucket says that another node has an agent.
    pub(super) fn is_elsewhere(&self, agent: AgentId) -> bool {
        self.steward.is_shared(agent) && matches!(self.steward.status(agent), Ok(Custody::Elsewhere))
    }

    /// Writes down what an agent has stored here, whoever wrote it.
    pub(super) async fn note(&self, agent: AgentId) {
        if !matches!(self.store.tail(agent), Ok(Some(_))) {
            return;
        }
        if let Err(e) = self.admission.accounts().of(agent).note(&self.store).await {
            tracing::warn!(%agent, error = %e, "what an agent has stored was not written down");
        }
    }

    /// Stays with a life to its end: writes down what it stores, and stops it where that is too much.
    async fn accompany(
        self: &Arc<Self>,
        life: &Arc<Hosted>,
        stored: &Arc<Stored>,
        lease: &Lease,
        mut running: tokio::task::JoinHandle<Result<Ending, igor_spine::Error>>,
    ) -> crate::Over {
        let (agent, name) = (life.agent(), life.name());
        let (mut stopping, mut overtaken) = (false, false);
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                () = stored.news() => {}
                () = lease.revoked(), if !overtaken => {
                    overtaken = true;
                    running.abort();
                }
            }
            if let (false, Some(why)) = (stopping, stored.excess()) {
                stopping = true;
                tracing::warn!(%agent, name, why, "an agent is stopped");
                self.lives().unable.insert(agent, Unable { why, attempts: 0 });
                // It may be over already.
                drop(life.command(Command::Stop).await);
            }
            self.note(agent).await;
        };
        let cut = if overtaken { Error::Overtaken { agent } } else { Error::Vanished };
        let ended = ended.map_or(Err(cut), |ended| ended.map_err(Error::from));
        match &ended {
            Ok(Ending::Suspended { cause }) => tracing::warn!(%agent, name, cause, "an agent is suspended"),
            Ok(ending) => tracing::info!(%agent, name, ?ending, "a life is over"),
            Err(e) if matches!(e, Error::Overtaken { .. }) || e.is_overtaken() => tracing::warn!(%agent, name, "{e}"),
            Err(e) => tracing::error!(%agent, name, error = %e, "a life failed; its journal is as it was durable"),
        }
        Arc::new(ended)
    }

    /// None begins to live here, of those that are here or come in: a command is the node for a moment.
    pub fn carry_none(&self) {
        self.lives().none = true;
    }

    /// Stops every agent, since another process has this node's key: two that act as one node contradict each other.
    /// Nothing lives here from now on, nor comes in, until the node is started again.
    pub async fn suspend(&self, seen_at: String) {
        // Whoever saw it first says where.
        let _ = self.impostor.set(seen_at);
        self.shut_down().await;
    }

    /// Checkpoints and stops every agent, and waits until all have. None begins to live from then on, and none comes in.
    pub async fn shut_down(&self) {
        self.draining.send_replace(true);
        let lives: Vec<_> = {
            let mut lives = self.lives();
            lives.ending = true;
            lives.by_agent.values().cloned().collect()
        };
        let mut stopping = JoinSet::new();
        for life in lives {
            stopping.spawn(async move { life.stop().await });
        }
        stopping.join_all().await;
    }

    pub(super) fn lives(&self) -> MutexGuard<'_, Lives> {
        // No update can fail in the middle.
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an agent lives: as its operator wishes now, else as was said before, else as its manifest says.
fn settings(manifest: &Manifest, wishes: Wishes, flags: Flags, tick: Tick) -> Settings {
    Settings {
        // Faster than its owner wants to pay for breaks the journal.
        interval: wishes.interval.or(flags.interval).unwrap_or(manifest.interval).max(manifest.interval_min),
        checkpoint_interval: wishes
            .checkpoint_interval
            .or(flags.checkpoint_interval)
            .unwrap_or(manifest.checkpoint_interval),
        ticks: wishes.ticks,
        paused: flags.paused,
        // What was forgiven is what had happened then: one more failure suspends again.
        forgive: flags.forgiven == Some(tick),
    }
}
