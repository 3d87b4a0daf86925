//! What a run has seen and asked for so far, counted against its limits.

use crate::guest::{Held, Hold, Stop};
use igor_protocol::{
    Seq, Timestamp,
    entry::{Observation, Request},
    limits::INLINE_BYTES_MAX,
    manifest::Limits,
};

/// Everything that a run did through its membrane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) observations: Vec<Observation>,
    pub(crate) logs: Vec<String>,
    pub(crate) replies: Vec<(Seq, Vec<u8>)>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) finish: bool,
}

impl Record {
    /// The requests of the run, with the bodies that are too long to be inline.
    pub(crate) fn requests(&self) -> (Vec<Request>, Vec<Vec<u8>>) {
        let mut blobs = Vec::new();
        let mut requests = Vec::with_capacity(self.replies.len());
        for (message, body) in &self.replies {
            if body.len() > INLINE_BYTES_MAX {
                blobs.push(body.clone());
            }
            requests.push(Request::Reply { message: *message, body: igor_protocol::entry::Content::of(body) });
        }
        requests.extend(self.wake_at.map(Request::WakeAt));
        requests.extend(self.finish.then_some(Request::Finish));
        (requests, blobs)
    }
}

/// A record under construction.
#[derive(Debug)]
pub(super) struct Recorder {
    limits: Limits,
    pub(super) record: Record,
    log_bytes: u64,
    observed_bytes: u64,
    requested: u32,
}

impl Recorder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, record: Record::default(), log_bytes: 0, observed_bytes: 0, requested: 0 }
    }

    /// Counts an observation before it is made. `bytes` is what it will hold beside its kind.
    pub(super) fn count_observation(&mut self, bytes: u64) -> Result<(), Stop> {
        self.observed_bytes = self.observed_bytes.saturating_add(bytes);
        if self.record.observations.len() as u64 >= u64::from(self.limits.observations) {
            return Err(Stop::OverLimit("limits.observations"));
        }
        if self.observed_bytes > u64::from(self.limits.observed_bytes) {
            return Err(Stop::OverLimit("limits.observed_bytes"));
        }
        Ok(())
    }

    pub(super) fn hold(&mut self, held: Held) -> Result<Hold, Stop> {
        match held {
            Held::Log(line) => {
                // An empty line is an entry too, so it counts as a byte.
                self.log_bytes = self.log_bytes.saturating_add(line.len().max(1) as u64);
                if self.log_bytes > u64::from(self.limits.log_bytes) {
                    return Err(Stop::OverLimit("limits.log_bytes"));
                }
                self.record.logs.push(line);
            }
            Held::Reply(body) => return self.reply(body),
            Held::WakeAt(time) => {
                self.count_request()?;
                self.record.wake_at = Some(Timestamp(u64::try_from(time).unwrap_or(0)));
            }
            Held::Finish => {
                self.count_request()?;
                self.record.finish = true;
            }
        }
        Ok(Hold::Held)
    }

    fn reply(&mut self, body: Vec<u8>) -> Result<Hold, Stop> {
        let taken = self.record.observations.iter().rev().find_map(|seen| match seen {
            Observation::Message(seq) => Some(*seq),
            _ => None,
        });
        let Some(message) = taken else { return Ok(Hold::NoMessage) };
        if self.record.replies.last().is_some_and(|(last, _)| *last == message) {
            return Ok(Hold::AlreadyReplied);
        }
        if body.len() as u64 > u64::from(self.limits.message_bytes) {
            return Ok(Hold::TooLong);
        }
        self.count_request()?;
        self.record.replies.push((message, body));
        Ok(Hold::Held)
    }

    fn count_request(&mut self) -> Result<(), Stop> {
        self.requested = self.requested.saturating_add(1);
        if self.requested > self.limits.observations { Err(Stop::OverLimit("limits.observations")) } else { Ok(()) }
    }
}
