//! Messages on their way in, and their replies on the way out.
//!
//! Invariants kept here:
//! - A message is answered 202 only once it is committed.
//! - Messages of one request are put to the agent in their order, and together, so that one commit can take them all.
//! - Nothing is taken from another sender than the request names: it would be another message.
//! - A reply is read from the journal, so it is the same whenever it is asked for.

use super::{
    Shared,
    agents::Named,
    guard::Caller,
    json,
    refusal::Refusal,
    wire::{
        BATCH_MAX, BODY_BYTES_MAX, Batch, BatchAnswer, MessageAnswer, MessageState, MessageStatus, SenderInfo,
        StreamInfo, Taken, WAIT_SECONDS_MAX,
    },
};
use crate::{Error, hosted::Hosted, node::blocking, reply};
use axum::{
    Extension,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use igor_protocol::{
    Seq,
    entry::{MessageId, Sender},
    limits::MESSAGE_ID_BYTES_MAX,
};
use igor_spine::command::{Command, Delivered, Lookup, Parcel, Refused};
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

/// So much of the sender that a request names is repeated in a refusal.
const SENDER_CHARS_MAX: usize = 160;

/// Reads a body of at most so many bytes within a time.
pub(super) async fn read_body(body: Body, bytes_max: usize, within: Duration) -> Result<Bytes, Refusal> {
    let too_large = || {
        let words = format!("the body is longer than {bytes_max} bytes; send less at once");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", words)
    };
    // A length that is said is refused before any of it is read.
    if hyper::body::Body::size_hint(&body).lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match timeout(within, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(e)) => Err(Refusal::bad_request("bad_body", e)),
        Err(_) => {
            let words = format!("the body did not come within {} s", within.as_secs_f32());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", words))
        }
    }
}

pub(super) async fn take(
    State(api): State<Shared>,
    Extension(Caller(sender)): Extension<Caller>,
    name: Named,
    body: Body,
) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let life = api.life(&name).await?;
    let bytes = read_body(body, BODY_BYTES_MAX, api.limits.body_within).await?;
    let batch: Batch = serde_json::from_slice(&bytes).map_err(|e| Refusal::bad_request("bad_json", e))?;
    if !(1..=BATCH_MAX).contains(&batch.messages.len()) {
        let words = format!("a request has 1 to {BATCH_MAX} messages; this one has {}", batch.messages.len());
        return Err(Refusal::bad_request("batch_size", words));
    }
    if let Some(asked) = batch.sender.filter(|asked| *asked != sender.label()) {
        let asked = asked.chars().take(SENDER_CHARS_MAX).collect();
        return Err(Error::OtherSender { asked, is: sender.label() }.into());
    }
    // All are checked before the first is taken.
    let parts = batch.messages.into_iter().map(|message| {
        let (id, body) = message.into_parts().map_err(|e| Refusal::bad_request("bad_message", e))?;
        check_id(&id)?;
        Ok(Parcel { sender: sender.clone(), id, body })
    });
    let parcels = parts.collect::<Result<Vec<_>, Refusal>>()?;
    let mut answers = Vec::with_capacity(parcels.len());
    for parcel in parcels {
        let (answer, answered) = oneshot::channel();
        match life.command(Command::Deliver { parcel, answer }).await {
            // Those before it may have been taken.
            Err(_) if !answers.is_empty() => return Err(Error::Unanswered { name }.into()),
            other => other?,
        }
        answers.push(answered);
    }
    let mut results = Vec::with_capacity(answers.len());
    let mut first_refused = None;
    for answered in answers {
        let delivered = answered.await.map_err(|_| Error::Unanswered { name: name.clone() })?;
        if let Err(refused) = &delivered {
            first_refused.get_or_insert_with(|| Refusal::from(refused.clone()).status);
        }
        results.push(answer(delivered));
    }
    let status = first_refused.unwrap_or(StatusCode::ACCEPTED);
    let mut response = json(status, &BatchAnswer { results })?;
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn answer(delivered: Result<Delivered, Refused>) -> MessageAnswer {
    match delivered {
        Ok(Delivered { seq, duplicate, epoch, sealed: (sealed_seq, head), seal }) => {
            MessageAnswer::Taken(Taken { seq, duplicate, epoch, sealed_seq, head, signature: seal.signature })
        }
        Err(refused) => {
            let refusal = Refusal::from(refused);
            MessageAnswer::Refused { status: refusal.status.as_u16(), error: refusal.body() }
        }
    }
}

fn check_id(id: &MessageId) -> Result<(), Refusal> {
    let (name, numbered_from_one) = match id {
        MessageId::Opaque(name) => (name, true),
        MessageId::Numbered { stream, n } => (stream, *n > 0),
    };
    if !(1..=MESSAGE_ID_BYTES_MAX).contains(&name.len()) {
        let words = format!("a message id or stream name has 1 to {MESSAGE_ID_BYTES_MAX} bytes");
        return Err(Refusal::bad_request("bad_message", words));
    }
    if !numbered_from_one {
        return Err(Refusal::bad_request("bad_message", "the messages of a stream are numbered from 1"));
    }
    Ok(())
}

/// Says who asks.
pub(super) async fn sender(Extension(Caller(sender)): Extension<Caller>) -> Result<Response, Refusal> {
    json(StatusCode::OK, &SenderInfo { sender: sender.label() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    #[serde(default)]
    wait: u64,
}

pub(super) async fn status(
    State(api): State<Shared>,
    Extension(Caller(sender)): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    patience: Result<Query<Patience>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path((name, id)), Query(Patience { wait })) = (path?, patience?);
    if wait > WAIT_SECONDS_MAX {
        let words = format!("`wait` is at most {WAIT_SECONDS_MAX} seconds; ask again after that");
        return Err(Refusal::bad_request("bad_query", words));
    }
    let until = Instant::now() + Duration::from_secs(wait);
    let life = api.life(&name).await?;
    let id = MessageId::Opaque(id);
    check_id(&id)?;
    let seq = match lookup(&life, &sender, &id).await? {
        Lookup::Open(seq) | Lookup::Closed(seq) => seq,
        Lookup::Unknown | Lookup::Stream(_) => {
            let words = "no message of yours with this id came, or it is no longer remembered";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_message", words));
        }
    };
    // Waiting begins before the second look, so that a reply in between is not missed.
    let closed = life.await_closing(seq);
    if matches!(lookup(&life, &sender, &id).await?, Lookup::Open(_)) {
        match timeout_at(until, closed).await {
            Err(_) => return json(StatusCode::OK, &MessageStatus::new(MessageState::Open, seq)),
            Ok(Err(_)) => return Err(Refusal::not_running(&name)),
            Ok(Ok(())) => {}
        }
    }
    let status = find_reply(&api, &life, seq).await?;
    json(StatusCode::OK, &status)
}

async fn find_reply(api: &Shared, life: &Hosted, seq: Seq) -> Result<MessageStatus, Refusal> {
    let (store, agent) = (api.node.store().clone(), life.agent());
    Ok(blocking(move || reply::find(&store, agent, seq)).await?)
}

async fn lookup(life: &Hosted, sender: &Sender, id: &MessageId) -> Result<Lookup, Error> {
    let (answer, answered) = oneshot::channel();
    life.command(Command::Lookup { sender: sender.clone(), id: id.clone(), answer }).await?;
    answered.await.map_err(|_| Error::NotRunning { name: life.name().to_owned() })
}

pub(super) async fn stream(
    State(api): State<Shared>,
    Extension(Caller(sender)): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((name, stream)) = path?;
    let life = api.life(&name).await?;
    // Number 0 is no message: it asks for the highest.
    let id = MessageId::Numbered { stream: stream.clone(), n: 0 };
    let highest = match lookup(&life, &sender, &id).await? {
        Lookup::Stream(highest) => highest,
        Lookup::Unknown | Lookup::Open(_) | Lookup::Closed(_) => 0,
    };
    json(StatusCode::OK, &StreamInfo { stream, highest })
}
