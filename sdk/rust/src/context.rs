//! The world as an agent sees it: what it may observe, and what it may ask for.

use std::{fmt, ops::Add, time::Duration};

/// The hostcalls, typed. What each observes is journaled, so a replay sees the same.
pub trait Context {
    /// The time, never earlier than at the call before.
    fn now(&mut self) -> UnixNanos;

    /// Fills `buffer` with random bytes.
    fn random(&mut self, buffer: &mut [u8]);

    /// Writes a line to the agent's log. It is cut after 4 KiB, and more than 64 KiB in one run end that run.
    fn log(&mut self, line: &str);

    /// What the agent can still spend.
    fn balance(&mut self) -> Microcredits;

    /// What a second of running costs on this node.
    fn price_per_second(&mut self) -> Microcredits;

    /// Whether this node is about to stop. Needs the capability `migrate`, as do the two below; an agent that calls
    /// none of them does not import them.
    fn node_draining(&mut self) -> bool;

    /// Where the agent could run: first the node that it is on, with what it pays there; then nodes that would take
    /// it, the cheapest first, with what they say that they ask. At most 16.
    fn nodes(&mut self) -> Vec<Listed>;

    /// Asks to be moved to this node, once this tick is durable; to any that takes it where the name is empty. The
    /// last call of a tick counts. It is a wish: where the node grants it, the agent goes on there with
    /// [`Trigger::Resumed`]; where that node refuses, it is missing in [`Context::nodes`] for a minute. Ask again in
    /// each tick for as long as it is still wanted.
    fn migrate_to(&mut self, node: &str) -> Result<(), MigrateError>;

    /// The receipts that nodes signed for what they charged, oldest first.
    fn receipt_count(&mut self) -> u32;

    /// One receipt; `None` when there is none of this index.
    fn receipt(&mut self, index: u32) -> Option<Vec<u8>>;

    /// Why this tick runs.
    fn trigger(&mut self) -> Trigger;

    /// Takes the next message. In order of arrival, each exactly once.
    fn next_message(&mut self) -> Option<Vec<u8>>;

    /// Answers the message that this tick took last. The answer leaves once the tick is durable.
    fn reply(&mut self, body: &[u8]) -> Result<(), ReplyError>;

    /// After a restart or a move, in the tick whose trigger is [`Trigger::Resumed`]: how long the agent did not
    /// run. Zero in every other tick.
    fn resumed_gap(&mut self) -> Duration;

    /// Asks for a tick with [`Trigger::Wake`] at this time. The last call of a tick counts. Traps outside a tick.
    fn wake_at(&mut self, time: UnixNanos);

    /// Ends the agent as completed once this tick is durable. Traps outside a tick.
    fn finish(&mut self);
}

/// Nanoseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// The time since `earlier`; zero where that is later.
    #[must_use]
    pub fn since(self, earlier: UnixNanos) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for UnixNanos {
    type Output = UnixNanos;

    fn add(self, duration: Duration) -> UnixNanos {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        UnixNanos(self.0.saturating_add(nanos))
    }
}

/// Millionths of a credit, rounded down. The journal's own arithmetic is finer: this is for decisions, not for
/// bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Microcredits(pub i64);

impl fmt::Display for Microcredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", units / 1_000_000, units % 1_000_000)
    }
}

/// Why a tick runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// This is not a tick.
    None,
    /// The agent's interval went by.
    Interval,
    /// There is a message.
    Message,
    /// The time given to [`Context::wake_at`] has come.
    Wake,
    /// The tick before returned [`Next::MoreWork`](crate::Next::MoreWork).
    MoreWork,
    /// The agent was restarted or moved.
    Resumed,
    /// An effect that the agent asked for has a result.
    EffectResult,
    /// A trigger that this version of the SDK does not know.
    Other(i32),
}

impl From<i32> for Trigger {
    fn from(code: i32) -> Self {
        match code {
            0 => Trigger::None,
            1 => Trigger::Interval,
            2 => Trigger::Message,
            3 => Trigger::Wake,
            4 => Trigger::MoreWork,
            5 => Trigger::Resumed,
            6 => Trigger::EffectResult,
            other => Trigger::Other(other),
        }
    }
}

/// A node where the agent could run, and its price.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listed {
    /// The node, as [`Context::migrate_to`] takes it.
    pub node: String,
    /// For a second of execution.
    pub per_second: Microcredits,
    /// For a billion units of fuel.
    pub per_billion_fuel: Microcredits,
}

impl Listed {
    /// Reads a line of `node_list`. What later versions may add behind is left out.
    #[cfg(any(target_arch = "wasm32", test))]
    pub(crate) fn parse(line: &str) -> Option<Listed> {
        let mut words = line.split(' ');
        let node = words.next()?.to_owned();
        let mut price = || words.next()?.parse().ok().map(Microcredits);
        Some(Listed { node, per_second: price()?, per_billion_fuel: price()? })
    }
}

/// Why a wish to be moved was not taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrateError {
    /// Wishes are for ticks.
    OutsideTick,
    /// The text is not the name of a node.
    NotANode,
    /// A code that this version of the SDK does not know.
    Other(i32),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MigrateError::OutsideTick => write!(f, "an agent can ask to be moved only in a tick"),
            MigrateError::NotANode => write!(f, "this is not the name of a node: it begins with did:key:z6Mk"),
            MigrateError::Other(code) => write!(f, "the node refused the wish: code={code}"),
        }
    }
}

impl std::error::Error for MigrateError {}

/// Why a reply was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// This tick has not taken a message.
    NoMessage,
    /// The message already has its reply.
    AlreadyReplied,
    /// The body is over the limit, 64 KiB by default.
    TooLarge,
    /// Replies are for ticks.
    OutsideTick,
    /// A code that this version of the SDK does not know.
    Other(i32),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::NoMessage => write!(f, "this tick has taken no message to reply to"),
            ReplyError::AlreadyReplied => write!(f, "the message already has a reply"),
            ReplyError::TooLarge => write!(f, "the reply is over the size limit"),
            ReplyError::OutsideTick => write!(f, "replies are only possible in a tick"),
            ReplyError::Other(code) => write!(f, "the node refused the reply: code={code}"),
        }
    }
}

impl std::error::Error for ReplyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_saturate() {
        assert_eq!(UnixNanos(5).since(UnixNanos(3)), Duration::from_nanos(2));
        assert_eq!(UnixNanos(3).since(UnixNanos(5)), Duration::ZERO);
        assert_eq!(UnixNanos(i64::MAX) + Duration::from_secs(1), UnixNanos(i64::MAX));
        assert_eq!(UnixNanos(1) + Duration::MAX, UnixNanos(i64::MAX));
    }

    #[test]
    fn money_reads_as_credits() {
        assert_eq!(Microcredits(1_500_000).to_string(), "1.500000");
        assert_eq!(Microcredits(-1).to_string(), "-0.000001");
        assert_eq!(Microcredits(i64::MIN).to_string(), "-9223372036854.775808");
    }

    #[test]
    fn lists_of_nodes_are_read() {
        let listed =
            Listed { node: "did:key:z6Mk".into(), per_second: Microcredits(7), per_billion_fuel: Microcredits(0) };
        for line in ["did:key:z6Mk 7 0", "did:key:z6Mk 7 0 later"] {
            assert_eq!(Listed::parse(line).as_ref(), Some(&listed));
        }
        for line in ["", "did:key:z6Mk", "did:key:z6Mk 7", "did:key:z6Mk 7 x"] {
            assert_eq!(Listed::parse(line), None);
        }
    }

    #[test]
    fn triggers_have_the_numbers_of_the_abi() {
        let known = [
            Trigger::None,
            Trigger::Interval,
            Trigger::Message,
            Trigger::Wake,
            Trigger::MoreWork,
            Trigger::Resumed,
            Trigger::EffectResult,
            Trigger::Other(7),
        ];
        for (code, trigger) in (0..).zip(known) {
            assert_eq!(Trigger::from(code), trigger);
        }
    }
}
