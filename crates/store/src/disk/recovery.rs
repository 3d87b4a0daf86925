//! What a restart finds: the index, read from the log and checked against the agent files.
//!
//! Invariants: reading changes nothing; the log must lead without a gap from what the agent files hold to its
//! end; only at its very end may there be something that is not a whole group, and that is a write which was
//! never acknowledged, or looks like one. A removal takes away all of the journal that comes before it, wherever that is,
//! and nothing of what comes after; watermarks that were written after it and cover less speak of what it removed.

use super::{
    agent_file::{FRAME_BYTES, HEADER_BYTES, HELD_BYTES, decode_held},
    home::{AGENTS, Home, LOG, UNFINISHED, agent_file, segment_file},
    local::{Local, Recent, VALUE, VALUE_REMOVAL},
    log::{COMMIT, REMOVAL, WATERMARKS},
    segment::{Group, Link, Rest, Segment, as_index, u64_at},
    table::{Change, Held, InUse, Journal, Location, Table},
};
use crate::{
    Error,
    files::{Mode, Rule},
};
use igor_protocol::{AgentId, Chain, Commit, Hash, commit::Outline};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// What was found.
pub(crate) struct Found {
    pub(crate) table: Table,
    /// The last group, which may be in the page cache only.
    pub(crate) last: Option<LastGroup>,
    /// A segment made beforehand, in which nothing was written.
    pub(crate) spare: Option<Segment>,
    /// Segments in which nothing counts any more, to be dropped.
    pub(crate) obsolete: Vec<String>,
}

/// A group that has to be written again before it is believed.
pub(crate) struct LastGroup {
    /// Where in its segment it begins.
    pub(crate) at: u64,
    /// The link before it.
    pub(crate) before: Link,
    pub(crate) body: Vec<u8>,
    pub(crate) changes: Vec<Change>,
}

impl LastGroup {
    const fn count(&self) -> u64 {
        self.before.count + 1
    }
}

/// Whether the last group goes into the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Believe {
    /// Yes: for who only looks.
    All,
    /// No: it is to be written again first.
    AllButTheLast,
}

/// Reads the home's index.
pub(crate) fn scan(home: &Home, believe: Believe) -> Result<Found, Error> {
    let mode = if believe == Believe::All { Mode::Read } else { Mode::Write };
    let mut run = Run::default();
    let mut next_segment = 1;
    for name in home.list(LOG)?.iter().filter(|name| !name.starts_with(UNFINISHED)) {
        let number = name.parse::<u64>().ok().filter(|number| segment_file(*number) == format!("{LOG}/{name}"));
        let number = number.ok_or_else(|| home.damaged(&format!("{LOG}/{name}"), 0, "it is not a segment's name"))?;
        next_segment = next_segment.max(number.saturating_add(1));
        run.read_segment(home, Segment::open(home, number, mode)?)?;
    }
    let reached = run.link.count;
    let last = match believe {
        Believe::All => run.settle(home).map(|()| None)?,
        Believe::AllButTheLast => run.take_back(),
    };
    let mut found = run.finish(home, reached, last)?;
    found.table.next_segment = next_segment;
    Ok(found)
}

/// Groups that lead from one to the next, over segments.
#[derive(Default)]
struct Run {
    /// The number of the first group; 0 while there is none.
    first: u64,
    link: Link,
    watermarks: Watermarks,
    traces: BTreeMap<AgentId, Trace>,
    /// The count of the last group that removed the agent's journal.
    removed: BTreeMap<AgentId, u64>,
    locals: BTreeMap<String, Recent>,
    segments: BTreeMap<u64, InUse>,
    /// The last group. What it changes counts once another one follows, or at the end.
    last: Option<LastGroup>,
    /// The furthest that a mark says the log reached, and the segment with that mark.
    mark: Option<(String, Link)>,
    /// What looks torn at the end, should it turn out that it was durable.
    torn: Option<Error>,
    /// What looked torn where groups are missing.
    missing: Option<Error>,
    spare: Option<Segment>,
    obsolete: Vec<String>,
}

#[derive(Default)]
struct Watermarks {
    covered: u64,
    held: BTreeMap<AgentId, Held>,
}

/// The commits of one journal in the log.
struct Trace {
    /// The count of the group that has the first of them.
    born: u64,
    start: Chain,
    end: Chain,
    commits: Vec<Location>,
}

impl Run {
    fn read_segment(&mut self, home: &Home, segment: Segment) -> Result<(), Error> {
        let bytes = segment.load(home)?;
        let (groups, rest) = segment.scan(&bytes);
        if let Rest::Damaged { at } = rest {
            return Err(damage(home, &segment, &bytes, at, "a group is damaged, and whole ones follow it"));
        }
        if let Some(first) = groups.first() {
            let repeated = self.last.is_some() && first.link == self.link;
            if repeated && home.rules.keep(Rule::RepeatedGroup) {
                // A restart wrote the last group again. From here on it counts where it is now.
                self.take_back();
            } else if home.rules.forbid(Rule::SegmentLink, !first.follows(self.link)) {
                // Groups are missing before this one. That is right only if agent files hold them: see `finish`.
                self.restart(first);
            }
            if self.first == 0 {
                self.first = first.link.count;
            }
        }
        let mark = segment.read_mark(&bytes);
        if let Some(mark) = mark.filter(|mark| self.mark.as_ref().is_none_or(|(_, known)| known.count < mark.count)) {
            self.mark = Some((segment.name.clone(), mark));
        }
        self.torn = match rest {
            Rest::Torn { at } => Some(damage(home, &segment, &bytes, at, "a group that durably was there is damaged")),
            Rest::Zeros | Rest::Damaged { .. } => None,
        };
        let before = self.link;
        for group in &groups {
            self.settle(home)?;
            let changes = self.read_group(home, &segment, group)?;
            self.last = Some(LastGroup { at: group.at as u64, before: group.before(), body: Vec::new(), changes });
        }
        if let (Some(last), Some(group)) = (&mut self.last, groups.last()) {
            last.body = group.body.to_vec();
        }
        if !groups.is_empty() {
            self.obsolete.extend(self.spare.take().map(|spare| spare.name));
            let entry = InUse { segment: Arc::new(segment), before, last: self.link };
            self.segments.insert(entry.segment.number, entry);
        } else if rest == Rest::Zeros && mark.is_none() {
            self.obsolete.extend(self.spare.replace(segment).map(|spare| spare.name));
        } else {
            self.obsolete.push(segment.name);
        }
        Ok(())
    }

    /// Forgets everything before a group that does not follow it.
    fn restart(&mut self, first: &Group<'_>) {
        let mut obsolete = std::mem::take(&mut self.obsolete);
        obsolete.extend(self.segments.values().map(|in_use| in_use.segment.name.clone()));
        obsolete.extend(self.spare.take().map(|spare| spare.name));
        // What is missing may be what looked torn.
        *self = Self { obsolete, link: first.before(), missing: self.torn.take(), ..Self::default() };
    }

    /// Takes the last group back out: it was written again, or is to be.
    fn take_back(&mut self) -> Option<LastGroup> {
        let last = self.last.take()?;
        self.link = last.before;
        if let Some((_, in_use)) = self.segments.iter_mut().next_back() {
            in_use.last = last.before;
        }
        Some(last)
    }

    /// Lets count what the last group changes.
    fn settle(&mut self, home: &Home) -> Result<(), Error> {
        let Some(last) = self.last.take() else { return Ok(()) };
        for change in &last.changes {
            match change {
                Change::Commit(start, end, location) => self.follow(home, last.count(), *start, *end, *location)?,
                Change::Remove(agent) => {
                    self.traces.remove(agent);
                    self.removed.insert(*agent, last.count());
                }
                Change::Local(local) => {
                    let recent = Recent { local: local.clone(), group: last.count() };
                    self.locals.insert(local.name.clone(), recent);
                }
            }
        }
        Ok(())
    }

    fn read_group(&mut self, home: &Home, segment: &Segment, group: &Group<'_>) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for (kind, range, content) in group.records() {
            let damaged = |why: String| home.damaged(&segment.name, range.start as u64, why);
            match kind {
                COMMIT => changes.push(read_commit(segment, &range, content).map_err(damaged)?),
                // True whatever becomes of this group: what it says was so before it was written.
                WATERMARKS => self.watermarks = Watermarks::read(home, segment, range.start, content)?,
                REMOVAL => {
                    let agent = content.try_into().map_err(|_| damaged("a removal of a wrong length".into()))?;
                    changes.push(Change::Remove(AgentId(Hash(agent))));
                }
                VALUE | VALUE_REMOVAL => {
                    let local = Local::read(kind, content).ok_or_else(|| damaged("it is no local value".into()))?;
                    changes.push(Change::Local(local));
                }
                _ => return Err(damaged(format!("a record is of kind {kind}, which this igor does not know"))),
            }
        }
        self.link = group.link;
        Ok(changes)
    }

    fn follow(&mut self, home: &Home, group: u64, start: Chain, end: Chain, location: Location) -> Result<(), Error> {
        let begin = || Trace { born: group, start, end: start, commits: Vec::new() };
        let trace = self.traces.entry(start.agent).or_insert_with(begin);
        let corrupt = |why| home.corrupt(start.agent, start.next.0, &segment_file(location.segment), why);
        if home.rules.forbid(Rule::CommitLink, (trace.end.next, trace.end.head) != (start.next, start.head)) {
            return Err(corrupt("a commit does not link to the one before"));
        }
        if home.rules.forbid(Rule::CommitEpoch, trace.end.epoch > start.epoch) {
            return Err(corrupt("a commit is of an epoch of the past"));
        }
        trace.end = end;
        trace.commits.push(location);
        Ok(())
    }

    /// `reached`: the count of the last group that is there; `last`: that group, where it was taken back.
    fn finish(mut self, home: &Home, reached: u64, last: Option<LastGroup>) -> Result<Found, Error> {
        let beyond = self.mark.filter(|(_, mark)| home.rules.forbid(Rule::Mark, mark.count > reached));
        if let (Some(_), Some(torn @ Error::Corrupt { .. })) = (&beyond, self.torn) {
            return Err(torn);
        }
        if let Some((name, mark)) = beyond {
            let why = format!("the log ends at group {reached}, but it durably reached group {}", mark.count);
            return Err(home.damaged(&name, 0, why));
        }
        if home.rules.forbid(Rule::Covered, self.first > self.watermarks.covered.saturating_add(1)) {
            if let Some(missing @ Error::Corrupt { .. }) = self.missing {
                return Err(missing);
            }
            let why = format!("the log begins at group {}, and no agent's file has the ones before", self.first);
            return Err(home.damaged(LOG, 0, why));
        }
        let (segments, locals) = (self.segments, self.locals);
        let mut table = Table { segments, locals, link: self.link, ..Table::default() };
        for (agent, held) in self.watermarks.held {
            let removed = self.removed.get(&agent).is_some_and(|group| *group > self.watermarks.covered);
            if !home.rules.forbid(Rule::WatermarkRemoved, removed) {
                table.journals.insert(agent, Journal::begin(held.born, held.end, Some(held)));
            }
        }
        for (agent, trace) in self.traces {
            let held = table.journals.get(&agent).and_then(|journal| journal.held);
            let journal = trace.finish(home, &table.segments, agent, held)?;
            table.journals.insert(agent, journal);
        }
        // Who wrote the last group may have done already what comes after it.
        if let Some(last) = &last {
            let removals = last.changes.iter().filter_map(|change| match change {
                Change::Remove(agent) => Some((*agent, last.count())),
                Change::Commit(..) | Change::Local(_) => None,
            });
            self.removed.extend(removals);
        }
        table.leftovers = check_agent_files(home, &table, &self.removed)?;
        Ok(Found { table, last, spare: self.spare, obsolete: self.obsolete })
    }
}

impl Watermarks {
    fn read(home: &Home, segment: &Segment, at: usize, content: &[u8]) -> Result<Self, Error> {
        let (covered, held) = content.split_at_checked(8).unwrap_or_default();
        let (held, rest) = held.as_chunks::<HELD_BYTES>();
        if covered.is_empty() || !rest.is_empty() {
            return Err(home.damaged(&segment.name, at as u64, "watermarks of a wrong length"));
        }
        let held = held.iter().map(decode_held).map(|held| (held.end.agent, held)).collect();
        Ok(Self { covered: u64_at(covered, 0), held })
    }
}

impl Trace {
    fn finish(
        mut self,
        home: &Home,
        segments: &BTreeMap<u64, InUse>,
        agent: AgentId,
        held: Option<Held>,
    ) -> Result<Journal, Error> {
        let born = held.map_or(self.born, |held| held.born);
        let name = agent_file(agent, born);
        let from = held.map_or(Chain::begin(agent), |held| held.end);
        if self.end.next < from.next {
            // All of it was copied, and the segment is still there.
            return Ok(Journal::begin(born, from, held));
        }
        let at = self.commits.partition_point(|commit| commit.first < from.next.0);
        let on = match self.commits.get(at) {
            None => Some(self.end),
            Some(_) if at == 0 => Some(self.start),
            Some(commit) => outline_at(home, segments, commit)?.map(|outline| outline.start),
        };
        let corrupt = |why: &str| home.corrupt(agent, from.next.0, &name, why);
        if home.rules.forbid(Rule::WatermarkLink, on.is_none_or(|on| (on.next, on.head) != (from.next, from.head))) {
            return Err(corrupt("the log does not go on where the agent's file ends"));
        }
        if home.rules.forbid(Rule::WatermarkEpoch, on.is_none_or(|on| on.epoch < from.epoch)) {
            return Err(corrupt("the log goes on in an epoch of the past"));
        }
        self.commits.drain(..at);
        Ok(Journal { recent: self.commits, ..Journal::begin(born, self.end, held) })
    }
}

/// The entry that was changed in a damaged group, where the group still says so; else the place.
fn damage(home: &Home, segment: &Segment, bytes: &[u8], at: usize, why: &str) -> Error {
    for (kind, _, content) in segment.damaged_records(bytes, at) {
        let (COMMIT, Err(bad), Ok(Outline { start, .. })) = (kind, Commit::decode(content), Outline::of(content))
        else {
            continue;
        };
        return home.corrupt(start.agent, start.next.0.saturating_add(bad.index()), &segment.name, bad.to_string());
    }
    home.damaged(&segment.name, at as u64, why)
}

fn outline_at(home: &Home, segments: &BTreeMap<u64, InUse>, commit: &Location) -> Result<Option<Outline>, Error> {
    let Some(in_use) = segments.get(&commit.segment) else { return Ok(None) };
    let mut bytes = vec![0; as_index(u64::from(commit.bytes))];
    let segment = &in_use.segment;
    segment.file.read_at(&mut bytes, commit.at).map_err(|e| home.error(&segment.name, e))?;
    Ok(Outline::of(&bytes).ok())
}

fn read_commit(segment: &Segment, range: &Range<usize>, content: &[u8]) -> Result<Change, String> {
    let Outline { start, end } = Outline::of(content).map_err(|e| e.to_string())?;
    let bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let location = Location { first: start.next.0, segment: segment.number, at: range.start as u64, bytes };
    Ok(Change::Commit(start, end, location))
}

/// Agent files must be as long as the log says, and no longer than the log can explain. Returns those of journals that
/// were removed.
fn check_agent_files(
    home: &Home,
    table: &Table,
    removed: &BTreeMap<AgentId, u64>,
) -> Result<BTreeSet<(AgentId, u64)>, Error> {
    let mut leftovers = BTreeSet::new();
    let mut missing: BTreeMap<AgentId, Held> =
        table.journals.iter().filter_map(|(agent, journal)| Some((*agent, journal.held?))).collect();
    for name in home.list(AGENTS)?.iter().filter(|name| !name.starts_with(UNFINISHED)) {
        let path = format!("{AGENTS}/{name}");
        let (agent, born) =
            parse_name(name).ok_or_else(|| home.damaged(&path, 0, "its name is not an agent's; move it away"))?;
        let Some(journal) = table.journals.get(&agent).filter(|journal| journal.born == born) else {
            if removed.get(&agent).is_some_and(|group| born < *group) {
                leftovers.insert((agent, born));
            } else if home.rules.keep(Rule::FileUnknown) {
                return Err(home.corrupt(agent, 0, &path, "the log knows nothing of this journal"));
            }
            continue;
        };
        missing.remove(&agent);
        let length = home.len(&*home.open(&path, Mode::Read)?, &path)?;
        let (seq, held) = journal.held.map_or((0, HEADER_BYTES as u64), |held| (held.end.next.0, held.bytes));
        if home.rules.forbid(Rule::FileShorter, journal.held.is_some() && length < held) {
            return Err(home.corrupt(agent, seq, &path, format!("it has {length} bytes, and had {held}")));
        }
        let copied: u64 = journal.recent.iter().map(|commit| u64::from(commit.bytes) + FRAME_BYTES).sum();
        if home.rules.forbid(Rule::FileLonger, length > held.saturating_add(copied)) {
            return Err(home.corrupt(agent, seq, &path, "it holds commits that the log has lost"));
        }
    }
    // Its removal is in the last group, which is to be written again.
    missing.retain(|agent, held| removed.get(agent).is_none_or(|group| held.born >= *group));
    match missing.into_iter().next() {
        Some((agent, held)) if home.rules.keep(Rule::FileMissing) => {
            Err(home.corrupt(agent, 0, &agent_file(agent, held.born), "the file is missing"))
        }
        _ => Ok(leftovers),
    }
}

/// The journal whose file has this name.
fn parse_name(name: &str) -> Option<(AgentId, u64)> {
    let (agent, born) = name.split_once('-')?;
    let (agent, born) = (AgentId(agent.parse().ok()?), born.parse().ok()?);
    (agent_file(agent, born) == format!("{AGENTS}/{name}")).then_some((agent, born))
}
