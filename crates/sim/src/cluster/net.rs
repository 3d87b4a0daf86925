//! The network between the machines: what is lost, doubled, late, out of order, slow or cut off.
//!
//! Invariants kept here:
//! - A partition blocks a direction: messages that are sent over it are lost, streams stand still.
//! - Tidings keep no order; a stream keeps its own.

use super::{
    counts::Counts,
    dice::Dice,
    kernel::Kernel,
    link::{self, SimLink, Wire},
};
use igor_protocol::{AgentId, Nanos, NodeId, custody::Tidings};
use igor_spine::{custody::Peers, moving::Cut, standby::Pulse};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc;

/// The shortest way between two machines.
const NEAR: Nanos = Nanos(200_000);
/// The longest, where nothing is wrong.
const FAR: Nanos = Nanos(8_000_000);
/// How long a connection is tried, and how long a silent one is kept.
pub(super) const PATIENCE: Nanos = Nanos::from_secs(10);
/// How much later than the way takes a message may come, where they are reordered.
const ASTRAY: Nanos = Nanos(400_000_000);

/// What comes in at a machine.
pub enum Incoming {
    /// A stream that another machine opened.
    Stream(NodeId, SimLink),
    /// Records of custody.
    Told(Tidings),
    /// A question.
    Asked(NodeId, AgentId),
    /// Another machine is there again.
    Connected(NodeId),
    /// Agents are well at another machine.
    Pulse(NodeId, Vec<Pulse>),
    /// Another machine would go on with agents that are here.
    Follows(Vec<AgentId>),
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Net {
    pub(super) kernel: Kernel,
    counts: Counts,
    state: Arc<Mutex<State>>,
}

struct State {
    dice: Dice,
    nodes: Vec<NodeId>,
    /// Where what comes in goes; none while the machine is down.
    ports: Vec<Option<mpsc::UnboundedSender<Incoming>>>,
    /// How many partitions block a direction, by `from * nodes + to`.
    blocked: Vec<u32>,
    slow: Vec<u64>,
    /// In a thousand.
    lost: u64,
    doubled: u64,
    astray: u64,
    wires: Vec<Weak<Mutex<Wire>>>,
    /// Nothing is wrong between any two machines before this moment.
    calm_until: Nanos,
    /// Numbers of the tidings on the way, to see which overtake others: sent and latest delivered, by direction.
    sent: u64,
    latest: Vec<u64>,
}

impl Net {
    /// A network in which nothing is wrong.
    pub fn new(kernel: Kernel, counts: Counts, dice: Dice, nodes: Vec<NodeId>) -> Self {
        let count = nodes.len();
        let state = State {
            dice,
            nodes,
            ports: (0..count).map(|_| None).collect(),
            blocked: vec![0; count * count],
            slow: vec![1; count],
            lost: 0,
            doubled: 0,
            astray: 0,
            wires: Vec::new(),
            calm_until: Nanos::ZERO,
            sent: 0,
            latest: vec![0; count * count],
        };
        Self { kernel, counts, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine listens from now on.
    pub fn listen(&self, node: usize) -> mpsc::UnboundedReceiver<Incoming> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().ports[node] = Some(sender);
        receiver
    }

    /// A machine that has begun to listen connects with all others.
    pub fn greet(&self, node: usize) {
        let nodes = self.lock().nodes.clone();
        for other in nodes.iter().filter(|other| **other != nodes[node]) {
            self.post(node, *other, || Incoming::Connected(nodes[node]));
        }
    }

    /// A machine says to another that agents are well there.
    pub fn pulse(&self, from: usize, to: NodeId, pulses: &[Pulse]) {
        let me = self.lock().nodes[from];
        self.post(from, to, || Incoming::Pulse(me, pulses.to_vec()));
    }

    /// Answers a pulse: this machine would go on with these.
    pub fn follows(&self, from: usize, to: NodeId, agents: &[AgentId]) {
        self.post(from, to, || Incoming::Follows(agents.to_vec()));
    }

    /// A machine is gone. With `silent` nobody is told: its streams just stand still.
    pub fn leave(&self, node: usize, silent: bool) {
        let wires = {
            let mut state = self.lock();
            state.ports[node] = None;
            state.live_wires()
        };
        for wire in wires.iter().filter(|wire| link::is_of(wire, node)) {
            link::gone(wire, node, silent);
        }
    }

    /// Blocks a direction, until it is unblocked as often.
    pub fn block(&self, from: usize, to: usize) {
        let mut state = self.lock();
        let at = from * state.nodes.len() + to;
        state.blocked[at] += 1;
    }

    /// See [`Net::block`].
    pub fn unblock(&self, from: usize, to: usize) {
        let mut state = self.lock();
        let at = from * state.nodes.len() + to;
        state.blocked[at] = state.blocked[at].saturating_sub(1);
    }

    /// Whether nothing goes this way now.
    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        let now = self.kernel.now();
        let state = self.lock();
        now >= state.calm_until && state.blocked[from * state.nodes.len() + to] > 0
    }

    /// Every way to and from a machine takes so many times as long.
    pub fn slow(&self, node: usize, times: u64) {
        self.lock().slow[node] = times.max(1);
    }

    /// Of a thousand tidings so many are lost, come twice, come out of order.
    pub fn spoil(&self, lost: u64, doubled: u64, astray: u64) {
        let mut state = self.lock();
        (state.lost, state.doubled, state.astray) = (lost, doubled, astray);
    }

    /// Nothing is wrong for this time.
    pub fn calm(&self, time: Nanos) {
        let until = self.kernel.now().saturating_add(time);
        self.lock().calm_until = until;
    }

    /// Cuts the streams that are open at a machine, in the middle, after so many more frames. Says how many.
    pub fn cut(&self, node: usize, frames: u32) -> usize {
        let wires = self.lock().live_wires();
        wires.iter().filter(|wire| link::is_of(wire, node) && link::cut(wire, frames)).count()
    }

    /// How long something takes that is sent now.
    pub(super) fn way(&self, from: usize, to: usize, bytes: usize) -> Nanos {
        let mut state = self.lock();
        let near = state.dice.within(NEAR.0, FAR.0);
        let times = state.slow[from].max(state.slow[to]);
        Nanos((near + 10 * bytes as u64).saturating_mul(times))
    }

    /// Sends one of the tidings on its way, or loses it.
    fn post(&self, from: usize, to: NodeId, make: impl Fn() -> Incoming) {
        let Some(to) = self.index(to) else { return };
        let copies = {
            let now = self.kernel.now();
            let mut state = self.lock();
            let calm = now < state.calm_until;
            let blocked = !calm && state.blocked[from * state.nodes.len() + to] > 0;
            let (lost, doubled) = (state.lost, state.doubled);
            if blocked || (!calm && state.dice.permille(lost)) {
                drop(state);
                self.counts.add(if blocked { "message over a partition" } else { "message lost" });
                return;
            }
            1 + usize::from(!calm && state.dice.permille(doubled))
        };
        self.counts.add_many("message doubled", copies as u64 - 1);
        for _ in 0..copies {
            let mut way = self.way(from, to, 500);
            let number = {
                let mut state = self.lock();
                let astray = state.astray;
                if state.dice.permille(astray) {
                    way = way.saturating_add(Nanos(state.dice.below(ASTRAY.0)));
                }
                state.sent += 1;
                state.sent
            };
            let (net, incoming) = (self.clone(), make());
            let moment = self.kernel.now().saturating_add(way);
            self.kernel.spawn(None, async move {
                net.kernel.sleep_until(moment).await;
                net.arrive(from, to, number, incoming);
            });
        }
    }

    fn arrive(&self, from: usize, to: usize, number: u64, incoming: Incoming) {
        let mut state = self.lock();
        let at = from * state.nodes.len() + to;
        let overtaken = state.latest[at] > number;
        state.latest[at] = state.latest[at].max(number);
        if let Some(port) = &state.ports[to] {
            drop(port.send(incoming));
        }
        drop(state);
        self.counts.add_many("message reordered", u64::from(overtaken));
    }

    /// Which machine has this key.
    pub fn index(&self, node: NodeId) -> Option<usize> {
        self.lock().nodes.iter().position(|known| *known == node)
    }

    async fn connect(&self, from: usize, to: NodeId) -> Result<SimLink, Cut> {
        let lost = |why: &str| Cut::Lost(why.to_owned());
        let to = self.index(to).ok_or_else(|| lost("nobody has this key"))?;
        let there = self.way(from, to, 100);
        self.kernel.sleep(there).await;
        if self.is_blocked(from, to) || self.is_blocked(to, from) {
            self.kernel.sleep(PATIENCE).await;
            return Err(lost("no answer to the connection"));
        }
        let back = self.way(to, from, 100);
        self.kernel.sleep(back).await;
        let (here, far) = link::pair(self, from, to);
        let mut state = self.lock();
        let name = state.nodes[from];
        let port = state.ports[to].as_ref().ok_or_else(|| lost("the connection was refused"))?;
        port.send(Incoming::Stream(name, far)).map_err(|_| lost("the connection was refused"))?;
        state.wires.retain(|wire| wire.strong_count() > 0);
        state.wires.push(here.wire());
        Ok(here)
    }
}

impl State {
    fn live_wires(&self) -> Vec<Arc<Mutex<Wire>>> {
        self.wires.iter().filter_map(Weak::upgrade).collect()
    }
}

/// The network as one machine sees it.
pub struct SimPeers {
    net: Net,
    me: usize,
}

impl SimPeers {
    /// The network at a machine.
    pub const fn new(net: Net, me: usize) -> Self {
        Self { net, me }
    }
}

impl Peers for SimPeers {
    type Link = SimLink;

    async fn open(&self, to: NodeId, _: impl FnOnce() + Send) -> Result<SimLink, Cut> {
        self.net.connect(self.me, to).await
    }

    fn tell(&self, to: NodeId, tidings: Tidings) {
        self.net.post(self.me, to, || Incoming::Told(tidings.clone()));
    }

    fn ask(&self, to: NodeId, agent: AgentId) {
        let me = self.net.lock().nodes[self.me];
        self.net.post(self.me, to, || Incoming::Asked(me, agent));
    }

    fn all(&self) -> Vec<NodeId> {
        let state = self.net.lock();
        let others = state.nodes.iter().enumerate().filter(|(node, _)| *node != self.me);
        others.map(|(_, key)| *key).collect()
    }
}
