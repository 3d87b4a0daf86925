//! A segment of the log: a file of fixed size, zeroed beforehand, that is filled with groups from its start.
//!
//! Invariants: a segment has its name only when its header and zeros are durable, so a header that does not read
//! is damage; a group is written only when the one before it is durable, so at most the last one may be torn;
//! a group names the hash of the one before it, so none can be missing, doubled or swapped unseen.
//! The bytes are in `docs/formats/disk.md`.

use super::home::{Home, LOG, segment_file};
use crate::{
    Error,
    files::{File, Mode, Rule, Rules, SyncPoint},
};
use igor_protocol::Hash;
use std::{ops::Range, sync::Arc};

const MAGIC: [u8; 8] = *b"IGORLOG\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const MARK_SLOTS: [u64; 2] = [64, 128];
const MARK_BYTES: usize = 48;
/// Where the first group begins.
pub(crate) const GROUPS_AT: u64 = 256;
/// The part of a group before its records.
pub(crate) const GROUP_HEADER_BYTES: usize = 88;
/// The part of a record before its content.
pub(crate) const RECORD_HEADER_BYTES: usize = 5;
/// Groups begin at multiples of this.
const ALIGN: usize = 8;
/// A reader refuses larger segments before it allocates for them.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const ZEROS_BYTES: usize = 1 << 18;
/// What a walk over groups reads at once, where a group is no longer.
const WALK_BYTES: u64 = 256 << 10;

/// The position of a group in the log and the hash up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// The number of groups up to and including it.
    pub(crate) count: u64,
    /// The hash of the last one.
    pub(crate) head: Hash,
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) name: String,
    tag: [u8; 8],
    rules: Rules,
}

impl Segment {
    /// Makes a durable segment of zeros. `at` is the end of the log; guests cannot know it, so what they send
    /// cannot look like a group of this segment.
    pub(crate) fn create(home: &Home, number: u64, size: u64, at: Link) -> Result<Self, Error> {
        let unfinished = home.unfinished(LOG, &format!("{number:010}"));
        let file = home.open(&unfinished, Mode::CreateEmpty)?;
        let tag = tag(number, at);
        let filled = file.allocate(size).and_then(|()| {
            let zeros = vec![0; ZEROS_BYTES.min(as_index(size))];
            let mut filled = 0;
            while filled < size {
                let part = (size - filled).min(zeros.len() as u64);
                file.write_at(&zeros[..as_index(part)], filled)?;
                filled += part;
            }
            file.write_at(&header(number, size, tag), 0)
        });
        if let Err(e) = filled {
            home.discard(&unfinished);
            return Err(home.error(&unfinished, e));
        }
        home.sync(&*file, &unfinished, SyncPoint::Segment)?;
        let name = segment_file(number);
        home.rename_durably(LOG, &unfinished, &name, SyncPoint::SegmentName)?;
        Ok(Self { number, size, file, name, tag, rules: home.rules })
    }

    /// Opens a segment and checks its header.
    pub(crate) fn open(home: &Home, number: u64, mode: Mode) -> Result<Self, Error> {
        let name = segment_file(number);
        let file = home.open(&name, mode)?;
        let length = home.len(&*file, &name)?;
        let mut bytes = [0; HEADER_BYTES];
        if length < GROUPS_AT {
            return Err(home.damaged(&name, length, "it is cut short"));
        }
        file.read_at(&mut bytes, 0).map_err(|e| home.error(&name, e))?;
        let version = u32_at(&bytes, 8);
        if home.rules.forbid(Rule::SegmentVersion, bytes[..8] == MAGIC && version != VERSION) {
            let (found, known) = (u64::from(version), u64::from(VERSION));
            return Err(Error::OtherVersion { path: home.files.path(&name), found, known });
        }
        let (size, mut tag) = (u64_at(&bytes, 24), [0; 8]);
        tag.copy_from_slice(&bytes[32..40]);
        if home.rules.forbid(Rule::SegmentHeader, bytes != header(number, size, tag)) {
            return Err(home.damaged(&name, 0, "its header is not what was written"));
        }
        if home.rules.forbid(Rule::SegmentLength, size != length) || size > SEGMENT_BYTES_MAX {
            return Err(home.damaged(&name, length.min(size), format!("it has {length} bytes instead of {size}")));
        }
        Ok(Self { number, size, file, name, tag, rules: home.rules })
    }

    /// All of its bytes.
    pub(crate) fn load(&self, home: &Home) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; as_index(self.size)];
        self.file.read_at(&mut bytes, 0).map_err(|e| home.error(&self.name, e))?;
        Ok(bytes)
    }

    /// Writes that the log durably reached this group, in one of two places in turn, so that a torn mark leaves
    /// the one before.
    pub(crate) fn write_mark(&self, turn: u64, link: Link) -> std::io::Result<()> {
        self.file.write_at(&mark(self.tag, link), MARK_SLOTS[as_index(turn % 2)])
    }

    /// The furthest group that a mark says the log reached.
    pub(crate) fn read_mark(&self, bytes: &[u8]) -> Option<Link> {
        let read = |slot: u64| {
            let bytes = &bytes[as_index(slot)..][..MARK_BYTES];
            let link = Link { count: u64_at(bytes, 0), head: hash_at(bytes, 8) };
            (!self.rules.forbid(Rule::MarkCheck, bytes != mark(self.tag, link))).then_some(link)
        };
        MARK_SLOTS.into_iter().filter_map(read).max_by_key(|link| link.count)
    }

    /// The length that a header says its group's records have, if it is a whole header.
    fn body_length(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let header = bytes.get(at..at.checked_add(GROUP_HEADER_BYTES)?)?;
        let damaged = self.rules.forbid(Rule::GroupTag, header[..8] != self.tag)
            || self.rules.forbid(Rule::GroupHeader, header[20..24] != header_check(header));
        (!damaged).then(|| as_index(u64::from(u32_at(header, 16))))
    }

    /// The group at a position, if there is a whole one.
    fn group<'a>(&self, bytes: &'a [u8], at: usize) -> Option<Group<'a>> {
        let length = self.body_length(bytes, at)?;
        let header = &bytes[at..at + GROUP_HEADER_BYTES];
        let count = u64_at(header, 8);
        let body = bytes.get(at + GROUP_HEADER_BYTES..)?.get(..length)?;
        let group = Group { at, link: Link { count, head: hash_at(header, 56) }, prev: hash_at(header, 24), body };
        // What fills it up to the next group, as far as it was read.
        let (end, fill) = (at + GROUP_HEADER_BYTES + length, group.end().min(bytes.len()));
        let is_other = group.link.head != group_hash(&header[8..56], body) || !is_zero(&bytes[end..fill]);
        let damaged = self.rules.forbid(Rule::GroupHash, is_other);
        (!damaged).then_some(group)
    }

    /// The records of a group that is not whole, as far as its header says where they are.
    pub(crate) fn damaged_records<'a>(
        &self,
        bytes: &'a [u8],
        at: usize,
    ) -> impl Iterator<Item = (u8, Range<usize>, &'a [u8])> + use<'a> {
        let length = self.body_length(bytes, at).unwrap_or_default();
        let body = bytes.get(at + GROUP_HEADER_BYTES..).unwrap_or_default();
        Group { at, link: Link::default(), prev: Hash::ZERO, body: body.get(..length).unwrap_or_default() }.records()
    }

    /// The whole groups from the start, read as they are asked for.
    pub(crate) const fn walk(&self) -> Walk<'_> {
        Walk { segment: self, at: GROUPS_AT, last: None, window: Vec::new(), window_at: 0 }
    }

    /// The groups from the start, and what comes after them.
    pub(crate) fn scan<'a>(&self, bytes: &'a [u8]) -> (Vec<Group<'a>>, Rest) {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut at = as_index(GROUPS_AT);
        while let Some(group) = self.group(bytes, at) {
            let astray = groups.last().is_some_and(|last| !group.follows(last.link));
            if self.rules.forbid(Rule::GroupLink, astray) {
                return (groups, Rest::Damaged { at });
            }
            at = group.end();
            groups.push(group);
        }
        let rest = &bytes[at.min(bytes.len())..];
        if is_zero(rest) {
            return (groups, Rest::Zeros);
        }
        // A group was written only after all before it were durable. So a later one that is whole, or anything at
        // all behind what this one's header says is its end, shows that this is no tear.
        let later = (at + ALIGN..bytes.len()).step_by(ALIGN).any(|at| self.group(bytes, at).is_some());
        let end = self.body_length(bytes, at).map_or(bytes.len(), |length| group_end(at, length).min(bytes.len()));
        let damaged =
            self.rules.forbid(Rule::LaterGroup, later) || self.rules.forbid(Rule::ZerosBehind, !is_zero(&bytes[end..]));
        (groups, if damaged { Rest::Damaged { at } } else { Rest::Torn { at } })
    }
}

/// A walk over the groups of a segment that has memory for one of them at a time, or for a window of small ones.
pub(crate) struct Walk<'a> {
    segment: &'a Segment,
    /// Where the next group begins.
    at: u64,
    last: Option<Link>,
    window: Vec<u8>,
    window_at: u64,
}

impl Walk<'_> {
    /// The next group; nothing where no whole one follows that links to the one before.
    pub(crate) fn next(&mut self, home: &Home) -> Result<Option<Group<'_>>, Error> {
        let header = GROUP_HEADER_BYTES as u64;
        if !self.reach(home, header)? {
            return Ok(None);
        }
        let length = self.segment.body_length(&self.window, self.index());
        let Some(length) = length else { return Ok(None) };
        if !self.reach(home, header + length as u64)? {
            return Ok(None);
        }
        let index = self.index();
        let Some(group) = self.segment.group(&self.window, index) else { return Ok(None) };
        let astray = self.last.is_some_and(|last| !group.follows(last));
        if self.segment.rules.forbid(Rule::GroupLink, astray) {
            return Ok(None);
        }
        self.last = Some(group.link);
        let group = Group { at: as_index(self.at), ..group };
        self.at = group.end() as u64;
        Ok(Some(group))
    }

    fn index(&self) -> usize {
        as_index(self.at - self.window_at)
    }

    /// Has so many bytes from here on in the window; says whether the segment has as many.
    fn reach(&mut self, home: &Home, bytes: u64) -> Result<bool, Error> {
        let Some(end) = self.at.checked_add(bytes).filter(|end| *end <= self.segment.size) else { return Ok(false) };
        if end > self.window_at + self.window.len() as u64 {
            let to = end.max(self.at.saturating_add(WALK_BYTES)).min(self.segment.size);
            self.window.resize(as_index(to - self.at), 0);
            self.window_at = self.at;
            let read = self.segment.file.read_at(&mut self.window, self.at);
            read.map_err(|e| home.error(&self.segment.name, e))?;
        }
        Ok(true)
    }
}

/// What follows the last whole group of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing was written there.
    Zeros,
    /// A write that may not have finished.
    Torn {
        /// Where it begins.
        at: usize,
    },
    /// Groups follow that cannot be reached.
    Damaged {
        /// Where it begins.
        at: usize,
    },
}

/// A whole group.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) at: usize,
    pub(crate) link: Link,
    pub(crate) prev: Hash,
    pub(crate) body: &'a [u8],
}

impl<'a> Group<'a> {
    pub(crate) fn follows(&self, link: Link) -> bool {
        link.count.checked_add(1) == Some(self.link.count) && self.prev == link.head
    }

    /// The link before it.
    pub(crate) fn before(&self) -> Link {
        Link { count: self.link.count.saturating_sub(1), head: self.prev }
    }

    fn end(&self) -> usize {
        group_end(self.at, self.body.len())
    }

    /// Its records; the range is that of the content in the segment. A group that is whole has whole records.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u8, Range<usize>, &'a [u8])> + use<'a> {
        let (body, base, mut at) = (self.body, self.at + GROUP_HEADER_BYTES, 0);
        std::iter::from_fn(move || {
            let head = body.get(at..at + RECORD_HEADER_BYTES)?;
            let start = at + RECORD_HEADER_BYTES;
            let content = body.get(start..)?.get(..as_index(u64::from(u32_at(head, 1))))?;
            at = start + content.len();
            Some((head[0], base + start..base + at, content))
        })
    }
}

/// A group in the making: its bytes as they will be written.
pub(crate) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; GROUP_HEADER_BYTES] }
    }

    /// Bytes it would take in the segment with one more record of this many bytes.
    pub(crate) fn size_with(&self, content: usize) -> u64 {
        (self.bytes.len() + RECORD_HEADER_BYTES + content).next_multiple_of(ALIGN) as u64
    }

    /// Bytes of records so far.
    pub(crate) fn body_bytes(&self) -> usize {
        self.bytes.len() - GROUP_HEADER_BYTES
    }

    /// Adds a record; returns where its content is, counted from the start of the group.
    pub(crate) fn push(&mut self, kind: u8, content: &[u8]) -> usize {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(content);
        at
    }

    /// Takes the records of a group that was written before.
    pub(crate) fn repeat(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
    }

    /// Fills in the header; returns the link after it and the bytes to write.
    pub(crate) fn finish(&mut self, segment: &Segment, after: Link) -> (Link, &[u8]) {
        let length = u32::try_from(self.body_bytes()).unwrap_or(u32::MAX);
        let count = after.count + 1;
        let (header, body) = self.bytes.split_at_mut(GROUP_HEADER_BYTES);
        header[..8].copy_from_slice(&segment.tag);
        header[8..16].copy_from_slice(&count.to_be_bytes());
        header[16..20].copy_from_slice(&length.to_be_bytes());
        header[24..56].copy_from_slice(&after.head.0);
        let check = header_check(header);
        header[20..24].copy_from_slice(&check);
        let head = group_hash(&header[8..56], body);
        header[56..88].copy_from_slice(&head.0);
        let padded = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(padded, 0);
        (Link { count, head }, &self.bytes)
    }

    /// Begins the next group, keeping the memory unless it grew unusually large.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(GROUP_HEADER_BYTES);
        self.bytes.shrink_to(2 << 20);
    }
}

fn header(number: u64, size: u64, tag: [u8; 8]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    bytes[16..24].copy_from_slice(&number.to_be_bytes());
    bytes[24..32].copy_from_slice(&size.to_be_bytes());
    bytes[32..40].copy_from_slice(&tag);
    let check = hash(b"igor/segment/1\0", &[&bytes[..48]]);
    bytes[48..].copy_from_slice(&check.0[..16]);
    bytes
}

fn mark(tag: [u8; 8], link: Link) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    bytes[..8].copy_from_slice(&link.count.to_be_bytes());
    bytes[8..40].copy_from_slice(&link.head.0);
    let check = hash(b"igor/mark/1\0", &[&tag, &bytes[..40]]);
    bytes[40..].copy_from_slice(&check.0[..8]);
    bytes
}

fn tag(number: u64, at: Link) -> [u8; 8] {
    let hash = hash(b"igor/segment-tag/1\0", &[&number.to_be_bytes(), &at.count.to_be_bytes(), &at.head.0]);
    let mut tag = [0; 8];
    tag.copy_from_slice(&hash.0[..8]);
    tag
}

fn group_end(at: usize, length: usize) -> usize {
    (at + GROUP_HEADER_BYTES + length).next_multiple_of(ALIGN)
}

/// Of the count and the length: what has to be right to know where a damaged group ends.
fn header_check(header: &[u8]) -> [u8; 4] {
    let hash = hash(b"igor/group-header/1\0", &[&header[8..20]]);
    [hash.0[0], hash.0[1], hash.0[2], hash.0[3]]
}

fn group_hash(header: &[u8], body: &[u8]) -> Hash {
    hash(b"igor/group/1\0", &[header, body])
}

pub(crate) fn hash(domain: &[u8], parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(part);
    }
    Hash(*hasher.finalize().as_bytes())
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// A big-endian number at a position that the caller knows to be inside.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A big-endian number at a position that the caller knows to be inside.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

/// A hash at a position that the caller knows to be inside.
pub(crate) fn hash_at(bytes: &[u8], at: usize) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(&bytes[at..at + 32]);
    Hash(hash)
}

/// A length that was bounded before, as an index. One beyond the address space finds nothing anywhere.
pub(crate) fn as_index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
