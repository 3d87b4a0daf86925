//! The network, as custody sees it. A node without one knows nobody.

use super::queue::{Queue, Turn};
use igor_network::{Network, Request, Response, Stream, Why, message::AGENTS_MAX};
use igor_protocol::{AgentId, NodeId, custody::Tidings};
use igor_spine::{
    custody::Peers,
    moving::{Cut, Link},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Answers that wait to be heard; who asked waits as well.
const HEARD_MAX: usize = 256;
/// Pause after a node said that it is busy.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// Pause between two questions to one node: far below what it answers.
const ASK_PAUSE: Duration = Duration::from_millis(50);

/// An answer, and what is dropped once it was taken in.
pub(crate) type Heard = (Tidings, oneshot::Sender<()>);

/// The other nodes.
pub(crate) struct NodePeers {
    network: OnceLock<(Network, Option<u32>)>,
    heard: mpsc::Sender<Heard>,
    questions: Arc<Questions>,
    /// Nodes that are being told of takeovers.
    telling: Mutex<BTreeSet<NodeId>>,
    queue: Queue,
}

/// A node is being told of takeovers, until this is dropped.
pub(crate) struct Telling<'a> {
    peers: &'a NodePeers,
    to: NodeId,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.peers.telling().remove(&self.to);
    }
}

/// What is still to be asked, and who has answered.
struct Questions {
    /// Who has an entry is being asked, by one task.
    due: Mutex<BTreeMap<NodeId, BTreeSet<AgentId>>>,
    /// Nodes that have answered all that they were asked so far, and were heard.
    answered: watch::Sender<BTreeSet<NodeId>>,
}

impl Questions {
    fn due(&self) -> MutexGuard<'_, BTreeMap<NodeId, BTreeSet<AgentId>>> {
        // No update can fail in the middle.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to ask a node next. Once that is nothing, its task ends.
    fn next(&self, to: NodeId) -> Option<Vec<AgentId>> {
        let mut due = self.due();
        let agents: Vec<_> = due.get(&to)?.iter().take(AGENTS_MAX).copied().collect();
        if agents.is_empty() {
            due.remove(&to);
            // Before anything else is asked.
            self.answered.send_if_modified(|answered| answered.insert(to));
            return None;
        }
        Some(agents)
    }

    fn done(&self, to: NodeId, agents: &[AgentId]) {
        if let Some(due) = self.due().get_mut(&to) {
            due.retain(|agent| !agents.contains(agent));
        }
    }
}

/// A stream to another node.
pub(crate) struct NodeLink {
    stream: Stream,
    /// Closed when the network has ended, of a stream that another node began.
    network: Option<watch::Receiver<()>>,
    /// Given back when the stream is closed, of one that this node began.
    _turn: Option<Turn>,
}

/// Comes back when the network has ended.
async fn ended(network: &mut Option<watch::Receiver<()>>) {
    match network {
        // Nothing is ever sent.
        Some(network) => while network.changed().await.is_ok() {},
        None => std::future::pending().await,
    }
}

impl NodePeers {
    /// Nobody yet; and what comes in as answers.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (heard, hearing) = mpsc::channel(HEARD_MAX);
        let questions = Questions { due: Mutex::default(), answered: watch::Sender::default() };
        let (network, telling, queue) = (OnceLock::new(), Mutex::default(), Queue::new());
        (Self { network, heard, questions: Arc::new(questions), telling, queue }, hearing)
    }

    /// From now on there is a network, over which each transfer takes at most so many bytes a second each way.
    pub(crate) fn join(&self, network: Network, bytes_per_second: Option<u32>) {
        // A node joins once.
        let _ = self.network.set((network, bytes_per_second));
    }

    /// Asks a node about all these agents, as many as it takes at a time.
    pub(crate) fn ask_all(&self, to: NodeId, agents: impl IntoIterator<Item = AgentId>) {
        let Some(network) = self.network().cloned() else { return };
        let begins = {
            let mut due = self.questions.due();
            let begins = !due.contains_key(&to);
            due.entry(to).or_default().extend(agents);
            self.questions.answered.send_if_modified(|answered| answered.remove(&to));
            begins
        };
        if begins {
            let (questions, heard) = (self.questions.clone(), self.heard.clone());
            tokio::spawn(async move { ask(&network, to, &questions, &heard).await });
        }
    }

    /// Comes back once all of these nodes have answered what they were asked, and what they said was taken in.
    pub(crate) async fn answered_by(&self, nodes: &BTreeSet<NodeId>) {
        let mut answered = self.questions.answered.subscribe();
        // It is never closed while this is there.
        drop(answered.wait_for(|answered| nodes.is_subset(answered)).await);
    }

    /// Whoever is not connected has answered nothing of what is asked from now on.
    pub(crate) fn has_gone(&self, node: NodeId) {
        self.questions.answered.send_if_modified(|answered| answered.remove(&node));
    }

    fn telling(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        // No update can fail in the middle.
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to tell a node; nothing where that goes on already.
    pub(crate) fn begin_telling(&self, to: NodeId) -> Option<Telling<'_>> {
        let begins = self.telling().insert(to);
        begins.then(|| Telling { peers: self, to })
    }

    /// Tells a node, once it takes it. Says whether it may be told more.
    pub(crate) async fn has_told(&self, to: NodeId, tidings: Tidings) -> bool {
        let Some(network) = self.network() else { return false };
        let body = tidings.encode();
        loop {
            match network.request(to, Request::Tell { body: body.clone() }).await {
                Err(igor_network::Error::Refused { why: Why::Busy, .. }) => tokio::time::sleep(BUSY_PAUSE).await,
                // What it does not believe says nothing about the next.
                Ok(_) | Err(igor_network::Error::Refused { .. }) => break,
                Err(error) => {
                    tracing::debug!(node = %to, agent = %tidings.agent, %error, "a node was not told; it asks by itself");
                    return false;
                }
            }
        }
        tokio::time::sleep(ASK_PAUSE).await;
        true
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.get().map(|(network, _)| network)
    }

    /// A stream that another node began, until the network ends.
    pub(crate) fn incoming(&self, stream: Stream, network: watch::Receiver<()>) -> NodeLink {
        self.link(stream, Some(network), None)
    }

    /// A stream for a move, at the pace that the operator set.
    fn link(&self, mut stream: Stream, network: Option<watch::Receiver<()>>, turn: Option<Turn>) -> NodeLink {
        stream.limit_rate(self.network.get().and_then(|(_, pace)| *pace));
        NodeLink { stream, network, _turn: turn }
    }
}

impl Peers for NodePeers {
    type Link = NodeLink;

    async fn open(&self, to: NodeId, waits: impl FnOnce() + Send) -> Result<NodeLink, Cut> {
        let network = self
            .network()
            .ok_or_else(|| Cut::Lost("this node is on no network; see `[network]` in node.toml".into()))?;
        let turn = self.queue.turn(to, waits).await;
        network.open(to).await.map(|stream| self.link(stream, None, turn)).map_err(|e| lost(&e))
    }

    fn tell(&self, to: NodeId, tidings: Tidings) {
        let Some(network) = self.network().cloned() else { return };
        tokio::spawn(async move {
            if let Err(error) = network.request(to, Request::Tell { body: tidings.encode() }).await {
                tracing::debug!(node = %to, agent = %tidings.agent, %error, "a node was not told; it asks by itself");
            }
        });
    }

    fn ask(&self, to: NodeId, agent: AgentId) {
        self.ask_all(to, [agent]);
    }

    fn all(&self) -> Vec<NodeId> {
        self.network().map(|network| network.peers().into_iter().map(|peer| peer.node).collect()).unwrap_or_default()
    }
}

/// Asks one node until nothing is left to ask it. Who cannot be reached is asked again when it is connected.
async fn ask(network: &Network, to: NodeId, questions: &Questions, heard: &mpsc::Sender<Heard>) {
    while let Some(agents) = questions.next(to) {
        match network.request(to, Request::Custody { agents: agents.clone() }).await {
            Ok(Response::Custody { answered, records }) => {
                let mut taken_in = Vec::new();
                for record in records {
                    let known = Tidings::decode(&record.0).ok().filter(|known| agents.contains(&known.agent));
                    let Some(tidings) = known else { continue };
                    let (guard, taken) = oneshot::channel();
                    if heard.send((tidings, guard)).await.is_err() {
                        break;
                    }
                    taken_in.push(taken);
                }
                // Who has answered has been heard: an agent may begin on the strength of it.
                for taken in taken_in {
                    drop(taken.await);
                }
                // One of whom more is known than fits is not asked for again.
                let answered = usize::try_from(answered).unwrap_or(usize::MAX).clamp(1, agents.len());
                questions.done(to, &agents[..answered]);
                tokio::time::sleep(ASK_PAUSE).await;
            }
            Err(igor_network::Error::Refused { why: Why::Busy, .. }) => tokio::time::sleep(BUSY_PAUSE).await,
            Ok(_) | Err(_) => {
                questions.due().remove(&to);
                return;
            }
        }
    }
}

impl Link for NodeLink {
    async fn feed(&mut self, bytes: Vec<u8>) -> Result<(), Cut> {
        self.stream.feed(&bytes).await.map_err(|e| lost(&e))
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Cut> {
        self.stream.send(&bytes).await.map_err(|e| lost(&e))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Cut> {
        let received = tokio::select! {
            biased;
            () = ended(&mut self.network) => return Err(Cut::Lost("the network here has ended".into())),
            received = self.stream.receive() => received,
        };
        match received {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Cut::Lost("the other node ended it".into())),
            Err(error) => Err(lost(&error)),
        }
    }
}

fn lost(error: &igor_network::Error) -> Cut {
    Cut::Lost(error.to_string())
}
