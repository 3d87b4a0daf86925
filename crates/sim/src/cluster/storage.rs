//! The store of one machine: the real one on a simulated disk, with the real one's threads as tasks.
//!
//! Invariants kept here:
//! - What was asked of the store is done although whoever asked is gone: it waits in a queue of the log or of the
//!   blobs, as in the real store.
//! - One flush serves all commits that came together; each is answered after it.
//! - A disk that goes down in the middle of a change takes its machine with it, at that instant.

use super::{bucket::NodeBucket, machine::Machine, oracle::Oracle, planted::Planted};
use igor_protocol::{AgentId, Chain, Commit, Hash, Nanos, Seq, custody::Note, verify::Blobs};
use igor_store::{
    Commits, Error, Store,
    disk::{Core, Options},
    shared::Shared,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

use super::clock::NodeWorld;

/// The longest time that a sync takes where nothing is wrong.
const SYNC_MAX: Nanos = Nanos(400_000);
/// After this long without a commit the last group is closed.
const IDLE: Nanos = Nanos::from_millis(100);

/// Small, so that a short life goes through several segments.
fn options() -> Options {
    Options { segment_bytes_first: 16 << 10, segment_bytes_max: 32 << 10, reserve_bytes: 1024, ..Options::default() }
}

/// The store of one machine, with the bucket where the cluster has one.
pub type SimStore = Shared<NodeStore, NodeBucket>;

type Answer<T> = oneshot::Sender<Result<T, Error>>;

enum ToLog {
    Append(Commit, Answer<()>),
    AppendNoting(Commit, String, Vec<u8>, Answer<()>),
    Local(String, Vec<u8>, Answer<()>),
    RemoveLocal(String, Answer<()>),
    Remove(AgentId, Answer<()>),
    Settle(Answer<()>),
}

struct ToFiles(Vec<u8>, Answer<Hash>);

/// An open store.
pub struct NodeStore {
    machine: Arc<Machine>,
    core: Mutex<Core>,
    log: mpsc::UnboundedSender<ToLog>,
    files: mpsc::UnboundedSender<ToFiles>,
}

impl NodeStore {
    /// Opens the store of a machine, which recovers, and starts its tasks.
    pub fn open(machine: &Arc<Machine>, world: &Arc<NodeWorld>) -> Result<Arc<Self>, Error> {
        let core = machine.checked(Core::open(machine.disk.files(), &options()))?;
        let (log, for_log) = mpsc::unbounded_channel();
        let (files, for_files) = mpsc::unbounded_channel();
        let store = Arc::new(Self { machine: machine.clone(), core: Mutex::new(core), log, files });
        machine.spawn(run_log(store.clone(), world.clone(), for_log));
        machine.spawn(run_files(store.clone(), world.clone(), for_files));
        Ok(store)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Core) -> Result<T, Error>) -> Result<T, Error> {
        let done = work(&mut self.lock());
        self.machine.checked(done)
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds what a restart found against what was durable before.
    pub fn check_recovered(&self, oracle: &Oracle) {
        let node = self.machine.index;
        for tail in oracle.tails(node) {
            // A disk that goes down meanwhile shows nothing; the next start does.
            if let Err(why) = self.check_journal(oracle, tail)
                && !oracle.is_rotten(node)
                && !self.machine.disk.is_down()
            {
                oracle.violate(format!("node {node} lost what was durable: {why}"));
            }
        }
        let agents = self.lock().list();
        for agent in agents {
            if oracle.tail(node, agent).is_none() {
                // Its removal was not confirmed, or nobody was told of its beginning.
                for commit in self.read(agent, Seq(0)).into_iter().flatten().flatten() {
                    oracle.committed(node, &commit);
                }
            }
        }
    }

    fn check_journal(&self, oracle: &Oracle, tail: Chain) -> Result<(), String> {
        let agent = tail.agent;
        // A removal that was asked for and not confirmed may have happened.
        let found = self.lock().tail(agent);
        let Some(found) = found else {
            oracle.removed(self.machine.index, agent);
            return self.machine.may_be_gone(agent).then_some(()).ok_or_else(|| format!("the journal of {agent}"));
        };
        if found.next < tail.next {
            return Err(format!("{agent} ends before seq {}, and ended before seq {}", found.next, tail.next));
        }
        let last = Seq(tail.next.0 - 1);
        let mut commits = self.read(agent, last).map_err(|e| e.to_string())?;
        let commit = commits.next().ok_or("nothing to read")?.map_err(|e| e.to_string())?;
        if commit.entries().find(|(seq, ..)| *seq == last).map(|(_, head, _)| head) != Some(tail.head) {
            return Err(format!("{agent} has another entry at seq {last}"));
        }
        for commit in commits {
            oracle.committed(self.machine.index, &commit.map_err(|e| e.to_string())?);
        }
        Ok(())
    }
}

fn gone() -> Error {
    Error::Poisoned { why: "the store's tasks are gone".into() }
}

async fn ask<R, T>(to: &mpsc::UnboundedSender<R>, request: impl FnOnce(Answer<T>) -> R) -> Result<T, Error> {
    let (answer, answered) = oneshot::channel();
    to.send(request(answer)).map_err(|_| gone())?;
    answered.await.unwrap_or_else(|_| Err(gone()))
}

async fn run_log(store: Arc<NodeStore>, world: Arc<NodeWorld>, mut requests: mpsc::UnboundedReceiver<ToLog>) {
    let mut closed = true;
    loop {
        let first = if closed {
            requests.recv().await
        } else {
            tokio::select! {
                biased;
                request = requests.recv() => request,
                () = world.sleep(IDLE) => {
                    closed = true;
                    drop(store.with(Core::close_idle));
                    continue;
                }
            }
        };
        let Some(mut request) = first else { return };
        closed = false;
        let (mut waiting, mut commits, mut removed, mut noted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        loop {
            let (staged, answer) = match request {
                ToLog::Append(commit, answer) => {
                    let staged = store.with(|core| core.stage(&commit));
                    commits.extend(staged.is_ok().then_some(commit));
                    (staged, answer)
                }
                ToLog::AppendNoting(commit, name, bytes, answer) => {
                    let staged = store.with(|core| core.stage_noting(&commit, &name, &bytes));
                    if staged.is_ok() {
                        commits.push(commit);
                        noted.push(bytes);
                    }
                    (staged, answer)
                }
                ToLog::Local(name, bytes, answer) => {
                    let staged = store.with(|core| core.stage_local(&name, &bytes));
                    noted.extend(staged.is_ok().then_some(bytes));
                    (staged, answer)
                }
                ToLog::RemoveLocal(name, answer) => (store.with(|core| core.stage_local_removal(&name)), answer),
                ToLog::Remove(agent, answer) => {
                    let staged = store.with(|core| core.stage_removal(agent));
                    removed.extend(staged.is_ok().then_some(agent));
                    store.machine.removing(agent);
                    (staged, answer)
                }
                ToLog::Settle(answer) => (Ok(()), answer),
            };
            match staged {
                Ok(()) => waiting.push(answer),
                Err(e) => drop(answer.send(Err(e))),
            }
            match requests.try_recv() {
                Ok(next) => request = next,
                Err(_) => break,
            }
        }
        if store.machine.planted == Some(Planted::AnswersBeforeSync) {
            waiting.drain(..).for_each(|answer| drop(answer.send(Ok(()))));
        }
        world.doze(Nanos(0), store.machine.sync_time(SYNC_MAX)).await;
        let flushed = store.with(Core::flush);
        if flushed.is_ok() {
            let oracle = &store.machine.oracle;
            for bytes in &noted {
                store.machine.noted(bytes);
            }
            for commit in &commits {
                oracle.committed(store.machine.index, commit);
            }
            for agent in &removed {
                oracle.removed(store.machine.index, *agent);
            }
        }
        for answer in waiting {
            let result = match &flushed {
                Ok(()) => Ok(()),
                Err(e) => Err(Error::Poisoned { why: e.to_string() }),
            };
            drop(answer.send(result));
        }
        if let Err(e) = store.with(Core::maintain) {
            store.machine.mover_failed(&e);
        }
    }
}

async fn run_files(store: Arc<NodeStore>, world: Arc<NodeWorld>, mut requests: mpsc::UnboundedReceiver<ToFiles>) {
    while let Some(ToFiles(bytes, answer)) = requests.recv().await {
        world.doze(Nanos(0), store.machine.sync_time(SYNC_MAX)).await;
        drop(answer.send(store.with(|core| core.put_blob(&bytes))));
    }
}

impl Store for NodeStore {
    async fn create(&self, commit: Commit) -> Result<(), Error> {
        self.append(commit).await
    }

    async fn append(&self, commit: Commit) -> Result<(), Error> {
        ask(&self.log, |answer| ToLog::Append(commit, answer)).await
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let name = name.to_owned();
        ask(&self.log, |answer| ToLog::AppendNoting(commit, name, bytes, answer)).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Error> {
        ask(&self.log, |answer| ToLog::Remove(agent, answer)).await
    }

    async fn settle(&self) -> Result<(), Error> {
        ask(&self.log, ToLog::Settle).await
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, Error> {
        Ok(self.lock().tail(agent))
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        self.with(|core| core.read(agent, from))
    }

    fn list(&self) -> Result<Vec<AgentId>, Error> {
        Ok(self.lock().list())
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, Error> {
        ask(&self.files, |answer| ToFiles(bytes, answer)).await
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        self.with(|core| core.has_blob(hash))
    }

    fn get_blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.with(|core| core.get_blob(hash, bytes_max))
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let name = name.to_owned();
        ask(&self.log, |answer| ToLog::Local(name, bytes, answer)).await
    }

    async fn remove_local(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        ask(&self.log, |answer| ToLog::RemoveLocal(name, answer)).await
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.with(|core| core.get_local(name))
    }

    fn list_local(&self) -> Result<Vec<String>, Error> {
        self.with(|core| core.list_local())
    }
}

impl Blobs for NodeStore {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        self.get_blob(hash, bytes_max).ok().flatten()
    }
}

/// Which agent a note is about, where it is one.
pub fn note_in(bytes: &[u8]) -> Option<(AgentId, Note)> {
    let note = Note::decode(bytes).ok()?;
    let agent = note.memory.records().next()?.phase.agent();
    Some((agent, note))
}
