//! What the API answers when it does not do what was asked.

use super::wire::{Elsewhere, ErrorBody, Failure};
use crate::{Error, Rejected, portable::Unreadable};
use axum::{
    extract::rejection::{PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use igor_spine::{command::Refused, custody::NotDeleted};
use std::fmt::Display;

/// A refusal: a status, a code for programs, words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Where to ask instead.
    pub(super) elsewhere: Option<Box<Elsewhere>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), elsewhere: None }
    }

    pub(super) fn bad_request(code: &'static str, why: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, why.to_string())
    }

    pub(super) fn internal(why: &dyn Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why.to_string())
    }

    pub(super) fn not_running(name: &str) -> Self {
        Error::NotRunning { name: name.to_owned() }.into()
    }

    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody { code: self.code.to_owned(), message: self.message.clone(), elsewhere: self.elsewhere.clone() }
    }
}

/// The code of a refusal, beside the response that carries it: for whoever counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reason(pub(super) &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let failure = Failure { error: self.body() };
        let mut response = super::json(self.status, &failure).unwrap_or_else(|refusal| refusal.status.into_response());
        response.extensions_mut().insert(Reason(self.code));
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = axum::http::header::WWW_AUTHENTICATE;
            response.headers_mut().insert(challenge, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = error.store().and_then(store).unwrap_or_else(|| code(&error));
        let elsewhere = if let Error::NotCustodian(elsewhere) = &error { Some(elsewhere.clone()) } else { None };
        Self { elsewhere, ..Self::new(status, code, error.to_string()) }
    }
}

fn code(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::UnknownAgent { .. } | Error::NotDeleted(NotDeleted::Nothing(_)) => {
            (StatusCode::NOT_FOUND, "unknown_agent")
        }
        Error::NotRunning { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_running"),
        Error::Starting { .. } | Error::Custody(igor_spine::custody::Error::Leased(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting")
        }
        Error::Unanswered { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unanswered"),
        Error::OtherSender { .. } => (StatusCode::CONFLICT, "other_sender"),
        Error::Running { .. } => (StatusCode::CONFLICT, "running"),
        Error::Order(_) => (StatusCode::CONFLICT, "order_refused"),
        Error::Ended { .. } => (StatusCode::GONE, "ended"),
        Error::NotCustodian(_) => (StatusCode::CONFLICT, "moved"),
        Error::Undecided { .. } | Error::Given { .. } | Error::Overtaken { .. } => {
            (StatusCode::CONFLICT, "not_custodian")
        }
        // Whoever asks again finds it there or here, or is sent on.
        Error::Moving { .. } => (StatusCode::SERVICE_UNAVAILABLE, "moving"),
        Error::Custody(error) | Error::NotDeleted(NotDeleted::Failed(error)) => custody(error),
        Error::File(Unreadable::Quota { .. } | Unreadable::Blobs { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
        }
        Error::File(_) | Error::BadFile { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad_file"),
        Error::NotDeleted(NotDeleted::Coming(_)) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Error::NotDeleted(_) => (StatusCode::CONFLICT, "not_deleted"),
        Error::NotImported(_) | Error::NotArrived(_) => (StatusCode::CONFLICT, "import_refused"),
        Error::NotATakeover => (StatusCode::BAD_REQUEST, "bad_order"),
        Error::NoPrice { .. } => (StatusCode::BAD_REQUEST, "bad_price"),
        Error::Move(failed) => moving(failed),
        Error::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Error::Impostor { .. } => (StatusCode::CONFLICT, "suspended"),
        Error::Stopped { .. } => (StatusCode::CONFLICT, "stopped"),
        Error::Rejected(rejected) => rejection(rejected),
        Error::Genesis(_) => (StatusCode::CONFLICT, "genesis_refused"),
        Error::Manifest(_) => (StatusCode::BAD_REQUEST, "bad_manifest"),
        Error::NotGranted(_) => (StatusCode::FORBIDDEN, "not_granted"),
        Error::NoRoom(_) | Error::TooMuchStored { .. } => (StatusCode::CONFLICT, "no_room"),
        Error::NameTaken { .. } => (StatusCode::CONFLICT, "name_taken"),
        Error::Local(crate::local::Error::BadName { .. }) => (StatusCode::BAD_REQUEST, "bad_name"),
        Error::Program(igor_sandbox::Error::Refused(_)) => (StatusCode::UNPROCESSABLE_ENTITY, "program_refused"),
        Error::Life(igor_spine::Error::Init(_)) => (StatusCode::UNPROCESSABLE_ENTITY, "init_failed"),
        Error::StoreSilent { .. } => (StatusCode::SERVICE_UNAVAILABLE, "store"),
        Error::Journal(igor_spine::inspect::Error::Bad { .. }) => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// What only a store says, wherever it was met; nothing for the rest.
const fn store(error: &igor_store::Error) -> Option<(StatusCode, &'static str)> {
    use igor_store::Error as Store;
    Some(match error {
        Store::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        Store::NotKept { .. } => (StatusCode::INSUFFICIENT_STORAGE, "not_kept"),
        Store::Corrupt { .. } | Store::Damaged { .. } | Store::RolledBack { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "corrupt")
        }
        Store::Poisoned { .. } | Store::Bucket { .. } | Store::Behind { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "store")
        }
        Store::Quota { .. } => (StatusCode::CONFLICT, "no_room"),
        Store::NoBucket { .. } => (StatusCode::CONFLICT, "in_bucket"),
        _ => return None,
    })
}

const fn custody(error: &igor_spine::custody::Error) -> (StatusCode, &'static str) {
    use igor_spine::custody::Error as Custody;
    match error {
        Custody::Refused(igor_protocol::custody::Refusal::Fault(_)) | Custody::Record(_) => {
            (StatusCode::CONFLICT, "order_refused")
        }
        Custody::Refused(_) => (StatusCode::CONFLICT, "not_custodian"),
        Custody::InBucket(_) => (StatusCode::CONFLICT, "in_bucket"),
        Custody::Order(_) => (StatusCode::CONFLICT, "order_refused"),
        Custody::Leased(_) | Custody::Asleep(_) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        // The node around could not do its part: the agent cannot be gone on with from what is here.
        Custody::Host(_) => (StatusCode::CONFLICT, "cannot_restore"),
        Custody::Own(_) | Custody::Note { .. } | Custody::Unknown(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

const fn rejection(rejected: &Rejected) -> (StatusCode, &'static str) {
    match rejected {
        Rejected::Signature => (StatusCode::FORBIDDEN, "bad_signature"),
        Rejected::Closed { .. } => (StatusCode::FORBIDDEN, "closed"),
        Rejected::Owner { .. } => (StatusCode::FORBIDDEN, "owner_not_served"),
        Rejected::Custodian { .. } => (StatusCode::CONFLICT, "other_custodian"),
        Rejected::Runtime { .. } => (StatusCode::CONFLICT, "other_runtime"),
        Rejected::Expired => (StatusCode::CONFLICT, "expired"),
        Rejected::Price { .. } => (StatusCode::CONFLICT, "price"),
        Rejected::Manifest { .. } | Rejected::Program { .. } => (StatusCode::BAD_REQUEST, "bad_deployment"),
        Rejected::ProgramNeeded { .. } => (StatusCode::PRECONDITION_REQUIRED, "program_needed"),
    }
}

fn moving(failed: &igor_spine::custody::Failed) -> (StatusCode, &'static str) {
    use igor_spine::custody::Failed;
    match failed {
        Failed::Refused(_) => (StatusCode::FORBIDDEN, "move_refused"),
        Failed::Moving => (StatusCode::CONFLICT, "moving"),
        Failed::Declined => (StatusCode::CONFLICT, "move_declined"),
        Failed::OtherHistory(_) => (StatusCode::CONFLICT, "other_history"),
        Failed::Before(_) => (StatusCode::BAD_GATEWAY, "node_unreachable"),
        Failed::Unanswered(_) => (StatusCode::GATEWAY_TIMEOUT, "move_unanswered"),
        Failed::Own(igor_spine::custody::Error::Refused(_)) => (StatusCode::CONFLICT, "not_custodian"),
        Failed::Own(igor_spine::custody::Error::Asleep(_)) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Failed::Own(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

impl From<igor_store::Error> for Refusal {
    fn from(error: igor_store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (status, code) = match &refused {
            Refused::Full { .. } => (StatusCode::TOO_MANY_REQUESTS, "inbox_full"),
            Refused::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Refused::Gap { .. } => (StatusCode::CONFLICT, "gap"),
            Refused::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Refused::Ended(_) => (StatusCode::GONE, "ended"),
            Refused::Order(_) => (StatusCode::CONFLICT, "order_refused"),
            Refused::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store"),
        };
        Self::new(status, code, refused.to_string())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request("bad_path", rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request("bad_query", rejection.body_text())
    }
}
