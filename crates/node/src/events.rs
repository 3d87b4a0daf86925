//! What happened, told from the journal: entries become events.
//!
//! There is no other source: a reader that is slow, or comes late, reads the journal and has missed nothing, and
//! nobody waits for it. Only what is in no journal (a life begins, stops, is suspended) is told by the life itself.

use crate::api::wire::Event;
use igor_protocol::{
    AgentId, Body, Commit, Credits, Entry, Epoch, Hash, Seq, codec,
    entry::{Action, Call, Outcome, Run},
};

/// Turns the entries of one journal, in order, into events.
#[derive(Clone, Copy, Debug)]
pub struct Projector {
    agent: AgentId,
    funded: Credits,
    spent: Credits,
}

impl Projector {
    /// Begins at a place in the journal up to which the agent was given `funded` and spent `spent`; at its very
    /// beginning both are zero.
    pub const fn new(agent: AgentId, funded: Credits, spent: Credits) -> Self {
        Self { agent, funded, spent }
    }

    /// The events of the next commit, of its entries from `from` on. Nothing of what came after `epoch`: where another process
    /// went on, it is that which tells.
    pub fn commit(&mut self, commit: &Commit, from: Seq, epoch: Epoch) -> Result<Vec<Event>, codec::Error> {
        let mut events = Vec::new();
        for (seq, head, bytes) in commit.entries().filter(|(seq, ..)| *seq >= from && commit.epoch() <= epoch) {
            events.extend(self.entry(commit.epoch(), seq, head, &Entry::decode(bytes)?));
        }
        Ok(events)
    }

    /// The events of the next entry, which leads to `head`.
    fn entry(&mut self, epoch: Epoch, seq: Seq, head: Hash, entry: &Entry) -> Vec<Event> {
        match &entry.body {
            Body::Genesis(genesis) => {
                self.funded = genesis.body.budget;
                Vec::new()
            }
            Body::Order(order) => match order.body.action {
                Action::Fund { total } => {
                    self.funded = total;
                    vec![Event::Funded { funded: total, balance: self.balance() }]
                }
                Action::Recall | Action::Takeover { .. } | Action::Policy(_) => Vec::new(),
            },
            Body::Run(run) => {
                self.spent = self.spent.checked_add(run.cost).unwrap_or(Credits::MAX);
                self.run(epoch, seq, head, run)
            }
            Body::Checkpoint(checkpoint) => {
                vec![Event::Checkpoint { tick: checkpoint.tick, root: checkpoint.root, bytes: checkpoint.bytes }]
            }
            Body::Message(_) | Body::Custody(_) | Body::Seal(_) | Body::End(_) => Vec::new(),
        }
    }

    fn balance(&self) -> Credits {
        self.funded.checked_sub(self.spent).unwrap_or_default()
    }

    fn run(&self, epoch: Epoch, seq: Seq, head: Hash, run: &Run) -> Vec<Event> {
        let cause = match &run.outcome {
            Outcome::Ok { .. } => None,
            Outcome::Failed { cause, .. } => Some(cause.clone()),
        };
        let logs = || run.logs.iter().map(|text| Event::Log { tick: run.tick, text: text.clone() });
        match run.call {
            Call::Tick(trigger) => {
                let tick = Event::Tick {
                    agent: self.agent,
                    tick: run.tick,
                    seq,
                    epoch,
                    head,
                    trigger: trigger.name().to_owned(),
                    outcome: run.outcome.name().to_owned(),
                    cause,
                    fuel: run.fuel.0,
                    duration_ns: run.duration.0,
                    cost: run.cost,
                    balance: self.balance(),
                };
                std::iter::once(tick).chain(logs()).collect()
            }
            Call::Init => logs().collect(),
            // What a new instance logs while it restores a state is in the journal, and is no news.
            Call::Checkpoint | Call::Resume => {
                let words = |cause| match run.call {
                    Call::Resume => format!("the state does not restore: {}: {cause}", run.outcome.name()),
                    _ => format!("{}: {cause}", run.outcome.name()),
                };
                let refused = cause.map(|cause| Event::CheckpointRefused { tick: run.tick, cause: words(cause) });
                refused.into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
