//! An agent in a portable file (`.igor`), read in place.
//!
//! Invariants kept here:
//! - Nothing of a file is used before all of it was read once and found whole.
//! - What is read a second time is checked a second time: commits link, blobs have their hash.
//! - Memory is bounded by the file's number of blobs, never by their size; a quota bounds the file.

use igor_protocol::{
    AgentId, Commit, Hash, Seq,
    archive::{self, FRAME_BYTES_MAX, Frame, PART_BYTES, Parser, Part},
    codec,
    verify::Blobs,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Blobs in one file, at most.
const BLOBS_MAX: usize = 1 << 20;
const PIECE_BYTES: usize = 256 << 10;
/// As docs/formats has them.
const HEADER_BYTES: u64 = 16;
const FRAME_HEADER_BYTES: usize = 5;

/// Why a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no file.
    #[error("{} is a directory; name a file", path.display())]
    Directory {
        /// What was named.
        path: PathBuf,
    },
    /// Larger than was allowed.
    #[error("{}: larger than {mib} MiB; raise --quota if you trust it", path.display())]
    Quota {
        /// The file.
        path: PathBuf,
        /// What was allowed.
        mib: u64,
    },
    /// More blobs than are kept track of.
    #[error("{}: more than {BLOBS_MAX} blobs", path.display())]
    Blobs {
        /// The file.
        path: PathBuf,
    },
    /// It is cut, changed, or none of this format.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: archive::Error,
    },
    /// What it holds does not fit together.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

impl Unreadable {
    /// The same, of a file that whoever asked knows by another name.
    #[must_use]
    pub fn called(mut self, name: &Path) -> Self {
        let (Self::Io { path, .. }
        | Self::Directory { path }
        | Self::Quota { path, .. }
        | Self::Blobs { path }
        | Self::Format { path, .. }
        | Self::Content { path, .. }) = &mut self;
        name.clone_into(path);
        self
    }

    /// The entry that is wrong, where it is one.
    pub const fn seq(&self) -> Option<Seq> {
        match self {
            Self::Format { source: archive::Error::Commit { seq, .. }, .. } => Some(*seq),
            _ => None,
        }
    }
}

/// A portable file that is whole.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    agent: AgentId,
    blobs: HashMap<Hash, Parts>,
}

/// Where the parts of a blob are in the file.
#[derive(Debug)]
struct Parts {
    total: u64,
    at: Vec<u64>,
}

/// Why a file is not to be used.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Broken {
    /// Entries before the damage.
    pub entries: u64,
    /// What is wrong.
    #[source]
    pub why: Unreadable,
}

impl Archive {
    /// Reads all of a file, at most `bytes_max`, and checks that it is whole.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self, Broken> {
        let mut entries = 0;
        Self::read(path, bytes_max, &mut entries).map_err(|why| Broken { entries, why })
    }

    fn read(path: &Path, bytes_max: u64, entries: &mut u64) -> Result<Self, Unreadable> {
        let content = |why| Unreadable::Content { path: path.to_owned(), why };
        let mut frames = Frames::open(path)?;
        let mut agent = None;
        let mut blobs: HashMap<Hash, Parts> = HashMap::new();
        loop {
            let at = frames.parser.position().max(HEADER_BYTES);
            if at > bytes_max {
                return Err(Unreadable::Quota { path: path.to_owned(), mib: bytes_max >> 20 });
            }
            match frames.next()? {
                None => break,
                Some(Frame::Commit(commit)) => {
                    agent.get_or_insert(commit.agent());
                    *entries = commit.next().0;
                }
                Some(Frame::Blob(part)) => {
                    if blobs.len() >= BLOBS_MAX && !blobs.contains_key(&part.hash) {
                        return Err(Unreadable::Blobs { path: path.to_owned() });
                    }
                    let total = part.total;
                    let parts = blobs.entry(part.hash).or_insert_with(|| Parts { total, at: Vec::new() });
                    parts.add(&part, at).map_err(content)?;
                }
            }
        }
        if blobs.values().any(|parts| !parts.is_whole()) {
            return Err(content("a blob is not whole"));
        }
        let agent = agent.ok_or_else(|| content("the file holds no journal"))?;
        Ok(Self { path: path.to_owned(), agent, blobs })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose journal it is.
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// The commits from the one that holds `from`, in order.
    pub fn commits(
        &self,
        from: Seq,
    ) -> Result<impl Iterator<Item = Result<Commit, Unreadable>> + Send + use<>, Unreadable> {
        let mut frames = Frames::open(&self.path)?;
        Ok(std::iter::from_fn(move || {
            loop {
                match frames.next() {
                    Ok(None) => return None,
                    Ok(Some(Frame::Commit(commit))) if commit.next() > from => return Some(Ok(commit)),
                    Ok(Some(_)) => {}
                    Err(why) => return Some(Err(why)),
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

impl Blobs for Archive {
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
    path: PathBuf,
    file: Option<File>,
    parser: Parser,
    piece: Vec<u8>,
}

impl Frames {
    fn open(path: &Path) -> Result<Self, Unreadable> {
        let file = File::open(path).map_err(|source| Unreadable::Io { path: path.to_owned(), source })?;
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(Unreadable::Directory { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file: Some(file), parser: Parser::default(), piece: vec![0; PIECE_BYTES] })
    }

    /// The next frame; nothing once the file proved to be whole.
    fn next(&mut self) -> Result<Option<Frame>, Unreadable> {
        let format = |path: &Path, source| Unreadable::Format { path: path.to_owned(), source };
        loop {
            if let Some(frame) = self.parser.next().map_err(|e| format(&self.path, e))? {
                return Ok(Some(frame));
            }
            let Some(file) = &mut self.file else { return Ok(None) };
            match file.read(&mut self.piece) {
                Ok(0) => {
                    self.file = None;
                    std::mem::take(&mut self.parser).finish().map_err(|e| format(&self.path, e))?;
                }
                Ok(read) => self.parser.feed(&self.piece[..read]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Unreadable::Io { path: self.path.clone(), source }),
            }
        }
    }
}
