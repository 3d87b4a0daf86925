//! One call into the guest: all that it saw, asked for and cost.

use super::message::Content;
use crate::{
    NodeId, Terms,
    units::{Credits, Fuel, Nanos, Seq, Tick, Timestamp},
};
use minicbor::{Decode, Encode};

/// One call into the guest. All or nothing: a run that failed has changed nothing but the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    /// What was called, and for a tick why.
    #[n(0)]
    pub call: Call,
    /// The number of the tick; for other calls of the last tick before them.
    #[n(1)]
    pub tick: Tick,
    /// The next sequence number when it started: it sees the messages below.
    #[n(2)]
    pub started_seq: Seq,
    /// What it saw of the world, in order.
    #[n(3)]
    pub observations: Vec<Observation>,
    /// What it asked for. Empty unless the outcome is [`Outcome::Ok`].
    #[n(4)]
    pub requests: Vec<Request>,
    /// What it logged, kept also when it failed.
    #[n(5)]
    pub logs: Vec<Log>,
    /// How it ended.
    #[n(6)]
    pub outcome: Outcome,
    /// Work done.
    #[n(7)]
    pub fuel: Fuel,
    /// Time in guest code and synchronous hostcalls.
    #[n(8)]
    pub duration: Nanos,
    /// Time spent waiting, which is not billed.
    #[n(9)]
    pub waited: Nanos,
    /// What it cost, already within the ceiling and the balance.
    #[n(10)]
    pub cost: Credits,
    /// The runtime, with init and resume only.
    #[n(11)]
    pub runtime: Option<String>,
}

/// Which function of the guest was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Call {
    /// `agent_init` on the agent's very first instance.
    #[n(0)]
    Init,
    /// `agent_tick`.
    #[n(1)]
    Tick(#[n(0)] Trigger),
    /// `agent_checkpoint`.
    #[n(2)]
    Checkpoint,
    /// A new instance, `agent_init`, then `agent_resume` with the state of the checkpoint.
    #[n(3)]
    Resume,
}

/// Why a tick runs. The numbers are those that `trigger()` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Trigger {
    /// The tick interval passed.
    #[n(1)]
    Interval,
    /// A message is open.
    #[n(2)]
    Message,
    /// The agent asked to be woken at a time that has come.
    #[n(3)]
    Wake,
    /// The last tick said that there is more to do.
    #[n(4)]
    MoreWork,
    /// The agent was not running for this long, and goes on.
    #[n(5)]
    Resumed {
        /// Time since the last committed run.
        #[n(0)]
        gap: Nanos,
    },
}

impl Trigger {
    /// What `trigger()` returns.
    pub const fn code(self) -> i32 {
        match self {
            Self::Interval => 1,
            Self::Message => 2,
            Self::Wake => 3,
            Self::MoreWork => 4,
            Self::Resumed { .. } => 5,
        }
    }

    /// The name used in timelines and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Message => "message",
            Self::Wake => "wake",
            Self::MoreWork => "more work",
            Self::Resumed { .. } => "resumed",
        }
    }
}

impl Call {
    /// The name used in timelines and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Tick(_) => "tick",
            Self::Checkpoint => "checkpoint",
            Self::Resume => "resume",
        }
    }

    /// Whether this is a tick.
    pub const fn is_tick(self) -> bool {
        matches!(self, Self::Tick(_))
    }
}

/// One thing that a run saw of the world. In replay it is read back, never asked again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Observation {
    /// The clock was read.
    #[n(0)]
    Clock(#[n(0)] Timestamp),
    /// Random bytes were drawn.
    #[n(1)]
    Random(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// The balance was asked for: microcredits.
    #[n(2)]
    Balance(#[n(0)] i64),
    /// The node's price was asked for: microcredits a second.
    #[n(3)]
    Price(#[n(0)] i64),
    /// The number of receipts was asked for.
    #[n(4)]
    ReceiptCount(#[n(0)] u32),
    /// A receipt was asked for; none has that index.
    #[n(5)]
    Receipt(#[n(0)] Option<minicbor::bytes::ByteVec>),
    /// A message was taken.
    #[n(6)]
    Message(#[n(0)] Seq),
    /// No message was there.
    #[n(7)]
    NoMessage,
    /// The next message does not fit the buffer; it was not taken.
    #[n(8)]
    MessageTooLong {
        /// Its length in bytes.
        #[n(0)]
        bytes: u32,
    },
    /// The run waited on clocks.
    #[n(9)]
    Waited,
    /// The next message is more than the run may still observe; it was not taken, and the next tick may have it.
    #[n(10)]
    NoRoom,
    /// Whether the node is about to stop was asked for.
    #[n(11)]
    Draining(#[n(0)] bool),
    /// The nodes were asked for: the one that it is on, then those that would take it.
    #[n(12)]
    Nodes(#[n(0)] Vec<Listed>),
}

/// A node where the agent could run, and what that would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Listed {
    /// Which node.
    #[n(0)]
    pub node: NodeId,
    /// For the node that it is on, what it pays; for others what they say that they ask.
    #[n(1)]
    pub terms: Terms,
}

impl Listed {
    /// What one of them counts against `limits.observed_bytes`.
    pub const WEIGHT: u64 = 64;

    /// As guests read a list: a line for each, with its key, its price in microcredits a second, and its price in
    /// microcredits for a billion units of fuel.
    pub fn text(list: &[Self]) -> String {
        let line = |Self { node, terms }: &Self| {
            let (second, fuel) = (terms.per_second().to_guest_micro(), terms.per_billion_fuel().to_guest_micro());
            format!("{node} {second} {fuel}\n")
        };
        list.iter().map(line).collect()
    }
}

impl Observation {
    /// What every observation counts against `limits.observed_bytes`, whatever it holds.
    pub const WEIGHT: u64 = 16;

    /// What it counts against `limits.observed_bytes`: its own bytes, a message's body, and [`Observation::WEIGHT`].
    pub fn weight(&self, message_bytes: u64) -> u64 {
        Self::WEIGHT
            + match self {
                Self::Random(bytes) => bytes.len() as u64,
                Self::Receipt(Some(bytes)) => bytes.len() as u64,
                Self::Message(_) => message_bytes,
                Self::Nodes(list) => Listed::WEIGHT * list.len() as u64,
                _ => 0,
            }
    }
}

/// One thing that a run asked for, released only after its commit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// An answer to a message that this run took.
    #[n(0)]
    Reply {
        /// The message's position.
        #[n(0)]
        message: Seq,
        /// What to answer.
        #[n(1)]
        body: Content,
    },
    /// A tick at this time. The last one of a run counts.
    #[n(1)]
    WakeAt(#[n(0)] Timestamp),
    /// End the agent as completed.
    #[n(2)]
    Finish,
    /// To be moved. A wish, which the node carries out if it can; the last one of a run counts.
    #[n(3)]
    MigrateTo(#[n(0)] Destination),
}

/// Where an agent wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Destination {
    /// To whichever node takes it, the cheapest first.
    #[n(0)]
    Anywhere,
    /// To this node.
    #[n(1)]
    Node(#[n(0)] NodeId),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anywhere => f.write_str("any node that takes it"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// A log line: UTF-8, without its line end.
pub type Log = String;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It returned.
    #[n(0)]
    Ok {
        /// A tick that wants another at once.
        #[n(0)]
        more_work: bool,
    },
    /// It failed and was undone.
    #[n(1)]
    Failed {
        /// The kind of failure.
        #[n(0)]
        failure: Failure,
        /// In words, at most [`crate::limits::CAUSE_BYTES_MAX`] bytes. Not part of what replay compares.
        #[n(1)]
        cause: String,
    },
}

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Failure {
    /// The guest trapped.
    #[n(0)]
    Trap,
    /// Its fuel ended.
    #[n(1)]
    OutOfFuel,
    /// Its time ended: the host's assertion.
    #[n(2)]
    Timeout,
    /// It asked for more memory or tables than its limit.
    #[n(3)]
    OutOfMemory,
    /// What the balance can pay ended: the host's assertion, and the agent ends.
    #[n(4)]
    OutOfMoney,
    /// It went over a limit on logs, observations or requests.
    #[n(5)]
    OverLimit,
    /// Its stack ended: the host's assertion.
    #[n(6)]
    StackOverflow,
}

impl Failure {
    /// The name used in events, timelines and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfFuel => "out_of_fuel",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::OutOfMoney => "out_of_money",
            Self::OverLimit => "over_limit",
            Self::StackOverflow => "stack_overflow",
        }
    }

    /// Whether a re-execution must fail in the same way. The others are assertions of the host.
    pub const fn is_deterministic(self) -> bool {
        match self {
            Self::Trap | Self::OutOfFuel | Self::OutOfMemory | Self::OverLimit => true,
            Self::Timeout | Self::OutOfMoney | Self::StackOverflow => false,
        }
    }
}

impl Outcome {
    /// Whether the run counts.
    pub const fn is_ok(&self) -> bool {
        matches!(self, Self::Ok { .. })
    }

    /// The name used in events, timelines and documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok { .. } => "ok",
            Self::Failed { failure, .. } => failure.name(),
        }
    }

    /// A failure with its cause, cut to the longest length that is kept.
    pub fn failed(failure: Failure, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        let mut end = cause.len().min(crate::limits::CAUSE_BYTES_MAX);
        while !cause.is_char_boundary(end) {
            end -= 1;
        }
        cause.truncate(end);
        Self::Failed { failure, cause }
    }
}

impl Run {
    /// Calls from the guest to the host that add to the ceiling of the bill: observations and log lines.
    pub fn hostcalls(&self) -> u64 {
        (self.observations.len() + self.logs.len()) as u64
    }

    /// The messages that it took, in order.
    pub fn taken(&self) -> impl Iterator<Item = Seq> + '_ {
        self.observations.iter().filter_map(|seen| match seen {
            Observation::Message(seq) => Some(*seq),
            _ => None,
        })
    }
}
