//! Nodes that are emptied, or closed: every agent goes on somewhere, and what stays is told of.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{
    COUNTER, creation,
    member::{HERE, Member, stranger},
    temporary, within,
};
use futures_util::future::join_all;
use igor_network::{Refusal, limits::TRANSFERS_PER_PEER};
use igor_node::{
    Error,
    api::wire::DrainEvent,
    home::{Home, Role},
};
use igor_protocol::{AgentId, KeyPair, NodeId, transfer::Reason};
use igor_spine::custody::Failed;
use std::{sync::Arc, time::Duration};

/// More than a node takes of one other at once.
const AGENTS: usize = 6;

/// Two nodes that take agents from each other, and the second from others too.
async fn pair_and(others: &[NodeId]) -> (Member, Member) {
    let home = temporary();
    let key = Home::open_or_create(home.path()).unwrap().keys().read_or_create(Role::Node).unwrap();
    let a = Member::start(&format!("{HERE}[policy]\nnodes = [\"{}\"]\n", key.public())).await;
    let nodes: Vec<_> = others.iter().chain([&a.id()]).map(ToString::to_string).collect();
    let config = format!("{HERE}peers = [\"{}\"]\n[policy]\nnodes = {nodes:?}\n", a.address());
    let b = Member::start_at(home, &config).await;
    a.meets(b.id()).await;
    (a, b)
}

async fn pair() -> (Member, Member) {
    pair_and(&[]).await
}

async fn agents(at: &Member) -> Vec<AgentId> {
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        agents.push(at.running.create(creation(&format!("a{n}"), COUNTER)).await.agent());
    }
    agents
}

async fn all_tick(at: &Member) {
    for n in 0..AGENTS {
        at.ticks_on(&format!("a{n}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_go_to_one_node_at_once_all_arrive() {
    let (a, b) = pair().await;
    let agents = agents(&a).await;
    // As its operator may have them go.
    let moves = agents.iter().map(|agent| {
        let (node, agent, to) = (a.node().clone(), *agent, b.id());
        tokio::spawn(async move { node.give(agent, to, |_| ()).await })
    });
    for moved in within(join_all(moves)).await {
        moved.unwrap().unwrap();
    }
    all_tick(&b).await;
    // And as a node that is emptied does.
    let told = b.node().drain(None, |_| ()).await;
    let moved = |event: &DrainEvent| matches!(event, DrainEvent::Moved { to, .. } if *to == a.id());
    assert!(told.len() == AGENTS && told.iter().all(moved), "{told:?}");
    all_tick(&a).await;
    for agent in agents {
        assert_eq!(a.node().book(agent).unwrap().chain().epoch.n, 2, "there and back, and no attempt more");
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_busy_is_tried_again_while_a_node_is_emptied() {
    let keys: Vec<_> = (1..=5).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
    let others: Vec<_> = keys.iter().map(KeyPair::public).collect();
    let (a, b) = pair_and(&others).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    // They begin as many moves as it takes, and say nothing.
    let mut streams = Vec::new();
    let mut networks = Vec::new();
    for key in &keys {
        let network = stranger(key, &b).await;
        b.meets(key.public()).await;
        for _ in 0..TRANSFERS_PER_PEER {
            streams.push(within(network.open(b.id())).await.unwrap());
        }
        networks.push(network);
    }
    let refused = async |b: &Member| b.network.counters().refused(Refusal::Transfers);
    b.until("it has no place any more", async |b: &Member| refused(b).await > 0).await;
    let before = refused(&b).await;
    let node = a.node().clone();
    let drained = tokio::spawn(async move { node.drain(None, |_| ()).await });
    b.until("it refuses the move", async |b: &Member| refused(b).await > before).await;
    drop(streams);
    let told = within(drained).await.unwrap();
    assert!(matches!(told.as_slice(), [DrainEvent::Moved { agent: told, .. }] if *told == agent), "{told:?}");
    b.ticks_on("a").await;
    for network in networks {
        network.shutdown().await;
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_away_before_is_told_of_when_a_node_is_emptied() {
    let a = Member::start(HERE).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    let other = KeyPair::from_seed(&[7; 32]).public();
    within(a.node().release(agent, other, None)).await.unwrap();
    assert_eq!(a.running.status("a").await.0, "moving");
    let told = within(a.node().drain(Some(Duration::from_secs(1)), |_| ())).await;
    match told.as_slice() {
        [DrainEvent::Stays { agent: told, name, why }] => {
            assert_eq!((*told, name.as_str()), (agent, "a"));
            assert!(why.contains(&format!("on its way to {other}")), "{why}");
        }
        other => panic!("{other:?}"),
    }
    a.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_takes_nothing_in_any_more() {
    let (a, b) = pair().await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    // Its network and its API are there still.
    within(b.node().shut_down()).await;
    let failed = within(Box::pin(a.node().give(agent, b.id(), |_| ()))).await.unwrap_err();
    assert!(matches!(&failed, Error::Move(Failed::Refused(why)) if why.reason == Reason::Draining), "{failed}");
    a.ticks_on("a").await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_key_is_used_elsewhere_runs_nothing_takes_nothing_in_and_says_so() {
    let (a, b) = pair().await;
    let own = b.running.create(creation("own", COUNTER)).await.agent();
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    within(b.node().suspend("/ip4/192.0.2.1/tcp/4101".to_owned())).await;
    let (status, cause) = b.running.status("own").await;
    let cause = cause.unwrap();
    assert!(status == "suspended" && cause.contains("192.0.2.1") && cause.contains("start this node again"), "{cause}");
    assert_eq!(b.running.client.node().await.unwrap().suspended, Some(cause));
    assert!(matches!(within(Box::pin(b.node().resume(own))).await, Err(Error::Impostor { .. })));
    let failed = within(Box::pin(a.node().give(agent, b.id(), |_| ()))).await.unwrap_err();
    assert!(matches!(&failed, Error::Move(Failed::Refused(why)) if why.reason == Reason::Draining), "{failed}");
    a.ticks_on("a").await;
    a.close().await;
    let home = b.close().await;
    // Once that other process is gone.
    let b = Member::start_at(home, HERE).await;
    b.node().resume(own).await.unwrap();
    b.ticks_on("own").await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_its_operator_stopped_stays() {
    let (a, b) = pair().await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.node().stop(agent).await.unwrap();
    let failed = within(Box::pin(a.node().give(agent, b.id(), |_| ()))).await.unwrap_err();
    assert!(matches!(&failed, Error::Stopped { name } if name == "a"), "{failed}");
    a.node().resume(agent).await.unwrap();
    within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    b.ticks_on("a").await;
    let life = b.node().life(agent).unwrap();
    b.node().stop(agent).await.unwrap();
    assert!(Arc::ptr_eq(&life, &b.node().life(agent).unwrap()) && life.is_over());
    let told = within(b.node().drain(None, |_| ())).await;
    assert!(matches!(told.as_slice(), [DrainEvent::Stays { why, .. }] if why.contains("stopped")), "{told:?}");
    a.close().await;
    b.close().await;
}
