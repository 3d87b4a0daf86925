//! A store in memory, whose every step is a point at which the process may crash.

use crate::{executor::point, world::SimWorld};
use igor_protocol::{AgentId, Chain, Commit, Hash, Nanos, Seq, verify::Blobs};
use igor_spine::World;
use igor_store::{Commits, Error, Store};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Journals, blobs and local values that survive a simulated crash of everything else.
///
/// A commit is durable in the middle of its append, and so with all else, between two points: a crash at the first loses it, one at the
/// second keeps it without anyone being told.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    /// Where there is one, commits become durable one after the other: a crash may keep some of several. Whoever appends must go
    /// on with all of them then.
    turn: Option<tokio::sync::Mutex<()>>,
    /// The clock that an append waits on before it is durable, and for how long.
    latency: Option<(Arc<SimWorld>, Nanos)>,
    /// What happens between the moment that a commit is durable and the one in which its writer hears of it.
    between: Between,
}

/// Given the commits of the journal, as many as there are then.
type Happens = Box<dyn FnMut(&[Commit]) + Send>;

#[derive(Default)]
struct Between(Mutex<Option<Happens>>);

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Between")
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    journals: BTreeMap<AgentId, Vec<Commit>>,
    blobs: BTreeMap<Hash, Vec<u8>>,
    locals: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    /// A store whose appends take this much of the world's time.
    pub fn slow(world: Arc<SimWorld>, latency: Nanos) -> Self {
        Self { latency: Some((world, latency)), ..Self::default() }
    }

    /// A store on which commits become durable one after the other.
    pub fn one_by_one() -> Self {
        Self { turn: Some(tokio::sync::Mutex::default()), ..Self::default() }
    }

    /// From now on this happens whenever a commit is durable, before its writer hears of it. It may use the store.
    pub fn between(&self, happens: impl FnMut(&[Commit]) + Send + 'static) {
        *self.between.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(happens));
    }

    /// Another process appends.
    pub fn append_elsewhere(&self, commit: Commit) -> Result<(), Error> {
        self.lock().add(commit, None)
    }

    /// What somebody has who copied all of it.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self { state: Mutex::new(self.lock().clone()), latency: self.latency.clone(), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every commit of a journal, durable now.
    pub fn commits(&self, agent: AgentId) -> Vec<Commit> {
        self.lock().journals.get(&agent).cloned().unwrap_or_default()
    }

    /// Takes a commit, and a local value with it.
    async fn write(&self, commit: Commit, local: Option<(&str, Vec<u8>)>) -> Result<(), Error> {
        point().await;
        if let Some((world, latency)) = &self.latency {
            world.sleep_until(world.monotonic().saturating_add(*latency)).await;
        }
        let _turn = match &self.turn {
            Some(turn) => {
                let turn = turn.lock().await;
                point().await;
                Some(turn)
            }
            None => None,
        };
        let agent = commit.agent();
        self.lock().add(commit, local)?;
        let commits = self.commits(agent);
        if let Some(happens) = &mut *self.between.0.lock().unwrap_or_else(PoisonError::into_inner) {
            happens(&commits);
        }
        point().await;
        Ok(())
    }
}

impl State {
    fn add(&mut self, commit: Commit, local: Option<(&str, Vec<u8>)>) -> Result<(), Error> {
        let agent = commit.agent();
        let tail = self.journals.get(&agent).and_then(|journal| journal.last()).map(Commit::end);
        let (start, end) = (commit.start(), tail.unwrap_or(Chain::begin(agent)));
        if start.epoch < end.epoch {
            return Err(Error::Fenced { agent, epoch: end.epoch, offered: start.epoch });
        }
        if (start.next, start.head) != (end.next, end.head) {
            return Err(Error::Conflict { agent, tail: tail.map(Box::new), offered: start.next });
        }
        self.journals.entry(agent).or_default().push(commit);
        self.locals.extend(local.map(|(name, bytes)| (name.to_owned(), bytes)));
        Ok(())
    }
}

impl Store for MemoryStore {
    async fn create(&self, commit: Commit) -> Result<(), Error> {
        self.append(commit).await
    }

    async fn append(&self, commit: Commit) -> Result<(), Error> {
        self.write(commit, None).await
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.write(commit, Some((name, bytes))).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Error> {
        point().await;
        self.lock().journals.remove(&agent);
        point().await;
        Ok(())
    }

    async fn settle(&self) -> Result<(), Error> {
        if let Some(turn) = &self.turn {
            drop(turn.lock().await);
        }
        Ok(())
    }

    fn tail(&self, agent: AgentId) -> Result<Option<Chain>, Error> {
        Ok(self.lock().journals.get(&agent).and_then(|journal| journal.last()).map(Commit::end))
    }

    fn read(&self, agent: AgentId, from: Seq) -> Result<Commits, Error> {
        let commits = self.commits(agent).into_iter().filter(move |commit| commit.next() > from);
        Ok(Box::new(commits.map(Ok)))
    }

    fn list(&self) -> Result<Vec<AgentId>, Error> {
        Ok(self.lock().journals.keys().copied().collect())
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, Error> {
        point().await;
        let hash = Hash::of_blob(&bytes);
        self.lock().blobs.insert(hash, bytes);
        point().await;
        Ok(hash)
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        Ok(self.lock().blobs.contains_key(&hash))
    }

    fn get_blob(&self, hash: Hash, _: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.lock().blobs.get(&hash).cloned())
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        point().await;
        self.lock().locals.insert(name.to_owned(), bytes);
        point().await;
        Ok(())
    }

    async fn remove_local(&self, name: &str) -> Result<(), Error> {
        point().await;
        self.lock().locals.remove(name);
        point().await;
        Ok(())
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.lock().locals.get(name).cloned())
    }

    fn list_local(&self) -> Result<Vec<String>, Error> {
        Ok(self.lock().locals.keys().cloned().collect())
    }
}

impl Blobs for MemoryStore {
    fn blob(&self, hash: Hash, _: u64) -> Option<Vec<u8>> {
        self.lock().blobs.get(&hash).cloned()
    }
}
