//! Lives an agent through crashes, with a sender that never gives up, and checks what is left.
#![allow(missing_docs, unreachable_pub, dead_code)] // each test uses its part of it

pub mod forge;
pub mod stage;

use igor_protocol::{
    AgentId, Body, Commit, Credits, Entry, Fuel, Hash, KeyPair, Manifest, Nanos, Seq, Terms, Tick, Timestamp,
    entry::{Action, GenesisBody, MessageId, OrderBody, Policy, Sender, StoreKind},
    ledger::{Book, Fault},
    verify::{Blobs, Verifier},
};
use igor_sim::{
    executor::{self, Run},
    guest::SimProgram,
    memory::MemoryStore,
    random::Random,
    world::SimWorld,
};
use igor_spine::{
    Committed, Ending, Error, Life, Parts, Settings, World,
    command::{Command, Delivered, Parcel, Refused},
    event::{Event, Outbox, Snapshot},
    replay,
};
use igor_store::Store;
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
};
use tokio::sync::{mpsc, oneshot};

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub messages: Vec<&'static str>,
    pub ticks: u64,
    pub budget: Credits,
    pub fund: Option<Credits>,
    pub can_checkpoint: bool,
    /// Kill after so many polls on average, again and again.
    pub kill_every: Option<u64>,
    pub wall_jump_back: Nanos,
    /// Wait until a message was closed before sending the next.
    pub one_by_one: bool,
    pub interval: Nanos,
    /// How long an append takes, where the life is lived in memory.
    pub latency: Nanos,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 0,
            messages: Vec::new(),
            ticks: 10,
            budget: Credits::from_units(1_000_000_000_000),
            fund: None,
            can_checkpoint: true,
            kill_every: None,
            wall_jump_back: Nanos::ZERO,
            one_by_one: false,
            interval: Nanos::from_millis(20),
            latency: Nanos::ZERO,
        }
    }
}

/// A store that a life can be lived on.
pub trait Medium: Store + Blobs {
    /// Every commit of a journal, durable now.
    fn commits(&self, agent: AgentId) -> Vec<Commit> {
        match self.read(agent, Seq(0)) {
            Ok(commits) => commits.collect::<Result<_, _>>().expect("a whole journal"),
            Err(igor_store::Error::Unknown { .. }) => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }
}

impl<S: Store + Blobs> Medium for S {}

/// What happened.
pub struct Plan<S = MemoryStore> {
    pub store: Arc<S>,
    pub agent: AgentId,
    /// Every tick that was announced: its number, position and head.
    pub announced: Vec<(Tick, Seq, Hash)>,
    /// What the answers to the sender vouched for: a position and the head there.
    pub vouched: Vec<(Seq, Hash)>,
    pub endings: Vec<Ending>,
    pub delivered: usize,
    pub kills: u64,
}

impl<S: Medium> Plan<S> {
    pub fn head(&self) -> Hash {
        self.store.commits(self.agent).last().expect("a journal").head()
    }
}

/// Collects what is released, and checks at once that it is durable.
struct CheckingOutbox<S> {
    store: Arc<S>,
    agent: AgentId,
    announced: Arc<Mutex<Vec<(Tick, Seq, Hash)>>>,
}

impl<S: Medium> Outbox for CheckingOutbox<S> {
    fn release(&mut self, committed: Committed<Vec<Event>>) {
        let next = self.store.tail(self.agent).expect("an open store").map_or(Seq(0), |tail| tail.next);
        for event in committed.into_inner() {
            match event {
                Event::Tick(tick) => {
                    assert!(tick.seq < next, "tick {} was released before it was durable", tick.tick);
                    self.announced.lock().expect("one thread").push((tick.tick, tick.seq, tick.head));
                }
                Event::MessageClosed { message, .. } => assert!(message < next),
                _ => {}
            }
        }
    }

    fn watch(&mut self, _: &Snapshot) {}

    fn appended(&mut self, _: Nanos) {}
}

pub const TERMS: Terms = Terms { price_per_ns: 3, price_per_fuel: 2 };

pub fn keys() -> (KeyPair, KeyPair) {
    (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]))
}

fn manifest() -> Manifest {
    let mut manifest = Manifest::default();
    manifest.limits.tick_fuel = Fuel(1_000_000);
    manifest.limits.message_bytes = 64;
    // Soon reached: every life goes over it, and there are many lives.
    manifest.limits.log_bytes = 512;
    manifest
}

/// The world that a seed gives.
pub fn world(seed: u64) -> Arc<SimWorld> {
    Arc::new(SimWorld::new(seed, Timestamp(1_700_000_000_000_000_000)))
}

/// Lives in memory; see [`live_on`].
pub fn live(scenario: &Scenario, kill_at: Option<u64>) -> (Plan, u64) {
    let world = world(scenario.seed);
    let store = MemoryStore::slow(world.clone(), scenario.latency);
    live_on(Arc::new(store), &world, scenario, kill_at, |_| false)
}

/// Lives until the ticks are done (or the agent ended for good), through every crash. Gives the polls of the first
/// life. `restart` is called before the first life and after each, told whether it was killed; it leaves the store
/// open, and says whether that had gone down by itself.
pub fn live_on<S: Medium>(
    store: Arc<S>,
    world: &Arc<SimWorld>,
    scenario: &Scenario,
    kill_at: Option<u64>,
    mut restart: impl FnMut(bool) -> bool,
) -> (Plan<S>, u64) {
    let program = Arc::new(SimProgram { can_checkpoint: scenario.can_checkpoint, ..SimProgram::default() });
    let (owner, node) = keys();
    let genesis = GenesisBody {
        owner: owner.public(),
        nonce: [7; 16],
        name: "sim".to_owned(),
        program: Hash::of_blob(b"sim"),
        manifest: manifest().hash(),
        runtime: "sim-1".to_owned(),
        custodian: node.public(),
        terms: TERMS,
        budget: scenario.budget,
        issuer: owner.public(),
        policy: Policy::default(),
        expires: Timestamp(u64::MAX),
        store: StoreKind::Disk,
    };
    let agent = genesis.agent_id();
    let announced = Arc::new(Mutex::new(Vec::new()));
    let (sent, vouched) = (Rc::new(RefCell::new(0_usize)), Rc::new(RefCell::new(Vec::new())));
    let mut random = Random::new(scenario.seed ^ 0x6b69_6c6c);
    let (mut endings, mut kills, mut first_polls, mut forgive) = (Vec::new(), 0, None, false);
    restart(false);
    for round in 0.. {
        assert!(round < 5_000, "the agent never gets anywhere: {endings:?}");
        let parts = || Parts {
            program: program.clone(),
            store: store.clone(),
            world: world.clone(),
            key: Arc::new(KeyPair::from_seed(&[2; 32])),
        };
        let done = |store: &S| store.tail(agent).expect("an open store").map_or(0, |_| ticks_counted(store, agent));
        let left = scenario.ticks.saturating_sub(done(&store)).max(u64::from(*sent.borrow() < scenario.messages.len()));
        let (sender, receiver) = mpsc::channel(16);
        let settings = Settings {
            interval: scenario.interval,
            checkpoint_interval: Nanos::from_millis(150),
            ticks: Some(left),
            paused: false,
            forgive,
        };
        let outbox = CheckingOutbox { store: store.clone(), agent, announced: announced.clone() };
        let main = async {
            store.put_blob(manifest().encode()).await?;
            let life = if store.tail(agent)?.is_none() {
                Life::create(parts(), genesis.clone().sign(&owner, &node), manifest()).await?
            } else {
                Life::open(parts(), agent).await?
            };
            life.run(settings, receiver, outbox).await
        };
        let driver: Pin<Box<dyn Future<Output = ()>>> = Box::pin(send_all(scenario, world, sender, &sent, &vouched));
        let limit = match (round, kill_at, scenario.kill_every) {
            (0, Some(kill), _) => Some(kill),
            (_, _, Some(every)) => Some(1 + random.below(every * 2)),
            _ => None,
        };
        let (run, polls) = executor::run(world, limit, main, &mut [driver]);
        first_polls.get_or_insert(polls);
        world.restart(Nanos(random.below(scenario.wall_jump_back.0 + 1)));
        let went_down = restart(matches!(run, Run::Crashed));
        let ending = match run {
            Run::Crashed => {
                kills += 1;
                continue;
            }
            Run::Done(Err(Error::Store(error))) => {
                assert!(went_down, "seed {}: {error}", scenario.seed);
                kills += 1;
                continue;
            }
            Run::Done(result) => result.expect("the spine keeps its own rules"),
        };
        endings.push(ending.clone());
        if std::env::var_os("IGOR_SIM_TRACE").is_some() {
            eprintln!("round {round}: {ending:?}, {polls} polls, {} counted, {} sent", done(&store), sent.borrow());
        }
        match ending {
            Ending::Stopped if *sent.borrow() == scenario.messages.len() && done(&store) >= scenario.ticks => break,
            Ending::Stopped => {}
            Ending::Ended(igor_protocol::entry::EndCause::Exhausted) => {
                let added = scenario.fund.expect("the scenario funds it");
                let total = book_of(&*store, agent).ledger().funded.checked_add(added).expect("fits");
                order(&*store, world, agent, Action::Fund { total }).expect("a good order");
            }
            Ending::Ended(_) => break,
            Ending::Suspended { .. } => forgive = true,
        }
    }
    let announced = announced.lock().expect("one thread").clone();
    let delivered = *sent.borrow();
    (Plan { store, agent, announced, vouched: vouched.take(), endings, delivered, kills }, first_polls.unwrap_or(0))
}

/// Sends every message until it was acknowledged, and once more, in order, as one numbered stream.
async fn send_all(
    scenario: &Scenario,
    world: &SimWorld,
    commands: mpsc::Sender<Command>,
    sent: &RefCell<usize>,
    vouched: &RefCell<Vec<(Seq, Hash)>>,
) {
    while *sent.borrow() < scenario.messages.len() {
        let n = *sent.borrow();
        match deliver(&commands, numbered(n as u64 + 1, scenario.messages[n].as_bytes())).await {
            Some(Ok(delivered)) => {
                *sent.borrow_mut() += 1;
                vouched.borrow_mut().push(delivered.sealed);
                if let Some(again) = deliver(&commands, numbered(n as u64 + 1, scenario.messages[n].as_bytes())).await {
                    let again = again.expect("it came before");
                    assert!(again.duplicate, "message {n} came in twice");
                    vouched.borrow_mut().push(again.sealed);
                }
            }
            Some(Err(Refused::Full { .. } | Refused::Ended(_))) | None => {
                world.sleep_until(Nanos(world.monotonic().0 + 5_000_000)).await;
            }
            Some(Err(refused)) => panic!("message {n} was refused: {refused}"),
        }
        if scenario.one_by_one {
            world.sleep_until(Nanos(world.monotonic().0 + 30_000_000)).await;
        }
    }
    // Whoever drops the commands stops the agent.
    std::future::pending::<()>().await;
}

/// A message of the harness's one stream.
pub fn numbered(n: u64, body: &[u8]) -> Parcel {
    let id = MessageId::Numbered { stream: "s".to_owned(), n };
    Parcel { sender: Sender::Uid(1), id, body: body.to_vec() }
}

/// Sends a message and waits for its answer; none if the life ended before.
pub async fn deliver(commands: &mpsc::Sender<Command>, parcel: Parcel) -> Option<Result<Delivered, Refused>> {
    let (answer, answered) = oneshot::channel();
    commands.send(Command::Deliver { parcel, answer }).await.ok()?;
    answered.await.ok()
}

/// Commits an order while the agent does not run, as a node does.
pub fn order<S: Medium>(store: &S, world: &SimWorld, agent: AgentId, action: Action) -> Result<(), Fault> {
    let (owner, node) = keys();
    let mut book = book_of(store, agent);
    let (at, counter) = (book.ledger().at, book.ledger().order_counter + 1);
    let order = OrderBody { agent, term: 0, counter, at, action };
    let mut draft = book.draft();
    book.push(&mut draft, Entry { at, body: Body::Order(order.sign(&owner)) })?;
    book.push_seal(&mut draft, &node, at)?;
    let commit = book.commit(draft)?;
    let (run, _) = executor::run(world, None, store.append(commit), &mut []);
    assert!(matches!(run, Run::Done(Ok(()))), "{run:?}");
    Ok(())
}

pub fn book_of<S: Medium>(store: &S, agent: AgentId) -> Book {
    let mut verifier = Verifier::new();
    for commit in store.commits(agent) {
        verifier.push(&commit, store).expect("the journal verifies");
    }
    verifier.book().expect("a journal").clone()
}

fn ticks_counted<S: Medium>(store: &S, agent: AgentId) -> u64 {
    let commits = store.commits(agent);
    let entries = commits.iter().flat_map(Commit::entries);
    let ok = entries.filter(|(_, _, encoded)| match Entry::decode(encoded).expect("an entry").body {
        Body::Run(run) => run.call.is_tick() && run.outcome.is_ok(),
        _ => false,
    });
    ok.count() as u64
}

/// Verifies and re-executes the whole life, and holds it against what was announced.
pub fn check_history<S: Medium>(scenario: &Scenario, plan: &Plan<S>) {
    let commits = plan.store.commits(plan.agent);
    let program = Arc::new(SimProgram { can_checkpoint: scenario.can_checkpoint, ..SimProgram::default() });
    let world = SimWorld::new(0, Timestamp(0));
    let load = |_: &Book| Ok(program);
    let executing = replay::execute(commits.iter().cloned().map(Ok::<_, Error>), &*plan.store, load, None, |_| {});
    let (run, _) = executor::run(&world, None, executing, &mut []);
    let Run::Done(executed) = run else { panic!("never killed") };
    let execution = executed.unwrap_or_else(|error| panic!("seed {}: {error}", scenario.seed));
    assert_eq!(execution.skipped, 0);
    assert!(execution.executed > 0);

    // Every announced tick is in the journal once, as announced.
    let mut ticks = Vec::new();
    for (seq, head, encoded) in commits.iter().flat_map(Commit::entries) {
        if let Body::Run(run) = Entry::decode(encoded).expect("an entry").body
            && run.call.is_tick()
        {
            ticks.push((run.tick, seq, head));
        }
    }
    assert!(ticks.iter().zip(1..).all(|((tick, ..), n)| *tick == Tick(n)), "ticks are numbered one by one");
    for announced in &plan.announced {
        assert!(ticks.contains(announced), "tick {} was announced and is not in the journal", announced.0);
    }
    let mut once = plan.announced.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), plan.announced.len(), "a tick was announced twice");

    for (seq, head) in &plan.vouched {
        let durable = commits.iter().flat_map(Commit::entries).any(|(at, there, _)| at == *seq && there == *head);
        assert!(durable, "an answer vouched for seq {seq}, which is not in the journal as it said");
    }

    // Every message came in once, and was taken by one run that counted or by three that failed.
    let book = book_of(&*plan.store, plan.agent);
    let messages = commits.iter().flat_map(Commit::entries);
    let messages =
        messages.filter(|(_, _, encoded)| matches!(Entry::decode(encoded).expect("an entry").body, Body::Message(_)));
    assert_eq!(messages.count(), plan.delivered, "every acknowledged message is in the journal once");
    let ledger = book.ledger();
    assert_eq!(ledger.balance.checked_add(ledger.spent), Some(ledger.funded));
}
