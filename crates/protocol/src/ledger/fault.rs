//! What can be wrong with a journal.

use crate::{codec, units::Credits};

/// Why an entry may not stand where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not a commit or an entry.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// The bytes of a commit contradict themselves.
    #[error(transparent)]
    Commit(#[from] crate::commit::Error),
    /// The commit is not what comes next in this journal.
    #[error("the commit does not link to the journal: {0}")]
    Link(&'static str),
    /// A signature is missing or by someone else.
    #[error("the signature of {0} is not valid")]
    Signature(&'static str),
    /// An order that does not count here.
    #[error("the order is refused: {0}")]
    Order(&'static str),
    /// A change of custody that does not count here.
    #[error("the change of custody is refused: {0}")]
    Custody(&'static str),
    /// A cost that is not what the run may be billed.
    #[error("the run was charged {charged} credits; its bill comes to {allowed}")]
    Bill {
        /// What the entry says.
        charged: Credits,
        /// What measure, ceiling, terms and balance make of it.
        allowed: Credits,
    },
    /// Money that does not add up.
    #[error("the money does not add up: {0}")]
    Money(&'static str),
    /// Times that cannot have been.
    #[error("the time is not plausible: {0}")]
    Time(&'static str),
    /// A message that may not come in, or was not taken as it should be.
    #[error("the messages do not agree: {0}")]
    Message(&'static str),
    /// A run that saw something else than what the ledger says.
    #[error("the run observed something else than the ledger says: {0}")]
    Observation(&'static str),
    /// An entry that may not come at this place.
    #[error("{0}")]
    Place(&'static str),
    /// A limit of the manifest was passed.
    #[error("over a limit of the manifest: {0}")]
    Limit(&'static str),
    /// A checkpoint that does not hold what it must.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(&'static str),
    /// A blob that the journal needs is not there or not what its hash says.
    #[error("blob {0} is missing or damaged")]
    Blob(crate::Hash),
}
