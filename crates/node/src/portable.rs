//! Portable agent files (`.igor`): written as a temporary one, synced, renamed, its directory synced; and read in place.
//!
//! Invariant kept here: a file has its name only when all of it is durable.

mod read;

pub use read::{Archive, Broken, Unreadable};

use igor_protocol::{Body, Commit, Entry, Hash, Seq, archive, entry::Named};
use igor_spine::inspect;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Why a file was not written. There is none of that name, or the one from before.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// What was to be written could not be read.
    #[error(transparent)]
    Source(#[from] E),
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes an agent's blobs and journal. Returns the length of the file.
pub fn write<E>(
    path: &Path,
    blobs: impl Iterator<Item = Result<(Hash, Vec<u8>), E>>,
    commits: impl Iterator<Item = Result<Commit, E>>,
) -> Result<u64, Error<E>> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".igor-export").tempfile_in(parent).map_err(failed)?;
    let (mut writer, header) = archive::Writer::begin();
    let mut length = header.len() as u64;
    let mut put = |bytes: &[u8]| {
        length += bytes.len() as u64;
        file.write_all(bytes).map_err(failed)
    };
    put(&header)?;
    for blob in blobs {
        let (hash, bytes) = blob?;
        for part in archive::parts(hash, &bytes) {
            put(&writer.part(&part))?;
        }
    }
    for commit in commits {
        put(&writer.commit(&commit?))?;
    }
    put(&writer.finish())?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(length)
}

/// What a journal names by hash.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The blobs, and whether the agent can be verified and gone on with only if they are there: all but the states of
    /// checkpoints before the last.
    pub blobs: Vec<(Hash, bool)>,
    /// Where the journal ends.
    pub end: Seq,
}

/// Reads a journal for the blobs that belong to it.
pub fn wanted<E>(commits: impl Iterator<Item = Result<Commit, E>>) -> Result<Wanted, inspect::Error<E>> {
    let (mut needed, mut states) = (BTreeSet::new(), BTreeSet::new());
    let (mut last_state, mut end) = (None, Seq(0));
    for commit in commits {
        let commit = commit?;
        end = commit.next();
        for (seq, _, bytes) in commit.entries() {
            let body: Body = Entry::decode(bytes).map_err(|e| inspect::Error::Bad { seq, fault: e.into() })?.body;
            for named in body.blobs() {
                match named {
                    Named::Program(hash) | Named::Body(hash) => drop(needed.insert(hash)),
                    Named::State(hash) => {
                        states.insert(hash);
                        last_state = Some(hash);
                    }
                }
            }
        }
    }
    needed.extend(last_state);
    states.retain(|state| !needed.contains(state));
    let blobs = needed.into_iter().map(|hash| (hash, true)).chain(states.into_iter().map(|hash| (hash, false)));
    Ok(Wanted { blobs: blobs.collect(), end })
}
