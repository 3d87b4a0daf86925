//! Standing by on a simulated machine, as a node does it: `crates/node/src/node/failover.rs`.
//!
//! Invariants kept here:
//! - What decides is the node's own code: who is silent and whose turn it is `igor_spine::standby`, who goes on the steward
//!   and the store. Here are only the loops around it.

use super::{
    counts::Counts,
    host::Over,
    machine::{Machine, Node},
    net::Net,
    node::{judge, judge_custody},
    oracle::short,
};
use igor_protocol::{
    AgentId, Epoch, Nanos, NodeId, Seq,
    custody::{Event, Status},
    entry::StoreKind,
    ledger::Book,
};
use igor_spine::{
    Error, World,
    custody::{Error as CustodyError, Host as _, Succession},
    inspect,
    moving::StoreBlobs,
    standby::{
        ASK_STORE_EVERY, Following, LOOK_EVERY, Looks, PULSE_EVERY, Pulse, Room, STORE_SILENT, Watched, is_anothers,
    },
};
use igor_store::{Store, shared::answers};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// How long the bucket is waited for where something else can be done.
const STORE_WITHIN: Nanos = Nanos::from_secs(10);
/// How often slots may be collected: often, so that it happens in a short life.
const COLLECT_MIN: Nanos = Nanos::from_millis(800);
const COLLECT_MAX: Nanos = Nanos::from_secs(5);
/// What may be taken in of a journal, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// What a process knows of agents of others.
#[derive(Default)]
pub struct Standby {
    watched: Watched,
    /// Of the agents here.
    rooms: Mutex<BTreeMap<AgentId, Room>>,
    /// Agents that are this node's and are about to live, if they should.
    tended: Mutex<BTreeSet<AgentId>>,
    /// The bucket was asked a moment ago whether it is there.
    asks: AtomicBool,
}

impl Standby {
    fn rooms(&self) -> MutexGuard<'_, BTreeMap<AgentId, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an agent is not followed.
#[derive(Debug)]
enum NotFollowed {
    /// The operator does not take it.
    Refused,
    /// It does not restore here today.
    DoesNotRestore,
    /// Custody, or the store.
    Own(CustodyError),
}

impl<E: Into<CustodyError>> From<E> for NotFollowed {
    fn from(error: E) -> Self {
        Self::Own(error.into())
    }
}

/// Says from now on that the agents here are well, and watches over those of others.
pub(super) fn begin(machine: &Arc<Machine>, node: &Arc<Node>) {
    if node.store.wing().is_none() {
        return;
    }
    for agent in node.store.list().unwrap_or_default() {
        tend(machine, node, agent);
    }
    let (from, pulsing) = (machine.clone(), node.clone());
    machine.spawn(async move {
        loop {
            pulsing.world.sleep(PULSE_EVERY).await;
            pulse(from.index, &from.net, &from.counts, &pulsing);
        }
    });
    let (on, node) = (machine.clone(), node.clone());
    machine.spawn(async move {
        let mut looks = Looks::begin(node.world.monotonic());
        loop {
            node.world.sleep(LOOK_EVERY).await;
            let now = node.world.monotonic();
            if looks.is_late(now) || is_store_silent(&node) {
                node.standby.watched.begin_anew(now);
                ask_store(&on, &node);
            } else if on.conduct().stands_by {
                while let Some(agent) = node.standby.watched.suspect(now) {
                    on.counts.add("node suspected");
                    follow_soon(&on, &node, agent);
                }
                for (agent, custodian, epoch) in node.standby.watched.silent(now) {
                    on.counts.add("silence noticed");
                    let (on, node) = (on.clone(), node.clone());
                    on.clone().spawn(async move { succeed(&on, &node, agent, custodian, epoch).await });
                }
            }
        }
    });
}

fn is_store_silent(node: &Node) -> bool {
    let silent = node.store.wing().and_then(|wing| wing.bucket.silent_for());
    silent.is_some_and(|silent| silent > STORE_SILENT)
}

/// Asks the bucket something now and then, so that its silence ends when it answers.
fn ask_store(machine: &Arc<Machine>, node: &Arc<Node>) {
    if node.standby.asks.swap(true, Ordering::Relaxed) {
        return;
    }
    let (on, node) = (machine.clone(), node.clone());
    on.clone().spawn(async move {
        let asking = node.clone();
        on.spawn(async move {
            if let Some(wing) = asking.store.wing() {
                // What it says does not matter: that it answers does.
                answers(&wing.bucket).await;
            }
        });
        node.world.sleep(ASK_STORE_EVERY).await;
        node.standby.asks.store(false, Ordering::Relaxed);
    });
}

/// Tells the nodes that stand by that their agents are well.
fn pulse(me: usize, net: &Net, counts: &Counts, node: &Node) {
    if is_store_silent(node) {
        return;
    }
    let (at, mut rooms) = (node.world.monotonic(), node.standby.rooms());
    let mut pulses: BTreeMap<NodeId, Vec<Pulse>> = BTreeMap::new();
    let seen = node.host.seen();
    rooms.retain(|agent, _| seen.iter().any(|now| now.chain.agent == *agent));
    for now in seen {
        let agent = now.chain.agent;
        let room = rooms.entry(agent).or_insert_with(|| Room::begin(at));
        let is_left = room.is_left(at) && now.standby.iter().any(|to| *to != node.steward.me());
        counts.add_many("room left", u64::from(is_left));
        node.store.leave_room(agent, is_left);
        let pulse = Pulse { agent: now.chain.agent, epoch: now.chain.epoch, next: now.chain.next };
        for to in now.standby.into_iter().filter(|to| *to != node.steward.me()) {
            pulses.entry(to).or_default().push(pulse);
        }
    }
    for (to, pulses) in pulses {
        net.pulse(me, to, &pulses);
    }
}

/// Another node says that agents are well there.
pub(super) fn heard(machine: &Arc<Machine>, node: &Arc<Node>, from: NodeId, pulses: &[Pulse]) {
    if node.store.wing().is_none() {
        return;
    }
    let (now, mut follows) = (node.world.monotonic(), Vec::new());
    for pulse in pulses {
        if node.standby.watched.hear(from, pulse, false, now) {
            let (machine, node, pulse) = (machine.clone(), node.clone(), *pulse);
            machine.clone().spawn(async move { heed(&machine, &node, from, pulse).await });
        }
        if node.standby.watched.after(pulse.agent).is_some() {
            follows.push(pulse.agent);
        }
    }
    if !follows.is_empty() {
        machine.net.follows(machine.index, from, &follows);
    }
}

/// Another node says that it would go on with agents here.
pub(super) fn followed(node: &Node, agents: &[AgentId]) {
    let (now, mut rooms) = (node.world.monotonic(), node.standby.rooms());
    for agent in agents {
        if let Some(room) = rooms.get_mut(agent) {
            room.hear(now);
        }
    }
}

/// Another node says that it has an agent: that is a reason to read on, unless it is this node that has it since.
async fn heed(machine: &Arc<Machine>, node: &Arc<Node>, from: NodeId, Pulse { agent, epoch, .. }: Pulse) {
    match node.steward.corrects(from, agent, epoch) {
        Ok(false) => return follow(machine, node, agent).await,
        Ok(true) => machine.counts.add("node told that it was overtaken"),
        Err(error) => judge_custody(machine, "heeding a pulse", &error),
    }
    node.standby.watched.failed(agent, false, node.world.monotonic());
}

fn follow_soon(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    let (machine, node) = (machine.clone(), node.clone());
    machine.clone().spawn(async move { follow(&machine, &node, agent).await });
}

/// Reads on, and has the agent ready to go on here, if its owner names this node.
async fn follow(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    let followed = Box::pin(try_follow(machine, node, agent)).await;
    let now = node.world.monotonic();
    match followed {
        Ok(Some(found)) => {
            machine.counts.add("journal followed");
            node.standby.watched.read(agent, found, now);
        }
        Ok(None) => {
            machine.oracle.log(|| format!("n{} does not follow {}", machine.index, short(agent)));
            node.standby.watched.rests(agent, now);
            stand_down(node, agent);
            tend_own(machine, node, agent);
        }
        Err(why) => {
            let is_refused = matches!(why, NotFollowed::Refused);
            machine.oracle.log(|| format!("n{} cannot follow {}: {why:?}", machine.index, short(agent)));
            if let NotFollowed::Own(error) = &why {
                judge_custody(machine, "following", error);
            }
            if is_refused {
                machine.counts.add("standby refused");
                stand_down(node, agent);
                let_go(machine, node, agent).await;
            }
            node.standby.watched.failed(agent, is_refused, node.world.monotonic());
        }
    }
}

/// Lets an agent live that turns out to be this node's: of a fence that landed it may have heard only that it failed.
fn tend_own(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    if matches!(node.steward.status(agent), Ok(Status::Custodian)) {
        tend(machine, node, agent);
    }
}

fn stand_down(node: &Node, agent: AgentId) {
    if node.host.has_kept(agent) && matches!(node.steward.status(agent), Ok(Status::Elsewhere)) {
        node.host.forget(agent);
    }
}

async fn let_go(machine: &Arc<Machine>, node: &Node, agent: AgentId) {
    if node.store.kind(agent) == StoreKind::Disk || !matches!(node.steward.status(agent), Ok(Status::Elsewhere)) {
        return;
    }
    let gone = node.steward.delete(agent).await;
    machine.oracle.log(|| format!("n{} lets {} go: {gone:?}", machine.index, short(agent)));
}

/// The book at the end of what is here of a journal.
pub(super) fn book(node: &Node, agent: AgentId) -> Result<Book, Error> {
    let end = node.store.tail(agent)?.ok_or(Error::NoJournal(agent))?;
    let read = |from| node.store.read(agent, from);
    Ok(inspect::book_at_end(read, &StoreBlobs(&*node.store), end.next)?)
}

async fn try_follow(
    machine: &Arc<Machine>,
    node: &Arc<Node>,
    agent: AgentId,
) -> Result<Option<Following>, NotFollowed> {
    node.store.attach(agent, node.standby.watched.until(agent), BYTES_MAX).await?;
    if node.store.tail(agent)?.is_none() {
        return Ok(None);
    }
    if !is_anothers(node.steward.status(agent)?) {
        return Ok(None);
    }
    // Where it lived until it was fenced off it may not have noticed yet.
    node.steward.dismiss(agent).await?;
    let me = node.steward.me();
    let Some(following) = node.steward.look(agent, |book| Following::of(me, book))?.flatten() else { return Ok(None) };
    if !node.host.has_kept(agent) && machine.conduct().refuses {
        return Err(NotFollowed::Refused);
    }
    node.host.restore(agent).await.map_err(|_| NotFollowed::DoesNotRestore)?;
    Ok(Some(following))
}

/// Goes on with an agent whose node is silent.
async fn succeed(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId, custodian: NodeId, epoch: Epoch) {
    let is_followed = node.standby.watched.after(agent).is_some() && node.host.has_kept(agent);
    if custodian == node.steward.me() || !is_followed {
        return follow(machine, node, agent).await;
    }
    let (begun, me) = (node.world.monotonic(), node.clone());
    let is_still = move || me.standby.watched.is_still_silent(agent, begun, me.world.monotonic());
    let done = Box::pin(node.steward.succeed(agent, (custodian, epoch), machine.conduct().terms, is_still)).await;
    let (id, index, now) = (short(agent), machine.index, node.world.monotonic());
    match done {
        Ok(Succession::Taken(epoch)) => {
            machine.oracle.log(|| format!("n{index} goes on with {id} in epoch {epoch}"));
            machine.counts.add("went on with an agent of a silent node");
            node.standby.watched.leave(agent);
        }
        Ok(Succession::GoneOn(to, _)) if to == node.steward.me() => {
            machine.counts.add("a fence had landed");
            node.standby.watched.leave(agent);
            tend_own(machine, node, agent);
        }
        Ok(Succession::Rests) => {
            machine.counts.add("nothing to go on with");
            follow(machine, node, agent).await;
        }
        Ok(Succession::GoneOn(to, epoch)) => {
            machine.counts.add("somebody was faster, or it was well");
            node.standby.watched.gone_on(agent, to, epoch, now);
        }
        Err(error) => {
            machine.counts.add("going on failed");
            judge_custody(machine, "going on", &error);
            node.standby.watched.failed(agent, false, now);
        }
    }
}

/// Stands by for an agent that there is a journal of here, if that names this node.
pub(super) fn remember(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    if node.store.kind(agent) == StoreKind::Disk || !node.steward.status(agent).is_ok_and(is_anothers) {
        return;
    }
    let book = match book(node, agent) {
        Ok(book) => book,
        Err(error) => return judge(machine, "standing by again", &error),
    };
    if !book.policy().standby.nodes.contains(&node.steward.me()) {
        return;
    }
    let now = node.world.monotonic();
    if node.standby.watched.remember(agent, book.custodian(), book.chain().epoch, now) {
        follow_soon(machine, node, agent);
    }
}

/// Lets an agent live that is this node's and should; stands by for one that is another's.
pub(super) fn tend(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    if !node.standby.tended.lock().unwrap_or_else(PoisonError::into_inner).insert(agent) {
        return;
    }
    let (machine, node) = (machine.clone(), node.clone());
    machine.clone().spawn(async move {
        let tended = Box::pin(try_tend(&machine, &node, agent)).await;
        node.standby.tended.lock().unwrap_or_else(PoisonError::into_inner).remove(&agent);
        if let Err(error) = tended {
            judge_custody(&machine, "tending", &error);
        }
        remember(&machine, &node, agent);
    });
}

async fn try_tend(machine: &Machine, node: &Arc<Node>, agent: AgentId) -> Result<(), CustodyError> {
    // Where the bucket does not answer, it is tried again later.
    let status = within(node, Box::pin(node.steward.wake(agent))).await.transpose()?;
    let is_to_live = status == Some(Status::Custodian) && machine.conduct().stands_by;
    if is_to_live && book(node, agent)?.ledger().ended.is_none() {
        Box::pin(node.steward.happen(agent, Event::Timer)).await?;
    }
    Ok(())
}

/// Finds out what became of an agent whose life failed.
pub(super) fn life_failed(machine: &Arc<Machine>, node: &Arc<Node>, agent: AgentId) {
    machine.counts.add("life overtaken or failed");
    tend(machine, node, agent);
}

/// Puts what is before an agent's checkpoints together, now and then, as long as it lives here.
pub(super) fn collect_while(machine: &Arc<Machine>, agent: AgentId, over: Over) {
    let on = machine.clone();
    machine.spawn(async move {
        let Some(node) = on.node() else { return };
        loop {
            node.world.doze(COLLECT_MIN, COLLECT_MAX).await;
            if over.borrow().is_some() {
                return;
            }
            if let Err(error) = node.store.collect(agent).await {
                judge(&on, "collecting", &error.into());
            }
        }
    });
}

/// What comes of something, if the bucket answers in time.
async fn within<T>(node: &Node, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = node.world.sleep(STORE_WITHIN) => None,
    }
}

/// Whether this machine goes on with an agent by itself, as what is here of its journal says.
pub(super) fn goes_on(machine: &Machine, agent: AgentId) -> bool {
    let conduct = machine.conduct();
    let Some(node) = machine.node().filter(|_| conduct.stands_by && !conduct.refuses) else { return false };
    let Ok(book) = book(&node, agent) else { return false };
    book.chain().next > Seq(0) && Following::of(node.steward.me(), &book).is_some()
}
