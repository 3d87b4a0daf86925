//! The network, as custody sees it. A node without one knows nobody.

use igor_network::{Network, Request, Response, Stream};
use igor_protocol::{AgentId, NodeId, custody::Tidings};
use igor_spine::{
    custody::Peers,
    moving::{Cut, Link},
};
use std::sync::OnceLock;
use tokio::sync::mpsc;

/// Tidings that wait to be heard at once; more are lost, and asked for again.
const HEARD_MAX: usize = 256;

/// The other nodes.
pub(crate) struct NodePeers {
    network: OnceLock<(Network, Option<u32>)>,
    heard: mpsc::Sender<Tidings>,
}

/// A stream to another node.
pub(crate) struct NodeLink(Stream);

impl NodePeers {
    /// Nobody yet; and what comes in as answers.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Tidings>) {
        let (heard, hearing) = mpsc::channel(HEARD_MAX);
        (Self { network: OnceLock::new(), heard }, hearing)
    }

    /// From now on there is a network, over which each transfer takes at most so many bytes a second each way.
    pub(crate) fn join(&self, network: Network, bytes_per_second: Option<u32>) {
        // A node joins once.
        let _ = self.network.set((network, bytes_per_second));
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.get().map(|(network, _)| network)
    }

    /// A stream for a move, at the pace that the operator set.
    pub(crate) fn link(&self, mut stream: Stream) -> NodeLink {
        stream.limit_rate(self.network.get().and_then(|(_, pace)| *pace));
        NodeLink(stream)
    }
}

impl Peers for NodePeers {
    type Link = NodeLink;

    async fn open(&self, to: NodeId) -> Result<NodeLink, Cut> {
        let network = self
            .network()
            .ok_or_else(|| Cut::Lost("this node is on no network; see `[network]` in node.toml".into()))?;
        network.open(to).await.map(|stream| self.link(stream)).map_err(|e| lost(&e))
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
        let heard = self.heard.clone();
        tokio::spawn(async move {
            if let Ok(Response::Custody { record: Some(bytes) }) = network.request(to, Request::Custody { agent }).await
                && let Ok(tidings) = Tidings::decode(&bytes)
                && tidings.agent == agent
            {
                let _ = heard.try_send(tidings);
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
