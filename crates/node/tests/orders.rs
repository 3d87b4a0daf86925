//! Owner's orders, through a life and straight to the journal: each counts once, and only where it is meant for.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{COUNTER, ECHO, Running, creation, credits, temporary, within};
use igor_node::{Node, Wishes, api::wire::Event, client};
use igor_protocol::{
    AgentId, Credits, KeyPair, Timestamp,
    entry::{Action, EndCause, Order, OrderBody},
};
use igor_spine::Ending;
use std::sync::Arc;

fn order(key: &KeyPair, agent: AgentId, counter: u64, action: Action) -> Order {
    OrderBody { agent, term: 0, counter, at: Timestamp(1), action }.sign(key)
}

fn fund(node: &Node, agent: AgentId, counter: u64, total: &str) -> Order {
    order(node.owner(), agent, counter, Action::Fund { total: credits(total) })
}

#[track_caller]
fn refused(result: Result<igor_protocol::Seq, client::Error>, words: &str) {
    match result {
        Err(client::Error::Refused { status: 409, code, message, .. }) => {
            assert_eq!(code, "order_refused");
            assert!(message.contains(words), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

async fn check_orders(running: &Running, agent: AgentId, other: AgentId) {
    let (client, node) = (&running.client, &running.node);
    let first = fund(node, agent, 1, "11.5");
    client.order("c", &first).await.unwrap();
    refused(client.order("c", &first).await, "counter");
    refused(client.order("c", &fund(node, agent, 2, "11.5")).await, "total");
    refused(client.order("c", &fund(node, agent, 2, "11")).await, "total");
    refused(client.order("c", &fund(node, other, 2, "20")).await, "another agent");
    let stranger = KeyPair::from_seed(&[9; 32]);
    refused(client.order("c", &order(&stranger, agent, 2, Action::Recall)).await, "signature");
    let mut later =
        OrderBody { agent, term: 1, counter: 2, at: Timestamp(1), action: Action::Recall }.sign(node.owner());
    refused(client.order("c", &later).await, "branch");
    later.body.term = 0;
    refused(client.order("c", &later).await, "signature");
    client.order("c", &fund(node, agent, 5, "12")).await.unwrap();
    refused(client.order("c", &fund(node, agent, 4, "13")).await, "counter");
    let info = client.agent("c").await.unwrap();
    assert_eq!(info.funded, credits("12"));
    assert_eq!(info.balance.checked_add(info.spent), Some(credits("12")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_for_an_agent_that_lives() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let agent = running.create(creation("c", COUNTER)).await.agent();
    let other = running.create(creation("e", ECHO)).await.agent();
    check_orders(&running, agent, other).await;
    let life = running.node.life(agent).unwrap();
    running.client.order("c", &order(running.node.owner(), agent, 6, Action::Recall)).await.unwrap();
    assert!(matches!(&*within(life.over()).await, Ok(Ending::Ended(EndCause::Recalled))));
    assert_eq!(running.client.agent("c").await.unwrap().status, "ended");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_for_an_agent_that_does_not() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let agent = running.create(creation("c", COUNTER)).await.agent();
    let other = running.create(creation("e", ECHO)).await.agent();
    running.client.stop("c").await.unwrap();
    running.close().await;

    let running = Running::open(home.path()).await;
    check_orders(&running, agent, other).await;
    running.client.order("c", &order(running.node.owner(), agent, 6, Action::Recall)).await.unwrap();
    assert_eq!(running.client.agent("c").await.unwrap().status, "stopped", "it ends when it lives next");
    let life = running.node.start(agent, Wishes::default()).await.unwrap();
    assert!(matches!(&*within(life.over()).await, Ok(Ending::Ended(EndCause::Recalled))));
    refused(running.client.order("c", &fund(&running.node, agent, 7, "50")).await, "ended");
    running.close().await;
}

async fn last_event(node: &Arc<Node>, life: &Arc<igor_node::Hosted>) -> Event {
    let mut events = life.events(node.store().clone());
    let mut last = None;
    while let Some(event) = within(events.next()).await.unwrap() {
        last = Some(event);
    }
    last.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_money_ends_and_is_revived() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let poor = igor_node::Creation { budget: Credits::from_units(60_000_000_000), ..creation("c", COUNTER) };
    let life = running.create(poor).await;
    let agent = life.agent();
    assert!(matches!(last_event(&running.node, &life).await, Event::Ended { cause, .. } if cause == "exhausted"));
    let ended = running.client.agent("c").await.unwrap();
    assert_eq!((ended.status.as_str(), ended.balance, ended.spent), ("ended", Credits::ZERO, ended.funded));
    running.client.order("c", &fund(&running.node, agent, 1, "1")).await.unwrap();
    let funded = running.client.agent("c").await.unwrap();
    assert_eq!((funded.status.as_str(), funded.funded), ("stopped", credits("1")));
    let revived = running.node.start(agent, Wishes { ticks: Some(3), ..Wishes::default() }).await.unwrap();
    assert!(matches!(last_event(&running.node, &revived).await, Event::Stopped { tick } if tick.0 == ended.tick.0 + 3));
    let info = running.client.agent("c").await.unwrap();
    assert_eq!(info.funded, credits("1"));
    assert_eq!(info.balance.checked_add(info.spent), Some(info.funded));
    running.close().await;
}
