//! Owners and senders: agents begin, get messages and money, wherever they are.
//!
//! Invariants kept here:
//! - A sender never gives up: it sends a message until it is acknowledged, asks for each node in turn, and goes back
//!   only where a takeover went back.
//! - An owner's orders have rising counters, and it never signs two of one counter.

use super::{
    dice::{Dice, mix},
    node::judge_custody,
    oracle::{Told, What, short},
    stage::{Agent, PROGRAM, Stage},
    standby::tend,
};
use igor_protocol::{
    AgentId, Credits, Nanos, Timestamp,
    custody::{Event, Status},
    entry::{Action, MessageId, Order, OrderBody, Sender},
};
use igor_spine::command::{Command, Delivered, Parcel, Refused};
use igor_store::Store;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::{mpsc, oneshot};

/// How long an answer is waited for.
const ANSWER: Nanos = Nanos::from_secs(2);
/// A balance that is soon used up.
const POOR: u128 = 20_000;

/// Starts what owners and senders do for all agents.
pub(super) fn begin(stage: &Arc<Stage>) {
    for number in 0..stage.agents.len() {
        let of = stage.clone();
        stage.kernel.spawn(None, async move {
            deploy(&of, number).await;
            let (sending, funding) = (of.clone(), of.clone());
            of.kernel.spawn(None, async move { send_all(&sending, number).await });
            of.kernel.spawn(None, async move { fund(&funding, number).await });
        });
    }
}

/// Begins an agent at its first node, through every crash.
async fn deploy(stage: &Arc<Stage>, number: usize) {
    let agent = &stage.agents[number];
    let Some(machine) = agent.first(&stage.machines) else { return };
    loop {
        let (told, heard) = oneshot::channel();
        if let Some(node) = machine.node() {
            let (genesis, manifest, id) = (agent.genesis.clone(), agent.manifest.clone(), agent.id);
            machine.spawn(async move {
                if node.store.wing().is_some() {
                    // An attempt before this may have come so far.
                    drop(node.store.attach(id, None, 1 << 20).await);
                }
                let there = node.store.tail(id).ok().flatten().is_some();
                let begun = there
                    || match node.steward.claim_new(&genesis.body).await {
                        Ok(_lease) => node.host.create(genesis, manifest, PROGRAM.to_vec()).await.is_ok(),
                        Err(_) => false,
                    };
                if begun {
                    drop(node.steward.happen(id, Event::Timer).await);
                }
                let _ = told.send(begun);
            });
        } else {
            drop(told);
        }
        if heard.await == Ok(true) {
            stage.oracle.log(|| format!("{} was deployed at n{}", short(agent.id), machine.index));
            return;
        }
        if machine.is_ruined() {
            return;
        }
        stage.kernel.sleep(Nanos::from_millis(300)).await;
    }
}

/// The ways to the lives of an agent, where it was seen last first.
fn ways(stage: &Stage, agent: AgentId) -> Vec<(usize, mpsc::Sender<Command>)> {
    let first = stage.oracle.shown(agent).map_or(0, |shown| shown.node);
    let order = (0..stage.machines.len()).map(|i| (first + i) % stage.machines.len());
    let way = |node: usize| Some((node, stage.machines[node].node()?.host.commands(agent)?));
    order.filter_map(way).collect()
}

async fn send_all(stage: &Arc<Stage>, number: usize) {
    let agent = &stage.agents[number];
    let mut dice = Dice::new(stage.seed, 0x7365_6e64 + number as u64);
    loop {
        let sent = agent.sent.load(Ordering::Relaxed);
        let pace = if stage.is_calm() { 30_000_000 } else { 1_300_000_000 };
        stage.kernel.sleep(Nanos(dice.below(pace))).await;
        if sent >= agent.messages {
            // A takeover may have gone back behind the last one: then it is asked for what is missing.
            stage.kernel.sleep(Nanos::from_millis(700)).await;
        }
        let n = (sent + 1).min(agent.messages);
        for (node, way) in ways(stage, agent.id) {
            // The network loses a question or an answer now and then; whoever asks cannot tell which.
            let trouble = if stage.is_calm() { 999 } else { dice.below(20) };
            if trouble == 0 {
                continue;
            }
            let answer = deliver(stage, &way, parcel(stage.seed, number, n)).await;
            if answer.as_ref().is_none_or(Result::is_err) {
                stage.oracle.log(|| format!("message {n} of {} at n{node}: {answer:?}", short(agent.id)));
            }
            let Some(answer) = answer.filter(|_| trouble != 1) else { continue };
            if let Some(now) = answered(stage, agent, node, n, &answer) {
                agent.sent.store(now, Ordering::Relaxed);
                let term = stage.oracle.tail(node, agent.id).map_or(0, |tail| tail.epoch.term);
                agent.answered_in.store(term, Ordering::Relaxed);
                break;
            }
        }
    }
}

/// What an answer to message `n` says: up to where messages are acknowledged now.
fn answered(stage: &Stage, agent: &Agent, node: usize, n: u64, answer: &Result<Delivered, Refused>) -> Option<u64> {
    match answer {
        Ok(delivered) => {
            let (seq, head) = delivered.sealed;
            let told = Told { term: delivered.epoch.term, seq, head, node, what: What::Message(n) };
            stage.oracle.acknowledged(agent.id, told);
            Some(n)
        }
        // Whoever was fenced off says what it knew; whether anything is missing is looked at in the end.
        Err(Refused::Gap { .. }) if stage.oracle.is_shared() => None,
        Err(Refused::Gap { expected }) if *expected < n => {
            if stage.oracle.takeovers(agent.id).is_empty() {
                let id = short(agent.id);
                stage
                    .oracle
                    .violate(format!("{id} at node {node} wants message {expected} again; {} was taken", n - 1));
            }
            Some(expected - 1)
        }
        Err(Refused::Gap { expected }) => Some(expected - 1),
        Err(Refused::Full { .. } | Refused::Ended(_) | Refused::Store(_)) => None,
        Err(refused @ (Refused::Conflict(_) | Refused::TooLarge(_) | Refused::Order(_))) => {
            stage.oracle.violate(format!("{} refused message {n}: {refused}", short(agent.id)));
            None
        }
    }
}

fn parcel(seed: u64, agent: usize, n: u64) -> Parcel {
    let choice = mix(seed ^ mix(n ^ ((agent as u64) << 32)));
    let body = match choice % 24 {
        0 => "trap-if-odd".to_owned(),
        1 => "trap".to_owned(),
        2 => "log 20".to_owned(),
        3 => "burn 300".to_owned(),
        4 => "wait 5".to_owned(),
        _ => format!("m{n}"),
    };
    let id = MessageId::Numbered { stream: "s".to_owned(), n };
    Parcel { sender: Sender::Uid(1), id, body: body.into_bytes() }
}

/// Sends a message and waits for its answer; none if it does not come.
async fn deliver(stage: &Stage, way: &mpsc::Sender<Command>, parcel: Parcel) -> Option<Result<Delivered, Refused>> {
    let (answer, answered) = oneshot::channel();
    within(stage, ANSWER, async { way.send(Command::Deliver { parcel, answer }).await.ok() }).await??;
    within(stage, ANSWER, async { answered.await.ok() }).await?
}

/// What comes of something, if it comes in time.
pub(super) async fn within<T>(stage: &Stage, time: Nanos, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stage.kernel.sleep(time) => None,
    }
}

/// Gives an agent money whenever it is about to end, or has.
async fn fund(stage: &Arc<Stage>, number: usize) {
    let agent = &stage.agents[number];
    let mut dice = Dice::new(stage.seed, 0x6675_6e64 + number as u64);
    loop {
        stage.kernel.sleep(Nanos(dice.within(500_000_000, 3_000_000_000))).await;
        let Some(shown) = stage.oracle.shown(agent.id) else { continue };
        let now = shown.snapshot;
        // Sometimes late, so that some end.
        let poor = now.balance.units() < POOR || now.cause.is_some();
        if !poor || (!stage.is_calm() && dice.permille(500)) {
            continue;
        }
        let added = if stage.is_calm() { 1 << 60 } else { dice.within(60_000, 300_000) };
        let Some(total) = now.funded.checked_add(Credits::from_units(u128::from(added))) else { continue };
        let (term, at) = (now.chain.epoch.term, Timestamp(stage.kernel.now().0));
        let body = OrderBody { agent: agent.id, term, counter: agent.next_order(), at, action: Action::Fund { total } };
        let order = body.sign(&agent.owner);
        for (_, way) in ways(stage, agent.id) {
            let (answer, answered) = oneshot::channel();
            let sent = within(stage, ANSWER, way.send(Command::Order { order: order.clone(), answer })).await;
            if sent.is_none_or(|sent| sent.is_err()) {
                continue;
            }
            match within(stage, ANSWER, answered).await {
                Some(Ok(Ok(_))) => {
                    stage.counts.add("funded");
                    break;
                }
                Some(Ok(Err(refused))) => stage.oracle.log(|| format!("an order was refused: {refused}")),
                _ => {}
            }
        }
        if stage.oracle.is_shared() && stage.oracle.lives(agent.id).is_empty() {
            revive(stage, order).await;
        }
    }
}

/// Gives an order to the node that has an agent which ended, and has no life.
async fn revive(stage: &Arc<Stage>, mut order: Order) {
    let agent = order.body.agent;
    for machine in &stage.machines {
        let Some(node) = machine.node() else { continue };
        if !matches!(node.steward.status(agent), Ok(Status::Custodian)) {
            continue;
        }
        // A takeover may have begun a term in which nobody has seen the agent live.
        let term = stage.oracle.tail(machine.index, agent).map_or(order.body.term, |tail| tail.epoch.term);
        if term != order.body.term {
            let owner = stage.agents.iter().find(|known| known.id == agent);
            let Some(owner) = owner else { return };
            order = OrderBody { term, counter: owner.next_order(), ..order.body }.sign(&owner.owner);
        }
        let (told, heard) = oneshot::channel();
        let (on, order) = (machine.clone(), order.clone());
        machine.spawn(async move {
            let done = Box::pin(node.steward.order(order)).await;
            if let Err(error) = &done {
                judge_custody(&on, "an order", error);
            }
            let _ = told.send(done.is_ok());
            tend(&on, &node, agent);
        });
        if let Some(Ok(true)) = within(stage, ANSWER, heard).await {
            stage.counts.add("funded");
        }
    }
}
