//! What every benchmark needs: a program, keys, a life to run it in.

use anyhow::{Context, anyhow};
use igor_node::{EVENT_INTERVAL, RealWorld};
use igor_protocol::{
    AgentId, Chain, Commit, Credits, Hash, KeyPair, Manifest, Nanos, Seq, Terms, Timestamp,
    entry::{Genesis, GenesisBody, Policy, StoreKind},
    verify::Blobs,
};
use igor_sandbox::{
    Sandbox, Stack, WasmProgram,
    compile::{Compiler, Limits},
};
use igor_spine::{
    Committed, Ending, Life, Parts, Settings,
    event::{Event, Outbox, Snapshot},
};
use igor_store::{Commits, Error, Store};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// An agent that does nothing but count: what is measured around it is igor.
pub(crate) const COUNTER: &str = r#"(module
  (memory (export "memory") 1)
  (global $n (mut i64) (i64.const 0))
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (global.set $n (i64.add (global.get $n) (i64.const 1)))
    (i32.const 0))
  (func (export "agent_checkpoint") (result i32)
    (i64.store (i32.const 16) (global.get $n))
    (i32.const 8))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 16))
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "agent_resume") (param i32 i32) (global.set $n (i64.load (local.get 0)))))"#;

/// The counter, ready to live.
pub(crate) struct Rig {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) program: Arc<WasmProgram>,
    pub(crate) wasm: Vec<u8>,
    pub(crate) manifest: Manifest,
    sandbox: Sandbox,
    _cache: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cache = tempfile::tempdir()?;
        let compiler = Compiler::new(std::env::current_exe()?, Limits::default());
        let sandbox = Sandbox::open(&cache.path().join("compiled"), compiler, Stack::Live)?;
        let wasm = wat::parse_str(COUNTER)?;
        let manifest = Manifest::default();
        let program = Arc::new(sandbox.load(&wasm, &manifest)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .event_interval(EVENT_INTERVAL)
            .enable_all()
            .build()?;
        Ok(Self { runtime, program, wasm, manifest, sandbox, _cache: cache })
    }

    /// A new agent in a store.
    pub(crate) async fn create<S: Store>(
        &self,
        store: &Arc<S>,
        nonce: u64,
    ) -> anyhow::Result<Life<WasmProgram, S, RealWorld>> {
        self.create_in(store, nonce, StoreKind::Disk).await
    }

    /// A new agent whose journal is to be there.
    pub(crate) async fn create_in<S: Store>(
        &self,
        store: &Arc<S>,
        nonce: u64,
        kind: StoreKind,
    ) -> anyhow::Result<Life<WasmProgram, S, RealWorld>> {
        store.put_blob(self.wasm.clone()).await?;
        store.put_blob(self.manifest.encode()).await?;
        Ok(Life::create(self.parts(store), self.genesis_in(nonce, kind), self.manifest.clone()).await?)
    }

    /// A new agent in a store, of another program.
    pub(crate) async fn create_with<S: Store>(
        &self,
        store: &Arc<S>,
        nonce: u64,
        wasm: &[u8],
    ) -> anyhow::Result<Life<WasmProgram, S, RealWorld>> {
        store.put_blob(wasm.to_vec()).await?;
        store.put_blob(self.manifest.encode()).await?;
        let program = Arc::new(self.sandbox.load(wasm, &self.manifest)?);
        let genesis = self.genesis_of(nonce, wasm);
        Ok(Life::create(Parts { program, ..self.parts(store) }, genesis, self.manifest.clone()).await?)
    }

    /// An agent that is in a store.
    pub(crate) async fn open<S: Store>(
        &self,
        store: &Arc<S>,
        agent: AgentId,
    ) -> anyhow::Result<Life<WasmProgram, S, RealWorld>> {
        Ok(Life::open(self.parts(store), agent).await?)
    }

    fn parts<S: Store>(&self, store: &Arc<S>) -> Parts<WasmProgram, S, RealWorld> {
        let key = Arc::new(KeyPair::from_seed(&[2; 32]));
        Parts { program: self.program.clone(), store: store.clone(), world: Arc::new(RealWorld), key }
    }

    pub(crate) fn genesis(&self, nonce: u64) -> Genesis {
        self.genesis_of(nonce, &self.wasm)
    }

    pub(crate) fn genesis_in(&self, nonce: u64, kind: StoreKind) -> Genesis {
        self.genesis_with(nonce, &self.wasm, kind)
    }

    fn genesis_of(&self, nonce: u64, wasm: &[u8]) -> Genesis {
        self.genesis_with(nonce, wasm, StoreKind::Disk)
    }

    fn genesis_with(&self, nonce: u64, wasm: &[u8], store: StoreKind) -> Genesis {
        let (owner, node) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_le_bytes());
        let body = GenesisBody {
            owner: owner.public(),
            nonce: bytes,
            name: "bench".to_owned(),
            program: Hash::of_blob(wasm),
            manifest: self.manifest.hash(),
            runtime: igor_sandbox::RUNTIME_ID.to_owned(),
            custodian: node.public(),
            terms: Terms { price_per_ns: 1, price_per_fuel: 1 },
            budget: Credits::from_units(1 << 100),
            issuer: owner.public(),
            policy: Policy::default(),
            expires: Timestamp(u64::MAX),
            store,
        };
        body.sign(&owner, &node)
    }
}

/// Lives for so many ticks, one right after the other.
pub(crate) fn ticks<S: Store>(
    life: Life<WasmProgram, S, RealWorld>,
    ticks: u64,
    outbox: impl Outbox,
) -> impl Future<Output = anyhow::Result<()>> + Send {
    ticks_with(life, ticks, Nanos::from_secs(3600), outbox)
}

/// Lives for so many ticks, one every so often.
pub(crate) async fn ticks_every<S: Store>(
    life: Life<WasmProgram, S, RealWorld>,
    ticks: u64,
    interval: Nanos,
    outbox: impl Outbox,
) -> anyhow::Result<()> {
    lives(life, (ticks, interval, Nanos::from_secs(3600)), outbox).await
}

/// As [`ticks`], with checkpoints so often.
pub(crate) async fn ticks_with<S: Store>(
    life: Life<WasmProgram, S, RealWorld>,
    ticks: u64,
    checkpoint_interval: Nanos,
    outbox: impl Outbox,
) -> anyhow::Result<()> {
    lives(life, (ticks, Nanos::ZERO, checkpoint_interval), outbox).await
}

async fn lives<S: Store>(
    life: Life<WasmProgram, S, RealWorld>,
    (ticks, interval, checkpoint_interval): (u64, Nanos, Nanos),
    outbox: impl Outbox,
) -> anyhow::Result<()> {
    let (_commands, receiver) = mpsc::channel(1);
    let settings = Settings { interval, checkpoint_interval, ticks: Some(ticks), paused: false, forgive: false };
    match life.run(settings, receiver, outbox).await? {
        Ending::Stopped => Ok(()),
        other => Err(anyhow!("the agent ended early: {other:?}")),
    }
}

/// Tells nobody, but keeps how long appends took.
#[derive(Clone, Default)]
pub(crate) struct Quiet {
    appends: Arc<Mutex<Vec<f64>>>,
}

impl Quiet {
    /// Microseconds of each append so far.
    pub(crate) fn appends(&self) -> Vec<f64> {
        self.appends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Outbox for Quiet {
    fn release(&mut self, _: Committed<Vec<Event>>) {}

    fn watch(&mut self, _: &Snapshot) {}

    #[allow(clippy::cast_precision_loss)] // durations far below 2^52 ns
    fn appended(&mut self, took: Nanos) {
        self.appends.lock().unwrap_or_else(PoisonError::into_inner).push(took.0 as f64 / 1e3);
    }
}

/// A store that only keeps what it is given, in memory: what is left is the cost of the journal itself.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    commits: Vec<Commit>,
    /// Fail once there are so many.
    commits_max: Option<usize>,
    blobs: BTreeMap<Hash, Vec<u8>>,
    locals: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    pub(crate) fn commits(&self) -> Vec<Commit> {
        self.lock().commits.clone()
    }

    /// A store that fails after so many commits: what is in it then is what a crash leaves.
    pub(crate) fn failing_after(commits: usize) -> Self {
        Self(Mutex::new(Kept { commits_max: Some(commits), ..Kept::default() }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    async fn create(&self, commit: Commit) -> Result<(), Error> {
        self.append(commit).await
    }

    async fn append(&self, commit: Commit) -> Result<(), Error> {
        let mut kept = self.lock();
        if kept.commits_max.is_some_and(|max| kept.commits.len() >= max) {
            return Err(Error::Poisoned { why: "the benchmark's crash".to_owned() });
        }
        kept.commits.push(commit);
        Ok(())
    }

    async fn append_noting(&self, commit: Commit, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.append(commit).await?;
        self.put_local(name, bytes).await
    }

    async fn remove(&self, _: AgentId) -> Result<(), Error> {
        self.lock().commits.clear();
        Ok(())
    }

    async fn settle(&self) -> Result<(), Error> {
        Ok(())
    }

    fn tail(&self, _: AgentId) -> Result<Option<Chain>, Error> {
        Ok(self.lock().commits.last().map(Commit::end))
    }

    fn read(&self, _: AgentId, from: Seq) -> Result<Commits, Error> {
        let commits = self.commits();
        Ok(Box::new(commits.into_iter().filter(move |commit| commit.next() > from).map(Ok)))
    }

    fn list(&self) -> Result<Vec<AgentId>, Error> {
        Ok(Vec::new())
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, Error> {
        let hash = Hash::of_blob(&bytes);
        self.lock().blobs.insert(hash, bytes);
        Ok(hash)
    }

    fn has_blob(&self, hash: Hash) -> Result<bool, Error> {
        Ok(self.lock().blobs.contains_key(&hash))
    }

    fn get_blob(&self, hash: Hash, _: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.lock().blobs.get(&hash).cloned())
    }

    async fn put_local(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.lock().locals.insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn remove_local(&self, name: &str) -> Result<(), Error> {
        self.lock().locals.remove(name);
        Ok(())
    }

    fn get_local(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.lock().locals.get(name).cloned())
    }

    fn list_local(&self) -> Result<Vec<String>, Error> {
        Ok(self.lock().locals.keys().cloned().collect())
    }
}

impl Blobs for Memory {
    fn blob(&self, hash: Hash, _: u64) -> Option<Vec<u8>> {
        self.lock().blobs.get(&hash).cloned()
    }
}

/// The released binary next to this one.
pub(crate) fn igor() -> anyhow::Result<std::path::PathBuf> {
    let path = std::env::current_exe()?.with_file_name("igor");
    path.exists().then_some(path).context("build the program first: cargo build --release --locked")
}
