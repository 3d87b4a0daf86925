//! The supervisor: a home, and the agents that live on it.
//!
//! Invariants kept here:
//! - A node has its home for itself (the store's lock) before it reads a key or makes one.
//! - How agents begin is said in `node/begin.rs`, how they live in `node/carry.rs`, what their operator may say of
//!   them in `node/flags.rs`.

use crate::{
    Error,
    admission::{Admission, Kept},
    api::wire::{AgentInfo, Fill, NodeInfo, Requests, Room},
    bucket::{self, NodeStore},
    custody,
    home::{self, Config, Home, NotGranted, Role},
    hosted::Hosted,
    local,
    metrics::Metrics,
    moves::{AgentWorld, Heard, NodeHost, NodePeers, NodeSteward},
    orphans,
    stored::Shelf,
    world::RealWorld,
};
use carry::{Lives, Start};
use flags::Turns;
use igor_protocol::{
    AgentId, Chain, Credits, KeyPair, Manifest, Nanos, NodeId, Seq, Terms,
    entry::{Action, GenesisBody, Order, Policy, StoreKind},
    ledger::{Book, Fault},
};
use igor_sandbox::{RUNTIME_ID, Sandbox, Stack, WasmProgram, compile::Compiler};
use igor_spine::{
    Life, Parts,
    command::{Command, Refused},
    inspect,
    moving::StoreBlobs,
};
use igor_store::{
    Store,
    disk::{Disk, Options},
};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak, atomic::AtomicBool},
};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

mod addresses;
mod attend;
mod begin;
mod carry;
mod delete;
mod drain;
mod failover;
mod flags;
mod import;
mod moving;
mod owner;
mod phases;
mod wander;

pub use begin::{Deploy, Deployed, GENESIS_WITHIN};
pub use carry::Carried;
pub use import::{Import, NotImported};

/// A life on this node.
type OwnLife = Life<WasmProgram, Shelf, AgentWorld>;
/// What it lives on.
type OwnParts = Parts<WasmProgram, Shelf, AgentWorld>;

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
    /// Who may run it, and who goes on with it when its node does not.
    pub policy: Policy,
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
    /// Itself, for those who live in it.
    me: Weak<Self>,
    home: Home,
    config: Config,
    terms: Terms,
    store: Arc<NodeStore>,
    sandbox: Arc<Sandbox>,
    owner: KeyPair,
    key: Arc<KeyPair>,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
    /// Who may compile or start something now.
    slots: Semaphore,
    /// Who may read a journal from the bucket now, to begin a life.
    wakes: Semaphore,
    carrying: AtomicBool,
    lives: Mutex<Lives>,
    /// Names and ids of agents that are being created or started.
    busy: Mutex<BTreeSet<String>>,
    /// Whose turn it is to say something about an agent.
    turns: Turns,
    /// Who may run which agent.
    steward: Arc<NodeSteward>,
    /// Agents that were restored before they are this node's.
    waiting: moving::Waiting,
    /// What peers answer about custody, until somebody listens.
    hearing: Mutex<Option<mpsc::Receiver<Heard>>>,
    draining: watch::Sender<bool>,
    /// What came of what agents wished.
    wishes: wander::Wishes,
    /// Places of agents that come or go.
    kept: Kept,
    /// A life that was about to begin has, or will not.
    opened: Notify,
    attended: attend::Attended,
    /// Agents of other nodes that this one may have to go on with.
    standby: failover::Standby,
    /// Who stands by for those here.
    followers: failover::Followers,
    /// How long those that come from nodes which are gone are on their way.
    stopwatches: phases::Stopwatches,
    /// Where another process was seen that has this node's key.
    impostor: OnceLock<String>,
}

impl Node {
    /// Opens a home, or makes one with its keys, and takes it for this process. Recovers what a crash left. `compiler`
    /// starts a binary that dispatches on [`igor_sandbox::compile::CHILD_ARG`].
    ///
    /// Waits for disks: not for an async thread.
    pub fn open(home: &Path, compiler: Compiler) -> Result<Arc<Self>, Error> {
        let home = Home::open_or_create(home)?;
        let config = home.config()?;
        let terms = config
            .price
            .terms()
            .map_err(|(field, why)| home::Error::Config { path: home.config_path(), why: format!("{field}: {why}") })?;
        let options = Options { note: home.socket().display().to_string(), ..Options::default() };
        let disk = Arc::new(Disk::open(home.path(), &options)?);
        let (owner, key) = (own_key(&home, &disk, Role::Owner)?, own_key(&home, &disk, Role::Node)?);
        let key = Arc::new(key);
        let store = bucket::open(disk, &config.store, key.clone())?;
        let compiler = compiler.with_slots(config.admission.compile_slots);
        home.empty_incoming()?;
        let sandbox = Sandbox::open(&home.cache(), compiler, Stack::Live)?;
        let admission = Admission::new(config.admission.clone());
        for agent in store.list()? {
            let stored = admission.accounts().of(agent);
            stored.recall(local::stored(&store, agent)?.unwrap_or_default());
            if let Err(error) = stored.catch_up(&store) {
                tracing::error!(%agent, %error, "what an agent has stored cannot be told: its journal does not read");
            }
        }
        admission.accounts().orphans_are(orphans::bytes(&home)?);
        let slots = Semaphore::new(config.admission.compile_slots.get() as usize);
        tracing::info!(home = %home.path().display(), node = %key.public(), "the home is open");
        let store = Arc::new(store);
        let (peers, hearing) = NodePeers::new();
        Ok(Arc::new_cyclic(|node| Self {
            steward: Arc::new(NodeSteward::new(
                key.clone(),
                store.clone(),
                Arc::new(RealWorld),
                Arc::new(peers),
                Arc::new(NodeHost(node.clone())),
            )),
            waiting: moving::Waiting::default(),
            hearing: Mutex::new(Some(hearing)),
            draining: watch::Sender::new(false),
            wishes: wander::Wishes::default(),
            me: node.clone(),
            kept: Kept::default(),
            opened: Notify::new(),
            attended: attend::Attended::default(),
            standby: failover::Standby::default(),
            followers: failover::Followers::default(),
            stopwatches: phases::Stopwatches::default(),
            impostor: OnceLock::new(),
            home,
            terms,
            store,
            sandbox: Arc::new(sandbox),
            owner,
            key,
            metrics: Metrics::new(config.metrics.agents),
            config,
            admission,
            slots,
            wakes: Semaphore::new(carry::WAKES_AT_ONCE),
            carrying: AtomicBool::new(false),
            lives: Mutex::default(),
            busy: Mutex::default(),
            turns: Turns::default(),
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
    pub const fn store(&self) -> &Arc<NodeStore> {
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

    /// What it asks for execution.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    pub(crate) const fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    pub(crate) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// All metrics, in the text format of Prometheus.
    pub(crate) fn encode_metrics(&self) -> Result<String, std::fmt::Error> {
        let lives: Vec<_> = self.lives().by_agent.values().map(|life| (life.info(), !life.is_over())).collect();
        let network = self.peers().network().map(igor_network::Network::counters);
        let bucket = self.store.wing().map(|wing| &wing.bucket);
        self.metrics.encode(
            lives.iter().map(|(info, running)| (info, *running)),
            &self.room(),
            network.as_ref(),
            bucket,
        )
    }

    /// Comes back when the disk failed in a way that nothing can be believed any more: the process must end.
    pub async fn poisoned(&self) -> Error {
        self.store.disk().poisoned().await.into()
    }

    /// Who this is, what it asks and what it has room for.
    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: crate::api::wire::API_VERSION,
            node: self.id(),
            owner: self.owner.public(),
            runtime: RUNTIME_ID.to_owned(),
            pid: std::process::id(),
            running: self.lives().by_agent.values().filter(|life| !life.is_over()).count(),
            price_per_second: self.terms.per_second(),
            price_per_fuel: Credits::from_units(self.terms.price_per_fuel.into()),
            durable_on: self.durable_on(self.store_kind()),
            store: self.store.wing().map(|wing| wing.id.to_string()),
            room: self.room(),
            suspended: self.impostor().map(|error| error.to_string()),
        }
    }

    /// Where a journal is durable, in words.
    fn durable_on(&self, store: StoreKind) -> String {
        match self.store.wing() {
            Some(wing) if store == StoreKind::Bucket(wing.id) => wing.bucket.address().to_string(),
            _ => crate::api::wire::durable_on(store),
        }
    }

    /// Why this node is suspended, if it is: another process has its key.
    pub(crate) fn impostor(&self) -> Option<Error> {
        self.impostor.get().map(|at| Error::Impostor { at: at.clone() })
    }

    /// Why nothing begins to live here, nor comes in, once that is so.
    fn closed(&self) -> Error {
        self.impostor().unwrap_or(Error::Stopping)
    }

    fn room(&self) -> Room {
        let (agents, memory) = self.admission.fill();
        let fill = |fill: crate::admission::Fill| Fill { used: fill.used, max: fill.max };
        let slots = u64::from(self.config.admission.compile_slots.get());
        let free = self.slots.available_permits() as u64;
        Room {
            agents: fill(agents),
            memory_bytes: fill(memory),
            stored_bytes: fill(self.admission.stored_fill()),
            compile_slots: Fill { used: slots.saturating_sub(free), max: slots },
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
        self.lives().by_agent.get(&agent).cloned()
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
        let requests = self.requests(agent, life.as_deref());
        if let Some(life) = life.as_ref().filter(|life| !life.is_over()) {
            return Ok(AgentInfo { requests, ..life.info() });
        }
        let book = self.book(agent)?;
        let paused = local::flags(&*self.store, agent)?.paused;
        let name = name.cloned().unwrap_or_else(|| agent.to_string());
        let known = custody::known(&*self.store, agent, Some(&book))?;
        let mut info = AgentInfo::at_rest(&name, &book, paused, Some(self.id()), &known);
        info.durable_on = self.durable_on(self.store.kind(agent));
        info.requests = requests;
        info.moved = info.moved.map(|moved| self.with_addresses(moved));
        if let Some(error) = self.impostor().filter(|_| info.status != "ended" && info.check_custody().is_ok()) {
            (info.status, info.cause) = ("suspended".to_owned(), Some(error.to_string()));
        }
        // The journal may say more than the last life did, but not why that one could not go on.
        let why = || self.lives().unable.get(&agent).map(|unable| unable.why.clone());
        let why = || why().or_else(|| life.and_then(|life| life.cause()));
        info.cause = info.cause.take().or_else(|| why().filter(|_| info.status != "ended"));
        Ok(info)
    }

    /// What an agent's journal asked of the bucket in its last life here; where it had none, since this process began.
    fn requests(&self, agent: AgentId, life: Option<&Hosted>) -> Option<Requests> {
        let (before, ticks) = life.map(Hosted::asked_since).unwrap_or_default();
        self.store.requests(agent).map(|now| Requests::new(now.since(before), ticks))
    }

    /// The book at the end of an agent's journal, as far as that is durable. Waits for disks.
    pub fn book(&self, agent: AgentId) -> Result<Book, Error> {
        let end = self.tail(agent)?.next;
        Ok(inspect::book_at_end(|from| self.store.read(agent, from), &StoreBlobs(&*self.store), end)?)
    }

    /// Refuses what only the custodian may do with an agent, where this node is not the custodian. Waits for disks.
    pub fn check_custody(&self, agent: AgentId) -> Result<(), Error> {
        self.check_custody_at(&self.book(agent)?)
    }

    fn check_custody_at(&self, book: &Book) -> Result<(), Error> {
        let agent = book.agent();
        let checked = custody::check(&custody::known(&*self.store, agent, Some(book))?, agent, Some(self.id()));
        checked.map_err(|error| match error {
            Error::NotCustodian(elsewhere) => Error::NotCustodian(Box::new(self.with_addresses(*elsewhere))),
            other => other,
        })
    }

    /// What the Genesis of an agent says whose init has never completed; nothing where it has, or it is an archive.
    /// Such an agent has not begun, and a new one may take its name. Waits for disks.
    pub fn not_begun(&self, agent: AgentId) -> Result<Option<GenesisBody>, Error> {
        let book = self.book(agent)?;
        let begun = book.ledger().runtime.is_some() || self.check_custody_at(&book).is_err();
        Ok((!begun).then(|| book.genesis().clone()))
    }

    fn tail(&self, agent: AgentId) -> Result<Chain, Error> {
        self.store.tail(agent)?.ok_or_else(|| Error::UnknownAgent { name: agent.to_string() })
    }

    fn grants(&self, manifest: &Manifest) -> Result<(), NotGranted> {
        self.config.grants.check(manifest)
    }

    /// Commits an owner's order: through the agent's life, or, where it has none, straight to its journal. Returns its
    /// position.
    pub async fn order(self: &Arc<Self>, agent: AgentId, order: Order) -> Result<Seq, Error> {
        if order.body.agent != agent {
            return Err(Error::Order(Fault::Order("it is for another agent")));
        }
        // Its Genesis may name a bucket that it was taken over from, by file, since that was lost.
        if matches!(&order.body.action, Action::Policy(policy) if !policy.standby.nodes.is_empty())
            && self.store.kind(agent) == StoreKind::Disk
        {
            return Err(Error::Order(Fault::Custody("standby nodes need a store that they share with the custodian")));
        }
        if let Some(life) = self.life(agent).filter(|life| !life.is_over()) {
            let (answer, answered) = oneshot::channel();
            life.command(Command::Order { order, answer }).await?;
            let gone = |_| Error::Unanswered { name: life.name().to_owned() };
            return answered.await.map_err(gone)?.map_err(|refused| match refused {
                Refused::Order(fault) => Error::Order(fault),
                other => Error::Refused(other),
            });
        }
        let check = || {
            let node = self.clone();
            blocking(move || node.check_custody(agent))
        };
        check().await?;
        let seq = match self.steward.order(order).await {
            Ok(seq) => seq,
            Err(igor_spine::custody::Error::Order(fault)) => return Err(Error::Order(fault)),
            Err(error) => {
                // It may have been given away in between: then that is why.
                check().await?;
                return Err(error.into());
            }
        };
        // One that ended for want of money lives again. The order counts, whatever comes of that.
        drop(self.tend(agent).await);
        Ok(seq)
    }

    /// Whether an agent with this name, or this id, is being created or started, or takes an order, now.
    pub(crate) fn is_starting(&self, what: &str) -> bool {
        let opening = what.parse().is_ok_and(|agent| self.lives().opening.contains(&agent));
        opening || self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(what)
    }

    fn occupy(self: &Arc<Self>, what: &str) -> Result<Occupied, Error> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(what.to_owned()) {
            return Err(Error::Starting { name: what.to_owned() });
        }
        Ok(Occupied { node: self.clone(), what: what.to_owned() })
    }
}

/// A key of a home. A home with journals has lost its key rather than not made it yet: a new one could not go on
/// with the agents, and would hide that.
fn own_key(home: &Home, store: &Disk, role: Role) -> Result<KeyPair, Error> {
    let keys = home.keys();
    Ok(if store.list()?.is_empty() { keys.read_or_create(role)? } else { keys.read(role)? })
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
