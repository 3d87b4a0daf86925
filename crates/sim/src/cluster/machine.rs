//! One machine: what outlives its processes, how it goes down and how it starts again.
//!
//! Invariants kept here:
//! - Of a process that was killed nothing is left but what the disk has.
//! - A process whose store cannot say what is durable ends, as the real one does.

use super::{
    bucket::{Cloud, NodeBucket},
    clock::{NodeWorld, Skew},
    counts::Counts,
    dice::Dice,
    host::SimHost,
    kernel::{Kernel, TaskId},
    net::{Net, SimPeers},
    node,
    oracle::Oracle,
    planted::Planted,
    standby::Standby,
    storage::{NodeStore, SimStore, note_in},
};
use crate::files::{Crash, Refused, SimDisk};
use igor_protocol::{AgentId, KeyPair, Nanos, NodeId, Terms, custody::Rules, slot::Nonce};
use igor_spine::{World, custody::Steward};
use igor_store::{
    Error, Store,
    shared::{Shared, Wing},
};
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Slots that are worth a bundle: few, so that much is collected in a short life.
const BUNDLE_SLOTS_MIN: u64 = 6;

/// Custody on one machine.
pub type SimSteward = Steward<SimStore, NodeWorld, SimPeers, SimHost>;

/// What its operator wants, and what is wrong with it now.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// Its price.
    pub terms: Terms,
    /// It takes no agents.
    pub refuses: bool,
    /// No agent restores here.
    pub spoils: bool,
    /// It goes on with agents of others, and looks after its own.
    pub stands_by: bool,
    /// Its syncs take so many times as long.
    pub slow_disk: u64,
    /// How it goes down if its disk takes it down.
    pub crash: Crash,
    /// How long it is down then.
    pub down_for: Nanos,
}

/// A process that is up.
pub struct Node {
    /// Its clocks.
    pub world: Arc<NodeWorld>,
    /// Its store.
    pub store: Arc<SimStore>,
    /// The lives that it carries.
    pub host: Arc<SimHost>,
    /// Its custody.
    pub steward: Arc<SimSteward>,
    /// What it knows of agents of others.
    pub standby: Standby,
}

/// A machine.
pub struct Machine {
    /// Its number.
    pub index: usize,
    /// Its key.
    pub key: Arc<KeyPair>,
    /// Its disk.
    pub disk: SimDisk,
    /// How far its wall clock is off.
    pub skew: Skew,
    /// The cluster's scheduler.
    pub kernel: Kernel,
    /// The network.
    pub net: Net,
    /// Who sees everything.
    pub oracle: Oracle,
    /// What happened.
    pub counts: Counts,
    rules: Rules,
    cloud: Option<Cloud>,
    /// A mistake that it makes, for a test.
    pub planted: Option<Planted>,
    conduct: Mutex<Conduct>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    boot: u64,
    up: bool,
    /// It does not start again by itself.
    held_down: bool,
    /// Its store does not open any more.
    ruined: bool,
    node: Option<Arc<Node>>,
    removing: BTreeSet<AgentId>,
}

/// What a machine is made of.
pub struct Make {
    /// Its number.
    pub index: usize,
    /// Decides everything about it.
    pub seed: u64,
    /// Its price at first.
    pub terms: Terms,
    /// The rules of custody that its process keeps.
    pub rules: Rules,
    /// A mistake that it makes.
    pub planted: Option<Planted>,
}

impl Machine {
    /// A machine with an empty disk, which is not up yet.
    pub fn new(make: &Make, net: Net, oracle: Oracle, counts: Counts, cloud: Option<Cloud>) -> Arc<Self> {
        let kernel = net.kernel.clone();
        let Make { index, seed, terms, rules, planted } = *make;
        let mut dice = Dice::new(seed, 0x6d61_6368 + index as u64);
        let conduct = Conduct {
            terms,
            refuses: false,
            spoils: false,
            stands_by: true,
            slow_disk: 1,
            crash: Crash::Power,
            down_for: Nanos::from_secs(1),
        };
        let disk = SimDisk::new(dice.number());
        if let Some(planted) = planted {
            planted.on(&disk);
        }
        let removing = BTreeSet::new();
        let state = State { dice, boot: 0, up: false, held_down: false, ruined: false, node: None, removing };
        Arc::new(Self {
            index,
            key: Arc::new(key(index)),
            disk,
            skew: Skew::default(),
            kernel,
            net,
            oracle,
            counts,
            rules,
            cloud,
            planted,
            conduct: Mutex::new(conduct),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name in the network.
    pub fn id(&self) -> NodeId {
        self.key.public()
    }

    /// What its operator wants, and what is wrong with it.
    pub fn conduct(&self) -> Conduct {
        *self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes that.
    pub fn change(&self, change: impl FnOnce(&mut Conduct)) {
        change(&mut self.conduct.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A task of its process.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> TaskId {
        self.kernel.spawn(Some(self.index), work)
    }

    /// Its process, if it is up.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.state().node.clone()
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.state().up
    }

    /// Whether its store does not open any more.
    pub fn is_ruined(&self) -> bool {
        self.state().ruined
    }

    /// Whether it waits for somebody to start it.
    pub fn is_held_down(&self) -> bool {
        self.state().held_down
    }

    /// How long a sync takes at most.
    pub(super) fn sync_time(&self, usual: Nanos) -> Nanos {
        Nanos(usual.0.saturating_mul(self.conduct().slow_disk))
    }

    /// Looks what an operation of the store says about the machine.
    pub(super) fn checked<T>(self: &Arc<Self>, done: Result<T, Error>) -> Result<T, Error> {
        let Refused { full, failed } = self.disk.take_refused();
        self.counts.add_many("write refused by a full disk", full);
        self.counts.add_many("sync that failed", failed);
        if self.disk.is_down() {
            self.kernel.halt(self.index);
            let (machine, boot) = (self.clone(), self.state().boot);
            // Not a task of its own: those are not polled any more.
            self.kernel.spawn(None, async move {
                let Conduct { crash, down_for, .. } = machine.conduct();
                let killed = machine.kill_boot(boot, crash, Some(down_for));
                machine.counts.add_many("crash in a write", u64::from(killed));
            });
        } else if let Err(Error::Poisoned { why }) = &done {
            self.must_end(why.clone());
        }
        done
    }

    /// What moves full segments failed.
    pub(super) fn mover_failed(self: &Arc<Self>, error: &Error) {
        if !matches!(error, Error::Full { .. }) && !self.disk.is_down() {
            self.must_end(error.to_string());
        }
    }

    /// The process has to end, and a new one recovers.
    fn must_end(self: &Arc<Self>, why: String) {
        let (machine, boot) = (self.clone(), self.state().boot);
        self.kernel.spawn(None, async move {
            let wait = Nanos(machine.state().dice.below(20_000_000));
            machine.kernel.sleep(wait).await;
            if machine.is_boot(boot) {
                machine.oracle.log(|| format!("n{} must end: {why}", machine.index));
                machine.kill_boot(boot, Crash::Process, Some(Nanos::from_millis(500)));
            }
        });
    }

    /// A removal of this journal was asked for.
    pub(super) fn removing(&self, agent: AgentId) {
        self.state().removing.insert(agent);
    }

    /// Whether a journal that was there may be gone.
    pub(super) fn may_be_gone(&self, agent: AgentId) -> bool {
        self.state().removing.contains(&agent)
    }

    /// A local value was stored.
    pub(super) fn noted(&self, bytes: &[u8]) {
        if let Some((agent, note)) = note_in(bytes) {
            self.oracle.noted(self.index, agent, &note);
        }
    }

    fn is_boot(&self, boot: u64) -> bool {
        let state = self.state();
        state.up && state.boot == boot
    }

    /// Says whether that process was still up.
    fn kill_boot(self: &Arc<Self>, boot: u64, crash: Crash, down_for: Option<Nanos>) -> bool {
        self.is_boot(boot) && self.kill(crash, down_for)
    }

    /// Takes it down. It starts again after this time, or when somebody does it. Says whether it was up.
    pub fn kill(self: &Arc<Self>, crash: Crash, down_for: Option<Nanos>) -> bool {
        let (boot, node) = {
            let mut state = self.state();
            if !state.up {
                return false;
            }
            state.up = false;
            state.held_down = down_for.is_none();
            (state.boot, state.node.take())
        };
        self.oracle.log(|| format!("n{} goes down: {crash:?}", self.index));
        self.net.leave(self.index, crash == Crash::Power);
        if let Some(cloud) = &self.cloud {
            cloud.process(self.index, None);
        }
        self.kernel.kill(self.index);
        drop(node);
        let before = self.disk.losses();
        self.disk.restart(crash);
        let after = self.disk.losses();
        self.counts.add_many("unsynced write lost", after.lost - before.lost);
        self.counts.add_many("write torn", after.torn - before.torn);
        if let Some(time) = down_for {
            let machine = self.clone();
            self.kernel.spawn(None, async move {
                machine.kernel.sleep(time).await;
                if machine.state().boot == boot {
                    machine.boot();
                }
            });
        }
        true
    }

    /// Lets its disk do what it promises, though it was to fail.
    pub fn spare(&self) {
        self.disk.crash_at(None);
        self.disk.spare();
    }

    /// Takes it out of service for good.
    pub fn retire(self: &Arc<Self>) {
        self.kill(Crash::Process, None);
        self.state().ruined = true;
        self.oracle.gone(self.index);
    }

    /// Starts it, if it is down.
    pub fn boot(self: &Arc<Self>) {
        let (boot, dice) = {
            let mut state = self.state();
            if state.up || state.ruined {
                return;
            }
            state.up = true;
            state.held_down = false;
            state.boot += 1;
            (state.boot, Dice::new(state.dice.number(), state.boot))
        };
        self.kernel.power_on(self.index);
        let world = Arc::new(NodeWorld::new(self.kernel.clone(), self.skew.clone(), dice));
        let wing = self.cloud.clone().map(|cloud| self.wing(cloud, &world, boot));
        let store = match NodeStore::open(self, &world).and_then(|disk| Shared::open(disk, wing)) {
            Ok(store) => Arc::new(store),
            Err(error) => return self.does_not_open(&error),
        };
        self.oracle.log(|| format!("n{} is up", self.index));
        store.disk().check_recovered(&self.oracle);
        for name in store.list_local().unwrap_or_default() {
            // What was durable before anybody was told of it.
            if let Some(bytes) = store.get_local(&name).ok().flatten() {
                self.noted(&bytes);
            }
        }
        self.state().removing.clear();
        let host = Arc::new(SimHost::new(self.clone(), world.clone(), store.clone()));
        let peers = Arc::new(SimPeers::new(self.net.clone(), self.index));
        let steward = Steward::new(self.key.clone(), store.clone(), world.clone(), peers, host.clone());
        let steward = Arc::new(steward.keeping(self.rules));
        let node = Arc::new(Node { world, store, host, steward, standby: Standby::default() });
        self.state().node = Some(node.clone());
        node::begin(self, &node);
    }

    /// The bucket, for a process that begins.
    fn wing(&self, cloud: Cloud, world: &Arc<NodeWorld>, boot: u64) -> Wing<NodeBucket> {
        let mut nonce = Nonce([0; 16]);
        world.random(&mut nonce.0);
        let (id, hasty) = (cloud.id(), self.planted == Some(Planted::AnswersBeforePut));
        let bucket = NodeBucket::new(cloud, world.clone(), self.index, boot, hasty);
        Wing { bucket, id, key: self.key.clone(), nonce, bundle_slots_min: BUNDLE_SLOTS_MIN }
    }

    fn does_not_open(self: &Arc<Self>, error: &Error) {
        if self.disk.is_down() {
            return; // and goes on as after every crash
        }
        self.oracle.log(|| format!("n{} does not start: {error}", self.index));
        match error {
            Error::Full { .. } | Error::Poisoned { .. } => {
                self.kill(Crash::Process, Some(Nanos::from_secs(1)));
            }
            error if self.oracle.is_rotten(self.index) => {
                self.counts.add("bit rot reported at a start");
                self.oracle.log(|| format!("n{} is ruined: {error}", self.index));
                self.retire();
            }
            error => {
                self.oracle.violate(format!("node {} does not start: {error}", self.index));
                self.kill(Crash::Process, None);
            }
        }
    }
}

/// The key of a machine.
pub fn key(index: usize) -> KeyPair {
    KeyPair::from_seed(&[u8::try_from(index + 10).unwrap_or(u8::MAX); 32])
}
