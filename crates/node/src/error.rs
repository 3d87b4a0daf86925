//! What can go wrong on a node, by what its operator must do.

use crate::{home, local};
use igor_protocol::{AgentId, NodeId, entry::EndCause};
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
    /// It does not live now.
    #[error("agent {name} does not run now; start it with `igor run`")]
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
    Order(igor_protocol::ledger::Fault),
    /// The agent did not take it.
    #[error(transparent)]
    Refused(igor_spine::command::Refused),
    /// Another node may run it, and this one may not.
    #[error("agent {agent} is in the custody of {custodian}; this node may keep its journal, not run it")]
    NotCustodian {
        /// The agent.
        agent: AgentId,
        /// Who may.
        custodian: NodeId,
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

fn after_end(name: &str, cause: &str) -> String {
    if cause == EndCause::Exhausted.name() {
        format!("`igor fund {name} CREDITS` revives it")
    } else {
        format!("that is final, and its journal stays: `igor timeline {name}`")
    }
}
