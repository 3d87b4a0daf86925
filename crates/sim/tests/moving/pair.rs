//! Two nodes with a stream between them that can be cut, and an agent with a state that is worth sending.

use super::harness::{TERMS, world};
use futures_util::future::join;
use igor_protocol::{
    AgentId, Chain, Commit, Credits, Fuel, Hash, KeyPair, Manifest, Nanos, NodeId, Seq, Timestamp,
    archive::Part,
    custody::Tidings,
    entry::{Genesis, GenesisBody, Policy, StoreKind},
    transfer::{Frame, Manner, Offer, Reason, Refusal, Welcome},
};
use igor_sim::{
    executor::{self, Run},
    memory::MemoryStore,
    world::SimWorld,
};
use igor_spine::{
    Committed, Life, Parts, Restored, Settings,
    command::Command,
    custody::{Admission, Error, Failed, Host, Lease, Moved, Peers, Steward, Taken},
    event::{Event, Outbox, Snapshot},
    guest::{Ended, Guest, Input, Membrane, Program, Report},
    moving::{Cut, Link, receive, send},
};
use igor_store::Store;
use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::mpsc;

pub(crate) const STATE_BYTES: usize = 256 << 10;
pub(crate) const WASM_BYTES: usize = 600 << 10;

/// A program that changes a little of a large state in each tick.
pub(crate) struct Large;

pub(crate) struct LargeGuest(Vec<u8>);

impl Program for Large {
    type Guest = LargeGuest;

    fn instantiate(&self) -> LargeGuest {
        LargeGuest((0..STATE_BYTES).map(|at| u8::try_from(at * 31 % 251).expect("below 251")).collect())
    }

    fn can_checkpoint(&self) -> bool {
        true
    }

    fn runtime(&self) -> &'static str {
        "large-1"
    }
}

impl Guest for LargeGuest {
    async fn run(&mut self, input: Input, _: Fuel, _: Arc<dyn Membrane>) -> Report {
        let ended = match input {
            Input::Checkpoint => Ended::State(self.0.clone()),
            Input::Init => Ended::Returned { more_work: false },
            Input::Tick(_) => {
                self.0[0] = self.0[0].wrapping_add(1);
                let place = usize::from(self.0[0]) * 12_288 % STATE_BYTES;
                self.0[place] = self.0[place].wrapping_add(7);
                Ended::Returned { more_work: false }
            }
            Input::Resume(state) => {
                self.0 = state;
                Ended::Returned { more_work: false }
            }
        };
        // Another fuel for another state: whoever executes something else notices.
        Report { ended, fuel: Fuel(100 + u64::from(self.0[0])) }
    }

    fn fuel_used(&self) -> Fuel {
        Fuel(100)
    }
}

/// What is on the way between the two, and when it is cut.
#[derive(Default)]
struct Wire {
    cut: Option<usize>,
    cut_at_have: bool,
    frames: AtomicUsize,
    blob_bytes: AtomicUsize,
    is_cut: std::sync::atomic::AtomicBool,
}

pub(crate) struct PairLink {
    wire: Arc<Wire>,
    fed: Vec<Vec<u8>>,
    out: mpsc::UnboundedSender<Vec<u8>>,
    come: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl PairLink {
    fn deliver(&self, bytes: Vec<u8>) -> Result<(), Cut> {
        let lost = || Cut::Lost("cut by the test".to_owned());
        if self.wire.is_cut.load(Ordering::Relaxed) || self.wire.cut == Some(self.wire.frames.load(Ordering::Relaxed)) {
            self.wire.is_cut.store(true, Ordering::Relaxed);
            return Err(lost());
        }
        self.wire.frames.fetch_add(1, Ordering::Relaxed);
        match Frame::decode(&bytes).expect("a frame") {
            Frame::Part(part) => drop(self.wire.blob_bytes.fetch_add(part.bytes.len(), Ordering::Relaxed)),
            Frame::Have(_) if self.wire.cut_at_have => self.wire.is_cut.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.out.send(bytes).map_err(|_| lost())
    }
}

/// What is fed stays here as long as it may.
impl Link for PairLink {
    async fn feed(&mut self, bytes: Vec<u8>) -> Result<(), Cut> {
        self.fed.push(bytes);
        Ok(())
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Cut> {
        for fed in std::mem::take(&mut self.fed) {
            self.deliver(fed)?;
        }
        self.deliver(bytes)
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Cut> {
        assert!(self.fed.is_empty(), "it waits for an answer to what it did not send");
        self.come.recv().await.ok_or_else(|| Cut::Lost("the other side is gone".to_owned()))
    }
}

fn link(wire: &Arc<Wire>) -> (PairLink, PairLink) {
    let ((there, come), (back, came)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let here = PairLink { wire: wire.clone(), fed: Vec::new(), out: there, come: came };
    (here, PairLink { wire: wire.clone(), fed: Vec::new(), out: back, come })
}

/// The only other node is at the end of the next stream.
#[derive(Default)]
pub(crate) struct Next(Mutex<Option<PairLink>>);

impl Peers for Next {
    type Link = PairLink;

    async fn open(&self, _: NodeId, _: impl FnOnce() + Send) -> Result<PairLink, Cut> {
        self.0.lock().expect("one thread").take().ok_or_else(|| Cut::Lost("nobody is there".to_owned()))
    }

    fn tell(&self, _: NodeId, _: Tidings) {}

    fn ask(&self, _: NodeId, _: AgentId) {}

    fn all(&self) -> Vec<NodeId> {
        Vec::new()
    }
}

/// A node whose agents live when the test says so.
pub(crate) struct Quiet {
    store: Arc<MemoryStore>,
    world: Arc<SimWorld>,
    key: Arc<KeyPair>,
    kept: Mutex<Option<Restored<Large, MemoryStore, SimWorld>>>,
    aside: Mutex<Vec<Vec<u8>>>,
}

impl Quiet {
    fn parts(&self) -> Parts<Large, MemoryStore, SimWorld> {
        let (store, world, key) = (self.store.clone(), self.world.clone(), self.key.clone());
        Parts { program: Arc::new(Large), store, world, key }
    }
}

impl Host for Quiet {
    fn runtime(&self) -> String {
        Large.runtime().to_owned()
    }

    async fn seal(&self, _: AgentId) {}

    async fn freeze(&self, _: AgentId, checkpoint: bool) -> Result<(), String> {
        assert!(!checkpoint, "both have one runtime");
        Ok(())
    }

    // Whoever has no life gives the lease back.
    fn start(&self, _: AgentId, _: Lease) {}

    fn unsettled(&self, _: AgentId) {}

    fn lists(&self, _: NodeId) -> bool {
        true
    }

    fn admit(&self, _: NodeId, _: &Offer) -> Result<Admission, Refusal> {
        Ok(Admission { terms: TERMS, bytes_max: 64 << 20 })
    }

    async fn prepare(&self, program: Hash, _: &Manifest) -> Result<(), Refusal> {
        assert!(self.store.has_blob(program).expect("it reads"), "the program is here whole");
        Ok(())
    }

    fn manner(&self, _: AgentId) -> Manner {
        Manner::default()
    }

    async fn heed(&self, _: AgentId, _: Manner) -> Result<(), String> {
        Ok(())
    }

    async fn restore(&self, agent: AgentId) -> Result<(), Refusal> {
        let kept = self.kept.lock().expect("one thread").take();
        let restored = match kept {
            Some(mut kept) => kept.follow().await.map(|()| kept),
            None => Restored::new(self.parts(), agent).await,
        };
        let restored = restored.map_err(|error| Refusal::new(Reason::Program, error))?;
        *self.kept.lock().expect("one thread") = Some(restored);
        Ok(())
    }

    fn forget(&self, _: AgentId) {
        self.kept.lock().expect("one thread").take();
    }

    async fn set_aside(&self, agent: AgentId, _: Chain) -> Result<(), String> {
        let journal = journal(&self.store, agent);
        self.aside.lock().expect("one thread").push(journal);
        Ok(())
    }
}

fn journal(store: &MemoryStore, agent: AgentId) -> Vec<u8> {
    store.commits(agent).iter().flat_map(Commit::encode).collect()
}

/// One of the nodes.
pub(crate) struct Side {
    store: Arc<MemoryStore>,
    host: Arc<Quiet>,
    key: Arc<KeyPair>,
    pub(crate) steward: Steward<MemoryStore, SimWorld, Next, Quiet>,
}

impl Side {
    fn new(seed: u8, world: &Arc<SimWorld>, store: Arc<MemoryStore>) -> Self {
        let key = Arc::new(KeyPair::from_seed(&[seed; 32]));
        let (kept, aside) = (Mutex::default(), Mutex::default());
        let host = Arc::new(Quiet { store: store.clone(), world: world.clone(), key: key.clone(), kept, aside });
        let peers = Arc::new(Next::default());
        let steward = Steward::new(key.clone(), store.clone(), world.clone(), peers, host.clone());
        Self { store, host, key, steward }
    }

    /// As after a start: peers were asked, and nobody knows more.
    async fn wakes(&self, agent: AgentId) {
        self.steward.wake(agent).await.expect("it reads");
        self.steward.waited(agent);
    }

    pub(crate) fn commits(&self, agent: AgentId) -> Vec<Commit> {
        self.store.commits(agent)
    }

    /// The journals that were put aside.
    pub(crate) fn aside(&self) -> Vec<Vec<u8>> {
        self.host.aside.lock().expect("one thread").clone()
    }
}

/// Stops a life between two ticks, after so many.
struct Count {
    left: u64,
    commands: mpsc::Sender<Command>,
}

impl Outbox for Count {
    fn release(&mut self, committed: Committed<Vec<Event>>) {
        for event in committed.into_inner() {
            if let Event::Tick(_) = event {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    drop(self.commands.try_send(Command::Freeze));
                }
            }
        }
    }

    fn watch(&mut self, _: &Snapshot) {}

    fn appended(&mut self, _: Nanos) {}
}

fn between(from: &Side, wire: &Arc<Wire>) -> PairLink {
    let (here, there) = link(wire);
    *from.steward.peers().0.lock().expect("one thread") = Some(here);
    there
}

async fn takes(from: &Side, to: &Side, mut link: PairLink) -> Result<Taken, Error> {
    Box::pin(to.steward.take(from.key.public(), &mut link)).await
}

/// Two nodes.
pub(crate) struct Pair {
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) agent: AgentId,
    genesis: Genesis,
    world: Arc<SimWorld>,
    wire: Mutex<Arc<Wire>>,
}

fn wasm() -> Vec<u8> {
    vec![0x5a; WASM_BYTES]
}

impl Pair {
    /// Two nodes, the first of which has the agent.
    pub(crate) fn new() -> Self {
        let world = world(1);
        let [a, b] = [2, 3].map(|seed| Side::new(seed, &world, Arc::default()));
        let owner = KeyPair::from_seed(&[1; 32]);
        let body = GenesisBody {
            owner: owner.public(),
            nonce: [9; 16],
            name: "large".to_owned(),
            program: Hash::of_blob(&wasm()),
            manifest: Manifest::default().hash(),
            runtime: Large.runtime().to_owned(),
            custodian: a.key.public(),
            terms: TERMS,
            budget: Credits::from_units(1 << 80),
            issuer: owner.public(),
            policy: Policy::default(),
            expires: Timestamp(u64::MAX),
            store: StoreKind::Disk,
        };
        let genesis = body.sign(&owner, &a.key);
        let agent = genesis.body.agent_id();
        let pair = Self { a, b, agent, genesis: genesis.clone(), world, wire: Mutex::default() };
        pair.run(async {
            pair.a.store.put_blob(wasm()).await.expect("it is kept");
            pair.a.store.put_blob(Manifest::default().encode()).await.expect("it is kept");
            drop(Life::create(pair.a.host.parts(), genesis, Manifest::default()).await.expect("it begins"));
            pair.a.wakes(agent).await;
        });
        pair
    }

    /// Somebody with all that a node has, its key too.
    pub(crate) fn twin(&self, of: &Side) -> Side {
        let seed = if of.key.public() == self.a.key.public() { 2 } else { 3 };
        let twin = Side::new(seed, &self.world, Arc::new(of.store.twin()));
        self.run(twin.wakes(self.agent));
        twin
    }

    /// Another node, which has nothing.
    pub(crate) fn third(&self) -> Side {
        Side::new(4, &self.world, Arc::default())
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> T {
        match executor::run(&self.world, None, main, &mut []).0 {
            Run::Done(value) => value,
            Run::Crashed => unreachable!("never killed"),
        }
    }

    /// The agent lives on a node for at least so many ticks, and stops where it is.
    pub(crate) fn lives(&self, side: &Side, ticks: u64) {
        let (commands, commanded) = mpsc::channel(1);
        let settings = Settings {
            interval: Nanos::from_millis(20),
            checkpoint_interval: Nanos::from_millis(50),
            ticks: None,
            paused: false,
            forgive: false,
        };
        self.run(async {
            let life = Life::open(side.host.parts(), self.agent).await.expect("it opens");
            life.run(settings, commanded, Count { left: ticks, commands }).await.expect("it lives");
        });
    }

    /// What a restart does.
    pub(crate) fn restores(&self, side: &Side) {
        drop(self.run(Restored::new(side.host.parts(), self.agent)).expect("it restores"));
    }

    /// The bytes of a journal.
    pub(crate) fn journal(&self, side: &Side) -> Vec<u8> {
        journal(&side.store, self.agent)
    }

    fn wire(&self, cut: Option<usize>, cut_at_have: bool) -> Arc<Wire> {
        let wire = Arc::new(Wire { cut, cut_at_have, ..Wire::default() });
        *self.wire.lock().expect("one thread") = wire.clone();
        wire
    }

    /// Frames of the last transfer.
    pub(crate) fn frames(&self) -> usize {
        self.wire.lock().expect("one thread").frames.load(Ordering::Relaxed)
    }

    /// Bytes of blobs in the last transfer.
    pub(crate) fn blob_bytes(&self) -> usize {
        self.wire.lock().expect("one thread").blob_bytes.load(Ordering::Relaxed)
    }

    /// The agent is handed over; after so many frames the stream is cut.
    pub(crate) fn moves(
        &self,
        from: &Side,
        to: &Side,
        cut: Option<usize>,
    ) -> (Result<Moved, Failed>, Result<Taken, Error>) {
        let there = between(from, &self.wire(cut, false));
        self.run(join(from.steward.give(self.agent, to.key.public(), |_| ()), takes(from, to, there)))
    }

    /// A first round goes ahead, and no more.
    pub(crate) fn copies(&self, from: &Side, to: &Side) {
        let there = between(from, &self.wire(None, true));
        let given = from.steward.give(self.agent, to.key.public(), |_| ());
        let (given, _) = self.run(join(given, takes(from, to, there)));
        assert!(matches!(given, Err(Failed::Before(_))), "{given:?}");
    }

    /// A handoff without an answer is asked for.
    pub(crate) fn pursues(&self, from: &Side, to: &Side) -> Result<(), Failed> {
        let there = between(from, &self.wire(None, false));
        self.run(join(Box::pin(from.steward.pursue(self.agent)), takes(from, to, there))).0
    }

    /// A handoff without an answer is asked for, of somebody who has all of it and says that again and again.
    pub(crate) fn pursues_in_vain(&self, from: &Side) -> Result<(), Failed> {
        let mut there = between(from, &self.wire(None, false));
        let end = from.store.tail(self.agent).expect("it reads").expect("a journal");
        let answers = async move {
            let welcome = Welcome {
                terms: TERMS,
                next: end.next,
                head: end.head,
                has_program: true,
                state: None,
                wants: None,
                begun: None,
                runtime: Large.runtime().to_owned(),
            };
            receive(&mut there).await.expect("an offer");
            send(&mut there, &Frame::Welcome(welcome)).await.expect("it listens");
            receive(&mut there).await.expect("all that is left");
            for _ in 0..100 {
                drop(send(&mut there, &Frame::Have(end.next)).await);
            }
        };
        self.run(join(Box::pin(from.steward.pursue(self.agent)), answers)).0
    }

    /// The first node says these frames to the second, which answers.
    pub(crate) fn says(&self, frames: Vec<Frame>) -> (Result<Taken, Error>, Vec<Frame>) {
        let (PairLink { out, mut come, .. }, there) = link(&self.wire(None, false));
        self.run(join(takes(&self.a, &self.b, there), async move {
            for frame in frames {
                drop(out.send(frame.encode()));
            }
            drop(out);
            let mut answers = Vec::new();
            while let Some(bytes) = come.recv().await {
                answers.push(Frame::decode(&bytes).expect("a frame"));
            }
            answers
        }))
    }

    /// What the first node offers.
    pub(crate) fn offer(&self) -> Frame {
        let end = self.a.store.tail(self.agent).expect("it reads").expect("a journal");
        Frame::Offer(Box::new(Offer {
            genesis: self.genesis.clone(),
            manifest: Manifest::default(),
            epoch: end.epoch,
            next: end.next,
            state_bytes: STATE_BYTES as u64,
            records: Vec::new(),
            given: false,
            runtime: None,
        }))
    }

    /// The program, in one part.
    pub(crate) fn program(&self) -> Frame {
        let bytes = wasm();
        Frame::Part(Part { hash: self.genesis.body.program, total: WASM_BYTES as u64, offset: 0, bytes })
    }

    /// The journal of the first node without its seals, as anybody can write it, as one commit of its first entries.
    pub(crate) fn unsealed(&self) -> Commit {
        let commits = self.a.store.commits(self.agent);
        let entries = commits.iter().flat_map(Commit::entries).take_while(|(seq, ..)| *seq == Seq(0));
        let entries: Vec<_> =
            entries.map(|(_, _, bytes)| igor_protocol::Entry::decode(bytes).expect("an entry")).collect();
        Commit::new(Chain::begin(self.agent), &entries)
    }
}
