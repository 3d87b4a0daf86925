//! State checkpoints as a barrier: what goes on is what recovery would make.
//!
//! Run(checkpoint), Checkpoint and Run(resume) are one commit. If the state does not restore, the checkpoint is
//! refused, the last one stays, and the instance that gave the state goes on: replay does the same.

use super::{Life, run::Finished};
use crate::{
    Error, World,
    event::{Event, Outbox},
    guest::Program,
};
use igor_protocol::{
    Body, Hash, Nanos,
    entry::{Call, Outcome},
};
use igor_store::Store;

/// Wait after a checkpoint that was refused, besides for another tick.
const RETRY_AFTER: Nanos = Nanos::from_secs(1);

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Whether something ran since the last checkpoint, in a program that can be checkpointed.
    pub(super) fn is_dirty(&self) -> bool {
        let ledger = self.journal.ledger();
        let tried = ledger.checkpoint_tried == Some(ledger.tick);
        self.program.can_checkpoint() && !tried && ledger.checkpoint.is_none_or(|last| last.tick < ledger.tick)
    }

    /// The checkpoint before an end or a stop. It pays at most what is left.
    pub(super) async fn final_checkpoint(&mut self, outbox: &mut impl Outbox) -> Result<(), Error> {
        if self.is_dirty() { self.checkpoint(outbox).await } else { Ok(()) }
    }

    /// Makes a checkpoint, or tells why not.
    pub(super) async fn checkpoint(&mut self, outbox: &mut impl Outbox) -> Result<(), Error> {
        self.checkpointed = self.journal.world.monotonic();
        self.checkpoint_first = false;
        // What ticks have staged goes ahead, so that the barrier's own commit stays within bounds.
        self.commit(false, outbox).await?;
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.restore().await?,
        };
        let Finished { run, state, .. } = self.call(&mut guest, Call::Checkpoint, Vec::new()).await?;
        let failed = failure(&run.outcome);
        let fuel = run.fuel.0;
        self.journal.push(Body::Run(run))?;
        let Some(state) = state else {
            // The instance is in an unknown state; the journal is not.
            drop(guest);
            self.refuse(failed.unwrap_or_default(), outbox).await?;
            self.guest = Some(self.restore().await?);
            return Ok(());
        };
        // The state is proved in a second instance. Only if it restores is there a Checkpoint entry.
        let (root, bytes) = (Hash::of_blob(&state), state.len() as u64);
        let mut fresh = self.program.instantiate();
        let Finished { run, .. } = self.call(&mut fresh, Call::Resume, state.clone()).await?;
        let failed = failure(&run.outcome);
        self.journal.push(Body::Run(run))?;
        if let Some(cause) = failed {
            self.guest = Some(guest);
            self.replay_fuel = self.replay_fuel.saturating_add(fuel);
            return self.refuse(format!("the state does not restore: {cause}"), outbox).await;
        }
        self.journal.store.put_blob(state).await?;
        let remembered = self.journal.book().remembered().encode();
        self.journal.keep(remembered).await?;
        self.journal.push_checkpoint(root, bytes)?;
        let tick = self.journal.ledger().tick;
        self.journal.stage([Event::Checkpoint { tick, root, bytes }]);
        self.commit(true, outbox).await?;
        self.receipts = self.journal.ledger().receipts.clone().into();
        self.guest = Some(fresh);
        self.replay_fuel = 0;
        Ok(())
    }

    async fn refuse(&mut self, cause: String, outbox: &mut impl Outbox) -> Result<(), Error> {
        let tick = self.journal.ledger().tick;
        self.checkpoint_not_before = self.checkpointed.saturating_add(RETRY_AFTER);
        self.journal.stage([Event::CheckpointRefused { tick, cause }]);
        self.commit(false, outbox).await
    }
}

fn failure(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Ok { .. } => None,
        Outcome::Failed { failure, cause } => Some(format!("{}: {cause}", failure.name())),
    }
}
