//! Why a life cannot go on.

use crate::inspect;
use igor_protocol::{Seq, Tick, codec, ledger::Fault};

/// Why an agent could not be created, recovered or run on. Its journal is as it was durable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed. What was not committed is gone; open the agent again.
    #[error(transparent)]
    Store(#[from] igor_store::Error),
    /// The journal breaks a rule: damage, a forgery, or a defect of this program.
    #[error("the journal breaks a rule at seq=`{seq}`: {fault}")]
    Journal {
        /// The first entry that is wrong.
        seq: Seq,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Replay gave something else than the journal says: evidence, and it is kept.
    #[error("re-executing seq=`{seq}` (tick `{tick}`) gave something else than the journal has: {what}")]
    Diverged {
        /// The run.
        seq: Seq,
        /// Its tick.
        tick: Tick,
        /// What differs.
        what: String,
    },
    /// The journal was written by another runtime, and there are runs to replay.
    #[error(
        "the journal's last runs were made by runtime {journal}; this igor has {here}: run it with that version once, or verify and go on from a checkpoint"
    )]
    Runtime {
        /// The runtime in the journal.
        journal: String,
        /// The runtime here.
        here: String,
    },
    /// A blob that the journal names is not there.
    #[error("{what} with hash {hash} is not in the store")]
    MissingBlob {
        /// What it is.
        what: &'static str,
        /// Its hash.
        hash: igor_protocol::Hash,
    },
    /// There is no such journal.
    #[error("the store has no journal of agent {0}")]
    NoJournal(igor_protocol::AgentId),
    /// The very first run failed; it is recorded and charged.
    #[error("agent_init failed: {0}")]
    Init(String),
    /// The machine failed under a run, which is not recorded: it may go well when it is tried again.
    #[error("this machine could not carry out a run: {0}")]
    Host(String),
    /// Bytes that do not decode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
}

impl From<inspect::Error<igor_store::Error>> for Error {
    fn from(error: inspect::Error<igor_store::Error>) -> Self {
        match error {
            inspect::Error::Source(error) => Self::Store(error),
            inspect::Error::Bad { seq, fault } => Self::Journal { seq, fault },
        }
    }
}
