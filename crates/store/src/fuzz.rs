//! What must hold for a home with arbitrary bytes in its files.
//!
//! Invariants kept here: a property panics only where the store is wrong. A home is given as one byte string: for
//! each file the length of its name (1 byte), the name, the length of its content (4 bytes, big-endian), the content.

use crate::{
    disk::Reader,
    files::{File, Files, Mode, SyncPoint},
};
use igor_protocol::{AgentId, Chain, Commit, Seq};
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

/// Opening and reading a home gives journals that hold together, or an error. Says whether all of it was read.
pub fn home(bytes: &[u8]) -> bool {
    let Some(files) = unpack(bytes) else { return false };
    let Ok(reader) = Reader::open_files(Arc::new(InMemory(files))) else { return false };
    reader.list().into_iter().filter(|agent| !journal(&reader, *agent)).count() == 0
}

/// A home as one byte string. Names have at most 255 bytes.
pub fn pack<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&content);
    }
    bytes
}

fn unpack(mut bytes: &[u8]) -> Option<BTreeMap<String, Arc<[u8]>>> {
    let mut files = BTreeMap::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked((*length).into())?;
        let (length, rest) = rest.split_first_chunk()?;
        let (content, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        files.insert(String::from_utf8(name.to_vec()).ok()?, content.into());
        bytes = rest;
    }
    Some(files)
}

/// The commits lead from the journal's beginning to its tail, also when read from its last entry only.
fn journal(reader: &Reader, agent: AgentId) -> bool {
    let Some(tail) = reader.tail(agent) else { panic!("{agent} is listed and has no tail") };
    let read = |from| reader.read(agent, from).and_then(Iterator::collect::<Result<Vec<Commit>, _>>);
    let Ok(commits) = read(Seq(0)) else { return false };
    let mut end = Chain::begin(agent);
    for commit in &commits {
        let start = commit.start();
        assert!(start.epoch >= end.epoch, "{agent}: an epoch of the past");
        assert_eq!(
            (start.agent, start.next, start.head),
            (agent, end.next, end.head),
            "{agent}: a commit does not link"
        );
        end = commit.end();
    }
    assert_eq!((end.next, end.head), (tail.next, tail.head), "{agent}: the journal does not lead to its tail");
    // A file may say wrongly how many entries a frame has, which shows only where it is read from the middle.
    tail.next.0.checked_sub(1).is_none_or(|last| match read(Seq(last)) {
        Ok(newest) => {
            assert_eq!(newest.last(), commits.last(), "{agent}: another end when read from its last entry");
            true
        }
        Err(_) => false,
    })
}

struct InMemory(BTreeMap<String, Arc<[u8]>>);

struct Content(Arc<[u8]>);

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Files for InMemory {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        match (self.0.get(name), mode) {
            (Some(content), Mode::Read) => Ok(Arc::new(Content(content.clone()))),
            (None, Mode::Read) => Err(io::ErrorKind::NotFound.into()),
            _ => read_only(),
        }
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self, _: &str, _: SyncPoint) -> io::Result<()> {
        read_only()
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let below = |file: &String| file.strip_prefix(name)?.strip_prefix('/').map(String::from);
        Ok(self.0.keys().filter_map(below).collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }
}

impl File for Content {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let part = self.0.get(start..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        read_only()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self, _: SyncPoint) -> io::Result<()> {
        read_only()
    }
}
