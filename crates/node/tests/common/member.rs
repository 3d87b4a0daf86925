//! A real node that others can reach.

#![allow(clippy::unwrap_used)] // as in its parent

use super::{PATIENCE, Running, temporary, within};
use futures_util::future::{BoxFuture, FutureExt};
use igor_network::{Config, Event, Handler, Network, Record, Request, Response, Stream, Why};
use igor_node::Node;
use igor_protocol::{KeyPair, NodeId};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

/// The configuration of a node that can be reached here.
pub const HERE: &str = "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n";

/// A node that others can reach.
pub struct Member {
    pub running: Running,
    pub network: Network,
    pub home: TempDir,
}

impl Member {
    pub async fn start(config: &str) -> Self {
        Self::start_at(temporary(), config).await
    }

    pub async fn start_at(home: TempDir, config: &str) -> Self {
        std::fs::write(home.path().join("node.toml"), config).unwrap();
        let running = Running::open(home.path()).await;
        let network = running.node.join().await.unwrap().expect("a network");
        within(running.node.carry_all()).await.unwrap();
        let member = Self { running, network, home };
        member.until("it listens", async |member| !member.network.addresses().is_empty()).await;
        member
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.running.node
    }

    pub fn id(&self) -> NodeId {
        self.node().id()
    }

    /// Where others reach it, as its configuration names it.
    pub fn address(&self) -> String {
        igor_network::address_of(self.id(), self.network.addresses()[0].clone()).unwrap().to_string()
    }

    pub async fn until(&self, what: &str, mut is: impl AsyncFnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is(self).await {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn meets(&self, other: NodeId) {
        let met = async |member: &Self| member.network.peers().iter().any(|peer| peer.node == other && peer.connected);
        self.until("they meet", met).await;
    }

    pub async fn ticks_on(&self, name: &str) {
        // An agent that came has its name here once its life begins.
        self.until("it has a name", async |member: &Self| member.running.client.agent(name).await.is_ok()).await;
        let tick = self.running.client.agent(name).await.unwrap().tick.0;
        self.running.ticked(name, tick + 3).await;
    }

    pub async fn close(self) -> TempDir {
        self.network.shutdown().await;
        within(self.running.close()).await;
        self.home
    }
}

/// The configuration of a node that meets this one, and takes agents from it.
pub fn takes_from(a: &Member, more: &str) -> String {
    format!("{HERE}peers = [\"{}\"]\n[policy]\nnodes = [\"{}\"]\n{more}", a.address(), a.id())
}

/// Somebody on the network who answers nothing, or this to who asks about custody.
struct Somebody(Option<Vec<u8>>);

impl Handler for Somebody {
    fn answer(&self, _: NodeId, request: Request) -> BoxFuture<'_, Result<Response, Why>> {
        let said = self.0.clone().filter(|_| matches!(request, Request::Custody { .. }));
        async { Ok(Response::Custody { answered: 1, records: vec![Record(said.ok_or(Why::NotAllowed)?)] }) }.boxed()
    }

    fn transfer(&self, _: NodeId, _: Stream) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn notice(&self, _: Event) {}
}

/// One who meets this node, with this key.
pub async fn stranger(key: &KeyPair, to: &Member) -> Network {
    stranger_who_says(None, key, to).await
}

/// One who answers whoever asks about custody.
pub async fn stranger_who_says(tidings: Option<Vec<u8>>, key: &KeyPair, to: &Member) -> Network {
    let mut config = Config::new(&key.seed()).unwrap();
    config.bootstrap = vec![to.address().parse().unwrap()];
    Network::start(config, Arc::new(Somebody(tidings))).await.unwrap()
}
