//! The mover: copies commits from full segments to the agents' files, then drops the segments.
//!
//! Invariants: a file is written at the place where the log says that it ends, so doing it again writes the same
//! bytes; a segment is dropped only when the files and the watermarks that cover it are durable. Every copied
//! group was checked again by its hash.

use super::{
    agent_file::{HEADER_BYTES, header, push_frame},
    home::{AGENTS, Home, agent_file},
    log::COMMIT,
    segment::Segment,
    table::{Held, InUse, Shared},
};
use crate::{
    Error,
    files::{Mode, Rule, SyncPoint},
};
use igor_protocol::{AgentId, Chain, commit::Outline};
use std::{collections::BTreeMap, sync::Arc};

/// What was copied, to be made known by watermarks.
struct Moved {
    /// The number of the last group that is in the agents' files.
    covered: u64,
    /// What every agent's file holds now.
    held: Vec<Held>,
    segments: Vec<u64>,
}

/// The commits of one agent in one segment, as frames.
struct Part {
    end: Chain,
    frames: Vec<u8>,
}

/// Moves all full segments to the agents' files, if there are any. `write` makes known in the log, durably, up to which
/// group the files have everything, and what each holds.
pub(crate) fn step(
    home: &Home,
    table: &Shared,
    write: impl FnOnce(u64, Vec<Held>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(moved) = copy(home, table)? else { return Ok(()) };
    let (covered, held) = (moved.covered, moved.held.clone());
    if !home.rules.keep(Rule::WatermarksBeforeDrop) {
        drop_segments(home, table, moved);
        return write(covered, held);
    }
    write(covered, held)?;
    drop_segments(home, table, moved);
    Ok(())
}

fn copy(home: &Home, table: &Shared) -> Result<Option<Moved>, Error> {
    let (full, mut held) = {
        let table = table.lock();
        let mut full: Vec<InUse> = table.segments.values().cloned().collect();
        full.pop();
        let held: BTreeMap<AgentId, Held> =
            table.journals.iter().filter_map(|(agent, journal)| Some((*agent, journal.held?))).collect();
        (full, held)
    };
    let Some(newest) = full.last() else { return Ok(None) };
    let covered = newest.last.count;
    let mut made_file = false;
    for in_use in &full {
        for (agent, part) in read_parts(home, in_use, &held)? {
            made_file |= !held.contains_key(&agent);
            let now = append(home, agent, held.get(&agent), &part)?;
            held.insert(agent, now);
        }
    }
    if made_file {
        home.sync_dir(AGENTS, SyncPoint::AgentFileName)?;
    }
    let segments = full.iter().map(|in_use| in_use.segment.number).collect();
    Ok(Some(Moved { covered, held: held.into_values().collect(), segments }))
}

/// Drops the segments whose content was copied. To be called once the watermarks are durable.
fn drop_segments(home: &Home, table: &Shared, moved: Moved) {
    let dropped: Vec<Arc<Segment>> = {
        let mut table = table.lock();
        for held in moved.held {
            if let Some(journal) = table.journals.get_mut(&held.end.agent) {
                journal.held = Some(held);
                let copied = journal.recent.partition_point(|commit| commit.first < held.end.next.0);
                journal.recent.drain(..copied);
                journal.recent.shrink_to_fit();
            }
        }
        moved.segments.iter().filter_map(|number| table.segments.remove(number)).map(|in_use| in_use.segment).collect()
    };
    for segment in dropped {
        home.discard(&segment.name);
    }
}

fn read_parts(home: &Home, in_use: &InUse, held: &BTreeMap<AgentId, Held>) -> Result<Vec<(AgentId, Part)>, Error> {
    let segment = &in_use.segment;
    let bytes = segment.load(home)?;
    let (groups, _) = segment.scan(&bytes);
    let mut parts: BTreeMap<AgentId, Part> = BTreeMap::new();
    let mut reached = in_use.before.count;
    for group in groups.iter().take_while(|group| group.link.count <= in_use.last.count) {
        reached = group.link.count;
        for (_, range, content) in group.records().filter(|(kind, ..)| *kind == COMMIT) {
            let damaged = |why: String| home.damaged(&segment.name, range.start as u64, why);
            let Outline { start, end } = Outline::of(content).map_err(|e| damaged(e.to_string()))?;
            let held_end = held.get(&start.agent).map_or(Chain::begin(start.agent), |held| held.end);
            if end.next <= held_end.next {
                continue;
            }
            let part = parts.entry(start.agent).or_insert_with(|| Part { end: held_end, frames: Vec::new() });
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
        }
    }
    if home.rules.forbid(Rule::MoverReached, reached < in_use.last.count) {
        let why = format!("it had groups up to {}, and has them up to {reached}", in_use.last.count);
        return Err(home.damaged(&segment.name, 0, why));
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_unstable_by_key(|(agent, _)| *agent);
    Ok(parts)
}

fn append(home: &Home, agent: AgentId, held: Option<&Held>, part: &Part) -> Result<Held, Error> {
    let name = agent_file(agent);
    let file = home.open(&name, if held.is_some() { Mode::Write } else { Mode::Create })?;
    let at = if home.rules.keep(Rule::CopyInPlace) {
        held.map_or(HEADER_BYTES as u64, |held| held.bytes)
    } else {
        home.len(&*file, &name)?.max(HEADER_BYTES as u64)
    };
    let header = if held.is_none() { header(agent, None).to_vec() } else { Vec::new() };
    let written = file
        .write_at(&part.frames, at)
        .and_then(|()| if header.is_empty() { Ok(()) } else { file.write_at(&header, 0) });
    written.map_err(|e| home.error(&name, e))?;
    home.sync(&*file, &name, SyncPoint::AgentFile)?;
    Ok(Held { end: part.end, bytes: at + part.frames.len() as u64 })
}
