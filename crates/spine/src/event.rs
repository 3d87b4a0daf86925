//! What the world may learn of an agent, each event only after the commit that it is part of.

use crate::journal::Committed;
use igor_protocol::{
    Chain, Credits, Epoch, Fuel, Hash, Nanos, NodeId, Seq, Terms, Tick, Timestamp,
    entry::{Call, Destination, EndCause, Outcome},
    ledger::Book,
};

/// Something that is durable in the journal and may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent is there, created or recovered, and will tick.
    Started {
        /// Its last tick.
        tick: Tick,
        /// It was there before.
        resumed: bool,
        /// Runs that were re-executed to get here.
        replayed: u64,
    },
    /// A tick was attempted, counted or undone.
    Tick(TickEvent),
    /// A log line.
    Log {
        /// The tick that wrote it.
        tick: Tick,
        /// The line.
        text: String,
    },
    /// The state was checkpointed.
    Checkpoint {
        /// The last tick that it includes.
        tick: Tick,
        /// The hash of the state.
        root: Hash,
        /// Its length.
        bytes: u64,
    },
    /// A checkpoint was not made; the last one stays.
    CheckpointRefused {
        /// The last tick.
        tick: Tick,
        /// Why.
        cause: String,
    },
    /// A message was closed: by the tick that took it, or as failed.
    MessageClosed {
        /// The position of its Message entry.
        message: Seq,
        /// The reply, where there is one.
        reply: Option<Vec<u8>>,
        /// Ticks that took it failed too often.
        failed: bool,
    },
    /// The agent does not go on by itself.
    Suspended {
        /// The last tick.
        tick: Tick,
        /// Why.
        cause: String,
    },
    /// The agent ended.
    Ended {
        /// Why.
        cause: EndCause,
        /// The last tick.
        tick: Tick,
    },
    /// The agent was stopped cleanly.
    Stopped {
        /// The last tick.
        tick: Tick,
    },
}

/// One attempted tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickEvent {
    /// Its number.
    pub tick: Tick,
    /// What was called: a tick and its trigger.
    pub call: Call,
    /// The position of its Run entry.
    pub seq: Seq,
    /// The epoch.
    pub epoch: Epoch,
    /// The chain's head after its Run entry.
    pub head: Hash,
    /// How it ended.
    pub outcome: Outcome,
    /// Work.
    pub fuel: Fuel,
    /// Billable time.
    pub duration: Nanos,
    /// What it cost.
    pub cost: Credits,
    /// The balance after it.
    pub balance: Credits,
    /// Where it asked to be moved to.
    pub move_to: Option<Destination>,
}

/// What an agent is doing, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is doing.
    pub status: Status,
    /// Why, where that needs words.
    pub cause: Option<String>,
    /// The end of its journal.
    pub chain: Chain,
    /// Its last tick.
    pub tick: Tick,
    /// The last tick of its last checkpoint.
    pub checkpoint_tick: Option<Tick>,
    /// The length of the state in the last checkpoint.
    pub checkpoint_bytes: u64,
    /// What it can still spend.
    pub balance: Credits,
    /// What it was given.
    pub funded: Credits,
    /// What it spent.
    pub spent: Credits,
    /// Open messages.
    pub open_messages: usize,
    /// Who has custody.
    pub custodian: NodeId,
    /// What its runs cost.
    pub terms: Terms,
    /// Where its last tick asked to be moved to.
    pub move_to: Option<Destination>,
    /// When custody changed last, if it ever did.
    pub came: Option<Timestamp>,
    /// The nodes that go on with it when its own does not.
    pub standby: Vec<NodeId>,
}

impl Snapshot {
    /// What a book says of its agent, which is doing this.
    pub fn of(book: &Book, status: Status) -> Self {
        let ledger = book.ledger();
        let last_change = ledger.custody.as_ref().and_then(|standing| standing.last());
        Self {
            status,
            cause: ledger.ended.map(|cause| cause.name().to_owned()),
            chain: book.chain(),
            tick: ledger.tick,
            checkpoint_tick: ledger.checkpoint.map(|checkpoint| checkpoint.tick),
            checkpoint_bytes: ledger.checkpoint.map_or(0, |checkpoint| checkpoint.bytes),
            balance: ledger.balance,
            funded: ledger.funded,
            spent: ledger.spent,
            open_messages: ledger.open.len(),
            custodian: book.custodian(),
            terms: book.terms(),
            move_to: ledger.move_to,
            came: last_change.and_then(|record| record.phase.place()).map(|place| place.at),
            standby: book.policy().standby.nodes.clone(),
        }
    }

    /// What a book says of an agent that does not run: it is stopped, unless its journal or its operator says more.
    pub fn at_rest(book: &Book, paused: bool) -> Self {
        let ledger = book.ledger();
        let status = if ledger.ended.is_some() {
            Status::Ended
        } else if ledger.is_suspended() {
            Status::Suspended
        } else if paused {
            Status::Paused
        } else {
            Status::Stopped
        };
        Self::of(book, status)
    }
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A tick is under way.
    Running,
    /// It waits for its next trigger.
    Idle,
    /// The operator paused it.
    Paused,
    /// It failed too often.
    Suspended,
    /// It ended.
    Ended,
    /// It does not run here now.
    Stopped,
}

impl Status {
    /// The name used in the API and by commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
            Self::Stopped => "stopped",
        }
    }
}

/// Where events go once they are durable. It takes nothing else.
pub trait Outbox: Send + 'static {
    /// Tells the world. Must not block.
    fn release(&mut self, committed: Committed<Vec<Event>>);

    /// Something changed that [`Snapshot`] shows.
    fn watch(&mut self, snapshot: &Snapshot);

    /// How long an append took until it was durable.
    fn appended(&mut self, took: Nanos);
}
