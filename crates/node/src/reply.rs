//! The reply to a message, read from the journal.

use crate::{
    Error,
    api::wire::{MessageState, MessageStatus},
    bucket::NodeStore,
};
use igor_protocol::{
    AgentId, Body, Entry, Seq,
    entry::{Content, Outcome, Request, Run},
    limits::{BLOB_BYTES_MAX, MESSAGE_ATTEMPTS_MAX},
};
use igor_store::Store;

/// Finds what became of the message at `message`: reads the journal from there to the run that closed it. Waits for
/// disks.
pub(crate) fn find(store: &NodeStore, agent: AgentId, message: Seq) -> Result<MessageStatus, Error> {
    let mut attempts = 0;
    for commit in store.read(agent, message)? {
        for (_, _, bytes) in commit?.entries().filter(|(seq, ..)| *seq > message) {
            let Body::Run(run) = Entry::decode(bytes).map_err(igor_spine::Error::from)?.body else { continue };
            if !run.taken().any(|taken| taken == message) {
                continue;
            }
            match &run.outcome {
                Outcome::Ok { .. } => {
                    let reply = reply_in(store, &run, message)?;
                    return Ok(MessageStatus::new(MessageState::Closed, message).with_reply(reply.as_deref()));
                }
                Outcome::Failed { failure, cause } => {
                    attempts += 1;
                    if attempts >= MESSAGE_ATTEMPTS_MAX {
                        let cause = Some(format!("{}: {cause}", failure.name()));
                        return Ok(MessageStatus { cause, ..MessageStatus::new(MessageState::Failed, message) });
                    }
                }
            }
        }
    }
    Ok(MessageStatus::new(MessageState::Open, message))
}

fn reply_in(store: &NodeStore, run: &Run, message: Seq) -> Result<Option<Vec<u8>>, Error> {
    let reply = run.requests.iter().find_map(|request| match request {
        Request::Reply { message: to, body } if *to == message => Some(body),
        _ => None,
    });
    match reply {
        None => Ok(None),
        Some(Content::Inline(bytes)) => Ok(Some(bytes.clone())),
        Some(Content::Blob { hash, .. }) => {
            let bytes = store.get_blob(*hash, BLOB_BYTES_MAX)?;
            let missing = || igor_spine::Error::MissingBlob { what: "a reply", hash: *hash };
            Ok(Some(bytes.ok_or_else(missing)?))
        }
    }
}
