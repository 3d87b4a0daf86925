//! Reads an agent's journal as it grows, wherever the agent lives: what its node tells once it is durable.
//!
//! Invariants kept here:
//! - Each entry is told once and in order, over kills and moves: reading goes on after the last one.
//! - Only the documented API of a node is asked (`GET /v1/agents/NAME/journal`).

use super::{NAME, audit::Announced};
use igor_node::client::{Address, Client};
use igor_protocol::{
    Body, Commit, Entry, Seq,
    entry::{Call, MessageId},
};
use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, task::AbortHandle};

/// How soon it asks again where there was nothing to read.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// One entry, as far as the story needs it.
#[derive(Debug)]
pub(super) enum News {
    /// A tick is over.
    Tick(Announced),
    /// A message came in; of a stream, its number.
    Message(Option<u64>),
    /// Its money has ended.
    Ended,
    /// Something else.
    Other,
}

/// An entry, and where it stands.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) epoch: String,
    pub(super) news: News,
}

/// Somebody who reads along at one node.
pub(super) struct Watcher {
    told: Receiver<Told>,
    task: AbortHandle,
}

impl Watcher {
    /// Reads along at the node with this socket, from this position on.
    pub(super) fn begin(socket: &Path, from: Seq) -> Self {
        let client = Client::new(Address::Socket(socket.to_owned()));
        let (tell, told) = channel();
        Self { told, task: Handle::current().spawn(read(client, from, tell)).abort_handle() }
    }

    /// The next entry, waiting until `deadline`.
    pub(super) fn hear(&self, deadline: Instant) -> Option<Told> {
        // It never ends by itself, so that nothing to hear is silence.
        self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(client: Client, mut next: Seq, tell: Sender<Told>) {
    loop {
        // A node that is not there, or has no journal of it yet, is asked again.
        if let Ok(mut stream) = client.journal(NAME, next, true).await {
            while let Ok(Some(commit)) = stream.next().await {
                if !tell_all(&commit, next, &tell) {
                    return;
                }
                next = commit.next();
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Tells the entries of a commit from a position on. False where nobody listens any more.
fn tell_all(commit: &Commit, from: Seq, tell: &Sender<Told>) -> bool {
    let epoch = commit.epoch().to_string();
    commit.entries().filter(|(seq, ..)| *seq >= from).all(|(seq, head, bytes)| {
        let news = match Entry::decode(bytes).map(|entry| entry.body) {
            Ok(Body::Run(run)) if matches!(run.call, Call::Tick(_)) => {
                News::Tick(Announced { tick: run.tick.0, seq: seq.0, head: head.to_string() })
            }
            Ok(Body::Message(message)) => News::Message(match message.id {
                MessageId::Numbered { n, .. } => Some(n),
                MessageId::Opaque(_) => None,
            }),
            Ok(Body::End(_)) => News::Ended,
            _ => News::Other,
        };
        tell.send(Told { seq: seq.0, epoch: epoch.clone(), news }).is_ok()
    })
}
