//! A journal that comes by file: an archive, or an agent that the file gives to this node.
//!
//! Invariants kept here:
//! - All of the file is verified, and whatever can be refused is, before anything is written.
//! - Nothing that is here is rewritten: the file goes on where the journal here ends, or it is refused. Only a branch
//!   that the owner's takeover in the file shows to be orphaned gives way, and is kept as a file of its own.
//! - A copy gives no custody. This node takes the agent only where the file ends with a handoff to it, and then as the
//!   operator's policy has it.
//! - A crash on the way leaves blobs and a name that count for nothing, then the beginning of the journal, then a
//!   journal whose handoff has no answer: with each of them the same import goes on.

use super::{Node, blocking};
use crate::{
    Error,
    api::wire::Imported,
    custody, local,
    portable::{self, Archive},
};
use igor_protocol::{
    AgentId, Hash, NodeId, OwnerId, Seq, Terms,
    custody::Status,
    entry::{Handoff, StoreKind},
    ledger::Book,
    limits::BLOB_BYTES_MAX,
    verify::{Blobs, Report, Verifier},
};
use igor_spine::custody::{Arrived, NotArrived};
use igor_store::{Store, append_all};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a file is taken in.
#[derive(Clone, Debug)]
pub struct Import {
    /// Where it is.
    pub path: PathBuf,
    /// Most bytes that it may have.
    pub bytes_max: u64,
    /// The agent's name here, where it is not to be its own.
    pub name: Option<String>,
    /// As an archive, also where the file gives the agent to a node.
    pub archive: bool,
    /// Whether whoever asks may have this node keep any owner's agents, as its operator may.
    pub by_operator: bool,
}

/// Why a file is not taken in. Nothing is written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotImported {
    /// It lives here.
    #[error("agent {agent} lives here; its journal is not taken from a file")]
    Lives {
        /// The agent.
        agent: AgentId,
    },
    /// This node has given it away, and the file says nothing of what came of that.
    #[error("agent {agent} was given to {to} from here, which has not answered, and the file does not have its answer")]
    Moving {
        /// The agent.
        agent: AgentId,
        /// Who was given it.
        to: NodeId,
    },
    /// This node is its custodian, and has lost its journal.
    #[error(
        "this node has custody of agent {agent}, and not its journal: a file may lack the newest of what the node did, so \
         nothing is taken from it; `igor timeline`, `igor verify` and `igor replay` read the file itself"
    )]
    Own {
        /// The agent.
        agent: AgentId,
    },
    /// The journal here is another one.
    #[error(
        "the journal of agent {agent} here has another history than the file from seq=`{seq}` on; nothing is changed, and \
         each is good by itself"
    )]
    OtherHistory {
        /// The agent.
        agent: AgentId,
        /// The first entry that differs.
        seq: Seq,
    },
    /// It has a name here, which is not the one that was asked for.
    #[error("agent {agent} is kept here already, as {has}; import it without another --name")]
    Named {
        /// The agent.
        agent: AgentId,
        /// Its name.
        has: String,
    },
    /// The file gives the agent to another node.
    #[error(
        "this file gives agent {agent} to {to}, and {}: import it there; with --archive it is kept here as history, which \
         gives nobody custody",
        here.map_or_else(|| "there is no node here yet".to_owned(), |here| format!("this node is {here}"))
    )]
    Given {
        /// The agent.
        agent: AgentId,
        /// To which node.
        to: NodeId,
        /// This node, where it has a key.
        here: Option<NodeId>,
    },
    /// The operator does not take it.
    #[error(
        "this node takes no agents of {owner}, nor from {from}: its operator can add that key to policy.owners, or that \
         node to policy.nodes, in node.toml; the file stays good"
    )]
    Policy {
        /// Whose agent it is.
        owner: OwnerId,
        /// Who gives it.
        from: NodeId,
    },
    /// It would pay too little.
    #[error(
        "the handoff in this file pays {} credits a second, and this node asks {}: its operator can lower `price` in \
         node.toml and import it again; the file stays good",
        offered.per_second(),
        asked.per_second()
    )]
    Price {
        /// What the handoff says.
        offered: Terms,
        /// What this node asks.
        asked: Terms,
    },
    /// Somebody else is bringing it in.
    #[error("agent {agent} is coming in already; ask again in a moment")]
    Busy {
        /// The agent.
        agent: AgentId,
    },
    /// The node is on its way out.
    #[error("this node is about to stop; import the file when it is back")]
    Draining,
}

/// A file that was verified, and what is in it.
struct Verified {
    archive: Archive,
    report: Report,
    book: Book,
    /// Those that the journal names and the file has.
    blobs: Vec<Hash>,
    end: Seq,
}

impl Import {
    /// Refuses what no new home takes in, before one is made. Waits for disks.
    pub fn check(&self) -> Result<(), Error> {
        let file = verify(&self.path, self.bytes_max)?;
        local::check_name(self.name.as_deref().unwrap_or(&file.book.genesis().name))?;
        match file.book.held().standing.pending().filter(|_| !self.archive) {
            Some(given) => {
                Err(NotImported::Given { agent: file.book.agent(), to: given.handoff.to, here: None }.into())
            }
            None => Ok(()),
        }
    }
}

impl Node {
    /// Takes a file in, as a task of its own: whoever asked may go away.
    pub async fn import(self: &Arc<Self>, import: Import) -> Result<Imported, Error> {
        let node = self.clone();
        match tokio::spawn(async move { Box::pin(node.take_in(import)).await }).await {
            Ok(done) => done,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::Vanished),
        }
    }

    async fn take_in(self: &Arc<Self>, import: Import) -> Result<Imported, Error> {
        let Import { path, bytes_max, name, archive, by_operator } = import;
        let file = blocking(move || verify(&path, bytes_max)).await?;
        let (agent, genesis) = (file.archive.agent(), file.book.genesis().clone());
        let coming = self.steward.coming(agent).ok_or(NotImported::Busy { agent })?;
        let handoff = file.book.held().standing.pending().map(|given| given.handoff).filter(|_| !archive);
        if let Some(handoff) = handoff {
            self.admit_file(&file.book, &handoff)?;
        } else if !by_operator && !self.config.policy.serves(&genesis.owner, &self.owner.public()) {
            let from = file.book.custodian();
            return Err(NotImported::Policy { owner: genesis.owner, from }.into());
        }
        // Before anything changes: what has no name here cannot be kept.
        let wished = name.as_deref().unwrap_or(&genesis.name);
        local::check_name(wished)?;
        // What the file proves may be news: an owner's takeover, or the answer to a handoff.
        self.steward.learn(&coming, agent, file.book.held().standing.proofs).await?;
        let file = Arc::new(file);
        let (node, checked) = (self.clone(), file.clone());
        blocking(move || node.check_history(agent, &checked, handoff.is_some())).await?;
        let _busy = self.occupy(wished)?;
        let known = self.store.tail(agent)?;
        let has = local::names(&*self.store)?.remove(&agent);
        let name = self.name_for(agent, name.as_deref(), known.and(has.as_deref()), &genesis.name)?;
        let added = self.adopt(&file, &name, has, known.map_or(Seq(0), |chain| chain.next)).await;
        // Also what was kept before it failed.
        self.note(agent).await;
        let added = added?;
        if handoff.is_some() {
            match self.steward.arrive(agent).await {
                Ok(Arrived::Accepted) => tracing::info!(%agent, "an agent came by file, and lives here"),
                Ok(Arrived::Before) => {}
                Err(NotArrived::Own(error)) => return Err(error.into()),
                Err(other) => return Err(Error::NotArrived(other)),
            }
        }
        drop(coming);
        let Report { entries, runs, .. } = file.report;
        Ok(Imported { agent, name, entries, runs, added, custody: handoff.is_some() })
    }

    /// Refuses at once what the operator does not take, or what is for another node.
    fn admit_file(&self, book: &Book, handoff: &Handoff) -> Result<(), Error> {
        let (agent, here) = (book.agent(), self.id());
        if handoff.to != here {
            return Err(NotImported::Given { agent, to: handoff.to, here: Some(here) }.into());
        }
        if self.steward.status(agent)? == Status::Custodian {
            // It came before; nothing is taken on by saying so again.
            return Ok(());
        }
        if self.is_draining() {
            return Err(self.impostor().unwrap_or(NotImported::Draining.into()));
        }
        let genesis = book.genesis();
        if genesis.store != StoreKind::Disk {
            return Err(igor_spine::custody::Error::InBucket(agent).into());
        }
        let policy = &self.config.policy;
        if !policy.serves(&genesis.owner, &self.owner.public()) && !policy.nodes.contains(&handoff.from) {
            return Err(NotImported::Policy { owner: genesis.owner, from: handoff.from }.into());
        }
        if !handoff.terms.covers(&self.terms) {
            return Err(NotImported::Price { offered: handoff.terms, asked: self.terms }.into());
        }
        self.grants(book.manifest())?;
        // Given back at once: the place is taken when the agent is restored.
        self.admission.admit(book.manifest()).map(drop)?;
        Ok(())
    }

    /// Refuses a history that is not the one that is here, as far as both go; that of an agent that lives here; and
    /// that of one whose custodian is this node although it has no journal of it. Waits for disks.
    fn check_history(&self, agent: AgentId, file: &Verified, given: bool) -> Result<(), Error> {
        if self.store.tail(agent)?.is_none() {
            let own = file.book.custodian() == self.id() && !given;
            return if own { Err(NotImported::Own { agent }.into()) } else { Ok(()) };
        }
        let lives = match self.steward.status(agent)? {
            Status::Custodian | Status::Suspended(_) => true,
            Status::Given(to) => return Err(NotImported::Moving { agent, to }.into()),
            Status::Absent | Status::Elsewhere | Status::Undecided | Status::Unfinished => false,
        };
        // The same file again, of an agent that came by it, adds nothing and changes nothing.
        if lives && !(given && file.end <= self.tail(agent)?.next) {
            return Err(NotImported::Lives { agent }.into());
        }
        let mut theirs = file.archive.commits(Seq(0))?;
        for ours in self.store.read(agent, Seq(0))? {
            let ours = ours?;
            // Commits are passed on as they are.
            let Some(theirs) = theirs.next().transpose()? else { return Ok(()) };
            if ours.head() == theirs.head() {
                continue;
            }
            let pairs = ours.entries().zip(theirs.entries());
            let differs =
                pairs.map(|((seq, ours, _), (_, theirs, _))| (seq, ours != theirs)).find(|(_, differ)| *differ);
            let seq = differs.map_or(ours.next().min(theirs.next()), |(seq, _)| seq);
            return Err(NotImported::OtherHistory { agent, seq }.into());
        }
        Ok(())
    }

    /// The name that an agent is to have here, where it may have one already. An agent has one name.
    fn name_for(&self, agent: AgentId, asked: Option<&str>, has: Option<&str>, own: &str) -> Result<String, Error> {
        let name = asked.or(has).unwrap_or(own);
        match (local::agent_named(&*self.store, name)?, has) {
            (Some(holder), _) if holder == agent => {}
            (Some(other), _) if self.store.tail(other)?.is_some() => {
                return Err(Error::NameTaken { name: name.to_owned(), agent: other });
            }
            (_, Some(has)) => return Err(NotImported::Named { agent, has: has.to_owned() }.into()),
            (_, None) => {}
        }
        Ok(name.to_owned())
    }

    /// Keeps what is new: the blobs, the name, the journal. Gives how many entries that are.
    async fn adopt(
        self: &Arc<Self>,
        file: &Arc<Verified>,
        name: &str,
        has: Option<String>,
        from: Seq,
    ) -> Result<u64, Error> {
        let (store, agent) = (&*self.store, file.archive.agent());
        for hash in &file.blobs {
            let (file, hash) = (file.clone(), *hash);
            let blob = blocking(move || {
                let changed = || bad(file.archive.path(), format!("blob {hash} was changed"));
                file.archive.blob(hash, BLOB_BYTES_MAX).ok_or_else(changed)
            });
            store.put_blob(blob.await?).await?;
        }
        if let Some(left_over) = has.filter(|has| *has != name) {
            local::remove_name(store, &left_over).await?;
        }
        local::put_name(store, name, agent).await?;
        if file.end <= from {
            return Ok(0);
        }
        append_all(store, file.archive.commits(from)?.map(|commit| commit.map_err(Error::from))).await?;
        Ok(file.end.0 - from.0)
    }

    /// What is known here of where an agent is, if it is not here.
    pub fn elsewhere(&self, agent: AgentId) -> Result<Option<crate::api::wire::Elsewhere>, Error> {
        let book = self.store.tail(agent)?.map(|_| self.book(agent)).transpose()?;
        let known = custody::known(&*self.store, agent, book.as_ref())?;
        Ok(custody::elsewhere(&known, agent, Some(self.id())).map(|found| self.with_addresses(found)))
    }
}

fn bad(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::BadFile { path: path.to_owned(), why: why.to_string() }
}

/// Verifies a file as `igor verify` does, and that it has all blobs that its agent needs. Waits for disks.
fn verify(path: &Path, bytes_max: u64) -> Result<Verified, Error> {
    let archive = Archive::open(path, bytes_max).map_err(|broken| broken.why)?;
    let mut verifier = Verifier::new();
    for commit in archive.commits(Seq(0))? {
        verifier.push(&commit?, &archive).map_err(|why| bad(path, why))?;
    }
    let empty = || bad(path, "the file holds no journal");
    let (report, book) = (verifier.report().ok_or_else(empty)?, verifier.book().ok_or_else(empty)?.clone());
    let wanted = portable::wanted(archive.commits(Seq(0))?).map_err(|e| bad(path, e))?;
    let mut blobs = Vec::new();
    for (hash, needed) in wanted.blobs {
        match (archive.blob(hash, BLOB_BYTES_MAX), needed) {
            (Some(_), _) => blobs.push(hash),
            (None, true) => {
                return Err(bad(path, format!("blob {hash}, which the journal names, is missing or damaged")));
            }
            (None, false) => {}
        }
    }
    Ok(Verified { archive, report, book, blobs, end: wanted.end })
}
