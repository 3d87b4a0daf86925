//! The supervisor: a home, and the agents that live on it.
//!
//! Invariants kept here:
//! - A node has its home for itself (the store's lock) before it reads a key or makes one.
//! - Everything about a new agent is checked before anything of it is kept; its blobs and its name are durable
//!   before its Genesis is. A kill between any two lines leaves an agent that is wholly there, or a name that
//!   counts for nothing ([`crate::local`]).
//! - An agent has at most one life at a time. A life that fails is reported, and the others go on.

use crate::{
    Error,
    api::wire::{AgentInfo, NodeInfo},
    home::{Config, Home, NotGranted, Role},
    hosted::{Beginning, Ends, Hosted},
    local::{self, Flags},
    metrics::Metrics,
    world::RealWorld,
};
use igor_protocol::{
    AgentId, Chain, Credits, Hash, KeyPair, Manifest, Nanos, NodeId, Seq, Terms, Tick,
    entry::{Genesis, GenesisBody, Order, Policy},
    ledger::{Book, Fault},
    verify::Blobs,
};
use igor_sandbox::{RUNTIME_ID, Sandbox, Stack, WasmProgram, compile::Compiler};
use igor_spine::{
    Ending, Life, Parts, Settings, World,
    command::{Command, Refused},
    event::Snapshot,
    inspect,
};
use igor_store::{
    Store,
    disk::{Disk, Options},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

mod flags;

/// Time after which a Genesis that was never committed counts for nothing.
const GENESIS_WITHIN: Nanos = Nanos::from_secs(600);

/// A life on this node.
type OwnLife = Life<WasmProgram, Disk, RealWorld>;

/// What a new agent is made of.
#[derive(Clone, Debug)]
pub struct Creation {
    /// Its name on this node.
    pub name: String,
    /// Its module.
    pub program: Vec<u8>,
    /// Its capabilities and limits.
    pub manifest: Manifest,
    /// The money that it begins with.
    pub budget: Credits,
    /// What it pays for its execution.
    pub terms: Terms,
}

/// How the operator wants an agent to live; where nothing is said, as its manifest says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Time between the starts of two interval ticks.
    pub interval: Option<Nanos>,
    /// Time between two checkpoints.
    pub checkpoint_interval: Option<Nanos>,
    /// Stop after so many more ticks that count.
    pub ticks: Option<u64>,
}

/// A node.
pub struct Node {
    home: Home,
    config: Config,
    store: Arc<Disk>,
    sandbox: Arc<Sandbox>,
    owner: KeyPair,
    key: Arc<KeyPair>,
    metrics: Arc<Metrics>,
    lives: Mutex<BTreeMap<AgentId, Arc<Hosted>>>,
    /// Names and ids of agents that are being created or started.
    busy: Mutex<BTreeSet<String>>,
    /// Whose turn it is to say something about an agent. One for each agent that lived here or was spoken of.
    turns: Mutex<BTreeMap<AgentId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Node {
    /// Opens a home, or makes one with its keys, and takes it for this process. Recovers what a crash left. `compiler`
    /// starts a binary that dispatches on [`igor_sandbox::compile::CHILD_ARG`].
    ///
    /// Waits for disks: not for an async thread.
    pub fn open(home: &Path, compiler: Compiler) -> Result<Arc<Self>, Error> {
        let home = Home::open_or_create(home)?;
        let config = home.config()?;
        let options = Options { note: home.socket().display().to_string(), ..Options::default() };
        let store = Disk::open(home.path(), &options)?;
        let (owner, key) = (own_key(&home, &store, Role::Owner)?, own_key(&home, &store, Role::Node)?);
        let sandbox = Sandbox::open(&home.cache(), compiler, Stack::Live)?;
        tracing::info!(home = %home.path().display(), node = %key.public(), "the home is open");
        Ok(Arc::new(Self {
            home,
            config,
            store: Arc::new(store),
            sandbox: Arc::new(sandbox),
            owner,
            key: Arc::new(key),
            metrics: Metrics::new(),
            lives: Mutex::default(),
            busy: Mutex::default(),
            turns: Mutex::default(),
        }))
    }

    /// Its home.
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// What its `node.toml` says.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its store.
    pub const fn store(&self) -> &Arc<Disk> {
        &self.store
    }

    /// Its key, by which others know it.
    pub fn id(&self) -> NodeId {
        self.key.public()
    }

    /// The owner's key of this home: signs orders.
    pub const fn owner(&self) -> &KeyPair {
        &self.owner
    }

    pub(crate) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// All metrics, in the text format of Prometheus.
    pub(crate) fn encode_metrics(&self) -> Result<String, std::fmt::Error> {
        let lives: Vec<_> = self.lives().values().map(|life| (life.info(), !life.is_over())).collect();
        self.metrics.encode(lives.iter().map(|(info, running)| (info, *running)))
    }

    /// Comes back when the disk failed in a way that nothing can be believed any more: the process must end.
    pub async fn poisoned(&self) -> Error {
        self.store.poisoned().await.into()
    }

    /// Who this is.
    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: crate::api::wire::API_VERSION,
            node: self.id(),
            runtime: RUNTIME_ID.to_owned(),
            pid: std::process::id(),
            running: self.lives().values().filter(|life| !life.is_over()).count(),
        }
    }

    /// The agent with this name or id, if it has a journal here.
    pub fn resolve(&self, name: &str) -> Result<Option<AgentId>, Error> {
        let agent = match name.parse() {
            Ok(agent) => Some(agent),
            Err(_) => local::agent_named(&*self.store, name)?,
        };
        match agent {
            Some(agent) => Ok(self.store.tail(agent)?.map(|_| agent)),
            None => Ok(None),
        }
    }

    /// The life of an agent: the one that goes on, or the last one in this process.
    pub fn life(&self, agent: AgentId) -> Option<Arc<Hosted>> {
        self.lives().get(&agent).cloned()
    }

    /// All agents with a journal here, by name. Waits for disks.
    pub fn agents(&self) -> Result<Vec<AgentInfo>, Error> {
        let names = local::names(&*self.store)?;
        let agents = self.store.list()?;
        let mut infos =
            agents.into_iter().map(|agent| self.describe(agent, names.get(&agent))).collect::<Result<Vec<_>, _>>()?;
        infos.sort_by(|a, b| a.name.cmp(&b.name).then(a.agent.cmp(&b.agent)));
        Ok(infos)
    }

    /// One agent as it is now. Waits for disks.
    pub fn agent(&self, agent: AgentId) -> Result<AgentInfo, Error> {
        let names = local::names(&*self.store)?;
        self.describe(agent, names.get(&agent))
    }

    fn describe(&self, agent: AgentId, name: Option<&String>) -> Result<AgentInfo, Error> {
        let life = self.life(agent);
        if let Some(life) = life.as_ref().filter(|life| !life.is_over()) {
            return Ok(life.info());
        }
        let book = self.book(agent)?;
        let now = Snapshot::at_rest(&book, local::flags(&*self.store, agent)?.paused);
        let name = name.cloned().unwrap_or_else(|| agent.to_string());
        let mut info = AgentInfo::new(&name, book.genesis(), book.ledger().runtime.as_deref(), &now);
        if self.store.is_archive(agent) {
            "archived".clone_into(&mut info.status);
        }
        // The journal may say more than the last life did, but not why that one could not go on.
        info.cause = info.cause.or_else(|| life.and_then(|life| life.cause()).filter(|_| info.status != "ended"));
        Ok(info)
    }

    /// The book at the end of an agent's journal, as far as that is durable. Waits for disks.
    pub fn book(&self, agent: AgentId) -> Result<Book, Error> {
        let end = self.tail(agent)?.next;
        Ok(inspect::book_at_end(|from| self.store.read(agent, from), &StoreBlobs(&self.store), end)?)
    }

    /// What the Genesis of an agent says whose init has never completed; nothing where it has, or it is an archive.
    /// Such an agent has not begun, and a new one may take its name. Waits for disks.
    pub fn not_begun(&self, agent: AgentId) -> Result<Option<GenesisBody>, Error> {
        if self.store.is_archive(agent) {
            return Ok(None);
        }
        let book = self.book(agent)?;
        Ok(book.ledger().runtime.is_none().then(|| book.genesis().clone()))
    }

    fn tail(&self, agent: AgentId) -> Result<Chain, Error> {
        self.store.tail(agent)?.ok_or_else(|| Error::UnknownAgent { name: agent.to_string() })
    }

    /// Makes an agent and begins its life. The name must be free, or that of an agent whose init has never completed:
    /// that one is found by its id from then on.
    pub async fn create(self: &Arc<Self>, creation: Creation, wishes: Wishes) -> Result<Arc<Hosted>, Error> {
        local::check_name(&creation.name)?;
        let _busy = self.occupy(&creation.name)?;
        let before = self.resolve(&creation.name)?;
        // Nobody tries its init again while it loses its name.
        let _busy_before = before.map(|agent| self.occupy(&agent.to_string())).transpose()?;
        if let Some(agent) = before {
            let node = self.clone();
            if blocking(move || node.not_begun(agent)).await?.is_none() {
                return Err(Error::NameTaken { name: creation.name, agent });
            }
        }
        self.grants(&creation.manifest)?;
        let Creation { name, program, manifest, budget, terms } = creation;
        let (hash, node) = (Hash::of_blob(&program), self.clone());
        let (program, loaded) = blocking(move || {
            let loaded = node.sandbox.load(&program, &manifest);
            loaded.map(|loaded| (program, (manifest, Arc::new(loaded))))
        })
        .await?;
        let (manifest, loaded) = loaded;
        let genesis = self.genesis(&name, hash, &manifest, budget, terms);
        let agent = genesis.body.agent_id();
        // Its journal is found from Genesis on, before its life is: nobody else may take it up meanwhile.
        let _busy_agent = self.occupy(&agent.to_string())?;
        // From here on things are kept, in the order that a restart relies on.
        self.store.put_blob(program).await?;
        self.store.put_blob(manifest.encode()).await?;
        let (node, alias) = (self.clone(), name.clone());
        blocking(move || local::put_name(&node.store, &alias, agent)).await?;
        let body = genesis.body.clone();
        let life = Life::create(self.parts(loaded), genesis, manifest.clone()).await?;
        tracing::info!(%agent, name, "an agent was created");
        self.carry(Start { name, genesis: body, manifest, wishes, resumed: false }, life).await
    }

    /// Goes on with the life of an agent that is here.
    pub async fn start(self: &Arc<Self>, agent: AgentId, wishes: Wishes) -> Result<Arc<Hosted>, Error> {
        let _busy = self.occupy(&agent.to_string())?;
        if let Some(life) = self.life(agent).filter(|life| !life.is_over()) {
            return Err(Error::Running { name: life.name().to_owned() });
        }
        if self.store.is_archive(agent) {
            return Err(igor_store::Error::Archived { agent }.into());
        }
        let node = self.clone();
        let (name, genesis, manifest, program) = blocking(move || node.prepare(agent)).await?;
        if genesis.custodian != self.id() {
            return Err(Error::NotCustodian { agent, custodian: genesis.custodian });
        }
        let life = Life::open(self.parts(Arc::new(program)), agent).await?;
        self.carry(Start { name, genesis, manifest, wishes, resumed: true }, life).await
    }

    /// Reads what an agent needs to go on, and compiles it unless that was done before.
    fn prepare(&self, agent: AgentId) -> Result<(String, GenesisBody, Manifest, WasmProgram), Error> {
        self.tail(agent)?;
        // Read when the life begins; what cannot be read is refused before anything is paid for.
        local::flags(&*self.store, agent)?;
        let first = self.store.read(agent, Seq(0))?.next().ok_or(igor_spine::Error::NoJournal(agent))??;
        let genesis = inspect::genesis::<igor_store::Error>(&first)?.body;
        let blob = |what, hash, max| {
            let bytes = self.store.get_blob(hash, max)?;
            bytes.ok_or(Error::Life(igor_spine::Error::MissingBlob { what, hash }))
        };
        let manifest = Manifest::decode(&blob("the manifest", genesis.manifest, 64 << 10)?)?;
        self.grants(&manifest)?;
        let bytes = blob("the program", genesis.program, igor_protocol::limits::PROGRAM_BYTES_MAX as u64)?;
        let program = self.sandbox.load(&bytes, &manifest)?;
        let name = local::names(&*self.store)?.remove(&agent).unwrap_or_else(|| agent.to_string());
        Ok((name, genesis, manifest, program))
    }

    fn grants(&self, manifest: &Manifest) -> Result<(), NotGranted> {
        self.config.grants.check(manifest)
    }

    fn genesis(&self, name: &str, program: Hash, manifest: &Manifest, budget: Credits, terms: Terms) -> Genesis {
        let mut nonce = [0; 16];
        RealWorld.random(&mut nonce);
        let body = GenesisBody {
            owner: self.owner.public(),
            nonce,
            name: name.to_owned(),
            program,
            manifest: manifest.hash(),
            runtime: RUNTIME_ID.to_owned(),
            custodian: self.id(),
            terms,
            budget,
            issuer: self.owner.public(),
            policy: Policy::default(),
            expires: RealWorld.wall_clock().after(GENESIS_WITHIN),
        };
        body.sign(&self.owner, &self.key)
    }

    fn parts(&self, program: Arc<WasmProgram>) -> Parts<WasmProgram, Disk, RealWorld> {
        Parts { program, store: self.store.clone(), world: Arc::new(RealWorld), key: self.key.clone() }
    }

    /// Lets a life run as a task of its own.
    async fn carry(self: &Arc<Self>, start: Start, life: OwnLife) -> Result<Arc<Hosted>, Error> {
        let Start { name, genesis, manifest, wishes, resumed } = start;
        let (began, metrics) = (life.look(), self.metrics.of_agent(&name));
        // What its operator says from here on finds it among the lives.
        let _turn = self.turn(began.chain.agent).await;
        let (node, agent) = (self.clone(), began.chain.agent);
        let flags = blocking(move || local::flags(&*node.store, agent)).await?;
        let settings = settings(&manifest, wishes, flags, began.tick);
        let (hosted, ends) =
            Hosted::begin(Beginning { store: self.store.clone(), name, genesis, began, wishes, resumed, metrics });
        let hosted = Arc::new(hosted);
        self.lives().insert(hosted.agent(), hosted.clone());
        let Ends { commands, outbox, over } = ends;
        let (agent, name) = (hosted.agent(), hosted.name().to_owned());
        tracing::info!(%agent, name, tick = %hosted.began().tick, resumed, "an agent runs");
        tokio::spawn(async move {
            let ended = match tokio::spawn(life.run(settings, commands, outbox)).await {
                Ok(ended) => ended.map_err(Error::from),
                Err(_) => Err(Error::Vanished),
            };
            match &ended {
                Ok(Ending::Suspended { cause }) => tracing::warn!(%agent, name, cause, "an agent is suspended"),
                Ok(ending) => tracing::info!(%agent, name, ?ending, "a life is over"),
                Err(e) => tracing::error!(%agent, name, error = %e, "a life failed; its journal is as it was durable"),
            }
            over.send_replace(Some(Arc::new(ended)));
        });
        Ok(hosted)
    }

    /// Commits an owner's order: through the agent's life, or, where it has none, straight to its journal. Returns its
    /// position.
    pub async fn order(self: &Arc<Self>, agent: AgentId, order: Order) -> Result<Seq, Error> {
        if order.body.agent != agent {
            return Err(Error::Order(Fault::Order("it is for another agent")));
        }
        let _busy = match self.life(agent).filter(|life| !life.is_over()) {
            Some(life) => {
                let (answer, answered) = oneshot::channel();
                life.command(Command::Order { order, answer }).await?;
                let gone = |_| Error::NotRunning { name: life.name().to_owned() };
                return answered.await.map_err(gone)?.map_err(|refused| match refused {
                    Refused::Order(fault) => Error::Order(fault),
                    other => Error::Refused(other),
                });
            }
            None => self.occupy(&agent.to_string())?,
        };
        crate::order::commit(&self.store, &self.key, order).await
    }

    /// Checkpoints and stops every agent, and waits until all have.
    pub async fn shut_down(&self) {
        let lives: Vec<_> = self.lives().values().cloned().collect();
        for life in lives {
            life.stop().await;
        }
    }

    fn lives(&self) -> MutexGuard<'_, BTreeMap<AgentId, Arc<Hosted>>> {
        // No update can fail in the middle.
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an agent with this name, or this id, is being created or started, or takes an order, now.
    pub(crate) fn is_starting(&self, what: &str) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(what)
    }

    fn occupy(self: &Arc<Self>, what: &str) -> Result<Occupied, Error> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(what.to_owned()) {
            return Err(Error::Starting { name: what.to_owned() });
        }
        Ok(Occupied { node: self.clone(), what: what.to_owned() })
    }
}

/// A key of a home. A home with agents has lost its key rather than not made it yet: a new one could not go on
/// with them, and would hide that.
fn own_key(home: &Home, store: &Disk, role: Role) -> Result<KeyPair, Error> {
    let is_new = store.list()?.into_iter().all(|agent| store.is_archive(agent));
    let keys = home.keys();
    Ok(if is_new { keys.read_or_create(role)? } else { keys.read(role)? })
}

/// How an agent lives: as its operator wishes and said before, else as its manifest says.
fn settings(manifest: &Manifest, wishes: Wishes, flags: Flags, tick: Tick) -> Settings {
    Settings {
        interval: wishes.interval.unwrap_or(manifest.interval),
        checkpoint_interval: wishes.checkpoint_interval.unwrap_or(manifest.checkpoint_interval),
        ticks: wishes.ticks,
        paused: flags.paused,
        // What was forgiven is what had happened then: one more failure suspends again.
        forgive: flags.forgiven == Some(tick),
    }
}

/// A life that is about to begin.
struct Start {
    name: String,
    genesis: GenesisBody,
    manifest: Manifest,
    wishes: Wishes,
    resumed: bool,
}

/// The right to create or start one agent.
struct Occupied {
    node: Arc<Node>,
    what: String,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.node.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

/// The blobs of a store, for verification.
pub(crate) struct StoreBlobs<'a>(pub(crate) &'a Disk);

impl Blobs for StoreBlobs<'_> {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        self.0.get_blob(hash, bytes_max).ok().flatten()
    }
}

/// Runs something that waits for disks or processes where that stops nobody.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Error::Vanished),
    }
}

#[cfg(test)]
mod tests;
