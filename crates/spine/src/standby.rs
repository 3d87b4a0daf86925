//! Standing by: when a node goes on with an agent of another one that is silent; without I/O, and without a clock of its
//! own.
//!
//! Invariants kept here:
//! - Silence is a hint, as a pulse is: the shared store decides, in [`Steward::succeed`](crate::custody::Steward::succeed).
//! - Only a node that the agent's owner names goes on, and each in its place in line.
//! - A node that was not there itself does not take that for the silence of others.

mod room;
mod watch;

pub use room::Room;
pub use watch::{Following, Pulse, Watched};

use igor_protocol::{Nanos, NodeId, custody::Status, entry::Standby, ledger::Book};

/// How often a node says that its agents are well.
pub const PULSE_EVERY: Nanos = Nanos::from_millis(200);
/// A store that has answered nothing for so long is no reason to be well.
pub const STORE_SILENT: Nanos = Nanos::from_millis(500);
/// How often a store is asked something that is silent, so that its silence ends when it answers.
pub const ASK_STORE_EVERY: Nanos = Nanos::from_millis(300);
/// How often it is looked who is silent.
pub const LOOK_EVERY: Nanos = Nanos::from_millis(50);
/// How long a node may be silent where the owner does not say it.
const SILENT_FOR: Nanos = Nanos::from_millis(700);
/// How much longer each node further back in line waits.
const LINE_STEP: Nanos = Nanos::from_millis(300);
/// A look that comes so much too late shows that this node was not there itself.
const LOOK_LATE: Nanos = Nanos::from_millis(400);

/// How long the node that has an agent must be silent before this one goes on; nothing where the owner does not name it.
pub fn silent_for(me: NodeId, custodian: NodeId, standby: &Standby) -> Option<Nanos> {
    let place = standby.nodes.iter().filter(|node| **node != custodian).position(|node| *node == me)?;
    let place = if standby.any_order { 0 } else { u64::try_from(place).unwrap_or(u64::MAX) };
    Some(standby.silent_for.unwrap_or(SILENT_FOR).saturating_add(Nanos(LINE_STEP.0.saturating_mul(place))))
}

/// Whether another node has the agent, as what is here of its journal says. Whoever gave it to this one has it until that
/// is answered; where it is gone meanwhile, this one may be the only one to go on.
pub const fn is_anothers(status: Status) -> bool {
    matches!(status, Status::Elsewhere | Status::Undecided)
}

impl Following {
    /// What a journal says that was read to its end; nothing where this node does not stand by for it, or nobody has
    /// anything to go on with.
    pub fn of(me: NodeId, book: &Book) -> Option<Self> {
        let (node, ledger, chain) = (book.custodian(), book.ledger(), book.chain());
        let after = silent_for(me, node, &book.policy().standby)?;
        let goes_on = ledger.ended.is_none() && !ledger.is_suspended();
        goes_on.then_some(Self { node, epoch: chain.epoch, read: chain.next, after })
    }
}

/// The looks at who is silent, one after the other.
#[derive(Debug)]
pub struct Looks(Nanos);

impl Looks {
    /// From now on.
    pub const fn begin(now: Nanos) -> Self {
        Self(now)
    }

    /// One more, [`LOOK_EVERY`] after the last, or later. Says whether it is so late that this node was not there.
    pub fn is_late(&mut self, now: Nanos) -> bool {
        let last = std::mem::replace(&mut self.0, now);
        now.saturating_sub(last) > LOOK_EVERY.saturating_add(LOOK_LATE)
    }
}

#[cfg(test)]
mod tests;
