//! An agent in a portable file (`.igor`), read in place.
//!
//! Invariants kept here:
//! - Nothing of a file is used before all of it was read once and found whole.
//! - What is read a second time is checked a second time: commits link, blobs have their hash.
//! - Memory is bounded by the file's number of blobs, never by their size; a quota bounds the file.

use crate::failure::Failure;
use igor_node::portable;
use igor_protocol::{
    AgentId, Commit, Hash, Seq,
    archive::{FRAME_BYTES_MAX, Frame, PART_BYTES, Parser, Part},
    codec,
    verify::Blobs,
};
use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Blobs in one file, at most.
const BLOBS_MAX: usize = 1 << 20;
const PIECE_BYTES: usize = 256 << 10;
/// As docs/formats has them.
const HEADER_BYTES: u64 = 16;
const FRAME_HEADER_BYTES: usize = 5;

/// A portable file that is whole.
pub(crate) struct ArchiveFile {
    path: PathBuf,
    agent: AgentId,
    blobs: HashMap<Hash, Parts>,
}

/// Where the parts of a blob are in the file.
struct Parts {
    total: u64,
    at: Vec<u64>,
}

/// Why a file is not to be used.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Entries before the damage.
    pub(crate) entries: u64,
    /// What is wrong.
    pub(crate) why: Failure,
}

impl ArchiveFile {
    /// Reads all of a file, at most `bytes_max`, and checks that it is whole.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> Result<Self, Broken> {
        let mut frames = Frames::open(path).map_err(|why| Broken { entries: 0, why })?;
        let mut agent = None;
        let mut blobs: HashMap<Hash, Parts> = HashMap::new();
        let mut entries = 0;
        let broken = |entries, why: Failure| Broken { entries, why: why.while_at(path.display()) };
        loop {
            let at = frames.parser.position().max(HEADER_BYTES);
            if at > bytes_max {
                let why = format!("larger than {} MiB; raise --quota if you trust it", bytes_max >> 20);
                return Err(broken(entries, Failure::refused(why)));
            }
            match frames.next() {
                Err(why) => return Err(broken(entries, why)),
                Ok(None) => break,
                Ok(Some(Frame::Commit(commit))) => {
                    agent.get_or_insert(commit.agent());
                    entries = commit.next().0;
                }
                Ok(Some(Frame::Blob(part))) => {
                    if blobs.len() >= BLOBS_MAX && !blobs.contains_key(&part.hash) {
                        return Err(broken(entries, Failure::refused(format!("more than {BLOBS_MAX} blobs"))));
                    }
                    let total = part.total;
                    let parts = blobs.entry(part.hash).or_insert_with(|| Parts { total, at: Vec::new() });
                    parts.add(&part, at).map_err(|why| broken(entries, Failure::integrity(why)))?;
                }
            }
        }
        if blobs.values().any(|parts| !parts.is_whole()) {
            return Err(broken(entries, Failure::integrity("a blob is not whole")));
        }
        match agent {
            Some(agent) => Ok(Self { path: path.to_owned(), agent, blobs }),
            None => Err(broken(0, Failure::integrity("the file holds no journal"))),
        }
    }

    /// Whose journal it is.
    pub(crate) const fn agent(&self) -> AgentId {
        self.agent
    }

    /// The commits from the one that holds `from`, in order.
    pub(crate) fn commits(
        &self,
        from: Seq,
    ) -> Result<impl Iterator<Item = Result<Commit, Failure>> + Send + use<>, Failure> {
        let mut frames = Frames::open(&self.path)?;
        let path = self.path.clone();
        Ok(std::iter::from_fn(move || {
            loop {
                match frames.next() {
                    Ok(None) => return None,
                    Ok(Some(Frame::Commit(commit))) if commit.next() > from => return Some(Ok(commit)),
                    Ok(Some(_)) => {}
                    Err(why) => return Some(Err(why.while_at(path.display()))),
                }
            }
        }))
    }

    fn read_blob(&self, parts: &Parts) -> Option<Vec<u8>> {
        let file = File::open(&self.path).ok()?;
        let mut blob = Vec::with_capacity(usize::try_from(parts.total).ok()?);
        for at in &parts.at {
            let mut header = [0; FRAME_HEADER_BYTES];
            file.read_exact_at(&mut header, *at).ok()?;
            let [_, length @ ..] = header;
            let length = u32::from_be_bytes(length) as usize;
            let mut payload = vec![0; (length <= FRAME_BYTES_MAX).then_some(length)?];
            file.read_exact_at(&mut payload, at + FRAME_HEADER_BYTES as u64).ok()?;
            let part: Part = codec::decode("blob part", &payload, FRAME_BYTES_MAX).ok()?;
            blob.extend_from_slice(&part.bytes);
        }
        Some(blob)
    }
}

impl Blobs for ArchiveFile {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        let parts = self.blobs.get(&hash).filter(|parts| parts.total <= bytes_max)?;
        self.read_blob(parts).filter(|blob| Hash::of_blob(blob) == hash)
    }
}

impl Parts {
    /// Parts come in order, and all but the last are full, so that their number is bounded by their bytes.
    fn add(&mut self, part: &Part, at: u64) -> Result<(), &'static str> {
        let full = part.bytes.len() == PART_BYTES || part.offset + part.bytes.len() as u64 == part.total;
        if part.total != self.total || part.offset != (self.at.len() * PART_BYTES) as u64 || !full {
            return Err("the parts of a blob are not in order");
        }
        self.at.push(at);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.at.len() as u64 == self.total.div_ceil(PART_BYTES as u64).max(1)
    }
}

/// The frames of a file, one after the other.
struct Frames {
    file: Option<File>,
    parser: Parser,
    piece: Vec<u8>,
}

impl Frames {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(Failure::failed(format!("{} is a directory; name a file", path.display())));
        }
        Ok(Self { file: Some(file), parser: Parser::default(), piece: vec![0; PIECE_BYTES] })
    }

    /// The next frame; nothing once the file proved to be whole.
    fn next(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            if let Some(frame) = self.parser.next()? {
                return Ok(Some(frame));
            }
            let Some(file) = &mut self.file else { return Ok(None) };
            match file.read(&mut self.piece) {
                Ok(0) => {
                    self.file = None;
                    std::mem::take(&mut self.parser).finish()?;
                }
                Ok(read) => self.parser.feed(&self.piece[..read]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Failure::failed(e)),
            }
        }
    }
}

/// Writes an agent's blobs and journal as a portable file.
pub(crate) fn write(
    path: &Path,
    blobs: impl Iterator<Item = Result<(Hash, Vec<u8>), Failure>>,
    commits: impl Iterator<Item = Result<Commit, Failure>>,
) -> Result<u64, Failure> {
    portable::write(path, blobs, commits).map_err(|error| match error {
        portable::Error::Source(failure) => failure,
        other @ portable::Error::Io { .. } => Failure::failed(other),
    })
}
