//! What the API says and hears, as types. Both sides use these; docs/api.md shows them as JSON.
//!
//! Invariants kept here:
//! - Money is a decimal string of credits, an epoch the string `term.n`, a hash lower-case hex, a key a `did:key`,
//!   a duration an integer whose name ends in `_ns`.
//! - Fields may be added to answers, never removed; requests with unknown fields are refused.
//! - Bytes are a string where they are UTF-8, else base64 in the field that ends in `_base64`.

use crate::{Error, custody as standing};
use base64::{Engine, engine::general_purpose::STANDARD};
use igor_protocol::{
    AgentId, Credits, Epoch, Hash, NodeId, OwnerId, Seq, Signature, Terms, Tick,
    custody::{Known, Status},
    entry::{DEPLOYMENT_BYTES_MAX, GenesisBody, MessageId, Seal, StoreId, StoreKind},
    ledger::Book,
    limits::PROGRAM_BYTES_MAX,
};
use igor_spine::event::Snapshot;
use serde::{Deserialize, Serialize};

mod custody;
mod event;
mod moves;
mod requests;
mod text;

pub use custody::{
    Absent, Deleted, Elsewhere, Imported, Orphan, OrphanedMessage, OrphanedReply, Orphans, Release, Released, TakenOver,
};
pub use event::Event;
pub use moves::{AgentCheck, Check, DrainEvent, Move, MoveEvent, NodeRow, NodeStatus, Nodes, StandbyCheck};
pub use requests::Requests;

/// The version of the API, the first part of every path but `/metrics`.
pub const API_VERSION: u32 = 1;
/// Most messages in one request.
pub const BATCH_MAX: usize = 256;
/// Longest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest body of a deployment: its three parts and their lengths, in bytes.
pub const DEPLOY_BYTES_MAX: usize = 12 + DEPLOYMENT_BYTES_MAX + (64 << 10) + PROGRAM_BYTES_MAX;
/// Longest time that a request may ask to wait for a reply, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 60;

/// Where an agent's journal is durable that is in no bucket.
pub const DURABLE_ON: &str = "this disk only";

/// Where a journal is durable. Whoever knows the address of its bucket says that instead.
pub(crate) fn durable_on(store: StoreKind) -> String {
    match store {
        StoreKind::Disk => DURABLE_ON.to_owned(),
        StoreKind::Bucket(id) => format!("bucket {id}"),
    }
}

/// `GET /v1/node`: who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The version of igor.
    pub version: String,
    /// The version of this API.
    pub api: u32,
    /// The node's key.
    #[serde(with = "text")]
    pub node: NodeId,
    /// The runtime that it executes agents with.
    pub runtime: String,
    /// Its process id.
    pub pid: u32,
    /// Agents that it runs now.
    pub running: usize,
    /// The owner of its home.
    #[serde(with = "text")]
    pub owner: OwnerId,
    /// What a second of execution costs here.
    #[serde(with = "text")]
    pub price_per_second: Credits,
    /// What a unit of fuel costs here.
    #[serde(with = "text")]
    pub price_per_fuel: Credits,
    /// What a committed entry survives, of agents that begin here.
    pub durable_on: String,
    /// The id of the bucket that they are in, where they are in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// What is taken, and what there is.
    pub room: Room,
    /// Why it runs nothing and takes nothing in, where another process has its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
}

impl NodeInfo {
    /// Where agents that begin here are durable, as a deployment states it; nothing where it is no store.
    pub fn store_kind(&self) -> Option<StoreKind> {
        let Some(id) = &self.store else { return Some(StoreKind::Disk) };
        let mut bytes = [0; 16];
        hex::decode_to_slice(id, &mut bytes).ok()?;
        Some(StoreKind::Bucket(StoreId(bytes)))
    }

    /// The price as a deployment states it; nothing where it is none that a node can ask.
    pub fn terms(&self) -> Option<Terms> {
        let price_per_ns = u64::try_from(self.price_per_second.units() / 1_000_000_000).ok()?;
        let terms = Terms { price_per_ns, price_per_fuel: u64::try_from(self.price_per_fuel.units()).ok()? };
        (terms.per_second() == self.price_per_second).then_some(terms)
    }
}

/// What a node carries, and may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Agents that live.
    pub agents: Fill,
    /// The memory that they may come to use: two instances each.
    pub memory_bytes: Fill,
    /// What all agents have stored.
    pub stored_bytes: Fill,
    /// Agents that are being created or started.
    pub compile_slots: Fill,
}

/// How much of something is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// What is taken.
    pub used: u64,
    /// What there is, as the operator says.
    pub max: u64,
}

/// `POST /v1/agents`: an agent was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedInfo {
    /// It came into being now; else it was here before.
    pub created: bool,
    /// The agent as it is now.
    pub agent: AgentInfo,
}

/// `GET /v1/agents`: all agents with a journal on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agents {
    /// By name.
    pub agents: Vec<AgentInfo>,
}

/// `GET /v1/agents/NAME`: one agent as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its id.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// Its alias on this node.
    pub name: String,
    /// running, idle, stopped, paused, suspended, ended or archived.
    pub status: String,
    /// Why, where the status needs words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// Its last attempted tick.
    #[serde(with = "text::tick")]
    pub tick: Tick,
    /// The position of its last entry.
    #[serde(with = "text::seq")]
    pub seq: Seq,
    /// Its epoch.
    #[serde(with = "text::epoch")]
    pub epoch: Epoch,
    /// The head of its chain after the last entry.
    #[serde(with = "text")]
    pub head: Hash,
    /// The node that may run it.
    #[serde(with = "text")]
    pub custodian: NodeId,
    /// Whose it is.
    #[serde(with = "text")]
    pub owner: OwnerId,
    /// What it can still spend.
    #[serde(with = "text")]
    pub balance: Credits,
    /// What it was given.
    #[serde(with = "text")]
    pub funded: Credits,
    /// What it spent.
    #[serde(with = "text")]
    pub spent: Credits,
    /// What a second of execution costs.
    #[serde(with = "text")]
    pub price_per_second: Credits,
    /// The hash of its program.
    #[serde(with = "text")]
    pub program: Hash,
    /// The runtime of its last init or resume; empty where it was never initialised.
    pub runtime: String,
    /// The last tick that its last checkpoint includes; null where there is none.
    #[serde(with = "text::tick_option")]
    pub checkpoint_tick: Option<Tick>,
    /// The length of the state in the last checkpoint.
    pub checkpoint_bytes: u64,
    /// Messages that no tick has taken.
    pub open_messages: usize,
    /// What a committed entry survives.
    pub durable_on: String,
    /// What its journal asked of the bucket, where it is in one. Only a node that runs knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requests: Option<Requests>,
    /// The nodes that go on with it when its own does not, the first in line first.
    #[serde(with = "text::list", skip_serializing_if = "Vec::is_empty", default)]
    pub standby: Vec<NodeId>,
    /// Where it is, if it does not live here; while it is on its way, where to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moved: Option<Elsewhere>,
    /// This node cannot tell whether it has custody, so it does not run it; `cause` says why.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub in_doubt: bool,
    /// Branches of it that are kept here as files, orphaned by a takeover. Only who asks for one agent is told.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub orphans: Vec<Orphan>,
}

impl AgentInfo {
    /// Whether its journal is in a bucket: then there is one, whoever goes on.
    pub fn is_shared(&self) -> bool {
        self.durable_on != DURABLE_ON
    }

    /// An agent that nobody runs, from the book at its journal's end and what else is known of its custody. `here` is
    /// the node that has the journal, where it has a key.
    pub fn at_rest(name: &str, book: &Book, paused: bool, here: Option<NodeId>, known: &Known) -> Self {
        let now = Snapshot::at_rest(book, paused);
        let info = Self::new(name, book.genesis(), book.ledger().runtime.as_deref(), &now);
        let moved = standing::elsewhere(known, book.agent(), here);
        let (status, cause, custodian) = match here.map(|here| known.status(here)) {
            Some(Status::Custodian | Status::Unfinished) => (info.status, info.cause, info.custodian),
            Some(Status::Given(to)) => {
                let cause = format!("on its way to {to}, which has not answered");
                (standing::MOVING.to_owned(), Some(cause), info.custodian)
            }
            Some(Status::Undecided) => {
                let cause = "given to this node, which has not accepted it yet".to_owned();
                (standing::MOVING.to_owned(), Some(cause), info.custodian)
            }
            Some(Status::Suspended(doubt)) => ("suspended".to_owned(), Some(doubt.to_string()), info.custodian),
            Some(Status::Absent | Status::Elsewhere) | None => {
                (standing::ARCHIVED.to_owned(), info.cause, moved.as_ref().map_or(info.custodian, |moved| moved.node))
            }
        };
        let in_doubt = here.is_some_and(|here| matches!(known.status(here), Status::Suspended(_)));
        Self { status, cause, custodian, moved, in_doubt, ..info }
    }

    /// Refuses what only the custodian may do, where the node that has the journal is not the custodian.
    pub fn check_custody(&self) -> Result<(), Error> {
        let agent = self.agent;
        match &self.moved {
            Some(moved) if self.status == standing::MOVING => Err(Error::Moving { agent, to: moved.node }),
            Some(moved) => Err(Error::NotCustodian(Box::new(moved.clone()))),
            None if self.status == standing::MOVING => Err(Error::Undecided { agent }),
            None if self.in_doubt || self.status == standing::ARCHIVED => {
                Err(Error::Custody(igor_protocol::custody::Refusal::NotCustodian.into()))
            }
            None => Ok(()),
        }
    }

    /// An agent from what its journal says for ever and what it is doing now.
    pub(crate) fn new(name: &str, genesis: &GenesisBody, runtime: Option<&str>, now: &Snapshot) -> Self {
        Self {
            agent: now.chain.agent,
            name: name.to_owned(),
            status: now.status.name().to_owned(),
            cause: now.cause.clone(),
            tick: now.tick,
            seq: Seq(now.chain.next.0.saturating_sub(1)),
            epoch: now.chain.epoch,
            head: now.chain.head,
            custodian: now.custodian,
            owner: genesis.owner,
            balance: now.balance,
            funded: now.funded,
            spent: now.spent,
            price_per_second: now.terms.per_second(),
            program: genesis.program,
            runtime: runtime.unwrap_or_default().to_owned(),
            checkpoint_tick: now.checkpoint_tick,
            checkpoint_bytes: now.checkpoint_bytes,
            open_messages: now.open_messages,
            durable_on: durable_on(genesis.store),
            requests: None,
            standby: now.standby.clone(),
            moved: None,
            in_doubt: false,
            orphans: Vec::new(),
        }
    }
}

/// `POST /v1/agents/NAME/messages`: messages to take in, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// One to [`BATCH_MAX`] of them.
    pub messages: Vec<Outgoing>,
    /// As whom they are sent, as [`SenderInfo`] says it. From anybody else nothing is taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sender: Option<String>,
}

/// `GET /v1/sender`: who asks, as this node knows it. The sender of a message is part of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderInfo {
    /// `uid:1000`, `token:ci`.
    pub sender: String,
}

/// One message on its way to an agent: named by `id`, or numbered by `stream` and `n`; with `body` or `body_base64`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    /// Any text of 1 to 128 bytes. The same id is the same message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The name of a stream of numbered messages.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<String>,
    /// The number in the stream, counted from 1, without gaps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n: Option<u64>,
    /// What it says, where that is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<String>,
    /// What it says, in base64.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body_base64: Option<String>,
}

/// Why an [`Outgoing`] is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAMessage {
    /// No name, or two.
    #[error("a message has either `id`, or `stream` and `n`")]
    Name,
    /// No body, or two.
    #[error("a message has either `body` or `body_base64`")]
    Body,
    /// A body that is not base64.
    #[error("`body_base64` is not base64: {0}")]
    Base64(String),
}

impl Outgoing {
    /// A message with this name and body.
    pub fn new(id: MessageId, body: &[u8]) -> Self {
        let (text, base64) = split(body);
        let named = Self { body: text, body_base64: base64, ..Self::default() };
        match id {
            MessageId::Opaque(id) => Self { id: Some(id), ..named },
            MessageId::Numbered { stream, n } => Self { stream: Some(stream), n: Some(n), ..named },
        }
    }

    /// Its name and body.
    pub fn into_parts(self) -> Result<(MessageId, Vec<u8>), NotAMessage> {
        let id = match (self.id, self.stream, self.n) {
            (Some(id), None, None) => MessageId::Opaque(id),
            (None, Some(stream), Some(n)) => MessageId::Numbered { stream, n },
            _ => return Err(NotAMessage::Name),
        };
        let body = match (self.body, self.body_base64) {
            (None, None) | (Some(_), Some(_)) => return Err(NotAMessage::Body),
            (text, base64) => join(text, base64).map_err(NotAMessage::Base64)?.unwrap_or_default(),
        };
        Ok((id, body))
    }
}

/// The answer to a [`Batch`]: one for each message, in the same order.
///
/// The status of the response is 202 where all were taken, else that of the first that was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// One for each message.
    pub results: Vec<MessageAnswer>,
}

/// What became of one message of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MessageAnswer {
    /// It is committed.
    Taken(Taken),
    /// It was not taken.
    Refused {
        /// The HTTP status that it would have had alone.
        status: u16,
        /// Why.
        error: ErrorBody,
    },
}

/// A committed message, with the node's signature over a head of the chain that includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The position of its entry. For a number below the highest of its stream: of the highest one.
    #[serde(with = "text::seq")]
    pub seq: Seq,
    /// It came before; nothing was added.
    pub duplicate: bool,
    /// The epoch.
    #[serde(with = "text::epoch")]
    pub epoch: Epoch,
    /// The last position that the signature covers.
    #[serde(with = "text::seq")]
    pub sealed_seq: Seq,
    /// The head of the chain after `sealed_seq`.
    #[serde(with = "text")]
    pub head: Hash,
    /// The custodian's signature over (agent, epoch, `sealed_seq`, head), as docs/formats describes a seal.
    #[serde(with = "text::signature")]
    pub signature: Signature,
}

impl Taken {
    /// Whether the custodian signed this for the agent: the sender's proof that it was taken in.
    pub fn is_signed_by(&self, node: &NodeId, agent: &AgentId) -> bool {
        let seal = Seal { signature: self.signature };
        self.seq <= self.sealed_seq && seal.is_signed_by(node, agent, self.epoch, self.sealed_seq, &self.head)
    }
}

/// `GET /v1/agents/NAME/messages/ID`: what is known of a message that the asking sender sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatus {
    /// How far it is.
    pub state: MessageState,
    /// The position of its entry.
    #[serde(with = "text::seq")]
    pub seq: Seq,
    /// The reply, where there is one and it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply: Option<String>,
    /// The reply, where there is one and it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply_base64: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It waits for a tick.
    Open,
    /// A tick took it; a reply, where the agent gave one, stands beside.
    Closed,
    /// The ticks that took it failed too often.
    Failed,
}

impl MessageStatus {
    /// A message that has no reply (yet).
    pub const fn new(state: MessageState, seq: Seq) -> Self {
        Self { state, seq, reply: None, reply_base64: None, cause: None }
    }

    /// The same with this reply.
    #[must_use]
    pub fn with_reply(self, reply: Option<&[u8]>) -> Self {
        let (reply, reply_base64) = reply.map_or((None, None), split);
        Self { reply, reply_base64, ..self }
    }

    /// The bytes of the reply, or nothing where there is none. An error if they are not base64.
    pub fn reply_bytes(&self) -> Result<Option<Vec<u8>>, String> {
        join(self.reply.clone(), self.reply_base64.clone())
    }
}

/// `GET /v1/agents/NAME/streams/STREAM`: how far a stream of the asking sender is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// The stream.
    pub stream: String,
    /// Its highest number; 0 where nothing came yet.
    pub highest: u64,
}

/// `POST /v1/agents/NAME/orders`: an order was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTaken {
    /// The position of its entry.
    #[serde(with = "text::seq")]
    pub seq: Seq,
}

/// `POST /v1/agents/NAME/pause`, `resume` and `stop`: how the agent is after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controlled {
    /// As in [`AgentInfo::status`].
    pub status: String,
}

/// The body of every refusal that the API itself makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One word for programs; docs/api.md lists them.
    pub code: String,
    /// Words for people: what, and the way out.
    pub message: String,
    /// Where to ask instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub elsewhere: Option<Box<Elsewhere>>,
}

/// Bytes as JSON carries them: a string where they are UTF-8, else base64.
fn split(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn join(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|e| e.to_string()),
        (None, None) => Ok(None),
    }
}
