//! Nodes that run, and owners who live elsewhere: for the tests of what moves between them.

use crate::{
    home::{Home, STRATEGY, await_event},
    stage::Actor,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_mins(2);

/// A node that runs.
pub(crate) struct Host {
    pub(crate) home: Home,
    actor: Option<Actor>,
    pub(crate) key: String,
    /// Where other nodes reach it; nothing where it is on no network.
    pub(crate) address: String,
    /// Where holders of a token reach its API; empty where they cannot.
    pub(crate) tcp: String,
}

/// The secret of every token here.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A network of its own, and whom it meets there.
pub(crate) fn network(peers: &[&Host]) -> String {
    let peers: Vec<_> = peers.iter().map(|peer| format!("\"{}\"", peer.address)).collect();
    format!("[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\npeers = [{}]\n", peers.join(", "))
}

/// Whom a node serves.
pub(crate) fn policy(owners: &[&str], nodes: &[&Host]) -> String {
    let list = |keys: Vec<&str>| keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
    let nodes = nodes.iter().map(|node| node.key.as_str()).collect();
    format!("[policy]\nowners = [{}]\nnodes = [{}]\n", list(owners.to_vec()), list(nodes))
}

/// Takes agents from these nodes, and hands its own to them.
pub(crate) fn policy_of(nodes: &[&str]) -> String {
    let nodes: Vec<_> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
    format!("[policy]\nnodes = [{}]\n", nodes.join(", "))
}

impl Host {
    /// Starts a node with this configuration.
    pub(crate) fn start(toml: &str) -> Self {
        let mut host = Self::new();
        host.begin(toml);
        host
    }

    /// The same with an API over TCP, where the holder of [`TOKEN`] is called so.
    pub(crate) fn start_over_tcp(toml: &str, name: &str) -> Self {
        let mut host = Self::new();
        let tokens = host.home.path().join("tokens");
        fs::write(&tokens, format!("{name} {TOKEN}\n")).expect("tokens can be written");
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).expect("they can be made private");
        host.begin(&format!("{toml}\n[api]\nlisten = \"127.0.0.1:0\"\ntokens = \"tokens\"\n"));
        host
    }

    fn new() -> Self {
        let (key, address, tcp) = (String::new(), String::new(), String::new());
        let host = Self { home: Home::new(), actor: None, key, address, tcp };
        fs::create_dir_all(host.home.path()).expect("a home can be made");
        host
    }

    /// Starts it, with this configuration from now on.
    pub(crate) fn begin(&mut self, toml: &str) {
        fs::write(self.home.path().join("node.toml"), toml).expect("a configuration can be written");
        let actor = self.home.start(&["node", "start"]);
        let row = await_event(&actor, "started").pop().expect("the event");
        row["node"].as_str().expect("a key").clone_into(&mut self.key);
        row["network"][0].as_str().unwrap_or_default().clone_into(&mut self.address);
        row["tcp"].as_str().unwrap_or_default().clone_into(&mut self.tcp);
        self.actor = Some(actor);
    }

    /// Tells it to stop with SIGTERM, and gives how it ended and what it said.
    pub(crate) fn stop(&mut self, within: Duration) -> (ExitStatus, Vec<Value>) {
        let mut actor = self.actor.take().expect("it runs");
        actor.signal(rustix::process::Signal::TERM).expect("it can be told");
        actor.end_within(within).expect("it ends in time")
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.actor.take().expect("it runs").kill().expect("it can be killed");
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> String {
        self.home.path().join("node.sock").display().to_string()
    }

    pub(crate) fn show(&self) -> Value {
        self.home.get(&["show", "s"])
    }

    /// Waits until something is so of the agent `s`.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = self.home.ask(&["show", "s"]).rows.pop().unwrap_or(Value::Null);
            if is(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "{what}: {row}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until `s` has ticked so often more than `since` says.
    pub(crate) fn ticks_on(&self, since: &Value) -> Value {
        let before = since["tick"].as_u64().unwrap_or(0);
        let here = Value::from(self.key.as_str());
        self.until("it ticks on", |row| row["custodian"] == here && row["tick"].as_u64() > Some(before + 3))
    }

    /// Waits until it is connected with another.
    pub(crate) fn meets(&self, other: &Self) {
        let deadline = Instant::now() + PATIENCE;
        let met = |row: &Value| row["node"] == other.key.as_str() && row["connected"] == true;
        while !self.home.ask(&["nodes"]).rows.iter().any(met) {
            assert!(Instant::now() < deadline, "{} never met {}", self.key, other.key);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the node said on stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.beside("log")).expect("the log is there")
    }
}

/// An owner with a home that no node has.
pub(crate) struct Owner {
    pub(crate) home: Home,
    pub(crate) key: String,
}

impl Owner {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let rows = home.ask(&["key", "--create"]).rows;
        let key = rows[0]["key"].as_str().expect("a key").to_owned();
        Self { home, key }
    }

    /// Gives a command that must succeed, to a node.
    pub(crate) fn get(&self, host: &Host, args: &[&str]) -> Value {
        self.home.get(&[args, &["--node", &host.api()]].concat())
    }

    /// Starts a command as the holder of [`TOKEN`].
    pub(crate) fn start_with_token(&self, args: &[&str]) -> Child {
        let mut command = Command::new(crate::home::IGOR);
        command.args(args).args(["--json", "--home"]).arg(self.home.path()).env("IGOR_TOKEN", TOKEN);
        command.env_remove("IGOR_NODE").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("igor starts")
    }

    /// Gives a command that must fail so.
    pub(crate) fn fails(&self, host: &Host, args: &[&str], code: i32, words: &[&str]) {
        self.home.fails(&[args, &["--node", &host.api()]].concat(), code, words);
    }

    /// Has a node carry the strategy as `s`, and waits until it has ticked.
    pub(crate) fn deploy(&self, host: &Host) -> Value {
        self.get(host, &["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
        host.ticks_on(&Value::Null)
    }
}

/// What a command printed last, after it ended with this code and said these words.
pub(crate) fn ended(output: &Output, code: i32, words: &[&str]) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "it does not say {word:?}: {said}");
    }
    let last = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    last.map_or(Value::Null, |line| serde_json::from_slice(line).expect("a row"))
}
