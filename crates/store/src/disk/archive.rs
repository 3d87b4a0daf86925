//! Adopting a foreign journal as an archive: readable, never appendable.
//!
//! Invariants: an archive is there whole or not at all; one that is replaced is replaced by a journal that
//! contains it. Whether the journal is a good one is for the caller to verify before.

use super::{
    agent_file::{FRAME_BYTES, HEADER_BYTES, header, push_frame},
    home::{ARCHIVES, Home, archive_file},
    table::{Held, Shared},
};
use crate::{
    Error,
    files::{File, Mode, Rule, SyncPoint},
};
use igor_protocol::{AgentId, Chain, Commit};

const BUFFER_BYTES: usize = 1 << 20;

/// Makes the journal that these commits are durable and known as an archive. The first commit must begin the
/// journal. Returns its end.
pub(crate) fn adopt(
    home: &Home,
    table: &Shared,
    agent: AgentId,
    commits: impl Iterator<Item = Result<Commit, Error>>,
) -> Result<Chain, Error> {
    home.check()?;
    let known = {
        let table = table.lock();
        if let Some(journal) = table.journals.get(&agent).filter(|_| home.rules.keep(Rule::AdoptLive)) {
            return Err(Error::Conflict { agent, tail: Some(Box::new(journal.tail)), offered: igor_protocol::Seq(0) });
        }
        table.archives.get(&agent).map(|held| held.end)
    };
    let unfinished = home.unfinished(ARCHIVES, &agent.0.to_string());
    let file = home.open(&unfinished, Mode::CreateEmpty)?;
    let held = match write(home, &unfinished, &*file, agent, known, commits) {
        Ok(held) => held,
        Err(e) => {
            home.discard(&unfinished);
            return Err(e);
        }
    };
    home.sync(&*file, &unfinished, SyncPoint::Archive)?;
    if !home.rules.keep(Rule::ArchiveAfterName) {
        table.lock().archives.insert(agent, held);
    }
    home.rename_durably(ARCHIVES, &unfinished, &archive_file(agent), SyncPoint::ArchiveName)?;
    table.lock().archives.insert(agent, held);
    Ok(held.end)
}

fn write(
    home: &Home,
    name: &str,
    file: &dyn File,
    agent: AgentId,
    known: Option<Chain>,
    commits: impl Iterator<Item = Result<Commit, Error>>,
) -> Result<Held, Error> {
    let failed = |e| home.error(name, e);
    let mut end = Chain::begin(agent);
    let mut contains_known = known.is_none();
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut at = HEADER_BYTES as u64;
    for commit in commits {
        let commit = commit?;
        let start = commit.start();
        let links =
            start.agent == agent && (start.next, start.head) == (end.next, end.head) && start.epoch >= end.epoch;
        if home.rules.forbid(Rule::AdoptLink, !links) {
            return Err(Error::Conflict { agent, tail: Some(Box::new(end)), offered: start.next });
        }
        contains_known |= known
            .is_some_and(|known| commit.entries().any(|(seq, head, _)| seq.next() == known.next && head == known.head));
        push_frame(&mut buffer, &commit.encode(), commit.next().0 - commit.first().0);
        end = commit.end();
        if buffer.len() >= BUFFER_BYTES {
            file.write_at(&buffer, at).map_err(failed)?;
            at += buffer.len() as u64;
            buffer.clear();
        }
    }
    file.write_at(&buffer, at).map_err(failed)?;
    at += buffer.len() as u64;
    if home.rules.forbid(Rule::AdoptContains, !contains_known) || at < HEADER_BYTES as u64 + FRAME_BYTES {
        return Err(Error::Conflict { agent, tail: known.map(Box::new), offered: end.next });
    }
    let held = Held { end, bytes: at };
    file.write_at(&header(agent, Some(held)), 0).map_err(failed)?;
    Ok(held)
}
