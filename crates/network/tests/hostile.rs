//! Peers that do what no honest one does, over real sockets: what they take is bounded, the reason is counted, and
//! another peer keeps getting answers all the while.
//!
//! Nothing here depends on how fast the machine is: what is not a bound is awaited, and time limits of the node are far
//! above what anything takes, but for the one that a test is about.
//!
//! Each attack runs in a process of its own together with the node that it attacks, so that the most memory that they
//! ever had can be read; what the attacker takes counts as well. The bound is the same for all.

mod common;

use common::{
    raw::{self, DATA, Io, SYN, WINDOW},
    *,
};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use igor_network::{ASK, Config, MOVE, Refusal, limits};
use libp2p::{
    Transport,
    core::{
        Endpoint,
        muxing::StreamMuxerExt,
        transport::{DialOpts, PortUse},
    },
    identity::Keypair,
    quic,
};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

/// By how much memory may grow under attack at any moment, in bytes.
const GROWTH_MAX: u64 = 48 << 20;
/// Where attackers come from; the friend comes from 127.0.0.1.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

macro_rules! attacks {
    ($($name:ident,)*) => {
        mod attack {
            $(#[test]
            fn $name() {
                super::alone(concat!("attack::", stringify!($name)), super::$name());
            })*
        }
    };
}

attacks! {
    garbage_instead_of_a_handshake,
    handshakes_that_stall,
    floods_of_handshakes,
    floods_of_real_handshakes,
    more_peers_than_there_is_room_for,
    frames_that_say_they_are_huge,
    frames_that_are_malformed,
    streams_that_are_slow,
    ten_thousand_streams_over_tcp,
    ten_thousand_streams_over_quic,
    floods_of_requests,
    protocols_that_are_not_known,
    windows_full_of_tiny_frames,
    windows_full_of_what_nobody_reads,
}

/// Runs the attack in a process of its own, one at a time.
fn alone(name: &str, attack: impl Future<Output = ()>) {
    const ALONE: &str = "IGOR_TEST_ALONE";
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let attack = async { tokio::time::timeout(PATIENCE * 2, attack).await.expect("the attack ends") };
        return runtime.expect("a runtime").block_on(attack);
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let myself = std::env::current_exe().expect("this test is a program");
    let run = Command::new(myself).args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().expect("it runs");
    print!("{}", String::from_utf8_lossy(&run.stdout));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// Connections by what became of them.
#[derive(Clone, Copy, Debug)]
struct Outcomes {
    /// Refused before a handshake.
    kept_out: u64,
    /// Whose handshake failed or was too slow.
    failed: u64,
    /// Refused after it.
    no_room: u64,
    entered: u64,
}

impl Outcomes {
    fn all(self) -> u64 {
        self.kept_out + self.failed + self.no_room + self.entered
    }

    fn since(self, before: Self) -> Self {
        Self {
            kept_out: self.kept_out - before.kept_out,
            failed: self.failed - before.failed,
            no_room: self.no_room - before.no_room,
            entered: self.entered - before.entered,
        }
    }
}

/// A node under attack, and a friend who talks to it.
struct Scene {
    host: Node,
    friend: JoinHandle<()>,
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    before: u64,
}

impl Scene {
    async fn begin() -> Self {
        Self::begin_with(Echo::default(), |_| {}).await
    }

    async fn begin_with(echo: Echo, change: impl FnOnce(&mut Config)) -> Self {
        let mut host = config(1, &[TCP, QUIC]);
        change(&mut host);
        let host = start_with(host, echo).await;
        // By one address only, so that there is no second attempt that the first one makes needless.
        let mut friend = config(2, &[]);
        friend.bootstrap = vec![igor_network::address_of(host.id(), at(&host, "/tcp/")).expect("named")];
        let friend = start(friend).await;
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let to = host.id();
        let task = {
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    echo_of(&friend, to).await;
                    answers.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                assert_eq!(friend.echo.events(), [igor_network::Event::Connected(to)], "the friend lost the node");
            })
        };
        let answered = Arc::clone(&answers);
        until("the friend talks", move || answered.load(Ordering::Relaxed) > 0).await;
        let before = peak_bytes();
        Self { host, friend: task, over, answers, before }
    }

    fn tcp(&self) -> SocketAddr {
        raw::socket(&at(&self.host, "/tcp/"))
    }

    /// What became of the connections that were made: each is exactly one of these.
    fn outcomes(&self) -> Outcomes {
        let counters = self.host.network.counters();
        let sum = |reasons: &[Refusal]| reasons.iter().map(|why| counters.refused(*why)).sum();
        Outcomes {
            kept_out: sum(&[Refusal::Handshakes, Refusal::HandshakeRate]),
            failed: sum(&[Refusal::Handshake, Refusal::HandshakeSlow]),
            no_room: sum(&[Refusal::Connections, Refusal::PeerConnections]),
            entered: counters.connections_in,
        }
    }

    fn refused(&self, why: Refusal) -> u64 {
        self.host.network.counters().refused(why)
    }

    /// An authenticated attacker.
    async fn attacker(&self) -> Box<dyn Io> {
        raw::connect(&Keypair::generate_ed25519(), ELSEWHERE, self.tcp()).await.expect("strangers are let in")
    }

    async fn until_refused(&self, why: Refusal, times: u64) {
        until(&format!("{why} was counted {times} times"), || self.refused(why) >= times).await;
    }

    /// The friend was answered all the while and still is, and memory is bounded.
    async fn end(self, attack: &str) {
        let during = self.answers.load(Ordering::Relaxed);
        let answers = Arc::clone(&self.answers);
        until("the friend is still answered", move || answers.load(Ordering::Relaxed) > during + 1).await;
        let grown = peak_bytes().saturating_sub(self.before);
        self.over.store(true, Ordering::Relaxed);
        self.friend.await.expect("the friend got every answer");
        println!("{attack}: memory grew by {} KiB, {during} answers meanwhile", grown >> 10);
        assert!(grown < GROWTH_MAX, "{attack}: memory grew by {grown} bytes");
        self.host.network.shutdown().await;
    }
}

/// Where a node listens by this transport.
fn at(node: &Node, transport: &str) -> igor_network::Multiaddr {
    node.network.addresses().into_iter().find(|at| at.to_string().contains(transport)).expect("it listens")
}

async fn echo_of(friend: &Node, to: igor_protocol::NodeId) {
    echo(&friend.network, to, b"are you well?").await;
}

/// Bytes that follow no protocol.
fn garbage(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(step).collect()
}

async fn garbage_instead_of_a_handshake() {
    let scene = Scene::begin().await;
    for seed in 0..20 {
        let mut io = raw::tcp(ELSEWHERE, scene.tcp()).await.expect("it listens");
        let _ = io.write_all(&garbage(seed, 64 << 10)).await;
        let mut rest = vec![];
        let _ = io.read_to_end(&mut rest).await;
        assert!(rest.len() < 1024, "{} bytes answered to garbage", rest.len());
    }
    // The same where a handshake was begun properly, and as datagrams.
    let mut io = libp2p::tcp::tokio::TcpStream(raw::tcp(ELSEWHERE, scene.tcp()).await.expect("it listens"));
    raw::agree(&mut io, "/noise").await.expect("it speaks Noise");
    let _ = AsyncWriteExt::write_all(&mut io, &garbage(99, 64 << 10)).await;
    raw::drain(&mut io).await;
    let to = raw::socket(&at(&scene.host, "quic"));
    let socket = tokio::net::UdpSocket::bind("127.0.0.2:0").await.expect("a port");
    for seed in 0..500 {
        let _ = socket.send_to(&garbage(seed, 1200), to).await;
    }
    scene.until_refused(Refusal::Handshake, 21).await;
    assert_eq!(scene.refused(Refusal::Handshake), 21);
    scene.end("garbage").await;
}

async fn handshakes_that_stall() {
    const LIMIT: Duration = Duration::from_secs(4);
    let scene = Scene::begin_with(Echo::default(), |host| host.times.handshake = LIMIT).await;
    // Again where the machine was too slow to see all of it before the first one was over.
    loop {
        let (full, slow) = (scene.refused(Refusal::Handshakes), scene.refused(Refusal::HandshakeSlow));
        let mut stalled = vec![];
        for _ in 0..limits::HANDSHAKES_PER_ADDRESS {
            stalled.push(raw::tcp(ELSEWHERE, scene.tcp()).await.expect("it listens"));
        }
        // One more of that address is not even waited for.
        let mut more = raw::tcp(ELSEWHERE, scene.tcp()).await.expect("it listens");
        let _ = more.read_to_end(&mut vec![]).await;
        // Others are: a new peer gets in while they stall.
        let mut another = config(3, &[]);
        another.bootstrap = vec![igor_network::address_of(scene.host.id(), at(&scene.host, "/tcp/")).expect("named")];
        let another = start(another).await;
        echo_of(&another, scene.host.id()).await;
        let meanwhile = scene.refused(Refusal::HandshakeSlow) == slow;
        another.network.shutdown().await;
        // And they end.
        scene.until_refused(Refusal::HandshakeSlow, slow + limits::HANDSHAKES_PER_ADDRESS as u64).await;
        for mut io in stalled {
            let _ = io.read_to_end(&mut vec![]).await;
        }
        if meanwhile {
            until("it is counted", || scene.refused(Refusal::Handshakes) == full + 1).await;
            break;
        }
    }
    scene.end("stalled handshakes").await;
}

/// How many handshakes may have begun within this time: of so many addresses, and of all.
fn handshakes_max(addresses: u64, within: Duration) -> u64 {
    let seconds = within.as_secs() + 1;
    let each = u64::from(limits::HANDSHAKE_BURST) + u64::from(limits::HANDSHAKES_PER_SECOND) * seconds;
    let all = u64::from(limits::HANDSHAKE_BURST_IN_ALL) + u64::from(limits::HANDSHAKES_PER_SECOND_IN_ALL) * seconds;
    (each * addresses).min(all)
}

async fn floods_of_handshakes() {
    const ADDRESSES: u8 = 10;
    const EACH: u64 = 1000;
    /// Less than the kernel keeps for a listener: beyond that it forgets some, and nobody could count them.
    const WAITING_MAX: u64 = 512;
    let scene = Scene::begin_with(Echo::default(), |host| host.times.handshake = Duration::from_secs(2)).await;
    let (scene, made) = (Arc::new(scene), Arc::new(AtomicU64::new(0)));
    let (before, began) = (scene.outcomes(), Instant::now());
    let floods = (2..2 + ADDRESSES).map(|last| {
        let (scene, made) = (Arc::clone(&scene), Arc::clone(&made));
        tokio::spawn(async move {
            let mut held = VecDeque::new();
            for _ in 0..EACH {
                // As fast as the node takes them.
                while made.load(Ordering::Relaxed) > scene.outcomes().since(before).all() + WAITING_MAX {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                made.fetch_add(1, Ordering::Relaxed);
                held.push_back(raw::tcp([127, 0, 0, last], scene.tcp()).await.expect("it listens"));
                // Half of them stall those that got in, half give them up for the next.
                if last % 2 == 0 {
                    held.truncate(50);
                } else if held.len() > 50 {
                    held.pop_front();
                }
            }
        })
    });
    for flood in floods.collect::<Vec<_>>() {
        flood.await.expect("flooded");
    }
    let made = made.load(Ordering::Relaxed);
    assert_eq!(made, u64::from(ADDRESSES) * EACH);
    until("each is counted", || scene.outcomes().since(before).all() >= made).await;
    let within = began.elapsed();
    let became = scene.outcomes().since(before);
    println!("{made} connections in {within:?}: {became:?}");
    assert_eq!((became.all(), became.no_room, became.entered), (made, 0, 0), "each once: {became:?}");
    let most = handshakes_max(ADDRESSES.into(), within);
    assert!(became.failed <= most, "{became:?} within {within:?}, {most} handshakes may have begun");
    Arc::into_inner(scene).expect("the floods are over").end("handshake floods").await;
}

async fn floods_of_real_handshakes() {
    const TRIES: u64 = 300;
    let scene = Scene::begin().await;
    // Each with a key of its own, from one address: within the rate they get in.
    let (to, before, began) = (scene.tcp(), scene.outcomes(), Instant::now());
    let tries = (0..TRIES).map(|_| {
        tokio::spawn(async move {
            let io = raw::tcp(ELSEWHERE, to).await.expect("it listens");
            raw::secure(&Keypair::generate_ed25519(), io).await.ok()
        })
    });
    let mut held = vec![];
    for attempt in tries.collect::<Vec<_>>() {
        held.extend(attempt.await.expect("tried"));
    }
    until("each is counted", || scene.outcomes().since(before).all() >= TRIES).await;
    let within = began.elapsed();
    let became = scene.outcomes().since(before);
    println!("{TRIES} handshakes in {within:?}: {became:?}");
    assert_eq!(became.all(), TRIES, "each once: {became:?}");
    assert!(became.entered > 0, "{became:?}");
    assert!(TRIES - became.kept_out <= handshakes_max(1, within), "{became:?} within {within:?}");
    assert!(scene.host.network.counters().connections_open() <= limits::CONNECTIONS_MAX as u64, "{became:?}");
    scene.end("floods of real handshakes").await;
}

async fn more_peers_than_there_is_room_for() {
    const ADDRESSES: u8 = 20;
    const EACH: usize = 8;
    let listed = config(3, &[]);
    let scene = Scene::begin_with(Echo::default(), |host| host.allow = [listed.node()].into()).await;
    // One peer, more often than once: it has a few connections.
    let (to, key) = (scene.tcp(), Keypair::generate_ed25519());
    let before = scene.outcomes();
    let mut held = vec![];
    for _ in 0..2 * limits::CONNECTIONS_PER_PEER {
        held.push(raw::connect(&key, ELSEWHERE, to).await);
    }
    let tried = held.len() as u64;
    until("each is counted", || scene.outcomes().since(before).all() >= tried).await;
    let became = scene.outcomes().since(before);
    assert_eq!((became.entered, became.no_room, became.all()), (tried / 2, tried / 2, tried), "{became:?}");
    assert_eq!(scene.refused(Refusal::PeerConnections), tried / 2);
    // Many peers from many addresses, one after the other: there are so many places and no more.
    let peers = (10..10 + ADDRESSES).map(|last| {
        tokio::spawn(async move {
            let mut held = vec![];
            for _ in 0..EACH {
                held.push(raw::connect(&Keypair::generate_ed25519(), [127, 0, 0, last], to).await);
            }
            held
        })
    });
    for peer in peers.collect::<Vec<_>>() {
        held.extend(peer.await.expect("tried"));
    }
    let tried = held.len() as u64;
    until("each is counted", || scene.outcomes().since(before).all() >= tried).await;
    assert_eq!(scene.outcomes().since(before).all(), tried);
    let open = scene.host.network.counters().connections_open();
    assert_eq!(open, limits::CONNECTIONS_MAX as u64);
    // The friend has one of the places.
    assert_eq!(scene.refused(Refusal::Connections), tried - scene.refused(Refusal::PeerConnections) - (open - 1));
    // Who is on the list gets in all the same.
    let mut listed = listed;
    listed.bootstrap = vec![igor_network::address_of(scene.host.id(), at(&scene.host, "/tcp/")).expect("named")];
    let listed = start(listed).await;
    echo_of(&listed, scene.host.id()).await;
    listed.network.shutdown().await;
    scene.end("more peers than there is room for").await;
    drop(held);
}

async fn frames_that_say_they_are_huge() {
    let scene = Scene::begin().await;
    for (protocol, length) in [(ASK, u32::MAX), (ASK, (64 << 10) + 1), (MOVE, u32::MAX), (MOVE, (1 << 20) + 1)] {
        let mut io = scene.attacker().await;
        let before = scene.refused(Refusal::TooLarge);
        io.write_all(&raw::begin(1, protocol, &length.to_be_bytes())).await.expect("sent");
        io.write_all(&raw::data(0, 1, &garbage(1, 60_000))).await.expect("sent");
        io.flush().await.expect("sent");
        until("it is refused", || scene.refused(Refusal::TooLarge) > before).await;
    }
    // The same one layer below: the connection ends.
    let mut io = scene.attacker().await;
    io.write_all(&raw::frame(DATA, SYN, 1, u32::MAX, &[])).await.expect("sent");
    io.flush().await.expect("sent");
    raw::drain(&mut *io).await;
    scene.end("huge frames").await;
}

async fn frames_that_are_malformed() {
    let scene = Scene::begin().await;
    let mut io = scene.attacker().await;
    let mut contents: Vec<Vec<u8>> = (1..20).map(|seed| garbage(seed, 100)).collect();
    contents.push(vec![0xff; 65_000]); // nested for ever
    contents.push(vec![0x81; 65_000]);
    contents.push([&[0x82, 0x02, 0x81, 0x5b][..], &[0xff; 8]].concat()); // bytes without end
    contents.push(vec![0x82, 0x18, 0x00, 0x80]); // a status request in too many bytes
    for (stream, content) in (1_u32..).step_by(2).zip(&contents) {
        let header = u32::try_from(content.len()).expect("short").to_be_bytes();
        io.write_all(&raw::begin(stream, ASK, &header)).await.expect("sent");
        io.write_all(&raw::data(0, stream, content)).await.expect("sent");
        io.flush().await.expect("sent");
        // One at a time: more than a few at once are refused for that.
        scene.until_refused(Refusal::Malformed, u64::from(stream).div_ceil(2)).await;
    }
    assert_eq!(scene.refused(Refusal::Malformed), contents.len() as u64);
    scene.end("malformed frames").await;
}

async fn streams_that_are_slow() {
    const SLOW: Duration = Duration::from_secs(5);
    let scene = Scene::begin_with(Echo::default(), |host| {
        // Far more than an honest peer needs for what the friend asks, also here.
        (host.times.request, host.times.idle, host.times.frame) = (SLOW, SLOW, SLOW);
    })
    .await;
    let io = scene.attacker().await;
    let (mut read, mut write) = io.split();
    let reader = tokio::spawn(async move { raw_drain(&mut read).await });
    // Half a header, half a request, half a frame of a transfer, nothing; and one byte at a time.
    let halves: [(&str, &[u8]); 5] =
        [(ASK, &[0, 0]), (ASK, &[0, 0, 1, 0, 7]), (MOVE, &[0, 0, 1, 0, 7]), (MOVE, &[]), (ASK, &[])];
    for (stream, (protocol, half)) in (1..).step_by(2).zip(halves) {
        write.write_all(&raw::begin(stream, protocol, half)).await.expect("sent");
    }
    write.flush().await.expect("sent");
    let mut bytes = [0, 0, 1, 0].into_iter().chain(std::iter::repeat(7));
    while scene.refused(Refusal::Slow) < halves.len() as u64 {
        write.write_all(&raw::data(0, 9, &[bytes.next().expect("for ever")])).await.expect("sent");
        write.flush().await.expect("sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(scene.refused(Refusal::Slow), halves.len() as u64);
    reader.abort();
    scene.end("slow streams").await;
}

async fn raw_drain(io: &mut (impl futures_util::AsyncRead + Unpin)) -> usize {
    let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
    while let Ok(read @ 1..) = io.read(&mut buffer).await {
        total += read;
    }
    total
}

/// Ten thousand streams of this kind over Yamux, all left open, until this was refused; the connection may be lost on
/// the way.
async fn many_streams(scene: &Scene, why: Refusal, begin: impl Fn(u32) -> Vec<u8>) {
    let (mut read, mut write) = scene.attacker().await.split();
    let reader = tokio::spawn(async move { raw_drain(&mut read).await });
    let streams: Vec<u32> = (1..20_000).step_by(2).collect();
    for some in streams.chunks(1000) {
        let begun: Vec<u8> = some.iter().flat_map(|stream| begin(*stream)).collect();
        let sent = async {
            write.write_all(&begun).await?;
            write.flush().await
        };
        // It need not be read any more: then it stops here.
        match tokio::time::timeout(Duration::from_secs(5), sent).await {
            Ok(Ok(())) => {}
            _ => break,
        }
    }
    scene.until_refused(why, 1).await;
    reader.abort();
}

async fn ten_thousand_streams_over_tcp() {
    let scene = Scene::begin().await;
    // That say nothing, that begin a request, that begin a transfer.
    many_streams(&scene, Refusal::Streams, |stream| raw::frame(WINDOW, SYN, stream, 0, &[])).await;
    many_streams(&scene, Refusal::Streams, |stream| raw::begin(stream, ASK, &[0, 0])).await;
    many_streams(&scene, Refusal::Transfers, |stream| raw::begin(stream, MOVE, &[0, 0])).await;
    let at_once = scene.host.echo.transfers_at_once();
    assert!(at_once <= limits::TRANSFERS_PER_PEER, "{at_once} transfers at once");
    scene.end("ten thousand streams over TCP").await;
}

async fn ten_thousand_streams_over_quic() {
    let scene = Scene::begin().await;
    let (to, key) = (at(&scene.host, "quic"), Keypair::generate_ed25519());
    let mut opened = 0;
    // With the same key again if the connection was lost before it came to that.
    while scene.refused(Refusal::Flood) == 0 {
        let mut transport = quic::tokio::Transport::new(quic::Config::new(&key));
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialled = transport.dial(to.clone(), options).expect("an address").await;
        let (_, mut connection) = dialled.expect("strangers are let in");
        let mut held = VecDeque::new();
        while opened < 10_000 {
            let next = std::future::poll_fn(|cx| {
                let _ = connection.poll_unpin(cx);
                connection.poll_outbound_unpin(cx)
            });
            // Where there is no room the node makes us wait: the oldest are given up.
            match tokio::time::timeout(Duration::from_millis(200), next).await {
                Ok(Ok(mut stream)) => {
                    opened += 1;
                    let begin = [raw::message("/multistream/1.0.0"), raw::message(MOVE), vec![0, 0]].concat();
                    let _ = stream.write_all(&begin).await;
                    held.push_back(stream);
                    if held.len() > 100 {
                        held.pop_front();
                    }
                }
                Ok(Err(_)) => break,
                Err(_) => held.clear(),
            }
        }
        assert!(opened < 10_000, "{opened} streams, and it may stay");
        let _ = std::future::poll_fn(|cx| connection.poll_close_unpin(cx)).await;
    }
    assert!(scene.refused(Refusal::Transfers) > 0, "{opened} streams, none refused");
    let at_once = scene.host.echo.transfers_at_once();
    assert!(at_once <= limits::TRANSFERS_PER_PEER, "{at_once} transfers at once");
    println!("{opened} streams until it had to leave");
    scene.end("ten thousand streams over QUIC").await;
}

async fn floods_of_requests() {
    // What the friend asks is far below this as well.
    const PER_SECOND: u32 = 8;
    let scene = Scene::begin_with(Echo::default(), |host| host.limits.requests_per_second = PER_SECOND).await;
    let (key, before) = (Keypair::generate_ed25519(), scene.host.network.counters().requests_in);
    // Good requests, far more than the rate; each stream is closed, so that none is in the way of the next.
    let request = [&[0, 0, 0, 3][..], &[0x82, 0x00, 0x80]].concat();
    // With the same key again if all were sent, or the connection was lost, before it came to that.
    let began = Instant::now();
    while scene.refused(Refusal::Flood) == 0 {
        let (mut read, mut write) = raw::connect(&key, ELSEWHERE, scene.tcp()).await.expect("let in").split();
        let reader = tokio::spawn(async move { raw_drain(&mut read).await });
        for stream in (1..10_000).step_by(2) {
            let sent = async {
                write.write_all(&raw::begin(stream, ASK, &request)).await?;
                write.write_all(&raw::frame(DATA, 4, stream, 0, &[])).await?;
                write.flush().await
            };
            match tokio::time::timeout(Duration::from_secs(5), sent).await {
                Ok(Ok(())) if scene.refused(Refusal::Flood) == 0 => {}
                _ => break,
            }
        }
        let _ = write.close().await;
        reader.await.expect("it ends with the connection");
    }
    assert!(scene.refused(Refusal::RequestRate) > 0);
    // A few of them while too many were being answered.
    let refused = scene.refused(Refusal::RequestRate) + scene.refused(Refusal::Requests);
    assert!(refused >= limits::STRIKES_MAX.into(), "{refused} refused, and it may not stay");
    // Its own and those of the friend.
    let answered = scene.host.network.counters().requests_in - before;
    let seconds = u32::try_from(began.elapsed().as_secs() + 1).expect("a short test");
    println!("{answered} requests got through, {refused} did not, in {:?}", began.elapsed());
    assert!(answered <= u64::from(2 * (limits::REQUEST_BURST + PER_SECOND * seconds)), "{answered} in {seconds} s");
    scene.end("request floods").await;
}

async fn protocols_that_are_not_known() {
    let scene = Scene::begin().await;
    let mut io = scene.attacker().await;
    for (stream, protocol) in (1..).step_by(2).zip(["/igor/ask/99", "/igor/move/0", "/igor/steal/1", "/ipfs/kad/1.0.0"])
    {
        io.write_all(&raw::begin(stream, protocol, &[])).await.expect("sent");
        io.write_all(&raw::frame(DATA, 4, stream, 0, &[])).await.expect("sent");
    }
    io.flush().await.expect("sent");
    scene.until_refused(Refusal::Protocol, 4).await;
    assert_eq!(scene.refused(Refusal::Protocol), 4);
    // One that proposes a newer version first, and then this one, is understood.
    let proposals = [raw::message("/multistream/1.0.0"), raw::message("/igor/ask/99"), raw::message(ASK)].concat();
    let request = [&[0, 0, 0, 3][..], &[0x82, 0x00, 0x80]].concat();
    io.write_all(&raw::data(SYN, 101, &[proposals, request].concat())).await.expect("sent");
    io.flush().await.expect("sent");
    let mut seen = vec![];
    let mut buffer = vec![0; 4096];
    while !seen.windows(5).any(|bytes| bytes == b"0.1.0") {
        let read = tokio::time::timeout(PATIENCE, io.read(&mut buffer)).await.expect("answered").expect("open");
        assert!(read > 0, "it hung up");
        seen.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(scene.refused(Refusal::Protocol), 4);
    scene.end("unknown protocols").await;
}

async fn windows_full_of_tiny_frames() {
    const STREAMS: u32 = 16;
    let ignores = Echo { ignores: true, ..Echo::default() };
    let scene = Scene::begin_with(ignores, |host| {
        host.limits.transfers_per_peer = STREAMS as usize;
        host.limits.transfers_of_strangers = STREAMS as usize;
    })
    .await;
    let (mut read, mut write) = scene.attacker().await.split();
    let reader = tokio::spawn(async move { raw_drain(&mut read).await });
    // Transfers that the node does not read, their windows filled byte by byte as fast as it goes.
    let streams = (1..).step_by(2).take(STREAMS as usize);
    for stream in streams.clone() {
        write.write_all(&raw::begin(stream, MOVE, &[])).await.expect("sent");
    }
    let tiny: Vec<u8> = streams.flat_map(|stream| raw::data(0, stream, &[7])).collect();
    let tiny = tiny.repeat(64);
    let flood = async {
        // Just below the window of each.
        for _ in 0..(255 << 10) / 64 {
            if write.write_all(&tiny).await.is_err() || write.flush().await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(6), flood).await;
    scene.until_refused(Refusal::SmallFrames, 1).await;
    until("all of them are held", || scene.host.echo.transfers.load(Ordering::Relaxed) == STREAMS as usize).await;
    scene.end("tiny frames").await;
    reader.abort();
}

async fn windows_full_of_what_nobody_reads() {
    let scene = Scene::begin_with(Echo { ignores: true, ..Echo::default() }, |_| {}).await;
    let filled = Arc::new(AtomicUsize::new(0));
    let mut floods = vec![];
    for _ in 0..4 {
        let (mut read, mut write) = scene.attacker().await.split();
        let filled = Arc::clone(&filled);
        floods.push(tokio::spawn(async move { raw_drain(&mut read).await }));
        floods.push(tokio::spawn(async move {
            // Exactly the window of each stream: one byte more would end the connection.
            for stream in (1..48).step_by(2) {
                let begin = raw::begin(stream, MOVE, &[]);
                let left = vec![7; (256 << 10) - (begin.len() - 12)];
                let parts = left.chunks(32 << 10).map(|part| raw::data(0, stream, part));
                for part in std::iter::once(begin).chain(parts) {
                    write.write_all(&part).await.expect("it stays");
                }
            }
            write.flush().await.expect("it stays");
            filled.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }));
    }
    until("all of it was sent", || filled.load(Ordering::Relaxed) == 4).await;
    scene.until_refused(Refusal::Transfers, 4 * 22).await;
    scene.end("full windows").await;
    for flood in &floods {
        flood.abort();
    }
}
