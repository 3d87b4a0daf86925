//! The membrane of a run that happens now.

use super::{Inbox, Record, answer, next_message, recorder::Recorder};
use crate::{
    Around, World,
    guest::{Answer, Ask, Held, Hold, Membrane, Stop, Waiting},
};
use igor_protocol::{
    Credits, Nanos, NodeId, Seq, Terms, Timestamp, codec,
    entry::{Listed, Observation, Receipt},
    limits::NODES_LISTED_MAX,
    manifest::Limits,
};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// What a run can see when it starts, fixed for its whole length.
pub(crate) struct Seen {
    pub(crate) limits: Limits,
    pub(crate) balance: Credits,
    pub(crate) node: NodeId,
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
    recorder: Mutex<Recorder>,
    /// The nodes around, once the run has asked: as all that it sees they stay as they are to its end.
    around: OnceLock<Around>,
    /// Time that the run waited on clocks, in nanoseconds.
    waited: AtomicU64,
}

impl<W: World> LiveMembrane<W> {
    pub(crate) fn new(world: Arc<W>, seen: Seen) -> Self {
        let recorder = Recorder::new(seen.limits);
        Self { world, seen, recorder: Mutex::new(recorder), around: OnceLock::new(), waited: AtomicU64::new(0) }
    }

    /// What the run did. Called once it has ended.
    pub(crate) fn take(&self) -> Record {
        std::mem::take(&mut self.lock().record)
    }

    /// Time that the run asked to wait and waited.
    pub(crate) fn waited(&self) -> Nanos {
        Nanos(self.waited.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        // A run is one thread of calls; a panic in one leaves nothing half-written that is used afterwards.
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Nanos {
        self.world.monotonic().saturating_sub(self.seen.started.1)
    }

    fn around(&self) -> &Around {
        self.around.get_or_init(|| self.world.around())
    }

    fn observation(&self, ask: &Ask, next: Option<(Seq, &[u8])>, recorder: &Recorder) -> Observation {
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
            Ask::Draining => Observation::Draining(self.around().draining),
            Ask::Nodes => {
                let here = Listed { node: self.seen.node, terms: self.seen.terms };
                let others = self.around().others.iter().copied();
                Observation::Nodes(std::iter::once(here).chain(others).take(NODES_LISTED_MAX).collect())
            }
            Ask::Message { room } => match next {
                None => Observation::NoMessage,
                Some((_, body)) if body.len() > *room as usize => {
                    Observation::MessageTooLong { bytes: u32::try_from(body.len()).unwrap_or(u32::MAX) }
                }
                Some((seq, body)) if !recorder.has_room(seq, body.len()) => Observation::NoRoom,
                Some((seq, _)) => Observation::Message(seq),
            },
        }
    }
}

impl<W: World> Membrane for LiveMembrane<W> {
    fn observe(&self, ask: Ask) -> Result<Answer, Stop> {
        let mut recorder = self.lock();
        if let Ask::Random(bytes) = ask {
            // Before they are made: the number is the guest's.
            recorder.check(Observation::WEIGHT + u64::from(bytes))?;
        }
        let next = match ask {
            Ask::Message { .. } => next_message(&self.seen.inbox, recorder.taken, self.seen.inbox_end),
            _ => None,
        };
        let seen = self.observation(&ask, next, &recorder);
        let body = next.map(|(_, body)| body).filter(|_| matches!(seen, Observation::Message(_)));
        let told = answer(&seen, body);
        recorder.observe(seen, body.map_or(0, <[u8]>::len))?;
        Ok(told)
    }

    fn wait(&self, duration: Nanos) -> Waiting<'_> {
        Box::pin(async move {
            let left = self.seen.limits.tick_time.saturating_sub(self.waited());
            let wait = duration.min(left);
            self.world.sleep_until(self.world.monotonic().saturating_add(wait)).await;
            self.waited.fetch_add(wait.0, Ordering::Relaxed);
            if duration > left {
                return Err(Stop::Timeout);
            }
            self.lock().observe(Observation::Waited, 0)
        })
    }

    fn hold(&self, held: Held) -> Result<Hold, Stop> {
        self.lock().hold(held)
    }

    fn resumed_gap(&self) -> Nanos {
        self.seen.gap
    }
}
