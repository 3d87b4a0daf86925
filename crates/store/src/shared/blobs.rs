//! Blobs of journals in a bucket: there before the entry that names them.
//!
//! Invariant kept here: what is read from the bucket is kept only if its hash is the one that was asked for.

use super::{counted::Counted, keys, log::get};
use crate::{
    Error, Store,
    bucket::{Bucket, Created, Failure},
};
use bytes::Bytes;
use igor_protocol::{
    AgentId, Commit, Entry, Hash,
    entry::{Body, Content, Request},
    limits::{BLOB_BYTES_MAX, PROGRAM_BYTES_MAX},
    slot::Rules,
    units::{Epoch, Seq},
};

/// Longest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// A blob that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) hash: Hash,
    /// How long it may be.
    bytes_max: u64,
    /// The commit of the entry: its epoch, and where it begins.
    of: (Epoch, Seq),
    /// A checkpoint names it: only what the last one names is needed.
    pub(super) is_state: bool,
}

impl Named {
    /// What it is called in the bucket.
    pub(super) fn key(&self, rules: Rules, agent: AgentId) -> String {
        keys::blob(rules, agent, self.of.0, self.of.1, self.hash)
    }
}

/// The blobs that a commit names.
pub(super) fn named(commit: &Commit) -> Result<Vec<Named>, Error> {
    let (agent, of) = (commit.agent(), (commit.epoch(), commit.first()));
    let mut all = Vec::new();
    let mut add = |hash, bytes_max: u64, is_state| {
        all.push(Named { hash, bytes_max: bytes_max.min(BLOB_BYTES_MAX), of, is_state });
    };
    for (_, _, bytes) in commit.entries() {
        let entry = Entry::decode(bytes).map_err(|e| Error::NotAdmitted { agent, why: e.into() })?;
        match &entry.body {
            Body::Genesis(genesis) => {
                add(genesis.body.program, PROGRAM_BYTES_MAX as u64, false);
                add(genesis.body.manifest, MANIFEST_BYTES_MAX, false);
            }
            Body::Message(message) => {
                if let Content::Blob { hash, bytes } = message.body {
                    add(hash, bytes, false);
                }
            }
            Body::Run(run) => {
                for request in &run.requests {
                    if let Request::Reply { body: Content::Blob { hash, bytes }, .. } = request {
                        add(*hash, *bytes, false);
                    }
                }
            }
            Body::Checkpoint(checkpoint) => {
                if let Content::Blob { hash, bytes } = checkpoint.remembered {
                    add(hash, bytes, true);
                }
                add(checkpoint.root, checkpoint.bytes, true);
            }
            Body::Order(_) | Body::Custody(_) | Body::Seal(_) | Body::End(_) => {}
        }
    }
    Ok(all)
}

/// Makes everything that a commit names durable in the bucket. It is on the disk already.
pub(super) async fn upload<D: Store, B: Bucket>(wing: &Counted<'_, B>, disk: &D, commit: &Commit) -> Result<(), Error> {
    for named in named(commit)? {
        let agent = commit.agent();
        let missing = || Error::Damaged {
            path: format!("blobs/{}", named.hash).into(),
            at: 0,
            why: "an entry that is to be appended names it, and it is not here".into(),
        };
        let bytes: Bytes = disk.get_blob(named.hash, named.bytes_max)?.ok_or_else(missing)?.into();
        put(wing, agent, &named.key(wing.bucket.rules(), agent), bytes).await?;
    }
    Ok(())
}

async fn put<B: Bucket>(wing: &Counted<'_, B>, agent: AgentId, key: &str, bytes: Bytes) -> Result<(), Error> {
    let mut attempt = 0;
    loop {
        match wing.create(key, bytes.clone()).await {
            Ok(Created::New) => return Ok(()),
            // By an attempt before, as a rule: what it is, its name says.
            Ok(Created::Exists) => match get(wing, agent, key, bytes.len() as u64).await? {
                Some(there) if there == bytes => return Ok(()),
                Some(_) => return Err(Error::RolledBack { agent, what: format!("what {key} says that it is") }),
                None => {
                    wing.bucket.pause(attempt).await;
                    attempt += 1;
                }
            },
            Err(Failure::Unknown { .. }) => {
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(Error::Bucket { agent, failure }),
        }
    }
}

/// What may be taken in of a journal.
pub(super) struct Quota {
    agent: AgentId,
    bytes_max: u64,
    left: u64,
}

impl Quota {
    pub(super) const fn new(agent: AgentId, bytes_max: u64) -> Self {
        Self { agent, bytes_max, left: bytes_max }
    }

    /// So many bytes are taken in, if there is room.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.over())?;
        Ok(())
    }

    const fn over(&self) -> Error {
        Error::Quota { agent: self.agent, bytes_max: self.bytes_max }
    }
}

/// Brings a blob to the disk, if it is not there. Says whether it is there now.
pub(super) async fn fetch<D: Store, B: Bucket>(
    wing: &Counted<'_, B>,
    disk: &D,
    agent: AgentId,
    named: &Named,
    quota: &mut Quota,
) -> Result<bool, Error> {
    if disk.has_blob(named.hash)? {
        return Ok(true);
    }
    let key = named.key(wing.bucket.rules(), agent);
    // More than there is room for is not read: what comes then is not it.
    match get(wing, agent, &key, named.bytes_max.min(quota.left)).await? {
        Some(bytes) if bytes.is_empty() && named.bytes_max > quota.left => Err(quota.over()),
        Some(bytes) if Hash::of_blob(&bytes) == named.hash => {
            quota.spend(bytes.len() as u64)?;
            disk.put_blob(bytes.into()).await.map(|_| true)
        }
        Some(_) => Err(Error::RolledBack { agent, what: format!("what {key} says that it is") }),
        None => Ok(false),
    }
}
