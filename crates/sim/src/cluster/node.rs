//! What a node does with what comes in, and by itself: as the real one, from its start on.

use super::machine::{Machine, Node};
use super::net::Incoming;
use super::oracle::short;
use igor_protocol::{AgentId, Nanos, custody::Event};
use igor_spine::{
    Error,
    custody::{Error as CustodyError, Failed},
};
use igor_store::Store;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// How long peers have to answer after a start.
const ANSWERS: Nanos = Nanos::from_secs(2);
/// How often it looks after each agent.
const TIMER_MIN: Nanos = Nanos::from_secs(2);
const TIMER_MAX: Nanos = Nanos::from_secs(6);

/// Starts what a node does.
pub(super) fn begin(machine: &Arc<Machine>, node: &Arc<Node>) {
    let mut incoming = machine.net.listen(machine.index);
    let (serving, served) = (machine.clone(), node.clone());
    machine.spawn(async move {
        while let Some(incoming) = incoming.recv().await {
            serve(&serving, &served, incoming);
        }
    });
    let (machine, node) = (machine.clone(), node.clone());
    machine.clone().spawn(async move { tend(&machine, &node).await });
}

fn serve(machine: &Arc<Machine>, node: &Arc<Node>, incoming: Incoming) {
    let (on, steward) = (machine.clone(), node.steward.clone());
    machine.spawn(async move {
        match incoming {
            Incoming::Stream(from, mut link) => match Box::pin(steward.take(from, &mut link)).await {
                Ok(taken) => on.oracle.log(|| format!("n{} took: {taken:?}", on.index)),
                Err(error) => judge_custody(&on, "a move that comes in", &error),
            },
            Incoming::Told(tidings) => {
                if let Err(error) = steward.hear(tidings).await {
                    judge_custody(&on, "tidings", &error);
                }
            }
            Incoming::Asked(by, agent) => {
                if let Err(error) = steward.happen(agent, Event::Asked(by)).await {
                    judge_custody(&on, "a question", &error);
                }
            }
        }
    });
}

async fn tend(machine: &Arc<Machine>, node: &Arc<Node>) {
    for agent in agents(node) {
        if let Err(error) = node.steward.wake(agent).await {
            judge_custody(machine, "waking", &error);
        }
    }
    node.world.sleep(ANSWERS).await;
    let pursued = Arc::new(Mutex::new(BTreeSet::new()));
    loop {
        for agent in agents(node) {
            if happens(machine, node, agent, Event::Timer).await {
                pursue(machine, node, &pursued, agent);
            }
        }
        node.world.doze(TIMER_MIN, TIMER_MAX).await;
    }
}

fn agents(node: &Node) -> Vec<AgentId> {
    node.store.list().unwrap_or_default()
}

/// Says whether the journal is to be sent somewhere.
async fn happens(machine: &Arc<Machine>, node: &Node, agent: AgentId, event: Event) -> bool {
    match node.steward.happen(agent, event).await {
        Ok(transfers) => !transfers.is_empty(),
        Err(error) => {
            judge_custody(machine, "custody", &error);
            false
        }
    }
}

/// Asks for the answer to a handoff, once at a time.
fn pursue(machine: &Arc<Machine>, node: &Arc<Node>, pursued: &Arc<Mutex<BTreeSet<AgentId>>>, agent: AgentId) {
    let lock = move |pursued: &Mutex<BTreeSet<AgentId>>, begins: bool| {
        let mut pursued = pursued.lock().unwrap_or_else(PoisonError::into_inner);
        if begins { pursued.insert(agent) } else { pursued.remove(&agent) }
    };
    if !lock(pursued, true) {
        return;
    }
    let (on, steward, pursued) = (machine.clone(), node.steward.clone(), pursued.clone());
    machine.spawn(async move {
        on.counts.add("pursue");
        match steward.pursue(agent).await {
            Ok(()) => on.counts.add("pursue answered"),
            Err(Failed::Own(error)) => judge_custody(&on, "a pursuit", &error),
            Err(failed) => on.oracle.log(|| format!("n{} pursues {}: {failed}", on.index, short(agent))),
        }
        lock(&pursued, false);
    });
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
        Error::Store(Stored::Full { .. } | Stored::Poisoned { .. } | Stored::Io { .. }) | Error::NoJournal(_) => true,
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
