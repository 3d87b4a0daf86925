//! Appending a journal that is there already, as it is: an import, a transfer.
//!
//! Invariant: commits are asked for in their order, each only while all before it are durable or on their way. So what a
//! cut or a crash leaves is a beginning of that journal, and it goes on at [`Store::tail`].

use crate::{Error, Store};
use igor_protocol::Commit;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Commits that may be on their way at once. Those of a full group share one sync.
const IN_FLIGHT_MAX: usize = 64;

/// Appends commits in order, many at a time, and returns once all are durable.
///
/// At the first error, of `commits` or of the store, nothing more is asked for. Commits before the one that failed may
/// be durable; those after it link to it, so the store takes none of them.
pub async fn append_all<S: Store, E: From<Error>>(
    store: &S,
    commits: impl IntoIterator<Item = Result<Commit, E>>,
) -> Result<(), E> {
    let mut in_flight: VecDeque<Pin<Box<_>>> = VecDeque::new();
    let mut wrong = Ok(());
    for commit in commits {
        let commit = match commit {
            Ok(commit) => commit,
            Err(e) => {
                wrong = Err(e);
                break;
            }
        };
        if in_flight.len() == IN_FLIGHT_MAX
            && let Some(first) = in_flight.pop_front()
        {
            first.await?;
        }
        let mut append = Box::pin(store.append(commit));
        // Asked for now, in its place; answered later.
        match poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await {
            Poll::Ready(appended) => appended?,
            Poll::Pending => in_flight.push_back(append),
        }
    }
    for append in in_flight {
        append.await?;
    }
    wrong
}
