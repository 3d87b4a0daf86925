//! The seam between an agent's life and the thing that runs its code.
//!
//! Invariants of every implementation:
//! - A guest reaches the world only through its [`Membrane`]; what it learns there is journaled, what it asks for is held.
//! - With the same input and the same answers from the membrane, outcome, fuel, held requests and state are the same.
//! - A guest that failed, or whose future was dropped, is not used again.

use igor_protocol::{
    Fuel, Nanos,
    entry::{Destination, Failure, Trigger},
};
use std::{future::Future, pin::Pin, sync::Arc};

/// A program that was checked and compiled: makes instances.
pub trait Program: Send + Sync + 'static {
    /// An instance.
    type Guest: Guest;

    /// A new guest that has run nothing yet. Its first run is [`Input::Init`] or [`Input::Resume`].
    fn instantiate(&self) -> Self::Guest;

    /// Whether it can give and take its own state (`agent_checkpoint`, `agent_checkpoint_ptr`, `agent_resume`).
    fn can_checkpoint(&self) -> bool;

    /// The runtime that runs it: engine version, configuration and ABI version. Same id, same results.
    fn runtime(&self) -> &str;
}

/// One instance of a program.
pub trait Guest: Send + 'static {
    /// Calls into the guest. Yields now and then in long calls, so that the caller can stop them by dropping the future.
    fn run(&mut self, input: Input, fuel: Fuel, membrane: Arc<dyn Membrane>) -> impl Future<Output = Report> + Send;

    /// Fuel used by the run that is under way or was stopped by dropping its future.
    fn fuel_used(&self) -> Fuel;
}

/// What to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Instantiate and initialise: the start section, `_initialize`, `agent_init`.
    Init,
    /// `agent_tick`.
    Tick(Trigger),
    /// `agent_checkpoint` and `agent_checkpoint_ptr`.
    Checkpoint,
    /// As `Init`, then `agent_alloc`, copy, `agent_resume`.
    Resume(Vec<u8>),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// The fuel that it used, at most what it was given.
    pub fuel: Fuel,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned; a tick says whether there is more work.
    Returned {
        /// `agent_tick` gave something else than zero.
        more_work: bool,
    },
    /// A checkpoint returned this state.
    State(Vec<u8>),
    /// It failed. The cause is in words, for people.
    Failed(Failure, String),
    /// The membrane stopped it; the membrane knows why.
    Stopped(Stop),
    /// The host could not carry it, for instance because memory that the limits allow was not to be had. This says
    /// nothing about the guest: the run is undone without a record of its outcome and may be tried again.
    HostFailed(String),
}

/// A question to the world, whose answer is journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The time.
    Clock,
    /// So many random bytes.
    Random(u32),
    /// The balance, in microcredits.
    Balance,
    /// The price of this node, in microcredits a second.
    Price,
    /// How many receipts there are.
    ReceiptCount,
    /// The receipt with this index.
    Receipt(u32),
    /// The next message, if it is at most so long.
    Message {
        /// Room in the guest's buffer, in bytes.
        room: u32,
    },
    /// Whether the node is about to stop.
    Draining,
    /// The nodes where it could run.
    Nodes,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number: time in nanoseconds, microcredits, a count, 1 for yes.
    Number(i64),
    /// Bytes: random ones, a receipt, a message, a list of nodes as text.
    Bytes(Vec<u8>),
    /// There is none.
    None,
    /// There is one, but it needs this much room; it was not taken.
    TooLong(u32),
}

/// Something that a guest asks for, held until its run is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A log line.
    Log(String),
    /// An answer to the message that was taken last.
    Reply(Vec<u8>),
    /// A tick at this time, in nanoseconds since the Unix epoch.
    WakeAt(i64),
    /// The agent is done.
    Finish,
    /// To be moved.
    MigrateTo(Destination),
}

/// What became of something held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is held.
    Held,
    /// There is no message to reply to.
    NoMessage,
    /// That message has its reply.
    AlreadyReplied,
    /// Longer than a reply may be.
    TooLong,
}

/// Why the membrane stops a run. The guest unwinds at once and is not used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The run went over a limit on what it may observe, log or request: it fails as over its limit.
    OverLimit(&'static str),
    /// The run waited until its time ended.
    Timeout,
    /// Replay asks for something else than the journal has.
    Diverged {
        /// What the journal has next.
        journaled: String,
        /// What the guest did.
        replayed: String,
    },
}

/// What a membrane answers in a future that may wait.
pub type Waiting<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;

/// The one place between a guest and the world: live it journals, in replay it reads the journal.
pub trait Membrane: Send + Sync {
    /// Answers a question about the world.
    fn observe(&self, ask: Ask) -> Result<Answer, Stop>;

    /// Waits on a clock within the time that the run has; returns at once in replay.
    fn wait(&self, duration: Nanos) -> Waiting<'_>;

    /// Holds something until the run is committed.
    fn hold(&self, held: Held) -> Result<Hold, Stop>;

    /// The time between the last committed run and this one's resume; zero when the trigger is another.
    fn resumed_gap(&self) -> Nanos;
}
