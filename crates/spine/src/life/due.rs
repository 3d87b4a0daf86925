//! What happens next, and when.

use super::{Course, Life};
use crate::{Error, World, command::Command, guest::Program, journal::Landed};
use igor_protocol::{
    Nanos, Tick,
    entry::Trigger,
    limits::{FAILURES_MAX, RESUMED_APART},
};
use igor_store::Store;
use tokio::sync::mpsc;

/// Least time between a tick that wants more work and the next.
const MORE_WORK_GAP: Nanos = Nanos::from_millis(10);
/// A checkpoint is forced when replay would take this many times a tick's fuel limit.
const REPLAY_TICKS: u64 = 2;
/// An agent without checkpoints is suspended when its replay would take this many times a tick's fuel limit.
const REPLAY_TICKS_MAX: u64 = 1_000;

/// Commands that are carried out one after the other before time gets its turn.
const COMMANDS_IN_ROW_MAX: u32 = 32;

/// One closed set of things that the loop does.
pub(super) enum Next {
    Command(Command),
    Tick(Trigger),
    Checkpoint,
    Seal,
    Landed(Result<Option<Landed>, Error>),
}

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Waits for whatever comes first. Commands go before ticks.
    pub(super) async fn next(&mut self, course: &Course, commands: &mut mpsc::Receiver<Command>) -> Next {
        // Commands go first, but not for ever: a busy inbox is emptied by ticks only.
        if self.commands_in_row < COMMANDS_IN_ROW_MAX {
            match commands.try_recv() {
                Ok(command) => {
                    self.commands_in_row += 1;
                    return Next::Command(command);
                }
                Err(mpsc::error::TryRecvError::Disconnected) => return Next::Command(Command::Stop),
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
        }
        self.commands_in_row = 0;
        let (world, flying) = (self.journal.world.clone(), self.journal.is_flying());
        let due = self.due(course).filter(|_| !self.journal.is_full());
        let waits = due.as_ref().is_none_or(|(moment, _)| *moment > world.monotonic());
        let in_time = async {
            match due {
                None => std::future::pending().await,
                Some((moment, next)) => {
                    if waits {
                        world.sleep_until(moment).await;
                    }
                    next
                }
            }
        };
        let next = tokio::select! {
            biased;
            landed = self.journal.land(), if flying => Next::Landed(landed),
            next = in_time => next,
            command = commands.recv() => Next::Command(command.unwrap_or(Command::Stop)),
        };
        if waits {
            self.turn.begin(&*world);
        }
        next
    }

    /// The next thing that time brings, and its moment on the monotonic clock.
    fn due(&self, course: &Course) -> Option<(Nanos, Next)> {
        // While an append is under way there can be no other; the seal follows it.
        let seal = self.journal.seal_due().filter(|_| !self.journal.is_flying()).map(|moment| (moment, Next::Seal));
        let tick = self.tick_due(course).map(|(moment, trigger)| (moment, Next::Tick(trigger)));
        let checkpoint = self.checkpoint_due(course).map(|moment| (moment, Next::Checkpoint));
        // On a tie the earlier in this list wins.
        [checkpoint, seal, tick].into_iter().flatten().min_by_key(|(moment, _)| *moment)
    }

    fn tick_due(&self, course: &Course) -> Option<(Nanos, Trigger)> {
        if course.paused {
            return None;
        }
        let ledger = self.journal.ledger();
        // An agent learns that it was away before anything else.
        if let Some(gap) = self.gap {
            let moment = self.journal.moment(ledger.tick_started.after(RESUMED_APART));
            return Some((moment.max(self.not_before), Trigger::Resumed { gap }));
        }
        // The first tick of all comes at once.
        let interval = if ledger.tick > Tick(0) {
            self.journal.moment(ledger.tick_started).saturating_add(course.settings.interval)
        } else {
            Nanos::ZERO
        };
        let message = self.has_news().then_some((Nanos::ZERO, Trigger::Message));
        let wake = ledger.wake_at.map(|at| (self.journal.moment(at), Trigger::Wake));
        let more_work = ledger
            .more_work
            .then(|| (self.journal.moment(ledger.run_ended).saturating_add(MORE_WORK_GAP), Trigger::MoreWork));
        let first = [message, wake, more_work, Some((interval, Trigger::Interval))];
        let (moment, trigger) = first.into_iter().flatten().min_by_key(|(moment, _)| *moment)?;
        Some((moment.max(self.not_before), trigger))
    }

    /// Whether a message is open that no tick which counted had before it.
    fn has_news(&self) -> bool {
        self.journal.ledger().open.last().is_some_and(|newest| newest.seq >= self.offered)
    }

    fn checkpoint_due(&self, course: &Course) -> Option<Nanos> {
        if !self.is_dirty() || course.paused {
            return None;
        }
        let planned = self.checkpointed.saturating_add(course.settings.checkpoint_interval);
        let limit = self.journal.manifest().limits.tick_fuel.0.saturating_mul(REPLAY_TICKS);
        let forced = self.checkpoint_first || self.replay_fuel > limit;
        let due = if forced { Nanos::ZERO } else { planned.max(self.checkpoint_held_until) };
        Some(due.max(self.checkpoint_not_before))
    }

    /// Why the agent does not go on by itself, if so.
    pub(super) fn suspension(&self, course: &Course) -> Option<String> {
        let failures = self.journal.ledger().failures;
        if failures >= FAILURES_MAX && course.forgiven != Some(failures) {
            let cause = self.last_failure.clone().unwrap_or_else(|| "see its timeline".to_owned());
            return Some(format!("{failures} ticks failed in a row; the last: {cause}"));
        }
        let limit = self.journal.manifest().limits.tick_fuel.0.saturating_mul(REPLAY_TICKS_MAX);
        (!self.program.can_checkpoint() && self.replay_fuel > limit).then(|| {
            "it cannot be checkpointed (it has no agent_checkpoint), and replaying it would take too long".to_owned()
        })
    }
}
