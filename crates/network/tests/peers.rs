//! Nodes among themselves, over real sockets on loopback.

mod common;

use common::*;
use igor_network::{Error, Event, Record, Refusal, Request, Response, Why, frame, limits, message::Beat};
use igor_protocol::{AgentId, Epoch, Hash, Seq};
use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Two nodes, the first of which knows where the second is.
async fn pair(listen: &str) -> (Node, Node) {
    let second = start(config(2, &[listen])).await;
    let mut first = config(1, &[]);
    first.bootstrap = vec![second.address()];
    (start(first).await, second)
}

async fn talk(listen: &str) {
    let (first, second) = pair(listen).await;
    let (a, b) = (first.id(), second.id());
    until("they are connected", || first.is_connected(b) && second.is_connected(a)).await;

    // Both ask, over the one connection.
    for (from, to) in [(&first.network, b), (&second.network, a)] {
        let answer = from.request(to, Request::Status).await.expect("an answer");
        assert_eq!(answer, Response::Status { status: status() });
        let agents = [0, 1, 0].map(|first| AgentId(Hash([first; 32]))).to_vec();
        let known = from.request(to, Request::Custody { agents }).await.expect("an answer");
        let records = vec![Record(b"a record".to_vec()), Record(b"a record".to_vec())];
        assert_eq!(known, Response::Custody { answered: 3, records });
        let beats = vec![Beat { agent: AgentId(Hash([1; 32])), epoch: Epoch::default(), next: Seq(3) }];
        let followed = from.request(to, Request::Pulse { beats }).await.expect("an answer");
        assert!(matches!(followed, Response::Following { follows } if follows[0].next == Seq(3)));
        echo(from, to, &vec![7; igor_network::message::BODY_BYTES_MAX]).await;
        let refused = from.request(to, Request::Tell { body: b"no".to_vec() }).await;
        assert!(matches!(refused, Err(Error::Refused { why: Why::NotAllowed, .. })), "{refused:?}");
    }

    // Frames of all sizes, larger together than any window, in order and both ways.
    let mut stream = first.network.open(b).await.expect("a stream");
    let frames: Vec<Vec<u8>> = [1, 2, 4096, 65_537, limits::FRAME_BYTES_MAX]
        .iter()
        .cycle()
        .take(20)
        .map(|size| vec![(*size % 251).try_into().expect("below 251"); *size])
        .collect();
    for sent in &frames {
        stream.send(sent).await.expect("sent");
        let echoed = stream.receive().await.expect("a frame").expect("not the end");
        assert!(echoed == *sent, "another frame came back");
    }
    stream.finish().await.expect("finished");
    assert_eq!(stream.receive().await.expect("the end"), None);
    assert_eq!(stream.receive().await.expect("still the end"), None);
    assert!(stream.send(b"more").await.is_err(), "nothing follows the end");
    assert_eq!(second.echo.transfers.load(Ordering::Relaxed), 1);

    // What `nodes` shows.
    until("status and round trip are known", || {
        let peers = first.network.peers();
        peers.iter().any(|peer| peer.node == b && peer.status.is_some() && peer.round_trip.is_some())
    })
    .await;
    let peers = first.network.peers();
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].listed, peers[0].connected), (true, true));
    assert_eq!(peers[0].addresses, [second.bare()]);
    assert_eq!(peers[0].status.as_ref().expect("known").0, status());

    let (ours, theirs) = (first.network.counters(), second.network.counters());
    assert_eq!((ours.connections_out, theirs.connections_in), (1, 1));
    assert_eq!((ours.transfers_out, theirs.transfers_in), (1, 1));
    let sent: usize = frames.iter().map(Vec::len).sum();
    assert!(ours.bytes_out > sent as u64 && theirs.bytes_in > sent as u64, "{ours:?} {theirs:?}");
    for why in Refusal::ALL {
        assert_eq!((ours.refused(why), theirs.refused(why)), (0, 0), "{why}");
    }

    first.network.shutdown().await;
    until("the other hears that it is gone", || second.echo.events().contains(&Event::Disconnected(a))).await;
    assert_eq!(second.echo.events(), [Event::Connected(a), Event::Disconnected(a)]);
    let closed = first.network.request(b, Request::Status).await;
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_talk_over_quic() {
    talk(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_talk_over_tcp() {
    talk(TCP).await;
}

/// Each way, frames so small that a peer which got each by itself would make them wait.
async fn many_small_frames(listen: &str) {
    const FRAMES: u16 = 20_000;
    let (first, second) = pair(listen).await;
    let (mut sender, mut receiver) = first.network.open(second.id()).await.expect("a stream").split();
    let hears = tokio::spawn(async move {
        let mut heard = 0_u16;
        while let Some(frame) = receiver.receive().await.expect("a frame") {
            assert_eq!(frame, heard.to_be_bytes().repeat(20), "in order");
            heard += 1;
            if heard == FRAMES {
                return;
            }
        }
        panic!("it ended after {heard}");
    });
    for n in 0..FRAMES - 1 {
        sender.feed(&n.to_be_bytes().repeat(20)).await.expect("fed");
    }
    // Nothing follows this one, which brings along what waits.
    sender.send(&(FRAMES - 1).to_be_bytes().repeat(20)).await.expect("sent");
    tokio::time::timeout(PATIENCE, hears).await.expect("nothing waits for what does not come").expect("all came");
    assert_eq!(second.network.counters().refused(Refusal::SmallFrames), 0, "whoever feeds is not made to wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_frames_go_together_over_quic() {
    many_small_frames(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_frames_go_together_over_tcp() {
    many_small_frames(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up() {
    let second = start(config(2, &[TCP])).await;
    let named = second.address().to_string().replace("/ip4/127.0.0.1", "/dns4/localhost");
    let mut first = config(1, &[]);
    first.bootstrap = vec![named.parse().expect("an address")];
    let first = start(first).await;
    echo(&first.network, second.id(), b"found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_said_to_be() {
    let stranger = config(9, &[]).node();
    let gone = start(config(2, &[TCP])).await;
    let (gone_id, address) = (gone.id(), gone.address());
    gone.network.shutdown().await;
    let mut first = config(1, &[]);
    first.bootstrap = vec![address];
    let first = start(first).await;
    let unknown = first.network.request(stranger, Request::Status).await;
    assert!(matches!(unknown, Err(Error::Unknown(node)) if node == stranger), "{unknown:?}");
    let unreachable = first.network.request(gone_id, Request::Status).await;
    assert!(matches!(unreachable, Err(Error::Unreachable { .. })), "{unreachable:?}");
    assert!(first.network.counters().dials_failed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_refused_by_name() {
    let first = start(config(1, &[TCP])).await;
    let taken = first.bare().to_string();
    let second = igor_network::Network::start(config(2, &[&taken]), std::sync::Arc::new(Echo::default())).await;
    let error = second.expect_err("the port is taken").to_string();
    assert!(error.contains(&taken), "{error}");
}

async fn private(listen: &str) {
    let mut host = config(1, &[listen]);
    host.private = true;
    host.allow = BTreeSet::from([config(2, &[]).node()]);
    let host = start(host).await;
    let mut guest = config(2, &[]);
    guest.bootstrap = vec![host.address()];
    let guest = start(guest).await;
    let mut stranger = config(3, &[]);
    stranger.bootstrap = vec![host.address()];
    let stranger = start(stranger).await;

    echo(&guest.network, host.id(), b"let me in").await;
    until("the stranger was refused", || host.network.counters().refused(Refusal::Unlisted) > 0).await;
    assert!(stranger.network.request(host.id(), Request::Status).await.is_err());
    assert!(!host.is_connected(stranger.id()) && host.is_connected(guest.id()));
    assert_eq!(host.echo.events(), [Event::Connected(guest.id())]);
    // Nor does the host go to a stranger.
    let refused = host.network.request(stranger.id(), Request::Status).await;
    assert!(matches!(refused, Err(Error::Unlisted(_))), "{refused:?}");
    echo(&guest.network, host.id(), b"still there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_node_refuses_strangers_over_quic() {
    private(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_node_refuses_strangers_over_tcp() {
    private(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_peers_are_refused() {
    let mut host = config(1, &[QUIC, TCP]);
    host.deny = BTreeSet::from([config(2, &[]).node()]);
    host.allow = host.deny.clone();
    let host = start(host).await;
    let mut guest = config(2, &[]);
    let addresses = host.network.addresses();
    guest.bootstrap = addresses.into_iter().map(|at| igor_network::address_of(host.id(), at).expect("named")).collect();
    let guest = start(guest).await;
    until("it was refused", || host.network.counters().refused(Refusal::Denied) > 1).await;
    assert!(guest.network.request(host.id(), Request::Status).await.is_err());
    assert_eq!(host.echo.events(), []);
}

/// A node in a runtime of its own, which can be cut off without a goodbye.
fn start_apart(config: igor_network::Config) -> (tokio::runtime::Runtime, Node) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let node = runtime.block_on(start(config));
    (runtime, node)
}

/// How short the time limit for pings is where a test waits for it.
const PING: Duration = Duration::from_secs(4);

/// Whether this node lost and found that peer in turns, and has it or has it not now. On a slow machine a peer may be
/// taken for lost once more than it was.
fn took_turns(node: &Node, peer: igor_protocol::NodeId, has: bool) -> bool {
    let turns = [Event::Connected(peer), Event::Disconnected(peer)];
    let events = node.echo.events();
    assert!(events.iter().eq(turns.iter().cycle().take(events.len())), "{events:?}");
    events.len() >= 2 && (events.len() % 2 == 1) == has
}

async fn cut_and_come_back(listen: &str) {
    let listen = listen.to_owned();
    let begin = move |listen: String| tokio::task::spawn_blocking(move || start_apart(config(2, &[&listen])));
    let (runtime, second) = begin(listen).await.expect("started");
    let (b, same) = (second.id(), second.bare().to_string());
    let mut first = config(1, &[]);
    first.times.ping = PING;
    first.bootstrap = vec![second.address()];
    let first = start(first).await;
    echo(&first.network, b, b"before").await;

    let mut stream = first.network.open(b).await.expect("a stream");
    stream.send(b"half").await.expect("sent");
    stream.receive().await.expect("a frame");
    runtime.shutdown_background();
    let cut = stream.receive().await.expect_err("a cut is not an end");
    assert!(matches!(cut, Error::Stream { .. }), "{cut:?}");
    until("it is noticed", || took_turns(&first, b, false)).await;
    assert!(!first.is_connected(b));

    let again = begin(same).await.expect("started");
    until("it is connected again", || first.is_connected(b)).await;
    echo(&first.network, b, b"after").await;
    until("it was told so", || took_turns(&first, b, true)).await;
    tokio::task::spawn_blocking(move || drop(again)).await.expect("dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_peer_is_noticed_and_found_again_over_quic() {
    cut_and_come_back(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_peer_is_noticed_and_found_again_over_tcp() {
    cut_and_come_back(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_noticed() {
    let second = start(config(2, &[TCP])).await;
    // Between the two: passes bytes on until it is frozen, and never closes anything.
    let between = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = between.local_addr().expect("bound").port();
    let (frozen, is_frozen) = tokio::sync::watch::channel(false);
    let to = raw::socket(&second.bare());
    tokio::spawn(async move {
        while let Ok((near, _)) = between.accept().await {
            let mut is_frozen = is_frozen.clone();
            tokio::spawn(async move {
                let far = tokio::net::TcpStream::connect(to).await.expect("it listens");
                let (mut near, mut far) = (near, far);
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = is_frozen.changed() => {}
                }
                // Open, but nobody reads or writes.
                std::future::pending::<()>().await;
            });
        }
    });
    let mut first = config(1, &[]);
    first.times.ping = PING;
    let through: igor_network::Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
    first.bootstrap = vec![igor_network::address_of(second.id(), through).expect("named")];
    let first = start(first).await;
    echo(&first.network, second.id(), b"before").await;
    frozen.send(true).expect("the connection lives");
    until("silence is noticed", || first.echo.events().contains(&Event::Disconnected(second.id()))).await;
    assert!(first.network.counters().refused(Refusal::Silent) > 0);
}

async fn meets_its_copy(listen: &str) {
    // How far apart the ends of one connection are seen is bounded by the limit for a handshake.
    let mut original = config(1, &[listen]);
    original.times.handshake = Duration::from_secs(3);
    let original = start(original).await;
    // Every node has the same list, its own address included.
    let (copy_of, address) = (original.id(), original.address());
    let mut copy = config(1, &[listen]);
    copy.times.handshake = Duration::from_secs(3);
    copy.times.mirror_interval = Duration::from_secs(6);
    copy.bootstrap = vec![address];
    let copy = start(copy).await;
    assert_eq!(copy.id(), copy_of);
    let met = |node: &Node| node.echo.events().iter().any(|event| matches!(event, Event::Impostor(_)));
    until("both know", || met(&original) && met(&copy)).await;
    assert!(original.network.counters().refused(Refusal::Impostor) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_node_is_met_over_quic() {
    meets_its_copy(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_node_is_met_over_tcp() {
    meets_its_copy(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_knows_only_a_common_peer_is_met() {
    let common = start(config(9, &[TCP, QUIC])).await;
    let double = |listen: &str, common: igor_network::Multiaddr| {
        let mut config = config(1, &[listen]);
        config.bootstrap = vec![igor_network::address_of(config9(), common).expect("named")];
        config.times.mirror_interval = Duration::from_secs(2);
        config.times.handshake = Duration::from_secs(1);
        config
    };
    let addresses = common.network.addresses();
    let original = start(double(TCP, addresses[0].clone())).await;
    until("the original is connected", || original.is_connected(common.id())).await;
    // Alone it finds nobody, however often it looks.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(original.echo.events(), [Event::Connected(common.id())]);
    let copy = start(double(QUIC, addresses[1].clone())).await;
    let met = |node: &Node| node.echo.events().iter().any(|event| matches!(event, Event::Impostor(_)));
    until("both know", || met(&original) && met(&copy)).await;
}

fn config9() -> igor_protocol::NodeId {
    config(9, &[]).node()
}

async fn reaches_itself(listen: &str) {
    let begun = Instant::now();
    let again = loop {
        // A port that was free a moment ago: another test may have it by now.
        let first = start(config(1, &[listen])).await;
        let (same, named) = (first.bare().to_string(), first.address());
        first.network.shutdown().await;
        let mut again = config(1, &[&same]);
        again.bootstrap = vec![named];
        again.times.handshake = Duration::from_secs(4);
        match try_start(again).await {
            Ok(again) => break again,
            Err(error) => assert!(matches!(error, Error::Listen { .. }) && begun.elapsed() < PATIENCE, "{error}"),
        }
    };
    // Longer than an impostor would take to be sure of.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(again.echo.events(), []);
    assert_eq!(again.network.counters().refused(Refusal::Impostor), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reaches_itself_is_no_impostor_over_quic() {
    reaches_itself(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reaches_itself_is_no_impostor_over_tcp() {
    reaches_itself(TCP).await;
}

/// A host that takes small frames, and a guest.
async fn host_and_guest(listen: &str, change: impl FnOnce(&mut igor_network::Config)) -> (Node, Node) {
    let mut host = config(2, &[listen]);
    host.limits.frame_bytes = 64 << 10;
    change(&mut host);
    let host = start(host).await;
    let mut guest = config(1, &[]);
    guest.bootstrap = vec![host.address()];
    (host, start(guest).await)
}

/// A transfer that the host took. Its places come back a moment after a transfer is over.
async fn taken(guest: &Node, host: &Node) -> igor_network::Stream {
    let began = Instant::now();
    loop {
        let mut stream = guest.network.open(host.id()).await.expect("a stream");
        let _ = stream.send(b"here").await;
        match stream.receive().await {
            Ok(echoed) => {
                assert_eq!(echoed.as_deref(), Some(&b"here"[..]));
                return stream;
            }
            Err(error) => assert!(began.elapsed() < PATIENCE, "no place comes back: {error}"),
        }
    }
}

async fn transfers_are_bounded(listen: &str) {
    let (host, guest) = host_and_guest(listen, |_| {}).await;
    let b = host.id();

    // Larger than this side may send, and larger than the other side takes.
    let mut stream = guest.network.open(b).await.expect("a stream");
    let too_large = stream.send(&vec![0; limits::FRAME_BYTES_MAX + 1]).await;
    assert!(matches!(too_large, Err(Error::Stream { why: frame::Error::TooLarge { .. }, .. })), "{too_large:?}");
    let _ = stream.send(&vec![0; (64 << 10) + 1]).await;
    assert!(stream.receive().await.is_err(), "it was refused");
    until("it is counted", || host.network.counters().refused(Refusal::TooLarge) == 1).await;

    // Aborted: the other side sees a cut and gives the place back.
    taken(&guest, &host).await.abort();

    // No more at once than there are places, which all came back.
    let mut held = vec![];
    for _ in 0..limits::TRANSFERS_PER_PEER {
        held.push(taken(&guest, &host).await);
    }
    let before = host.network.counters().refused(Refusal::Transfers);
    let mut one_more = guest.network.open(b).await.expect("a stream, which is cut");
    let _ = one_more.send(b"here").await;
    assert!(one_more.receive().await.is_err());
    assert_eq!(host.network.counters().refused(Refusal::Transfers), before + 1);
    echo(&guest.network, b, b"requests are not affected").await;
    assert_eq!(host.echo.transfers_at_once(), limits::TRANSFERS_PER_PEER);
    assert_eq!(host.network.counters().refused(Refusal::Slow), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_of_strangers_keep_no_listed_peer_out() {
    let listed = config(3, &[]).node();
    let (host, stranger) = host_and_guest(TCP, |host| {
        host.allow = [listed].into();
        host.limits.transfers_of_strangers = 1;
    })
    .await;
    let _held = taken(&stranger, &host).await;
    let mut one_more = stranger.network.open(host.id()).await.expect("a stream, which is cut");
    let _ = one_more.send(b"here").await;
    assert!(one_more.receive().await.is_err(), "strangers have one place");
    let mut friend = config(3, &[]);
    friend.bootstrap = vec![host.address()];
    let friend = start(friend).await;
    for _ in 0..limits::TRANSFERS_PER_PEER {
        taken(&friend, &host).await;
    }
}

async fn silence_is_cut_off(listen: &str) {
    let (host, guest) = host_and_guest(listen, |host| {
        host.times.idle = Duration::from_secs(2);
        host.times.rest = PATIENCE;
    })
    .await;
    let mut stream = guest.network.open(host.id()).await.expect("a stream");
    assert!(stream.receive().await.is_err(), "silence is cut off");
    until("it is counted", || host.network.counters().refused(Refusal::Slow) == 1).await;
    // And it rests before it may keep others waiting again; it may still ask.
    let mut again = guest.network.open(host.id()).await.expect("a stream, which is cut");
    let _ = again.send(b"here").await;
    assert!(again.receive().await.is_err());
    assert_eq!(host.network.counters().refused(Refusal::Transfers), 1);
    echo(&guest.network, host.id(), b"requests are not affected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_drips_is_cut_off() {
    let (host, guest) = host_and_guest(TCP, |host| host.times.transfer = Duration::from_secs(2)).await;
    let mut stream = guest.network.open(host.id()).await.expect("a stream");
    // Each in time, and all of them together next to nothing.
    let began = Instant::now();
    while stream.send(b"drip").await.is_ok() && stream.receive().await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "it goes on for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("it is counted", || host.network.counters().refused(Refusal::Slow) == 1).await;
    // After a rest there is another one.
    taken(&guest, &host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_are_bounded_over_quic() {
    transfers_are_bounded(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_are_bounded_over_tcp() {
    transfers_are_bounded(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_cut_off_over_quic() {
    silence_is_cut_off(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_cut_off_over_tcp() {
    silence_is_cut_off(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_can_be_slowed_down() {
    let (first, second) = pair(QUIC).await;
    let mut stream = first.network.open(second.id()).await.expect("a stream");
    stream.limit_rate(Some(limits::RATE_BYTES_MIN));
    let began = Instant::now();
    let frame = vec![1; limits::RATE_BYTES_MIN as usize];
    for _ in 0..2 {
        stream.send(&frame).await.expect("sent");
    }
    // Two seconds' worth, less what may go at once.
    assert!(began.elapsed() >= Duration::from_millis(1700), "took only {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_holds_the_sender() {
    let second = start_with(config(2, &[TCP, QUIC]), Echo { ignores: true, ..Echo::default() }).await;
    for address in second.network.addresses() {
        let mut first = config(1, &[]);
        first.times.idle = Duration::from_secs(1);
        first.bootstrap = vec![igor_network::address_of(second.id(), address).expect("named")];
        let first = start(first).await;
        let mut stream = first.network.open(second.id()).await.expect("a stream");
        let frame = vec![1; limits::FRAME_BYTES_MAX];
        let mut sent = 0;
        let error = loop {
            match stream.send(&frame).await {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Stream { why: frame::Error::Slow(_), .. }), "{error:?}");
        assert!(sent <= 8, "{sent} MiB went to somebody who reads nothing");
        first.network.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered() {
    let second = start_with(config(2, &[QUIC]), Echo { thinks: Duration::from_millis(50), ..Echo::default() }).await;
    let mut first = config(1, &[]);
    first.bootstrap = vec![second.address()];
    let first = start(first).await;
    let b = second.id();
    let asks = (0..limits::REQUEST_BURST / 2).map(|n| {
        let network = first.network.clone();
        tokio::spawn(async move { echo(&network, b, &n.to_be_bytes()).await })
    });
    for ask in asks.collect::<Vec<_>>() {
        ask.await.expect("answered");
    }
    let counters = second.network.counters();
    assert_eq!((counters.refused(Refusal::Requests), counters.refused(Refusal::RequestRate)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_request_is_bounded() {
    let second = start_with(config(2, &[TCP]), Echo { thinks: PATIENCE, ..Echo::default() }).await;
    let mut first = config(1, &[]);
    first.times.request = Duration::from_secs(1);
    first.bootstrap = vec![second.address()];
    let first = start(first).await;
    let late = first.network.request(second.id(), Request::Status).await;
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_make_no_sense_are_refused() {
    let refused = async |change: fn(&mut igor_network::Config), words: &str| {
        let mut config = config(1, &[]);
        change(&mut config);
        let error = igor_network::Network::start(config, std::sync::Arc::new(Echo::default())).await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(|config| config.limits.requests = 0, "limit of zero").await;
    refused(|config| config.limits.frame_bytes = 1, "frames are between").await;
    refused(|config| config.times.idle = Duration::ZERO, "time limit of zero").await;
    refused(|config| config.bootstrap = vec!["/ip4/127.0.0.1/tcp/1".parse().expect("an address")], "/p2p/ID").await;
    refused(|config| config.listen = vec!["/ip4/127.0.0.1/sctp/1".parse().expect("an address")], "cannot listen on")
        .await;
}
