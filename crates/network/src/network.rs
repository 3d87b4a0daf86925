//! The handle of a running network.
//!
//! Invariants kept here:
//! - Every call ends within its time limit, whatever the peer does.
//! - This node asks a peer no more at once than a peer of this version answers; more of its own requests wait.

use crate::{
    ASK, Config, Error, Handler, Limits, MOVE, Peer, Request, Response, SEEN, Snapshot, Stream, Times,
    book::Book,
    counters::Counters,
    driver::{Command, Driver},
    frame, link,
    message::MESSAGE_BYTES_MAX,
    seen::{self, SEEN_BYTES_MAX},
};
use futures_util::AsyncWriteExt;
use igor_protocol::{NodeId, codec};
use libp2p::Multiaddr;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

/// Commands that wait for the network's task.
const COMMANDS_MAX: usize = 256;
/// Peers whose places for our requests are remembered before those that are free are forgotten.
const HOSTS_MAX: usize = 256;

/// A running network. Clones are the same one; it ends with [`shutdown`](Self::shutdown) or with its last handle.
#[derive(Clone, Debug)]
pub struct Network(Arc<Shared>);

/// What handles and the network's task share.
pub(crate) struct Shared {
    node: NodeId,
    limits: Limits,
    times: Times,
    commands: mpsc::Sender<Command>,
    hosts: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
    pub(crate) state: Arc<State>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the network of {}", self.node)
    }
}

/// What the network's task writes and handles read.
pub(crate) struct State {
    pub(crate) book: Mutex<Book>,
    pub(crate) addresses: Mutex<Vec<Multiaddr>>,
    pub(crate) counters: Arc<Counters>,
}

impl State {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn addresses(&self) -> MutexGuard<'_, Vec<Multiaddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    /// Listens, begins to connect, and serves peers with `handler` from then on. Needs a tokio runtime.
    pub async fn start(config: Config, handler: Arc<dyn Handler>) -> Result<Self, Error> {
        let bootstrap = config.check()?;
        let state = Arc::new(State {
            book: Mutex::new(Book::new(config.times.retry_min, config.times.retry_max)),
            addresses: Mutex::new(vec![]),
            counters: Arc::new(Counters::new()),
        });
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let mut driver = Driver::new(&config, bootstrap, handler, Arc::clone(&state))?;
        driver.listen(&config).await?;
        let shared = Arc::new(Shared {
            node: config.node,
            limits: config.limits,
            times: config.times,
            commands,
            hosts: Mutex::new(HashMap::new()),
            state,
        });
        tokio::spawn(driver.run(received, Arc::downgrade(&shared)));
        Ok(Self(shared))
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Where it listens, as others reach it once `/p2p/ID` is added ([`address_of`](crate::address_of)).
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.0.state.addresses().clone()
    }

    /// All peers that are known, by node id.
    pub fn peers(&self) -> Vec<Peer> {
        self.0.state.book().peers(Instant::now())
    }

    /// Keeps what a peer answered when it was asked for its status.
    pub fn learn_status(&self, node: NodeId, status: crate::Status) {
        self.0.state.book().answered(node, status, Instant::now());
    }

    /// What was counted so far.
    pub fn counters(&self) -> Snapshot {
        self.0.state.counters.read()
    }

    /// Asks a peer and waits for its answer. Connects to it first where an address is known.
    ///
    /// An error after the request was sent does not say whether the peer acted on it.
    pub async fn request(&self, peer: NodeId, request: Request) -> Result<Response, Error> {
        let bytes = request.encode().map_err(Error::TooLarge)?;
        let after = self.0.times.request;
        let asked = timeout(after, self.ask(peer, &bytes)).await;
        let response = asked.unwrap_or(Err(Error::TimedOut { peer, after }))?;
        self.0.state.counters.requests_out(1);
        match (&request, response) {
            (_, Response::Refused { why }) => Err(Error::Refused { peer, why }),
            (Request::Status, response @ Response::Status { .. })
            | (Request::Custody { .. }, response @ Response::Custody { .. })
            | (Request::Tell { .. }, response @ Response::Told { .. })
            | (Request::Pulse { .. }, response @ Response::Following { .. }) => Ok(response),
            _ => {
                let why = "an answer to another request".into();
                Err(Error::Malformed { peer, why: codec::Error::Malformed { what: "response", why } })
            }
        }
    }

    /// Begins a transfer to a peer. Connects to it first where an address is known.
    ///
    /// A peer that has no place for another transfer cuts the stream off at once, which the first frame shows.
    pub async fn open(&self, peer: NodeId) -> Result<Stream, Error> {
        let after = self.0.times.request;
        let opened = timeout(after, self.begin(peer, MOVE)).await;
        let io = opened.unwrap_or(Err(Error::TimedOut { peer, after }))?;
        let counters = Arc::clone(&self.0.state.counters);
        counters.transfers_out(1);
        Ok(Stream::new(io, peer, self.0.limits.frame_bytes, &self.0.times, counters, None, Arc::new(())))
    }

    /// Closes all connections and stops listening. Calls that are under way fail.
    pub async fn shutdown(&self) {
        let (done, finished) = oneshot::channel();
        if self.0.commands.send(Command::Shutdown(done)).await.is_ok() {
            // It fails only where the network has ended.
            let _ = finished.await;
        }
    }

    async fn ask(&self, peer: NodeId, bytes: &[u8]) -> Result<Response, Error> {
        let host = self.host(peer);
        let _place = host.acquire().await.map_err(|_| Error::Closed)?;
        let mut io = self.begin(peer, ASK).await?;
        let cut = |why| Error::Stream { peer, why };
        let header = frame::header(bytes, MESSAGE_BYTES_MAX).map_err(cut)?;
        let sent = async {
            io.write_all(&header).await?;
            io.write_all(bytes).await?;
            io.close().await
        };
        let sent = sent.await;
        // A peer that refuses answers without reading: what it says counts, not that sending failed.
        match (frame::read(&mut io, MESSAGE_BYTES_MAX).await, sent) {
            (Ok(Some(answer)), _) => Response::decode(&answer).map_err(|why| Error::Malformed { peer, why }),
            (_, Err(error)) => Err(cut(error.into())),
            (Ok(None), Ok(())) => Err(cut(frame::Error::Cut)),
            (Err(why), Ok(())) => Err(cut(why)),
        }
    }

    /// Where a peer sees this node.
    pub(crate) async fn seen_by(&self, peer: NodeId) -> Result<Vec<Multiaddr>, Error> {
        let after = self.0.times.request;
        let asked = async {
            let host = self.host(peer);
            let _place = host.acquire().await.map_err(|_| Error::Closed)?;
            let mut io = self.begin(peer, SEEN).await?;
            let answer = frame::read(&mut io, SEEN_BYTES_MAX).await;
            let cut = |why| Error::Stream { peer, why };
            let answer = answer.map_err(cut)?.ok_or(cut(frame::Error::Cut))?;
            seen::decode(&answer).map_err(|why| Error::Malformed { peer, why })
        };
        timeout(after, asked).await.unwrap_or(Err(Error::TimedOut { peer, after }))
    }

    /// A stream of this protocol.
    async fn begin(&self, peer: NodeId, protocol: &'static str) -> Result<libp2p::Stream, Error> {
        let (reply, opened) = oneshot::channel();
        let command = Command::Open(peer, link::Open { protocol, reply });
        self.0.commands.send(command).await.map_err(|_| Error::Closed)?;
        // The question is dropped unanswered only with the connection that it waited on, or with the network.
        let opened = opened.await.unwrap_or_else(|_| Err(link::Failure::Failed("the connection was lost".into())));
        opened.map_err(|failure| match failure {
            link::Failure::Unsupported => Error::Unsupported { peer, protocol },
            link::Failure::Failed(why) => Error::Unreachable { peer, why },
            link::Failure::Unknown => Error::Unknown(peer),
            link::Failure::Unlisted => Error::Unlisted(peer),
        })
    }

    /// The places for our requests with a peer: half as many as a peer of this version answers at once, since it gives
    /// a place back a moment after its answer is here.
    fn host(&self, peer: NodeId) -> Arc<Semaphore> {
        let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = || Arc::new(Semaphore::new(self.0.limits.requests_per_peer.div_ceil(2)));
        Arc::clone(hosts.entry(peer).or_insert_with(places))
    }
}
