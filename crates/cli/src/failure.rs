//! Why a command did not do what was asked, and the exit code that says so to scripts.
//!
//! Invariant: every error of every layer becomes exactly one code here, and nowhere else.

use igor_node::{api::wire::Elsewhere, portable::Unreadable};
use igor_protocol::{Seq, verify};
use igor_spine::{custody::NotDeleted, inspect};
use std::fmt::Display;

/// What an exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Stdout was closed by whoever read it. They have what they wanted.
    Closed = 0,
    /// It failed.
    Failed = 1,
    /// It was asked for in a wrong way.
    Usage = 2,
    /// Policy, custody, a limit or a price does not allow it.
    Refused = 3,
    /// Something is corrupt, truncated, forged or diverged.
    Integrity = 4,
    /// A node does not answer.
    Unreachable = 5,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Code,
    message: String,
    seq: Option<Seq>,
    passing: bool,
    elsewhere: Option<Box<Elsewhere>>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string(), seq: None, passing: false, elsewhere: None }
    }

    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(Code::Failed, message)
    }

    pub(crate) fn refused(message: impl Display) -> Self {
        Self::new(Code::Refused, message)
    }

    pub(crate) fn integrity(message: impl Display) -> Self {
        Self::new(Code::Integrity, message)
    }

    pub(crate) fn unreachable(message: impl Display) -> Self {
        Self::new(Code::Unreachable, message)
    }

    /// The same, for what goes by: the home changes hands, or its node does not answer now.
    pub(crate) fn passing(self) -> Self {
        Self { passing: true, ..self }
    }

    /// Whether trying again may be all that it takes.
    pub(crate) const fn is_passing(&self) -> bool {
        self.passing
    }

    /// The entry that is corrupt, where the store says which.
    pub(crate) const fn seq(&self) -> Option<Seq> {
        self.seq
    }

    /// Who has the agent that is not where it was asked for.
    pub(crate) fn elsewhere(&self) -> Option<&Elsewhere> {
        self.elsewhere.as_deref()
    }

    /// The same, with what was being done before it.
    pub(crate) fn while_at(self, what: impl Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

/// Each error of the layers below says by itself what it means to whoever called.
macro_rules! failures {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(Code::from(&error), error)
            }
        }
    )*};
}

failures!(verify::Bad, igor_spine::Error, igor_sandbox::Error, igor_node::home::Error, igor_node::local::Error,);

impl From<igor_node::Error> for Failure {
    fn from(error: igor_node::Error) -> Self {
        match error {
            igor_node::Error::Store(error) => error.into(),
            igor_node::Error::File(error) => error.into(),
            igor_node::Error::NotCustodian(elsewhere) => {
                let error = igor_node::Error::NotCustodian(elsewhere.clone());
                Self { elsewhere: Some(elsewhere), ..Self::refused(error) }
            }
            // Whoever asks again finds it there or here, or is sent on.
            moving @ igor_node::Error::Moving { .. } => Self::new(Code::from(&moving), moving).passing(),
            other => Self::new(Code::from(&other), other),
        }
    }
}

impl From<igor_node::client::Error> for Failure {
    fn from(error: igor_node::client::Error) -> Self {
        let elsewhere = match &error {
            igor_node::client::Error::Moved { elsewhere, .. } => Some(elsewhere.clone()),
            _ => None,
        };
        Self { passing: error.is_passing(), elsewhere, ..Self::new(Code::from(&error), error) }
    }
}

impl From<igor_store::Error> for Failure {
    fn from(error: igor_store::Error) -> Self {
        let seq = if let igor_store::Error::Corrupt { seq, .. } = &error { Some(*seq) } else { None };
        let passing = matches!(error, igor_store::Error::Locked { .. });
        Self { seq, passing, ..Self::new(Code::from(&error), error) }
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self { seq: error.seq(), ..Self::new(Code::from(&error), error) }
    }
}

impl<E: Into<Failure> + Display> From<inspect::Error<E>> for Failure {
    fn from(error: inspect::Error<E>) -> Self {
        match error {
            inspect::Error::Source(error) => error.into(),
            bad @ inspect::Error::Bad { .. } => Self::integrity(bad),
        }
    }
}

impl From<&Unreadable> for Code {
    fn from(error: &Unreadable) -> Self {
        match error {
            Unreadable::Io { .. } | Unreadable::Directory { .. } => Self::Failed,
            Unreadable::Quota { .. } | Unreadable::Blobs { .. } => Self::Refused,
            Unreadable::Format { .. } | Unreadable::Content { .. } => Self::Integrity,
        }
    }
}

impl From<&verify::Bad> for Code {
    fn from(_: &verify::Bad) -> Self {
        Self::Integrity
    }
}

impl From<&igor_store::Error> for Code {
    fn from(error: &igor_store::Error) -> Self {
        use igor_store::{Error as E, bucket::Failure as Bucket};
        match error {
            E::Corrupt { .. } | E::Damaged { .. } | E::RolledBack { .. } => Self::Integrity,
            E::Bucket { failure: Bucket::Unknown { .. }, .. } | E::Behind { .. } => Self::Unreachable,
            E::Bucket { .. }
            | E::NoBucket { .. }
            | E::Quota { .. }
            | E::NotAdmitted { .. }
            | E::Conflict { .. }
            | E::Fenced { .. }
            | E::Locked { .. }
            | E::OtherVersion { .. }
            | E::NotAHome { .. }
            | E::TooLarge { .. }
            | E::BadName { .. } => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl From<&igor_spine::Error> for Code {
    fn from(error: &igor_spine::Error) -> Self {
        use igor_spine::Error as E;
        match error {
            E::Store(error) => error.into(),
            E::Journal { .. } | E::Diverged { .. } | E::MissingBlob { .. } | E::Codec(_) => Self::Integrity,
            E::Runtime { .. } => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl From<&igor_sandbox::Error> for Code {
    fn from(error: &igor_sandbox::Error) -> Self {
        match error {
            igor_sandbox::Error::Refused(_) => Self::Refused,
            igor_sandbox::Error::Host(_) => Self::Failed,
        }
    }
}

impl From<&igor_node::home::Error> for Code {
    fn from(error: &igor_node::home::Error) -> Self {
        use igor_node::home::Error as E;
        match error {
            E::Exposed { .. } | E::KeyVersion { .. } | E::Config { .. } | E::NotADirectory { .. } => Self::Refused,
            E::BadKey { .. } | E::BadCounter { .. } => Self::Integrity,
            _ => Self::Failed,
        }
    }
}

impl From<&igor_node::local::Error> for Code {
    fn from(error: &igor_node::local::Error) -> Self {
        use igor_node::local::Error as E;
        match error {
            E::Store(error) => error.into(),
            E::Damaged { .. } => Self::Integrity,
            E::BadName { .. } => Self::Refused,
        }
    }
}

impl From<&igor_node::client::Error> for Code {
    fn from(error: &igor_node::client::Error) -> Self {
        use igor_node::client::Error as E;
        match error {
            E::Refused { code, .. } if ["corrupt", "bad_file"].contains(&code.as_str()) => Self::Integrity,
            // Also where an agent is moving: who asks again finds it, or is sent on.
            E::Unreachable { .. }
            | E::Interrupted { .. }
            | E::Timeout { .. }
            | E::Refused { status: 408 | 429 | 503, .. } => Self::Unreachable,
            // An answer that goes on has had its status before it failed.
            E::Refused { code, .. } if ["node_unreachable", "move_unanswered"].contains(&code.as_str()) => {
                Self::Unreachable
            }
            E::Refused { code, .. }
                if ["move_refused", "move_declined", "moving", "other_history", "not_custodian", "stopped"]
                    .contains(&code.as_str()) =>
            {
                Self::Refused
            }
            E::Refused { status: 500.., .. } | E::NotFound { .. } | E::Protocol { .. } => Self::Failed,
            E::Moved { .. } | E::Refused { .. } => Self::Refused,
        }
    }
}

impl From<&igor_node::Error> for Code {
    fn from(error: &igor_node::Error) -> Self {
        use igor_node::Error as E;
        match error {
            E::Home(error) => error.into(),
            E::Store(error) | E::Journal(inspect::Error::Source(error)) => error.into(),
            E::Local(error) => error.into(),
            E::Life(error) => error.into(),
            E::Journal(inspect::Error::Bad { .. }) | E::BadFile { .. } => Self::Integrity,
            E::File(error) => error.into(),
            E::Program(error) => error.into(),
            E::Moving { .. } | E::Unanswered { .. } | E::StoreSilent { .. } => Self::Unreachable,
            E::NoBucket(why) if why.is_unreachable() => Self::Unreachable,
            E::UnknownAgent { .. }
            | E::NotDeleted(NotDeleted::Nothing(_) | NotDeleted::Failed(_))
            | E::NotRunning { .. }
            | E::Vanished
            | E::Listen { .. } => Self::Failed,
            _ => Self::Refused,
        }
    }
}
