//! Journals in a bucket: several machines append to one, fence each other off, die, sleep and wake, while requests are
//! lost, late and doubled.
//!
//! `IGOR_SHARED_SEEDS` says how many stories (1,500 by default), `IGOR_SHARED_SEED` which one alone.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

use bytes::Bytes;
use futures_util::future::join_all;
use igor_protocol::{
    AgentId, Chain, Commit, Entry, Hash, KeyPair, Ledger, Manifest, Nanos, Seq, Signature, Slot, Terms, Tick,
    Timestamp,
    custody::Held,
    entry::{
        Body, Checkpoint, CheckpointKind, Content, Genesis, GenesisBody, Policy, Receipt, Seal, Standby, StoreId,
        StoreKind,
    },
    slot::{Bundle, End, Nonce, Object, Position, Rule, Rules},
};
use igor_sim::{
    bucket::{Faults, SimBucket},
    executor::{self, Run, point},
    memory::MemoryStore,
    random::Random,
    world::SimWorld,
};
use igor_store::{
    Error, Store,
    shared::{Requests, Shared, Wing, slot_key},
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

const STORE: StoreId = StoreId([7; 16]);
const NODES: usize = 3;
const TERMS: Terms = Terms { price_per_ns: 1, price_per_fuel: 0 };
const START: Timestamp = Timestamp(1_767_225_600_000_000_000);

fn key(node: usize) -> KeyPair {
    KeyPair::from_seed(&[u8::try_from(node).unwrap() + 10; 32])
}

fn genesis() -> Genesis {
    let owner = KeyPair::from_seed(&[1; 32]);
    let nodes = (0..NODES).map(|node| key(node).public()).collect();
    let body = GenesisBody {
        owner: owner.public(),
        nonce: [3; 16],
        name: "shared".into(),
        program: Hash::of_blob(b"the program"),
        manifest: Manifest::default().hash(),
        runtime: "none".into(),
        custodian: key(0).public(),
        terms: TERMS,
        budget: "1".parse().unwrap(),
        issuer: owner.public(),
        policy: Policy { standby: Standby { nodes, ..Standby::default() }, ..Policy::default() },
        expires: Timestamp(u64::MAX),
        store: StoreKind::Bucket(STORE),
    };
    body.sign(&owner, &key(0))
}

/// One entry as a commit.
fn commit(held: &Held, at: Timestamp, body: Body) -> Commit {
    let epoch = if let Body::Custody(record) = &body { record.phase.epoch() } else { held.chain.epoch };
    Commit::new(Chain { epoch, ..held.chain }, [&Entry { at, body }])
}

fn seal(held: &Held, at: Timestamp, node: &KeyPair) -> Commit {
    let last = Seq(held.chain.next.0 - 1);
    let seal = Seal::sign(node, &held.chain.agent, held.chain.epoch, last, &held.chain.head);
    commit(held, at, Body::Seal(seal))
}

fn checkpoint(held: &Held, at: Timestamp, state: &[u8]) -> Commit {
    let ledger = Ledger { custody: Some(Box::new(held.standing.clone())), at: held.at, ..Ledger::default() };
    let receipt = Receipt {
        agent: held.chain.agent,
        from: Tick(1),
        to: Tick(1),
        cost: "0".parse().unwrap(),
        balance: "0".parse().unwrap(),
        head: held.chain.head,
        signature: Signature([0; 64]),
    };
    let checkpoint = Checkpoint {
        kind: CheckpointKind::State,
        tick: Tick(0),
        root: Hash::of_blob(state),
        bytes: state.len() as u64,
        ledger,
        remembered: Content::Inline(vec![0x80]),
        receipt,
    };
    commit(held, at, Body::Checkpoint(checkpoint))
}

/// What is known of what happened, apart from all machines.
#[derive(Default)]
struct Seen {
    /// Appends that returned: position after them, and head.
    acknowledged: Vec<(Seq, Hash)>,
    boots: u8,
    now: u64,
    counts: BTreeMap<&'static str, u64>,
}

#[derive(Clone)]
struct Story {
    bucket: SimBucket,
    disks: Vec<Arc<MemoryStore>>,
    seen: Rc<RefCell<Seen>>,
    agent: AgentId,
}

/// The whole journal as a disk has it.
fn journal<S: Store>(store: &S, agent: AgentId) -> Vec<Commit> {
    if store.tail(agent).unwrap().is_none() {
        return Vec::new();
    }
    store.read(agent, Seq(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn held<S: Store>(store: &S, agent: AgentId) -> Option<Held> {
    let commits = journal(store, agent);
    let mut held = commits.first().map(|_| Held::before(&genesis().body))?;
    for commit in &commits {
        held.follow(commit).unwrap();
    }
    Some(held)
}

impl Story {
    fn count(&self, what: &'static str) {
        *self.seen.borrow_mut().counts.entry(what).or_default() += 1;
    }

    fn now(&self) -> Timestamp {
        let mut seen = self.seen.borrow_mut();
        seen.now += 1;
        START.after(Nanos(seen.now))
    }

    fn acknowledge(&self, commit: &Commit) {
        self.seen.borrow_mut().acknowledged.push((commit.next(), commit.head()));
    }

    fn open(&self, node: usize) -> Shared<MemoryStore, SimBucket> {
        let nonce = {
            let mut seen = self.seen.borrow_mut();
            seen.boots += 1;
            Nonce([seen.boots; 16])
        };
        let wing =
            Wing { bucket: self.bucket.clone(), id: STORE, key: Arc::new(key(node)), nonce, bundle_slots_min: 3 };
        Shared::open(self.disks[node].clone(), Some(wing)).unwrap()
    }

    /// One process of a node: it reads, goes on with the agent where it may, and appends until something stops it.
    async fn process(self, node: usize, mut random: Random) {
        let store = self.open(node);
        let me = key(node);
        loop {
            for _ in 0..random.below(12) {
                point().await;
            }
            if random.one_in(4) {
                // Nobody waits for it any more; the process goes on.
                let polls = random.below(40);
                let mut cut = Cut { of: Box::pin(store.attach(self.agent, None, u64::MAX)), polls };
                if (&mut cut).await.is_none() {
                    self.count("reading cut");
                }
            }
            match store.attach(self.agent, None, u64::MAX).await {
                Ok(()) => {}
                Err(e) => panic!("node {node} cannot read: {e}"),
            }
            let Some(held) = held(&store, self.agent) else {
                if node == 0 {
                    match self.begin(&store).await {
                        // It has custody: that began with the first slot.
                        Ok(()) => self.run(&store, node, &mut random).await,
                        Err(_) => self.count("begin failed"),
                    }
                }
                continue;
            };
            // Who has it goes on at once; others suspect now and then, mostly wrongly.
            let mine = held.standing.custodian == me.public();
            if !mine && !random.one_in(6) {
                continue;
            }
            let terms = if mine { held.standing.terms } else { TERMS };
            let Ok(fence) = held.fence(me.public(), terms, self.now()) else { continue };
            let fence = commit(&held, fence.place().unwrap().at, Body::Custody(fence.sign(&me)));
            match store.append(fence.clone()).await {
                Ok(()) => self.acknowledge(&fence),
                Err(e) => {
                    assert!(!matches!(e, Error::RolledBack { .. }), "{e}");
                    self.count("fence lost");
                    continue;
                }
            }
            self.count(if mine { "fenced itself" } else { "took over" });
            self.run(&store, node, &mut random).await;
        }
    }

    async fn begin(&self, store: &Shared<MemoryStore, SimBucket>) -> Result<(), Error> {
        store.put_blob(b"the program".to_vec()).await?;
        store.put_blob(Manifest::default().encode()).await?;
        let entry = Entry { at: START, body: Body::Genesis(genesis()) };
        let first = Commit::new(Chain::begin(self.agent), [&entry]);
        store.create(first.clone()).await?;
        self.acknowledge(&first);
        self.count("began");
        Ok(())
    }

    /// Eight appends, the seventh of them a checkpoint: what is before that may be collected.
    async fn append_eight(&self, store: &Shared<MemoryStore, SimBucket>) {
        for number in 0..8 {
            let end = held(store, self.agent).unwrap();
            let next = if number == 6 {
                store.put_blob(b"the state".to_vec()).await.unwrap();
                checkpoint(&end, self.now(), b"the state")
            } else {
                seal(&end, self.now(), &key(0))
            };
            store.append(next).await.unwrap();
        }
    }

    /// Appends, several at once, until an append fails.
    async fn run(&self, store: &Shared<MemoryStore, SimBucket>, node: usize, random: &mut Random) {
        let me = key(node);
        for _ in 0..random.below(12) {
            let mut end = held(store, self.agent).unwrap();
            let mut commits = Vec::new();
            for _ in 0..=random.below(3) {
                let at = self.now();
                let next = if random.one_in(4) {
                    let state = format!("state {} of {node}", random.below(3)).into_bytes();
                    let next = checkpoint(&end, at, &state);
                    store.put_blob(state).await.unwrap();
                    next
                } else {
                    seal(&end, at, &me)
                };
                end.follow(&next).unwrap();
                commits.push(next);
            }
            let appended = join_all(commits.iter().map(|commit| store.append(commit.clone()))).await;
            for (commit, appended) in commits.iter().zip(&appended) {
                if appended.is_ok() {
                    self.acknowledge(commit);
                    self.count("appended");
                }
            }
            if let Some(Err(e)) = appended.into_iter().find(Result::is_err) {
                assert!(!matches!(e, Error::RolledBack { .. } | Error::NotAdmitted { .. }), "{e}");
                self.count("fenced off");
                return;
            }
            if random.one_in(2) && store.collect(self.agent).await.is_ok() {
                self.count("collected");
            }
            if random.one_in(8) {
                // Nobody waits for an append any more.
                let next = seal(&held(store, self.agent).unwrap(), self.now(), &me);
                let mut cut = Cut { of: Box::pin(store.append(next)), polls: random.below(12) };
                if (&mut cut).await.is_none() {
                    self.count("abandoned");
                }
                return;
            }
        }
    }

    /// Processes of one machine, one after the other: each is killed or put to sleep at some point.
    async fn machine(self, node: usize, mut random: Random) {
        let lives = 2 + random.below(4);
        for _ in 0..lives {
            let polls = random.below(400);
            let sleeps = random.one_in(3).then(|| (random.below(200), random.below(600)));
            let seed = Random::new(random.number());
            let process = Box::pin(self.clone().process(node, seed));
            Mortal { of: process, polls, sleeps, asleep: 0 }.await;
            self.count("killed");
        }
    }
}

/// A future that is dropped after so many polls.
struct Cut<'a, T> {
    of: Pin<Box<dyn Future<Output = T> + 'a>>,
    polls: u64,
}

impl<T> Future for Cut<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        context.waker().wake_by_ref();
        self.of.as_mut().poll(context).map(Some)
    }
}

/// A process that is killed after so many polls, and before may sleep for a while.
struct Mortal<'a> {
    of: Pin<Box<dyn Future<Output = ()> + 'a>>,
    polls: u64,
    sleeps: Option<(u64, u64)>,
    asleep: u64,
}

impl Future for Mortal<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        context.waker().wake_by_ref();
        if self.asleep > 0 {
            self.asleep -= 1;
            return Poll::Pending;
        }
        if let Some((at, long)) = self.sleeps
            && self.polls <= at
        {
            (self.sleeps, self.asleep) = (None, long);
            return Poll::Pending;
        }
        if self.polls == 0 {
            return Poll::Ready(());
        }
        self.polls -= 1;
        self.of.as_mut().poll(context)
    }
}

/// The journal as it is by all that ever stood in the slots first.
fn canon(bucket: &SimBucket, agent: AgentId) -> (Vec<Commit>, Vec<(String, Nonce)>) {
    let (mut commits, mut writers) = (Vec::new(), Vec::new());
    let owner = genesis().body.owner;
    let mut held = Held::before(&genesis().body);
    let mut end: Option<End> = None;
    let mut number = Slot(0);
    while let Some(bytes) = bucket.first(&slot_key(agent, number)) {
        let judged = Object::decode(&bytes).ok().and_then(|object| {
            let counts = match end {
                None => End::judge_first(&object, &bytes, StoreKind::Bucket(STORE)),
                Some(end) => {
                    let end = End { next: Position { number, ..end.next }, ..end };
                    end.judge(&object, &bytes, &held, &owner)
                }
            };
            counts.ok().map(|counts| (object, counts))
        });
        if let Some((object, counts)) = judged {
            held.follow(&object.commit).unwrap();
            end = Some(counts.end);
            writers.push((object.commit.epoch().to_string(), object.nonce));
            commits.push(object.commit);
        }
        number = number.next();
    }
    (commits, writers)
}

fn story(seed: u64, rules: Rules, totals: &mut BTreeMap<&'static str, u64>) {
    let mut random = Random::new(seed);
    let agent = genesis().body.agent_id();
    let mut often = |most| random.below(most);
    let faults = Faults { lost: often(60), unanswered: often(80), late: often(60), twice: often(60) };
    let bucket = SimBucket::with_rules(random.number(), faults, rules);
    let disks = (0..NODES).map(|_| Arc::new(MemoryStore::one_by_one())).collect();
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let world = SimWorld::new(seed, START);
    let machines = (0..NODES).map(|node| story.clone().machine(node, Random::new(random.number())));
    let (run, _) = executor::run(&world, Some(200_000), join_all(machines), &mut []);
    assert!(matches!(run, Run::Done(_)), "seed {seed}: it does not end");

    bucket.set_faults(Faults::default());
    bucket.settle();
    let (commits, writers) = canon(&bucket, agent);
    let places: Vec<(Seq, Hash)> = commits.iter().map(|commit| (commit.next(), commit.head())).collect();
    for acknowledged in &story.seen.borrow().acknowledged {
        assert!(
            places.contains(acknowledged),
            "seed {seed}: {acknowledged:?} was acknowledged, and is not in the journal"
        );
    }
    for (node, disk) in story.disks.iter().enumerate() {
        let there = journal(&**disk, agent);
        assert!(
            there.len() <= commits.len() && there == commits[..there.len()],
            "seed {seed}: node {node} has another journal"
        );
    }
    for pair in writers.windows(2) {
        assert!(
            pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1,
            "seed {seed}: two processes wrote in epoch {}",
            pair[0].0
        );
    }
    // Somebody who has nothing yet reads the same, whatever was collected.
    let fresh = Story { disks: vec![Arc::new(MemoryStore::default())], ..story.clone() };
    let (run, _) = executor::run(&world, None, async { fresh.open(0).attach(agent, None, u64::MAX).await }, &mut []);
    match run {
        Run::Done(Ok(())) => {}
        Run::Done(Err(e)) => panic!("seed {seed}: a new reader: {e}"),
        Run::Crashed => unreachable!("nothing stops it"),
    }
    let read = journal(&*fresh.disks[0], agent);
    assert_eq!(read.len(), commits.len(), "seed {seed}: a new reader does not see all");
    assert!(read == commits, "seed {seed}: a new reader sees another journal");
    for (what, count) in &story.seen.borrow().counts {
        *totals.entry(what).or_default() += count;
    }
    *totals.entry("commits").or_default() += commits.len() as u64;
    let bundles = bucket.objects(&format!("agents/{}/bundles/", agent.0)).len() as u64;
    *totals.entry("bundles").or_default() += bundles;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_happens_there_is_one_journal_and_it_has_all_that_was_acknowledged() {
    let mut totals = BTreeMap::new();
    let seeds = match number("IGOR_SHARED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("IGOR_SHARED_SEEDS").unwrap_or(1_500),
    };
    let all = seeds.clone().count();
    seeds.for_each(|seed| story(seed, Rules::ALL, &mut totals));
    println!("{totals:?}");
    if all > 100 {
        let needed = [
            "began",
            "fenced itself",
            "took over",
            "fence lost",
            "appended",
            "fenced off",
            "abandoned",
            "reading cut",
            "collected",
            "bundles",
            "killed",
        ];
        for what in needed {
            assert!(totals.get(what).is_some_and(|count| *count > 0), "{what} never happened: {totals:?}");
        }
    }
}

/// Leaves out a rule, and finds a story that goes wrong, in the way that is named for it.
fn check_needed(rule: Rule, wrong: &str) {
    let goes_wrong = |seed: &u64| {
        let told = std::panic::catch_unwind(|| story(*seed, Rules::without(rule), &mut BTreeMap::new()));
        told.is_err_and(|why| {
            let text = why.downcast_ref::<String>().map(String::as_str).or(why.downcast_ref::<&str>().copied());
            text.is_some_and(|text| text.contains(wrong))
        })
    };
    assert!((0..LEFT_OUT_SEEDS).any(|seed| goes_wrong(&seed)), "without {rule:?} no story ends by `{wrong}`");
}

/// Stories that are told without a rule, at most.
const LEFT_OUT_SEEDS: u64 = 1_500;

/// What the model has no blobs for (`crates/sim/tests/slots.rs`).
#[test]
fn copies_of_blobs_that_commits_share_are_deleted_under_who_needs_them() {
    check_needed(Rule::OwnBlobs, "new reader");
}

/// What the model finds too, found with the driver that nodes have.
#[test]
fn what_the_model_finds_stories_find_too() {
    check_needed(Rule::CheckAfterChange, "journal");
    check_needed(Rule::AskAfterwards, "journal");
    check_needed(Rule::BundleWhenRead, "journal");
    check_needed(Rule::ChangesStay, "journal");
}

/// Garbage in the way of a writer is passed over, by it and by whoever reads.
#[test]
fn slots_that_count_for_nothing_are_passed_over() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let story =
        Story { bucket: bucket.clone(), disks: vec![Arc::new(MemoryStore::default())], seen: Rc::default(), agent };
    for number in [1, 3, 4] {
        bucket.plant(&slot_key(agent, Slot(number)), &Bytes::from_static(b"garbage"));
    }
    bucket.plant(&slot_key(agent, Slot(6)), &Bytes::from(vec![0; 9 << 20]));
    let store = story.open(0);
    let work = async {
        story.begin(&store).await.unwrap();
        for _ in 0..4 {
            let next = seal(&held(&store, agent).unwrap(), story.now(), &key(0));
            store.append(next.clone()).await.unwrap();
        }
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    let other = Story { disks: vec![Arc::new(MemoryStore::default())], ..story.clone() };
    let read = async { other.open(0).attach(agent, None, u64::MAX).await.unwrap() };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, read, &mut []).0, Run::Done(())));
    assert_eq!(journal(&*other.disks[0], agent), journal(&*story.disks[0], agent));
    assert_eq!(journal(&*other.disks[0], agent).len(), 5);
}

/// Readers look nowhere else for what a journal begins with: whoever begins one does not either.
#[test]
fn no_journal_begins_behind_garbage() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    bucket.plant(&slot_key(agent, Slot(0)), &Bytes::from_static(b"garbage"));
    let work = async {
        let refused = story.begin(&story.open(0)).await.unwrap_err();
        assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    assert_eq!(bucket.objects(&format!("agents/{}/log/", agent.0)).len(), 1);
}

/// Who was told how far a journal goes asks for that, for what may have been collected meanwhile, and for nothing more.
#[test]
fn what_is_known_to_be_there_takes_two_reads() {
    let agent = genesis().body.agent_id();
    let disks = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let story = Story { bucket: SimBucket::new(1, Faults::default()), disks, seen: Rc::default(), agent };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        let reader = story.open(1);
        reader.attach(agent, None, u64::MAX).await.unwrap();
        let reads = |before: Option<Requests>| reader.requests(agent).unwrap().since(before.unwrap_or_default()).reads;
        for number in 0..8 {
            let end = held(&store, agent).unwrap();
            let next = if number == 5 {
                store.put_blob(b"the state".to_vec()).await.unwrap();
                checkpoint(&end, story.now(), b"the state")
            } else {
                seal(&end, story.now(), &key(0))
            };
            store.append(next).await.unwrap();
            if number == 6 {
                store.collect(agent).await.unwrap();
            }
            let (before, end) = (reader.requests(agent), store.tail(agent).unwrap().unwrap());
            reader.attach(agent, Some(end.next), u64::MAX).await.unwrap();
            assert_eq!(reader.tail(agent).unwrap(), Some(end), "all of it is here");
            // A state is one more, and a bundle that has what was read already is passed over.
            let few = if number == 5 { 3 } else { 2 };
            assert!(number == 6 || reads(before) == few, "commit {number}: {} reads", reads(before));
            let before = reader.requests(agent);
            reader.attach(agent, Some(end.next), u64::MAX).await.unwrap();
            assert_eq!(reads(before), 0, "what is here already is not asked for");
        }
        // More than there is: then it is the end that counts.
        let end = store.tail(agent).unwrap().unwrap();
        reader.attach(agent, Some(end.next.next()), u64::MAX).await.unwrap();
        assert_eq!(reader.tail(agent).unwrap(), Some(end));
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    assert_eq!(journal(&*story.disks[1], agent), journal(&*story.disks[0], agent));
}

/// Where what was collected is gone, nobody goes on from before it.
/// Whoever may create objects, and is no node that had custody, hides nothing and stops nobody.
#[test]
fn a_bundle_of_a_stranger_counts_for_nothing() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let forge = |index: u32| {
        let key_of = format!("agents/{}/bundles/{:020}/{index:010}", agent.0, 0);
        let forged = Bundle::sign(agent, (Slot(0), index), Slot(1000), b"no pack", &key(1));
        bucket.plant(&key_of, &forged.encode().into());
    };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        let reader = story.open(1);
        forge(0);
        reader.attach(agent, None, u64::MAX).await.unwrap();
        story.append_eight(&store).await;
        reader.refresh(agent).await.unwrap();
        assert_eq!(journal(&*story.disks[1], agent).len(), 9);
        // The collector passes it over, and so does who reads what it left.
        store.collect(agent).await.unwrap();
        assert_eq!(bucket.objects(&format!("agents/{}/packs/", agent.0)).len(), 1);
        forge(2);
        story.disks[1].remove(agent).await.unwrap();
        let reader = story.open(1);
        reader.attach(agent, None, u64::MAX).await.unwrap();
        assert_eq!(journal(&*story.disks[1], agent).len(), 9);
        // Who goes on looks whether slots were collected where it comes: only their writer could say so.
        let end = held(&reader, agent).unwrap();
        let fence = end.fence(key(1).public(), TERMS, story.now()).unwrap();
        let fence = commit(&end, fence.place().unwrap().at, Body::Custody(fence.sign(&key(1))));
        reader.append(fence).await.unwrap();
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
}

#[test]
fn a_pack_that_is_gone_is_missed() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        let reader = story.open(1);
        reader.attach(agent, None, u64::MAX).await.unwrap();
        story.append_eight(&store).await;
        store.collect(agent).await.unwrap();
        for (key, _) in bucket.objects(&format!("agents/{}/packs/", agent.0)) {
            bucket.lose(&key);
        }
        let refused = reader.refresh(agent).await.unwrap_err();
        assert!(matches!(refused, Error::RolledBack { .. }), "{refused}");
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    assert_eq!(journal(&*story.disks[1], agent).len(), 1, "it goes on from nowhere else");
}

/// Slots of the first run are collected too, and whoever has nothing yet reads on behind them.
#[test]
fn a_new_reader_sees_what_was_collected_of_the_first_run() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        story.append_eight(&store).await;
        store.collect(agent).await.unwrap();
        story.open(1).attach(agent, None, u64::MAX).await.unwrap();
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    let slots = bucket.objects(&format!("agents/{}/log/", agent.0)).into_iter().map(|(key, _)| key);
    let stay: Vec<String> = [0, 7, 8].map(|number| slot_key(agent, Slot(number))).into();
    assert_eq!(slots.collect::<Vec<_>>(), stay);
    assert_eq!(journal(&*story.disks[1], agent), journal(&*story.disks[0], agent));
    assert_eq!(journal(&*story.disks[1], agent).len(), 9);
}

/// States of checkpoints before the last one go, also those that an earlier process left.
#[test]
fn of_states_only_the_last_one_stays() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let step = async |store: &Shared<MemoryStore, SimBucket>, state: &[u8]| {
        store.put_blob(state.to_vec()).await.unwrap();
        let end = held(store, agent).unwrap();
        store.append(checkpoint(&end, story.now(), state)).await.unwrap();
    };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        step(&store, b"one").await;
        step(&store, b"two").await;
        drop(store);
        let store = story.open(0);
        store.attach(agent, None, u64::MAX).await.unwrap();
        let end = held(&store, agent).unwrap();
        let fence = end.fence(key(0).public(), TERMS, story.now()).unwrap();
        let fence = commit(&end, fence.place().unwrap().at, Body::Custody(fence.sign(&key(0))));
        store.append(fence).await.unwrap();
        for state in [b"three", b"fours", b"fives", b"sixes", b"seven"] {
            step(&store, state).await;
        }
        store.collect(agent).await.unwrap();
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    let names: Vec<String> =
        bucket.objects(&format!("agents/{}/blobs/", agent.0)).into_iter().map(|(key, _)| key).collect();
    let of = |state: &[u8]| names.iter().filter(|name| name.ends_with(&Hash::of_blob(state).to_string())).count();
    let states: [&[u8]; 7] = [b"one", b"two", b"three", b"fours", b"fives", b"sixes", b"seven"];
    assert_eq!(states.map(of), [0, 0, 0, 0, 0, 0, 1]);
}

/// A reader takes in no more than it has room for; with more room it goes on from there.
#[test]
fn of_a_journal_no_more_is_read_than_there_is_room_for() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        let state = vec![7; 10_000];
        store.put_blob(state.clone()).await.unwrap();
        let end = held(&store, agent).unwrap();
        store.append(checkpoint(&end, story.now(), &state)).await.unwrap();
        let reader = story.open(1);
        for bytes_max in [0, 600, 9_000] {
            let refused = reader.attach(agent, None, bytes_max).await.unwrap_err();
            assert!(matches!(refused, Error::Quota { bytes_max: told, .. } if told == bytes_max), "{refused}");
            assert!(!story.disks[1].has_blob(Hash::of_blob(&state)).unwrap());
        }
        reader.attach(agent, None, 11_000).await.unwrap();
        assert!(story.disks[1].has_blob(Hash::of_blob(&state)).unwrap());
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    assert_eq!(journal(&*story.disks[1], agent), journal(&*story.disks[0], agent));
}

/// A bucket that lacks what was read from it is refused, and nothing is written.
#[test]
fn a_bucket_that_was_rolled_back_is_refused() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default())];
    let story = Story { bucket: bucket.clone(), disks, seen: Rc::default(), agent };
    let work = async {
        let store = story.open(0);
        story.begin(&store).await.unwrap();
        let next = seal(&held(&store, agent).unwrap(), story.now(), &key(0));
        store.append(next).await.unwrap();
        drop(store);
        bucket.lose(&slot_key(agent, Slot(1)));
        let again = story.open(0);
        let refused = again.refresh(agent).await.unwrap_err();
        assert!(matches!(refused, Error::RolledBack { .. }), "{refused}");
        let next = seal(&held(&again, agent).unwrap(), story.now(), &key(0));
        let refused = again.append(next).await.unwrap_err();
        assert!(matches!(refused, Error::Behind { .. }), "{refused}");
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
    assert_eq!(bucket.objects(&format!("agents/{}/log/", agent.0)).len(), 1);
}

/// Each request is counted for the journal that it was for.
#[test]
fn what_a_journal_costs_is_counted() {
    let agent = genesis().body.agent_id();
    let bucket = SimBucket::new(1, Faults::default());
    let disks = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let story = Story { bucket, disks, seen: Rc::default(), agent };
    let work = async {
        let store = story.open(0);
        assert_eq!(store.requests(agent), None, "nothing is known of it");
        story.begin(&store).await.unwrap();
        let begun = store.requests(agent).unwrap();
        assert_eq!(begun, Requests { creates: 3, ..Requests::default() }, "its program, its manifest, its first slot");
        story.append_eight(&store).await;
        let appended = store.requests(agent).unwrap();
        assert_eq!(appended.since(begun), Requests { creates: 9, ..Requests::default() }, "eight slots and a state");
        store.collect(agent).await.unwrap();
        let collected = store.requests(agent).unwrap().since(appended);
        assert_eq!((collected.creates, collected.deletes), (2, 6), "a pack and a bundle for six slots");
        assert!(collected.reads >= 6, "{collected:?}");
        let reader = story.open(1);
        reader.attach(agent, None, u64::MAX).await.unwrap();
        let read = reader.requests(agent).unwrap();
        assert!(read.creates == 0 && read.deletes == 0 && read.reads > 3, "{read:?}");
        let other = AgentId(Hash::of_blob(b"another"));
        assert_eq!(reader.requests(other), None);
    };
    assert!(matches!(executor::run(&SimWorld::new(1, START), None, work, &mut []).0, Run::Done(())));
}
