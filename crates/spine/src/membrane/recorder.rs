//! What a run has seen and asked for so far, counted against its limits.

use crate::guest::{Held, Hold, Stop};
use igor_protocol::{
    Seq, Timestamp,
    entry::{Destination, Observation, Request},
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
    pub(crate) move_to: Option<Destination>,
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
        requests.extend(self.move_to.map(Request::MigrateTo));
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
    reply_bytes: u64,
    requested: u32,
    /// The message that was taken last, and whether it has its reply.
    pub(super) taken: Option<Seq>,
    replied: bool,
}

impl Recorder {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            record: Record::default(),
            log_bytes: 0,
            observed_bytes: 0,
            reply_bytes: 0,
            requested: 0,
            taken: None,
            replied: false,
        }
    }

    /// Whether a message of this length may still be taken.
    pub(super) fn has_room(&self, seq: Seq, bytes: usize) -> bool {
        let weight = Observation::Message(seq).weight(bytes as u64);
        self.observed_bytes.saturating_add(weight) <= u64::from(self.limits.observed_bytes)
    }

    /// Whether one more observation of this weight is within the limits.
    pub(super) fn check(&self, weight: u64) -> Result<(), Stop> {
        if self.record.observations.len() as u64 >= u64::from(self.limits.observations) {
            return Err(Stop::OverLimit("limits.observations"));
        }
        if self.observed_bytes.saturating_add(weight) > u64::from(self.limits.observed_bytes) {
            return Err(Stop::OverLimit("limits.observed_bytes"));
        }
        Ok(())
    }

    /// Records an observation, unless it is one too many. `message_bytes` is the body of a message that is taken.
    pub(super) fn observe(&mut self, seen: Observation, message_bytes: usize) -> Result<(), Stop> {
        let weight = seen.weight(message_bytes as u64);
        self.check(weight)?;
        self.observed_bytes = self.observed_bytes.saturating_add(weight);
        if let Observation::Message(seq) = seen {
            (self.taken, self.replied) = (Some(seq), false);
        }
        self.record.observations.push(seen);
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
            Held::MigrateTo(to) => {
                self.count_request()?;
                self.record.move_to = Some(to);
            }
        }
        Ok(Hold::Held)
    }

    fn reply(&mut self, body: Vec<u8>) -> Result<Hold, Stop> {
        let Some(message) = self.taken else { return Ok(Hold::NoMessage) };
        if self.replied {
            return Ok(Hold::AlreadyReplied);
        }
        if body.len() as u64 > u64::from(self.limits.message_bytes) {
            return Ok(Hold::TooLong);
        }
        self.count_request()?;
        // As much may go out as may come in, so that a run always fits its entry.
        self.reply_bytes = self.reply_bytes.saturating_add(body.len() as u64 + 64);
        if self.reply_bytes > u64::from(self.limits.observed_bytes) {
            return Err(Stop::OverLimit("limits.observed_bytes (for the sum of all replies of a run)"));
        }
        self.record.replies.push((message, body));
        self.replied = true;
        Ok(Hold::Held)
    }

    fn count_request(&mut self) -> Result<(), Stop> {
        self.requested = self.requested.saturating_add(1);
        if self.requested > self.limits.observations { Err(Stop::OverLimit("limits.observations")) } else { Ok(()) }
    }
}
