//! The membrane of a run that happens now.

use super::{Inbox, Record, answer, next_message, recorder::Recorder};
use crate::{
    World,
    guest::{Answer, Ask, Held, Hold, Membrane, Stop, Waiting},
};
use igor_protocol::{
    Credits, Nanos, Seq, Terms, Timestamp, codec,
    entry::{Observation, Receipt},
    manifest::Limits,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a run can see when it starts, fixed for its whole length.
pub(crate) struct Seen {
    pub(crate) limits: Limits,
    pub(crate) balance: Credits,
    pub(crate) terms: Terms,
    pub(crate) receipts: Arc<[Receipt]>,
    pub(crate) inbox: Inbox,
    /// Only messages below this position are there for the run; none outside ticks.
    pub(crate) inbox_end: Seq,
    pub(crate) gap: Nanos,
    /// The journal's time when the run starts, and the monotonic clock then.
    pub(crate) started: (Timestamp, Nanos),
}

/// Asks the world, and records all of it.
pub(crate) struct LiveMembrane<W> {
    world: Arc<W>,
    seen: Seen,
    state: Mutex<State>,
}

struct State {
    recorder: Recorder,
    taken: Option<Seq>,
}

impl<W: World> LiveMembrane<W> {
    pub(crate) fn new(world: Arc<W>, seen: Seen) -> Self {
        let recorder = Recorder::new(seen.limits);
        Self { world, seen, state: Mutex::new(State { recorder, taken: None }) }
    }

    /// What the run did. Called once it has ended.
    pub(crate) fn take(&self) -> Record {
        std::mem::take(&mut self.lock().recorder.record)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A run is one thread of calls; a panic in one leaves nothing half-written that is used afterwards.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Nanos {
        self.world.monotonic().saturating_sub(self.seen.started.1)
    }

    fn observation(&self, ask: &Ask, next: Option<(Seq, &[u8])>) -> Observation {
        match ask {
            Ask::Clock => Observation::Clock(self.seen.started.0.after(self.elapsed())),
            Ask::Random(bytes) => {
                let mut buffer = vec![0; *bytes as usize];
                self.world.random(&mut buffer);
                Observation::Random(buffer)
            }
            Ask::Balance => Observation::Balance(self.seen.balance.to_guest_micro()),
            Ask::Price => Observation::Price(self.seen.terms.per_second().to_guest_micro()),
            Ask::ReceiptCount => Observation::ReceiptCount(u32::try_from(self.seen.receipts.len()).unwrap_or(u32::MAX)),
            Ask::Receipt(index) => {
                let receipt = self.seen.receipts.get(*index as usize);
                Observation::Receipt(receipt.map(|receipt| codec::encode(receipt).into()))
            }
            Ask::Message { room } => match next {
                None => Observation::NoMessage,
                Some((_, body)) if body.len() > *room as usize => {
                    Observation::MessageTooLong { bytes: u32::try_from(body.len()).unwrap_or(u32::MAX) }
                }
                Some((seq, _)) => Observation::Message(seq),
            },
        }
    }
}

impl<W: World> Membrane for LiveMembrane<W> {
    fn observe(&self, ask: Ask) -> Result<Answer, Stop> {
        let mut state = self.lock();
        let next = match ask {
            Ask::Message { .. } => next_message(&self.seen.inbox, state.taken, self.seen.inbox_end),
            _ => None,
        };
        let bytes = match &ask {
            Ask::Random(bytes) => u64::from(*bytes),
            Ask::Message { .. } => next.map_or(0, |(_, body)| body.len() as u64),
            _ => 8,
        };
        state.recorder.count_observation(bytes)?;
        let seen = self.observation(&ask, next);
        let told = answer(&seen, next.map(|(_, body)| body));
        if let Observation::Message(seq) = seen {
            state.taken = Some(seq);
        }
        state.recorder.record.observations.push(seen);
        Ok(told)
    }

    fn wait(&self, duration: Nanos) -> Waiting<'_> {
        Box::pin(async move {
            self.lock().recorder.count_observation(0)?;
            let left = self.seen.limits.tick_time.saturating_sub(self.elapsed());
            self.world.sleep_until(self.world.monotonic().saturating_add(duration.min(left))).await;
            if duration > left {
                return Err(Stop::Timeout);
            }
            self.lock().recorder.record.observations.push(Observation::Waited);
            Ok(())
        })
    }

    fn hold(&self, held: Held) -> Result<Hold, Stop> {
        self.lock().recorder.hold(held)
    }

    fn resumed_gap(&self) -> Nanos {
        self.seen.gap
    }
}
