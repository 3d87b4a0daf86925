//! What an operator does not want to keep: archives, what is left of moves that broke off, and orphaned branches.
//!
//! Invariants kept here:
//! - Whether a journal may go is for custody to say; what the keystore has of the agent stays.
//! - Blobs go only where no journal names them, when nothing else goes on at this node: a life may be about to name one
//!   that was here before. That they are to go is durable before the journal does, so a kill forgets nothing; done again
//!   it is the same.

use super::{Node, blocking};
use crate::{Error, api::wire::Deleted, bucket::NodeStore, custody, home, local, orphans, portable};
use igor_protocol::{AgentId, Hash, Seq};
use igor_store::Store;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    sync::Arc,
};

/// The local value that says that there may be blobs which no journal names.
const SWEEP: &str = "sweep";

impl Node {
    /// Deletes what is here of the journal of an agent that others have, as a task of its own: whoever asked may go away.
    pub async fn delete(self: &Arc<Self>, agent: AgentId) -> Result<Deleted, Error> {
        let node = self.clone();
        match tokio::spawn(async move { node.delete_journal(agent).await }).await {
            Ok(done) => done,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::Vanished),
        }
    }

    async fn delete_journal(self: &Arc<Self>, agent: AgentId) -> Result<Deleted, Error> {
        // Said at once where it cannot be, so that nothing is swept for it.
        self.steward.may_delete(agent)?;
        let _busy = self.occupy(&agent.to_string())?;
        self.expect_loose_blobs().await?;
        let bytes = self.admission.accounts().of(agent).bytes();
        let entries = self.steward.delete(agent).await?;
        self.close_account(agent).await?;
        local::remove_flags(&*self.store, agent).await?;
        let name = local::names(&*self.store)?.remove(&agent);
        // By its name it is still found where it is known to be; else the name is nobody's.
        if let Some(name) =
            name.as_ref().filter(|_| custody::note(&*self.store, agent).is_ok_and(|note| note.is_none()))
        {
            local::remove_name(&*self.store, name).await?;
        }
        tracing::warn!(%agent, name, entries = %entries, bytes, "the journal of an agent that is elsewhere was deleted");
        Ok(Deleted { agent, name, entries: entries.0, orphans: 0, bytes })
    }

    /// There may be blobs from here on that no journal names: durable before they are.
    pub(crate) async fn expect_loose_blobs(&self) -> Result<(), Error> {
        if self.store.get_local(SWEEP)?.is_none() {
            self.store.put_local(SWEEP, Vec::new()).await?;
        }
        Ok(())
    }

    /// Deletes the branches of an agent that takeovers orphaned here.
    pub async fn delete_orphans(self: &Arc<Self>, agent: AgentId) -> Result<Deleted, Error> {
        let node = self.clone();
        blocking(move || {
            let name = local::names(&*node.store)?.remove(&agent);
            let mut deleted = Deleted { agent, name, entries: 0, orphans: 0, bytes: 0 };
            for kept in orphans::list(&node.home, Some(agent))? {
                let failed = |source| home::Error::Io { path: kept.path.clone(), source };
                deleted.bytes += fs::metadata(&kept.path).map_err(failed)?.len();
                fs::remove_file(&kept.path).map_err(failed)?;
                deleted.orphans += 1;
                tracing::warn!(%agent, file = %kept.path.display(), "an orphaned branch was deleted");
            }
            if deleted.orphans > 0 {
                let failed = |source| home::Error::Io { path: node.home.orphans(), source };
                File::open(node.home.orphans()).and_then(|directory| directory.sync_all()).map_err(failed)?;
            }
            node.admission.accounts().orphans_are(orphans::bytes(&node.home)?);
            Ok::<_, Error>(deleted)
        })
        .await
    }

    /// The agent with this name or id, whatever is here of it. Waits for disks.
    pub fn find(&self, name: &str) -> Result<AgentId, Error> {
        let agent = match name.parse() {
            Ok(agent) => Some(agent),
            Err(_) => local::agent_named(&*self.store, name)?,
        };
        agent.ok_or_else(|| Error::UnknownAgent { name: name.chars().take(100).collect() })
    }

    /// Frees the blobs that no journal names any more, where one was deleted since this was done last. Gives how many
    /// those were; nothing where something else may go on at this node: then it is for the next start.
    pub async fn free_blobs(self: &Arc<Self>) -> Result<Option<u64>, Error> {
        let idle = self.lives().by_agent.is_empty() && !self.is_carrying() && self.peers().network().is_none();
        if !idle || self.store.get_local(SWEEP)?.is_none() {
            return Ok(None);
        }
        let node = self.clone();
        let loose = blocking(move || loose(&node.store)).await?;
        let freed = loose.len() as u64;
        self.store.disk().remove_blobs(loose).await?;
        self.store.remove_local(SWEEP).await?;
        tracing::info!(blobs = freed, "what no journal names any more is gone");
        Ok(Some(freed))
    }
}

/// The blobs that no journal here names. Reads all of them; where one does not read, nothing is loose.
fn loose(store: &NodeStore) -> Result<Vec<Hash>, Error> {
    let mut loose: BTreeSet<Hash> = store.disk().list_blobs()?.into_iter().collect();
    for agent in store.list()? {
        for (named, _) in portable::wanted(store.read(agent, Seq(0))?)?.blobs {
            loose.remove(&named);
        }
    }
    Ok(loose.into_iter().collect())
}
