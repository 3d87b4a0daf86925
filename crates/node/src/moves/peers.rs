//! The network, as custody sees it. A node without one knows nobody.

use igor_network::{Error, Network, Request, Response, Stream};
use igor_protocol::{AgentId, NodeId, custody::Tidings};
use igor_spine::{
    custody::Peers,
    moving::{Cut, Link},
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

/// Tidings that wait to be heard at once; more are lost, and asked for again.
const HEARD_MAX: usize = 256;

/// How long a node that does not answer is asked again, and after which pause.
const ASK_WITHIN: Duration = Duration::from_secs(2);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The other nodes.
pub(crate) struct NodePeers {
    network: OnceLock<Network>,
    heard: mpsc::Sender<Heard>,
    open: Arc<watch::Sender<usize>>,
}

/// What a node answered, and the question, which is open until this was dealt with.
pub(crate) struct Heard {
    pub(crate) tidings: Tidings,
    pub(crate) question: Question,
}

/// A question that is open.
pub(crate) struct Question(Arc<watch::Sender<usize>>);

impl Question {
    fn new(open: &Arc<watch::Sender<usize>>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// A stream to another node.
pub(crate) struct NodeLink(pub(crate) Stream);

impl NodePeers {
    /// Nobody yet; and what comes in as answers.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (heard, hearing) = mpsc::channel(HEARD_MAX);
        (Self { network: OnceLock::new(), heard, open: Arc::new(watch::Sender::new(0)) }, hearing)
    }

    /// Waits until every question has its answer, and that was heard, or nobody could be asked.
    pub(crate) async fn answered(&self) {
        // The sender is here, so that this ends only with what is waited for.
        drop(self.open.subscribe().wait_for(|open| *open == 0).await);
    }

    /// From now on there is a network.
    pub(crate) fn join(&self, network: Network) {
        // A node joins once.
        let _ = self.network.set(network);
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.get()
    }
}

impl Peers for NodePeers {
    type Link = NodeLink;

    async fn open(&self, to: NodeId) -> Result<NodeLink, Cut> {
        let network = self
            .network()
            .ok_or_else(|| Cut::Lost("this node is on no network; see `[network]` in node.toml".into()))?;
        network.open(to).await.map(NodeLink).map_err(|e| lost(&e))
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
        let Some(network) = self.network().cloned() else { return };
        let (heard, question) = (self.heard.clone(), Question::new(&self.open));
        tokio::spawn(async move {
            let until = Instant::now() + ASK_WITHIN;
            loop {
                match network.request(to, Request::Custody { agent }).await {
                    Ok(Response::Custody { record: Some(bytes) }) => {
                        if let Ok(tidings) = Tidings::decode(&bytes)
                            && tidings.agent == agent
                        {
                            let _ = heard.try_send(Heard { tidings, question });
                        }
                        return;
                    }
                    // It may be about to be there.
                    Err(Error::Unreachable { .. } | Error::TimedOut { .. } | Error::Stream { .. })
                        if Instant::now() < until =>
                    {
                        sleep(ASK_AGAIN_AFTER).await;
                    }
                    // It knows nothing, or there is no way to it.
                    _ => return,
                }
            }
        });
    }

    fn all(&self) -> Vec<NodeId> {
        self.network().map(|network| network.peers().into_iter().map(|peer| peer.node).collect()).unwrap_or_default()
    }
}

impl Link for NodeLink {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Cut> {
        self.0.send(&bytes).await.map_err(|e| lost(&e))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Cut> {
        match self.0.receive().await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Cut::Lost("the other node ended it".into())),
            Err(error) => Err(lost(&error)),
        }
    }
}

fn lost(error: &igor_network::Error) -> Cut {
    Cut::Lost(error.to_string())
}

#[cfg(test)]
mod tests;
