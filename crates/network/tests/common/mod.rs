//! Nodes for tests: short time limits, free ports on loopback, a handler that echoes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod raw;

use futures_util::future::BoxFuture;
use igor_network::{
    Beat, Config, Event, Follow, Handler, Multiaddr, Network, Record, Request, Response, Status, Stream, Times, Why,
    address_of,
};
use igor_protocol::{NodeId, Terms};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Long enough for any machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);

/// Far more than anything takes, so that a slow machine changes nothing. A test that waits for one of these limits
/// sets it.
pub(crate) fn times() -> Times {
    Times {
        handshake: Duration::from_secs(30),
        negotiation: Duration::from_secs(30),
        request: Duration::from_mins(1),
        idle: Duration::from_mins(1),
        frame: Duration::from_mins(1),
        transfer: Duration::from_mins(2),
        rest: Duration::from_millis(200),
        ping_interval: Duration::from_millis(200),
        ping: Duration::from_mins(1),
        status_interval: Duration::from_millis(200),
        mirror_interval: Duration::from_mins(1),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_millis(500),
    }
}

/// A handler that echoes, and remembers what it heard.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) transfers: AtomicUsize,
    /// Transfers that are open now, and the most that ever were.
    pub(crate) open: Mutex<(usize, usize)>,
    pub(crate) answering: AtomicUsize,
    /// How long an answer takes.
    pub(crate) thinks: Duration,
    /// Whether it takes transfers and does not read them.
    pub(crate) ignores: bool,
}

impl Echo {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no test panics with it").clone()
    }

    /// The most transfers that were open at one time.
    pub(crate) fn transfers_at_once(&self) -> usize {
        self.open.lock().expect("no test panics with it").1
    }
}

impl Handler for Echo {
    fn answer(&self, _: NodeId, request: Request) -> BoxFuture<'_, Result<Response, Why>> {
        Box::pin(async move {
            self.answering.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.thinks).await;
            match request {
                Request::Status => Ok(Response::Status { status: status() }),
                Request::Custody { agents } => {
                    let known = agents.iter().filter(|agent| agent.0.0[0] == 0);
                    let records = known.map(|_| Record(b"a record".to_vec())).collect();
                    Ok(Response::Custody { answered: u32::try_from(agents.len()).expect("few"), records })
                }
                Request::Tell { body } if body == b"no" => Err(Why::NotAllowed),
                Request::Tell { body } => Ok(Response::Told { body }),
                Request::Pulse { beats } => {
                    let follow = |beat: Beat| Follow { agent: beat.agent, next: beat.next, after: None };
                    Ok(Response::Following { follows: beats.into_iter().map(follow).collect() })
                }
            }
        })
    }

    fn transfer(&self, peer: NodeId, mut stream: Stream) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            assert_eq!(peer, stream.peer());
            self.transfers.fetch_add(1, Ordering::Relaxed);
            let _open = Opened::of(&self.open);
            if self.ignores {
                std::future::pending::<()>().await;
            }
            loop {
                match stream.receive().await {
                    Ok(Some(frame)) if stream.send(&frame).await.is_ok() => {}
                    Ok(None) => {
                        let _ = stream.finish().await;
                        break;
                    }
                    _ => break,
                }
            }
        })
    }

    fn notice(&self, event: Event) {
        self.events.lock().expect("no test panics with it").push(event);
    }
}

/// Counts as an open transfer until it is dropped.
struct Opened<'a>(&'a Mutex<(usize, usize)>);

impl<'a> Opened<'a> {
    fn of(counts: &'a Mutex<(usize, usize)>) -> Self {
        let (now, most) = &mut *counts.lock().expect("no test panics with it");
        *now += 1;
        *most = (*most).max(*now);
        Self(counts)
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.lock().expect("no test panics with it").0 -= 1;
    }
}

pub(crate) fn status() -> Status {
    Status {
        prices: Terms { price_per_ns: 7, price_per_fuel: 3 },
        agents_free: 5,
        memory_free_bytes: 1 << 30,
        stored_free_bytes: 1 << 40,
        draining: false,
        version: "0.1.0".into(),
    }
}

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

pub(crate) fn config(seed: u8, listen: &[&str]) -> Config {
    let mut config = Config::new(&[seed; 32]).expect("a key");
    config.times = times();
    config.listen = listen.iter().map(|address| address.parse().expect("an address")).collect();
    config
}

/// A node and its handler.
pub(crate) struct Node {
    pub(crate) network: Network,
    pub(crate) echo: Arc<Echo>,
}

pub(crate) async fn start(config: Config) -> Node {
    start_with(config, Echo::default()).await
}

pub(crate) async fn start_with(config: Config, echo: Echo) -> Node {
    try_start_with(config, echo).await.expect("the network starts")
}

pub(crate) async fn try_start(config: Config) -> Result<Node, igor_network::Error> {
    try_start_with(config, Echo::default()).await
}

async fn try_start_with(config: Config, echo: Echo) -> Result<Node, igor_network::Error> {
    if std::env::var_os("IGOR_LOG").is_some() {
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::TRACE).try_init();
    }
    let echo = Arc::new(echo);
    let handler: Arc<dyn Handler> = Arc::clone(&echo) as _;
    let network = Network::start(config, handler).await?;
    Ok(Node { network, echo })
}

impl Node {
    pub(crate) fn id(&self) -> NodeId {
        self.network.node()
    }

    /// Its only address, bare.
    pub(crate) fn bare(&self) -> Multiaddr {
        self.network.addresses()[0].clone()
    }

    /// Its only address, as others name it.
    pub(crate) fn address(&self) -> Multiaddr {
        address_of(self.id(), self.bare()).expect("a node has a peer id")
    }

    pub(crate) fn is_connected(&self, peer: NodeId) -> bool {
        self.network.peers().iter().any(|known| known.node == peer && known.connected)
    }
}

/// Waits until `done`, or fails.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for an echo, and checks it.
pub(crate) async fn echo(from: &Network, to: NodeId, body: &[u8]) {
    let answer = from.request(to, Request::Tell { body: body.to_vec() }).await;
    match answer {
        Ok(Response::Told { body: echoed }) => assert!(echoed == body, "another body came back"),
        other => panic!("no echo: {other:?}"),
    }
}

/// The most that this process ever had in memory, in bytes.
pub(crate) fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how much memory a process has");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak is known");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
