//! Mistakes that simulated nodes make on purpose, each to see that the oracle finds it.
//!
//! What is left out of custody's rules is [`igor_protocol::custody::Rules`]; here is what those cannot say.

use crate::{files::SimDisk, guest::SimProgram};
use igor_protocol::Fuel;
use igor_store::files::SyncPoint;

/// A run can be killed after so much of its fuel: a tick takes 130 to 280, beside what messages have it burn.
const SLICE: Fuel = Fuel(16);

/// A mistake of every node of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The store answers before it has synced, so that what is not durable is released.
    AnswersBeforeSync,
    /// The log is never synced.
    LogIsNotSynced,
    /// What the keystore is told is never synced.
    KeystoreIsNotSynced,
    /// The bucket's client says that something is there before it is.
    AnswersBeforePut,
    /// The first node uses more fuel for the same run than all others.
    RunsDiffer,
}

impl Planted {
    /// Lets a disk make it.
    pub(super) fn on(self, disk: &SimDisk) {
        match self {
            Self::LogIsNotSynced => disk.skip(SyncPoint::Group),
            Self::KeystoreIsNotSynced => {
                disk.skip(SyncPoint::Local);
                disk.skip(SyncPoint::LocalName);
            }
            Self::AnswersBeforeSync | Self::AnswersBeforePut | Self::RunsDiffer => {}
        }
    }
}

/// The program as this machine runs it.
pub(super) fn program(planted: Option<Planted>, machine: usize) -> SimProgram {
    let more = planted == Some(Planted::RunsDiffer) && machine == 0;
    SimProgram { more_fuel: u64::from(more), slice: Some(SLICE), ..SimProgram::default() }
}
