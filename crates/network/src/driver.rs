//! The network's own task: drives libp2p, connects to who should be connected, and tells the node what happened.
//!
//! Invariants kept here:
//! - Whoever waits for a stream gets an answer as soon as there is one: the connection, or that none can be made.
//! - The node hears of each peer's first and last connection, in that order.
//! - Nothing here waits for a peer or for the node.

use crate::{
    Config, Error, Event, Handler, Refusal, Request, Response, Times, address,
    behaviour::{self, Behaviour},
    book::{Dial, jittered},
    gate::{Gate, Lists},
    identity::{node_of, without_peer},
    impostor::Mirror,
    link::{Failure, Open},
    network::{Network, Shared, State},
    server::Server,
    transport,
};
use futures_util::StreamExt;
use igor_protocol::NodeId;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    identify, mdns,
    swarm::{
        ConnectionDenied, ConnectionId, DialError, ListenError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};

/// How often it is looked whether anybody is to be dialled or asked.
const TICK: Duration = Duration::from_millis(100);
/// Addresses that peers told of this node, tried each time that somebody else with its key is looked for.
const MIRRORS_MAX: usize = 16;
/// How long to wait for connections to close at the end.
const FAREWELL: Duration = Duration::from_millis(500);
/// Streams that wait for a connection with one peer.
const WAITING_MAX: usize = 64;

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    /// A stream with a peer.
    Open(NodeId, Open),
    /// The end.
    Shutdown(oneshot::Sender<()>),
}

/// Addresses to dial, after they were looked up.
type LookedUp = (NodeId, PeerId, Vec<Multiaddr>);

/// The task.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    node: NodeId,
    state: Arc<State>,
    handler: Arc<dyn Handler>,
    server: Arc<Server>,
    lists: Lists,
    times: Times,
    mirror: Mirror,
    /// Our own addresses among the bootstrap peers.
    own: Vec<Multiaddr>,
    /// When we look next for somebody else with our key, and how many addresses that peers tell may still be tried.
    mirrors: (Instant, usize),
    waiting: HashMap<NodeId, Vec<Open>>,
    looked_up: (mpsc::UnboundedSender<LookedUp>, mpsc::UnboundedReceiver<LookedUp>),
}

impl Driver {
    pub(crate) fn new(
        config: &Config,
        bootstrap: Vec<(NodeId, Multiaddr)>,
        handler: Arc<dyn Handler>,
        state: Arc<State>,
    ) -> Result<Self, Error> {
        let (lists, now) = (Lists::new(config, &bootstrap), Instant::now());
        let gate = Gate::new(lists.clone(), config.limits.clone(), now);
        let server = Server::new(Arc::clone(&handler), Arc::clone(&state), lists.clone(), config);
        let server = Arc::new(server);
        let behaviour = Behaviour::new(config, gate, Arc::clone(&server))?;
        let transport = transport::build(config, &state.counters)?;
        let settings = libp2p::swarm::Config::with_tokio_executor()
            .with_max_negotiating_inbound_streams(crate::limits::NEGOTIATIONS_MAX);
        let mut own = vec![];
        {
            let mut book = state.book();
            for node in &config.allow {
                book.list(*node, None, now);
            }
            for (node, address) in bootstrap {
                if node == config.node {
                    own.push(address);
                } else if lists.is_listed(node) {
                    book.list(node, Some(address), now);
                }
            }
        }
        Ok(Self {
            swarm: Swarm::new(transport, behaviour, config.key.public().to_peer_id(), settings),
            node: config.node,
            state,
            handler,
            server,
            lists,
            times: config.times.clone(),
            mirror: Mirror::new(config.times.handshake),
            own,
            mirrors: (now, 0),
            waiting: HashMap::new(),
            looked_up: mpsc::unbounded_channel(),
        })
    }

    /// Listens on all addresses, or says on which it cannot. Peers are told of them, or of those to announce.
    pub(crate) async fn listen(&mut self, config: &Config) -> Result<(), Error> {
        let mut missing: HashSet<ListenerId> = HashSet::new();
        for address in &config.listen {
            let refused = |why: String| Error::Listen { address: address.clone(), why };
            address::probe(address).map_err(|e| refused(e.to_string()))?;
            let listener = self.swarm.listen_on(address.clone()).map_err(|error| match error {
                libp2p::TransportError::Other(error) => refused(error.to_string()), // which says nothing by itself
                other @ libp2p::TransportError::MultiaddrNotSupported(_) => refused(other.to_string()),
            })?;
            missing.insert(listener);
        }
        let heard = async {
            while !missing.is_empty() {
                match self.swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { listener_id, address } => {
                        missing.remove(&listener_id);
                        self.state.addresses().push(address);
                    }
                    SwarmEvent::ListenerClosed { listener_id, reason, .. } if missing.contains(&listener_id) => {
                        return reason.and(Err(io::Error::other("the listener closed")));
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        let heard = timeout(config.times.handshake, heard).await;
        heard.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| Error::Listen {
            address: config.listen.first().cloned().unwrap_or_else(Multiaddr::empty),
            why: error.to_string(),
        })?;
        for address in config.announce.iter().flatten() {
            self.swarm.add_external_address(address.clone());
        }
        Ok(())
    }

    /// Runs until it is told to end, or nobody could tell it any more.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, shared: Weak<Shared>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Open(node, open)) => self.open(node, open),
                    Some(Command::Shutdown(done)) => {
                        commands.close();
                        self.farewell().await;
                        // Nobody is left to hear that it is over if this fails.
                        let _ = done.send(());
                        return;
                    }
                    None => return self.farewell().await,
                },
                event = self.swarm.select_next_some() => self.happened(event),
                Some((node, peer, addresses)) = self.looked_up.1.recv() => self.dial_at(node, peer, addresses),
                _ = tick.tick() => self.tick(&shared),
            }
        }
    }

    /// Says goodbye, so that peers need not find out.
    async fn farewell(mut self) {
        self.server.stop();
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                let event = self.swarm.select_next_some().await;
                self.happened(event);
            }
        };
        // Who does not hear it in time finds the connection dead.
        let _ = timeout(FAREWELL, closed).await;
    }

    fn open(&mut self, node: NodeId, open: Open) {
        if self.lists.refusal(node).is_some() {
            return fail(open, Failure::Unlisted);
        }
        let connection = self.state.book().connection(node);
        if let Some((peer, connection)) = connection {
            return self.swarm.behaviour_mut().links.open(peer, connection, open);
        }
        let dial = self.state.book().dial(node);
        match dial {
            Dial::Nowhere => return fail(open, Failure::Unknown),
            Dial::At(peer, addresses) => self.dial(node, peer, addresses),
            Dial::Underway => {}
        }
        let waiting = self.waiting.entry(node).or_default();
        if waiting.len() < WAITING_MAX {
            waiting.push(open);
        } else {
            fail(open, Failure::Failed("too many streams wait for a connection with it".into()));
        }
    }

    /// Dials, after looking up what must be.
    fn dial(&mut self, node: NodeId, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.iter().any(address::is_name) {
            let looked_up = self.looked_up.0.clone();
            tokio::spawn(async move {
                // It fails only when the network has ended.
                let _ = looked_up.send((node, peer, address::look_up(addresses).await));
            });
        } else {
            self.dial_at(node, peer, addresses);
        }
    }

    fn dial_at(&mut self, node: NodeId, peer: PeerId, addresses: Vec<Multiaddr>) {
        if peer == *self.swarm.local_peer_id() {
            return self.reach_own_key(addresses);
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        if let Err(error) = self.swarm.dial(options) {
            self.unreachable(node, &error);
        }
    }

    /// Looks who is at our own addresses, and at those that peers believe to be ours.
    fn look_for_mirrors(&mut self, shared: &Weak<Shared>) {
        let (node, myself) = (self.node, *self.swarm.local_peer_id());
        self.dial(node, myself, self.own.clone());
        let peers = self.state.book().connected_peers();
        for peer in peers {
            let (shared, looked_up) = (Weak::clone(shared), self.looked_up.0.clone());
            tokio::spawn(async move {
                let Some(network) = shared.upgrade().map(Network::from_shared) else { return };
                match network.seen_by(peer).await {
                    // It fails only when the network has ended.
                    Ok(addresses) => drop(looked_up.send((node, myself, addresses))),
                    Err(error) => tracing::debug!(%peer, "does not say where it sees this node: {error}"),
                }
            });
        }
    }

    /// Tries addresses without saying whom we expect, since libp2p does not dial its own peer id.
    fn reach_own_key(&mut self, addresses: Vec<Multiaddr>) {
        for address in addresses {
            let own = self.own.contains(&address);
            {
                let listening = self.state.addresses();
                let told = !own && !address::is_name(&address);
                let local = listening.iter().find(|at| address::ip(at).is_some_and(|ip| ip.is_loopback()));
                let plausible = address::is_plausible(&address, local.unwrap_or(&Multiaddr::empty()));
                if told && (!plausible || listening.contains(&address) || self.mirrors.1 == 0) {
                    continue;
                }
            }
            self.mirrors.1 = self.mirrors.1.saturating_sub(usize::from(!own));
            let options = DialOpts::unknown_peer_id().address(address).allocate_new_port().build();
            // One that is refused at once, as for its form, shows nobody either.
            let _ = self.swarm.dial(options);
        }
    }

    fn tick(&mut self, shared: &Weak<Shared>) {
        let now = Instant::now();
        let due = self.state.book().due(now);
        for (node, peer, addresses) in due {
            self.dial(node, peer, addresses);
        }
        if now >= self.mirrors.0 {
            // By chance, so that two nodes that look for each other do not do it in the same moment for ever: that
            // would look like one that reached itself.
            self.mirrors = (now + jittered(self.times.mirror_interval, jitter()), MIRRORS_MAX);
            self.look_for_mirrors(shared);
        }
        if let Some(address) = self.mirror.impostor(now) {
            let said = "somebody else has this node's key: its home was copied, or the key was stolen";
            self.state.counters.refuse(Refusal::Impostor, &address, &said);
            self.handler.notice(Event::Impostor(address));
        }
        let ask = self.state.book().unasked(now, self.times.status_interval);
        for node in ask {
            let (shared, state) = (Weak::clone(shared), Arc::clone(&self.state));
            tokio::spawn(async move {
                let Some(network) = shared.upgrade().map(Network::from_shared) else { return };
                match network.request(node, Request::Status).await {
                    Ok(Response::Status { status }) => state.book().answered(node, status, Instant::now()),
                    Ok(_) => {}
                    Err(error) => tracing::debug!("no status: {error}"),
                }
            });
        }
    }

    fn happened(&mut self, event: SwarmEvent<behaviour::Event>) {
        let now = Instant::now();
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.state.counters.connections_closed(1);
                let Some(node) = node_of(peer_id) else { return };
                let last = self.state.book().closed(node, connection_id, now, jitter());
                if last {
                    let why = cause.map_or_else(|| "closed".to_owned(), |cause| cause.to_string());
                    tracing::info!(peer = %node, "disconnected: {why}");
                    self.handler.notice(Event::Disconnected(node));
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, peer_id, .. } => {
                self.came_to_nothing(&send_back_addr, &error, peer_id, now);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => self.went_nowhere(peer_id, &error, now),
            SwarmEvent::NewListenAddr { address, .. } => {
                let mut addresses = self.state.addresses();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.state.addresses().retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed { reason, addresses, .. } => {
                self.state.addresses().retain(|known| !addresses.contains(known));
                tracing::error!(?addresses, ?reason, "no longer listening");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!("a listener: {error}"),
            SwarmEvent::Behaviour(event) => self.told(event, now),
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint, now: Instant) {
        let Some(node) = node_of(peer) else { return };
        let counters = &self.state.counters;
        counters.connections_out(u64::from(endpoint.is_dialer()));
        counters.connections_in(u64::from(endpoint.is_listener()));
        let first = {
            let mut book = self.state.book();
            if let ConnectedPoint::Dialer { address, .. } = endpoint {
                book.learn(node, without_peer(address.clone()).0, now);
            }
            book.connected(node, id, now)
        };
        if first {
            tracing::info!(peer = %node, address = %endpoint.get_remote_address(), "connected");
            self.handler.notice(Event::Connected(node));
        }
        for open in self.waiting.remove(&node).unwrap_or_default() {
            self.swarm.behaviour_mut().links.open(peer, id, open);
        }
    }

    fn came_to_nothing(&mut self, from: &Multiaddr, error: &ListenError, peer: Option<PeerId>, now: Instant) {
        let counters = &self.state.counters;
        let named = peer.and_then(node_of).map(|node| format!("{node} at {from}"));
        let who: &dyn std::fmt::Display = named.as_ref().map_or(from, |named| named);
        self.mirror.failed(now);
        match error {
            ListenError::LocalPeerId { .. } => self.mirror.heard(from.clone(), now),
            ListenError::Denied { cause } => {
                if let Some(why) = cause.downcast_ref::<Refusal>() {
                    counters.refuse(*why, who, &"a connection");
                }
            }
            ListenError::Transport(error) if is_timeout(error) => {
                counters.refuse(Refusal::HandshakeSlow, who, &"the handshake was not finished in time");
            }
            ListenError::Transport(error) => counters.refuse(Refusal::Handshake, who, &error),
            ListenError::Aborted | ListenError::WrongPeerId { .. } => {}
        }
    }

    fn went_nowhere(&mut self, peer: Option<PeerId>, error: &DialError, now: Instant) {
        match error {
            DialError::LocalPeerId { address } => self.mirror.reached(without_peer(address.clone()).0, now),
            DialError::WrongPeerId { obtained, address } if obtained == self.swarm.local_peer_id() => {
                self.mirror.reached(without_peer(address.clone()).0, now);
            }
            DialError::DialPeerConditionFalse(_) => return,
            _ => {}
        }
        let Some(node) = peer.and_then(node_of).filter(|_| peer.as_ref() != Some(self.swarm.local_peer_id())) else {
            return;
        };
        self.unreachable(node, error);
    }

    fn unreachable(&mut self, node: NodeId, error: &DialError) {
        self.state.counters.dials_failed(1);
        self.state.book().failed(node, Instant::now(), jitter());
        let why = match error {
            DialError::Transport(tries) if !tries.is_empty() => {
                tries.iter().map(|(address, error)| format!("{address}: {error}")).collect::<Vec<_>>().join("; ")
            }
            DialError::Denied { cause } => denial(cause),
            error => error.to_string(),
        };
        tracing::debug!(peer = %node, "not reached: {why}");
        for open in self.waiting.remove(&node).unwrap_or_default() {
            fail(open, Failure::Failed(why.clone()));
        }
    }

    fn told(&mut self, event: behaviour::Event, now: Instant) {
        match event {
            behaviour::Event::Ping(ping) => {
                let Some(node) = node_of(ping.peer) else { return };
                match ping.result {
                    Ok(round_trip) => self.state.book().pinged(node, round_trip),
                    Err(failure) => {
                        self.state.counters.refuse(Refusal::Silent, &node, &failure);
                        self.swarm.close_connection(ping.connection);
                    }
                }
            }
            behaviour::Event::Identify(event) => {
                if let identify::Event::Received { peer_id, info, .. } = *event {
                    self.identified(peer_id, info, now);
                }
            }
            behaviour::Event::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    let Some(node) = node_of(peer) else { continue };
                    if self.lists.refusal(node).is_none() {
                        self.state.book().find(node, without_peer(address).0, now);
                    }
                }
            }
            behaviour::Event::Mdns(mdns::Event::Expired(lost)) => {
                for node in lost.into_iter().filter_map(|(peer, _)| node_of(peer)) {
                    self.state.book().lose(node);
                }
            }
        }
    }

    fn identified(&mut self, peer: PeerId, info: identify::Info, now: Instant) {
        let Some(node) = node_of(peer) else { return };
        let mut book = self.state.book();
        for told in info.listen_addrs.into_iter().take(crate::limits::ADDRESSES_PER_PEER) {
            let (told, named) = without_peer(told);
            if named.is_none_or(|named| named == peer) && address::is_plausible(&told, &info.observed_addr) {
                book.learn(node, told, now);
            }
        }
    }
}

/// Whoever asked may have given up, which is fine.
fn fail(open: Open, failure: Failure) {
    let _ = open.reply.send(Err(failure));
}

fn denial(cause: &ConnectionDenied) -> String {
    match cause.downcast_ref::<Refusal>() {
        Some(why) => format!("refused by this node: {why}"),
        None => cause.to_string(),
    }
}

/// Whether this is what [`transport::build`] makes of a handshake that took too long.
fn is_timeout(error: &libp2p::TransportError<io::Error>) -> bool {
    let libp2p::TransportError::Other(error) = error else { return false };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    inner.is_some_and(|inner| inner.kind() == io::ErrorKind::TimedOut)
}

/// From the operating system; zero if it has none, which only makes peers meet in step.
fn jitter() -> u32 {
    getrandom::u32().unwrap_or_default()
}
