//! The source's half of a transfer: commits in order, each after the blobs that it names.

use super::{Cut, Link};
use crate::Error;
use igor_protocol::{AgentId, Chain, Entry, Hash, Seq, archive, entry::Named, limits::BLOB_BYTES_MAX, transfer::Frame};
use igor_store::Store;
use std::collections::BTreeSet;

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// The position after the last commit.
    pub next: Seq,
    /// Bytes of frames.
    pub bytes: u64,
    /// Commits.
    pub commits: u64,
}

/// Why nothing more could be sent.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The stream.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// This side's store.
    #[error(transparent)]
    Own(#[from] Error),
}

/// Sends the journal from `from` up to `until`, with the bodies that it names, and the state of the last checkpoint
/// among what was sent, and counts on. Holds one commit and one blob in memory.
pub async fn ship<S: Store>(
    store: &S,
    agent: AgentId,
    from: Seq,
    until: Chain,
    link: &mut impl Link,
    mut shipped: Shipped,
) -> Result<Shipped, Failed> {
    shipped.next = from;
    let (mut state, mut sent) = (None, BTreeSet::new());
    if from < until.next {
        for commit in store.read(agent, from).map_err(Error::from)? {
            let commit = commit.map_err(Error::from)?;
            for (_, _, encoded) in commit.entries() {
                for named in Entry::decode(encoded).map_err(Error::from)?.body.blobs() {
                    match named {
                        Named::State(hash) => state = Some(hash),
                        Named::Body(hash) if sent.insert(hash) => {
                            blob(store, hash, BLOB_BYTES_MAX, link, &mut shipped).await?;
                        }
                        // A program goes by itself, before all else.
                        Named::Body(_) | Named::Program(_) => {}
                    }
                }
            }
            let next = commit.next();
            frame(link, Frame::Commit(commit), &mut shipped).await?;
            (shipped.next, shipped.commits) = (next, shipped.commits + 1);
            if next >= until.next {
                break;
            }
        }
    }
    if let Some(state) = state {
        blob(store, state, BLOB_BYTES_MAX, link, &mut shipped).await?;
    }
    Ok(shipped)
}

/// Sends one blob.
pub(crate) async fn blob<S: Store>(
    store: &S,
    hash: Hash,
    bytes_max: u64,
    link: &mut impl Link,
    shipped: &mut Shipped,
) -> Result<(), Failed> {
    let bytes = store.get_blob(hash, bytes_max).map_err(Error::from)?;
    let bytes = bytes.ok_or(Error::MissingBlob { what: "a blob that the journal names", hash })?;
    for part in archive::parts(hash, &bytes) {
        frame(link, Frame::Part(part), shipped).await?;
    }
    Ok(())
}

async fn frame(link: &mut impl Link, frame: Frame, shipped: &mut Shipped) -> Result<(), Cut> {
    let bytes = frame.encode();
    shipped.bytes += bytes.len() as u64;
    link.send(bytes).await
}
