//! The two membranes: the live one asks the world and records; the replaying one reads the record.
//!
//! Invariants kept here:
//! - Every observation passes [`Recorder`], which counts it against the manifest's limits in the same way live and in
//!   replay, so that a run that goes over a limit does so in both.
//! - In replay nothing of the world is asked, and a question that the journal does not have next stops the run.

mod live;
mod recorder;
mod replay;

pub(crate) use live::{LiveMembrane, Seen};
pub(crate) use recorder::Record;
pub(crate) use replay::ReplayMembrane;

use crate::guest::Answer;
use igor_protocol::{
    Seq,
    entry::{Listed, Observation},
};
use std::{collections::BTreeMap, sync::Arc};

/// The bodies of open messages. A run holds a snapshot; it sees those below the position where it started.
pub(crate) type Inbox = Arc<BTreeMap<Seq, Arc<[u8]>>>;

/// The first message that a run which took `last` may take next.
fn next_message(inbox: &Inbox, last: Option<Seq>, started: Seq) -> Option<(Seq, &[u8])> {
    let first = last.map_or(Seq(0), Seq::next);
    if first >= started {
        return None;
    }
    inbox.range(first..started).next().map(|(seq, body)| (*seq, &**body))
}

/// What the guest is told of an observation.
fn answer(seen: &Observation, message: Option<&[u8]>) -> Answer {
    match seen {
        Observation::Clock(time) => Answer::Number(time.to_guest()),
        Observation::Balance(micro) | Observation::Price(micro) => Answer::Number(*micro),
        Observation::Draining(draining) => Answer::Number(i64::from(*draining)),
        Observation::Nodes(list) => Answer::Bytes(Listed::text(list).into_bytes()),
        Observation::ReceiptCount(count) => Answer::Number(i64::from(*count)),
        Observation::Random(bytes) => Answer::Bytes(bytes.clone()),
        Observation::Receipt(Some(bytes)) => Answer::Bytes(bytes.to_vec()),
        Observation::Message(_) => Answer::Bytes(message.unwrap_or_default().to_vec()),
        Observation::MessageTooLong { bytes } => Answer::TooLong(*bytes),
        Observation::Receipt(None) | Observation::NoMessage | Observation::NoRoom | Observation::Waited => Answer::None,
    }
}
