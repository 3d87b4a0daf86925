//! The fold over a journal: what an agent owns, owes and waits for after its last entry.
//!
//! Invariants kept here:
//! - `funded = balance + spent`, exactly, after every entry, and the balance is never below zero.
//! - A run costs `min(bill, balance)`; a tick that counts could pay its whole bill.
//! - A message is taken in order, by one run that counts, or closed as failed after
//!   [`limits::MESSAGE_ATTEMPTS_MAX`](crate::limits::MESSAGE_ATTEMPTS_MAX) attempts.
//! - An order counts once: counters rise strictly, and a fund order states the total.
//! - Time never goes back, and a run lasts no longer than the time since the run before it.
//! - Seals and receipts are the custodian's, bills by its terms, and after a handoff nothing is before its answer.
//! - The ledger in a checkpoint is this fold at that place, so a reader may begin there.
//!
//! The custodian that appends ([`Book::push`]) and anyone who checks ([`Book::apply`]) use the same rules.

mod book;
mod fault;
mod remembered;
mod rules;

pub use book::{Book, Draft, Placed};
pub use fault::Fault;
pub use remembered::{Known, Remembered};

use crate::{
    Hash,
    custody::Standing,
    entry::{Destination, EndCause, Order, Policy, Receipt},
    limits::FAILURES_MAX,
    units::{Credits, Seq, Tick, Timestamp},
};
use minicbor::{Decode, Encode};

/// The state of an agent's affairs after some entry. Held by every Checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ledger {
    /// What it can still spend.
    #[n(0)]
    pub balance: Credits,
    /// All that it was ever given.
    #[n(1)]
    pub funded: Credits,
    /// All that its runs cost.
    #[n(2)]
    pub spent: Credits,
    /// The counter of the last order.
    #[n(3)]
    pub order_counter: u64,
    /// The last fund order: the proof of `funded` beyond the initial budget.
    #[n(4)]
    pub fund_order: Option<Order>,
    /// The number of the last tick that was attempted.
    #[n(5)]
    pub tick: Tick,
    /// Failed ticks in a row, up to the last one.
    #[n(6)]
    pub failures: u32,
    /// When the last run ended.
    #[n(7)]
    pub run_ended: Timestamp,
    /// When the last tick started.
    #[n(8)]
    pub tick_started: Timestamp,
    /// When the agent asked to be woken.
    #[n(9)]
    pub wake_at: Option<Timestamp>,
    /// The last tick said that there is more to do.
    #[n(10)]
    pub more_work: bool,
    /// The agent said that it is done.
    #[n(11)]
    pub finished: bool,
    /// Its owner ordered its end.
    #[n(12)]
    pub recalled: bool,
    /// It ended, and why.
    #[n(13)]
    pub ended: Option<EndCause>,
    /// Messages that no run has closed, in order.
    #[n(14)]
    pub open: Vec<OpenMessage>,
    /// The last receipts, oldest first.
    #[n(15)]
    pub receipts: Vec<Receipt>,
    /// What was spent up to the last receipt.
    #[n(16)]
    pub receipted: Credits,
    /// The last checkpoint.
    #[n(17)]
    pub checkpoint: Option<CheckpointRef>,
    /// The runtime of the last init or resume; none before the agent was initialised.
    #[n(18)]
    pub runtime: Option<String>,
    /// The position after the last entry that is neither a message nor a seal: no run may have started before it.
    #[n(19)]
    pub settled: Seq,
    /// The time of the last entry.
    #[n(20)]
    pub at: Timestamp,
    /// The last tick after which a checkpoint was tried.
    #[n(21)]
    pub checkpoint_tried: Option<Tick>,
    /// Who has custody; none as long as it is as Genesis says.
    #[n(22)]
    pub custody: Option<Box<Standing>>,
    /// Where its last tick asked to be moved to.
    #[n(23)]
    pub move_to: Option<Destination>,
    /// What the owner allows of custody; none as long as it is as Genesis says.
    #[n(24)]
    pub policy: Option<Box<Policy>>,
}

/// Where the last checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CheckpointRef {
    /// The position of its entry.
    #[n(0)]
    pub seq: Seq,
    /// The last tick that it includes.
    #[n(1)]
    pub tick: Tick,
    /// The blob hash of its state.
    #[n(2)]
    pub root: Hash,
    /// The length of its state in bytes.
    #[n(3)]
    pub bytes: u64,
}

/// A message that waits for a run to close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenMessage {
    /// The position of its entry.
    #[n(0)]
    pub seq: Seq,
    /// The length of its body.
    #[n(1)]
    pub bytes: u64,
    /// Failed runs that took it.
    #[n(2)]
    pub attempts: u32,
}

impl Ledger {
    /// Whether so many ticks failed in a row that the agent does not go on by itself.
    pub const fn is_suspended(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Whether nothing is left to pay a run with.
    pub fn is_exhausted(&self) -> bool {
        self.balance == Credits::ZERO
    }

    /// Whether a run or a message may follow.
    pub const fn is_live(&self) -> bool {
        self.ended.is_none()
    }
}
