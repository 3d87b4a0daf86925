//! Bits that nobody wrote, on a disk that said nothing.
//!
//! Invariant kept here: what a store gives afterwards is what was there before, or an error that says that it is not.
//! Nothing is skipped, nothing is made up.

use super::{machine::Machine, ops::has_journal, oracle::short, stage::Stage};
use igor_protocol::{AgentId, Seq};
use igor_store::Store;
use std::sync::Arc;

/// Changes one bit of a file, and reads everything. Says whether there was a file.
pub(super) fn run(stage: &Stage, machine: &Arc<Machine>, choice: u64) -> bool {
    let Some(node) = machine.node() else { return false };
    // One disk of a cluster: what all disks lost nobody can bring back.
    if stage.oracle.any_rotten() && !stage.oracle.is_rotten(machine.index) {
        return false;
    }
    let agents = node.store.list().unwrap_or_default();
    // What nobody else has a copy of would just be lost; one of a branch that is over goes when its end is heard of.
    let term = |index, agent| stage.oracle.tail(index, agent).map(|tail| tail.epoch.term);
    let elsewhere = |agent: &AgentId| {
        let copy = |other: &&Arc<Machine>| other.index != machine.index && has_journal(other, *agent);
        stage.machines.iter().filter(copy).any(|other| term(other.index, *agent) >= term(machine.index, *agent))
    };
    if !agents.iter().all(elsewhere) {
        return false;
    }
    // The last group of the log may look as if it had never been written: the newest two segments stay whole.
    let mut names = machine.disk.list();
    let newest: Vec<String> = names.iter().filter(|name| name.starts_with("log/")).rev().take(2).cloned().collect();
    names.retain(|name| !newest.contains(name) && !name.contains("new") && !name.starts_with("reserve"));
    let Some(name) = names.get(usize::try_from(choice).unwrap_or(0) % names.len().max(1)).cloned() else {
        return false;
    };
    let before: Vec<_> = agents.iter().map(|agent| journal(&*node.store, *agent)).collect();
    stage.oracle.rotted(machine.index);
    machine.disk.damage(&name, |bytes| {
        if !bytes.is_empty() {
            let at = usize::try_from(choice >> 8).unwrap_or(0) % bytes.len();
            bytes[at] ^= 1 << (choice % 8);
        }
    });
    stage.oracle.log(|| format!("n{} rots in {name}", machine.index));
    for (agent, (before, whole)) in agents.iter().zip(before) {
        let (after, reads) = journal(&*node.store, *agent);
        let same = after.len() <= before.len() && after == before[..after.len()];
        if !same || (reads && after.len() < before.len()) {
            let id = short(*agent);
            stage
                .oracle
                .violate(format!("after a bit of {name} changed at node {}, {id} reads differently", machine.index));
        }
        if whole && !reads {
            stage.counts.add("bit rot reported");
        }
    }
    true
}

/// The heads of a journal's commits up to the end or an error, and whether the end was reached.
fn journal(store: &impl Store, agent: AgentId) -> (Vec<igor_protocol::Hash>, bool) {
    let Ok(commits) = store.read(agent, Seq(0)) else { return (Vec::new(), false) };
    let mut heads = Vec::new();
    for commit in commits {
        match commit {
            Ok(commit) => heads.push(commit.head()),
            Err(_) => return (heads, false),
        }
    }
    (heads, true)
}
