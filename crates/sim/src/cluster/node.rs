//! What a node does with what comes in, and by itself: as the real one, from its start on.

use super::machine::{Machine, Node};
use super::net::Incoming;
use super::{oracle::short, standby};
use igor_protocol::{
    AgentId, Nanos,
    custody::{Event, Status},
};
use igor_spine::{
    Error,
    custody::{Error as CustodyError, Failed, Peers as _},
};
use igor_store::Store;
use std::sync::Arc;

/// How long peers have to answer what they are asked when an agent is woken.
const ANSWERS: Nanos = Nanos::from_secs(2);
/// How often it looks after each agent.
const TIMER_MIN: Nanos = Nanos::from_secs(2);
const TIMER_MAX: Nanos = Nanos::from_secs(6);
/// Pauses between two attempts to settle custody: the first, and the longest.
const AGAIN_AFTER: Nanos = Nanos::from_millis(500);
const AGAIN_AFTER_MAX: Nanos = Nanos::from_secs(15);

/// Starts what a node does.
pub(super) fn begin(machine: &Arc<Machine>, node: &Arc<Node>) {
    let mut incoming = machine.net.listen(machine.index);
    machine.net.greet(machine.index);
    let (serving, served) = (machine.clone(), node.clone());
    machine.spawn(async move {
        while let Some(incoming) = incoming.recv().await {
            serve(&serving, &served, incoming);
        }
    });
    standby::begin(machine, node);
    let (machine, node) = (machine.clone(), node.clone());
    machine.clone().spawn(async move { tend(&machine, &node).await });
}

fn serve(machine: &Arc<Machine>, node: &Arc<Node>, incoming: Incoming) {
    let (on, node) = (machine.clone(), node.clone());
    machine.spawn(async move {
        let steward = &node.steward;
        match incoming {
            Incoming::Stream(from, mut link) => match Box::pin(steward.take(from, &mut link)).await {
                Ok(taken) => on.oracle.log(|| format!("n{} took: {taken:?}", on.index)),
                Err(error) => judge_custody(&on, "a move that comes in", &error),
            },
            Incoming::Told(tidings) => {
                if let Err(error) = Box::pin(steward.hear(tidings)).await {
                    judge_custody(&on, "tidings", &error);
                }
            }
            Incoming::Asked(by, agent) => {
                if let Err(error) = Box::pin(steward.happen(agent, Event::Asked(by))).await {
                    judge_custody(&on, "a question", &error);
                }
            }
            Incoming::Connected(other) => {
                for agent in agents(&node) {
                    steward.peers().ask(other, agent);
                }
            }
            Incoming::Pulse(from, pulses) => standby::heard(&on, &node, from, &pulses),
            Incoming::Follows(agents) => standby::followed(&node, &agents),
        }
    });
}

async fn tend(machine: &Arc<Machine>, node: &Arc<Node>) {
    loop {
        wake(machine, node).await;
        for agent in agents(node) {
            if node.steward.is_shared(agent) {
                // What another node has since is heard of by its pulses.
                if matches!(node.steward.status(agent), Ok(Status::Custodian)) && !node.host.carries(agent) {
                    standby::tend(machine, node, agent);
                }
                continue;
            }
            // What is left to be done is attended to.
            if !matches!(node.steward.status(agent), Ok(Status::Given(_) | Status::Unfinished)) {
                time_passed(machine, node, agent).await;
            }
        }
        node.world.doze(TIMER_MIN, TIMER_MAX).await;
    }
}

/// Wakes those that are asleep: all after a start, and later each that did not read before.
async fn wake(machine: &Arc<Machine>, node: &Node) {
    let mut woken = Vec::new();
    // What is in a bucket is awake: the store knows what peers could say.
    for agent in agents(node).into_iter().filter(|agent| !node.steward.is_awake(*agent)) {
        match node.steward.wake(agent).await {
            Ok(_) => woken.push(agent),
            Err(error) => judge_custody(machine, "waking", &error),
        }
    }
    if !woken.is_empty() {
        node.world.sleep(ANSWERS).await;
    }
    for agent in woken {
        node.steward.waited(agent);
    }
}

fn agents(node: &Node) -> Vec<AgentId> {
    node.store.list().unwrap_or_default()
}

/// Lets an agent live that is this node's and does not, and asks about one that does.
async fn time_passed(machine: &Arc<Machine>, node: &Node, agent: AgentId) {
    if let Err(error) = node.steward.happen(agent, Event::Timer).await {
        judge_custody(machine, "custody", &error);
    }
}

/// Sees to it that the custody of an agent gets settled, as a node does.
pub(super) fn attend(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    if node.host.begins_to_attend(agent) {
        let (machine, node) = (machine.clone(), node.clone());
        machine.clone().spawn(async move { attend_until_settled(&machine, &node, agent).await });
    }
}

async fn attend_until_settled(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    let mut pause = AGAIN_AFTER;
    loop {
        node.world.sleep(pause).await;
        let given = matches!(node.steward.status(agent), Ok(Status::Given(_)));
        machine.counts.add_many("pursue", u64::from(given));
        match Box::pin(node.steward.settle(agent)).await {
            Ok(true) if node.host.has_attended(agent) => {
                machine.counts.add_many("pursue answered", u64::from(given));
                if node.steward.is_shared(agent) {
                    return standby::tend(machine, node, agent);
                }
                return time_passed(machine, node, agent).await;
            }
            Ok(_) => {}
            Err(Failed::Own(error)) => judge_custody(machine, "a pursuit", &error),
            Err(failed) => machine.oracle.log(|| format!("n{} pursues {}: {failed}", machine.index, short(agent))),
        }
        pause = Nanos(pause.0.saturating_mul(2)).min(AGAIN_AFTER_MAX);
    }
}

/// Whether a failure of custody is one that may be.
pub(super) fn judge_custody(machine: &Arc<Machine>, what: &str, error: &CustodyError) {
    let rotten = machine.oracle.is_rotten(machine.index);
    match error {
        CustodyError::Own(error) => judge(machine, what, error),
        CustodyError::Record(_) if machine.oracle.any_rotten() => machine.counts.add("bit rot seen by another node"),
        CustodyError::Record(_) | CustodyError::Note { .. } if !rotten => {
            machine.oracle.violate(format!("{what} failed at node {}: {error}", machine.index));
        }
        error => machine.oracle.log(|| format!("n{} {what}: {error}", machine.index)),
    }
}

/// Whether a failure of a life is one that may be: the disk's, but nothing else.
pub(super) fn judge(machine: &Arc<Machine>, what: &str, error: &Error) {
    use igor_store::Error as Stored;
    let expected = match error {
        // Somebody else went on with it, or it has to be read again.
        Error::Store(error) if error.is_overtaken() && machine.oracle.is_shared() => {
            machine.counts.add("overtaken");
            true
        }
        Error::Store(Stored::Full { .. } | Stored::NotKept { .. } | Stored::Poisoned { .. } | Stored::Io { .. })
        | Error::NoJournal(_) => true,
        _ if machine.oracle.is_rotten(machine.index) => {
            machine.counts.add("bit rot reported");
            true
        }
        _ => false,
    };
    if expected || machine.disk.is_down() {
        machine.oracle.log(|| format!("n{} {what}: {error}", machine.index));
    } else {
        machine.oracle.violate(format!("{what} failed at node {}: {error}", machine.index));
    }
}
