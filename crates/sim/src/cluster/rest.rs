//! The end of a seed: faults stop, everything must come to rest, and every agent be able to go everywhere.

use super::{
    bucket::Trouble,
    machine::Machine,
    ops::{give, has_journal},
    oracle::short,
    stage::{Stage, terms},
    standby, takeover,
};
use crate::cluster::dice::Dice;
use igor_protocol::Nanos;
use igor_spine::custody::{Failed, Host};
use std::sync::{Arc, atomic::Ordering};

/// How long a cluster has to come to rest.
const PATIENCE: Nanos = Nanos::from_secs(150);
/// How long nodes are up when others start that they have something to tell.
const SETTLES: Nanos = Nanos::from_secs(3);
/// How often it is looked at.
const LOOK: Nanos = Nanos::from_millis(400);
/// Moves of a seed, at least.
pub const MOVES_MIN: u64 = 5;
/// A seed in which all agents were lost, before they began or with all machines that they were on, has none to move.
pub const NOTHING_LEFT: &str = "no agent left to move";
/// Faults of a seed, at least.
pub const FAULTS_MIN: u64 = 20;
/// Steps of a seed, at least.
pub const STEPS_MIN: u64 = 10_000;

/// Ends all faults, waits for rest, and lets every agent go through every node.
pub(super) async fn settle(stage: &Arc<Stage>) {
    stage.becomes_calm();
    while stage.under_way.load(Ordering::Relaxed) > 0 {
        stage.kernel.sleep(LOOK).await;
    }
    heal(stage).await;
    // Nodes that take nobody say so for as long as they like: what was given to them comes back.
    if !rests(stage).await {
        return;
    }
    stage.machines.iter().for_each(|machine| machine.change(|conduct| conduct.refuses = false));
    if (0..stage.agents.len()).all(|number| is_lost(stage, number)) {
        stage.counts.add(NOTHING_LEFT);
    }
    loop {
        let moves = stage.counts.of("accept");
        for number in 0..stage.agents.len() {
            if !tour(stage, number).await {
                return;
            }
        }
        let moved = stage.counts.of("accept");
        if moved >= MOVES_MIN || moved == moves {
            break;
        }
    }
    while stage.kernel.steps() < STEPS_MIN {
        stage.kernel.sleep(LOOK).await;
    }
    if rests(stage).await {
        // Who is told to stop is silent as well; and its node lets nothing live again that it just began to look after.
        stage.machines.iter().for_each(|machine| machine.change(|conduct| conduct.stands_by = false));
        stage.kernel.sleep(LOOK).await;
        freeze(stage).await;
    }
}

async fn heal(stage: &Arc<Stage>) {
    stage.net.spoil(0, 0, 0);
    if let Some(cloud) = &stage.cloud {
        cloud.trouble(Trouble::default());
    }
    for machine in &stage.machines {
        machine.disk.set_capacity(None);
        machine.spare();
        machine.change(|conduct| {
            (conduct.spoils, conduct.slow_disk) = (false, 1);
            conduct.terms = terms(&mut Dice::new(stage.seed, machine.index as u64));
        });
        stage.net.slow(machine.index, 1);
        stage.kernel.resume(machine.index);
        if stage.oracle.is_rotten(machine.index) {
            // Its operator knows by now, and takes the disk out of service.
            machine.retire();
        }
    }
    // Those that were taken over from start when the others can tell them.
    let comes = |machine: &Arc<Machine>| !(machine.is_up() || machine.is_held_down() || machine.is_ruined());
    while stage.machines.iter().any(comes) {
        stage.kernel.sleep(LOOK).await;
    }
    stage.kernel.sleep(SETTLES).await;
    stage.machines.iter().for_each(Machine::boot);
}

/// Waits until every agent lives once, with nothing open. Says whether that came.
async fn rests(stage: &Arc<Stage>) -> bool {
    let until = stage.kernel.now().saturating_add(PATIENCE);
    loop {
        let mut open = None;
        for number in 0..stage.agents.len() {
            if let Some(why) = is_open(stage, number) {
                open = Some(why);
                rescue(stage, number).await;
            }
        }
        if stage.oracle.violation().is_some() {
            return false;
        }
        let Some(why) = open else { return true };
        if stage.kernel.now() >= until {
            stage.oracle.violate(format!("it does not come to rest: {why}"));
            return false;
        }
        stage.kernel.sleep(LOOK).await;
    }
}

/// Why an agent is not at rest.
fn is_open(stage: &Stage, number: usize) -> Option<String> {
    let agent = &stage.agents[number];
    let id = short(agent.id);
    if is_lost(stage, number) {
        return None;
    }
    let [home] = stage.oracle.lives(agent.id)[..] else {
        let said: Vec<String> = stage
            .machines
            .iter()
            .map(|machine| match machine.node() {
                None => format!("n{} is down", machine.index),
                Some(node) => format!("n{} says {:?}", machine.index, node.steward.status(agent.id)),
            })
            .collect();
        let lives = stage.oracle.lives(agent.id);
        return Some(format!("{id} lives at {lives:?}, not at one node: {}", said.join(", ")));
    };
    let term = stage.oracle.tail(home, agent.id)?.epoch.term;
    if agent.answered_in.load(Ordering::Relaxed) != term {
        return Some(format!("the sender of {id} was not answered in term {term}, and may have to send again"));
    }
    let sent = agent.sent.load(Ordering::Relaxed);
    if sent < agent.messages {
        return Some(format!("{id} at node {home} has taken {sent} of {} messages", agent.messages));
    }
    let shown = stage.oracle.shown(agent.id)?.snapshot;
    (shown.open_messages > 0 || shown.cause.is_some())
        .then(|| format!("{id} at node {home} has {} open messages, {:?}", shown.open_messages, shown.cause))
}

/// Whether every journal of an agent was on disks that rotted, or none of it was ever elsewhere.
pub(super) fn is_lost(stage: &Stage, number: usize) -> bool {
    let agent = &stage.agents[number];
    if let Some(truth) = stage.oracle.truth() {
        // Its first machine was ruined before it began.
        return truth.held(agent.id).is_none() && agent.first(&stage.machines).is_none_or(|first| first.is_ruined());
    }
    stage.oracle.any_rotten() && !stage.machines.iter().any(|machine| has_journal(machine, agent.id))
}

/// Orders a takeover where the node that has custody, or is to answer for it, is gone for good.
async fn rescue(stage: &Arc<Stage>, number: usize) {
    let agent = &stage.agents[number];
    if stage.oracle.is_shared() {
        return rescue_shared(stage, number).await;
    }
    let gone = takeover::gone_for_good(stage);
    if takeover::is_settled(stage, number, &gone) && !agent.taken.swap(true, Ordering::Relaxed) {
        if takeover::order(stage, number, None).await {
            stage.counts.add("takeover of a ruined node");
        }
        agent.taken.store(false, Ordering::Relaxed);
    }
}

/// As [`rescue`], where nobody goes on by itself: no machine is there that the owner named and that follows, or there is
/// nothing to go on with.
async fn rescue_shared(stage: &Arc<Stage>, number: usize) {
    let agent = &stage.agents[number];
    let Some(custodian) = stage.oracle.truth().and_then(|truth| truth.custodian(agent.id)) else { return };
    let is_gone = stage.machines.iter().any(|machine| machine.id() == custodian && machine.is_ruined());
    let goes_on = stage.machines.iter().any(|machine| standby::goes_on(machine, agent.id));
    if is_gone && !goes_on && stage.oracle.lives(agent.id).is_empty() && !agent.taken.swap(true, Ordering::Relaxed) {
        if takeover::order_shared(stage, number).await {
            stage.counts.add("takeover where nobody stood by");
        }
        agent.taken.store(false, Ordering::Relaxed);
    }
}

/// Moves an agent to every node that is in service.
async fn tour(stage: &Arc<Stage>, number: usize) -> bool {
    let id = stage.agents[number].id;
    for target in 0..stage.machines.len() {
        stage.oracle.log(|| format!("{} is to go to n{target}", short(id)));
        if !stage.machines[target].is_up() || is_lost(stage, number) {
            continue;
        }
        let mut last = String::new();
        let mut came = false;
        // Nodes ask for the answers that they lack every 15 s.
        for _ in 0..12 {
            match stage.home(number) {
                Some(home) if home == target => came = true,
                Some(home) => match give(stage, id, home, target, None).await {
                    Some(Ok(_)) => came = true,
                    Some(Err(failed @ Failed::OtherHistory(_))) => {
                        last = failed.to_string();
                        break;
                    }
                    Some(Err(failed)) => last = failed.to_string(),
                    None => "the node went down".clone_into(&mut last),
                },
                None => {
                    rescue(stage, number).await;
                    "it lives nowhere".clone_into(&mut last);
                }
            }
            if came {
                break;
            }
            stage.kernel.sleep(Nanos::from_secs(2)).await;
        }
        if !came {
            let all: Vec<_> =
                stage.machines.iter().filter_map(|machine| stage.oracle.tail(machine.index, id)).collect();
            stage.oracle.violate(format!(
                "{} cannot move to node {target}: {last} ({} journals)",
                short(id),
                all.len()
            ));
            return false;
        }
    }
    true
}

/// Ends every life, so that journals stand still.
async fn freeze(stage: &Arc<Stage>) {
    for number in 0..stage.agents.len() {
        let id = stage.agents[number].id;
        let Some(home) = stage.home(number) else { continue };
        let machine = &stage.machines[home];
        let Some(node) = machine.node() else { continue };
        let (told, heard) = tokio::sync::oneshot::channel();
        machine.spawn(async move {
            drop(told.send(node.host.freeze(id, true).await));
        });
        if !matches!(heard.await, Ok(Ok(()))) {
            stage.oracle.violate(format!("{} does not stop at node {home}", short(id)));
        }
        stage.settled.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, home));
    }
}
