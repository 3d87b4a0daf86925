//! How an agent begins on a node: made here by its operator, or deployed by an owner from anywhere.
//!
//! Invariants kept here:
//! - Everything about a new agent is checked before anything of it is kept; its blobs and its name are durable
//!   before its Genesis is. A kill between any two lines leaves an agent that is wholly there, or a name that
//!   counts for nothing ([`crate::local`]).
//! - The node signs what its operator's policy allows, and nothing else.
//! - The same deployment is the same agent, however often it comes.

use super::{Node, Start, blocking};
use crate::{
    Creation, Error, Hosted, Rejected, Wishes, custody,
    local::{self, Flags},
    world::RealWorld,
};
use igor_protocol::{
    AgentId, Credits, Hash, Manifest, Nanos, Terms,
    entry::{Deployment, Genesis, GenesisBody, Policy, StoreKind},
    ledger::Book,
    limits::PROGRAM_BYTES_MAX,
};
use igor_sandbox::RUNTIME_ID;
use igor_spine::{Life, World, custody::Leased};
use igor_store::Store;
use std::sync::Arc;

/// Time after which a Genesis that was never committed counts for nothing.
pub const GENESIS_WITHIN: Nanos = Nanos::from_secs(600);

/// What an owner asks a node to carry.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The signed content of Genesis.
    pub deployment: Deployment,
    /// The encoded manifest.
    pub manifest: Vec<u8>,
    /// The program; nothing where the node has it.
    pub program: Option<Vec<u8>>,
    /// Time between two interval ticks, where the manifest shall not say it.
    pub interval: Option<Nanos>,
    /// Time between two checkpoints, where the manifest shall not say it.
    pub checkpoint_interval: Option<Nanos>,
}

/// An agent that was deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its id.
    pub agent: AgentId,
    /// It came into being now; else it was here before.
    pub created: bool,
}

/// By whose will an agent begins.
enum Origin {
    /// The operator's: the node signs for both.
    Own { budget: Credits, terms: Terms, policy: Policy },
    /// An owner's, who signed; checked against the policy.
    Deployed(Box<Deployment>),
}

/// An agent that may begin, if there is room and its program is good.
struct Newborn {
    origin: Origin,
    name: String,
    program_hash: Hash,
    /// Nothing where it must be in the store already.
    program: Option<Vec<u8>>,
    manifest: Manifest,
    wishes: Wishes,
    /// What a restart shall know of it.
    flags: Flags,
}

impl Node {
    /// Makes an agent of this home's owner and begins its life. The name must be free, or that of an agent whose init
    /// has never completed: that one is found by its id from then on.
    pub async fn create(self: &Arc<Self>, creation: Creation, wishes: Wishes) -> Result<Arc<Hosted>, Error> {
        let Creation { name, program, manifest, budget, terms, policy } = creation;
        let program_hash = Hash::of_blob(&program);
        let origin = Origin::Own { budget, terms, policy };
        let flags = Flags::default();
        self.begin(Newborn { origin, name, program_hash, program: Some(program), manifest, wishes, flags }).await
    }

    /// Takes an owner's agent on and begins its life, as a task of its own: whoever asked may go away. One that is here
    /// already stays as it is, and goes on if nothing speaks against it.
    pub async fn deploy(self: &Arc<Self>, deploy: Deploy) -> Result<Deployed, Error> {
        let node = self.clone();
        match tokio::spawn(async move { node.take_on(deploy).await }).await {
            Ok(done) => done,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::Vanished),
        }
    }

    async fn take_on(self: &Arc<Self>, deploy: Deploy) -> Result<Deployed, Error> {
        let Deploy { deployment, manifest, program, interval, checkpoint_interval } = deploy;
        if !deployment.is_signed() {
            return Err(Rejected::Signature.into());
        }
        let agent = deployment.body.agent_id();
        let body = &deployment.body;
        let may_be_mine = body.custodian == self.id() && self.config.policy.serves(&body.owner, &self.owner.public());
        if may_be_mine && body.store != StoreKind::Disk && self.store.tail(agent)?.is_none() {
            // Whoever died while it began may have come so far that the bucket has it.
            match self.attach(agent).await {
                Ok(()) => drop(self.give_name(agent, &deployment.body.name).await?),
                Err(Error::UnknownAgent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Looked at before: what begins in between is found.
        let starting = self.is_starting(&agent.to_string());
        if self.store.tail(agent)?.is_some() {
            if starting {
                return Err(Error::Starting { name: deployment.body.name });
            }
            let node = self.clone();
            blocking(move || node.check_custody(agent)).await?;
            self.tend(agent).await?;
            return Ok(Deployed { agent, created: false });
        }
        let manifest = self.vet(&deployment.body, &manifest)?;
        let newborn = Newborn {
            name: deployment.body.name.clone(),
            program_hash: deployment.body.program,
            origin: Origin::Deployed(Box::new(deployment)),
            program,
            manifest,
            wishes: Wishes::default(),
            flags: Flags { interval, checkpoint_interval, ..Flags::default() },
        };
        self.begin(newborn).await?;
        Ok(Deployed { agent, created: true })
    }

    /// Checks what an owner signed against what this node is and what its operator allows. Gives the manifest.
    fn vet(&self, body: &GenesisBody, manifest: &[u8]) -> Result<Manifest, Error> {
        let (here, asked) = (self.id(), self.terms());
        let offered = body.terms;
        if self.lives().ending && self.impostor().is_none() {
            return Err(Error::Stopping);
        }
        if self.is_draining() {
            let why = if self.impostor().is_some() { "another process has its key" } else { "it is being emptied" };
            return Err(Rejected::Closed { why }.into());
        }
        // Nobody else goes on with it at the next start.
        if !self.is_carrying() {
            return Err(Rejected::Closed { why: "it runs for one agent; `igor node start` takes others in" }.into());
        }
        if !self.config.policy.serves(&body.owner, &self.owner.public()) {
            return Err(Rejected::Owner { owner: body.owner }.into());
        }
        if body.custodian != here {
            return Err(Rejected::Custodian { named: body.custodian, here }.into());
        }
        if body.runtime != RUNTIME_ID {
            let named = body.runtime.chars().take(100).collect();
            return Err(Rejected::Runtime { named, here: RUNTIME_ID.to_owned() }.into());
        }
        if RealWorld.wall_clock() > body.expires {
            return Err(Rejected::Expired.into());
        }
        if offered.price_per_ns < asked.price_per_ns || offered.price_per_fuel < asked.price_per_fuel {
            return Err(Rejected::Price { offered, asked }.into());
        }
        if Hash::of_blob(manifest) != body.manifest {
            return Err(Rejected::Manifest { named: body.manifest }.into());
        }
        Ok(Manifest::decode(manifest)?)
    }

    async fn begin(self: &Arc<Self>, newborn: Newborn) -> Result<Arc<Hosted>, Error> {
        let Newborn { origin, name, program_hash, program, manifest, wishes, flags } = newborn;
        local::check_name(&name)?;
        let _busy = self.occupy(&name)?;
        let before = self.resolve(&name)?;
        // Nobody tries its init again while it loses its name.
        let _busy_before = before.map(|agent| self.occupy(&agent.to_string())).transpose()?;
        if let Some(agent) = before {
            let node = self.clone();
            let gives_way = blocking(move || node.not_begun(agent)).await?.is_some_and(|genesis| match &origin {
                Origin::Own { .. } => true,
                Origin::Deployed(deployment) => genesis.owner == deployment.body.owner,
            });
            if !gives_way {
                return Err(Error::NameTaken { name, agent });
            }
        }
        self.grants(&manifest)?;
        let bytes_said = program.as_ref().map_or(0, Vec::len) as u64;
        let place = self.admission.admit_new(&manifest, bytes_said)?;
        let slot = self.slot().await?;
        let node = self.clone();
        let (program, manifest, loaded) = blocking(move || {
            let program = node.find_program(program_hash, program)?;
            let loaded = node.sandbox.load(&program, &manifest)?;
            Ok::<_, Error>((program, manifest, Arc::new(loaded)))
        })
        .await?;
        let genesis = match origin {
            Origin::Own { budget, terms, policy } => {
                self.own_genesis(&name, program_hash, &manifest, budget, terms, policy)
            }
            Origin::Deployed(deployment) => deployment.countersign(&self.key),
        };
        Book::begin(genesis.clone(), manifest.clone(), RealWorld.wall_clock()).map_err(Error::Genesis)?;
        let agent = genesis.body.agent_id();
        // A bucket that does not answer keeps nobody else from being started.
        let _slot = Some(slot).filter(|_| genesis.body.store == StoreKind::Disk);
        // Its journal is found from Genesis on, before its life is: nobody else may take it up meanwhile.
        let _busy_agent = self.occupy(&agent.to_string())?;
        // One that was here and is elsewhere now does not begin a second time.
        let known = custody::known(&*self.store, agent, None)?;
        if let Some(elsewhere) = custody::elsewhere(&known, agent, Some(self.id())) {
            return Err(Error::NotCustodian(Box::new(self.with_addresses(elsewhere))));
        }
        let lease = self.steward.claim_new(&genesis.body).await?;
        // From here on things are kept, in the order that a restart relies on.
        let encoded = manifest.encode();
        let bytes = (program.len() + encoded.len()) as u64;
        self.store.put_blob(program).await?;
        self.store.put_blob(encoded).await?;
        if flags != Flags::default() {
            local::put_flags(&*self.store, agent, flags).await?;
        }
        local::put_name(&*self.store, &name, agent).await?;
        let stored = self.admission.accounts().of(agent);
        let body = genesis.body.clone();
        let _opening = self.opening(agent);
        let created = lease
            .unless_revoked(Box::pin(Life::create(self.parts(loaded, &stored, &body), genesis, manifest.clone())))
            .await;
        let life = created.ok_or(Error::Overtaken { agent })??;
        stored.add(bytes);
        tracing::info!(%agent, name, owner = %body.owner, "an agent was created");
        let start = Start { name, genesis: body, manifest, wishes, resumed: false, place, stored };
        self.carry(start, Leased { life, lease }).await
    }

    /// The program that was sent, or the one that is here. Waits for disks.
    fn find_program(&self, named: Hash, sent: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        match sent {
            Some(program) if Hash::of_blob(&program) == named => Ok(program),
            Some(_) => Err(Rejected::Program { named }.into()),
            None => {
                let here = self.store.get_blob(named, PROGRAM_BYTES_MAX as u64)?;
                here.ok_or_else(|| Rejected::ProgramNeeded { named }.into())
            }
        }
    }

    /// Where agents that begin here are durable.
    pub fn store_kind(&self) -> StoreKind {
        self.store.wing().map_or(StoreKind::Disk, |wing| StoreKind::Bucket(wing.id))
    }

    pub(super) fn own_genesis(
        &self,
        name: &str,
        program: Hash,
        manifest: &Manifest,
        budget: Credits,
        terms: Terms,
        policy: Policy,
    ) -> Genesis {
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
            policy,
            expires: RealWorld.wall_clock().after(GENESIS_WITHIN),
            store: self.store_kind(),
        };
        body.sign(&self.owner, &self.key)
    }
}
