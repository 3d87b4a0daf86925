//! Several nodes as processes of their own, on loopback, each of which takes agents from all others.
#![allow(dead_code)] // each test uses its part

use crate::stage::{Actor, Heard, Stage};
use serde_json::Value;
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
const GLANCE: Duration = Duration::from_millis(50);

/// A node, running or not.
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) stage: Stage,
    pub(crate) actor: Option<Actor>,
    folder: TempDir,
    port: u16,
}

/// All nodes.
pub(crate) struct Cluster(pub(crate) Vec<Member>);

impl Member {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let home = folder.path().join("home");
        let stage = Stage::new(Path::new(env!("CARGO_BIN_EXE_igor")), &home, &folder.path().join("log"));
        let stage = stage.logging(&folder.path().join("log"), "info");
        let rows = stage.ask(&["key", "--create"]).expect("igor runs").rows;
        let row = rows.iter().find(|row| row["role"] == "node").expect("the node's key");
        let key = row["key"].as_str().expect("a key").to_owned();
        Self { key, stage, actor: None, folder, port: free_port() }
    }

    fn address(&self) -> String {
        format!("/ip4/127.0.0.1/udp/{}/quic-v1/p2p/{}", self.port, peer_id(&self.key))
    }

    /// What the node said in its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs a command that must succeed; gives its last row.
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        let answer = self.stage.ask(args).and_then(crate::stage::Answer::last);
        answer.unwrap_or_else(|why| panic!("igor {args:?}: {why}; the node said: {}", self.log()))
    }

    /// All rows of a command.
    pub(crate) fn rows(&self, args: &[&str]) -> Vec<Value> {
        self.stage.ask(args).expect("igor runs").rows
    }

    /// Waits until what `show` says of an agent is so.
    pub(crate) fn until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut rows = self.rows(&["show", name]);
            match rows.pop() {
                Some(row) if is(&row) => return row,
                row => assert!(Instant::now() < deadline, "{name}: {what}: {row:?}; the node said: {}", self.log()),
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits for an event of the running node.
    pub(crate) fn hear(&self, event: &str) -> Value {
        let (deadline, mut rows) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            match self.actor.as_ref().expect("it runs").hear(deadline) {
                Heard::Row(row) if row["event"] == event => return row,
                Heard::Row(row) => rows.push(row),
                other => panic!("no `{event}`, but {other:?} after {rows:?}; the node said: {}", self.log()),
            }
        }
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.actor = Some(self.stage.start(&["node", "start"]).expect("igor starts"));
        self.hear("started");
    }

    /// Sends SIGTERM and waits for the end. Gives what it said of its drain, if it drained.
    pub(crate) fn stop(&mut self) -> Option<Value> {
        let mut actor = self.actor.take().expect("it runs");
        actor.signal(rustix::process::Signal::TERM).expect("it can be told");
        let (status, rows) = actor.end_within(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}: {rows:?}: {}", self.log());
        rows.into_iter().find(|row| row["event"] == "drained")
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.actor.take().expect("it runs").kill().expect("it can be killed");
    }
}

impl Cluster {
    /// So many nodes that were not started yet, with the price of each in credits a second.
    pub(crate) fn new(prices: &[&str]) -> Self {
        let cluster = Self(prices.iter().map(|_| Member::new()).collect());
        for (index, price) in prices.iter().enumerate() {
            cluster.configure(index, price);
        }
        cluster
    }

    /// Writes the configuration of a node; it counts from its next start on.
    pub(crate) fn configure(&self, index: usize, price: &str) {
        let others = || self.0.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, member)| member);
        let list = |texts: Vec<String>| format!("{texts:?}");
        let peers = list(others().map(Member::address).collect());
        let keys = list(others().map(|member| member.key.clone()).collect());
        let member = &self.0[index];
        let toml = format!(
            "[price]\nper_second = \"{price}\"\n[network]\nlisten = [\"/ip4/127.0.0.1/udp/{}/quic-v1\"]\n\
             peers = {peers}\n[policy]\nnodes = {keys}\n",
            member.port
        );
        fs::write(member.folder.path().join("home/node.toml"), toml).expect("a configuration can be written");
    }

    /// Starts all, and waits until each knows what the others ask.
    pub(crate) fn start(prices: &[&str]) -> Self {
        let mut cluster = Self::new(prices);
        cluster.0.iter_mut().for_each(Member::start);
        (0..prices.len()).for_each(|index| cluster.meet(index));
        cluster
    }

    /// Waits until a node is connected with all that run, and they with it, and they know of each other.
    pub(crate) fn meet(&self, index: usize) {
        let running = || self.0.iter().enumerate().filter(|(_, member)| member.actor.is_some());
        for (other, member) in running().filter(|(other, _)| *other != index) {
            self.knows(index, &member.key);
            self.knows(other, &self.0[index].key);
        }
    }

    fn knows(&self, index: usize, other: &str) {
        let (deadline, member) = (Instant::now() + PATIENCE, &self.0[index]);
        loop {
            let rows = member.rows(&["nodes"]);
            let known =
                |row: &Value| row["node"] == other && row["connected"] == true && row["status"]["draining"] == false;
            if rows.iter().any(known) {
                return;
            }
            assert!(Instant::now() < deadline, "{} never met {other}: {rows:?}: {}", member.key, member.log());
            std::thread::sleep(GLANCE);
        }
    }

    /// Where the agent of this name lives, once it lives anywhere.
    pub(crate) fn host_of(&self, name: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lives = |member: &Member| {
                let rows = if member.actor.is_some() { member.rows(&["ps"]) } else { Vec::new() };
                let living = ["running", "idle", "paused"];
                rows.iter().any(|row| row["name"] == name && living.iter().any(|status| row["status"] == *status))
            };
            if let Some(index) = self.0.iter().position(lives) {
                return index;
            }
            assert!(Instant::now() < deadline, "{name} lives nowhere");
            std::thread::sleep(GLANCE);
        }
    }
}

/// A port that nobody has. Somebody may take it until the node does; then the node does not start, loudly.
fn free_port() -> u16 {
    loop {
        let Ok(udp) = UdpSocket::bind("127.0.0.1:0") else { continue };
        let port = udp.local_addr().expect("an address").port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn peer_id(key: &str) -> String {
    let node = key.parse().expect("a key");
    let address = "/ip4/127.0.0.1/udp/1/quic-v1".parse().expect("an address");
    let full = igor_network::address_of(node, address).expect("an address with an id").to_string();
    full.rsplit('/').next().expect("the id").to_owned()
}
