//! Where a journal is read from: a running node, the files of a home, or a portable file. Verbs do not know which.
//!
//! Invariant: commits come in order from the one that was asked for; that they link is checked by whoever believes
//! them.

mod keeper;
mod local;

pub(crate) use keeper::{Keeper, patiently};
pub(crate) use local::Local;

use crate::{Context, failure::Failure};
use igor_node::{
    api::wire::AgentInfo,
    client::Client,
    portable::{self, Archive},
};
use igor_protocol::{AgentId, Commit, Hash, Seq, ledger::Book, verify::Blobs};
use igor_spine::inspect;
use std::{future::Future, path::Path};

/// Largest portable file that is read where nobody says otherwise.
const FILE_BYTES_MAX: u64 = 64 << 30;

/// Commits in order.
pub(crate) type Commits<'a> = Box<dyn Iterator<Item = Result<Commit, Failure>> + Send + 'a>;

/// One agent's journal and blobs.
pub(crate) enum Source {
    /// In a portable file.
    File(Archive),
    /// In a home without a node.
    Home(Local, AgentId),
    /// At a node.
    Node(Client, Box<AgentInfo>),
}

impl Source {
    /// An agent by its name or id, or a portable file by its path.
    pub(crate) fn find(context: &Context, name: &str) -> Result<Self, Failure> {
        match named_file(name) {
            Some(path) => Ok(Self::File(Archive::open(path, FILE_BYTES_MAX).map_err(|broken| broken.why)?)),
            None => Self::agent_named(context, name),
        }
    }

    /// An agent by its name or id.
    pub(crate) fn agent_named(context: &Context, name: &str) -> Result<Self, Failure> {
        match Keeper::find(context)? {
            Keeper::Node(client) => Self::at_node(client, name),
            Keeper::Nobody(local) => {
                let agent = local.resolve(name)?;
                Ok(Self::Home(local, agent))
            }
        }
    }

    /// An agent of a node, by its name or id.
    pub(crate) fn at_node(client: Client, name: &str) -> Result<Self, Failure> {
        let info = wait(client.agent(name))?;
        Ok(Self::Node(client, Box::new(info)))
    }

    /// Whose journal it is.
    pub(crate) fn agent(&self) -> AgentId {
        match self {
            Self::File(file) => file.agent(),
            Self::Home(_, agent) => *agent,
            Self::Node(_, info) => info.agent,
        }
    }

    /// The agent as it is now.
    pub(crate) fn info(&self) -> Result<AgentInfo, Failure> {
        match self {
            Self::File(_) => Err(Failure::refused("name an agent; a file of one has history only")),
            Self::Home(local, agent) => local.info(*agent),
            Self::Node(_, info) => Ok((**info).clone()),
        }
    }

    /// The agent's book at the end of its journal.
    pub(crate) fn book(&self) -> Result<Book, Failure> {
        let end = match self {
            Self::File(_) => return Err(Failure::refused("name an agent; a file of one has history only")),
            Self::Home(local, agent) => local.reader.tail(*agent).map_or(Seq(0), |chain| chain.next),
            Self::Node(_, info) => info.seq.next(),
        };
        Ok(inspect::book_at_end(|from| self.commits(from), self, end)?)
    }

    /// The commits from the one that holds `from`.
    pub(crate) fn commits(&self, from: Seq) -> Result<Commits<'_>, Failure> {
        match self {
            Self::File(file) => Ok(Box::new(file.commits(from)?.map(|commit| Ok(commit?)))),
            Self::Home(local, agent) => Ok(Box::new(local.reader.read(*agent, from)?.map(|commit| Ok(commit?)))),
            Self::Node(client, info) => Ok(Box::new(from_node(client.clone(), info.agent.to_string(), from)?)),
        }
    }
}

/// A journal over the API. An answer that breaks off is asked for again from there, once: a node that cannot go on
/// then says why.
fn from_node(
    client: Client,
    agent: String,
    from: Seq,
) -> Result<impl Iterator<Item = Result<Commit, Failure>>, Failure> {
    let mut stream = wait(client.journal(&agent, from, false))?;
    let (mut next, mut again) = (from, false);
    Ok(std::iter::from_fn(move || {
        loop {
            let failed = match wait(stream.next()) {
                Ok(None) => return None,
                Ok(Some(commit)) => {
                    (next, again) = (commit.next(), false);
                    return Some(Ok(commit));
                }
                Err(e) if again || !e.is_passing() => e,
                Err(_) => match wait(client.journal(&agent, next, false)) {
                    Ok(rest) => {
                        (stream, again) = (rest, true);
                        continue;
                    }
                    Err(e) => e,
                },
            };
            return Some(Err(failed.into()));
        }
    }))
}

impl Blobs for Local {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        self.reader.get_blob(hash, bytes_max).ok().flatten()
    }

    fn lacks(&self, hash: Hash) -> bool {
        matches!(self.reader.has_blob(hash), Ok(false))
    }
}

impl Blobs for Source {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        match self {
            Self::File(file) => file.blob(hash, bytes_max),
            Self::Home(local, _) => local.blob(hash, bytes_max),
            Self::Node(client, _) => wait(client.blob(hash, bytes_max)).ok().flatten(),
        }
    }

    fn lacks(&self, hash: Hash) -> bool {
        match self {
            Self::File(_) => false,
            Self::Home(local, _) => local.lacks(hash),
            Self::Node(client, _) => matches!(wait(client.blob(hash, 0)), Ok(None)),
        }
    }
}

/// Whether a text names a file rather than an agent: by a slash, or by the ending that such files have.
pub(crate) fn named_file(text: &str) -> Option<&Path> {
    let path = Path::new(text);
    (text.contains('/') || path.extension().is_some_and(|ending| ending == "igor")).then_some(path)
}

/// Writes an agent's blobs and journal as a portable file.
pub(crate) fn write_file(
    path: &Path,
    blobs: impl Iterator<Item = Result<(Hash, Vec<u8>), Failure>>,
    commits: impl Iterator<Item = Result<Commit, Failure>>,
) -> Result<u64, Failure> {
    portable::write(path, blobs, commits).map_err(|error| match error {
        portable::Error::Source(failure) => failure,
        other @ portable::Error::Io { .. } => Failure::failed(other),
    })
}

/// Waits for a call to a node, from where a plain value is needed.
pub(crate) fn wait<T>(call: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(call))
}
