//! A host for tests: the world as plain values, and a node that ticks an agent as the real one would.
//!
//! It keeps the real limits, and gives the same agent the same life each time. What it cannot show is what the
//! sandbox does: fuel, memory, traps. A panic is simply a failed test.

use std::{collections::VecDeque, time::Duration};

use crate::{
    agent::{Agent, Next},
    context::{Context, Listed, Microcredits, MigrateError, ReplyError, Trigger, UnixNanos},
    state::{decode_state, encode_state},
};

/// A message or a reply is no longer than this.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// A log line is cut here.
pub const LOG_LINE_BYTES_MAX: usize = 4 * 1024;
/// A run that logs more fails.
pub const LOG_RUN_BYTES_MAX: usize = 64 * 1024;
/// A run that takes more random bytes and messages fails.
pub const OBSERVED_RUN_BYTES_MAX: usize = 1024 * 1024;

/// The world of an agent under test. Set what it shall see, and look at what it did.
#[derive(Clone, Debug)]
pub struct Host {
    /// What [`Context::now`] says; each look adds a microsecond, since real time never stands still.
    pub now: UnixNanos,
    /// Where the random bytes come from.
    pub seed: u64,
    /// What [`Context::balance`] says.
    pub balance: Microcredits,
    /// What [`Context::price_per_second`] says.
    pub price_per_second: Microcredits,
    /// The node that the agent is on, as [`Context::nodes`] names it.
    pub node: String,
    /// What [`Context::node_draining`] says.
    pub draining: bool,
    /// The other nodes of [`Context::nodes`].
    pub others: Vec<Listed>,
    /// Where the last tick asked to be moved to; empty for anywhere. A test carries it out with [`Node::migrate`].
    pub move_to: Option<String>,
    /// What [`Context::receipt`] reads.
    pub receipts: Vec<Vec<u8>>,
    /// The messages that are not yet taken.
    pub inbox: VecDeque<Vec<u8>>,
    /// Each message that was taken, with its reply.
    pub taken: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Every log line.
    pub logs: Vec<String>,
    /// When the agent wants to be woken.
    pub wake: Option<UnixNanos>,
    /// Whether the agent has ended itself.
    pub finished: bool,
    trigger: Trigger,
    gap: Duration,
    /// Whether this tick has taken a message, so that there is one to reply to.
    has_message: bool,
    log_bytes: usize,
    observed_bytes: usize,
}

impl Default for Host {
    fn default() -> Self {
        Host {
            now: UnixNanos(1_700_000_000_000_000_000),
            seed: 1,
            balance: Microcredits(1_000_000),
            price_per_second: Microcredits(100),
            node: "did:key:here".into(),
            draining: false,
            others: Vec::new(),
            move_to: None,
            receipts: Vec::new(),
            inbox: VecDeque::new(),
            taken: Vec::new(),
            logs: Vec::new(),
            wake: None,
            finished: false,
            trigger: Trigger::None,
            gap: Duration::ZERO,
            has_message: false,
            log_bytes: 0,
            observed_bytes: 0,
        }
    }
}

impl Host {
    /// Puts a message into the inbox.
    ///
    /// # Panics
    /// When it is longer than a node accepts.
    pub fn send(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        assert!(body.len() <= BODY_BYTES_MAX, "the message is over the size limit: bytes={}", body.len());
        self.inbox.push_back(body.to_vec());
    }

    /// The replies so far, as text.
    #[must_use]
    pub fn replies(&self) -> Vec<String> {
        let bodies = self.taken.iter().filter_map(|(_, reply)| reply.as_deref());
        bodies.map(|body| String::from_utf8_lossy(body).into_owned()).collect()
    }

    fn begin(&mut self, trigger: Trigger, gap: Duration) {
        self.trigger = trigger;
        self.gap = gap;
        self.has_message = false;
        self.log_bytes = 0;
        self.observed_bytes = 0;
    }

    fn observe(&mut self, bytes: usize) {
        self.observed_bytes += bytes;
        assert!(self.observed_bytes <= OBSERVED_RUN_BYTES_MAX, "observation limit: more than 1 MiB in one run");
    }

    fn in_tick(&self) -> bool {
        self.trigger != Trigger::None
    }
}

impl Context for Host {
    fn now(&mut self) -> UnixNanos {
        self.now = self.now + Duration::from_micros(1);
        self.now
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.observe(buffer.len());
        for byte in buffer {
            *byte = splitmix(&mut self.seed).to_le_bytes()[0];
        }
    }

    fn log(&mut self, line: &str) {
        let mut end = line.len().min(LOG_LINE_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        self.log_bytes += end;
        assert!(self.log_bytes <= LOG_RUN_BYTES_MAX, "log limit: more than 64 KiB in one run");
        self.logs.push(line[..end].to_owned());
    }

    fn balance(&mut self) -> Microcredits {
        self.balance
    }

    fn price_per_second(&mut self) -> Microcredits {
        self.price_per_second
    }

    fn node_draining(&mut self) -> bool {
        self.draining
    }

    fn nodes(&mut self) -> Vec<Listed> {
        let here =
            Listed { node: self.node.clone(), per_second: self.price_per_second, per_billion_fuel: Microcredits(0) };
        std::iter::once(here).chain(self.others.iter().cloned()).take(16).collect()
    }

    fn migrate_to(&mut self, node: &str) -> Result<(), MigrateError> {
        if !self.in_tick() {
            return Err(MigrateError::OutsideTick);
        }
        if !node.is_empty() && !node.starts_with("did:key:") {
            return Err(MigrateError::NotANode);
        }
        self.move_to = Some(node.to_owned());
        Ok(())
    }

    fn receipt_count(&mut self) -> u32 {
        u32::try_from(self.receipts.len()).unwrap_or(u32::MAX)
    }

    fn receipt(&mut self, index: u32) -> Option<Vec<u8>> {
        self.receipts.get(index as usize).cloned()
    }

    fn trigger(&mut self) -> Trigger {
        self.trigger
    }

    fn next_message(&mut self) -> Option<Vec<u8>> {
        assert!(self.in_tick(), "messages are for ticks");
        let body = self.inbox.pop_front()?;
        self.observe(body.len());
        self.taken.push((body.clone(), None));
        self.has_message = true;
        Some(body)
    }

    fn reply(&mut self, body: &[u8]) -> Result<(), ReplyError> {
        if !self.in_tick() {
            return Err(ReplyError::OutsideTick);
        }
        match self.taken.last_mut() {
            Some((_, reply)) if self.has_message => {
                if reply.is_some() {
                    Err(ReplyError::AlreadyReplied)
                } else if body.len() > BODY_BYTES_MAX {
                    Err(ReplyError::TooLarge)
                } else {
                    *reply = Some(body.to_vec());
                    Ok(())
                }
            }
            _ => Err(ReplyError::NoMessage),
        }
    }

    fn resumed_gap(&mut self) -> Duration {
        self.gap
    }

    fn wake_at(&mut self, time: UnixNanos) {
        assert!(self.in_tick(), "wake_at is for ticks");
        self.wake = Some(time);
    }

    fn finish(&mut self) {
        assert!(self.in_tick(), "finish is for ticks");
        self.finished = true;
    }
}

/// An agent on its host: ticks it for the reasons that a node would, and restarts it as a crash would.
#[derive(Debug)]
pub struct Node<A> {
    /// The agent.
    pub agent: A,
    /// Its world.
    pub host: Host,
    /// The time between ticks for which there is no other reason.
    pub interval: Duration,
    last: Next,
    gap: Option<Duration>,
}

impl<A: Agent> Node<A> {
    /// Starts a new agent on an ordinary host.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(Host::default())
    }

    /// Starts a new agent on this host.
    #[must_use]
    pub fn start_on(mut host: Host) -> Self {
        host.begin(Trigger::None, Duration::ZERO);
        Node { agent: A::init(&mut host), host, interval: Duration::from_secs(1), last: Next::Wait, gap: None }
    }

    /// Ticks once, for the reason that comes first: resumed, more work, a message, a wake that is due, the interval.
    ///
    /// # Panics
    /// When the agent panics, or has ended itself.
    pub fn tick(&mut self) -> Next {
        assert!(!self.host.finished, "the agent has ended itself");
        let mut gap = Duration::ZERO;
        let trigger = if let Some(passed) = self.gap.take() {
            gap = passed;
            Trigger::Resumed
        } else if self.last == Next::MoreWork {
            Trigger::MoreWork
        } else if !self.host.inbox.is_empty() {
            Trigger::Message
        } else if self.host.wake.is_some_and(|due| due <= self.host.now + self.interval) {
            let due = self.host.wake.take();
            self.host.now = self.host.now.max(due.unwrap_or(self.host.now));
            Trigger::Wake
        } else {
            self.host.now = self.host.now + self.interval;
            Trigger::Interval
        };
        self.host.begin(trigger, gap);
        self.host.move_to = None;
        self.last = self.agent.tick(&mut self.host);
        self.host.begin(Trigger::None, Duration::ZERO);
        self.last
    }

    /// Ticks until there is no message and no more work.
    ///
    /// # Panics
    /// When that takes more than 100,000 ticks.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.host.inbox.is_empty() && self.last == Next::Wait {
                return;
            }
            self.tick();
        }
        panic!("the agent has more work for ever");
    }

    /// Moves the agent where its last tick asked to go: it goes on there from the bytes of its state, and the node that
    /// it left is one of the others.
    ///
    /// # Panics
    /// When it did not ask, or asked for a node that is not among the others, or its state does not come back.
    pub fn migrate(&mut self) {
        let Some(to) = self.host.move_to.take() else { panic!("the agent did not ask to be moved") };
        let host = &mut self.host;
        let Some(index) = host.others.iter().position(|other| to.is_empty() || other.node == to) else {
            panic!("there is no node {to}")
        };
        let new = host.others.remove(index);
        let old = Listed {
            node: std::mem::replace(&mut host.node, new.node),
            per_second: std::mem::replace(&mut host.price_per_second, new.per_second),
            per_billion_fuel: Microcredits(0),
        };
        if !std::mem::take(&mut host.draining) {
            host.others.push(old);
        }
        self.restart();
    }

    /// Stops the agent and starts it again a minute later from the bytes of its state, as after a crash between two
    /// ticks.
    ///
    /// # Panics
    /// When the state does not come back.
    pub fn restart(&mut self) {
        let state = encode_state(&self.agent);
        let gap = Duration::from_mins(1);
        self.host.now = self.host.now + gap;
        // As on a node: every instance is initialised, and then restored.
        drop(A::init(&mut self.host));
        self.agent = match decode_state(&state) {
            Ok(agent) => agent,
            Err(error) => panic!("the agent cannot resume: {error}"),
        };
        assert!(encode_state(&self.agent) == state, "the restored state is another one");
        self.gap = Some(gap);
    }
}

/// A step of `SplitMix64`.
fn splitmix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
