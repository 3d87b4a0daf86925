//! A node: its home, its process, and what it says of the agent.

use super::{ear::Ear, ground::Ground};
use crate::{
    NAME,
    stage::{Actor, Answer, Heard, Stage},
};
use igor_network::Multiaddr;
use igor_node::client::{self, Address, Client};
use igor_protocol::NodeId;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// A start, and whatever else has to happen, takes no longer; else something is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
/// A node that runs answers by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A node of the trial.
pub(crate) struct Host {
    pub(crate) key: NodeId,
    pub(crate) home: PathBuf,
    /// Where it stands: what is started on this stage is in its namespace.
    pub(crate) stage: Stage,
    actor: Option<Actor>,
    process: u64,
    client: Client,
    /// Hears what it announces.
    pub(crate) ear: Ear,
}

/// What a node says of the agent, or what its home does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) status: String,
    pub(crate) epoch: String,
    pub(crate) custodian: String,
    pub(crate) tick: u64,
    /// The position of its last entry.
    pub(crate) seq: u64,
    /// Messages that no tick has taken.
    pub(crate) open: u64,
}

impl Shown {
    fn of(row: &Value) -> Option<Self> {
        let text = |field: &str| row[field].as_str().map(str::to_owned);
        let (status, epoch, custodian) = (text("status")?, text("epoch")?, text("custodian")?);
        let number = |field: &str| row[field].as_u64();
        Some(Self {
            status,
            epoch,
            custodian,
            tick: number("tick")?,
            seq: number("seq")?,
            open: number("open_messages")?,
        })
    }

    /// Whether the agent lives there.
    pub(crate) fn lives(&self) -> bool {
        matches!(self.status.as_str(), "running" | "idle")
    }
}

impl Host {
    /// A home with keys, for the node of this number. Nothing runs yet.
    pub(crate) fn new(
        ground: &Ground,
        igor: &Path,
        folder: &Path,
        number: usize,
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let home = folder.join(format!("home-{number}"));
        let launcher = ground.launcher(igor, folder, number, environment)?;
        let log = folder.join(format!("node-{number}.log"));
        let stage = Stage::new(&launcher, &home, &log).logging(&log, "info");
        let keys = stage.ask(&["key", "--create"])?.rows;
        let key = keys.iter().find(|row| row["role"] == "node").and_then(|row| row["key"].as_str());
        let key = key.and_then(|key| key.parse().ok()).ok_or("a home has no key")?;
        let socket = home.join("node.sock");
        let client = Client::new(Address::Socket(socket));
        Ok(Self { key, home, stage, actor: None, process: 0, ear: Ear::open(client.clone(), number), client })
    }

    /// Says whom it meets, by address, and takes agents from; and what else it is to know.
    pub(crate) fn configure(
        &self,
        ground: &Ground,
        number: usize,
        others: &[(NodeId, Multiaddr)],
        more: &str,
    ) -> Result<(), String> {
        let at = ground.address(number);
        let list =
            |texts: Vec<String>| texts.into_iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ");
        let peers = list(others.iter().map(|(_, address)| address.to_string()).collect());
        let nodes = list(others.iter().map(|(node, _)| node.to_string()).collect());
        // Prices differ, so that each bill shows by whose Terms it was made.
        let toml = format!(
            "[price]\nper_second = \"0.00{}\"\n[network]\nlisten = [\"/ip4/{}/tcp/{}\"]\npeers = [{peers}]\n[policy]\nnodes = [{nodes}]\n{more}",
            number + 1,
            at.ip(),
            at.port()
        );
        fs::write(self.home.join("node.toml"), toml).map_err(|e| e.to_string())
    }

    /// The process of the node that runs, or ran last.
    pub(crate) const fn process(&self) -> u64 {
        self.process
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        let actor = self.stage.start(&["node", "start"])?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match actor.hear(deadline) {
                Heard::Row(row) if row["event"] == "started" => {
                    self.process = row["pid"].as_u64().ok_or("a node does not say which process it is")?;
                    break;
                }
                Heard::Row(_) => {}
                other => return Err(format!("a node did not start: {other:?}")),
            }
        }
        self.actor = Some(actor);
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<(), String> {
        self.actor.as_ref().map_or(Ok(()), |actor| actor.signal(signal))
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        match self.actor.take() {
            Some(mut actor) => actor.kill().map(drop),
            None => Ok(()),
        }
    }

    /// Tells it to stop, and waits until it did.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        let Some(mut actor) = self.actor.take() else { return Ok(()) };
        actor.interrupt()?;
        match actor.end_within(PATIENCE)? {
            (status, _) if status.success() => Ok(()),
            (status, _) => Err(format!("a node that was told to stop ended with {status}")),
        }
    }

    /// What it says of the agent; nothing where it knows none. Where no node runs, what the home says.
    pub(crate) fn show(&self) -> Result<Option<Shown>, String> {
        if self.actor.is_none() {
            let answer = self.stage.ask(&["show", NAME])?;
            return Ok(if answer.code == Some(0) {
                Answer::last(answer).ok().as_ref().and_then(Shown::of)
            } else {
                None
            });
        }
        match asked(self.client.agent(NAME))? {
            Ok(info) => Ok(serde_json::to_value(&info).ok().as_ref().and_then(Shown::of)),
            Err(client::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(format!("a node that runs does not answer: {error}")),
        }
    }

    /// Whether it is connected with another node.
    pub(crate) fn is_connected(&self, other: NodeId) -> Result<bool, String> {
        let rows = asked(self.client.nodes())?.map_err(|e| format!("a node that runs does not answer: {e}"))?;
        Ok(rows.iter().any(|row| row.node == other && row.connected))
    }
}

/// What a node answers.
fn asked<T>(call: impl Future<Output = Result<T, client::Error>>) -> Result<Result<T, client::Error>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let answer = runtime.block_on(async { timeout(ANSWER_WITHIN, call).await });
    answer.map_err(|_| format!("a node that runs does not answer within {} s", ANSWER_WITHIN.as_secs()))
}
