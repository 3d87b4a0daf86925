//! An owner's takeover, of a node that is gone; in marked seeds of one that may live.
//!
//! Invariants kept here, in seeds that are not marked:
//! - The node that has custody is down and stays down until the takeover is durable, and nobody else may come to have
//!   it: what was on its way has arrived.
//! - It comes back at a time at which it can hear of the takeover.

use super::{
    machine::{Machine, Node},
    ops::has_journal,
    oracle::short,
    owner::within,
    plan::{Op, Who},
    stage::Stage,
};
use crate::files::Crash;
use igor_protocol::{
    AgentId, Chain, Nanos, NodeId, Seq, Timestamp,
    custody::{Refusal, Status},
    entry::{Action, OrderBody},
};
use igor_spine::custody::Error;
use igor_store::Store;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::oneshot;

/// After this long nothing is on its way any more.
const SETTLES: Nanos = Nanos::from_secs(13);
/// A node that starts again asks for 2 s; it gets some more.
const HEARS: Nanos = Nanos::from_secs(5);
/// How long a node has to read a journal in the bucket.
const READS: Nanos = Nanos::from_secs(20);
/// What it may take in of one, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// How often an order is given to a node that is down, or fails: for longer than any is down by itself.
const ATTEMPTS_MAX: usize = 400;

pub(super) async fn run(stage: &Arc<Stage>, op: Op) {
    let Who::Home(agent) = op.who else { return };
    let number = agent % stage.agents.len();
    let agent = &stage.agents[number];
    if agent.taken.swap(true, Ordering::Relaxed) {
        return;
    }
    if stage.oracle.is_shared() {
        if order_shared(stage, number).await {
            stage.counts.add("takeover in the bucket");
        }
    } else if stage.oracle.forks() {
        if order(stage, number, None).await {
            stage.counts.add("takeover of a live node");
        }
    } else if let Some(home) = stage.home(number) {
        let old = stage.machines[home].clone();
        let crash = if op.choice.is_multiple_of(2) { Crash::Power } else { Crash::Process };
        if old.kill(crash, None) {
            stage.rest(SETTLES).await;
            let taken = is_settled(stage, number, &[old.id()]) && order(stage, number, Some(home)).await;
            if taken {
                stage.counts.add("takeover of a dead node");
                stage.rest(Nanos(op.time.0 / 2)).await;
            }
            return_to_hearing(stage, number, &old, taken).await;
        }
    }
    agent.taken.store(false, Ordering::Relaxed);
}

/// Starts a node again when those who know better can tell it.
async fn return_to_hearing(stage: &Arc<Stage>, number: usize, old: &Arc<Machine>, taken: bool) {
    loop {
        let homes = stage.oracle.lives(stage.agents[number].id);
        let can = |home: usize| stage.machines[home].is_up() && !stage.kernel.is_paused(home);
        if stage.is_calm() {
            return; // it is started with those that are still down then, when the others have been up for a while
        }
        if homes.iter().copied().any(can) {
            break;
        }
        stage.rest(Nanos::from_millis(500)).await;
    }
    for machine in &stage.machines {
        machine.spare();
    }
    old.boot();
    // Until it is durable there: a node that could not keep it, since its disk is full, knows of it only while it is up.
    // The agent may have been moved back to it since; then it has it in the new term.
    let agent = stage.agents[number].id;
    let term_of = |index: usize| stage.oracle.tail(index, agent).map_or(0, |chain| chain.epoch.term);
    let term = stage.machines.iter().map(|machine| term_of(machine.index)).max().unwrap_or_default();
    loop {
        stage.hold(HEARS);
        stage.net.calm(HEARS);
        stage.kernel.sleep(HEARS).await;
        let is_back = term_of(old.index) >= term;
        let knows =
            |node: Arc<Node>| node.steward.status(agent).is_ok_and(|status| is_back || status != Status::Custodian);
        if !taken || stage.is_calm() || old.node().is_some_and(knows) {
            return;
        }
        if stage.oracle.is_rotten(old.index) {
            // What it reported is enough for its operator: others may not be there to tell it when its journal reads again.
            return old.retire();
        }
    }
}

/// The machines that never come back.
pub(super) fn gone_for_good(stage: &Stage) -> Vec<NodeId> {
    stage.machines.iter().filter(|machine| machine.is_ruined()).map(|machine| machine.id()).collect()
}

/// Whether nobody but these, which are down, can come to run the agent without an owner's order.
pub(super) fn is_settled(stage: &Stage, number: usize, down: &[NodeId]) -> bool {
    let agent = stage.agents[number].id;
    if !stage.oracle.lives(agent).is_empty() {
        return false;
    }
    let nodes: Vec<NodeId> = stage.machines.iter().map(|machine| machine.id()).collect();
    let custodian = stage.oracle.custodian(agent, &nodes).unwrap_or(stage.agents[number].genesis.body.custodian);
    let mut settled = down.contains(&custodian);
    for machine in &stage.machines {
        let Some(node) = machine.node() else { continue };
        match node.steward.status(agent) {
            Ok(Status::Absent | Status::Elsewhere | Status::Undecided) => {}
            // It waits for its owner, since it cannot tell.
            Ok(Status::Suspended(_)) if stage.oracle.forks() || stage.oracle.any_rotten() => settled = true,
            // Nobody else answers.
            Ok(Status::Given(to)) if down.contains(&to) => settled = true,
            _ => return false,
        }
    }
    settled
}

/// Orders the best node that there is to take over. Says whether it did.
pub(super) async fn order(stage: &Arc<Stage>, number: usize, not: Option<usize>) -> bool {
    let agent = &stage.agents[number];
    for _ in 0..4 {
        let home = stage.home(number);
        let able = |machine: &&Arc<Machine>| {
            let index = machine.index;
            Some(index) != not
                && Some(index) != home
                && !stage.kernel.is_paused(index)
                && !stage.oracle.is_rotten(index)
                && has_journal(machine, agent.id)
        };
        let copies = stage.machines.iter().filter(able);
        let best = copies.filter_map(|machine| Some((stage.oracle.tail(machine.index, agent.id)?, machine.clone())));
        let best = best.max_by_key(|(chain, machine)| (chain.epoch, chain.next, machine.index));
        let Some((base, machine)) = best else { return false };
        match take_over(stage, number, base, &machine).await {
            Fate::Taken => return true,
            Fate::Gone => return false,
            Fate::Refused => stage.kernel.sleep(Nanos::from_millis(500)).await,
        }
    }
    false
}

/// Orders a node to take over an agent whose journal is in the bucket, wherever it lives: one that can read it. Says whether
/// it did.
pub(super) async fn order_shared(stage: &Arc<Stage>, number: usize) -> bool {
    let agent = &stage.agents[number];
    for attempt in 0..6 {
        let able = |machine: &&Arc<Machine>| {
            machine.node().is_some()
                && !stage.kernel.is_paused(machine.index)
                && Some(machine.index) != stage.home(number)
        };
        let able: Vec<_> = stage.machines.iter().filter(able).collect();
        let Some(machine) = able.get((number + attempt) % able.len().max(1)) else { return false };
        let Some(node) = machine.node() else { continue };
        let (told, heard) = oneshot::channel();
        let (on, id) = ((*machine).clone(), agent.id);
        machine.spawn(async move {
            if let Err(error) = node.store.attach(id, None, BYTES_MAX).await {
                super::node::judge(&on, "reading a journal to take it over", &error.into());
            }
            let _ = told.send(node.store.tail(id).ok().flatten());
        });
        let Some(Ok(Some(base))) = within(stage, READS, heard).await else { continue };
        match take_over(stage, number, base, machine).await {
            Fate::Taken => return true,
            Fate::Gone => return false,
            // Whoever has it was faster.
            Fate::Refused => stage.kernel.sleep(Nanos::from_millis(200)).await,
        }
    }
    false
}

/// What became of an order.
enum Fate {
    Taken,
    /// It was refused: it counts nowhere, and another may be signed.
    Refused,
    /// The node that it named is gone, for good or until all others have come to rest.
    Gone,
}

/// Gives one order to the node that it names, until that has carried it out or refused it: an owner does not sign
/// another while the fate of one is unknown.
async fn take_over(stage: &Arc<Stage>, number: usize, base: Chain, machine: &Arc<Machine>) -> Fate {
    let agent = &stage.agents[number];
    let base_seq = Seq(base.next.0.saturating_sub(1));
    let (custodian, terms) = (machine.id(), machine.conduct().terms);
    let action = Action::Takeover { base_seq, base_head: base.head, custodian, terms };
    let (term, at) = (base.epoch.term, Timestamp(stage.kernel.now().0));
    let body = OrderBody { agent: agent.id, term, counter: agent.next_order(), at, action };
    let order = body.sign(&agent.owner);
    // Whether it may have been signed: then whoever refuses it now would have finished it before.
    let mut tried = false;
    for _ in 0..ATTEMPTS_MAX {
        // When faults are over those that are held down are started once no operation is left, this one included.
        if machine.is_ruined() || (stage.is_calm() && machine.is_held_down()) {
            return Fate::Gone;
        }
        if let Some(node) = machine.node() {
            let (told, heard) = oneshot::channel();
            let (of, on, id, order) = (stage.clone(), machine.index, agent.id, order.clone());
            machine.spawn(async move {
                // A standby that refuses the agent may have removed what was read for the owner: each attempt begins with reading.
                if node.store.wing().is_some() && matches!(node.store.tail(id), Ok(None)) {
                    drop(node.store.attach(id, None, BYTES_MAX).await);
                }
                let taken = node.steward.take_over(id, order).await;
                of.oracle
                    .log(|| format!("n{on} takes {} over from {} {}: {taken:?}", short(id), base.epoch, base.next));
                drop(told.send(taken));
            });
            match heard.await {
                Ok(Ok(()) | Err(Error::Refused(Refusal::Known))) => return Fate::Taken,
                Ok(Err(Error::Refused(_) | Error::Host(_))) if !tried => return Fate::Refused,
                Ok(Err(Error::Refused(_) | Error::Host(_))) => {
                    return if was_signed(stage, agent.id, base) { Fate::Taken } else { Fate::Refused };
                }
                Ok(Err(_)) | Err(_) => tried = true,
            }
        }
        stage.kernel.sleep(Nanos::from_millis(500)).await;
    }
    stage.oracle.violate(format!(
        "n{} neither carries out a takeover of {} nor refuses it",
        machine.index,
        short(agent.id)
    ));
    Fate::Gone
}

/// Whether a keystore has confirmed a takeover from here.
fn was_signed(stage: &Stage, agent: AgentId, base: Chain) -> bool {
    if let Some(truth) = stage.oracle.truth() {
        return truth.was_taken_over(agent, base.next);
    }
    let taken = stage.oracle.takeovers(agent);
    taken.iter().any(|taken| taken.from == base.epoch.term && taken.next == base.next)
}
