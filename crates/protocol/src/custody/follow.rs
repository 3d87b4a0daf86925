//! The end of a journal, as far as custody depends on it, followed commit by commit: for who keeps journals and knows
//! nothing of ledgers.
//!
//! Invariant kept here: of a journal that a [`Book`](crate::ledger::Book) lets in, what is followed here is what
//! [`Book::held`](crate::ledger::Book::held) says.

use super::{Held, Standing};
use crate::{
    Chain, Commit, Entry,
    entry::{Action, Body, Checkpoint, GenesisBody, Phase},
    ledger::Fault,
    units::{Seq, Timestamp},
};

impl Held {
    /// Before the first entry of an agent's journal.
    pub fn before(genesis: &GenesisBody) -> Self {
        Self {
            chain: Chain::begin(genesis.agent_id()),
            at: Timestamp::default(),
            standing: Standing::first(genesis.custodian, genesis.terms),
            sealed: false,
            ended: None,
            order_counter: 0,
            first: genesis.custodian,
            policy: genesis.policy.clone(),
            ordered: false,
            store: genesis.store,
        }
    }

    /// Before a checkpoint's entry, at the end of `chain`: what came before is believed.
    pub fn before_checkpoint(genesis: &GenesisBody, chain: Chain, checkpoint: &Checkpoint) -> Self {
        let (first, ledger) = (Self::before(genesis), &checkpoint.ledger);
        Self {
            chain,
            at: ledger.at,
            standing: ledger.custody.as_deref().cloned().unwrap_or(first.standing),
            sealed: false,
            ended: ledger.ended,
            order_counter: ledger.order_counter,
            ordered: ledger.policy.is_some(),
            policy: ledger.policy.as_deref().cloned().unwrap_or(first.policy),
            ..first
        }
    }

    /// Follows the next commit. That it is right is not checked beyond its link and its change of custody.
    pub fn follow(&mut self, commit: &Commit) -> Result<(), Fault> {
        if (commit.agent(), commit.first(), commit.prev()) != (self.chain.agent, self.chain.next, self.chain.head) {
            return Err(Fault::Link("it does not follow what is there"));
        }
        self.follow_from(commit, commit.first())
    }

    /// Whether a checkpoint that comes next says the same: who begins there must come to the same as who followed.
    fn is_said_by(&self, checkpoint: &Checkpoint) -> bool {
        let ledger = &checkpoint.ledger;
        let standing = match &ledger.custody {
            Some(standing) => **standing == self.standing,
            None => self.standing.proofs.is_empty(),
        };
        let policy = match &ledger.policy {
            Some(policy) => self.ordered && **policy == self.policy,
            None => !self.ordered,
        };
        let rest = (ledger.at, ledger.ended, ledger.order_counter) == (self.at, self.ended, self.order_counter);
        standing && policy && rest
    }

    /// As [`Held::follow`], for the rest of a commit from `from` on.
    pub fn follow_from(&mut self, commit: &Commit, from: Seq) -> Result<(), Fault> {
        for (seq, head, bytes) in commit.entries().filter(|(seq, ..)| *seq >= from) {
            let Entry { at, body } = Entry::decode(bytes)?;
            match &body {
                Body::Custody(record) => {
                    self.admit(&record.phase)?;
                    self.standing = self.standing.after(record);
                    if let Phase::Takeover(takeover) = &record.phase {
                        self.order_counter = takeover.order.body.counter;
                    }
                }
                Body::Order(order) => {
                    self.order_counter = order.body.counter;
                    match &order.body.action {
                        Action::Fund { .. } => self.ended = None,
                        Action::Policy(policy) => (self.policy, self.ordered) = (policy.clone(), true),
                        Action::Recall | Action::Takeover { .. } => {}
                    }
                }
                Body::End(cause) => self.ended = Some(*cause),
                Body::Checkpoint(checkpoint) if !self.is_said_by(checkpoint) => {
                    return Err(Fault::Custody("a checkpoint says otherwise than what came before it"));
                }
                Body::Genesis(_) | Body::Run(_) | Body::Message(_) | Body::Checkpoint(_) | Body::Seal(_) => {}
            }
            self.at = at;
            self.sealed = matches!(body, Body::Seal(_) | Body::Custody(_));
            self.chain = Chain { epoch: commit.epoch(), next: seq.next(), head, ..self.chain };
        }
        Ok(())
    }
}
