//! One tick: run, commit, release; undo when it failed.

use super::{
    Life,
    run::{Finished, prepare},
};
use crate::{
    Error, World,
    command::Command,
    event::{Event, Outbox, TickEvent},
    guest::Program,
};
use igor_protocol::{
    Body, Nanos, Seq,
    entry::{Call, Observation, Outcome, Run, Trigger},
};
use igor_store::Store;
use std::{pin::pin, sync::Arc};
use tokio::sync::mpsc;

/// Wait after the first of several failures; it doubles with each.
const BACKOFF: Nanos = Nanos::from_millis(100);
/// Longest wait after a failure.
const BACKOFF_MAX: Nanos = Nanos::from_secs(30);

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Runs a tick, commits it, then tells what came of it. Gives whether it counted.
    pub(super) async fn tick(
        &mut self,
        trigger: Trigger,
        commands: &mut mpsc::Receiver<Command>,
        outbox: &mut impl Outbox,
    ) -> Result<bool, Error> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.restore().await?,
        };
        let finished = self.run_tick(&mut guest, trigger, commands, outbox).await?;
        let counted = finished.run.outcome.is_ok();
        if let Outcome::Failed { failure, cause } = &finished.run.outcome {
            self.last_failure = Some(format!("{}: {cause}", failure.name()));
        }
        let fuel = finished.run.fuel.0;
        let offered = offered(&finished.run);
        self.commit_tick(finished, outbox).await?;
        if counted {
            self.guest = Some(guest);
            self.gap = None;
            self.offered = offered;
            self.not_before = Nanos::ZERO;
            self.replay_fuel = self.replay_fuel.saturating_add(fuel);
        } else {
            // The instance may be in any state. What it was before is made again from the journal.
            drop(guest);
            // It was not told of the gap, and this attempt counts as its last tick: the next is told of what is since.
            let now = self.journal.now();
            self.gap = self.gap.map(|_| now.since(self.journal.ledger().run_ended));
            self.offered = self.offered.min(offered);
            let failures = self.journal.ledger().failures.clamp(1, 16);
            let wait = Nanos(BACKOFF.0.saturating_mul(1 << (failures - 1))).min(BACKOFF_MAX);
            self.not_before = self.journal.world.monotonic().saturating_add(wait);
            self.guest = Some(self.restore().await?);
            self.checkpoint_first = true;
        }
        Ok(counted)
    }

    /// Runs the guest; messages that come in meanwhile are committed, other commands wait for its end.
    async fn run_tick(
        &mut self,
        guest: &mut P::Guest,
        trigger: Trigger,
        commands: &mut mpsc::Receiver<Command>,
        outbox: &mut impl Outbox,
    ) -> Result<Finished, Error> {
        let call = Call::Tick(trigger);
        let prepared = prepare(&self.journal, &self.receipts, &self.inbox, call, Vec::new());
        let mut running = pin!(prepared.execute(guest));
        let measured = loop {
            let command = tokio::select! {
                biased;
                measured = &mut running => break measured?,
                Some(command) = commands.recv(), if self.deferred.is_empty() => command,
            };
            match command {
                Command::Deliver { parcel, answer } => {
                    let next = self.deliver((parcel, answer), commands, outbox).await?;
                    self.deferred.extend(next);
                }
                Command::Lookup { sender, id, answer } => {
                    let _ = answer.send(self.lookup(&sender, &id));
                }
                other => self.deferred.push_back(other),
            }
        };
        Ok(measured.finish(&self.journal, self.program.runtime()))
    }

    async fn commit_tick(&mut self, finished: Finished, outbox: &mut impl Outbox) -> Result<(), Error> {
        let Finished { run, record, blobs, .. } = finished;
        for blob in blobs {
            self.journal.store.put_blob(blob).await?;
        }
        let mut taken: Vec<Seq> = run.taken().collect();
        let releases = !run.requests.is_empty();
        let mut event = TickEvent {
            tick: run.tick,
            call: run.call,
            seq: Seq(0),
            epoch: self.journal.chain().epoch,
            head: igor_protocol::Hash::ZERO,
            outcome: run.outcome.clone(),
            fuel: run.fuel,
            duration: run.duration,
            cost: run.cost,
            balance: igor_protocol::Credits::ZERO,
            move_to: record.move_to.filter(|_| run.outcome.is_ok()),
        };
        let counted = run.outcome.is_ok();
        (event.seq, event.head) = self.journal.push(Body::Run(run))?;
        let ledger = self.journal.ledger();
        event.balance = ledger.balance;
        let tick = event.tick;
        let mut events = vec![Event::Tick(event)];
        events.extend(record.logs.into_iter().map(|text| Event::Log { tick, text }));
        taken.retain(|seq| ledger.open.binary_search_by_key(seq, |open| open.seq).is_err());
        let mut replies = record.replies.into_iter().peekable();
        for message in taken {
            // Replies are in the order in which messages were taken.
            let reply = replies.next_if(|(to, _)| *to == message).map(|(_, body)| body).filter(|_| counted);
            Arc::make_mut(&mut self.inbox).remove(&message);
            events.push(Event::MessageClosed { message, reply, failed: !counted });
        }
        self.journal.stage(events);
        if releases || !counted {
            return self.commit(releases, outbox).await;
        }
        // Nobody waits for it: the next tick may begin while this one becomes durable.
        self.journal.launch(false)
    }
}

/// Messages below were there for the run, and it had its chance at them: news is what is not below.
fn offered(run: &Run) -> Seq {
    let first = run.taken().next();
    let last = run.taken().last().map_or(Seq(0), Seq::next);
    match &run.outcome {
        Outcome::Ok { .. } if run.observations.contains(&Observation::NoRoom) => last,
        Outcome::Ok { .. } => run.started_seq,
        // What a failed run took, the next may take.
        Outcome::Failed { .. } => first.unwrap_or(run.started_seq),
    }
}
