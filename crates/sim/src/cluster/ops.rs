//! Carries out a plan: faults and their ends, moves, takeovers.
//!
//! Invariants kept here:
//! - What an operation does is undone by itself, at the latest when faults are over.
//! - Only what really happened is counted.

use super::{
    bucket::{Cloud, Trouble},
    machine::Machine,
    owner::within,
    plan::{Kind, Op, When, Who},
    stage::{Stage, terms},
    takeover,
};
use crate::files::Crash;
use igor_protocol::{AgentId, Nanos, NodeId};
use igor_spine::custody::{Failed, Moved, Progress};
use igor_store::{Store, files::SyncPoint};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::oneshot;

use super::{FAULTS_MIN, dice::Dice, rot, standby};

/// How often one is tried.
const ATTEMPTS_MAX: usize = 8;

/// Starts all operations of the plan.
pub(super) fn begin(stage: &Arc<Stage>, numbers: &[usize]) {
    for (op, number) in stage.plan.ops.clone().into_iter().zip(numbers.iter().copied()) {
        let of = stage.clone();
        stage.under_way.fetch_add(1, Ordering::Relaxed);
        stage.kernel.spawn(None, async move {
            if let Some(machine) = wait(&of, op).await {
                carry_out(&of, &machine, op, number).await;
            }
            of.under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// What was planned may not have come to be, since machines were down, say: then some faults more follow.
pub(super) async fn more(stage: &Arc<Stage>) {
    let mut dice = Dice::new(stage.seed, 6);
    while stage.plan.whole && stage.faults_done() < FAULTS_MIN {
        let kind = dice.pick(&[Kind::Kill, Kind::PowerCut, Kind::Pause, Kind::Partition]).unwrap_or(Kind::Kill);
        let (other, time) = (dice.index(stage.machines.len()), Nanos(dice.within(50_000_000, 1_500_000_000)));
        let (when, number) = (When::At(stage.kernel.now()), dice.index(stage.machines.len()));
        let op = Op { kind, when, who: Who::Number(number), other, time, choice: dice.number() };
        stage.held().await;
        carry_out(stage, &stage.machines[number], op, stage.plan.ops.len()).await;
    }
}

/// Comes back when it is time, with the machine that it is done to; with none if it is too late.
async fn wait(stage: &Arc<Stage>, op: Op) -> Option<Arc<Machine>> {
    let mut pair = None;
    match op.when {
        When::At(moment) => stage.rest_until(moment).await,
        When::InMove { number, phase, after } => {
            // Where the move does not come so far, it is done late all the same.
            let late = Nanos(stage.plan.until.0 * 9 / 10 + op.choice % 3_000_000_000);
            while stage.kernel.now() < late && !stage.is_calm() {
                let changed = stage.phase.notified();
                pair = stage.in_phase(number, phase);
                if pair.is_some() {
                    break;
                }
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = stage.rest_until(late) => {}
                }
            }
            stage.rest(after).await;
        }
    }
    stage.held().await;
    let fallback = op.other;
    let number = match op.who {
        Who::Number(node) => node,
        Who::Source => pair.map_or(fallback, |(source, _)| source),
        Who::Target => pair.map_or(fallback + 1, |(_, target)| target),
        Who::Home(agent) => stage.home(agent).unwrap_or(fallback),
    };
    (!stage.is_calm()).then(|| stage.machines[number % stage.machines.len()].clone())
}

async fn carry_out(stage: &Arc<Stage>, machine: &Arc<Machine>, op: Op, number: usize) {
    match op.kind {
        Kind::Move => return move_agent(stage, op, number).await,
        Kind::Takeover => return takeover::run(stage, op).await,
        Kind::Partition | Kind::OneWay => return part(stage, machine, op).await,
        _ => {}
    }
    // What cannot be done to one machine now, since it is down, say, is done to another a little later.
    for attempt in 0..ATTEMPTS_MAX {
        let machine = &stage.machines[(machine.index + attempt) % stage.machines.len()];
        stage.oracle.log(|| format!("n{}: operation {number}: {op}", machine.index));
        if strike(stage, machine, op) {
            stage.counts.add(op.kind.name());
            // Those two are only prepared: they count when they happen.
            let happened = op.kind.is_fault() && !matches!(op.kind, Kind::CrashInWrite | Kind::FailedSync);
            stage.faults.fetch_add(u64::from(happened), Ordering::Relaxed);
            stage.rest(op.time).await;
            return undo(stage, machine, op);
        }
        stage.rest(Nanos::from_millis(400)).await;
        stage.held().await;
        if stage.is_calm() {
            return;
        }
    }
}

/// Does it to a machine, if it can be done. Says whether it was.
fn strike(stage: &Stage, machine: &Arc<Machine>, op: Op) -> bool {
    if let Some(cloud) = stage.cloud.as_ref().filter(|_| op.kind.is_for(true) && !op.kind.is_for(false)) {
        return strike_bucket(stage, machine, cloud, op);
    }
    match op.kind {
        // Those are done elsewhere.
        Kind::Move
        | Kind::Takeover
        | Kind::Partition
        | Kind::OneWay
        | Kind::Outage
        | Kind::CutFromBucket
        | Kind::Requests
        | Kind::SlowBucket
        | Kind::Ruin => false,
        Kind::Kill => machine.kill(Crash::Process, Some(op.time)),
        Kind::PowerCut => machine.kill(Crash::Power, Some(op.time)),
        Kind::CrashInWrite => {
            let crash = if op.choice.is_multiple_of(4) { Crash::Process } else { Crash::Power };
            machine.change(|conduct| (conduct.crash, conduct.down_for) = (crash, op.time));
            machine.disk.crash_at(Some(1 + op.choice / 8 % 24));
            machine.is_up()
        }
        Kind::Pause => machine.is_up() && stage.kernel.pause(machine.index),
        Kind::Messages => {
            let (lost, doubled, astray) = (op.choice % 500, op.choice / 500 % 300, op.choice / 150_000 % 500);
            stage.net.spoil(lost, doubled, astray);
            true
        }
        Kind::Skew => {
            let far = if op.choice.is_multiple_of(8) { 86_400_000_000_000 } else { 60_000_000_000 };
            let jump = (op.choice / 8 % (2 * far)).cast_signed() - far.cast_signed();
            machine.skew.fetch_add(jump, Ordering::Relaxed);
            true
        }
        Kind::FullDisk => {
            machine.disk.set_capacity(Some(machine.disk.used() + op.choice % 3_000));
            true
        }
        Kind::FailedSync => {
            let points = [SyncPoint::Group, SyncPoint::Local, SyncPoint::LocalName, SyncPoint::Blob];
            let point = points[usize::try_from(op.choice % 4).unwrap_or(0)];
            machine.disk.fail(point, 1 + op.choice / 4 % 3);
            true
        }
        Kind::SlowDisk => {
            machine.change(|conduct| conduct.slow_disk = 10 + op.choice % 200);
            true
        }
        Kind::SlowPeer => {
            stage.net.slow(machine.index, 5 + op.choice % 100);
            true
        }
        Kind::Cut => {
            let frames = if op.choice.is_multiple_of(2) { 0 } else { u32::try_from(op.choice / 2 % 12).unwrap_or(0) };
            stage.net.cut(machine.index, frames) > 0
        }
        Kind::BitRot => rot::run(stage, machine, op.choice),
        Kind::Unwilling => {
            machine.change(|conduct| conduct.refuses = true);
            true
        }
        Kind::Spoils => {
            machine.change(|conduct| conduct.spoils = true);
            true
        }
        Kind::Price => {
            machine.change(|conduct| conduct.terms = terms(&mut Dice::new(op.choice, 5)));
            true
        }
    }
}

/// Does it to the bucket, to the way there, or to a machine that others go on without.
fn strike_bucket(stage: &Stage, machine: &Arc<Machine>, cloud: &Cloud, op: Op) -> bool {
    let often = |n: u64| op.choice / 200_u64.pow(u32::try_from(n).unwrap_or(0)) % 200;
    match op.kind {
        Kind::Outage => cloud.goes_away(),
        Kind::CutFromBucket => cloud.cut(machine.index),
        Kind::Requests => cloud.trouble(Trouble {
            lost: often(0),
            unanswered: often(1),
            late: often(2),
            twice: often(3),
            throttled: often(4),
        }),
        Kind::SlowBucket => cloud.slow(2 + op.choice % 60),
        _ => {
            let left = stage.machines.iter().filter(|machine| !machine.is_ruined()).count();
            if machine.is_ruined() || left <= 2 {
                return false;
            }
            machine.retire();
        }
    }
    true
}

fn undo(stage: &Stage, machine: &Arc<Machine>, op: Op) {
    if let Some(cloud) = &stage.cloud {
        match op.kind {
            Kind::Outage => cloud.is_back(),
            Kind::CutFromBucket => cloud.join(machine.index),
            Kind::Requests => cloud.trouble(Trouble::USUAL),
            Kind::SlowBucket => cloud.slow(1),
            _ => {}
        }
    }
    match op.kind {
        Kind::Pause => stage.kernel.resume(machine.index),
        Kind::Messages => stage.net.spoil(0, 0, 0),
        Kind::FullDisk => machine.disk.set_capacity(None),
        Kind::SlowDisk => machine.change(|conduct| conduct.slow_disk = 1),
        Kind::SlowPeer => stage.net.slow(machine.index, 1),
        // What is so when faults end stays so, until everything has come to rest.
        Kind::Unwilling if !stage.is_calm() => machine.change(|conduct| conduct.refuses = false),
        Kind::Spoils => machine.change(|conduct| conduct.spoils = false),
        _ => {}
    }
}

/// Cuts a machine off, from one other or from all; in one direction only, where that is wanted.
async fn part(stage: &Arc<Stage>, machine: &Arc<Machine>, op: Op) {
    let me = machine.index;
    let all = op.choice.is_multiple_of(3);
    let others = (0..stage.machines.len()).filter(|other| *other != me);
    let others: Vec<usize> =
        others.filter(|other| all || *other == op.other || *other == (op.other + 1) % stage.machines.len()).collect();
    let mut ways = Vec::new();
    for other in others {
        match (op.kind, op.choice / 3 % 2) {
            (Kind::Partition, _) => ways.extend([(me, other), (other, me)]),
            (_, 0) => ways.push((me, other)),
            _ => ways.push((other, me)),
        }
    }
    for (from, to) in &ways {
        stage.net.block(*from, *to);
    }
    stage.counts.add(op.kind.name());
    stage.faults.fetch_add(1, Ordering::Relaxed);
    stage.rest(op.time).await;
    for (from, to) in &ways {
        stage.net.unblock(*from, *to);
    }
}

/// Moves an agent, from wherever it is.
async fn move_agent(stage: &Arc<Stage>, op: Op, number: usize) {
    let Who::Home(agent) = op.who else { return };
    let agent = agent % stage.agents.len();
    for attempt in 0..6 {
        let Some(source) = stage.home(agent) else {
            stage.rest(Nanos::from_millis(700)).await;
            continue;
        };
        let target = (op.other + attempt) % stage.machines.len();
        if target == source || stage.is_calm() {
            continue;
        }
        stage.counts.add(Kind::Move.name());
        match give(stage, stage.agents[agent].id, source, target, Some(number)).await {
            Some(Ok(_)) => {
                stage.moves.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Some(Err(Failed::Refused(_) | Failed::Before(_) | Failed::OtherHistory(_) | Failed::Declined)) => {
                stage.rest(Nanos::from_millis(300)).await;
            }
            Some(Err(Failed::Moving | Failed::Unanswered(_) | Failed::Own(_))) | None => return,
        }
    }
}

/// Tells a node to give an agent to another, and waits; nothing comes back if the node goes down.
pub(super) async fn give(
    stage: &Arc<Stage>,
    agent: AgentId,
    source: usize,
    target: usize,
    number: Option<usize>,
) -> Option<Result<Moved, Failed>> {
    let machine = stage.machines[source].clone();
    let (node, to): (_, NodeId) = (machine.node()?, stage.machines[target].id());
    let (told, heard) = oneshot::channel();
    let of = stage.clone();
    machine.spawn(async move {
        let progress = |progress: Progress| {
            if let Some(number) = number {
                of.reached(number, source, target, phase(progress));
            }
        };
        let moved = Box::pin(node.steward.give(agent, to, progress)).await;
        of.oracle.log(|| match &moved {
            Ok(moved) => format!("n{source} gave to n{target}: {moved:?}"),
            Err(failed) => format!("n{source} did not give to n{target}: {failed}"),
        });
        if let Err(Failed::Own(error)) = &moved {
            super::node::judge_custody(&of.machines[source], "a move", error);
        }
        standby::remember(&of.machines[source], &node, agent);
        drop(told.send(moved));
    });
    within(stage, Nanos::from_secs(120), heard).await?.ok()
}

const fn phase(progress: Progress) -> usize {
    match progress {
        // Nobody waits here: as many streams are opened as there are moves.
        Progress::Waiting | Progress::Offered { .. } => 0,
        Progress::Ahead { .. } => 1,
        Progress::Frozen => 2,
        Progress::Given { .. } => 3,
    }
}

/// Whether a node has the journal of an agent.
pub(super) fn has_journal(machine: &Machine, agent: AgentId) -> bool {
    machine.node().is_some_and(|node| node.store.tail(agent).ok().flatten().is_some())
}
