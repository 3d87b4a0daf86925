//! What libp2p is to do: [`Gate`] and [`Link`] as a behaviour, with identify, ping and mDNS beside it.
//!
//! Invariant: every connection passes [`Gate`], whoever made it.

use crate::{
    Config, Error, Refusal,
    gate::Gate,
    link::{Flooded, Link, Open},
    server::Server,
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    identify, mdns, ping,
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, ToSwarm,
        behaviour::toggle::Toggle,
    },
};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Everything that runs on connections.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub(crate) struct Behaviour {
    pub(crate) links: Links,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What the behaviours tell.
#[derive(Debug)]
pub(crate) enum Event {
    Identify(Box<identify::Event>),
    Ping(ping::Event),
    Mdns(mdns::Event),
}

impl From<identify::Event> for Event {
    fn from(event: identify::Event) -> Self {
        Self::Identify(Box::new(event))
    }
}

impl From<ping::Event> for Event {
    fn from(event: ping::Event) -> Self {
        Self::Ping(event)
    }
}

impl From<mdns::Event> for Event {
    fn from(event: mdns::Event) -> Self {
        Self::Mdns(event)
    }
}

impl From<std::convert::Infallible> for Event {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl Behaviour {
    pub(crate) fn new(config: &Config, gate: Gate, server: Arc<Server>) -> Result<Self, Error> {
        let (key, times) = (config.key.public(), &config.times);
        let identify = identify::Config::new("/igor/1".into(), key.clone())
            .with_agent_version(format!("igor/{}", env!("CARGO_PKG_VERSION")))
            .with_hide_listen_addrs(config.announce.is_some())
            .with_cache_size(0);
        let mdns =
            config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), key.to_peer_id())).transpose()?;
        Ok(Self {
            links: Links::new(gate, server, times.negotiation),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(times.ping_interval).with_timeout(times.ping)),
            mdns: mdns.into(),
        })
    }
}

/// The connections.
pub(crate) struct Links {
    gate: Gate,
    server: Arc<Server>,
    negotiation: Duration,
    actions: VecDeque<ToSwarm<std::convert::Infallible, Open>>,
    waker: Option<Waker>,
}

impl Links {
    fn new(gate: Gate, server: Arc<Server>, negotiation: Duration) -> Self {
        Self { gate, server, negotiation, actions: VecDeque::new(), waker: None }
    }

    /// Begins a stream on this connection.
    pub(crate) fn open(&mut self, peer: PeerId, connection: ConnectionId, open: Open) {
        let handler = NotifyHandler::One(connection);
        self.act(ToSwarm::NotifyHandler { peer_id: peer, handler, event: open });
    }

    fn act(&mut self, action: ToSwarm<std::convert::Infallible, Open>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn link(&self, peer: PeerId) -> Result<Link, Refusal> {
        let guest = self.server.guest(self.gate.known(peer)?);
        Ok(Link::new(Arc::clone(&self.server), guest, self.negotiation))
    }
}

impl NetworkBehaviour for Links {
    type ConnectionHandler = Link;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.gate.knock(id, from, Instant::now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gate.enter(peer).and_then(|_| self.link(peer)).map_err(ConnectionDenied::new)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.link(peer).map_err(ConnectionDenied::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                self.gate.handshake_over(made.connection_id);
                self.gate.opened(made.peer_id);
            }
            FromSwarm::ConnectionClosed(closed) => self.gate.closed(closed.peer_id),
            FromSwarm::ListenFailure(failed) => self.gate.handshake_over(failed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, _: Flooded) {
        self.act(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<std::convert::Infallible, Open>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
