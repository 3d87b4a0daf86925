//! The bucket of a cluster, and the way to it from each machine: slow, lossy, cut off; and requests that outlive who made
//! them.
//!
//! Invariants kept here:
//! - Of all creates of a key one takes effect, as long as nobody deletes it; who reads after an answer sees what it was
//!   about. All else is up to the seed.
//! - A request is on its way by itself: it arrives, or does not, whatever becomes of the process that made it.
//! - Whoever hears nothing waits for `LIMIT`, and then does not know what came of it.

use super::{
    clock::NodeWorld,
    counts::Counts,
    dice::Dice,
    kernel::Kernel,
    oracle::{Oracle, describe, short},
    truth::{News, STORE, Truth},
};
use crate::bucket::{Faults, Objects, SimBucket, within};
use bytes::Bytes;
use igor_protocol::{
    AgentId, Nanos,
    entry::{Custody, Phase, StoreId},
    slot::Rules,
};
use igor_store::{
    bucket::{Bucket, Created, Failure},
    shared::slot_key,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How long an answer is waited for.
const LIMIT: Nanos = Nanos::from_secs(4);
/// The shortest way to the bucket, and the longest where nothing is wrong.
const NEAR: Nanos = Nanos(300_000);
const FAR: Nanos = Nanos(9_000_000);
/// How much later than it should a request may arrive that is late.
const LATE: Nanos = Nanos::from_secs(14);
/// Pauses before a request is made again: the first, and the longest.
const PAUSE_MIN: Nanos = Nanos::from_millis(20);
const PAUSE_MAX: Nanos = Nanos::from_secs(1);
/// How long a listing may be behind.
const STALE: Nanos = Nanos::from_secs(5);

/// How often what goes wrong with requests, in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// It never arrives.
    pub lost: u64,
    /// Its answer never does.
    pub unanswered: u64,
    /// It arrives long after.
    pub late: u64,
    /// It arrives, and once more long after.
    pub twice: u64,
    /// It is refused for now.
    pub throttled: u64,
}

impl Trouble {
    /// What goes wrong in every network.
    pub const USUAL: Self = Self { lost: 2, unanswered: 2, late: 2, twice: 3, throttled: 2 };
}

/// A bucket that several machines reach. Clones are the same one.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    counts: Counts,
    oracle: Oracle,
    truth: Truth,
    rules: Rules,
    state: Mutex<State>,
}

struct State {
    objects: Objects,
    dice: Dice,
    trouble: Trouble,
    /// How many outages there are, of all and of each machine's way.
    away: u32,
    cut: Vec<u32>,
    /// All ways take so many times as long.
    slow: u64,
    /// The process of each machine that is there now, by its number; none while it is down.
    processes: Vec<Option<u64>>,
}

#[derive(Clone)]
enum Request {
    Create(String, Bytes),
    Replace(String, Bytes),
    Get(String),
    List(String, String),
    Delete(String),
}

enum Done {
    Created(Created),
    Found(Option<Bytes>),
    Keys(Vec<String>),
    Nothing,
}

type Answer = oneshot::Sender<Result<Done, Failure>>;

impl Cloud {
    /// An empty bucket, for so many machines.
    pub fn new(kernel: Kernel, counts: Counts, oracle: Oracle, seed: u64, machines: usize, rules: Rules) -> Self {
        let (dice, objects, trouble) = (Dice::new(seed, 0x636c_6f75), Objects::default(), Trouble::USUAL);
        let (cut, processes) = (vec![0; machines], vec![None; machines]);
        let state = Mutex::new(State { objects, dice, trouble, away: 0, cut, slow: 1, processes });
        let truth = oracle.truth().cloned().unwrap_or_default();
        Self(Arc::new(Inner { kernel, counts, oracle, truth, rules, state }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which bucket it is.
    pub const fn id(&self) -> StoreId {
        STORE
    }

    /// From now on this goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.lock().trouble = trouble;
    }

    /// Nothing arrives there, until this is over as often.
    pub fn goes_away(&self) {
        self.lock().away += 1;
    }

    /// See [`Cloud::goes_away`].
    pub fn is_back(&self) {
        let mut state = self.lock();
        state.away = state.away.saturating_sub(1);
    }

    /// Nothing arrives there from a machine, and nothing comes back, until it is joined as often.
    pub fn cut(&self, machine: usize) {
        self.lock().cut[machine] += 1;
    }

    /// See [`Cloud::cut`].
    pub fn join(&self, machine: usize) {
        let mut state = self.lock();
        state.cut[machine] = state.cut[machine].saturating_sub(1);
    }

    /// Everything takes so many times as long.
    pub fn slow(&self, times: u64) {
        self.lock().slow = times.max(1);
    }

    /// A process of a machine begins, or ends.
    pub fn process(&self, machine: usize, number: Option<u64>) {
        self.lock().processes[machine] = number;
    }

    /// What stands there now, for who reads in peace.
    pub fn copy(&self) -> SimBucket {
        let mut copy = Objects::default();
        for (key, bytes) in self.lock().objects.all() {
            copy.create(key, bytes);
        }
        SimBucket::of(copy, 0, Faults::default(), Rules::ALL)
    }

    /// Sends a request on its way. Whoever waits for the answer may hear nothing.
    fn send(&self, machine: usize, process: u64, request: Request, answer: Answer) {
        let (there, back, fate) = {
            let mut state = self.lock();
            let slow = state.slow;
            let mut way = || Nanos(state.dice.within(NEAR.0, FAR.0).saturating_mul(slow));
            let (there, back) = (way(), way());
            (there, back, state.fate())
        };
        let counts = &self.0.counts;
        match fate {
            Fate::Well => self.travel(machine, process, request, there, Some((back, answer))),
            Fate::Lost => {
                counts.add("request to the bucket lost");
                drop(answer);
            }
            Fate::Unanswered => {
                counts.add("answer of the bucket lost");
                drop(answer);
                self.travel(machine, process, request, there, None);
            }
            Fate::Late(late) => {
                counts.add("request to the bucket late");
                self.travel(machine, process, request, there.saturating_add(late), Some((back, answer)));
            }
            Fate::Twice(late) => {
                counts.add("request to the bucket doubled");
                self.travel(machine, process, request.clone(), there, Some((back, answer)));
                self.travel(machine, process, request, there.saturating_add(late), None);
            }
            Fate::Throttled => {
                counts.add("request to the bucket throttled");
                let kernel = self.0.kernel.clone();
                self.0.kernel.spawn(None, async move {
                    kernel.sleep(there.saturating_add(back)).await;
                    drop(answer.send(Err(unknown("503: slow down"))));
                });
            }
        }
    }

    fn travel(&self, machine: usize, process: u64, request: Request, there: Nanos, back: Option<(Nanos, Answer)>) {
        let cloud = self.clone();
        // Of no machine: it is on its way, whatever becomes of who sent it.
        self.0.kernel.spawn(None, async move {
            cloud.0.kernel.sleep(there).await;
            if !cloud.is_there(machine) {
                return;
            }
            let done = cloud.arrive(machine, process, request);
            if let Some((back, answer)) = back {
                cloud.0.kernel.sleep(back).await;
                if cloud.is_there(machine) {
                    drop(answer.send(Ok(done)));
                }
            }
        });
    }

    /// Whether anything comes through from or to a machine.
    fn is_there(&self, machine: usize) -> bool {
        let (away, cut) = {
            let state = self.lock();
            (state.away > 0, state.cut[machine] > 0)
        };
        self.0.counts.add_many("request while the bucket is away", u64::from(away));
        self.0.counts.add_many("request of a node that is cut off from the bucket", u64::from(cut));
        !away && !cut
    }

    /// Does it.
    fn arrive(&self, machine: usize, process: u64, request: Request) -> Done {
        let mut state = self.lock();
        let outlived = state.processes[machine] != Some(process);
        match request {
            Request::Create(key, bytes) => {
                let created = state.objects.create(&key, &bytes);
                drop(state);
                self.0.kernel.note(u64::from(created == Created::New) ^ bytes.len() as u64);
                if created == Created::New {
                    self.0.counts.add_many("put that outlived its process", u64::from(outlived));
                    self.created(&key);
                }
                Done::Created(created)
            }
            Request::Replace(key, bytes) => {
                state.objects.replace(&key, &bytes);
                Done::Nothing
            }
            Request::Get(key) => Done::Found(state.objects.get(&key)),
            Request::List(prefix, after) => Done::Keys(state.objects.list(&prefix, &after)),
            Request::Delete(key) => {
                let was = state.objects.delete(&key);
                drop(state);
                self.0.counts.add_many("slot collected", u64::from(was && slot_in(&key).is_some()));
                Done::Nothing
            }
        }
    }

    /// Something stands there that did not. Where it is the first in its slot, the journal may go on by it.
    fn created(&self, key: &str) {
        if key.contains("/bundles/") {
            self.0.counts.add("bundle made");
        }
        let Some(agent) = slot_in(key) else { return };
        let news = self.0.truth.read_on(agent, |slot| self.lock().objects.first(&slot_key(agent, slot)));
        for one in news {
            match one {
                News::Void => self.0.counts.add("void slot"),
                News::Counts(None) => {}
                News::Counts(Some(record)) => {
                    self.0.oracle.log(|| format!("the bucket has {} of {}", describe(&record), short(agent)));
                    self.0.counts.add(name(&record));
                }
            }
        }
    }
}

/// What a change of custody counts as.
fn name(record: &Custody) -> &'static str {
    match &record.phase {
        Phase::Handoff(_) => "give",
        Phase::Accept(_) => "accept",
        Phase::Decline(_) => "decline",
        Phase::Return(_) => "return",
        Phase::Takeover(_) => "takeover",
        Phase::Fence(fence) if fence.from == fence.custodian => "fence of its own",
        Phase::Fence(_) => "fence of another",
    }
}

/// Whose slot a key names.
fn slot_in(key: &str) -> Option<AgentId> {
    let (agent, rest) = key.strip_prefix("agents/")?.split_once('/')?;
    rest.starts_with("log/").then(|| agent.parse().ok().map(AgentId)).flatten()
}

enum Fate {
    Well,
    Lost,
    Unanswered,
    Late(Nanos),
    Twice(Nanos),
    Throttled,
}

impl State {
    fn fate(&mut self) -> Fate {
        let Trouble { lost, unanswered, late, twice, throttled } = self.trouble;
        let (dice, after) = (self.dice.below(1000), Nanos(self.dice.below(LATE.0)));
        let (mut end, mut which) = (0, 0);
        for times in [lost, unanswered, late, twice, throttled] {
            end += times;
            which += u32::from(end <= dice);
        }
        match which {
            0 => Fate::Lost,
            1 => Fate::Unanswered,
            2 => Fate::Late(after),
            3 => Fate::Twice(after),
            4 => Fate::Throttled,
            _ => Fate::Well,
        }
    }
}

fn unknown(why: &str) -> Failure {
    Failure::Unknown { why: why.to_owned() }
}

/// The bucket as one process sees it.
pub struct NodeBucket {
    cloud: Cloud,
    world: Arc<NodeWorld>,
    machine: usize,
    process: u64,
    /// It says of what it was to create that it is there before it is: a mistake.
    hasty: bool,
    waits: Mutex<Waits>,
}

/// What a process waits for: as the client of a real bucket counts it.
#[derive(Default)]
struct Waits {
    /// Requests that are under way.
    pending: usize,
    /// When the first request since the last that was answered well was sent; none if there is none.
    since: Option<Nanos>,
    /// One of those since then was not answered well.
    failed: bool,
}

/// A request under way. One that is dropped says nothing about the bucket: nobody waits for its answer any more.
struct Pending<'a> {
    bucket: &'a NodeBucket,
    answered: Option<bool>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let now = self.bucket.cloud.0.kernel.now();
        let mut waits = self.bucket.waits();
        waits.pending = waits.pending.saturating_sub(1);
        let is_none = waits.pending == 0;
        match self.answered {
            Some(true) => {
                waits.failed = false;
                waits.since = (!is_none).then_some(now);
            }
            Some(false) => waits.failed = true,
            None if is_none && !waits.failed => waits.since = None,
            None => {}
        }
    }
}

impl NodeBucket {
    /// For a process that begins.
    pub fn new(cloud: Cloud, world: Arc<NodeWorld>, machine: usize, process: u64, hasty: bool) -> Self {
        cloud.process(machine, Some(process));
        Self { cloud, world, machine, process, hasty, waits: Mutex::default() }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Pending<'_> {
        let now = self.cloud.0.kernel.now();
        let mut waits = self.waits();
        waits.pending += 1;
        waits.since.get_or_insert(now);
        Pending { bucket: self, answered: None }
    }

    /// How long nothing was answered that was asked; nothing where all was.
    pub fn silent_for(&self) -> Option<Nanos> {
        let now = self.cloud.0.kernel.now();
        self.waits().since.map(|since| now.saturating_sub(since))
    }

    async fn ask(&self, request: Request) -> Result<Done, Failure> {
        let mut pending = self.begin();
        let (answer, heard) = oneshot::channel();
        self.cloud.send(self.machine, self.process, request, answer);
        let answered = async {
            match heard.await {
                Ok(answer) => answer,
                // What never comes says nothing.
                Err(_) => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = answered => answer,
            () = self.world.sleep(LIMIT) => Err(unknown("no answer came")),
        };
        pending.answered = Some(answer.is_ok());
        answer
    }
}

impl Bucket for NodeBucket {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Failure> {
        let request = Request::Create(key.to_owned(), bytes);
        if self.hasty {
            self.cloud.send(self.machine, self.process, request, oneshot::channel().0);
            return Ok(Created::New);
        }
        match self.ask(request).await? {
            Done::Created(created) => Ok(created),
            _ => Err(unknown("that is no answer to a create")),
        }
    }

    async fn replace(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        self.ask(Request::Replace(key.to_owned(), bytes)).await.map(drop)
    }

    async fn get(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, Failure> {
        match self.ask(Request::Get(key.to_owned())).await? {
            Done::Found(found) => within(key, found, bytes_max),
            _ => Err(unknown("that is no answer to a read")),
        }
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Failure> {
        match self.ask(Request::List(prefix.to_owned(), after.to_owned())).await? {
            Done::Keys(keys) => {
                // What was listed a while ago.
                self.world.doze(Nanos::ZERO, STALE).await;
                Ok(keys)
            }
            _ => Err(unknown("that is no answer to a listing")),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.ask(Request::Delete(key.to_owned())).await.map(drop)
    }

    fn rules(&self) -> Rules {
        self.cloud.0.rules
    }

    async fn pause(&self, attempt: u32) {
        let step = Nanos(PAUSE_MIN.0 << attempt.min(10)).min(PAUSE_MAX);
        self.world.doze(Nanos(step.0 / 2), step).await;
    }
}
