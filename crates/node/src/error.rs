//! What can go wrong on a node, by what its operator must do.

use crate::{
    admission::NoRoom, api::wire::Elsewhere, bucket::NoBucket, home, local, node::NotImported, portable::Unreadable,
};
use igor_protocol::{AgentId, Credits, Hash, NodeId, OwnerId, Terms, entry::EndCause, ledger::Fault};
use igor_spine::inspect;
use std::path::PathBuf;

/// Why a node could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The home, its keys or its configuration.
    #[error(transparent)]
    Home(#[from] home::Error),
    /// The disk. After [`igor_store::Error::Poisoned`] the process must end.
    #[error(transparent)]
    Store(#[from] igor_store::Error),
    /// The bucket that the operator named.
    #[error("{0}")]
    NoBucket(Box<NoBucket>),
    /// The shared store does not answer.
    #[error("the bucket of agent {agent} does not answer; nothing is lost, and it is tried again")]
    StoreSilent {
        /// Whose.
        agent: AgentId,
    },
    /// An agent that names this node as standby is not one that it takes.
    #[error("agent {agent} names this node as standby, and this node does not take it: {why}")]
    NotAdmitted {
        /// Whose.
        agent: AgentId,
        /// Why.
        why: String,
    },
    /// A name, or what the operator said of an agent.
    #[error(transparent)]
    Local(#[from] local::Error),
    /// A life could not begin, or failed.
    #[error(transparent)]
    Life(#[from] igor_spine::Error),
    /// A journal that cannot be read to its end.
    #[error(transparent)]
    Journal(#[from] inspect::Error<igor_store::Error>),
    /// The program is refused, or this machine cannot load it.
    #[error(transparent)]
    Program(#[from] igor_sandbox::Error),
    /// The manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] igor_protocol::manifest::Error),
    /// The manifest asks for more than the operator grants.
    #[error(transparent)]
    NotGranted(#[from] home::NotGranted),
    /// The node carries as much as it may.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// What an owner sent is no agent for this node.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// A Genesis that no journal may begin with.
    #[error("this agent cannot begin: {0}")]
    Genesis(Fault),
    /// The agent has stored more than it may.
    #[error("{why}")]
    TooMuchStored {
        /// How much, and how much it may.
        why: String,
    },
    /// An agent did not move.
    #[error(transparent)]
    Move(igor_spine::custody::Failed),
    /// Custody does not allow it, or cannot be told.
    #[error(transparent)]
    Custody(#[from] igor_spine::custody::Error),
    /// The network.
    #[error(transparent)]
    Network(#[from] igor_network::Error),
    /// A journal that is kept aside could not be written.
    #[error(transparent)]
    Portable(#[from] crate::portable::Error<igor_store::Error>),
    /// A portable file cannot be read to its end.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// A portable file is whole, and what is in it does not verify.
    #[error("{}: {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A portable file is not taken in.
    #[error(transparent)]
    NotImported(#[from] NotImported),
    /// What a file gives to this node does not come to live here.
    #[error("{0}; its journal is kept here, and the same import goes on when that is mended")]
    NotArrived(igor_spine::custody::NotArrived),
    /// What is here of an agent is not to be deleted, or cannot be.
    #[error(transparent)]
    NotDeleted(#[from] igor_spine::custody::NotDeleted),
    /// An order that is given where only takeovers are carried out.
    #[error("this is no takeover order; others are given to the agent itself")]
    NotATakeover,
    /// A price that no node can ask.
    #[error(
        "{price} credits a second is no price: it is a whole number of units a nanosecond, below 18.4 billion credits"
    )]
    NoPrice {
        /// What was asked for.
        price: Credits,
    },
    /// The node is being stopped.
    #[error("this node is being stopped; ask again when it is back")]
    Stopping,
    /// Another process has this node's key.
    #[error(
        "this node is suspended, since another process has its key (seen at {at}): its home was copied, or the key was \
         stolen; end that process, then start this node again (a key that was stolen: see `A stolen key` in \
         docs/security.md)"
    )]
    Impostor {
        /// Where it was seen.
        at: String,
    },
    /// Its operator stopped it.
    #[error("agent {name} was stopped by its operator, and stays: `igor resume {name}` first")]
    Stopped {
        /// Its name.
        name: String,
    },
    /// The name belongs to another agent.
    #[error("the name {name} belongs to agent {agent}; choose another with --name")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        agent: AgentId,
    },
    /// No agent has this name or id.
    #[error("there is no agent {name} on this node; `igor ps` lists them")]
    UnknownAgent {
        /// What was asked for.
        name: String,
    },
    /// It lives already.
    #[error("agent {name} runs already")]
    Running {
        /// Its name.
        name: String,
    },
    /// It is being created or started by somebody else.
    #[error("agent {name} is being started; ask again in a moment")]
    Starting {
        /// Its name or id.
        name: String,
    },
    /// Custody of it changed while it was being started, or while it ran.
    #[error("the custody of agent {agent} changed, so it does not run here for now; `igor show` says where it is")]
    Overtaken {
        /// The agent.
        agent: AgentId,
    },
    /// It could not be ended with a checkpoint.
    #[error("the agent could not be stopped with a checkpoint: {why}")]
    Froze {
        /// Why.
        why: String,
    },
    /// Its life was over before it answered.
    #[error("agent {name} stopped before it answered: it is unknown whether what was sent counts; send the same again")]
    Unanswered {
        /// Its name.
        name: String,
    },
    /// A request that is to come from one sender came from another.
    #[error(
        "this was sent by {asked}, at least in part, and you are {is} at this node: nothing more is taken, since the same \
         from another sender would count twice. Ask each node as the same sender, over TCP with a token of one name or \
         over sockets as one user; then the same command goes on"
    )]
    OtherSender {
        /// Who it is to come from.
        asked: String,
        /// Who asks.
        is: String,
    },
    /// It does not live now.
    #[error("agent {name} does not run now; `igor resume {name}` on a node that carries it, or `igor run`, starts it")]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// It has ended: there is nothing to pause, and nothing that goes on.
    #[error("agent {name} has ended ({cause}): {}", after_end(name, cause))]
    Ended {
        /// Its name.
        name: String,
        /// Why, as [`EndCause::name`] has it.
        cause: String,
    },
    /// An order that does not count.
    #[error(transparent)]
    Order(Fault),
    /// The agent did not take it.
    #[error(transparent)]
    Refused(igor_spine::command::Refused),
    /// Another node may go on with it, and this one may not.
    #[error("{}", sent_on(.0))]
    NotCustodian(Box<Elsewhere>),
    /// This node gave it away and has no answer.
    #[error(
        "agent {agent} is on its way to {to}, which has not answered: nobody runs it, or takes messages and orders for \
         it, until it has; this node asks again and again (if {to} is gone for good: `igor takeover`)"
    )]
    Moving {
        /// The agent.
        agent: AgentId,
        /// Where to.
        to: NodeId,
    },
    /// It was given to another node than it is to be given to.
    #[error(
        "agent {agent} was given to {to}, and is nobody else's until that node answers, or its owner orders a takeover"
    )]
    Given {
        /// The agent.
        agent: AgentId,
        /// To whom.
        to: NodeId,
    },
    /// It was given to this node, which has not answered.
    #[error(
        "agent {agent} was given to this node, and is not accepted yet: the node that gives it goes on with that, or the \
         same `igor import` where it came by file"
    )]
    Undecided {
        /// The agent.
        agent: AgentId,
    },
    /// The task of a life ended without a word: a defect of igor.
    #[error("a life ended by a defect of igor; its journal is as it was durable, so start it again, and report this")]
    Vanished,
    /// The API cannot listen there.
    #[error("the API cannot listen on {at}: {source}; is it in use, or not an address of this machine?")]
    Listen {
        /// Where.
        at: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file with the tokens does not say who may call.
    #[error("{}: {why}", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// The same, about a file that whoever asked knows by another name.
    #[must_use]
    pub(crate) fn of_file_called(self, name: &std::path::Path) -> Self {
        match self {
            Self::File(why) => Self::File(why.called(name)),
            Self::BadFile { why, .. } => Self::BadFile { path: name.to_owned(), why },
            other => other,
        }
    }

    /// Whether another process has appended to the journal meanwhile.
    pub(crate) const fn is_overtaken(&self) -> bool {
        match self {
            Self::Store(error)
            | Self::Life(igor_spine::Error::Store(error))
            | Self::Custody(igor_spine::custody::Error::Own(igor_spine::Error::Store(error))) => error.is_overtaken(),
            _ => false,
        }
    }

    /// What the store said, where that is why.
    pub const fn store(&self) -> Option<&igor_store::Error> {
        match self {
            Self::Store(error)
            | Self::Life(igor_spine::Error::Store(error))
            | Self::Journal(igor_spine::inspect::Error::Source(error))
            | Self::Custody(igor_spine::custody::Error::Own(igor_spine::Error::Store(error)))
            | Self::Move(igor_spine::custody::Failed::Own(igor_spine::custody::Error::Own(
                igor_spine::Error::Store(error),
            ))) => Some(error),
            _ => None,
        }
    }

    /// Whether the same may go well later, although nobody changes the agent or the configuration.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::NoRoom(_)
            | Self::StoreSilent { .. }
            | Self::Program(igor_sandbox::Error::Host(_))
            | Self::Life(igor_spine::Error::Host(_))
            | Self::Custody(igor_spine::custody::Error::Asleep(_)) => true,
            Self::Store(error)
            | Self::Life(igor_spine::Error::Store(error))
            | Self::Custody(igor_spine::custody::Error::Own(igor_spine::Error::Store(error))) => error.may_pass(),
            _ => false,
        }
    }
}

/// Why a deployment is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Its owner did not sign it as it is.
    #[error("the owner's signature is not over this deployment; sign it with the key that it names as owner")]
    Signature,
    /// The node takes nothing in now.
    #[error("this node takes no agents in: {why}")]
    Closed {
        /// Why.
        why: &'static str,
    },
    /// The operator does not serve this owner.
    #[error("this node takes no agents of {owner}; its operator can add that key to policy.owners in node.toml")]
    Owner {
        /// Who asked.
        owner: OwnerId,
    },
    /// It is meant for another node.
    #[error(
        "this deployment names {named} as custodian, and this node is {here}; ask that node, or sign it for this one"
    )]
    Custodian {
        /// The node that it names.
        named: NodeId,
        /// This node.
        here: NodeId,
    },
    /// It is meant for another runtime.
    #[error("this deployment is for the runtime {named}, and this node has {here}; sign it for this one")]
    Runtime {
        /// The runtime that it names.
        named: String,
        /// The runtime here.
        here: String,
    },
    /// Nobody may begin it any more.
    #[error("this deployment has expired; deploy again (and compare the clocks of both machines)")]
    Expired,
    /// It pays less than this node asks.
    #[error(
        "this deployment pays {}, and this node asks {}; see `igor deploy`, which asks for the price",
        price(offered),
        price(asked)
    )]
    Price {
        /// What it pays.
        offered: Terms,
        /// What is asked.
        asked: Terms,
    },
    /// The manifest is not the one that was signed.
    #[error("the manifest is not the one that was signed: the deployment names {named}")]
    Manifest {
        /// The hash that was signed.
        named: Hash,
    },
    /// The program is not the one that was signed.
    #[error("the program is not the one that was signed: the deployment names {named}")]
    Program {
        /// The hash that was signed.
        named: Hash,
    },
    /// All else is as it must be, and the program is not here.
    #[error("this node does not have the program {named}; send it with the deployment")]
    ProgramNeeded {
        /// Its hash.
        named: Hash,
    },
}

fn price(terms: &Terms) -> String {
    let per_fuel = Credits::from_units(terms.price_per_fuel.into());
    format!("{} credits a second and {per_fuel} credits a unit of fuel", terms.per_second())
}

/// Who has it, and how whoever asked here gets there.
fn sent_on(elsewhere: &Elsewhere) -> String {
    let Elsewhere { agent, node, epoch, addresses, .. } = elsewhere;
    let reached = match addresses.first() {
        Some(address) => format!("; other nodes reach it at {address}"),
        None => String::new(),
    };
    format!(
        "agent {agent} is not here: {node} has custody of it (epoch {epoch}). Give the command to that node, on its \
         machine or with `--node ADDR`, where its API listens{reached}. What there may be of its journal here is an \
         archive: `igor timeline`, `igor verify`, `igor replay` and `igor export` work"
    )
}

fn after_end(name: &str, cause: &str) -> String {
    if cause == EndCause::Exhausted.name() {
        format!("`igor fund {name} CREDITS` revives it")
    } else {
        format!("that is final, and its journal stays: `igor timeline {name}`")
    }
}

impl From<NoBucket> for Error {
    fn from(why: NoBucket) -> Self {
        Self::NoBucket(Box::new(why))
    }
}
