//! The end of the log: where commits, removals and local values are ordered, checked and made durable.
//!
//! Invariants: a commit is checked against the journal's end here and nowhere else, after all that was ordered
//! before it; a group is written only when the one before it is durable; the table learns of a record only when it is
//! durable; after a write or sync that failed nothing is written any more.

use super::{
    agent_file::{HELD_BYTES, encode_held},
    home::{Home, agent_file},
    local::Local,
    recovery::LastGroup,
    segment::{Builder, GROUPS_AT, Link, RECORD_HEADER_BYTES, Segment},
    spares::Spares,
    table::{Change, Held, InUse, Location, Shared},
};
use crate::{
    Error,
    files::{Rule, Rules, SyncPoint},
};
use igor_protocol::{AgentId, Body, Chain, Commit, Entry, limits::COMMIT_BYTES_MAX};
use std::{collections::BTreeMap, io, sync::Arc};

/// A record that is a commit's bytes.
pub(crate) const COMMIT: u8 = 1;
/// A record that says what the agent files hold.
pub(crate) const WATERMARKS: u8 = 2;
/// A record that removes the journal of the agent whose id it is.
pub(crate) const REMOVAL: u8 = 3;
/// A group is written once it has this many bytes; a single longer commit makes a longer one.
const GROUP_BYTES: usize = 4 << 20;
/// Under load, this many groups after a mark the next one is written.
const GROUPS_PER_MARK: u32 = 64;

/// A commit as the log takes it. Encoding it is the caller's work, so that it is done on the caller's thread.
pub(crate) struct Pending {
    pub(crate) start: Chain,
    pub(crate) end: Chain,
    pub(crate) bytes: Vec<u8>,
}

impl Pending {
    pub(crate) fn new(commit: &Commit) -> Result<Self, Error> {
        let bytes = commit.encode();
        if bytes.len() > COMMIT_BYTES_MAX {
            return Err(Error::TooLarge { what: "a commit", bytes: bytes.len() as u64, max: COMMIT_BYTES_MAX as u64 });
        }
        Ok(Self { start: commit.start(), end: commit.end(), bytes })
    }
}

/// What became of what was given to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    /// It is in the open group, durable after the next flush.
    Taken,
    /// The open group has no room: flush, then give it again.
    FlushFirst,
}

pub(crate) struct Log {
    home: Arc<Home>,
    table: Shared,
    spares: Arc<Spares>,
    segment: Arc<Segment>,
    /// Where in the segment the next group goes.
    at: u64,
    link: Link,
    group: Builder,
    staged: Vec<Change>,
    /// The ends of journals as the open group will leave them; nothing where it removes them.
    ends: BTreeMap<AgentId, Option<Chain>>,
    groups_since_mark: u32,
    marks: u64,
    /// Whether the last group is an empty one.
    closed: bool,
}

impl Log {
    /// Goes on after `link` in a fresh segment.
    pub(crate) fn begin(
        home: Arc<Home>,
        table: Shared,
        spares: Arc<Spares>,
        segment: Arc<Segment>,
        link: Link,
    ) -> Self {
        let log = Self {
            home,
            table,
            spares,
            segment,
            at: GROUPS_AT,
            link,
            group: Builder::new(),
            staged: Vec::new(),
            ends: BTreeMap::new(),
            groups_since_mark: 0,
            marks: 0,
            closed: true,
        };
        log.enter_segment();
        log
    }

    /// Writes a group again that a restart found at the end, so that it is durable before it is believed.
    pub(crate) fn repeat(&mut self, last: &LastGroup) -> Result<(), Error> {
        self.group.repeat(&last.body);
        let moved = |change: &Change| match change {
            Change::Commit(start, end, location) => {
                let at = self.at + (location.at - last.at);
                Change::Commit(*start, *end, Location { segment: self.segment.number, at, ..*location })
            }
            Change::Remove(_) | Change::Local(_) => change.clone(),
        };
        self.staged = last.changes.iter().map(moved).collect();
        self.write(SyncPoint::RecoveredGroup)
    }

    /// Puts a commit in the open group, or says why it cannot be in the journal.
    pub(crate) fn stage(&mut self, commit: &Pending) -> Result<Staged, Error> {
        self.home.check()?;
        self.check_link(commit)?;
        let bytes = commit.bytes.len();
        if self.make_room(bytes, || agent_in_words(commit.start.agent), || is_last_wish(&commit.bytes))?
            == Staged::FlushFirst
        {
            return Ok(Staged::FlushFirst);
        }
        self.push(commit);
        Ok(Staged::Taken)
    }

    /// Puts a local value and a commit in the open group: both are durable, or neither is.
    pub(crate) fn stage_noting(&mut self, commit: &Pending, local: &Local) -> Result<Staged, Error> {
        self.home.check()?;
        self.check_link(commit)?;
        let (kind, content) = local.record();
        let bytes = content.len() + RECORD_HEADER_BYTES + commit.bytes.len();
        // A node that cannot note what it signs can neither give an agent away nor take it back.
        if self.make_room(bytes, || agent_in_words(commit.start.agent), || true)? == Staged::FlushFirst {
            return Ok(Staged::FlushFirst);
        }
        self.group.push(kind, &content);
        self.staged.push(Change::Local(local.clone()));
        self.push(commit);
        Ok(Staged::Taken)
    }

    /// Puts a local value, or its removal, in the open group.
    pub(crate) fn stage_local(&mut self, local: &Local) -> Result<Staged, Error> {
        self.home.check()?;
        let (kind, content) = local.record();
        let what = || format!("the local value {}", local.name);
        if self.make_room(content.len(), what, || true)? == Staged::FlushFirst {
            return Ok(Staged::FlushFirst);
        }
        self.group.push(kind, &content);
        self.staged.push(Change::Local(local.clone()));
        Ok(Staged::Taken)
    }

    /// Adds a commit that was checked and has room.
    fn push(&mut self, commit: &Pending) {
        let at = self.at + self.group.push(COMMIT, &commit.bytes) as u64;
        let bytes = u32::try_from(commit.bytes.len()).unwrap_or(u32::MAX);
        let location = Location { first: commit.start.next.0, segment: self.segment.number, at, bytes };
        self.staged.push(Change::Commit(commit.start, commit.end, location));
        self.ends.insert(commit.start.agent, Some(commit.end));
    }

    /// Puts the removal of a journal in the open group. What was staged of the journal before goes with it; where there
    /// is none, nothing is written.
    pub(crate) fn stage_removal(&mut self, agent: AgentId) -> Result<Staged, Error> {
        self.home.check()?;
        if self.end(agent).is_none() {
            return Ok(Staged::Taken);
        }
        // It gives back more than it takes.
        if self.make_room(agent.as_bytes().len(), || agent_in_words(agent), || true)? == Staged::FlushFirst {
            return Ok(Staged::FlushFirst);
        }
        self.group.push(REMOVAL, agent.as_bytes());
        self.staged.push(Change::Remove(agent));
        self.ends.insert(agent, None);
        if !self.home.rules.keep(Rule::FileAfterRemoval)
            && let Some(journal) = self.table.lock().journals.get(&agent)
        {
            self.home.discard(&agent_file(agent, journal.born));
        }
        Ok(Staged::Taken)
    }

    /// Sees to it that the open group can take a record of so many bytes. `what` it is, for the message; `needed`: also
    /// from the room that is kept for a full disk.
    fn make_room(
        &mut self,
        bytes: usize,
        what: impl Fn() -> String,
        needed: impl FnOnce() -> bool,
    ) -> Result<Staged, Error> {
        let size = self.group.size_with(bytes);
        let empty = self.group.body_bytes() == 0;
        if !empty && (self.group.body_bytes() + bytes > GROUP_BYTES || size > self.room()) {
            return Ok(Staged::FlushFirst);
        }
        let named = |e| match e {
            Error::Full { .. } => self.home.full(what()),
            other => other,
        };
        if self.room() < size + self.reserved() && self.spares.is_full().map_err(named)? && !needed() {
            return Err(self.home.full(what()));
        }
        if size > self.room() {
            let segment = self.spares.take(GROUPS_AT + size).map_err(named)?;
            self.next_segment(segment);
        }
        Ok(Staged::Taken)
    }

    /// The end of a journal as the open group will leave it.
    fn end(&self, agent: AgentId) -> Option<Chain> {
        self.ends.get(&agent).copied().unwrap_or_else(|| self.table.lock().tail(agent))
    }

    /// Makes the open group durable: one write, one sync. On success everything that was staged may be
    /// acknowledged.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.group.body_bytes() == 0 { Ok(()) } else { self.write(SyncPoint::Group) }
    }

    /// Closes the last group with an empty one, so that it is not the last any more and damage to it cannot be
    /// taken for a tear. To be called when nothing came for a while.
    pub(crate) fn close_idle(&mut self) -> Result<(), Error> {
        self.flush()?;
        if self.closed {
            return Ok(());
        }
        if self.group.size_with(0) <= self.room() {
            self.groups_since_mark = GROUPS_PER_MARK;
            return self.write(SyncPoint::Group);
        }
        // No room for an empty group: the mark alone says that this one is durable.
        let marked = self.write_mark(self.link);
        marked.map_err(|e| self.failed(&e))?;
        self.closed = true;
        self.home.sync(&*self.segment.file, &self.segment.name, SyncPoint::Group)
    }

    pub(crate) fn segment_number(&self) -> u64 {
        self.segment.number
    }

    pub(crate) fn rules(&self) -> Rules {
        self.home.rules
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Makes durable what the agent files hold. Everything up to the group number `covered` is in them.
    pub(crate) fn write_watermarks(&mut self, covered: u64, held: &[Held]) -> Result<(), Error> {
        self.flush()?;
        let mut record = Vec::with_capacity(8 + held.len() * HELD_BYTES);
        record.extend_from_slice(&covered.to_be_bytes());
        for held in held {
            record.extend_from_slice(&encode_held(*held));
        }
        let size = self.group.size_with(record.len());
        if size > self.room() {
            let segment = self.spares.take(GROUPS_AT + 2 * size)?;
            self.next_segment(segment);
        }
        self.group.push(WATERMARKS, &record);
        self.write(SyncPoint::Watermarks)
    }

    fn check_link(&self, commit: &Pending) -> Result<(), Error> {
        let agent = commit.start.agent;
        let Some(tail) = self.end(agent) else {
            let begin = Chain { epoch: commit.start.epoch, ..Chain::begin(agent) };
            if self.home.rules.forbid(Rule::AppendBegin, commit.start != begin) {
                return Err(Error::Conflict { agent, tail: None, offered: commit.start.next });
            }
            return Ok(());
        };
        if self.home.rules.forbid(Rule::AppendEpoch, commit.start.epoch < tail.epoch) {
            return Err(Error::Fenced { agent, epoch: tail.epoch, offered: commit.start.epoch });
        }
        let links = (commit.start.next, commit.start.head) == (tail.next, tail.head);
        if self.home.rules.forbid(Rule::AppendLink, !links) {
            return Err(Error::Conflict { agent, tail: Some(Box::new(tail)), offered: commit.start.next });
        }
        Ok(())
    }

    fn room(&self) -> u64 {
        self.segment.size - self.at.min(self.segment.size)
    }

    /// Room at the end of a segment that only checkpoints, ends, custody and local values may use when no other segment can be made.
    fn reserved(&self) -> u64 {
        (self.segment.size / 4).min(1 << 20)
    }

    fn next_segment(&mut self, segment: Arc<Segment>) {
        self.segment = segment;
        self.at = GROUPS_AT;
        self.enter_segment();
    }

    fn enter_segment(&self) {
        let entry = InUse { segment: self.segment.clone(), before: self.link, last: self.link };
        self.table.lock().segments.insert(self.segment.number, entry);
    }

    fn write(&mut self, point: SyncPoint) -> Result<(), Error> {
        self.home.check()?;
        let before = self.link;
        let (link, bytes) = self.group.finish(&self.segment, before);
        let length = bytes.len() as u64;
        let mut written = self.segment.file.write_at(bytes, self.at);
        if self.groups_since_mark >= GROUPS_PER_MARK && written.is_ok() {
            // Of the group before: this one is not durable yet, and the mark may be while it is not.
            let durable = if self.home.rules.keep(Rule::MarkOfTheGroupBefore) { before } else { link };
            written = self.write_mark(durable);
        }
        // A write into blocks that are there already does not run out of space: whatever failed, what is on the
        // disk is not known.
        written
            .map_err(|e| self.home.poison(format!("{}: {e}", self.home.files.path(&self.segment.name).display())))?;
        if !self.home.rules.keep(Rule::PublishAfterSync) {
            self.publish(link);
        }
        self.home.sync(&*self.segment.file, &self.segment.name, point)?;
        self.at += length;
        self.link = link;
        self.groups_since_mark += 1;
        self.closed = self.group.body_bytes() == 0;
        self.group.clear();
        self.ends.clear();
        self.publish(link);
        Ok(())
    }

    fn write_mark(&mut self, link: Link) -> io::Result<()> {
        self.marks += 1;
        self.groups_since_mark = 0;
        self.segment.write_mark(self.marks, link)
    }

    fn failed(&self, error: &io::Error) -> Error {
        self.home.poison(format!("{}: {error}", self.home.files.path(&self.segment.name).display()))
    }

    fn publish(&mut self, link: Link) {
        let mut table = self.table.lock();
        table.link = link;
        if let Some(in_use) = table.segments.get_mut(&self.segment.number) {
            in_use.last = link;
        }
        for change in self.staged.drain(..) {
            table.apply(change, link.count);
        }
    }
}

fn agent_in_words(agent: AgentId) -> String {
    format!("agent {agent}")
}

/// Whether a commit is one that an agent needs room for even when the disk is full: to end, or to go elsewhere.
fn is_last_wish(commit: &[u8]) -> bool {
    let Ok(commit) = Commit::decode(commit) else { return false };
    let mut only_seals = true;
    for (_, _, entry) in commit.entries() {
        match Entry::decode(entry).map(|entry| entry.body) {
            Ok(Body::Checkpoint(_) | Body::End(_) | Body::Custody(_)) => return true,
            Ok(Body::Seal(_)) => {}
            _ => only_seals = false,
        }
    }
    only_seals
}
