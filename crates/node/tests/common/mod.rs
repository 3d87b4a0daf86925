//! A real node on a real disk, with small agents to run.

#![allow(dead_code, unreachable_pub)] // each test binary uses its part
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

pub mod member;
pub mod owner;

use igor_node::{
    Carried, Creation, Error, Hosted, Node, Wishes,
    api::{self, Server},
    client::{Address, Client},
};
use igor_protocol::{Credits, Manifest, Nanos, Terms, entry::Policy};
use igor_sandbox::compile::{Compiler, Limits};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

/// Replies to every message with its body; to `bye` it finishes.
pub const ECHO: &str = r#"(module
  (import "igor" "message_next" (func $next (param i32 i32) (result i32)))
  (import "igor" "message_reply" (func $reply (param i32 i32) (result i32)))
  (import "igor" "log_emit" (func $log (param i32 i32)))
  (import "igor" "finish" (func $finish))
  (memory (export "memory") 2)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (local $length i32)
    (loop $more
      (local.set $length (call $next (i32.const 1024) (i32.const 65536)))
      (if (i32.ge_s (local.get $length) (i32.const 0)) (then
        (drop (call $reply (i32.const 1024) (local.get $length)))
        (call $log (i32.const 1024) (local.get $length))
        (if (i32.and (i32.eq (local.get $length) (i32.const 3))
                     (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 98)))
            (then (call $finish)))
        (br $more))))
    (i32.const 0)))"#;

/// Traps in every tick.
pub const TRAP: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32) unreachable))"#;

/// Traps in its init.
pub const STILLBORN: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "agent_init") unreachable)
  (func (export "agent_tick") (result i32) (i32.const 0)))"#;

/// Counts its ticks, and checkpoints the count.
pub const COUNTER: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "agent_init") (i32.store (i32.const 0) (i32.const 0)))
  (func (export "agent_tick") (result i32)
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (i32.const 0))
  (func (export "agent_checkpoint") (result i32) (i32.const 4))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 64))
  (func (export "agent_resume") (param i32 i32) (i32.store (i32.const 0) (i32.load (local.get 0)))))"#;

/// Longest time that anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn compiler() -> Compiler {
    Compiler::new(env!("CARGO_BIN_EXE_igor-node-compile-child").into(), Limits::default())
}

pub fn agent_file(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents").join(path)).unwrap()
}

pub fn creation(name: &str, wat: &str) -> Creation {
    Creation {
        name: name.into(),
        program: wat::parse_str(wat).unwrap(),
        manifest: Manifest { interval: Nanos::from_millis(5), ..Manifest::default() },
        budget: "10".parse().unwrap(),
        terms: Terms { price_per_ns: 1_000_000, price_per_fuel: 0 },
        policy: Policy::default(),
    }
}

pub fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// A node that serves its API.
pub struct Running {
    pub node: Arc<Node>,
    pub server: Server,
    pub client: Client,
}

impl Running {
    pub async fn open(home: &Path) -> Self {
        Self::open_with(home, api::Limits::default()).await
    }

    pub async fn open_with(home: &Path, limits: api::Limits) -> Self {
        let node = open_node(home).await;
        let server = api::serve(&node, limits).await.unwrap();
        let client = Client::new(Address::Socket(server.socket().clone()));
        Self { node, server, client }
    }

    /// A node that carries all agents of its home, which `node.toml` says more about.
    pub async fn daemon(home: &Path, config: &str) -> (Self, Carried) {
        std::fs::write(home.join("node.toml"), config).unwrap();
        let running = Self::open(home).await;
        let carried = within(running.node.carry_all()).await.unwrap();
        (running, carried)
    }

    /// The status of an agent, and why.
    pub async fn status(&self, name: &str) -> (String, Option<String>) {
        let info = self.client.agent(name).await.unwrap();
        (info.status, info.cause)
    }

    /// Comes back once an agent has made so many ticks.
    pub async fn ticked(&self, name: &str, tick: u64) {
        within(async {
            while self.client.agent(name).await.unwrap().tick.0 < tick {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    pub async fn create(&self, creation: Creation) -> Arc<Hosted> {
        self.node.create(creation, Wishes::default()).await.unwrap()
    }

    /// Ends as a command does: agents stop, requests finish.
    pub async fn close(self) {
        self.node.shut_down().await;
        self.server.shut_down().await;
    }
}

/// A node on a home that the last one may not have let go of yet.
pub async fn open_node(home: &Path) -> Arc<Node> {
    try_open_node(home).await.unwrap()
}

pub async fn try_open_node(home: &Path) -> Result<Arc<Node>, Error> {
    within(async {
        loop {
            match Node::open(home, compiler()) {
                Err(Error::Store(igor_store::Error::Locked { .. })) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    })
    .await
}

pub fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Fails loudly instead of waiting for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this takes too long")
}

/// Sends bytes as they are, and reads what comes until the connection ends.
pub async fn raw(socket: &Path, request: &[u8]) -> String {
    exchange(UnixStream::connect(socket).await.unwrap(), request).await
}

pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    within(async {
        // A server that refuses early may close before it has read everything.
        drop(stream.write_all(request).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}
