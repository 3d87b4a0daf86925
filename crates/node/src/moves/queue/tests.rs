use super::*;
use futures_util::FutureExt;
use igor_protocol::KeyPair;

fn node(seed: u8) -> NodeId {
    KeyPair::from_seed(&[seed; 32]).public()
}

#[test]
fn few_go_to_one_node_and_those_who_wait_for_it_are_in_nobody_elses_way() {
    const { assert!(TO_ONE_MAX < TRANSFERS_PER_PEER, "a place there comes back after the answer") };
    let queue = Queue::new();
    let now = |to: u8| queue.turn(node(to), || ()).now_or_never().flatten();
    let mut going: Vec<_> = (0..TO_ONE_MAX).map(|_| now(1).expect("a place")).collect();
    let told = std::cell::Cell::new(0);
    let mut waiting = Box::pin(queue.turn(node(1), || told.set(told.get() + 1)));
    assert!(waiting.as_mut().now_or_never().is_none(), "a node is given no more than it takes");
    assert_eq!(told.get(), 1, "who waits is told");
    let elsewhere = now(2).expect("another node has places of its own");
    drop(going.pop());
    assert!(now(1).is_none(), "who came first goes first");
    assert!(waiting.now_or_never().flatten().is_some(), "a place that is given back is had by who waits");
    drop((going, elsewhere));
    assert!(queue.to.lock().unwrap().len() <= 2, "nodes that nobody goes to are forgotten");
    let all: Vec<_> = (0..u8::MAX).map_while(now).collect();
    assert_eq!(all.len(), IN_ALL_MAX, "and in all there are no more than that");
    drop(all);
    assert!(now(1).is_some());
}
