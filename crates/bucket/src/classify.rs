//! What an error means to its caller.
//!
//! The rule: *refused* is only what certainly had no effect **and** would be refused again; *unknown* is all else, so
//! that in doubt a caller sends the same bytes again and compares.

#[cfg(test)]
mod tests;

use crate::Address;
use crate::counters::Kind;
use crate::http::Seen;
use igor_store::bucket::Failure;

/// What came of a call that was not simply done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is one of this key already.
    Exists,
    /// There is none of this key.
    Absent,
    Failed {
        failure: Failure,
        throttled: bool,
    },
}

/// Codes of a server that wants fewer requests, whatever status they come with.
const THROTTLING: [&str; 11] = [
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServerBusy",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "rateLimitExceeded",
    "userRateLimitExceeded",
];

/// Codes of what else passes by itself.
const PASSING: [&str; 11] = [
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "InternalServerError",
    "OperationAborted",
    "OperationTimedOut",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "XAmzContentSHA256Mismatch",
];

/// `said` is the client's own error.
pub(crate) fn classify(kind: Kind, seen: &Seen, address: &Address, said: &object_store::Error) -> Verdict {
    match seen {
        // A request that was not made had no effect: its credentials could not be had, or its settings are wrong.
        Seen::Nothing => refused(said.to_string()),
        Seen::Sent => unknown(said.to_string()),
        Seen::Broken { why } => unknown(why.clone()),
        Seen::Answer { status, code, words } => answered(kind, *status, code, words, address, said),
    }
}

fn answered(
    kind: Kind,
    status: u16,
    code: &str,
    words: &str,
    address: &Address,
    said: &object_store::Error,
) -> Verdict {
    // What the client makes of it counts too: it knows whether it was the bucket that answered, or who gives credentials.
    let exists = matches!(said, object_store::Error::AlreadyExists { .. });
    let not_found = matches!(said, object_store::Error::NotFound { .. });
    let is_absent = not_found && matches!(code, "NoSuchKey" | "BlobNotFound");
    match (status, kind) {
        (412 | 304, Kind::Create) if exists => return Verdict::Exists,
        (409, Kind::Create) if exists && matches!(code, "BlobAlreadyExists" | "UnauthorizedBlobOverwrite") => {
            return Verdict::Exists;
        }
        (404, Kind::Get | Kind::Delete) if is_absent => return Verdict::Absent,
        // Azure's deletions are batches of one, which are answered apart from what is in them.
        (200..=299, Kind::Delete) if not_found => return Verdict::Absent,
        _ => {}
    }
    let mut answer = status.to_string();
    for part in [code, words].iter().filter(|part| !part.is_empty()) {
        answer.push(' ');
        answer.push_str(part);
    }
    match status {
        // Done, but the rest of the answer broke off or makes no sense.
        200..=299 => unknown(format!("it began with {status}, but {said}")),
        429 | 503 => throttled(answer),
        _ if THROTTLING.contains(&code) => throttled(answer),
        500..=599 if status != 501 && status != 505 => unknown(answer),
        // A new bucket's name may take its time; conflicts are with another request that is under way.
        307 | 408 | 409 | 425 => unknown(answer),
        _ if PASSING.contains(&code) => unknown(answer),
        // No word of a bucket or a key: something in between answered, or this is no object storage.
        404 if code.is_empty() => unknown(format!("{answer} without saying of what: is this the server of a bucket?")),
        _ => match way_out(status, code, address) {
            Some(way_out) => refused(format!("{answer}: {way_out}")),
            None => refused(answer),
        },
    }
}

fn way_out(status: u16, code: &str, address: &Address) -> Option<String> {
    Some(match (status, code) {
        (_, "NoSuchBucket" | "ContainerNotFound") => {
            let bucket = address.bucket();
            format!(
                "there is no bucket `{bucket}`; make it with the provider's tools, such as `aws s3 mb s3://{bucket}`"
            )
        }
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "AuthenticationFailed") => {
            "the credentials are wrong or of another server".to_owned()
        }
        (_, "ExpiredToken") => "the credentials have expired; get new ones".to_owned(),
        (_, "RequestTimeTooSkewed") => "this machine's clock is wrong".to_owned(),
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") | (301, _) => {
            "the bucket is in another region; set `region`".to_owned()
        }
        (501, _) => "the server lacks what the shared store needs; see which ones are known to work".to_owned(),
        (401 | 403, _) => {
            format!(
                "these credentials may not do this in {address}, if there is that bucket; they need to read, write, list \
                 and delete"
            )
        }
        _ => return None,
    })
}

fn unknown(why: String) -> Verdict {
    Verdict::Failed { failure: Failure::Unknown { why }, throttled: false }
}

fn throttled(why: String) -> Verdict {
    Verdict::Failed { failure: Failure::Unknown { why }, throttled: true }
}

fn refused(why: String) -> Verdict {
    Verdict::Failed { failure: Failure::Refused { why }, throttled: false }
}
