//! What peers ask of this node.

use super::lines::Lines;
use crate::Node;
use futures_util::future::{BoxFuture, FutureExt};
use igor_network::{
    Event, Handler, Record, Request, Response, Stream, Why,
    message::{BODY_BYTES_MAX, RECORD_BYTES_MORE},
};
use igor_protocol::{AgentId, NodeId, custody::Tidings};
use igor_spine::custody::Taken;
use std::{
    sync::{Arc, Weak},
    time::Instant,
};
use tokio::sync::watch;

/// The node's side of the network.
pub(crate) struct Gate {
    node: Weak<Node>,
    /// What is logged of nodes that may send agents here, and of all others: these cannot drown those.
    listed: Lines,
    others: Lines,
}

impl Gate {
    pub(crate) fn new(node: Weak<Node>) -> Self {
        Self { node, listed: Lines::default(), others: Lines::default() }
    }

    fn node(&self) -> Result<Arc<Node>, Why> {
        self.node.upgrade().ok_or(Why::Failed)
    }

    /// Whether something about this peer may be logged, and how many lines were left out before.
    fn line(&self, peer: NodeId) -> Option<u64> {
        let listed = self.node.upgrade().is_some_and(|node| node.config().policy.nodes.contains(&peer));
        if listed { &self.listed } else { &self.others }.next(Instant::now())
    }
}

impl Handler for Gate {
    fn answer(&self, peer: NodeId, request: Request) -> BoxFuture<'_, Result<Response, Why>> {
        async move {
            let node = self.node()?;
            match request {
                Request::Status => Ok(Response::Status { status: node.standing_offer() }),
                Request::Custody { agents } => {
                    let known = tokio::task::spawn_blocking(move || known(&node, &agents)).await;
                    known.map_err(|_| Why::Failed)
                }
                Request::Pulse { beats } => {
                    Ok(Response::Following { follows: node.heard(peer, &beats) })
                }
                Request::Tell { body } => {
                    let tidings = Tidings::decode(&body).map_err(|_| Why::Malformed)?;
                    let (agent, metrics) = (tidings.agent, Arc::clone(node.metrics()));
                    if node.steward().is_shared(agent) {
                        node.hear_of_shared(agent);
                        return Ok(Response::Told { body: Vec::new() });
                    }
                    // A task of its own: what it leads to must not stop half-way.
                    let heard = tokio::spawn(async move { node.steward().hear(tidings).await }).await;
                    match heard {
                        Ok(Ok(())) => Ok(Response::Told { body: Vec::new() }),
                        Ok(Err(error)) => {
                            metrics.peers.told_what_is_refused();
                            if let Some(left_out) = self.line(peer) {
                                tracing::warn!(%agent, %peer, %error, left_out, "what a node told of an agent's custody is refused");
                            }
                            Err(Why::NotAllowed)
                        }
                        Err(_) => Err(Why::Failed),
                    }
                }
            }
        }
        .boxed()
    }

    fn transfer(&self, peer: NodeId, stream: Stream) -> BoxFuture<'_, ()> {
        async move {
            let Ok(node) = self.node() else { return };
            let metrics = Arc::clone(node.metrics());
            // Dropped with this future, when the network ends: what waits for the other node then need not.
            let (_here, network) = watch::channel(());
            let mut link = node.steward().peers().incoming(stream, network);
            let taken = tokio::spawn(async move { Box::pin(node.steward().take(peer, &mut link)).await }).await;
            metrics.peers.came(taken.as_ref().ok().and_then(|taken| taken.as_ref().ok()));
            let left_out = match &taken {
                Ok(Ok(Taken::Accepted(_))) => 0,
                _ => match self.line(peer) {
                    Some(left_out) => left_out,
                    None => return,
                },
            };
            match taken {
                Ok(Ok(Taken::Accepted(agent))) => tracing::info!(%peer, %agent, "an agent came"),
                Ok(Ok(Taken::Declined(agent))) => {
                    tracing::warn!(%peer, %agent, left_out, "an agent was declined: it does not run here, or not as was agreed");
                }
                Ok(Ok(Taken::Refused(agent, refusal))) => {
                    // Quoted: some of the words may be the peer's.
                    tracing::warn!(%peer, %agent, reason = refusal.reason.name(), why = ?refusal.why, left_out, "an agent is refused");
                }
                Ok(Err(error)) => tracing::warn!(%peer, %error, left_out, "an incoming move broke off"),
                Err(_) => tracing::error!(%peer, "an incoming move failed"),
            }
        }
        .boxed()
    }

    fn notice(&self, event: Event) {
        match event {
            Event::Connected(peer) => {
                tracing::info!(%peer, "a node is connected");
                if let Ok(node) = self.node() {
                    node.ask_of_all(peer);
                    tokio::spawn(async move {
                        node.keep_addresses(peer).await;
                        node.meet(peer).await;
                    });
                }
            }
            Event::Disconnected(peer) => {
                tracing::info!(%peer, "a node is not connected any more");
                if let Ok(node) = self.node() {
                    node.peers().has_gone(peer);
                }
            }
            Event::Impostor(address) => {
                tracing::error!(%address, "another process has this node's key: its home was copied, or the key was stolen; this node is suspended: it runs nothing and takes nothing in, until that process is gone and this node is started again");
                if let Ok(node) = self.node() {
                    tokio::spawn(async move { node.suspend(address.to_string()).await });
                }
            }
        }
    }
}

/// What this node knows of agents, as much as fits into an answer. Waits for disks.
fn known(node: &Node, agents: &[AgentId]) -> Response {
    let (mut answered, mut bytes, mut records) = (0, 0, Vec::new());
    for agent in agents {
        let known = node.steward().records(*agent).unwrap_or_else(|error| {
            tracing::warn!(%agent, %error, "what is known of an agent's custody does not read");
            Vec::new()
        });
        let known = (!known.is_empty()).then(|| Tidings { agent: *agent, records: known }.encode());
        if let Some(known) = known {
            bytes += known.len() + RECORD_BYTES_MORE;
            if bytes > BODY_BYTES_MAX {
                break;
            }
            records.push(Record(known));
        }
        answered += 1;
    }
    Response::Custody { answered, records }
}
