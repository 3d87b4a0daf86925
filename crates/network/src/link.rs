//! One connection, as libp2p drives it: gives streams that the peer began to the [`Server`], and begins ours.
//!
//! Invariant: whoever asked for a stream gets an answer: the stream, why there is none, or that the connection is gone.

use crate::{
    ASK, MOVE, SEEN,
    server::{Guest, Server, Verdict},
};
use futures_util::future::{Ready, ready};
use libp2p::{
    Stream, StreamProtocol,
    core::{
        UpgradeInfo,
        upgrade::{InboundUpgrade, OutboundUpgrade},
    },
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::sync::oneshot;

/// Why a stream could not be begun.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The peer does not speak the protocol.
    Unsupported,
    /// No address of the peer is known.
    Unknown,
    /// Our own lists refuse the peer.
    Unlisted,
    /// The connection failed, or the peer did not agree in time.
    Failed(String),
}

/// Where a stream is awaited.
pub(crate) type Reply = oneshot::Sender<Result<Stream, Failure>>;

/// A stream to begin.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) protocol: &'static str,
    pub(crate) reply: Reply,
}

/// The peer was refused so often that its connections are to be closed.
#[derive(Debug)]
pub(crate) struct Flooded;

/// A connection.
pub(crate) struct Link {
    server: Arc<Server>,
    guest: Arc<Guest>,
    negotiation: Duration,
    opening: VecDeque<Open>,
    flooded: bool,
    waker: Option<Waker>,
}

impl Link {
    pub(crate) fn new(server: Arc<Server>, guest: Arc<Guest>, negotiation: Duration) -> Self {
        Self { server, guest, negotiation, opening: VecDeque::new(), flooded: false, waker: None }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Link {
    type FromBehaviour = Open;
    type ToBehaviour = Flooded;
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols> {
        SubstreamProtocol::new(Protocols(&[ASK, MOVE, SEEN]), ()).with_timeout(self.negotiation)
    }

    /// Peers stay connected: losing one is news.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.opening.push_back(open);
        self.wake();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Protocols, Reply, Flooded>> {
        if std::mem::take(&mut self.flooded) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Flooded));
        }
        if let Some(Open { protocol, reply }) = self.opening.pop_front() {
            let offer = match protocol {
                ASK => Protocols(&[ASK]),
                SEEN => Protocols(&[SEEN]),
                _ => Protocols(&[MOVE]),
            };
            let protocol = SubstreamProtocol::new(offer, reply).with_timeout(self.negotiation);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Protocols, Protocols, (), Reply>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (io, name), .. }) => {
                self.flooded |= self.server.take(&self.guest, io, name.as_ref()) == Verdict::Leave;
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (io, _), info }) => {
                // Whoever asked may have given up; then the stream is dropped, which resets it.
                let _ = info.send(Ok(io));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let failure = match error {
                    StreamUpgradeError::NegotiationFailed => Failure::Unsupported,
                    StreamUpgradeError::Timeout => Failure::Failed("it did not agree on a protocol in time".into()),
                    StreamUpgradeError::Io(error) => Failure::Failed(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.send(Err(failure));
            }
            _ => {}
        }
    }
}

/// Protocols to offer or accept; the stream is handed over as it is.
pub(crate) struct Protocols(&'static [&'static str]);

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, &'static str>, fn(&&'static str) -> StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|name| StreamProtocol::new(name))
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, io: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((io, name)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, io: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((io, name)))
    }
}
