//! The lives on one machine, as its node carries them.
//!
//! Invariants kept here:
//! - Everything that an agent appends here is appended by one task, which has its lease.
//! - A life that fails is begun again, until somebody stops it; of an agent in a bucket only by custody of its own.

use super::{
    clock::NodeWorld,
    machine::Machine,
    node::{attend, judge},
    oracle::{Oracle, short},
    planted, standby,
    storage::SimStore,
};
use crate::guest::SimProgram;
use igor_protocol::{
    AgentId, Body, Chain, Entry, Epoch, Hash, Manifest, Nanos, NodeId, Seq,
    entry::{EndCause, Genesis, Order},
    transfer::{Manner, Offer, Reason, Refusal},
};
use igor_spine::{
    Committed, Ending, Error, Life, Parts, Restored, Settings, World,
    command::{Command, Refused},
    custody::{Admission, Host, Lease},
    event::{Event, Outbox, Snapshot},
    inspect,
    moving::StoreBlobs,
};
use igor_store::{Store, files::Mode, files::SyncPoint};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot, watch};

/// What an agent may bring, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// Where branches are kept that a takeover orphaned.
pub const ASIDE: &str = "aside";

type Kept = Restored<SimProgram, SimStore, NodeWorld>;

/// The lives of a machine.
pub struct SimHost {
    machine: Arc<Machine>,
    world: Arc<NodeWorld>,
    store: Arc<SimStore>,
    lives: Mutex<BTreeMap<AgentId, Arc<Slot>>>,
    kept: Mutex<BTreeMap<AgentId, Kept>>,
    /// Agents whose custody is attended to, each with whether there is more to do since.
    attended: Mutex<BTreeMap<AgentId, bool>>,
}

/// One life and those after it, until it is stopped.
struct Slot {
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    stopping: AtomicBool,
    over: watch::Sender<Option<Result<(), String>>>,
    /// As it was shown last.
    seen: Arc<Mutex<Option<Snapshot>>>,
}

/// How a life ended, once it has.
pub type Over = watch::Receiver<Option<Result<(), String>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimHost {
    /// No lives yet.
    pub fn new(machine: Arc<Machine>, world: Arc<NodeWorld>, store: Arc<SimStore>) -> Self {
        Self { machine, world, store, lives: Mutex::default(), kept: Mutex::default(), attended: Mutex::default() }
    }

    /// The way to the life of an agent, if it has one here.
    pub fn commands(&self, agent: AgentId) -> Option<mpsc::Sender<Command>> {
        let slot = lock(&self.lives).get(&agent).cloned()?;
        lock(&slot.commands).clone()
    }

    /// The agents that live here, as each was shown last.
    pub fn seen(&self) -> Vec<Snapshot> {
        let slots: Vec<_> = lock(&self.lives).values().cloned().collect();
        slots.iter().filter_map(|slot| lock(&slot.seen).clone()).collect()
    }

    /// Whether an agent has a life here.
    pub fn carries(&self, agent: AgentId) -> bool {
        lock(&self.lives).contains_key(&agent)
    }

    /// Whether an instance of an agent is ready.
    pub fn has_kept(&self, agent: AgentId) -> bool {
        lock(&self.kept).contains_key(&agent)
    }

    /// Whether somebody is to attend to an agent from now on, since nobody does.
    pub fn begins_to_attend(&self, agent: AgentId) -> bool {
        let mut attended = lock(&self.attended);
        let begins = !attended.contains_key(&agent);
        attended.insert(agent, !begins);
        begins
    }

    /// Says that an agent was attended to, unless there is more to do.
    pub fn has_attended(&self, agent: AgentId) -> bool {
        let mut attended = lock(&self.attended);
        let more = attended.get_mut(&agent).is_some_and(std::mem::take);
        if !more {
            attended.remove(&agent);
        }
        !more
    }

    /// Begins an agent. It lives when custody says so.
    pub async fn create(&self, genesis: Genesis, manifest: Manifest, program: Vec<u8>) -> Result<(), Error> {
        let agent = genesis.body.agent_id();
        let _guard = self.machine.oracle.begins(self.machine.index, agent, Epoch::default());
        self.store.put_blob(program).await?;
        self.store.put_blob(manifest.encode()).await?;
        Life::create(self.parts(), genesis, manifest).await.map(drop)
    }

    fn parts(&self) -> Parts<SimProgram, SimStore, NodeWorld> {
        Parts {
            program: Arc::new(planted::program(self.machine.planted, self.machine.index)),
            store: self.store.clone(),
            world: self.world.clone(),
            key: self.machine.key.clone(),
        }
    }

    async fn live(
        &self,
        agent: AgentId,
        commands: &mut mpsc::Receiver<Command>,
        settings: Settings,
        seen: Arc<Mutex<Option<Snapshot>>>,
    ) -> Result<Ending, Error> {
        let kept = lock(&self.kept).remove(&agent);
        let followed = match kept {
            Some(mut kept) => kept.follow().await.is_ok().then_some(kept),
            None => None,
        };
        let life = match followed {
            Some(kept) => kept.live().await?,
            None => Life::open(self.parts(), agent).await?,
        };
        let (node, oracle) = (self.machine.index, self.machine.oracle.clone());
        let outbox = Told { node, agent, oracle, seen };
        let (never, closed) = mpsc::channel(1);
        drop(never);
        life.run(settings, std::mem::replace(commands, closed), outbox).await
    }

    /// One life after the other.
    async fn carry(&self, agent: AgentId, slot: &Slot) -> Result<(), String> {
        let mut forgive = false;
        loop {
            let (sender, mut commands) = mpsc::channel(64);
            *lock(&slot.commands) = Some(sender);
            if slot.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            let (settings, seen) = (settings(agent, forgive), slot.seen.clone());
            let ending = Box::pin(self.live(agent, &mut commands, settings, seen)).await;
            *lock(&slot.commands) = None;
            let stopping = slot.stopping.load(Ordering::Relaxed);
            forgive = false;
            match ending {
                Ok(Ending::Stopped) => return Ok(()),
                Ok(_) if stopping => return Ok(()),
                Ok(Ending::Ended(cause)) => {
                    self.machine.counts.add("agent ended");
                    if self.machine.oracle.is_shared() {
                        return Ok(()); // whoever funds it finds who has it
                    }
                    if self.wait_for_money(agent, cause, slot).await? {
                        return Ok(());
                    }
                }
                Ok(Ending::Suspended { .. }) => {
                    self.machine.counts.add("agent suspended by failures");
                    self.world.sleep(Nanos::from_secs(1)).await;
                    forgive = true;
                }
                Err(error) => {
                    judge(&self.machine, &format!("the life of {}", short(agent)), &error);
                    // What an append left that failed is not known here: it is read again, and fenced off.
                    if stopping || self.machine.oracle.is_shared() {
                        return Err(error.to_string());
                    }
                    self.world.doze(Nanos::from_millis(200), Nanos::from_secs(1)).await;
                }
            }
        }
    }

    /// Waits until an order revives the agent. Says whether it was stopped instead.
    async fn wait_for_money(&self, agent: AgentId, cause: EndCause, slot: &Slot) -> Result<bool, String> {
        let (sender, mut commands) = mpsc::channel(64);
        *lock(&slot.commands) = Some(sender);
        if slot.stopping.load(Ordering::Relaxed) {
            return Ok(true);
        }
        loop {
            match commands.recv().await {
                None | Some(Command::Stop | Command::Freeze) => return Ok(true),
                Some(Command::Order { order, answer }) => {
                    let committed = self.commit(agent, order).await;
                    let revived = matches!(committed, Ok(Ok(_)));
                    match committed {
                        Ok(taken) => drop(answer.send(taken)),
                        Err(error) => judge(&self.machine, "an order", &error),
                    }
                    if revived {
                        return Ok(false);
                    }
                }
                Some(Command::Deliver { answer, .. }) => drop(answer.send(Err(Refused::Ended(cause.name())))),
                Some(Command::Pause { answer } | Command::Resume { answer } | Command::Seal { answer }) => {
                    let _ = answer.send(());
                }
                Some(Command::Lookup { .. }) => {}
            }
        }
    }

    /// An order for an agent that does not run.
    async fn commit(&self, agent: AgentId, order: Order) -> Result<Result<Seq, Refused>, Error> {
        let end = self.store.tail(agent)?.ok_or(Error::NoJournal(agent))?;
        let read = |from| self.store.read(agent, from);
        let mut book = inspect::book_at_end(read, &StoreBlobs(&*self.store), end.next)?;
        book.append_own();
        let at = self.world.wall_clock().max(book.ledger().at);
        let mut draft = book.draft();
        let seq = match book.push(&mut draft, Entry { at, body: Body::Order(order) }) {
            Ok((seq, _)) => seq,
            Err(fault) => return Ok(Err(Refused::Order(fault))),
        };
        let bad = |fault| Error::Journal { seq, fault };
        book.push_seal(&mut draft, &self.machine.key, at).map_err(bad)?;
        self.store.append(book.commit(draft).map_err(bad)?).await?;
        Ok(Ok(seq))
    }

    fn aside(&self, agent: AgentId) -> Result<(), String> {
        let text = |e: igor_store::Error| e.to_string();
        let Some(end) = self.store.tail(agent).map_err(text)? else { return Ok(()) };
        let mut bytes = Vec::new();
        for commit in self.store.read(agent, Seq(0)).map_err(text)? {
            let commit = commit.map_err(text)?.encode();
            bytes.extend_from_slice(&(commit.len() as u64).to_be_bytes());
            bytes.extend_from_slice(&commit);
        }
        let (files, name) = (self.machine.disk.files(), format!("{}-{}-{}", short(agent), end.epoch, end.next));
        let written = || -> io::Result<()> {
            files.create_dir(ASIDE)?;
            files.sync_dir("", SyncPoint::Directories)?;
            let (unfinished, whole) = (format!("{ASIDE}/new-{name}"), format!("{ASIDE}/{name}"));
            let file = files.open(&unfinished, Mode::CreateEmpty)?;
            file.write_at(&bytes, 0)?;
            file.sync(SyncPoint::Blob)?;
            files.rename(&unfinished, &whole)?;
            files.sync_dir(ASIDE, SyncPoint::BlobName)
        };
        let written = written().map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => igor_store::Error::Full { path: files.path(""), what: name.clone() },
            _ => igor_store::Error::Io { path: files.path(&name), source },
        });
        self.machine.checked(written).map_err(text)?;
        self.machine.counts.add("branch set aside");
        self.machine.oracle.log(|| format!("n{} set {} aside up to {}", self.machine.index, short(agent), end.next));
        Ok(())
    }
}

/// How its operator wants an agent to live: each a little differently.
fn settings(agent: AgentId, forgive: bool) -> Settings {
    let [one, two, ..] = agent.0.0;
    Settings {
        interval: Nanos::from_millis(400 + 3 * u64::from(one)),
        checkpoint_interval: Nanos::from_millis(2_000 + 12 * u64::from(two)),
        ticks: None,
        paused: false,
        forgive,
    }
}

impl Host for SimHost {
    fn runtime(&self) -> String {
        SimProgram::default().runtime
    }

    async fn seal(&self, agent: AgentId) {
        let Some(commands) = self.commands(agent) else { return };
        let (answer, sealed) = oneshot::channel();
        if commands.send(Command::Seal { answer }).await.is_ok() {
            drop(sealed.await);
        }
    }

    async fn freeze(&self, agent: AgentId, checkpoint: bool) -> Result<(), String> {
        let Some(slot) = lock(&self.lives).get(&agent).cloned() else { return Ok(()) };
        slot.stopping.store(true, Ordering::Relaxed);
        let commands = lock(&slot.commands).clone();
        if let Some(commands) = commands {
            // One that is over has nothing to stop.
            drop(commands.send(if checkpoint { Command::Stop } else { Command::Freeze }).await);
        }
        let mut over = slot.over.subscribe();
        let ended = over.wait_for(Option::is_some).await.map(|ended| ended.clone());
        ended.ok().flatten().unwrap_or(Ok(()))
    }

    fn start(&self, agent: AgentId, lease: Lease) {
        let slot = Arc::new(Slot {
            commands: Mutex::default(),
            stopping: AtomicBool::new(false),
            over: watch::Sender::new(None),
            seen: Arc::default(),
        });
        lock(&self.lives).insert(agent, slot.clone());
        let Some(node) = self.machine.node() else { return };
        let (host, machine) = (node.host.clone(), self.machine.clone());
        let epoch = self.store.tail(agent).ok().flatten().map_or(Epoch::default(), |chain| chain.epoch);
        let guard = machine.oracle.begins(machine.index, agent, epoch);
        if machine.oracle.is_shared() {
            self.store.leave_room(agent, false);
            standby::collect_while(&machine, agent, slot.over.subscribe());
        }
        self.machine.spawn(async move {
            let ended = lease.unless_revoked(Box::pin(host.carry(agent, &slot))).await;
            drop(guard);
            let mut lives = lock(&host.lives);
            if lives.get(&agent).is_some_and(|now| Arc::ptr_eq(now, &slot)) {
                lives.remove(&agent);
            }
            drop(lives);
            let ended = ended.unwrap_or(Ok(()));
            let failed = ended.is_err() && machine.oracle.is_shared();
            drop(lease);
            slot.over.send_replace(Some(ended));
            if failed {
                standby::life_failed(&machine, &node, agent);
            }
        });
    }

    fn unsettled(&self, agent: AgentId) {
        if let Some(node) = self.machine.node() {
            attend(&self.machine, &node, agent);
        }
    }

    fn lists(&self, _: NodeId) -> bool {
        true
    }

    fn admit(&self, _: NodeId, _: &Offer) -> Result<Admission, Refusal> {
        let conduct = self.machine.conduct();
        if conduct.refuses {
            self.machine.counts.add("offer refused");
            return Err(Refusal::new(Reason::Capacity, "there is no room here"));
        }
        Ok(Admission { terms: conduct.terms, bytes_max: BYTES_MAX })
    }

    async fn prepare(&self, _: Hash, _: &Manifest) -> Result<(), Refusal> {
        self.world.doze(Nanos::from_millis(1), Nanos::from_millis(30)).await;
        Ok(())
    }

    fn manner(&self, _: AgentId) -> Manner {
        Manner::default()
    }

    async fn heed(&self, _: AgentId, _: Manner) -> Result<(), String> {
        Ok(())
    }

    async fn restore(&self, agent: AgentId) -> Result<(), Refusal> {
        if self.machine.conduct().spoils {
            self.machine.counts.add("restore failed");
            return Err(Refusal::new(Reason::Program, "it does not restore here today"));
        }
        let kept = lock(&self.kept).remove(&agent);
        if let Some(mut kept) = kept
            && kept.follow().await.is_ok()
        {
            lock(&self.kept).insert(agent, kept);
            return Ok(());
        }
        let restored = Restored::new(self.parts(), agent).await.map_err(|error| {
            judge(&self.machine, "a restore", &error);
            Refusal::new(Reason::Program, error)
        })?;
        lock(&self.kept).insert(agent, restored);
        Ok(())
    }

    fn forget(&self, agent: AgentId) {
        lock(&self.kept).remove(&agent);
    }

    async fn set_aside(&self, agent: AgentId, _: Chain) -> Result<(), String> {
        self.world.sleep(Nanos::from_millis(1)).await;
        self.aside(agent)
    }
}

/// What a life tells, which is held against what is durable at that moment.
struct Told {
    node: usize,
    agent: AgentId,
    oracle: Oracle,
    seen: Arc<Mutex<Option<Snapshot>>>,
}

impl Outbox for Told {
    fn release(&mut self, committed: Committed<Vec<Event>>) {
        let durable = self.oracle.tail(self.node, self.agent).map_or(Seq(0), |chain| chain.next);
        for event in committed.into_inner() {
            let told = match &event {
                Event::Tick(tick) => {
                    self.oracle.announced(self.node, self.agent, tick);
                    Some(tick.seq)
                }
                Event::MessageClosed { message, .. } => Some(*message),
                Event::Started { resumed: true, replayed, .. } => {
                    self.oracle.recovered(*replayed);
                    None
                }
                Event::Checkpoint { .. } => {
                    self.oracle.checkpointed();
                    None
                }
                _ => None,
            };
            if told.is_some_and(|seq| seq >= durable) {
                self.oracle.violate(format!("{event:?} was told at node {} before it was durable", self.node));
            }
        }
    }

    fn watch(&mut self, snapshot: &Snapshot) {
        self.oracle.show(self.node, snapshot);
        *lock(&self.seen) = Some(snapshot.clone());
    }

    fn appended(&mut self, _: Nanos) {}
}
