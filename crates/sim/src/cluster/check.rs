//! What every seed must leave: journals that stand, and in them all that anybody was told.

use super::{
    bucket::Cloud,
    host::ASIDE,
    machine::Machine,
    oracle::{Told, What, short},
    stage::Stage,
};
use crate::{
    executor::{self, Run},
    guest::SimProgram,
    memory::MemoryStore,
    world::SimWorld,
};
use igor_protocol::{
    AgentId, Body, Commit, Entry, Hash, Seq, Timestamp,
    entry::{Action, MessageId, Phase},
    ledger::Book,
    slot::Nonce,
    verify::Verifier,
};
use igor_spine::{inspect, replay};
use igor_store::{
    Error, Store,
    shared::{Shared, Wing},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Checks everything; what is wrong goes to the oracle.
pub(super) fn all(stage: &Stage) {
    let settled = stage.settled.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for (number, home) in settled {
        if let Err(why) = agent(stage, number, home) {
            stage.oracle.violate(format!("{}: {why}", short(stage.agents[number].id)));
        }
    }
}

/// Where entries are on a branch: position and head after it, by term.
type Places = BTreeSet<(u64, Seq, Hash)>;

/// What the canonical journal says.
#[derive(Default)]
struct Canon {
    places: Places,
    ticks: Vec<u64>,
    messages: Vec<u64>,
    /// Each takeover: the term before, the term after, the position of its entry.
    takeovers: Vec<(u64, u64, Seq)>,
    lines: BTreeMap<(u64, Seq), Hash>,
    term: u64,
}

fn agent(stage: &Stage, number: usize, home: usize) -> Result<(), String> {
    let id = stage.agents[number].id;
    let node = stage.machines[home].node().ok_or("its node is down")?;
    let read = |store: &super::storage::SimStore| -> Result<Vec<Commit>, String> {
        store.read(id, Seq(0)).and_then(Iterator::collect).map_err(|e: Error| e.to_string())
    };
    let commits = read(&node.store)?;
    if let Some(cloud) = &stage.cloud {
        in_bucket(stage, cloud, id, &commits)?;
    }
    execute(&commits, node.store.disk())?;
    let canon = read_canon(&commits)?;
    numbered("tick", &canon.ticks)?;
    numbered("message", &canon.messages)?;
    if (canon.messages.len() as u64) < stage.agents[number].messages {
        return Err(format!(
            "{} messages are in the journal of {} that were acknowledged",
            canon.messages.len(),
            stage.agents[number].messages
        ));
    }
    let mut orphans = Places::new();
    for machine in &stage.machines {
        let found = asides(machine, id);
        let found = if stage.oracle.is_rotten(machine.index) { found.unwrap_or_default() } else { found? };
        for commits in found {
            stands(&commits, machine)?;
            for commit in &commits {
                place(&mut orphans, commit);
            }
        }
        let Some(other) = machine.node().filter(|_| machine.index != home) else { continue };
        if other.store.tail(id).ok().flatten().is_none() {
            continue;
        }
        let commits = read(&other.store)?;
        let aside = is_aside(&canon, &commits);
        if let Some(seq) = aside.filter(|_| stage.oracle.is_shared()) {
            return Err(format!("node {} has read another journal of it from seq {seq} on", machine.index));
        }
        if let Some(seq) = aside {
            // In place of the canonical journal there is nothing but a branch that a takeover left.
            let newest = commits.last().map_or(0, |commit| commit.epoch().term);
            if newest >= canon.term {
                return Err(format!("node {} has another journal of it from seq {seq} on", machine.index));
            }
        }
        for commit in &commits {
            place(&mut orphans, commit);
        }
    }
    for told in stage.oracle.told(id) {
        told_is_there(stage, &canon, &orphans, told)?;
    }
    Ok(())
}

/// What the bucket has is what its node has, and what whoever reads it from nothing gets.
fn in_bucket(stage: &Stage, cloud: &Cloud, id: AgentId, commits: &[Commit]) -> Result<(), String> {
    let heads = |commits: &[Commit]| commits.iter().map(Commit::head).collect::<Vec<_>>();
    let truth = stage.oracle.truth().map(|truth| truth.commits(id)).unwrap_or_default();
    if heads(&truth) != heads(commits) {
        return Err(format!("{} commits count in the bucket, and its node has {}", truth.len(), commits.len()));
    }
    let key = Arc::new(super::machine::key(stage.machines.len()));
    let wing = Wing { bucket: cloud.copy(), id: cloud.id(), key, nonce: Nonce([0xff; 16]), bundle_slots_min: 1 };
    let text = |e: Error| e.to_string();
    let reader = Shared::open(Arc::new(MemoryStore::default()), Some(wing)).map_err(text)?;
    let (run, _) = executor::run(&SimWorld::new(0, Timestamp(0)), None, reader.attach(id, None, u64::MAX), &mut []);
    let Run::Done(attached) = run else { return Err("the reading was interrupted".to_owned()) };
    attached.map_err(|e| format!("who reads it from nothing fails: {e}"))?;
    let found: Vec<Commit> = reader.read(id, Seq(0)).and_then(Iterator::collect).map_err(text)?;
    if heads(&found) != heads(commits) {
        return Err(format!("who reads it from nothing gets {} commits of {}", found.len(), commits.len()));
    }
    Ok(())
}

/// Verifies a journal and executes all of it again.
fn execute(commits: &[Commit], store: &Arc<super::storage::NodeStore>) -> Result<(), String> {
    let load = |_: &Book| Ok(Arc::new(SimProgram::default()));
    let source = commits.iter().cloned().map(Ok::<_, Error>);
    let executing = replay::execute(source, &**store, load, None, |_| {});
    let (run, _) = executor::run(&SimWorld::new(0, Timestamp(0)), None, executing, &mut []);
    let Run::Done(executed) = run else { return Err("the check was interrupted".to_owned()) };
    let executed = executed.map_err(|e| format!("the journal does not stand: {e}"))?;
    if executed.skipped > 0 || executed.executed == 0 {
        return Err(format!("{} runs were executed again, {} were not", executed.executed, executed.skipped));
    }
    let (id, end) = (executed.report.agent, commits.last().map_or(Seq(0), Commit::next));
    let book = inspect::book_at_end(|from| store.read(id, from), &**store, end).map_err(|e| e.to_string())?;
    let ledger = book.ledger();
    if ledger.balance.checked_add(ledger.spent) != Some(ledger.funded) {
        return Err(format!(
            "of {} that it was given it has {} and spent {}",
            ledger.funded, ledger.balance, ledger.spent
        ));
    }
    Ok(())
}

/// A branch that was set aside stands by itself.
fn stands(commits: &[Commit], machine: &Machine) -> Result<(), String> {
    let Some(node) = machine.node() else { return Ok(()) };
    let mut verifier = Verifier::new();
    for commit in commits {
        verifier
            .push(commit, &**node.store.disk())
            .map_err(|e| format!("a branch set aside at node {}: {e}", machine.index))?;
    }
    Ok(())
}

fn place(places: &mut Places, commit: &Commit) {
    places.extend(commit.entries().map(|(seq, head, _)| (commit.epoch().term, seq, head)));
}

fn read_canon(commits: &[Commit]) -> Result<Canon, String> {
    let mut canon = Canon::default();
    for commit in commits {
        place(&mut canon.places, commit);
        canon.term = commit.epoch().term;
        for (seq, head, bytes) in commit.entries() {
            canon.lines.insert((commit.epoch().term, seq), head);
            match Entry::decode(bytes).map_err(|e| e.to_string())?.body {
                Body::Run(run) if run.call.is_tick() => canon.ticks.push(run.tick.0),
                Body::Message(message) => {
                    if let MessageId::Numbered { n, .. } = message.id {
                        canon.messages.push(n);
                    }
                }
                Body::Custody(record) => {
                    if let Phase::Takeover(takeover) = &record.phase
                        && let Action::Takeover { .. } = takeover.order.body.action
                    {
                        canon.takeovers.push((takeover.order.body.term, takeover.order.body.counter, seq));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(canon)
}

fn numbered(what: &str, numbers: &[u64]) -> Result<(), String> {
    match numbers.iter().zip(1..).find(|(number, due)| **number != *due) {
        Some((number, due)) => Err(format!("{what} {number} stands where {what} {due} is due")),
        None => Ok(()),
    }
}

/// From where on a journal is another than the canonical one.
fn is_aside(canon: &Canon, commits: &[Commit]) -> Option<Seq> {
    let entries = commits
        .iter()
        .flat_map(|commit| commit.entries().map(|(seq, head, _)| (commit.epoch().term, seq, head)).collect::<Vec<_>>());
    entries.into_iter().find(|place| !canon.places.contains(place)).map(|(_, seq, _)| seq)
}

/// What was told is in the canonical journal; or a takeover went back behind it, and the branch is kept; or it was told on
/// a branch that a takeover began and that no disk has any more, so that the node from before could only go on.
fn told_is_there(stage: &Stage, canon: &Canon, orphans: &Places, told: Told) -> Result<(), String> {
    let key = (told.term, told.seq, told.head);
    if canon.places.contains(&key) {
        return Ok(());
    }
    let what = match told.what {
        What::Tick(n) => format!("tick {n}"),
        What::Message(n) => format!("message {n}"),
    };
    let of = format!("{what}, told by node {} in term {} at seq {}", told.node, told.term, told.seq);
    if stage.oracle.is_shared() {
        return Err(format!("{of}, is not in the journal"));
    }
    if told.term > canon.term && stage.machines[told.node].is_ruined() {
        stage.counts.add("told on a branch that is gone with its disk");
        return Ok(());
    }
    let left = canon.takeovers.iter().any(|(from, to, seq)| {
        (*from == told.term && told.seq >= *seq)
            || (told.term < *to && *from != told.term && !canon.has_term(told.term))
    });
    let orphaned = stage.oracle.forks() && !canon.has_term(told.term);
    if !left && !orphaned {
        return Err(format!("{of}, is not in the canonical journal"));
    }
    stage.counts.add("told on an orphaned branch");
    let kept = orphans.contains(&key) || stage.oracle.is_rotten(told.node);
    if kept { Ok(()) } else { Err(format!("{of}, is on an orphaned branch that nobody kept")) }
}

impl Canon {
    fn has_term(&self, term: u64) -> bool {
        self.lines.range((term, Seq(0))..).next().is_some_and(|((there, _), _)| *there == term)
    }
}

/// The branches of an agent that a machine set aside.
fn asides(machine: &Machine, agent: AgentId) -> Result<Vec<Vec<Commit>>, String> {
    let prefix = format!("{ASIDE}/{}-", short(agent));
    let names = machine.disk.list();
    let files = names.iter().filter(|name| name.starts_with(&prefix));
    files.map(|name| decode(&machine.disk.read(name).unwrap_or_default())).collect()
}

fn decode(mut bytes: &[u8]) -> Result<Vec<Commit>, String> {
    let mut commits = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (commit, rest) = rest.split_at_checked(length).ok_or("a branch that was set aside is cut short")?;
        commits.push(Commit::decode(commit).map_err(|e| e.to_string())?);
        bytes = rest;
    }
    Ok(commits)
}
