//! Reading a journal: commits from the agent's file and then from the log, each checked.
//!
//! Invariants: commits come in order, without a gap, and each links to the one before it; the last one that
//! comes is the journal's end at the time of asking, or an error comes. Segments that the mover drops meanwhile
//! stay readable through their open handles, and so do the files of journals that are removed. Where one is removed
//! just before its file is opened, that is an error of its own: the next journal of the agent has another file, so that
//! none is ever read as a part of the other.
//!
//! Cost: finding a position in an agent's file walks the frames from the nearest known place, forwards or
//! backwards, in windows that grow from 4 to 64 KiB; the end is always known, and the walk leaves a place every 256 KiB.
//! So the newest commits cost what they are long, however long the file is; a place in the middle costs at most half of
//! the file the first time, and then at most 256 KiB. The places take 16 bytes each.

use super::{
    agent_file::{HEADER_BYTES, TRAILER_BYTES, check_header},
    home::{Home, agent_file},
    segment::{Segment, as_index, u32_at},
    table::{Held, Location, Places, Shared, Table},
};
use crate::{
    Commits, Error,
    files::{File, Rule},
};
use igor_protocol::{AgentId, Chain, Commit, Seq, limits::COMMIT_BYTES_MAX};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

const WINDOW_BYTES_FIRST: u64 = 4 << 10;
const WINDOW_BYTES_MAX: u64 = 64 << 10;
const PLACE_EVERY_BYTES: u64 = 256 << 10;

/// The commits of a journal from the one that holds `from`.
pub(crate) fn read(home: &Arc<Home>, table: &Shared, agent: AgentId, from: Seq) -> Result<Commits, Error> {
    let plan = Plan::make(&table.lock(), agent, from)?;
    let mut frames = None;
    if let Some(held) = plan.held.filter(|held| from < held.end.next) {
        let mut file = Frames::open(home, held)?;
        let known = plan.places.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = file.find(&known, from)?;
        remember(&mut plan.places.lock().unwrap_or_else(PoisonError::into_inner), &found);
        frames = Some(file);
    }
    let expected = frames.as_ref().map(|frames| frames.seq);
    let next = expected.or_else(|| plan.recent.first().map(|commit| commit.first)).unwrap_or(plan.tail.next.0);
    let source = Source { home: home.clone(), agent, frames, recent: plan.recent.into_iter(), segments: plan.segments };
    let before = (next == 0).then(|| Chain::begin(agent));
    let file = agent_file(agent, plan.born);
    Ok(Box::new(Reading { source, before, next, tail: plan.tail, file, done: false }))
}

/// What the table says about where the commits are.
struct Plan {
    born: u64,
    tail: Chain,
    held: Option<Held>,
    places: Arc<Mutex<Places>>,
    recent: Vec<Location>,
    segments: BTreeMap<u64, Arc<Segment>>,
}

impl Plan {
    fn make(table: &Table, agent: AgentId, from: Seq) -> Result<Self, Error> {
        let journal = table.journals.get(&agent).ok_or(Error::Unknown { agent })?;
        // The commit that holds `from` is the last one that does not begin after it.
        let skip = journal.recent.partition_point(|commit| commit.first <= from.0).saturating_sub(1);
        let ended = from >= journal.tail.next;
        let recent = if ended { Vec::new() } else { journal.recent[skip..].to_vec() };
        let mut segments = BTreeMap::new();
        for number in recent.iter().map(|commit| commit.segment) {
            if let Some(in_use) = table.segments.get(&number) {
                segments.entry(number).or_insert_with(|| in_use.segment.clone());
            }
        }
        let held = journal.held.filter(|_| !ended);
        Ok(Self { born: journal.born, tail: journal.tail, held, places: journal.places.clone(), recent, segments })
    }
}

/// Keeps places for later readers, no denser than needed.
fn remember(places: &mut Places, found: &[(u64, u64)]) {
    for place in found {
        let at = places.partition_point(|known| known.1 < place.1);
        let near =
            |known: Option<&(u64, u64)>| known.is_some_and(|known| known.1.abs_diff(place.1) < PLACE_EVERY_BYTES);
        if !near(places.get(at)) && !near(at.checked_sub(1).and_then(|at| places.get(at))) {
            places.insert(at, *place);
        }
    }
}

struct Reading {
    source: Source,
    /// The chain before the next commit, once it is known.
    before: Option<Chain>,
    next: u64,
    tail: Chain,
    /// The journal's file, for messages.
    file: String,
    done: bool,
}

impl Iterator for Reading {
    type Item = Result<Commit, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.step().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Reading {
    fn step(&mut self) -> Result<Option<Commit>, Error> {
        let Some((bytes, name)) = self.source.next_bytes()? else {
            let (home, agent) = (&self.source.home, self.tail.agent);
            if !home.rules.forbid(Rule::ReadEnd, self.before.is_some_and(|end| end != self.tail)) {
                return Ok(None);
            }
            return Err(home.corrupt(agent, self.next, &self.file, "it does not lead to the journal's end"));
        };
        let rules = self.source.home.rules;
        let corrupt = |why: String| self.source.home.corrupt(self.tail.agent, self.next, &name, why);
        let commit = Commit::decode(&bytes).map_err(|e| {
            let bad = self.next.saturating_add(e.index());
            self.source.home.corrupt(self.tail.agent, bad, &name, e.to_string())
        })?;
        let start = commit.start();
        let asked_for = start.agent == self.tail.agent && start.next.0 == self.next;
        if rules.forbid(Rule::ReadPosition, !asked_for) {
            return Err(corrupt(format!(
                "a commit of agent {} from seq=`{}` is there instead",
                start.agent, start.next
            )));
        }
        if rules.forbid(Rule::ReadLink, self.before.is_some_and(|before| before.head != start.head)) {
            return Err(corrupt("a commit does not link to the one before".into()));
        }
        if rules.forbid(Rule::ReadEpoch, self.before.is_some_and(|before| before.epoch > start.epoch)) {
            return Err(corrupt("a commit is of an epoch of the past".into()));
        }
        self.before = Some(commit.end());
        self.next = commit.next().0;
        Ok(Some(commit))
    }
}

/// Where the bytes come from: the file first, then the log.
struct Source {
    home: Arc<Home>,
    agent: AgentId,
    frames: Option<Frames>,
    recent: std::vec::IntoIter<Location>,
    segments: BTreeMap<u64, Arc<Segment>>,
}

impl Source {
    fn next_bytes(&mut self) -> Result<Option<(Vec<u8>, String)>, Error> {
        if let Some(frames) = &mut self.frames {
            if let Some(bytes) = frames.next_bytes()? {
                return Ok(Some((bytes, frames.name.clone())));
            }
            self.frames = None;
        }
        let Some(commit) = self.recent.next() else { return Ok(None) };
        let segment = self.segments.get(&commit.segment);
        let segment =
            segment.ok_or_else(|| self.home.corrupt(self.agent, commit.first, "log", "its segment is missing"))?;
        let mut bytes = vec![0; as_index(u64::from(commit.bytes))];
        segment.file.read_at(&mut bytes, commit.at).map_err(|e| self.home.error(&segment.name, e))?;
        Ok(Some((bytes, segment.name.clone())))
    }
}

/// A walk over the frames of a file.
pub(crate) struct Frames {
    home: Arc<Home>,
    agent: AgentId,
    file: Arc<dyn File>,
    name: String,
    /// Where the next frame begins, and the position of its first entry.
    at: u64,
    seq: u64,
    held: Held,
    window: Vec<u8>,
    window_at: u64,
    /// How much is read ahead next.
    ahead: u64,
}

impl Frames {
    fn open(home: &Arc<Home>, held: Held) -> Result<Self, Error> {
        let agent = held.end.agent;
        let name = agent_file(agent, held.born);
        let file = home.open_if_there(&name)?;
        let file = file.ok_or_else(|| Error::Removed { agent, path: home.files.path(&name) })?;
        let (home, at) = (home.clone(), HEADER_BYTES as u64);
        let (window, ahead) = (Vec::new(), WINDOW_BYTES_FIRST);
        let mut frames = Self { home, agent, file, name, at, seq: 0, held, window, window_at: 0, ahead };
        let header = frames.bytes(0, HEADER_BYTES as u64, false)?.to_vec();
        check_header(&frames.home, agent, &frames.name, &header)?;
        Ok(frames)
    }

    /// Goes to the frame that holds `from`, from the nearest of the known places. Returns places on the way.
    fn find(&mut self, known: &[(u64, u64)], from: Seq) -> Result<Vec<(u64, u64)>, Error> {
        let above = known.partition_point(|point| point.0 <= from.0);
        let low = above.checked_sub(1).map_or((0, HEADER_BYTES as u64), |at| known[at]);
        let high = known.get(above).copied().unwrap_or((self.held.end.next.0, self.held.bytes));
        let mut places = Vec::new();
        let backwards = high.0 - from.0 < from.0 - low.0;
        (self.seq, self.at) = if backwards { high } else { low };
        loop {
            if places.last().is_none_or(|last: &(u64, u64)| last.1.abs_diff(self.at) >= PLACE_EVERY_BYTES) {
                places.push((self.seq, self.at));
            }
            if backwards {
                if self.seq <= from.0 {
                    return Ok(places);
                }
                self.step_back()?;
            } else {
                let (at, seq) = (self.at, self.seq);
                self.step_over()?;
                if self.seq > from.0 {
                    (self.at, self.seq) = (at, seq);
                    return Ok(places);
                }
            }
        }
    }

    /// The commit of the next frame; nothing after the last.
    pub(crate) fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.at >= self.held.bytes {
            return Ok(None);
        }
        let at = self.at;
        let length = self.step_over()?;
        Ok(Some(self.bytes(at + 4, length, false)?.to_vec()))
    }

    fn step_over(&mut self) -> Result<u64, Error> {
        let length = u64::from(u32_at(self.bytes(self.at, 4, false)?, 0));
        let (entries, again) = self.trailer(self.at + 4 + length, length)?;
        if self.home.rules.forbid(Rule::FrameLengths, again != length) {
            return Err(self.corrupt("a frame's two lengths differ"));
        }
        self.at += length + 4 + TRAILER_BYTES as u64;
        self.seq += entries;
        Ok(length)
    }

    fn step_back(&mut self) -> Result<(), Error> {
        let trailer_at = self.at.saturating_sub(TRAILER_BYTES as u64);
        let bytes = self.bytes(trailer_at, TRAILER_BYTES as u64, true)?;
        let (entries, length) = (u64::from(u32_at(bytes, 0)), u64::from(u32_at(bytes, 4)));
        let start = trailer_at.checked_sub(length + 4).filter(|start| *start >= HEADER_BYTES as u64);
        let (Some(start), Some(seq)) = (start, self.seq.checked_sub(entries)) else {
            return Err(self.corrupt("a frame's length leads out of the file"));
        };
        let again = u64::from(u32_at(self.bytes(start, 4, true)?, 0));
        if self.home.rules.forbid(Rule::FrameLengths, again != length) {
            return Err(self.corrupt("a frame's two lengths differ"));
        }
        (self.at, self.seq) = (start, seq);
        Ok(())
    }

    fn trailer(&mut self, at: u64, length: u64) -> Result<(u64, u64), Error> {
        if length > COMMIT_BYTES_MAX as u64 {
            return Err(self.corrupt("a frame is longer than a commit can be"));
        }
        let bytes = self.bytes(at, TRAILER_BYTES as u64, false)?;
        Ok((u64::from(u32_at(bytes, 0)), u64::from(u32_at(bytes, 4))))
    }

    /// Bytes of the file, from a window that is read ahead in the direction of the walk.
    fn bytes(&mut self, at: u64, length: u64, backwards: bool) -> Result<&[u8], Error> {
        let end = at.saturating_add(length);
        if end > self.held.bytes {
            return Err(self.corrupt("a frame leads out of the file"));
        }
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let (from, to) = if backwards {
                (end.saturating_sub(self.ahead).min(at), end)
            } else {
                (at, at.saturating_add(self.ahead).min(self.held.bytes).max(end))
            };
            self.ahead = (2 * self.ahead).min(WINDOW_BYTES_MAX);
            self.window.resize(as_index(to - from), 0);
            self.window_at = from;
            let read = self.file.read_at(&mut self.window, from);
            read.map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => self.corrupt("the file is cut short"),
                _ => self.home.error(&self.name, e),
            })?;
        }
        let start = as_index(at - self.window_at);
        Ok(&self.window[start..start + as_index(length)])
    }

    fn corrupt(&self, why: &str) -> Error {
        self.home.corrupt(self.agent, self.seq, &self.name, why)
    }
}
