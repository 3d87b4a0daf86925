use super::*;
use igor_protocol::KeyPair;

const SECOND: Duration = Duration::from_secs(1);

fn node(seed: u32) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    KeyPair::from_seed(&bytes).public()
}

fn at(n: usize) -> Multiaddr {
    format!("/ip4/10.0.0.1/tcp/{}", n + 1).parse().expect("an address")
}

fn id(n: usize) -> ConnectionId {
    ConnectionId::new_unchecked(n)
}

#[test]
fn named_peers_are_dialled_with_growing_pauses() {
    let start = Instant::now();
    let mut book = Book::new(SECOND, 4 * SECOND);
    book.list(node(1), Some(at(1)), start);
    book.list(node(2), None, start);
    book.learn(node(3), at(3), start);
    let mut now = start;
    let mut pauses = vec![];
    for _ in 0..5 {
        let due = book.due(now);
        assert_eq!(due, [(node(1), peer_of(node(1)).expect("a peer"), vec![at(1)])], "only who is named and placed");
        assert_eq!(book.due(now), [], "it is being dialled");
        book.failed(node(1), now, 0);
        let waited = (0..99).find(|s| !book.due(now + *s * SECOND).is_empty()).expect("it comes due");
        book.entries.get_mut(&node(1)).expect("known").dialling = false;
        pauses.push(waited);
        now += waited * SECOND;
    }
    assert_eq!(pauses, [1, 2, 4, 4, 4]);
}

#[test]
fn a_good_connection_ends_the_long_pauses_and_a_short_one_does_not() {
    let start = Instant::now();
    let mut book = Book::new(SECOND, 60 * SECOND);
    book.list(node(1), Some(at(1)), start);
    let pause = |book: &Book| book.entries[&node(1)].pause;
    for n in 0..3 {
        assert!(book.connected(node(1), id(n), start));
        assert!(book.closed(node(1), id(n), start, 0));
    }
    assert_eq!(pause(&book), 8 * SECOND, "three peers that hung up at once");
    book.connected(node(1), id(9), start);
    assert!(book.closed(node(1), id(9), start + 9 * SECOND, 0));
    assert_eq!(pause(&book), SECOND);
    assert_eq!(book.due(start + 9 * SECOND), []);
    assert_eq!(book.due(start + 10 * SECOND).len(), 1);
}

#[test]
fn first_and_last_connections_are_told() {
    let now = Instant::now();
    let mut book = Book::new(SECOND, SECOND);
    assert!(book.connected(node(1), id(1), now));
    assert!(!book.connected(node(1), id(2), now));
    assert_eq!(book.connection(node(1)).expect("connected").1, id(2));
    assert!(!book.closed(node(1), id(2), now, 0));
    assert!(!book.closed(node(1), id(2), now, 0), "told twice, counted once");
    assert_eq!(book.connection(node(1)).expect("connected").1, id(1));
    assert!(book.closed(node(1), id(1), now, 0));
    assert_eq!(book.connection(node(1)), None);
}

#[test]
fn strangers_push_out_only_strangers() {
    let now = Instant::now();
    let mut book = Book::new(SECOND, SECOND);
    book.list(node(1), Some(at(1)), now);
    book.connected(node(2), id(2), now);
    for stranger in 3..u32::try_from(PEERS_MAX).expect("small") + 50 {
        book.learn(node(stranger), at(1), now);
    }
    assert_eq!(book.entries.len(), PEERS_MAX);
    assert!(book.entries.contains_key(&node(1)) && book.entries.contains_key(&node(2)));
    for address in 0..50 {
        book.learn(node(1), at(address), now);
    }
    let known = &book.entries[&node(1)].addresses;
    assert_eq!((known.len(), &known[0], &known[15]), (ADDRESSES_PER_PEER, &at(1), &at(49)));
}

#[test]
fn what_mdns_finds_is_bounded() {
    let now = Instant::now();
    let mut book = Book::new(SECOND, SECOND);
    for n in 0..u32::try_from(FOUND_MAX).expect("small") + 9 {
        book.find(node(n), at(1), now);
    }
    assert_eq!(book.due(now).len(), FOUND_MAX);
    book.lose(node(0));
    book.failed(node(0), now, 0);
    assert_eq!(book.due(now + 9 * SECOND), [], "the others are being dialled, the lost one is not");
}

#[test]
fn peers_in_step_get_out_of_it() {
    assert_eq!(jittered(2 * SECOND, 0), 2 * SECOND);
    assert_eq!(jittered(2 * SECOND, u32::MAX), 3 * SECOND);
}
