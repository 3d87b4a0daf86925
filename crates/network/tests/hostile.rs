//! Peers that do what no honest one does, over real sockets: what they take is bounded, the reason is counted, and
//! another peer keeps getting answers all the while.
//!
//! Each attack runs in a process of its own together with the node that it attacks, so that the most memory that they
//! ever had can be read; what the attacker takes counts as well. The bound is the same for all.

mod common;

use common::{
    raw::{self, DATA, Io, SYN, WINDOW},
    *,
};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use igor_network::{ASK, Limits, MOVE, Refusal, limits};
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
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
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
        return runtime.expect("a runtime").block_on(attack);
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let myself = std::env::current_exe().expect("this test is a program");
    let run = Command::new(myself).args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().expect("it runs");
    print!("{}", String::from_utf8_lossy(&run.stdout));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
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
        Self::begin_with(Echo::default(), Limits::default()).await
    }

    async fn begin_with(echo: Echo, limits: Limits) -> Self {
        let mut host = config(1, &[TCP, QUIC]);
        host.limits = limits;
        host.times.handshake = Duration::from_secs(2);
        host.times.request = Duration::from_secs(2);
        host.times.idle = Duration::from_secs(2);
        host.times.frame = Duration::from_secs(2);
        let host = start_with(host, echo).await;
        let mut friend = config(2, &[]);
        let addresses = host.network.addresses().into_iter();
        friend.bootstrap =
            addresses.map(|address| igor_network::address_of(host.id(), address).expect("named")).collect();
        let friend = start(friend).await;
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let to = host.id();
        let task = {
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    echo_of(&friend, to).await;
                    answers.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
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
        let addresses = self.host.network.addresses();
        raw::socket(addresses.iter().find(|at| at.to_string().contains("/tcp/")).expect("it listens"))
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
    let to = scene.host.network.addresses();
    let to = raw::socket(to.iter().find(|at| at.to_string().contains("quic")).expect("it listens"));
    let socket = tokio::net::UdpSocket::bind("127.0.0.2:0").await.expect("a port");
    for seed in 0..500 {
        let _ = socket.send_to(&garbage(seed, 1200), to).await;
    }
    // After the burst of one address, more of it is refused for its rate; either way it is refused.
    scene.until_refused(Refusal::Handshake, 10).await;
    scene.end("garbage").await;
}

async fn handshakes_that_stall() {
    let scene = Scene::begin().await;
    let mut stalled = vec![];
    for _ in 0..limits::HANDSHAKES_PER_ADDRESS {
        stalled.push(raw::tcp(ELSEWHERE, scene.tcp()).await.expect("it listens"));
    }
    // One more of that address is not even waited for.
    let mut more = raw::tcp(ELSEWHERE, scene.tcp()).await.expect("it listens");
    let mut rest = vec![];
    let _ = more.read_to_end(&mut rest).await;
    scene.until_refused(Refusal::Handshakes, 1).await;
    // Others are: a new peer gets in while they stall.
    let another = start({
        let mut another = config(3, &[]);
        another.bootstrap = vec![scene.host.network.addresses()[0].clone()]
            .into_iter()
            .map(|address| igor_network::address_of(scene.host.id(), address).expect("named"))
            .collect();
        another
    })
    .await;
    echo_of(&another, scene.host.id()).await;
    // And they end.
    scene.until_refused(Refusal::HandshakeSlow, limits::HANDSHAKES_PER_ADDRESS as u64).await;
    for mut io in stalled {
        let mut rest = vec![];
        let _ = io.read_to_end(&mut rest).await;
    }
    another.network.shutdown().await;
    scene.end("stalled handshakes").await;
}

async fn floods_of_handshakes() {
    let scene = Scene::begin().await;
    // Ten addresses, a thousand connections each.
    let floods = (2..12).map(|last| {
        let to = scene.tcp();
        tokio::spawn(async move {
            let mut held = VecDeque::new();
            for _ in 0..1000 {
                if let Ok(io) = raw::tcp([127, 0, 0, last], to).await {
                    held.push_back(io);
                }
                held.truncate(50);
            }
        })
    });
    for flood in floods.collect::<Vec<_>>() {
        flood.await.expect("flooded");
    }
    scene.until_refused(Refusal::HandshakeRate, 1000).await;
    scene.end("handshake floods").await;
}

async fn floods_of_real_handshakes() {
    let scene = Scene::begin().await;
    // Each with a key of its own, from one address: within the rate they get in, but never more than there is room for.
    let to = scene.tcp();
    let tries = (0..300).map(|_| tokio::spawn(raw_connect(to)));
    let mut held = vec![];
    for attempt in tries.collect::<Vec<_>>() {
        held.extend(attempt.await.expect("tried"));
    }
    assert!(held.len() <= limits::CONNECTIONS_MAX, "{} got in", held.len());
    let refused = scene.refused(Refusal::HandshakeRate) + scene.refused(Refusal::Handshakes);
    assert!(refused > 0 && held.len() as u64 + refused >= 250, "{} in, {refused} refused", held.len());
    scene.end("floods of real handshakes").await;
}

async fn raw_connect(to: SocketAddr) -> Option<Box<dyn Io>> {
    raw::connect(&Keypair::generate_ed25519(), ELSEWHERE, to).await.ok()
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
    for (stream, content) in (1..).step_by(2).zip(&contents) {
        let header = u32::try_from(content.len()).expect("short").to_be_bytes();
        io.write_all(&raw::begin(stream, ASK, &header)).await.expect("sent");
        io.write_all(&raw::data(0, stream, content)).await.expect("sent");
        io.flush().await.expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.until_refused(Refusal::Malformed, contents.len() as u64).await;
    assert_eq!(scene.refused(Refusal::Malformed), contents.len() as u64);
    scene.end("malformed frames").await;
}

async fn streams_that_are_slow() {
    let scene = Scene::begin().await;
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
    for byte in [0, 0, 1, 0].into_iter().chain([7; 20]) {
        write.write_all(&raw::data(0, 9, &[byte])).await.expect("sent");
        write.flush().await.expect("sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    scene.until_refused(Refusal::Slow, 5).await;
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

/// Ten thousand streams of this protocol over Yamux, all left open; the connection may be lost on the way.
async fn many_streams(scene: &Scene, begin: impl Fn(u32) -> Vec<u8>) {
    let (mut read, mut write) = scene.attacker().await.split();
    let reader = tokio::spawn(async move { raw_drain(&mut read).await });
    for stream in (1..20_000).step_by(2) {
        let sent = async {
            write.write_all(&begin(stream)).await?;
            write.flush().await
        };
        // It need not be read any more: then it stops here.
        match tokio::time::timeout(Duration::from_secs(5), sent).await {
            Ok(Ok(())) => {}
            _ => break,
        }
    }
    reader.abort();
}

async fn ten_thousand_streams_over_tcp() {
    let scene = Scene::begin().await;
    // That say nothing, that begin a request, that begin a transfer.
    many_streams(&scene, |stream| raw::frame(WINDOW, SYN, stream, 0, &[])).await;
    assert!(scene.refused(Refusal::Streams) > 0);
    many_streams(&scene, |stream| raw::begin(stream, ASK, &[0, 0])).await;
    many_streams(&scene, |stream| raw::begin(stream, MOVE, &[0, 0])).await;
    assert!(scene.refused(Refusal::Transfers) > 0);
    assert!(scene.host.echo.transfers.load(Ordering::Relaxed) <= limits::TRANSFERS_PER_PEER);
    scene.end("ten thousand streams over TCP").await;
}

async fn ten_thousand_streams_over_quic() {
    let scene = Scene::begin().await;
    let to = scene.host.network.addresses().into_iter().find(|at| at.to_string().contains("quic")).expect("it listens");
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, mut connection) = transport.dial(to, options).expect("an address").await.expect("strangers are let in");
    let mut held = VecDeque::new();
    let mut opened = 0;
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
            Err(_) => {
                held.clear();
                if scene.refused(Refusal::Flood) > 0 {
                    break;
                }
            }
        }
    }
    assert!(scene.refused(Refusal::Transfers) > 0, "{opened} streams, none refused");
    assert!(scene.refused(Refusal::Flood) > 0, "{opened} streams, and it may stay");
    let _ = std::future::poll_fn(|cx| connection.poll_close_unpin(cx)).await;
    drop(connection);
    scene.end("ten thousand streams over QUIC").await;
}

async fn floods_of_requests() {
    let scene = Scene::begin().await;
    let (mut read, mut write) = scene.attacker().await.split();
    let reader = tokio::spawn(async move { raw_drain(&mut read).await });
    // Good requests, far more than the rate; each stream is closed, so that none is in the way of the next.
    let request = [&[0, 0, 0, 3][..], &[0x82, 0x00, 0x80]].concat();
    let before = scene.host.echo.answering.load(Ordering::Relaxed);
    for stream in (1..10_000).step_by(2) {
        let sent = async {
            write.write_all(&raw::begin(stream, ASK, &request)).await?;
            write.write_all(&raw::frame(DATA, 4, stream, 0, &[])).await?;
            write.flush().await
        };
        match tokio::time::timeout(Duration::from_secs(5), sent).await {
            Ok(Ok(())) => {}
            _ => break,
        }
    }
    scene.until_refused(Refusal::RequestRate, 100).await;
    scene.until_refused(Refusal::Flood, 1).await;
    let answered = scene.host.echo.answering.load(Ordering::Relaxed) - before;
    reader.abort();
    println!("{answered} requests got through");
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
    let limits = Limits { transfers_per_peer: STREAMS as usize, ..Limits::default() };
    let scene = Scene::begin_with(Echo { ignores: true, ..Echo::default() }, limits).await;
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
    let _ = tokio::time::timeout(Duration::from_secs(15), flood).await;
    scene.until_refused(Refusal::SmallFrames, 1).await;
    assert_eq!(scene.host.echo.transfers.load(Ordering::Relaxed), STREAMS as usize);
    scene.end("tiny frames").await;
    reader.abort();
}

async fn windows_full_of_what_nobody_reads() {
    let scene = Scene::begin_with(Echo { ignores: true, ..Echo::default() }, Limits::default()).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut floods = vec![];
    for _ in 0..4 {
        let (mut read, mut write) = scene.attacker().await.split();
        let sent = Arc::clone(&sent);
        floods.push(tokio::spawn(async move { raw_drain(&mut read).await }));
        floods.push(tokio::spawn(async move {
            // Exactly the window of each stream: one byte more would end the connection.
            let mut total = 0;
            for stream in (1..48).step_by(2) {
                let begin = raw::begin(stream, MOVE, &[]);
                let left = vec![7; (256 << 10) - (begin.len() - 12)];
                let parts = left.chunks(32 << 10).map(|part| raw::data(0, stream, part));
                for part in std::iter::once(begin).chain(parts) {
                    if write.write_all(&part).await.is_err() {
                        return total;
                    }
                    total += part.len();
                    sent.store(total, Ordering::Relaxed);
                }
            }
            let _ = write.flush().await;
            std::future::pending().await
        }));
    }
    until("all of it was sent", || sent.load(Ordering::Relaxed) >= 23 * (256 << 10)).await;
    scene.until_refused(Refusal::Transfers, 4 * 22).await;
    scene.end("full windows").await;
    for flood in &floods {
        flood.abort();
    }
}
