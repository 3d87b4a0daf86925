//! A node of the demo: a home of its own, a process of its own, a price of its own.
//!
//! Invariant: it is started, asked and ended as anybody would; what it does stands in its `node.toml`.

use super::{
    NAME,
    stage::{Actor, Answer, Heard, INTERRUPTED, Stage},
};
use igor_network::{Multiaddr, address_of};
use igor_protocol::NodeId;
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Nothing here takes longer.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a node asks, in credits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    pub(super) per_second: &'static str,
    pub(super) per_fuel: &'static str,
}

/// A node.
pub(super) struct Host {
    /// What the story calls it.
    pub(super) letter: &'static str,
    pub(super) key: String,
    pub(super) price: Price,
    pub(super) port: u16,
    home: PathBuf,
    stage: Stage,
    actor: Option<Actor>,
}

/// Another node, as a `node.toml` names it.
pub(super) struct Peer<'a> {
    pub(super) key: &'a str,
    /// Where it is met; nothing where it comes by itself.
    pub(super) port: Option<u16>,
    /// Whether it may send agents here. Nodes that may are asked after a restart, and waited for.
    pub(super) sends: bool,
}

impl Host {
    /// A home with a key, in `folder`.
    pub(super) fn new(igor: &Path, folder: &Path, letter: &'static str, price: Price) -> Result<Self, String> {
        let home = folder.join(letter);
        let stage = Stage::new(igor, &home, &folder.join(format!("{letter}.log")));
        let key = key(&stage.ask(&["key", "--create"])?, "node")?;
        Ok(Self { letter, key, price, port: free_port()?, home, stage, actor: None })
    }

    /// The same, with this in the environment of its process.
    pub(super) fn with(mut self, environment: &'static [(&'static str, &'static str)]) -> Self {
        self.stage = self.stage.with(environment);
        self
    }

    /// A node on a copy of another one's home, as it is now.
    pub(super) fn copy_of(original: &Self, igor: &Path, folder: &Path, letter: &'static str) -> Result<Self, String> {
        let home = folder.join(letter);
        copy(&original.home, &home).map_err(|e| format!("a home could not be copied: {e}"))?;
        let stage = Stage::new(igor, &home, &folder.join(format!("{letter}.log")));
        Ok(Self {
            letter,
            key: original.key.clone(),
            price: original.price,
            port: free_port()?,
            home,
            stage,
            actor: None,
        })
    }

    /// Writes what it is to do: its price, whose agents it carries, and which nodes it knows and takes agents from.
    /// It is met where it listens, if it does. `more` is what else stands there.
    pub(super) fn configure(&self, owner: &str, listens: bool, peers: &[Peer<'_>], more: &str) -> Result<(), String> {
        let Price { per_second, per_fuel } = self.price;
        let mut toml = format!(
            "[price]\nper_second = \"{per_second}\"\nper_fuel = \"{per_fuel}\"\n\n[policy]\nowners = [\"{owner}\"]\nnodes = ["
        );
        for peer in peers.iter().filter(|peer| peer.sends) {
            let _ = write!(toml, "\"{}\", ", peer.key);
        }
        let listen = if listens { format!("\"/ip4/127.0.0.1/tcp/{}\"", self.port) } else { String::new() };
        let _ = write!(toml, "]\n\n[network]\nlisten = [{listen}]\npeers = [");
        for (peer, port) in peers.iter().filter_map(|peer| Some((peer, peer.port?))) {
            let node = peer.key.parse::<NodeId>().map_err(|e| format!("{}: {e}", peer.key))?;
            let address =
                format!("/ip4/127.0.0.1/tcp/{port}").parse::<Multiaddr>().map_err(|e| format!("{port}: {e}"))?;
            let address = address_of(node, address).ok_or("a key that is no peer id")?;
            let _ = write!(toml, "\"{address}\", ");
        }
        let _ = writeln!(toml, "]\n{more}");
        fs::write(self.home.join("node.toml"), toml).map_err(|e| e.to_string())
    }

    /// Starts its process.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.actor = Some(self.stage.start(&["node", "start"])?);
        Ok(())
    }

    /// Waits until it says this.
    pub(super) fn expect(&self, event: &str) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.hear(deadline.min(Instant::now() + LOOK_EVERY)) {
                Heard::Row(row) if row["event"] == event => return Ok(row),
                Heard::Row(_) => {}
                Heard::Silence if Instant::now() < deadline => going_on()?,
                Heard::Silence => return Err(format!("node {} does not say `{event}`", self.letter)),
                Heard::End => return Err(format!("node {} ended before it said `{event}`", self.letter)),
            }
        }
    }

    /// What its process says next.
    pub(super) fn hear(&self, deadline: Instant) -> Heard {
        self.actor.as_ref().map_or(Heard::End, |actor| actor.hear(deadline))
    }

    /// Sends its process a signal.
    pub(super) fn signal(&self, signal: rustix::process::Signal) -> Result<(), String> {
        self.actor.as_ref().ok_or("it does not run")?.signal(signal)
    }

    /// Ends its process with SIGKILL. Gives what it had still said.
    pub(super) fn kill(&mut self) -> Result<Vec<Value>, String> {
        self.actor.take().map_or(Ok(Vec::new()), |mut actor| actor.kill())
    }

    /// Tells it to stop, and waits until it has. Gives what it said.
    pub(super) fn stop(&mut self) -> Result<Vec<Value>, String> {
        let mut actor = self.actor.take().ok_or("it does not run")?;
        actor.signal(rustix::process::Signal::TERM)?;
        match actor.end_within(PATIENCE)? {
            (status, rows) if status.success() => Ok(rows),
            (status, _) => Err(format!("node {} stopped with {status}", self.letter)),
        }
    }

    /// Commands to this home: to its node, or to its files while that is down.
    pub(super) const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Where its API is.
    pub(super) fn socket(&self) -> Result<PathBuf, String> {
        igor_node::home::Home::socket_of(&self.home).map_err(|e| e.to_string())
    }

    /// What `igor show` says of the agent here.
    pub(super) fn shown(&self) -> Result<Value, String> {
        self.stage.ask(&["show", NAME]).and_then(Answer::last)
    }

    /// Waits until that is as it should be.
    pub(super) fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value, String> {
        self.until_every(LOOK_EVERY, what, is)
    }

    /// The same, looking less often.
    pub(super) fn until_every(
        &self,
        pause: Duration,
        what: &str,
        mut is: impl FnMut(&Value) -> bool,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            match shown {
                Ok(shown) if is(&shown) => return Ok(shown),
                _ if Instant::now() < deadline => going_on()?,
                other => return Err(format!("at node {} {what} for too long: {other:?}", self.letter)),
            }
            std::thread::sleep(pause);
        }
    }

    /// Waits until it has met this node.
    pub(super) fn meets(&self, key: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let nodes = self.stage.ask(&["nodes"])?.rows;
            if nodes.iter().any(|row| row["node"] == key && row["connected"] == true) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("node {} does not meet {key}", self.letter));
            }
            going_on()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Fails once everything is to end.
pub(super) fn going_on() -> Result<(), String> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
}

/// The key of this role that `igor key` shows.
pub(super) fn key(answer: &Answer, role: &str) -> Result<String, String> {
    let row = answer.rows.iter().find(|row| row["role"] == role);
    let key = row.and_then(|row| row["key"].as_str());
    key.map(str::to_owned).ok_or_else(|| format!("`igor key` shows no {role} key: {}", answer.said.trim()))
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|e| format!("no port is free on 127.0.0.1: {e}"))
}

/// Copies files and folders; what is neither, such as a socket, is left.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
