//! The bucket of a node, if its operator gave it one.
//!
//! Invariants kept here:
//! - A bucket is probed by each node before its first use, and one that does not keep what the shared store rests on is
//!   refused, with what was seen.
//! - Which bucket it is, is remembered: a node starts without asking, and finds out when it reads on.

use crate::{Error, api::wire, home::StoreConfig, local::Locals, world::RealWorld};
use igor_bucket::{Address, Options, Remote, probe};
use igor_protocol::{
    AgentId, KeyPair,
    entry::{StoreId, StoreKind},
    slot::Nonce,
};
use igor_spine::World;
use igor_store::{
    Store,
    bucket::Failure,
    disk::Disk,
    shared::{BUNDLE_SLOTS_MIN, NotIdentified, Shared, Wing, identify, identity, note_name},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, task::block_in_place};

/// Where a node's journals are.
pub type NodeStore = Shared<Disk, Remote>;

/// The local value that says which bucket was probed.
const VALUE: &str = "bucket";
const VERSION: u32 = 2;

/// Why a node cannot use its bucket.
#[derive(Debug, thiserror::Error)]
pub enum NoBucket {
    /// Its address, its endpoint or the credentials.
    #[error(transparent)]
    Settings(#[from] igor_bucket::Error),
    /// It does not keep what the shared store rests on.
    #[error("{address}: {why}")]
    Refused {
        /// Which.
        address: String,
        /// What was seen, and what to do.
        why: probe::Refusal,
    },
    /// It cannot be told which one it is.
    #[error("{address}: {why}")]
    Identity {
        /// Which.
        address: String,
        /// Why.
        why: NotIdentified,
    },
    /// What was remembered of it does not read.
    #[error("the local value {VALUE} is not what this igor writes ({why}); restore the home from a copy")]
    Damaged {
        /// What is wrong.
        why: String,
    },
}

impl NoBucket {
    /// Whether it did not answer, so that the same may go well later.
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Refused { why: probe::Refusal::Failed { failure: Failure::Unknown { .. }, .. }, .. }
                | Self::Identity { why: NotIdentified::Bucket(Failure::Unknown { .. }), .. }
        )
    }
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Remembered {
    version: u32,
    url: String,
    server: String,
    id: String,
}

impl Remembered {
    /// What a home remembers; nothing where an older igor wrote it, which did not know the server.
    fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        struct Header {
            version: u32,
        }
        let Header { version } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match version {
            1 => Ok(None),
            VERSION => serde_json::from_slice(bytes).map(Some).map_err(|e| e.to_string()),
            _ => Err(format!("version {version}")),
        }
    }
}

fn remote(url: &str, config: &StoreConfig) -> Result<Remote, NoBucket> {
    let address: Address = url.parse()?;
    let options = Options {
        endpoint: config.endpoint.clone(),
        region: config.region.clone(),
        http_allowed: config.allow_http,
        ..Options::default()
    };
    Ok(Remote::open(&address, &options, &|name| std::env::var(name).ok())?)
}

/// Asks the bucket that an operator names, if one is named, which it is; writes nothing. Gives its address, its id unless no
/// node has used it yet, and how long the answer took.
pub async fn look(config: &StoreConfig) -> Result<Option<(Address, Option<StoreId>, Duration)>, NoBucket> {
    let Some(url) = &config.url else { return Ok(None) };
    let bucket = remote(url, config)?;
    let address = bucket.address().clone();
    let unknown = |why| NoBucket::Identity { address: address.to_string(), why };
    // The first answer is that of a connection that was made for it.
    identity(&bucket).await.map_err(unknown)?;
    let asked = Instant::now();
    let id = identity(&bucket).await.map_err(unknown)?;
    Ok(Some((address, id, asked.elapsed())))
}

/// The store of a node. Waits for the disk, and before the first use of a bucket for that.
pub(crate) fn open(disk: Arc<Disk>, config: &StoreConfig, key: Arc<KeyPair>) -> Result<NodeStore, Error> {
    let Some(url) = &config.url else { return Ok(Shared::open(disk, None)?) };
    let bucket = remote(url, config)?;
    let id = match remembered(&disk, &bucket)? {
        Some(id) => id,
        None => block_in_place(|| Handle::current().block_on(first_use(&disk, &bucket)))?,
    };
    let mut nonce = Nonce([0; 16]);
    RealWorld.random(&mut nonce.0);
    tracing::info!(address = %bucket.address(), store = %id, "journals of agents that begin here are in a bucket");
    let wing = Wing { bucket, id, key, nonce, bundle_slots_min: BUNDLE_SLOTS_MIN };
    Ok(Shared::open(disk, Some(wing))?)
}

/// Where an agent's journal is that began in this store: on the disk, where an owner went on with it from a file.
pub fn kind(locals: &impl Locals, agent: AgentId, began: StoreKind) -> Result<StoreKind, Error> {
    Ok(if locals.get(&note_name(agent))?.is_some() { began } else { StoreKind::Disk })
}

/// Where a journal is durable, as far as a home remembers the address of its bucket: for who looks at it without a node.
pub fn durable_on(locals: &impl Locals, store: StoreKind) -> Result<String, Error> {
    let known = locals.get(VALUE)?.and_then(|bytes| Remembered::read(&bytes).ok().flatten());
    let known = known.filter(|known| matches!(store, StoreKind::Bucket(id) if id.to_string() == known.id));
    let address = known.and_then(|known| known.url.parse::<Address>().ok());
    Ok(address.map_or_else(|| wire::durable_on(store), |address| address.to_string()))
}

/// The bucket that this node has probed, if it is the one that its operator and the environment name.
fn remembered(disk: &Disk, bucket: &Remote) -> Result<Option<StoreId>, Error> {
    let Some(bytes) = disk.get_local(VALUE)? else { return Ok(None) };
    let damaged = |why: String| Error::from(NoBucket::Damaged { why });
    let Some(known) = Remembered::read(&bytes).map_err(damaged)? else { return Ok(None) };
    if known.url != bucket.address().to_string() || known.server != bucket.server() {
        return Ok(None);
    }
    let mut id = StoreId([0; 16]);
    hex::decode_to_slice(&known.id, &mut id.0).map_err(|e| damaged(e.to_string()))?;
    Ok(Some(id))
}

async fn first_use(disk: &Disk, bucket: &Remote) -> Result<StoreId, Error> {
    let address = bucket.address().to_string();
    // Whoever waits for it is to know why.
    tracing::warn!(%address, "this bucket is new here: it is probed first, which may take half a minute");
    let refused = |why| NoBucket::Refused { address: address.clone(), why };
    let report = probe::probe(bucket, probe::Plan::default()).await.map_err(refused)?;
    if !report.left.is_empty() {
        tracing::warn!(%address, left = ?report.left, "objects of the probe could not be deleted; nothing reads them");
    }
    let (checks, rounds, unclear) = (report.checks.len(), report.rounds, report.rounds_unclear);
    tracing::info!(%address, checks, rounds, unclear, "it does what is needed");
    let unknown = |why| NoBucket::Identity { address: address.clone(), why };
    let id = if let Some(id) = identity(bucket).await.map_err(unknown)? {
        id
    } else {
        let mut drawn = StoreId([0; 16]);
        RealWorld.random(&mut drawn.0);
        identify(bucket, drawn).await.map_err(unknown)?
    };
    let (url, server) = (address.clone(), bucket.server().to_owned());
    let known = Remembered { version: VERSION, url, server, id: id.to_string() };
    let bytes = serde_json::to_vec(&known).map_err(|e| NoBucket::Damaged { why: e.to_string() })?;
    disk.put_local(VALUE, bytes).await?;
    Ok(id)
}
