//! What every verb knows: where the home is, which node to talk to, how to print.

use crate::{
    args::Global,
    failure::{Code, Failure},
    output::Output,
    source::wait,
};
use igor_node::{
    Node,
    client::{Address, Client, SentAs},
    home::Home,
};
use igor_protocol::{NodeId, entry::Order, ledger::Book};
use igor_sandbox::compile::{Compiler, Limits, SECONDS_VARIABLE};
use std::{
    net::ToSocketAddrs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The environment variable with the token for a node over TCP.
const TOKEN_VARIABLE: &str = "IGOR_TOKEN";

/// What a command keeps when it goes on at another node, so that it does there what it began.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// As whom messages were sent.
    pub(crate) sent_as: SentAs,
    /// The order that was signed, if it may be in a journal, and what the agent was before it.
    pub(crate) order: Option<(Order, Book)>,
}

/// What every verb knows.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where the home is or will be.
    pub(crate) path: PathBuf,
    /// The node that was named, if one was.
    pub(crate) node: Option<Address>,
    /// More nodes, to which a command follows an agent.
    pub(crate) others: Vec<Address>,
    /// Where to print.
    pub(crate) out: Output,
    compile: Limits,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let mut nodes = global.node.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?.into_iter();
        let (node, others) = (nodes.next(), nodes.collect());
        let compile = match std::env::var_os(SECONDS_VARIABLE) {
            Some(text) => Limits::of_seconds(&text.to_string_lossy()).map_err(|e| Failure::new(Code::Usage, e))?,
            None => Limits::default(),
        };
        let path = Home::locate(global.home.as_deref())?;
        Ok(Self { path, node, others, out: Output::new(global.json), compile })
    }

    /// The same, at the node that has an agent, where that is among those that were named.
    pub(crate) fn following(&self, node: NodeId) -> Option<Self> {
        let is_it = |address: &&Address| {
            let asked = wait(Client::new((*address).clone()).node());
            asked.is_ok_and(|info| info.node == node)
        };
        let found = self.others.iter().find(is_it)?.clone();
        let left = self.node.iter().chain(&self.others).filter(|address| **address != found).cloned().collect();
        Some(Self { node: Some(found), others: left, ..self.clone() })
    }

    /// The home, which must be there.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        Ok(Home::existing(&self.path)?)
    }

    /// Takes the home for this process, as a node does, and makes it where there is none. Waits for disks.
    pub(crate) fn become_node(&self) -> Result<Arc<Node>, igor_node::Error> {
        let node = Node::open(&self.path, self.compiler())?;
        // Nothing else goes on yet.
        if let Err(error) = wait(node.free_blobs()) {
            tracing::warn!(%error, "blobs that no journal names stay, since a journal does not read");
        }
        Ok(node)
    }

    /// Compiles in a process of this program.
    pub(crate) fn compiler(&self) -> Compiler {
        Compiler::new(this_binary(), self.compile)
    }
}

fn address(text: &str) -> Result<Address, Failure> {
    if text.contains('/') || Path::new(text).exists() {
        return Ok(Address::Socket(PathBuf::from(text)));
    }
    let unknown = |why: String| {
        Failure::unreachable(format!(
            "--node {text}: {why}; give HOST:PORT, or a socket's path (./NAME for one that is not there yet)"
        ))
    };
    let resolved = text.to_socket_addrs().map_err(|e| unknown(e.to_string()))?.next();
    let address = resolved.ok_or_else(|| unknown("no such host".to_owned()))?;
    let token = std::env::var(TOKEN_VARIABLE).map_err(|_| {
        Failure::refused(format!("--node {text}: set {TOKEN_VARIABLE} to a token that this node knows"))
    })?;
    Ok(Address::Tcp { address, token })
}

/// This program, for processes of its own: the very file that runs, even where an update has replaced it by name.
pub(crate) fn this_binary() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { running } else { std::env::current_exe().unwrap_or_else(|_| PathBuf::from("igor")) }
}
