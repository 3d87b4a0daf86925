//! What a restart finds: the index, read from the log and checked against the agent files.
//!
//! Invariants: reading changes nothing; the log must lead without a gap from what the agent files hold to its
//! end; only at its very end may there be something that is not a whole group, and that is a write which was
//! never acknowledged, or looks like one.

use super::{
    agent_file::{FRAME_BYTES, HEADER_BYTES, HELD_BYTES, decode_held, read_header},
    home::{AGENTS, ARCHIVES, Home, LOG, UNFINISHED, agent_file, archive_file, segment_file},
    log::{COMMIT, WATERMARKS},
    segment::{Group, Link, Rest, Segment, as_index, u64_at},
    table::{Held, InUse, Journal, Location, Ordered, Table},
};
use crate::{
    Error,
    files::{Mode, Rule},
};
use igor_protocol::{AgentId, Chain, Commit, Hash, commit::Outline};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

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
    pub(crate) commits: Vec<Ordered>,
}

/// Whether the commits of the last group go into the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Believe {
    /// Yes: for who only looks.
    All,
    /// No: they are to be written again first.
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
    if believe == Believe::AllButTheLast {
        run.forget_last();
    }
    let mut found = run.finish(home)?;
    found.table.next_segment = next_segment;
    check_agent_files(home, &found)?;
    found.table.archives = archives(home)?;
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
    segments: BTreeMap<u64, InUse>,
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

/// The commits of one agent in the log.
struct Trace {
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
                self.forget_last();
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
            let commits = self.read_group(home, &segment, group)?;
            if group.link == groups[groups.len() - 1].link {
                let (at, before, body) = (group.at as u64, group.before(), group.body.to_vec());
                self.last = Some(LastGroup { at, before, body, commits });
            }
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

    /// Takes the commits of the last group back out; the group itself is kept, to be written again.
    fn forget_last(&mut self) {
        let Some(last) = &self.last else { return };
        for (start, ..) in last.commits.iter().rev() {
            if let Some(trace) = self.traces.get_mut(&start.agent) {
                trace.commits.pop();
                trace.end = *start;
                if trace.commits.is_empty() {
                    self.traces.remove(&start.agent);
                }
            }
        }
        self.link = last.before;
        if let Some((_, in_use)) = self.segments.iter_mut().next_back() {
            in_use.last = last.before;
        }
    }

    fn read_group(&mut self, home: &Home, segment: &Segment, group: &Group<'_>) -> Result<Vec<Ordered>, Error> {
        let mut commits = Vec::new();
        for (kind, range, content) in group.records() {
            match kind {
                COMMIT => commits.push(self.read_commit(home, segment, range, content)?),
                WATERMARKS => self.watermarks = Watermarks::read(home, segment, range.start, content)?,
                _ => {
                    let why = format!("a record is of kind {kind}, which this igor does not know");
                    return Err(home.damaged(&segment.name, range.start as u64, why));
                }
            }
        }
        self.link = group.link;
        Ok(commits)
    }

    fn read_commit(
        &mut self,
        home: &Home,
        segment: &Segment,
        range: Range<usize>,
        content: &[u8],
    ) -> Result<Ordered, Error> {
        let outline =
            Outline::of(content).map_err(|e| home.damaged(&segment.name, range.start as u64, e.to_string()))?;
        let Outline { start, end } = outline;
        let bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let location = Location { first: start.next.0, segment: segment.number, at: range.start as u64, bytes };
        let trace = self.traces.entry(start.agent).or_insert_with(|| Trace { start, end: start, commits: Vec::new() });
        let corrupt = |why: &str| home.corrupt(start.agent, start.next.0, &segment.name, why);
        if home.rules.forbid(Rule::CommitLink, (trace.end.next, trace.end.head) != (start.next, start.head)) {
            return Err(corrupt("a commit does not link to the one before"));
        }
        if home.rules.forbid(Rule::CommitEpoch, trace.end.epoch > start.epoch) {
            return Err(corrupt("a commit is of an epoch of the past"));
        }
        trace.end = end;
        trace.commits.push(location);
        Ok((start, end, location))
    }

    fn finish(self, home: &Home) -> Result<Found, Error> {
        // The last group may have been taken out, but it is there.
        let reached = self.last.as_ref().map_or(0, |last| last.before.count + 1);
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
        let mut table = Table { segments: self.segments, link: self.link, ..Table::default() };
        for (agent, held) in self.watermarks.held {
            let journal = Journal { tail: held.end, held: Some(held), recent: Vec::new(), points: Vec::new() };
            table.journals.insert(agent, journal);
        }
        for (agent, trace) in self.traces {
            let held = table.journals.get(&agent).and_then(|journal| journal.held);
            let journal = trace.finish(home, &table.segments, agent, held)?;
            table.journals.insert(agent, journal);
        }
        Ok(Found { table, last: self.last, spare: self.spare, obsolete: self.obsolete })
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
        let name = agent_file(agent);
        let from = held.map_or(Chain::begin(agent), |held| held.end);
        if self.end.next < from.next {
            // All of it was copied, and the segment is still there.
            return Ok(Journal { tail: from, held, recent: Vec::new(), points: Vec::new() });
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
        Ok(Journal { tail: self.end, held, recent: self.commits, points: Vec::new() })
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

/// Agent files must be as long as the log says, and no longer than the log can explain.
fn check_agent_files(home: &Home, found: &Found) -> Result<(), Error> {
    let table = &found.table;
    let mut missing: BTreeMap<AgentId, Held> =
        table.journals.iter().filter_map(|(agent, journal)| Some((*agent, journal.held?))).collect();
    for name in home.list(AGENTS)?.iter().filter(|name| !name.starts_with(UNFINISHED)) {
        let path = format!("{AGENTS}/{name}");
        let agent = AgentId(parse_hash(home, &path, name)?);
        let Some(journal) = table.journals.get(&agent) else {
            if !home.rules.keep(Rule::FileUnknown) {
                continue;
            }
            return Err(home.corrupt(agent, 0, &path, "the log knows nothing of this agent"));
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
    match missing.into_iter().next() {
        Some((agent, _)) if home.rules.keep(Rule::FileMissing) => {
            Err(home.corrupt(agent, 0, &agent_file(agent), "the file is missing"))
        }
        _ => Ok(()),
    }
}

fn archives(home: &Home) -> Result<BTreeMap<AgentId, Held>, Error> {
    let mut archives = BTreeMap::new();
    for name in home.list(ARCHIVES)?.iter().filter(|name| !name.starts_with(UNFINISHED)) {
        let path = format!("{ARCHIVES}/{name}");
        let agent = AgentId(parse_hash(home, &path, name)?);
        archives.insert(agent, read_archive_header(home, agent)?);
    }
    Ok(archives)
}

/// What an archive says that it holds; its file must be as long.
pub(crate) fn read_archive_header(home: &Home, agent: AgentId) -> Result<Held, Error> {
    let path = archive_file(agent);
    let file = home.open(&path, Mode::Read)?;
    let length = home.len(&*file, &path)?;
    let mut header = [0; HEADER_BYTES];
    if length < HEADER_BYTES as u64 {
        return Err(home.corrupt(agent, 0, &path, "the file is cut short"));
    }
    file.read_at(&mut header, 0).map_err(|e| home.error(&path, e))?;
    let held = read_header(home, agent, &path, &header)?;
    let held = match held {
        None if !home.rules.keep(Rule::ArchiveMark) => Held { end: Chain::begin(agent), bytes: length },
        held => held.ok_or_else(|| home.corrupt(agent, 0, &path, "it is not marked as an archive"))?,
    };
    if home.rules.forbid(Rule::ArchiveLength, held.bytes != length) {
        return Err(home.corrupt(agent, 0, &path, format!("it has {length} bytes instead of {}", held.bytes)));
    }
    Ok(held)
}

fn parse_hash(home: &Home, path: &str, name: &str) -> Result<Hash, Error> {
    name.parse().map_err(|_| home.damaged(path, 0, "its name is not an agent's; move it away"))
}
