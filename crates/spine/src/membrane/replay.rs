//! The membrane of a run that happened before.

use super::{Inbox, Record, answer, next_message, recorder::Recorder};
use crate::guest::{Answer, Ask, Held, Hold, Membrane, Stop, Waiting};
use igor_protocol::{
    Nanos, Seq,
    entry::{Call, Listed, Observation, Run, Trigger},
    limits::NODES_LISTED_MAX,
    manifest::Limits,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Answers from the journal.
pub(crate) struct ReplayMembrane {
    observations: Vec<Observation>,
    inbox: Inbox,
    inbox_end: Seq,
    gap: Nanos,
    recorder: Mutex<Recorder>,
}

impl ReplayMembrane {
    /// For a run with these observations; `inbox` holds the messages that were open when it started.
    pub(crate) fn new(run: &Run, inbox: Inbox, limits: Limits) -> Self {
        let (inbox_end, gap) = match run.call {
            Call::Tick(Trigger::Resumed { gap }) => (run.started_seq, gap),
            Call::Tick(_) => (run.started_seq, Nanos::ZERO),
            _ => (Seq(0), Nanos::ZERO),
        };
        let observations = run.observations.clone();
        Self { observations, inbox, inbox_end, gap, recorder: Mutex::new(Recorder::new(limits)) }
    }

    /// What the run did this time.
    pub(crate) fn take(&self) -> Record {
        std::mem::take(&mut self.lock().record)
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next observation, where it answers this question.
    fn next(&self, at: usize, asked: &str, fits: impl Fn(&Observation) -> bool) -> Result<Observation, Stop> {
        match self.observations.get(at) {
            Some(seen) if fits(seen) => Ok(seen.clone()),
            Some(seen) => Err(diverged(name(seen), asked)),
            None => Err(diverged("no more observations", asked)),
        }
    }
}

impl Membrane for ReplayMembrane {
    fn observe(&self, ask: Ask) -> Result<Answer, Stop> {
        let mut recorder = self.lock();
        let at = recorder.record.observations.len();
        let next = match ask {
            Ask::Message { .. } => next_message(&self.inbox, recorder.taken, self.inbox_end),
            _ => None,
        };
        if at == self.observations.len() {
            // A run that went over a limit live was stopped before the observation was kept, and is so here.
            recorder.check(weight(&ask))?;
        }
        let seen = self.next(at, &format!("{ask:?}"), |seen| match (&ask, seen) {
            (Ask::Clock, Observation::Clock(_))
            | (Ask::Balance, Observation::Balance(_))
            | (Ask::Price, Observation::Price(_))
            | (Ask::ReceiptCount, Observation::ReceiptCount(_))
            | (Ask::Draining, Observation::Draining(_))
            | (Ask::Nodes, Observation::Nodes(_))
            | (Ask::Receipt(_), Observation::Receipt(_))
            | (Ask::Message { .. }, Observation::NoMessage | Observation::NoRoom) => true,
            (Ask::Random(bytes), Observation::Random(drawn)) => *bytes as usize == drawn.len(),
            (Ask::Message { room }, Observation::MessageTooLong { bytes }) => bytes > room,
            (Ask::Message { room }, Observation::Message(seq)) => {
                next.is_some_and(|(next, body)| next == *seq && body.len() <= *room as usize)
            }
            _ => false,
        })?;
        let body = next.map(|(_, body)| body).filter(|_| matches!(seen, Observation::Message(_)));
        let told = answer(&seen, body);
        recorder.observe(seen, body.map_or(0, <[u8]>::len))?;
        Ok(told)
    }

    fn wait(&self, _: Nanos) -> Waiting<'_> {
        let waited = (|| {
            let mut recorder = self.lock();
            let at = recorder.record.observations.len();
            if at == self.observations.len() {
                recorder.check(Observation::WEIGHT)?;
            }
            let seen = self.next(at, "wait", |seen| matches!(seen, Observation::Waited))?;
            recorder.observe(seen, 0)
        })();
        Box::pin(std::future::ready(waited))
    }

    fn hold(&self, held: Held) -> Result<Hold, Stop> {
        self.lock().hold(held)
    }

    fn resumed_gap(&self) -> Nanos {
        self.gap
    }
}

/// What the answer would have counted, at most.
fn weight(ask: &Ask) -> u64 {
    /// No encoded receipt is longer.
    const RECEIPT_BYTES_MAX: u64 = 512;
    Observation::WEIGHT
        + match ask {
            Ask::Random(bytes) => u64::from(*bytes),
            Ask::Receipt(_) => RECEIPT_BYTES_MAX,
            Ask::Nodes => Listed::WEIGHT * NODES_LISTED_MAX as u64,
            _ => 0,
        }
}

fn diverged(journaled: &str, replayed: &str) -> Stop {
    Stop::Diverged { journaled: journaled.to_owned(), replayed: replayed.to_owned() }
}

const fn name(seen: &Observation) -> &'static str {
    match seen {
        Observation::Clock(_) => "clock",
        Observation::Random(_) => "randomness",
        Observation::Balance(_) => "balance",
        Observation::Price(_) => "price",
        Observation::ReceiptCount(_) => "number of receipts",
        Observation::Receipt(_) => "receipt",
        Observation::Message(_) => "message",
        Observation::NoMessage => "no message",
        Observation::MessageTooLong { .. } => "message too long",
        Observation::Waited => "wait",
        Observation::NoRoom => "no room for a message",
        Observation::Draining(_) => "whether the node is about to stop",
        Observation::Nodes(_) => "list of nodes",
    }
}
