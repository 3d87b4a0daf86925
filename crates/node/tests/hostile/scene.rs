//! A real node under attack that carries an honest agent, other real nodes, and peers that send what they like.

use super::common::{self, COUNTER, Running, creation};
use futures_util::future::BoxFuture;
use igor_network::{Config, Event, Handler, Multiaddr, Network, Request, Response, Stream, Why, address_of};
use igor_node::home::{Home, Role};
use igor_protocol::{
    AgentId, Entry, KeyPair, Manifest, Nanos, NodeId, Seq, Timestamp,
    entry::Body,
    transfer::{Frame, Reason},
};
use igor_spine::World;
use igor_store::Store;
use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tracing_subscriber::fmt::MakeWriter;

/// Long enough for any machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);
/// The longest time between two ticks of the honest agent, which wants one every 20 ms. What is seen is printed.
const GAP_MAX: Duration = Duration::from_secs(10);
/// By how much memory may grow under attack, in bytes; the attacker's counts as well.
const GROWTH_MAX: u64 = 64 << 20;

/// What was logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).init();
        log
    })
}

/// A home that is made before its node starts, so that others can list it.
pub(crate) struct Place {
    pub(crate) home: TempDir,
    pub(crate) key: KeyPair,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = common::temporary();
        let key = Home::open_or_create(home.path()).unwrap().keys().read_or_create(Role::Node).unwrap();
        Self { home, key }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.public()
    }
}

/// A real node on the network.
pub(crate) struct Real {
    pub(crate) running: Running,
    pub(crate) network: Network,
    pub(crate) place: Place,
}

impl Real {
    /// Starts one that takes agents from `nodes` and stays connected with `peers`.
    pub(crate) async fn start(place: Place, peers: &[&Self], nodes: &[NodeId], rest: &str) -> Self {
        log();
        let list = |texts: Vec<String>| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ");
        let peers = list(peers.iter().map(|peer| peer.address().to_string()).collect());
        let nodes = list(nodes.iter().map(ToString::to_string).collect());
        let toml = format!(
            "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\npeers = [{peers}]\n[policy]\nnodes = [{nodes}]\n{rest}"
        );
        fs::write(place.home.path().join("node.toml"), toml).unwrap();
        let running = Running::open(place.home.path()).await;
        let network = running.node.join().await.unwrap().expect("it has a network");
        running.node.carry_all().await.unwrap();
        Self { running, network, place }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.running.node.id()
    }

    pub(crate) fn address(&self) -> Multiaddr {
        address_of(self.id(), self.network.addresses()[0].clone()).unwrap()
    }

    /// An agent that begins here and has made a few ticks.
    pub(crate) async fn agent(&self, name: &str) -> AgentId {
        let manifest = Manifest { interval: Nanos::from_millis(20), ..Manifest::default() };
        let hosted = self.running.create(igor_node::Creation { manifest, ..creation(name, COUNTER) }).await;
        let agent = hosted.agent();
        self.ticked(agent, 3).await;
        agent
    }

    /// Comes back once the agent has made so many ticks and lives here.
    pub(crate) async fn ticked(&self, agent: AgentId, tick: u64) {
        until("it ticks", || {
            let life = self.running.node.life(agent).filter(|life| !life.is_over());
            life.is_some_and(|life| life.info().tick.0 >= tick)
        })
        .await;
    }

    /// Hands an agent to another real node.
    pub(crate) async fn give(&self, agent: AgentId, to: &Self) {
        until("they are connected", || self.network.peers().iter().any(|peer| peer.node == to.id() && peer.connected))
            .await;
        self.running.node.give(agent, to.id(), |_| ()).await.unwrap();
        to.ticked(agent, 1).await;
    }

    pub(crate) fn runs(&self, agent: AgentId) -> bool {
        self.running.node.life(agent).is_some_and(|life| !life.is_over())
    }

    /// Whether there is a journal of it.
    pub(crate) fn has_journal(&self, agent: AgentId) -> bool {
        self.running.node.store().tail(agent).unwrap().is_some()
    }

    pub(crate) async fn close(self) -> Place {
        self.network.shutdown().await;
        self.running.close().await;
        self.place
    }

    /// A series of its metrics; none that was never counted.
    async fn metric(&self, series: &str) -> u64 {
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let text = common::raw(self.running.server.socket(), request).await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

/// A real node under attack, with an honest agent.
pub(crate) struct Scene {
    pub(crate) host: Real,
    good: AgentId,
    began: Instant,
    since: Timestamp,
    memory: u64,
    disk: u64,
}

impl Scene {
    /// With a node that takes agents from these.
    pub(crate) async fn begin(nodes: &[NodeId], rest: &str) -> Self {
        Self::around(Real::start(Place::new(), &[], nodes, rest).await).await
    }

    pub(crate) async fn around(host: Real) -> Self {
        let good = host.agent("good").await;
        let (since, began) = (igor_node::RealWorld.wall_clock(), Instant::now());
        let (memory, disk) = (peak_bytes(), used_bytes(host.place.home.path()));
        Self { host, good, began, since, memory, disk }
    }

    pub(crate) async fn until_metric(&self, series: &str, at_least: u64) {
        let began = Instant::now();
        loop {
            let value = self.host.metric(series).await;
            if value >= at_least {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{series} is {value}, not {at_least}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// It was refused for this reason, which is counted; the words are in the log with the agent.
    pub(crate) async fn until_refused(&self, agent: AgentId, reason: Reason, words: &str) {
        let series = format!("igor_moves_in_refused_total{{reason=\"{}\"}}", reason.name());
        self.until_metric(&series, 1).await;
        until_logged(&[&agent.to_string(), reason.name(), words]).await;
    }

    /// By how many bytes the home grew on the disk.
    pub(crate) fn grown_bytes(&self) -> u64 {
        used_bytes(self.host.place.home.path()).saturating_sub(self.disk)
    }

    /// The honest agent ticked all the while and still does, and memory is bounded.
    pub(crate) async fn end(self, attack: &str) {
        let tick = self.host.running.node.life(self.good).expect("it lives").info().tick.0;
        self.host.ticked(self.good, tick + 2).await;
        let (gap, ticks) = self.longest_gap();
        let grown = peak_bytes().saturating_sub(self.memory);
        println!(
            "{attack}: {:?}, {ticks} ticks of the honest agent, at most {gap:?} apart; memory grew by {} KiB",
            self.began.elapsed(),
            grown >> 10
        );
        assert!(gap < GAP_MAX, "the honest agent did not tick for {gap:?}");
        assert!(grown < GROWTH_MAX, "memory grew by {grown} bytes");
        self.host.close().await;
    }

    /// By its journal, since the attack began.
    fn longest_gap(&self) -> (Duration, usize) {
        let store = self.host.running.node.store();
        let mut ticks = vec![self.since];
        for commit in store.read(self.good, Seq(0)).unwrap() {
            for (_, _, bytes) in commit.unwrap().entries() {
                let entry = Entry::decode(bytes).unwrap();
                if matches!(&entry.body, Body::Run(run) if run.call.is_tick()) && entry.at > self.since {
                    ticks.push(entry.at);
                }
            }
        }
        let gap = ticks.windows(2).map(|two| two[1].0 - two[0].0).max().expect("it ticked");
        (Duration::from_nanos(gap), ticks.len() - 1)
    }
}

/// Knows nothing and takes nothing.
struct Silent;

impl Handler for Silent {
    fn answer(&self, _: NodeId, _: Request) -> BoxFuture<'_, Result<Response, Why>> {
        Box::pin(async { Err(Why::NotAllowed) })
    }

    fn transfer(&self, _: NodeId, _: Stream) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn notice(&self, _: Event) {}
}

/// A peer that sends what it likes.
pub(crate) struct Attacker {
    pub(crate) key: KeyPair,
    pub(crate) network: Network,
    pub(crate) victim: NodeId,
}

impl Attacker {
    pub(crate) async fn of(key: KeyPair, victim: &Real) -> Self {
        Self::with(key, victim, Silent).await
    }

    /// One that answers by itself.
    pub(crate) async fn with(key: KeyPair, victim: &Real, handler: impl Handler) -> Self {
        let mut config = Config::new(&key.seed()).unwrap();
        config.bootstrap = vec![victim.address()];
        let network = Network::start(config, Arc::new(handler)).await.unwrap();
        Self { key, network, victim: victim.id() }
    }

    pub(crate) async fn open(&self) -> Talk {
        Talk(self.network.open(self.victim).await.unwrap())
    }

    /// Says this first.
    pub(crate) async fn say(&self, first: Frame) -> Talk {
        let mut talk = self.open().await;
        talk.send(first).await;
        talk
    }
}

/// A transfer that an attacker began.
pub(crate) struct Talk(pub(crate) Stream);

impl Talk {
    /// Sends a frame, if the node still takes any.
    pub(crate) async fn send(&mut self, frame: Frame) -> bool {
        self.0.send(&frame.encode()).await.is_ok()
    }

    /// What the node answers; nothing if it hung up.
    pub(crate) async fn hear(&mut self) -> Option<Frame> {
        let bytes = tokio::time::timeout(PATIENCE, self.0.receive()).await.expect("it answers in time");
        bytes.ok()?.map(|bytes| Frame::decode(&bytes).unwrap())
    }

    /// It is refused, for this reason.
    pub(crate) async fn refused(&mut self, reason: Reason) -> String {
        match self.hear().await {
            Some(Frame::Refused(refusal)) if refusal.reason == reason => refusal.why,
            other => panic!("not refused for its {}: {other:?}", reason.name()),
        }
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

/// Waits until one line of the log has all of these.
pub(crate) async fn until_logged(words: &[&str]) {
    let has = || {
        let text = log().0.lock().unwrap().clone();
        String::from_utf8_lossy(&text).lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    until(&format!("{words:?} is logged"), has).await;
}

/// The most that this process ever had in memory, in bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What a directory takes on the disk, in bytes. Files come and go meanwhile.
fn used_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let used = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => used_bytes(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    used.sum()
}
