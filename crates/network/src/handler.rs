//! What a node implements to be part of the network.

use crate::{Request, Response, Stream, message::Why};
use futures_util::future::BoxFuture;
use igor_protocol::NodeId;
use libp2p::Multiaddr;

/// A change that the node should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first connection with this peer.
    Connected(NodeId),
    /// The last connection with this peer is gone. A hint, not a proof that it is dead.
    Disconnected(NodeId),
    /// Somebody at this address holds this node's own key: its home was copied, or the key was stolen. The node must
    /// not run anything until its operator has decided which of the two lives.
    Impostor(Multiaddr),
}

/// The node's side of the network. Every call comes with the authenticated id of the peer.
///
/// Futures are dropped where they wait when the network ends: what must not stop half-way is spawned.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. The future is also dropped when the time limit of requests is over.
    fn answer(&self, peer: NodeId, request: Request) -> BoxFuture<'_, Result<Response, Why>>;

    /// Takes a transfer that `peer` began. It counts against the limits until the stream is dropped.
    fn transfer(&self, peer: NodeId, stream: Stream) -> BoxFuture<'_, ()>;

    /// Hears of every event, in order, on the network's own task: must return at once.
    fn notice(&self, event: Event);
}
