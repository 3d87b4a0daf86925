//! The steward alone: one writer to a journal at a time, and what was signed is finished without a restart.

mod harness;

use harness::{TERMS, book_of, keys, world};
use igor_protocol::{
    AgentId, Chain, Commit, Hash, KeyPair, Manifest, NodeId, Seq, Timestamp,
    custody::{Event, Refusal as NotAllowed, Status, Tidings},
    entry::{Action, Custody, GenesisBody, Order, OrderBody, Policy, Standby, StoreId, StoreKind},
    transfer::{Manner, Offer, Reason, Refusal},
};
use igor_sim::{
    executor::{self, Run},
    guest::SimProgram,
    memory::MemoryStore,
    world::SimWorld,
};
use igor_spine::{
    Life, Parts,
    custody::{Admission, Error, Failed, Host, Lease, Peers, Steward, Succession},
    moving::{Cut, Link},
};
use igor_store::{Commits, Error as StoreError, Store};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// A store whose next append fails when it is told so: the disk was full, say; which reads nothing while it is told so: the
/// disk is rotten; and in which somebody else goes on before the next append returns: its answer came late.
#[derive(Default)]
struct Flaky {
    within: MemoryStore,
    fails: AtomicBool,
    is_rotten: AtomicBool,
    is_shared: AtomicBool,
    is_late: AtomicBool,
}

impl Flaky {
    fn may_fail(&self) -> Result<(), StoreError> {
        if self.fails.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Full { path: "the disk".into(), what: "a commit".into() });
        }
        Ok(())
    }

    /// A standby goes on.
    async fn go_on(&self, agent: AgentId) {
        let (mut book, other) = (book_of(&self.within, agent), other());
        let record = book.held().fence(other.public(), TERMS, Timestamp(1)).expect("it is named").sign(&other);
        let mut draft = book.draft();
        book.push_custody(&mut draft, record).expect("it follows");
        self.within.append(book.commit(draft).expect("a commit")).await.expect("it goes on");
    }
}

impl Store for Flaky {
    async fn create(&self, commit: Commit) -> Result<(), StoreError> {
        self.within.create(commit).await
    }

    async fn append(&self, commit: Commit) -> Result<(), StoreError> {
        self.may_fail()?;
        let agent = commit.agent();
        self.within.append(commit).await?;
        if self.is_late.swap(false, Ordering::Relaxed) {
            self.go_on(agent).await;
        }
        Ok(())
    }

    fn kind(&self, _: AgentId) -> StoreKind {
        if self.is_shared.load(Ordering::Relaxed) { SHARED } else { StoreKind::Disk }
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.may_fail()?;
        self.within.append_noting(commit, name, bytes).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), StoreError> {
        self.within.remove(agent).await
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.within.settle().await
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, StoreError> {
        self.within.tail(agent)
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, StoreError> {
        if self.is_rotten.load(Ordering::Relaxed) {
            return Err(StoreError::Poisoned { why: "a bit is not what was written".into() });
        }
        self.within.read(agent, from)
    }

    fn list(&self) -> Result<Vec<AgentId>, StoreError> {
        self.within.list()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, StoreError> {
        self.within.put_blob(bytes).await
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, StoreError> {
        self.within.has_blob(hash)
    }

    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.within.get_blob(hash, bytes_max)
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.within.put_local(name, bytes).await
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.within.get_local(name)
    }

    async fn remove_local(&self, name: &str) -> Result<(), StoreError> {
        self.within.remove_local(name).await
    }

    fn list_local(&self) -> Result<Vec<String>, StoreError> {
        self.within.list_local()
    }
}

/// A node that keeps what custody says to it.
#[derive(Default)]
struct Listener {
    started: Mutex<Vec<Lease>>,
    unsettled: AtomicUsize,
}

impl Host for Listener {
    fn runtime(&self) -> String {
        String::new()
    }

    async fn seal(&self, _: AgentId) {}

    async fn freeze(&self, _: AgentId, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn start(&self, _: AgentId, lease: Lease) {
        self.started.lock().expect("one thread").push(lease);
    }

    fn unsettled(&self, _: AgentId) {
        self.unsettled.fetch_add(1, Ordering::Relaxed);
    }

    fn lists(&self, _: NodeId) -> bool {
        true
    }

    fn admit(&self, _: NodeId, _: &Offer) -> Result<Admission, Refusal> {
        Err(Refusal::new(Reason::Capacity, "nobody comes here"))
    }

    async fn prepare(&self, _: Hash, _: &Manifest) -> Result<(), Refusal> {
        Ok(())
    }

    fn manner(&self, _: AgentId) -> Manner {
        Manner::default()
    }

    async fn heed(&self, _: AgentId, _: Manner) -> Result<(), String> {
        Ok(())
    }

    async fn restore(&self, _: AgentId) -> Result<(), Refusal> {
        Ok(())
    }

    fn forget(&self, _: AgentId) {}

    async fn set_aside(&self, _: AgentId, _: Chain) -> Result<(), String> {
        Ok(())
    }
}

/// Nobody is there.
struct Alone;

enum Never {}

impl Link for Never {
    async fn send(&mut self, _: Vec<u8>) -> Result<(), Cut> {
        match *self {}
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Cut> {
        match *self {}
    }
}

impl Peers for Alone {
    type Link = Never;

    async fn open(&self, _: NodeId, _: impl FnOnce() + Send) -> Result<Never, Cut> {
        Err(Cut::Lost("nobody is there".into()))
    }

    fn tell(&self, _: NodeId, _: Tidings) {}

    fn ask(&self, _: NodeId, _: AgentId) {}

    fn all(&self) -> Vec<NodeId> {
        Vec::new()
    }
}

const SHARED: StoreKind = StoreKind::Bucket(StoreId([1; 16]));

/// Another node, which the owner names as a standby.
fn other() -> KeyPair {
    KeyPair::from_seed(&[9; 32])
}

struct Stage {
    world: Arc<SimWorld>,
    store: Arc<Flaky>,
    host: Arc<Listener>,
    steward: Steward<Flaky, SimWorld, Alone, Listener>,
    agent: AgentId,
}

impl Stage {
    /// A node that began an agent, which has no life at the moment.
    fn new() -> Self {
        Self::of(StoreKind::Disk)
    }

    fn of(kind: StoreKind) -> Self {
        let (owner, node) = keys();
        let (world, store, host) = (world(1), Arc::new(Flaky::default()), Arc::new(Listener::default()));
        store.is_shared.store(kind != StoreKind::Disk, Ordering::Relaxed);
        let key = Arc::new(KeyPair::from_seed(&node.seed()));
        let nodes = if kind == StoreKind::Disk { vec![] } else { vec![other().public(), node.public()] };
        let peers = Arc::new(Alone);
        let steward = Steward::new(key.clone(), store.clone(), world.clone(), peers, host.clone());
        let manifest = Manifest::default();
        let genesis = GenesisBody {
            owner: owner.public(),
            nonce: [7; 16],
            name: "sim".to_owned(),
            program: Hash::of_blob(b"sim"),
            manifest: manifest.hash(),
            runtime: "sim-1".to_owned(),
            custodian: node.public(),
            terms: TERMS,
            budget: "1".parse().expect("an amount"),
            issuer: owner.public(),
            policy: Policy { standby: Standby { nodes, ..Standby::default() }, ..Policy::default() },
            expires: Timestamp(u64::MAX),
            store: kind,
        };
        let agent = genesis.agent_id();
        let stage = Self { world, store, host, steward, agent };
        stage.run(async {
            let lease = stage.steward.claim_new(&genesis).await.expect("it may begin");
            stage.store.put_blob(manifest.encode()).await.expect("a blob is kept");
            let parts = Parts {
                program: Arc::new(SimProgram::default()),
                store: stage.store.clone(),
                world: stage.world.clone(),
                key,
            };
            drop(Life::create(parts, genesis.sign(&owner, &node), manifest).await.expect("it begins"));
            drop(lease);
        });
        stage
    }

    /// The node after a restart.
    fn restarted(self) -> Self {
        let key = Arc::new(KeyPair::from_seed(&keys().1.seed()));
        let (store, world, host) = (self.store.clone(), self.world.clone(), self.host.clone());
        Self { steward: Steward::new(key, store, world, Arc::new(Alone), host), ..self }
    }

    fn wake(&self) -> Result<Status, Error> {
        self.run(self.steward.wake(self.agent))
    }

    /// Time passes. Says whether the agent may live since then.
    fn lives_in_time(&self) -> bool {
        self.run(self.steward.happen(self.agent, Event::Timer)).expect("it reads");
        self.started() > 0
    }

    /// An owner's takeover, as another node carried it out.
    fn taken_over(&self) -> Custody {
        let held = book_of(&self.store.within, self.agent).held();
        held.take_over(&self.takeover_by(&other()), held.at).expect("it follows").sign(&other())
    }

    /// An owner's order that a node takes over.
    fn takeover_by(&self, node: &KeyPair) -> Order {
        let chain = book_of(&self.store.within, self.agent).held().chain;
        let (base_seq, base_head) = (Seq(chain.next.0 - 1), chain.head);
        self.order(1, Action::Takeover { base_seq, base_head, custodian: node.public(), terms: TERMS })
    }

    /// Lives that were to begin since this was asked last.
    fn started(&self) -> usize {
        std::mem::take(&mut *self.host.started.lock().expect("one thread")).len()
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.run_beside(work, &mut [])
    }

    fn run_beside<T>(&self, work: impl Future<Output = T>, others: &mut [Pin<Box<dyn Future<Output = ()> + '_>>]) -> T {
        match executor::run(&self.world, None, work, others).0 {
            Run::Done(done) => done,
            Run::Crashed => unreachable!("nobody kills it"),
        }
    }

    fn order(&self, counter: u64, action: Action) -> Order {
        OrderBody { agent: self.agent, term: 0, counter, at: Timestamp(1), action }.sign(&keys().0)
    }

    fn fund(&self, counter: u64) -> Result<Seq, Error> {
        let total = format!("{}", counter + 1).parse().expect("an amount");
        self.run(self.steward.order(self.order(counter, Action::Fund { total })))
    }

    fn status(&self) -> Status {
        self.steward.status(self.agent).expect("what is known reads")
    }

    fn hear(&self, record: Custody) -> Result<(), Error> {
        self.run(self.steward.hear(Tidings { agent: self.agent, records: vec![record] }))
    }

    fn unsettled(&self) -> usize {
        self.host.unsettled.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn what_could_not_be_written_was_not_signed_and_is_done_without_a_restart() {
    let stage = Stage::new();
    let to = other();
    stage.fund(1).expect("nobody else writes");
    assert_eq!((stage.status(), stage.unsettled()), (Status::Custodian, 0));

    stage.store.fails.store(true, Ordering::Relaxed);
    let give = Event::Give { to: to.public(), terms: TERMS };
    let failed = stage.run(stage.steward.happen(stage.agent, give.clone()));
    assert!(matches!(failed, Err(Error::Own(_))), "{failed:?}");
    assert_eq!((stage.status(), stage.unsettled()), (Status::Custodian, 1));
    stage.run(stage.steward.happen(stage.agent, give)).expect("there is room again");
    assert_eq!(stage.status(), Status::Given(to.public()));
    let unanswered = stage.run(stage.steward.settle(stage.agent));
    assert!(matches!(unanswered, Err(Failed::Unanswered(_))), "{unanswered:?}");
    stage.unsettled();

    // The other side declines, and this one cannot write that down at first.
    let decline = book_of(&stage.store.within, stage.agent).held().decline(Timestamp(2)).expect("it is given");
    stage.store.fails.store(true, Ordering::Relaxed);
    assert!(matches!(stage.hear(decline.sign(&to)), Err(Error::Own(_))));
    assert_eq!((stage.status(), stage.unsettled()), (Status::Given(to.public()), 1));
    assert!(stage.host.started.lock().expect("one thread").is_empty(), "it is not this node's yet");
    assert!(matches!(stage.run(stage.steward.settle(stage.agent)), Ok(true)));
    assert_eq!(stage.status(), Status::Custodian);
    assert_eq!(stage.host.started.lock().expect("one thread").len(), 1);
}

#[test]
fn who_has_the_lease_is_the_only_one_who_writes() {
    let stage = Stage::new();
    let lease = stage.run(stage.steward.claim(stage.agent)).expect("it is free");
    let again = stage.run(stage.steward.claim(stage.agent));
    assert!(matches!(again, Err(Error::Leased(_))), "{again:?}");
    let order = stage.fund(1);
    assert!(matches!(order, Err(Error::Leased(_))), "{order:?}");
    drop(lease);
    stage.fund(1).expect("the life is over");
    assert!(matches!(stage.fund(1), Err(Error::Order(_))), "it counts once");
    drop(stage.run(stage.steward.claim(stage.agent)).expect("it is free again"));
}

#[test]
fn news_that_end_a_life_wait_for_its_end_and_find_what_it_wrote_last() {
    let stage = Stage::new();
    let record = stage.taken_over();
    let lease = stage.run(stage.steward.claim(stage.agent)).expect("it is free");
    let ended = AtomicBool::new(false);
    let life: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
        assert!(lease.unless_revoked(std::future::pending::<()>()).await.is_none());
        ended.store(true, Ordering::Relaxed);
        // Moved in here, so that it is given back only now.
        drop(lease);
    });
    let heard = stage.steward.hear(Tidings { agent: stage.agent, records: vec![record] });
    stage.run_beside(heard, &mut [life]).expect("it is believed");
    assert!(ended.load(Ordering::Relaxed));
    assert_eq!(stage.status(), Status::Elsewhere);
    let claim = stage.run(stage.steward.claim(stage.agent));
    assert!(matches!(claim, Err(Error::Refused(NotAllowed::NotCustodian))), "{claim:?}");
}

#[test]
fn after_a_restart_an_agent_sleeps_until_peers_had_the_time_to_answer() {
    let stage = Stage::new().restarted();
    let asleep = |stage: &Stage| {
        assert!(!stage.lives_in_time());
        let claimed = stage.run(stage.steward.claim(stage.agent));
        assert!(matches!(claimed, Err(Error::Asleep(_))), "{claimed:?}");
        let given = stage.run(stage.steward.give(stage.agent, keys().0.public(), |_| {}));
        assert!(matches!(given, Err(Failed::Own(Error::Asleep(_)))), "{given:?}");
    };
    asleep(&stage);
    stage.steward.waited(stage.agent);
    asleep(&stage);
    assert_eq!(stage.wake().expect("it reads"), Status::Custodian);
    asleep(&stage);
    stage.steward.waited(stage.agent);
    assert!(stage.lives_in_time());
    drop(stage.run(stage.steward.claim(stage.agent)).expect("it is free"));
}

/// What peers say of an agent whose journal does not read goes nowhere: once it reads, they are asked again.
#[test]
fn an_agent_that_did_not_read_sleeps_until_peers_were_asked_again() {
    let stage = Stage::new().restarted();
    stage.store.is_rotten.store(true, Ordering::Relaxed);
    assert!(stage.wake().is_err());
    assert!(stage.hear(stage.taken_over()).is_err(), "it is not taken in");
    stage.steward.waited(stage.agent);
    stage.store.is_rotten.store(false, Ordering::Relaxed);
    assert!(!stage.lives_in_time(), "it was taken over");

    stage.wake().expect("it reads now");
    stage.hear(stage.taken_over()).expect("it is taken in now");
    stage.steward.waited(stage.agent);
    assert!(!stage.lives_in_time());
    assert_eq!(stage.status(), Status::Elsewhere);
}

#[test]
fn what_is_heard_and_not_taken_in_is_asked_for_again() {
    let stage = Stage::new().restarted();
    let record = stage.taken_over();
    stage.wake().expect("it reads");
    stage.steward.waited(stage.agent);
    stage.fund(2).expect("nobody else writes");
    stage.store.is_rotten.store(true, Ordering::Relaxed);
    assert!(stage.hear(record).is_err());
    stage.store.is_rotten.store(false, Ordering::Relaxed);
    assert!(!stage.steward.is_awake(stage.agent));
    assert!(!stage.lives_in_time());
}

#[test]
fn where_somebody_went_on_before_the_answer_came_nothing_lives() {
    let stage = Stage::of(SHARED);
    let late = || stage.store.is_late.store(true, Ordering::Relaxed);
    let (node, agent) = (keys().1, stage.agent);
    late();
    let claim = stage.run(stage.steward.claim(agent));
    assert!(matches!(claim, Err(Error::Refused(NotAllowed::NotCustodian))), "{claim:?}");
    assert_eq!(stage.status(), Status::Elsewhere);

    let custodian = || {
        let held = book_of(&stage.store.within, agent).held();
        (held.standing.custodian, held.chain.epoch)
    };
    let succeed = || stage.run(stage.steward.succeed(agent, custodian(), TERMS, || true)).expect("it reads");
    late();
    assert_eq!(succeed(), Succession::GoneOn(other().public(), custodian().1));
    late();
    stage.unsettled();
    stage.run(stage.steward.take_over(agent, stage.takeover_by(&node))).expect("it was carried out");
    assert_eq!((stage.status(), stage.started()), (Status::Elsewhere, 0));
    assert!(stage.unsettled() > 0, "this node is to stand by");

    assert!(matches!(succeed(), Succession::Taken(_)), "nobody was faster");
    assert_eq!((stage.status(), stage.started()), (Status::Custodian, 1));
    drop(stage.run(stage.steward.claim(agent)).expect("it is free"));
}

#[test]
fn an_order_that_stands_is_known_and_a_refused_one_leaves_no_trace() {
    let stage = Stage::of(SHARED);
    let order = stage.takeover_by(&keys().1);
    let give = |stage: &Stage| stage.run(stage.steward.take_over(stage.agent, order.clone()));
    give(&stage).expect("it was carried out");
    // Whoever carried it out died before it could say so.
    let stage = stage.restarted();
    stage.unsettled();
    let again = give(&stage);
    assert!(matches!(again, Err(Error::Refused(NotAllowed::Known))), "{again:?}");
    assert!(stage.unsettled() > 0, "nothing lives yet");

    let next = || book_of(&stage.store.within, stage.agent).held().chain.next;
    let before = next();
    let refused = stage.fund(2);
    assert!(matches!(refused, Err(Error::Order(_))), "it is for the term before: {refused:?}");
    assert_eq!(next(), before);
}
