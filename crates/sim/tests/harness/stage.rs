//! One agent with a program of a few lines, lived as a test wants it, and its journal afterwards.

use super::{Medium, TERMS, book_of, keys};
use igor_protocol::{
    AgentId, Body, Commit, Credits, Entry, Fuel, Hash, KeyPair, Manifest, Nanos, Seq, Timestamp,
    entry::{Failure, Genesis, GenesisBody, Policy, Run, StoreKind},
    ledger::Book,
};
use igor_sim::{
    executor::{self, Run as Ran, point},
    memory::MemoryStore,
    world::SimWorld,
};
use igor_spine::{
    Committed, Ending, Error, Life, Parts, Settings, World,
    command::Command,
    event::{Event, Outbox, Snapshot},
    guest::{Ended, Guest, Input, Membrane, Program, Report, Stop},
    replay::{self, Execution},
};
use igor_store::Store;
use std::{
    future::Future,
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc;

/// A tick: what it does, given how many counted before it.
pub type Act = fn(u64, &dyn Membrane) -> Result<Ended, Stop>;

/// A program whose state is the number of its ticks.
#[derive(Clone, Copy)]
pub struct Script {
    pub runtime: &'static str,
    pub act: Act,
    /// How often a tick yields before it acts.
    pub points: u32,
    /// What `agent_checkpoint` and `agent_resume` do.
    pub states: States,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum States {
    Good,
    CheckpointTraps,
    ResumeTraps,
}

/// A program that does this in its ticks.
pub fn script(act: Act) -> Script {
    Script { runtime: "r1", act, points: 1, states: States::Good }
}

/// What a tick returns that has nothing more to do.
pub const DONE: Ended = Ended::Returned { more_work: false };

pub struct ScriptGuest {
    script: Script,
    ticks: u64,
}

impl Program for Script {
    type Guest = ScriptGuest;

    fn instantiate(&self) -> ScriptGuest {
        ScriptGuest { script: *self, ticks: 0 }
    }

    fn can_checkpoint(&self) -> bool {
        true
    }

    fn runtime(&self) -> &str {
        self.runtime
    }
}

impl Guest for ScriptGuest {
    async fn run(&mut self, input: Input, _: Fuel, membrane: Arc<dyn Membrane>) -> Report {
        let trap = |why: &str| Ended::Failed(Failure::Trap, why.to_owned());
        let ended = match (input, self.script.states) {
            (Input::Init, _) => DONE,
            (Input::Checkpoint, States::CheckpointTraps) => trap("no state"),
            (Input::Resume(_), States::ResumeTraps) => trap("not this state"),
            (Input::Checkpoint, _) => Ended::State(self.ticks.to_le_bytes().to_vec()),
            (Input::Resume(state), _) => match state.try_into() {
                Ok(state) => {
                    self.ticks = u64::from_le_bytes(state);
                    DONE
                }
                Err(_) => trap("not my state"),
            },
            (Input::Tick(_), _) => {
                for _ in 0..self.script.points {
                    point().await;
                }
                self.ticks += 1;
                (self.script.act)(self.ticks - 1, &*membrane).unwrap_or_else(Ended::Stopped)
            }
        };
        Report { ended, fuel: Fuel(10) }
    }

    fn fuel_used(&self) -> Fuel {
        Fuel(10)
    }
}

/// Keeps what is released, with the moment.
struct Heard {
    world: Arc<SimWorld>,
    events: Arc<Mutex<Vec<(Nanos, Event)>>>,
}

impl Outbox for Heard {
    fn release(&mut self, committed: Committed<Vec<Event>>) {
        let now = self.world.monotonic();
        let mut events = self.events.lock().expect("one thread");
        events.extend(committed.into_inner().into_iter().map(|event| (now, event)));
    }

    fn watch(&mut self, _: &Snapshot) {}

    fn appended(&mut self, _: Nanos) {}
}

/// An interval between ticks, a checkpoint only at the end, and so many ticks that count.
pub fn settings(interval: Nanos, ticks: Option<u64>) -> Settings {
    let checkpoint_interval = Nanos::from_secs(1_000_000);
    Settings { interval, checkpoint_interval, ticks, paused: false, forgive: false }
}

/// Where one agent lives.
pub struct Stage {
    pub world: Arc<SimWorld>,
    pub store: Arc<MemoryStore>,
    pub agent: AgentId,
    /// What was released, and when.
    pub heard: Arc<Mutex<Vec<(Nanos, Event)>>>,
    manifest: Manifest,
    genesis: Genesis,
}

impl Stage {
    /// An agent with this manifest and budget, in a world where an append takes so long.
    pub fn new(manifest: Manifest, budget: Credits, latency: Nanos) -> Self {
        Self::in_store(StoreKind::Disk, manifest, budget, latency)
    }

    /// As [`Stage::new`], where the journal is in such a store.
    pub fn in_store(store: StoreKind, manifest: Manifest, budget: Credits, latency: Nanos) -> Self {
        let world = super::world(1);
        let (owner, node) = keys();
        let genesis = GenesisBody {
            owner: owner.public(),
            nonce: [7; 16],
            name: "stage".to_owned(),
            program: Hash::of_blob(b"script"),
            manifest: manifest.hash(),
            runtime: "r1".to_owned(),
            custodian: node.public(),
            terms: TERMS,
            budget,
            issuer: owner.public(),
            policy: Policy::default(),
            expires: Timestamp(u64::MAX),
            store,
        };
        let store = Arc::new(MemoryStore::slow(world.clone(), latency));
        let (agent, heard) = (genesis.agent_id(), Arc::default());
        Self { world, store, agent, heard, manifest, genesis: genesis.sign(&owner, &node) }
    }

    /// As the manifest says, with money enough.
    pub fn with(manifest: Manifest) -> Self {
        Self::new(manifest, Credits::from_units(1 << 100), Nanos::ZERO)
    }

    /// One life, killed after so many polls; gives how it ended unless it was killed.
    pub fn live<P: Program, F: Future<Output = ()>>(
        &self,
        program: P,
        settings: Settings,
        polls: Option<u64>,
        driver: impl FnOnce(mpsc::Sender<Command>) -> F,
    ) -> Option<Result<Ending, Error>> {
        let (commands, receiver) = mpsc::channel(64);
        // Kept, so that a driver which is done does not stop the agent.
        let kept = commands.clone();
        let parts = Parts {
            program: Arc::new(program),
            store: self.store.clone(),
            world: self.world.clone(),
            key: Arc::new(KeyPair::from_seed(&[2; 32])),
        };
        self.heard.lock().expect("one thread").clear();
        let main = async {
            let life = if self.store.tail(self.agent)?.is_none() {
                self.store.put_blob(self.manifest.encode()).await?;
                Life::create(parts, self.genesis.clone(), self.manifest.clone()).await?
            } else {
                Life::open(parts, self.agent).await?
            };
            life.run(settings, receiver, Heard { world: self.world.clone(), events: self.heard.clone() }).await
        };
        let (ran, _) = executor::run(&self.world, polls, main, &mut [Box::pin(driver(commands))]);
        drop(kept);
        self.world.restart(Nanos::ZERO);
        match ran {
            Ran::Done(result) => Some(result),
            Ran::Crashed => None,
        }
    }

    /// A life to its end, which the settings or the driver bring about.
    pub fn ends<P: Program, F: Future<Output = ()>>(
        &self,
        program: P,
        settings: Settings,
        driver: impl FnOnce(mpsc::Sender<Command>) -> F,
    ) -> Ending {
        let ended = self.live(program, settings, Some(1_000_000), driver).expect("it comes to an end");
        ended.expect("the spine keeps its own rules")
    }

    /// Every entry of the journal.
    pub fn entries(&self) -> Vec<(Seq, Entry)> {
        let commits = self.store.commits(self.agent);
        let entries = commits.iter().flat_map(Commit::entries);
        entries.map(|(seq, _, encoded)| (seq, Entry::decode(encoded).expect("an entry"))).collect()
    }

    /// Every run of the journal.
    pub fn runs(&self) -> Vec<Run> {
        let runs = self.entries().into_iter().filter_map(|(_, entry)| match entry.body {
            Body::Run(run) => Some(run),
            _ => None,
        });
        runs.collect()
    }

    /// Every tick of the journal.
    pub fn ticks(&self) -> Vec<Run> {
        self.runs().into_iter().filter(|run| run.call.is_tick()).collect()
    }

    /// The book at the journal's end, verified.
    pub fn book(&self) -> Book {
        book_of(&*self.store, self.agent)
    }

    /// Verifies the journal and executes it with a program.
    pub fn execute<P: Program>(&self, program: P) -> Execution {
        let commits = Medium::commits(&*self.store, self.agent).into_iter().map(Ok::<_, Error>);
        let load = |_: &Book| Ok(Arc::new(program));
        let executing = replay::execute(commits, &*self.store, load, None, |_| {});
        match executor::run(&SimWorld::new(0, Timestamp(0)), None, executing, &mut []).0 {
            Ran::Done(executed) => executed.expect("the journal stands"),
            Ran::Crashed => unreachable!("never killed"),
        }
    }

    /// As [`Stage::execute`], where nothing may be left out.
    pub fn execute_all<P: Program>(&self, program: P) {
        let execution = self.execute(program);
        assert_eq!(execution.skipped, 0);
        assert_eq!(execution.executed > 0, !self.runs().is_empty());
    }
}

/// A driver that does nothing.
pub fn nobody(_: mpsc::Sender<Command>) -> impl Future<Output = ()> {
    std::future::ready(())
}
