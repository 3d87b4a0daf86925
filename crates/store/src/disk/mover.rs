//! The mover: copies commits from full segments to the agents' files, and local values to theirs, then drops the
//! segments.
//!
//! Invariants: a file is written at the place where the log says that it ends, so doing it again writes the same
//! bytes; a segment is dropped only when the files and the watermarks that cover it are durable, and the files of the
//! journals that it removed durably gone. Every copied group was checked again by its hash.
//!
//! What is in memory of a segment is one group, and at most [`PART_BYTES`] and one commit of each agent's part of it. So a
//! file may have got some of a segment before the rest turns out to be damaged: that lies behind what the file holds, and
//! counts for nothing.
//!
//! Journals may be removed meanwhile, and others begun: what is copied is what was there when it began, each journal to
//! a file of its own, and what is known after it is believed of the same journal only.

use super::{
    agent_file::{HEADER_BYTES, header, push_frame},
    home::{AGENTS, Home, agent_file},
    local::{self, Recent},
    log::COMMIT,
    segment::Segment,
    spares::Spares,
    table::{Held, InUse, Journal, Shared, Table},
};
use crate::{
    Error,
    files::{Mode, Rule, SyncPoint},
};
use igor_protocol::{AgentId, Chain, commit::Outline};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

/// Bytes of an agent's frames that are written together, unless the segment has no more of them. Each write is synced, so
/// fewer would make more syncs.
const PART_BYTES: usize = 512 << 10;

/// What was copied, to be made known by watermarks.
pub(crate) struct Moved {
    /// The number of the last group that is in the agents' files.
    covered: u64,
    /// What every agent's file holds now.
    held: Vec<Held>,
    /// The local values that are in their files now.
    locals: Vec<Recent>,
    segments: Vec<u64>,
}

/// A journal as it was when copying began.
struct Source {
    born: u64,
    held: Option<Held>,
    /// The segment and the place in it of the first commit that its file does not hold.
    first: Option<(u64, u64)>,
}

/// The commits of one agent in one segment, as frames.
struct Part {
    end: Chain,
    frames: Vec<u8>,
}

/// What comes after [`copy`]: `write` makes known in the log, durably, up to which group the files have everything, and
/// what each holds; then the segments are dropped.
pub(crate) fn finish(
    home: &Home,
    table: &Shared,
    moved: Moved,
    write: impl FnOnce(u64, Vec<Held>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (covered, held) = (moved.covered, moved.held.clone());
    if !home.rules.keep(Rule::WatermarksBeforeDrop) {
        drop_segments(home, table, moved);
        return write(covered, held);
    }
    write(covered, held)?;
    drop_segments(home, table, moved);
    Ok(())
}

/// Removes the files of removed journals, and copies what is in full segments to files, if there are any.
pub(crate) fn copy(home: &Home, table: &Shared, spares: &Spares) -> Result<Option<Moved>, Error> {
    // All at once: a removal that is in one of these segments is among the leftovers, or its file is gone already.
    let (full, mut sources, leftovers, locals) = {
        let table = table.lock();
        if table.segments.len() < 2 && table.leftovers.is_empty() {
            return Ok(None);
        }
        let mut full: Vec<InUse> = table.segments.values().cloned().collect();
        // The last group that is durable is written again at a restart before it is believed: files have nothing of it. A
        // segment is in use from before its first group is durable.
        while full.pop().is_some_and(|newest| newest.last.count == newest.before.count) {}
        let locals = full.last().map(|newest| local::up_to(&table, newest.last.count));
        (full, sources(&table), table.leftovers.clone(), locals.unwrap_or_default())
    };
    local::write_files(home, spares, &locals)?;
    remove_files(home, table, &leftovers)?;
    let Some(newest) = full.last() else { return Ok(None) };
    let covered = newest.last.count;
    let mut made_file = false;
    for in_use in &full {
        made_file |= copy_segment(home, in_use, &mut sources)?;
    }
    if made_file {
        home.sync_dir(AGENTS, SyncPoint::AgentFileName)?;
    }
    let segments = full.iter().map(|in_use| in_use.segment.number).collect();
    let held = sources.into_values().filter_map(|source| source.held).collect();
    Ok(Some(Moved { covered, held, locals, segments }))
}

fn sources(table: &Table) -> BTreeMap<AgentId, Source> {
    let source = |(agent, journal): (&AgentId, &Journal)| {
        let first = journal.recent.first().map(|commit| (commit.segment, commit.at));
        (*agent, Source { born: journal.born, held: journal.held, first })
    };
    table.journals.iter().map(source).collect()
}

fn remove_files(home: &Home, table: &Shared, leftovers: &BTreeSet<(AgentId, u64)>) -> Result<(), Error> {
    if leftovers.is_empty() {
        return Ok(());
    }
    for (agent, born) in leftovers {
        let name = agent_file(*agent, *born);
        match home.files.remove(&name) {
            // It never had one.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|e| home.error(&name, e))?,
        }
    }
    home.sync_dir(AGENTS, SyncPoint::AgentFileGone)?;
    table.lock().leftovers.retain(|leftover| !leftovers.contains(leftover));
    Ok(())
}

/// Drops the segments whose content was copied. To be called once the watermarks are durable.
fn drop_segments(home: &Home, table: &Shared, moved: Moved) {
    let dropped: Vec<Arc<Segment>> = {
        let mut table = table.lock();
        for held in moved.held {
            let journal = table.journals.get_mut(&held.end.agent);
            let other = |journal: &&mut Journal| home.rules.forbid(Rule::MoverBorn, journal.born != held.born);
            if let Some(journal) = journal.filter(|journal| !other(journal)) {
                journal.held = Some(held);
                let copied = journal.recent.partition_point(|commit| commit.first < held.end.next.0);
                journal.recent.drain(..copied);
                journal.recent.shrink_to_fit();
            }
        }
        local::forget(&mut table, &moved.locals);
        moved.segments.iter().filter_map(|number| table.segments.remove(number)).map(|in_use| in_use.segment).collect()
    };
    for segment in dropped {
        home.discard(&segment.name);
    }
}

/// Copies what is in one segment. Says whether a file was made.
fn copy_segment(home: &Home, in_use: &InUse, sources: &mut BTreeMap<AgentId, Source>) -> Result<bool, Error> {
    let segment = &in_use.segment;
    let mut parts: BTreeMap<AgentId, Part> = BTreeMap::new();
    let (mut reached, mut made_file) = (in_use.before.count, false);
    let mut walk = segment.walk();
    while let Some(group) = walk.next(home)?.filter(|group| group.link.count <= in_use.last.count) {
        reached = group.link.count;
        for (_, range, content) in group.records().filter(|(kind, ..)| *kind == COMMIT) {
            let damaged = |why: String| home.damaged(&segment.name, range.start as u64, why);
            let Outline { start, end } = Outline::of(content).map_err(|e| damaged(e.to_string()))?;
            // Of a journal that was removed since, or before this one began; or its file has it.
            let Some(source) = sources.get_mut(&start.agent) else { continue };
            let past = source.first.is_none_or(|first| (segment.number, range.start as u64) < first);
            if home.rules.forbid(Rule::MoverRecent, past) {
                continue;
            }
            let part = parts.entry(start.agent).or_insert_with(|| {
                let end = source.held.map_or(Chain::begin(start.agent), |held| held.end);
                Part { end, frames: Vec::new() }
            });
            let links = (part.end.next, part.end.head) == (start.next, start.head);
            if home.rules.forbid(Rule::MoverLink, !links) {
                return Err(home.corrupt(
                    start.agent,
                    start.next.0,
                    &segment.name,
                    "a commit does not link to the one before",
                ));
            }
            push_frame(&mut part.frames, content, end.next.0 - start.next.0);
            part.end = end;
            if part.frames.len() >= PART_BYTES {
                made_file |= write(home, source, part)?;
            }
        }
    }
    if home.rules.forbid(Rule::MoverReached, reached < in_use.last.count) {
        let why = format!("it had groups up to {}, and has them up to {reached}", in_use.last.count);
        return Err(home.damaged(&segment.name, 0, why));
    }
    for (agent, mut part) in parts {
        if let Some(source) = sources.get_mut(&agent).filter(|_| !part.frames.is_empty()) {
            made_file |= write(home, source, &mut part)?;
        }
    }
    Ok(made_file)
}

/// Writes what is there of an agent's part. Says whether its file was made.
fn write(home: &Home, source: &mut Source, part: &mut Part) -> Result<bool, Error> {
    let made_file = source.held.is_none();
    source.held = Some(append(home, source, part)?);
    part.frames.clear();
    Ok(made_file)
}

fn append(home: &Home, source: &Source, part: &Part) -> Result<Held, Error> {
    let (agent, born, held) = (part.end.agent, source.born, source.held);
    let name = agent_file(agent, born);
    let file = home.open(&name, if held.is_some() { Mode::Write } else { Mode::Create })?;
    let at = if home.rules.keep(Rule::CopyInPlace) {
        held.map_or(HEADER_BYTES as u64, |held| held.bytes)
    } else {
        home.len(&*file, &name)?.max(HEADER_BYTES as u64)
    };
    let header = if held.is_none() { header(agent).to_vec() } else { Vec::new() };
    let written = file
        .write_at(&part.frames, at)
        .and_then(|()| if header.is_empty() { Ok(()) } else { file.write_at(&header, 0) });
    written.map_err(|e| home.error(&name, e))?;
    home.sync(&*file, &name, SyncPoint::AgentFile)?;
    Ok(Held { born, end: part.end, bytes: at + part.frames.len() as u64 })
}
