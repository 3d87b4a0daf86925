//! Who has an agent, as far as this node knows: asked here, by the node and by whoever looks at its home without it.
//!
//! Invariants kept here:
//! - Only the custodian runs an agent and commits for it. A journal that has another custodian is an *archive* on this
//!   node: history to look at, to prove and to pass on.
//! - What is told of agents that live elsewhere comes from signed records that custody let in
//!   ([`igor_protocol::custody`]), never from what a stranger said.

use crate::{
    Error,
    api::wire::{Absent, Elsewhere},
    home::Home,
    local::{self, Locals},
    orphans,
};
use igor_protocol::{
    AgentId, NodeId,
    custody::{Known, Note, Status},
    ledger::Book,
};

/// What an archive's status is called.
pub const ARCHIVED: &str = "archived";
/// What the status is called of an agent that was given away, while there is no answer.
pub const MOVING: &str = "moving";
/// What the status is called of an agent that this node has no journal of, and others have.
pub const ELSEWHERE: &str = "elsewhere";
/// The same, where this node has a branch of it that a takeover orphaned.
pub const ORPHANED: &str = "orphaned";

/// What the keystore here has about an agent.
pub fn note(locals: &impl Locals, agent: AgentId) -> Result<Option<Note>, local::Error> {
    let value = Note::name(agent);
    let Some(bytes) = locals.get(&value)? else { return Ok(None) };
    Note::decode(&bytes).map(Some).map_err(|e| local::Error::Damaged { value, why: e.to_string() })
}

/// All that is known here of an agent's custody. `book` is at the end of its journal, where there is one.
pub fn known(locals: &impl Locals, agent: AgentId, book: Option<&Book>) -> Result<Known, local::Error> {
    let memory = note(locals, agent)?.map(|note| note.memory).unwrap_or_default();
    Ok(Known { held: book.map(Book::held), memory, running: false })
}

/// Where an agent is that does not live here, by the newest record that is known. `here` is this node, where it has a
/// key.
pub fn elsewhere(known: &Known, agent: AgentId, here: Option<NodeId>) -> Option<Elsewhere> {
    let (node, epoch) = known.custodian()?;
    let found = |node| Elsewhere { agent, node, epoch, addresses: Vec::new(), answers: None, by: KNOWN.to_owned() };
    match here.map(|here| known.status(here)) {
        Some(Status::Given(to)) => Some(found(to)),
        Some(Status::Custodian | Status::Unfinished | Status::Undecided | Status::Suspended(_)) => None,
        // A custodian that lost its journal knows of nobody else.
        Some(Status::Absent | Status::Elsewhere) | None => Some(found(node)).filter(|_| here != Some(node)),
    }
}

/// By what an agent's place is known: records that this node had reason to believe, or what other nodes said.
pub const KNOWN: &str = "records";
/// The second.
pub const HEARSAY: &str = "peers";

/// Refuses what only the custodian may do. `here` is this node, where it has a key.
pub fn check(known: &Known, agent: AgentId, here: Option<NodeId>) -> Result<(), Error> {
    match here.map(|here| known.status(here)) {
        Some(Status::Custodian | Status::Unfinished) => Ok(()),
        Some(Status::Suspended(doubt)) => Err(Error::Custody(igor_protocol::custody::Refusal::Doubt(doubt).into())),
        Some(Status::Given(to)) => Err(Error::Moving { agent, to }),
        Some(Status::Undecided) => Err(Error::Undecided { agent }),
        Some(Status::Absent | Status::Elsewhere) | None => match elsewhere(known, agent, here) {
            Some(elsewhere) => Err(Error::NotCustodian(Box::new(elsewhere))),
            None => Err(Error::UnknownAgent { name: agent.to_string() }),
        },
    }
}

/// An agent that there is no journal of at the node of this home, if anything is known of it. Reads the branches of it
/// that are kept.
pub fn absent(
    known: &Known,
    agent: AgentId,
    name: Option<String>,
    here: Option<NodeId>,
    home: &Home,
) -> Result<Option<Absent>, Error> {
    let Some(at) = elsewhere(known, agent, here) else { return Ok(None) };
    let kept = orphans::list(home, Some(agent))?;
    let orphans: Vec<_> = kept.iter().map(|kept| orphans::read(kept, name.as_deref())).collect();
    let status = if orphans.is_empty() { ELSEWHERE } else { ORPHANED }.to_owned();
    Ok(Some(Absent { status, name, at, orphans }))
}

/// The agents that the keystore here knows something of. Their journals may be gone.
pub fn noted(locals: &impl Locals) -> Result<Vec<AgentId>, local::Error> {
    let mut agents = Vec::new();
    for value in locals.list()?.into_iter().filter(|value| value.starts_with(Note::PREFIX)) {
        let Some(bytes) = locals.get(&value)? else { continue };
        let note = Note::decode(&bytes).map_err(|e| local::Error::Damaged { value, why: e.to_string() })?;
        agents.extend(note.memory.records().next().map(|record| record.phase.agent()));
    }
    Ok(agents)
}
