//! Everything of one simulated cluster, and the agents that live on it.

use super::{
    Options,
    bucket::Cloud,
    counts::Counts,
    dice::Dice,
    kernel::Kernel,
    machine::{Machine, Make, key},
    net::Net,
    oracle::Oracle,
    plan::Plan,
    truth::{STORE, Truth},
};
use igor_protocol::{
    AgentId, Credits, Fuel, Hash, KeyPair, Manifest, Nanos, Terms, Timestamp,
    entry::{Genesis, GenesisBody, Policy, Standby, StoreKind},
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::{Notify, watch};

/// What every simulated program is made of.
pub(super) const PROGRAM: &[u8] = b"a simulated program";

/// A cluster and the world around it.
pub struct Stage {
    /// The seed.
    pub seed: u64,
    /// What is done to it.
    pub plan: Plan,
    /// The scheduler.
    pub kernel: Kernel,
    /// The network.
    pub net: Net,
    /// Who sees everything.
    pub oracle: Oracle,
    /// What happened.
    pub counts: Counts,
    /// The bucket that the agents' journals are in, in a cluster that has one.
    pub cloud: Option<Cloud>,
    /// The machines.
    pub machines: Vec<Arc<Machine>>,
    /// The agents.
    pub agents: Vec<Agent>,
    calm: watch::Sender<bool>,
    /// No operation begins before this moment.
    hold_until: AtomicU64,
    /// Operations that are not over.
    pub under_way: AtomicU64,
    /// Faults that were done at once, and not only prepared.
    pub faults: AtomicU64,
    /// Moves that came to their end.
    pub moves: AtomicU64,
    phases: Mutex<Phases>,
    /// Where each agent was stopped at the end.
    pub settled: Mutex<Vec<(usize, usize)>>,
    /// A move came to another phase.
    pub phase: Notify,
}

/// An agent, and its owner.
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// How it begins.
    pub genesis: Genesis,
    /// What it may do.
    pub manifest: Manifest,
    /// Its owner's key, which signs its money too.
    pub owner: KeyPair,
    /// Messages for it, at least.
    pub messages: u64,
    /// The counter of the owner's last order.
    pub orders: AtomicU64,
    /// A takeover of it is under way.
    pub taken: AtomicBool,
    /// Messages that were acknowledged, on the branch that the sender knows.
    pub sent: AtomicU64,
    /// The term in which the sender was answered last.
    pub answered_in: AtomicU64,
}

/// Source, target, and the moment of each phase.
type Begun = (usize, usize, [Option<Nanos>; 4]);

#[derive(Default)]
struct Phases {
    /// Source and target of each move that was begun, and when it came to each phase.
    moves: Vec<Option<Begun>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// The cluster of a seed. Nothing runs yet.
    pub fn new(seed: u64, plan: Plan, options: &Options) -> Arc<Self> {
        let mut dice = Dice::new(seed, 3);
        let kernel = Kernel::new(seed, plan.nodes);
        let counts = Counts::default();
        let truth = plan.bucket.then(Truth::default);
        let oracle = Oracle::new(kernel.clone(), counts.clone(), plan.forks, truth, options.prints);
        let cloud = || Cloud::new(kernel.clone(), counts.clone(), oracle.clone(), seed, plan.nodes, options.slots);
        let cloud = plan.bucket.then(cloud);
        let names = (0..plan.nodes).map(|node| key(node).public()).collect();
        let net = Net::new(kernel.clone(), counts.clone(), Dice::new(seed, 4), names);
        let machines: Vec<_> = (0..plan.nodes)
            .map(|index| {
                let make =
                    Make { index, seed, terms: terms(&mut dice), rules: options.rules, planted: options.planted };
                Machine::new(&make, net.clone(), oracle.clone(), counts.clone(), cloud.clone())
            })
            .collect();
        for machine in &machines {
            // Half an hour ahead or behind at most.
            let skew = dice.below(3_600_000_000_000).cast_signed() - 1_800_000_000_000;
            machine.skew.store(skew, Ordering::Relaxed);
        }
        let mut others = plan.bucket.then(|| Dice::new(seed, 0x7374_616e));
        let agents = (0..plan.agents).map(|number| Agent::new(&mut dice, number, &machines, others.as_mut())).collect();
        Arc::new(Self {
            seed,
            plan,
            kernel,
            net,
            oracle,
            counts,
            cloud,
            machines,
            agents,
            calm: watch::Sender::new(false),
            hold_until: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            moves: AtomicU64::new(0),
            phases: Mutex::default(),
            settled: Mutex::default(),
            phase: Notify::new(),
        })
    }

    /// Faults that really happened so far.
    pub fn faults_done(&self) -> u64 {
        let prepared = self.counts.of("crash in a write") + self.counts.of("sync that failed");
        self.faults.load(Ordering::Relaxed) + prepared
    }

    /// Whether faults are over.
    pub fn is_calm(&self) -> bool {
        *self.calm.borrow()
    }

    /// Faults are over from now on.
    pub fn becomes_calm(&self) {
        self.calm.send_replace(true);
    }

    /// Comes back at this moment, or when faults are over.
    pub async fn rest_until(&self, moment: Nanos) {
        let mut calm = self.calm.subscribe();
        tokio::select! {
            biased;
            _ = calm.wait_for(|calm| *calm) => {}
            () = self.kernel.sleep_until(moment) => {}
        }
    }

    /// Comes back after this time, or when faults are over.
    pub async fn rest(&self, time: Nanos) {
        self.rest_until(self.kernel.now().saturating_add(time)).await;
    }

    /// Lets no operation begin for this time.
    pub fn hold(&self, time: Nanos) {
        self.hold_until.fetch_max(self.kernel.now().saturating_add(time).0, Ordering::Relaxed);
    }

    /// Comes back when operations may begin.
    pub async fn held(&self) {
        loop {
            let until = Nanos(self.hold_until.load(Ordering::Relaxed));
            if self.kernel.now() >= until || self.is_calm() {
                return;
            }
            self.rest_until(until).await;
        }
    }

    /// Drops everything, so that nothing holds on to anything else.
    pub fn strike(&self) {
        self.machines.iter().for_each(super::machine::Machine::retire);
        self.kernel.clear();
    }

    /// Where an agent lives.
    pub fn home(&self, agent: usize) -> Option<usize> {
        self.oracle.lives(self.agents[agent % self.agents.len()].id).first().copied()
    }

    /// A move of the plan came to a phase.
    pub fn reached(&self, number: usize, source: usize, target: usize, phase: usize) {
        let now = self.kernel.now();
        let mut phases = lock(&self.phases);
        if phases.moves.len() <= number {
            phases.moves.resize(number + 1, None);
        }
        let reached = phases.moves[number].get_or_insert((source, target, [None; 4]));
        reached.2[phase].get_or_insert(now);
        drop(phases);
        self.phase.notify_waiters();
    }

    /// Source and target of a move, once it came to this phase.
    pub fn in_phase(&self, number: usize, phase: u8) -> Option<(usize, usize)> {
        let phases = lock(&self.phases);
        let (source, target, reached) = (*phases.moves.get(number)?)?;
        reached[usize::from(phase)].map(|_| (source, target))
    }
}

/// A price.
pub(super) fn terms(dice: &mut Dice) -> Terms {
    Terms { price_per_ns: 1 + dice.below(5), price_per_fuel: dice.below(3) }
}

/// Who goes on with an agent: mostly every machine, in some order or in none.
fn line(dice: &mut Dice, machines: &[Arc<Machine>]) -> Standby {
    let (first, all) = (dice.index(machines.len()), machines.len());
    let count = if dice.permille(250) { 2 } else { all };
    let nodes = (0..count).map(|place| machines[(first + place) % all].id()).collect();
    let silent_for = dice.permille(400).then(|| Nanos::from_millis(dice.within(600, 2_000)));
    Standby { nodes, any_order: dice.permille(400), silent_for }
}

impl Agent {
    fn new(dice: &mut Dice, number: usize, machines: &[Arc<Machine>], shared: Option<&mut Dice>) -> Self {
        let (store, standby) = match shared {
            Some(dice) => (StoreKind::Bucket(STORE), line(dice, machines)),
            None => (StoreKind::Disk, Standby::default()),
        };
        let mut manifest = Manifest::default();
        manifest.limits.tick_fuel = Fuel(100_000);
        manifest.limits.message_bytes = 64;
        manifest.limits.log_bytes = 512;
        let owner = KeyPair::from_seed(&[u8::try_from(100 + number).unwrap_or(u8::MAX); 32]);
        let host = &machines[dice.index(machines.len())];
        // Poor ones need money soon.
        let budget = if dice.permille(300) { dice.within(60_000, 300_000) } else { 1 << 60 };
        let body = GenesisBody {
            owner: owner.public(),
            nonce: [u8::try_from(number).unwrap_or(0); 16],
            name: format!("sim-{number}"),
            program: Hash::of_blob(PROGRAM),
            manifest: manifest.hash(),
            runtime: "sim-1".to_owned(),
            custodian: host.id(),
            terms: host.conduct().terms,
            budget: Credits::from_units(u128::from(budget)),
            issuer: owner.public(),
            policy: Policy { standby, ..Policy::default() },
            expires: Timestamp(u64::MAX),
            store,
        };
        let id = body.agent_id();
        let genesis = body.sign(&owner, &host.key);
        let messages = 20 + dice.below(60);
        Self {
            id,
            genesis,
            manifest,
            owner,
            messages,
            orders: AtomicU64::new(0),
            taken: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            answered_in: AtomicU64::new(0),
        }
    }

    /// The counter of the owner's next order.
    pub fn next_order(&self) -> u64 {
        self.orders.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The machine that it begins at.
    pub fn first(&self, machines: &[Arc<Machine>]) -> Option<Arc<Machine>> {
        machines.iter().find(|machine| machine.id() == self.genesis.body.custodian).cloned()
    }
}
