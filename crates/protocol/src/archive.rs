//! The portable agent file (`.igor`): a journal with the blobs that it names.
//!
//! A 16-byte header, then frames `kind (1) | length (4, big-endian) | payload`, the last of which holds the BLAKE3
//! hash of every byte before it. Copying a file copies history, never custody.
//!
//! Invariants kept here:
//! - No frame is longer than [`FRAME_BYTES_MAX`]; a reader never holds more than one.
//! - A file that was cut, extended or changed by any bit is refused: nothing counts before [`Parser::finish`].

use crate::hash::Domain;
use crate::{
    Commit, Hash, Seq, codec, commit,
    limits::{BLOB_BYTES_MAX, COMMIT_BYTES_MAX},
};
use minicbor::{Decode, Encode};

/// First bytes of every file: name, format version (2 bytes, big-endian), zeros.
const MAGIC: &[u8; 4] = b"IGOR";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const FRAME_HEADER_BYTES: usize = 5;
/// Largest frame payload.
pub const FRAME_BYTES_MAX: usize = COMMIT_BYTES_MAX;
/// Blob bytes in one frame.
pub const PART_BYTES: usize = 1 << 20;

const KIND_BLOB: u8 = 1;
const KIND_COMMIT: u8 = 2;
const KIND_END: u8 = 255;

/// One frame of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A part of a blob. Parts come in order, and a blob's parts are not mixed with other frames.
    Blob(Part),
    /// A commit of the journal, in order.
    Commit(Commit),
}

/// A part of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The hash of the whole blob.
    #[n(0)]
    pub hash: Hash,
    /// The length of the whole blob.
    #[n(1)]
    pub total: u64,
    /// Where this part begins.
    #[n(2)]
    pub offset: u64,
    /// The bytes.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

impl Part {
    /// Whether it lies inside its blob, and is no larger than a part, nor the blob than a blob.
    pub fn is_within_blob(&self) -> bool {
        let end = self.offset.checked_add(self.bytes.len() as u64);
        self.total <= BLOB_BYTES_MAX && end.is_some_and(|end| end <= self.total) && self.bytes.len() <= PART_BYTES
    }
}

/// Why bytes are not a portable agent file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not such a file at all.
    #[error("not an igor file: it does not begin with IGOR")]
    NotAnArchive,
    /// Another version of the format.
    #[error("igor file of version {0}; this igor reads version {VERSION}")]
    Version(u16),
    /// It ends too early.
    #[error("the file is cut short: its last frame is missing")]
    Truncated,
    /// Bytes after the last frame.
    #[error("the file goes on after its last frame")]
    Trailing,
    /// A frame that cannot be.
    #[error("bad frame: {0}")]
    Frame(&'static str),
    /// The hash over the file is not the one at its end.
    #[error("the file was changed: its bytes do not have the hash that it ends with")]
    Changed,
    /// A payload that does not decode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// A commit that does not hold together.
    #[error("entry seq=`{seq}`: {source}")]
    Commit {
        /// The first entry that is not as it was recorded.
        seq: Seq,
        /// What is wrong.
        source: commit::Error,
    },
}

/// Makes the bytes of a file, piece by piece.
pub struct Writer(blake3::Hasher);

impl Writer {
    /// Begins a file. Returns its header.
    pub fn begin() -> (Self, Vec<u8>) {
        let mut writer = Self(hasher());
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.resize(HEADER_BYTES, 0);
        writer.0.update(&header);
        (writer, header)
    }

    /// The bytes of a commit.
    pub fn commit(&mut self, commit: &Commit) -> Vec<u8> {
        self.frame(KIND_COMMIT, &commit.encode())
    }

    /// The bytes of one part of a blob; see [`parts`].
    pub fn part(&mut self, part: &Part) -> Vec<u8> {
        self.frame(KIND_BLOB, &codec::encode(part))
    }

    /// The last frame.
    pub fn finish(mut self) -> Vec<u8> {
        let hash = self.0.finalize();
        self.frame(KIND_END, hash.as_bytes())
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
        bytes.push(kind);
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(payload);
        self.0.update(&bytes);
        bytes
    }
}

/// The parts of a blob, in order.
pub fn parts(hash: Hash, blob: &[u8]) -> impl Iterator<Item = Part> + '_ {
    let total = blob.len() as u64;
    let empty = blob.is_empty().then_some(&[][..]);
    blob.chunks(PART_BYTES).chain(empty).enumerate().map(move |(i, bytes)| Part {
        hash,
        total,
        offset: (i * PART_BYTES) as u64,
        bytes: bytes.to_vec(),
    })
}

fn hasher() -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(Domain::ARCHIVE.0);
    hasher
}

/// Reads the bytes of a file, fed in pieces of any size.
pub struct Parser {
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    position: u64,
    /// The entries so far.
    next: Seq,
    header: bool,
    ended: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self { buffer: Vec::new(), hasher: hasher(), position: 0, next: Seq(0), header: false, ended: false }
    }
}

impl Parser {
    /// Takes more bytes. Call [`Parser::next`] until it gives nothing before feeding again, so that little is held.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or nothing if more bytes are needed.
    #[allow(clippy::should_implement_trait)] // not an iterator: nothing means "feed me"
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        if !self.header && !self.read_header()? {
            return Ok(None);
        }
        if self.ended {
            return if self.buffer.is_empty() { Ok(None) } else { Err(Error::Trailing) };
        }
        let Some((kind, length)) = self.frame_header()? else { return Ok(None) };
        let end = FRAME_HEADER_BYTES + length;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let payload = &self.buffer[FRAME_HEADER_BYTES..end];
        let frame = match kind {
            KIND_BLOB => Some(Frame::Blob(part(payload)?)),
            KIND_COMMIT => {
                let commit = Commit::decode(payload)
                    .map_err(|source| Error::Commit { seq: Seq(self.next.0.saturating_add(source.index())), source })?;
                self.next = commit.next();
                Some(Frame::Commit(commit))
            }
            _ => {
                if self.hasher.finalize() != *<&[u8; 32]>::try_from(payload).map_err(|_| Error::Frame("end length"))? {
                    return Err(Error::Changed);
                }
                self.ended = true;
                None
            }
        };
        self.hasher.update(&self.buffer[..end]);
        self.consume(end);
        if self.ended && !self.buffer.is_empty() {
            return Err(Error::Trailing);
        }
        Ok(frame)
    }

    /// Says that there are no more bytes. Only now is the file known to be whole.
    pub fn finish(self) -> Result<(), Error> {
        match (self.ended, self.buffer.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::Trailing),
            (false, _) => Err(Error::Truncated),
        }
    }

    /// Where in the file the next frame begins, in bytes. A reader may come back to it.
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.position += bytes as u64;
    }

    fn read_header(&mut self) -> Result<bool, Error> {
        let seen = self.buffer.len().min(MAGIC.len());
        if self.buffer[..seen] != MAGIC[..seen] {
            return Err(Error::NotAnArchive);
        }
        if self.buffer.len() < HEADER_BYTES {
            return Ok(false);
        }
        let version = u16::from_be_bytes([self.buffer[4], self.buffer[5]]);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        if self.buffer[6..HEADER_BYTES].iter().any(|byte| *byte != 0) {
            return Err(Error::Frame("the header's reserved bytes are not zero"));
        }
        self.hasher.update(&self.buffer[..HEADER_BYTES]);
        self.consume(HEADER_BYTES);
        self.header = true;
        Ok(true)
    }

    fn frame_header(&self) -> Result<Option<(u8, usize)>, Error> {
        let Some(header) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
        let [kind, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        match kind {
            KIND_BLOB | KIND_COMMIT if length <= FRAME_BYTES_MAX => Ok(Some((kind, length))),
            KIND_END if length == 32 => Ok(Some((kind, length))),
            KIND_BLOB | KIND_COMMIT | KIND_END => Err(Error::Frame("it is longer than a frame may be")),
            _ => Err(Error::Frame("its kind is not known")),
        }
    }
}

fn part(payload: &[u8]) -> Result<Part, Error> {
    let part: Part = codec::decode("blob part", payload, FRAME_BYTES_MAX)?;
    if part.is_within_blob() { Ok(part) } else { Err(Error::Frame("a blob part lies outside its blob")) }
}
