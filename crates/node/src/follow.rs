//! Reads a journal as it grows.
//!
//! Invariants kept here:
//! - Every commit comes, in order, each after it is durable; nothing is dropped for a slow reader, and a life never
//!   waits for one: what was not read yet stays in the journal.
//! - Memory is bounded by one piece of the journal.

use crate::bucket::NodeStore;
use crate::hosted::Hosted;
use igor_protocol::{AgentId, Commit, Seq};
use igor_store::{Error, Store};
use std::{collections::VecDeque, sync::Arc};

/// Commits that are read at once.
const PIECE_COMMITS: usize = 64;
/// Entry bytes after which a piece ends.
const PIECE_BYTES: usize = 1 << 20;

/// The commits of a journal from some place on.
pub struct Follower {
    store: Arc<NodeStore>,
    agent: AgentId,
    next: Seq,
    held: VecDeque<Commit>,
    /// Who makes it grow; nothing where nobody does now.
    life: Option<Arc<Hosted>>,
}

impl Follower {
    /// Follows the journal from the commit that holds `from`; to its end at that time where there is no `life`, else
    /// until the life is over.
    pub fn new(store: Arc<NodeStore>, agent: AgentId, from: Seq, life: Option<Arc<Hosted>>) -> Self {
        Self { store, agent, next: from, held: VecDeque::new(), life }
    }

    /// The next commit; waits for it. Nothing when there will be no more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Commit>, Error> {
        loop {
            if let Some(commit) = self.held.pop_front() {
                self.next = commit.next();
                return Ok(Some(commit));
            }
            // Looked at before the journal is, so that what is committed in between wakes the wait below.
            let watch = self.life.as_ref().map(|life| (life.is_over(), life.watch(), life.clone()));
            if self.fill().await? {
                continue;
            }
            match watch {
                None | Some((true, ..)) => return Ok(None),
                Some((false, mut now, life)) => {
                    if now.changed().await.is_err() {
                        life.over().await;
                    }
                }
            }
        }
    }

    /// Reads the next piece. False where there is none.
    async fn fill(&mut self) -> Result<bool, Error> {
        let agent = self.agent;
        let end = self.store.tail(agent)?.map_or(Seq(0), |chain| chain.next);
        if end <= self.next {
            return Ok(false);
        }
        let (store, from) = (self.store.clone(), self.next);
        // A follower that keeps up reads what was just written, from memory; one that is behind may wait for disks.
        self.held = if end.0 - from.0 <= PIECE_COMMITS as u64 {
            piece(&store, agent, from)?
        } else {
            match tokio::task::spawn_blocking(move || piece(&store, agent, from)).await {
                Ok(read) => read?,
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            }
        };
        Ok(!self.held.is_empty())
    }
}

fn piece(store: &NodeStore, agent: AgentId, from: Seq) -> Result<VecDeque<Commit>, Error> {
    let mut bytes = 0;
    let mut held = VecDeque::new();
    for commit in store.read(agent, from)?.take(PIECE_COMMITS) {
        let commit = commit?;
        bytes += commit.entries().map(|(.., entry)| entry.len()).sum::<usize>();
        held.push_back(commit);
        if bytes >= PIECE_BYTES {
            break;
        }
    }
    Ok(held)
}
