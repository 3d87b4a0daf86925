//! Writes the store's files anew with right checksums around wrong content, by `docs/formats/disk.md` alone.

use igor_protocol::{Chain, Commit};

const GROUPS_AT: usize = 256;
const GROUP_HEADER_BYTES: usize = 88;

/// A group: where it is, its records' bytes.
pub(crate) struct Group {
    pub(crate) at: usize,
    pub(crate) records: Vec<(u8, Vec<u8>)>,
    header: [u8; GROUP_HEADER_BYTES],
}

impl Group {
    /// Where the next one begins.
    pub(crate) fn end(&self) -> usize {
        (self.at + GROUP_HEADER_BYTES + body(&self.records).len()).next_multiple_of(8)
    }
}

pub(crate) fn groups(segment: &[u8]) -> Vec<Group> {
    let (mut groups, mut at) = (Vec::new(), GROUPS_AT);
    while segment.len() >= at + GROUP_HEADER_BYTES && segment[at..at + 8] == segment[32..40] {
        let header: [u8; GROUP_HEADER_BYTES] = segment[at..at + GROUP_HEADER_BYTES].try_into().unwrap();
        let mut body = &segment[at + GROUP_HEADER_BYTES..][..number(&header[16..20])];
        let mut records = Vec::new();
        while let [kind, rest @ ..] = body {
            let (content, rest) = rest[4..].split_at(number(&rest[..4]));
            records.push((*kind, content.to_vec()));
            body = rest;
        }
        groups.push(Group { at, records, header });
        at = groups[groups.len() - 1].end();
    }
    groups
}

/// Changes the groups of a segment; counts, links and hashes are made right again.
pub(crate) fn segment(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Group>)) {
    let mut groups = groups(bytes);
    change(&mut groups);
    let (size, first) = (bytes.len(), groups[0].header);
    let count = u64::from_be_bytes(first[8..16].try_into().unwrap());
    let mut prev: [u8; 32] = first[24..56].try_into().unwrap();
    bytes.truncate(GROUPS_AT);
    for (count, forged) in (count..).zip(&groups) {
        let tag = bytes[32..40].try_into().unwrap();
        let group = group(tag, count, prev, &body(&forged.records));
        prev = group[56..88].try_into().unwrap();
        bytes.extend_from_slice(&group);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.resize(size, 0);
}

pub(crate) fn group(tag: [u8; 8], count: u64, prev: [u8; 32], body: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_vec();
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    let check = hash("igor/group-header/1", &[&bytes[8..20]]);
    bytes.extend_from_slice(&check[..4]);
    bytes.extend_from_slice(&prev);
    let hash = hash("igor/group/1", &[&bytes[8..56], body]);
    bytes.extend_from_slice(&hash);
    bytes.extend_from_slice(body);
    bytes
}

/// The file of a journal of these commits, whether they link or not.
pub(crate) fn agent_file(commits: &[Commit]) -> Vec<u8> {
    let mut bytes = b"IGORJNL\0".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    bytes.extend_from_slice(commits[0].agent().as_bytes());
    bytes.resize(112, 0);
    let check = hash("igor/journal-file/1", &[&bytes]);
    bytes.extend_from_slice(&check[..16]);
    bytes.extend(commits.iter().flat_map(frame));
    bytes
}

/// What watermarks say of a file that ends there; `entry` is what they said before.
pub(crate) fn watermark(entry: &mut [u8], end: Chain, bytes: u64) {
    let numbers = [end.next.0, end.epoch.term, end.epoch.n].map(u64::to_be_bytes).concat();
    entry[32..56].copy_from_slice(&numbers);
    entry[56..88].copy_from_slice(&end.head.0);
    entry[88..96].copy_from_slice(&bytes.to_be_bytes());
}

pub(crate) fn frame(commit: &Commit) -> Vec<u8> {
    let bytes = commit.encode();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let entries = u32::try_from(commit.next().0 - commit.first().0).unwrap().to_be_bytes();
    [&length[..], &bytes, &entries, &length].concat()
}

fn body(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, content) in records {
        bytes.push(*kind);
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

fn number(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().unwrap()).try_into().unwrap()
}

fn hash(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(domain.as_bytes()).update(&[0]);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
