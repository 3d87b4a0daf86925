//! A file of one journal's commits.
//!
//! Invariants: what counts of it is a prefix that was durable before the log's watermarks said that it is there, so it
//! has no torn tail: whatever does not read is damage. It belongs to one journal: one that comes after a removal has
//! another file. The bytes are in `docs/formats/disk.md`.

use super::{
    home::Home,
    segment::{hash, hash_at, u32_at, u64_at},
    table::Held,
};
use crate::{Error, files::Rule};
use igor_protocol::{AgentId, Chain, Epoch, Seq};

const MAGIC: [u8; 8] = *b"IGORJNL\0";
const VERSION: u32 = 1;
/// Where the first frame begins.
pub(crate) const HEADER_BYTES: usize = 128;
/// The part of a frame after the commit.
pub(crate) const TRAILER_BYTES: usize = 8;
/// What a frame adds to its commit.
pub(crate) const FRAME_BYTES: u64 = 12;

/// The header of a file: whose it is.
pub(crate) fn header(agent: AgentId) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    bytes[16..48].copy_from_slice(agent.as_bytes());
    let check = hash(b"igor/journal-file/1\0", &[&bytes[..112]]);
    bytes[112..].copy_from_slice(&check.0[..16]);
    bytes
}

/// Checks a header.
pub(crate) fn check_header(home: &Home, agent: AgentId, name: &str, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() < HEADER_BYTES {
        return Err(home.corrupt(agent, 0, name, "the file is cut short"));
    }
    let version = u32_at(bytes, 8);
    if home.rules.forbid(Rule::FileVersion, bytes[..8] == MAGIC && version != VERSION) {
        let (found, known) = (u64::from(version), u64::from(VERSION));
        return Err(Error::OtherVersion { path: home.files.path(name), found, known });
    }
    if home.rules.forbid(Rule::FileHeader, bytes[..HEADER_BYTES] != header(agent)) {
        return Err(home.corrupt(agent, 0, name, "the file's header is not what was written"));
    }
    Ok(())
}

/// Appends one frame to `bytes`.
pub(crate) fn push_frame(bytes: &mut Vec<u8>, commit: &[u8], entries: u64) {
    let length = u32::try_from(commit.len()).unwrap_or(u32::MAX).to_be_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(commit);
    bytes.extend_from_slice(&u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&length);
}

/// The size of an encoded [`Held`].
pub(crate) const HELD_BYTES: usize = 104;

/// What a file holds, as it is written in watermarks: agent, next, term, n, head, bytes, born.
pub(crate) fn encode_held(held: Held) -> [u8; HELD_BYTES] {
    let mut bytes = [0; HELD_BYTES];
    bytes[..32].copy_from_slice(held.end.agent.as_bytes());
    bytes[32..40].copy_from_slice(&held.end.next.0.to_be_bytes());
    bytes[40..48].copy_from_slice(&held.end.epoch.term.to_be_bytes());
    bytes[48..56].copy_from_slice(&held.end.epoch.n.to_be_bytes());
    bytes[56..88].copy_from_slice(&held.end.head.0);
    bytes[88..96].copy_from_slice(&held.bytes.to_be_bytes());
    bytes[96..].copy_from_slice(&held.born.to_be_bytes());
    bytes
}

/// Reads what [`encode_held`] wrote.
pub(crate) fn decode_held(bytes: &[u8; HELD_BYTES]) -> Held {
    let agent = AgentId(hash_at(bytes, 0));
    let epoch = Epoch { term: u64_at(bytes, 40), n: u64_at(bytes, 48) };
    let end = Chain { agent, epoch, next: Seq(u64_at(bytes, 32)), head: hash_at(bytes, 56) };
    Held { end, bytes: u64_at(bytes, 88), born: u64_at(bytes, 96) }
}
