//! How long going on with an agent takes whose node was killed, phase by phase, for states of several sizes.
//!
//! Nodes are processes of the released binary with a disk each, and the bucket is SeaweedFS on loopback. *Warm*: of two nodes
//! that stand by for each other the one that has the agent is killed, the other goes on, and the killed one is started again and
//! follows. *Cold*: a node that has never heard of the agent is told by its owner to go on with it; it reads all of it from the
//! bucket. The figures are those that the node says in its log: the same that operators see.
//!
//! Then a node with many agents is killed, and another one goes on with all of them.

use crate::{
    measure::median,
    pause::{ask, command, key, ledger},
};
use anyhow::{Context, ensure};
use igor_weed::{BUCKET, ENVIRONMENT, Weed};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;
const STATES: [(&str, usize); 3] = [("64 KiB", 64 << 10), ("16 MiB", 16 << 20), ("64 MiB", 64 << 20)];
const NAME: &str = "ledger";
/// Agents of one node that is killed.
const CROWDS: [usize; 3] = [1, 64, 256];
const CROWD_STATE: usize = 64 << 10;
/// Between two checkpoints.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// Longest wait for something that must come.
const WITHIN: Duration = Duration::from_mins(10);
const GLANCE: Duration = Duration::from_millis(100);
/// A follower that is behind by no more is as near as it comes, while the agent ticks.
const BEHIND_MAX: u64 = 20;
/// What the log says that an agent goes on, and that its journal was read.
const GOES_ON: &str = "an agent goes on here";
const WAS_READ: &str = "an agent's journal was read from the bucket";
/// The phases as the log names them, in their order.
const PHASES: [&str; 8] =
    ["silent_ms", "read_ms", "fence_ms", "load_ms", "restore_ms", "replay_ms", "tick_ms", "total_ms"];

/// Milliseconds of each phase, over rounds.
type Figures = BTreeMap<&'static str, Vec<f64>>;

/// A node that runs; it is killed with this.
struct Node {
    home: PathBuf,
    address: Option<String>,
    child: Child,
    log: Receiver<Value>,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Two nodes that stand by for each other, or a stranger to them.
struct Ground {
    folder: tempfile::TempDir,
    weed: Weed,
    keys: Vec<String>,
    owner: String,
}

impl Ground {
    fn home(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("home-{number}"))
    }

    /// Starts a node; with `peer` it meets that one.
    fn start(&self, number: usize, network: bool, peer: Option<&Node>) -> anyhow::Result<Node> {
        let home = self.home(number);
        let mut toml = format!("[store]\nurl = \"s3://{BUCKET}\"\nendpoint = \"{}\"\n[policy]\n", self.weed.endpoint());
        let _ = writeln!(toml, "owners = [\"{}\"]\nnodes = {:?}", self.owner, self.keys);
        toml += "[grants]\nmemory_bytes = 1073741824\nstate_bytes = 134217728\ntick_time_ms = 60000\n";
        if network {
            toml += "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n";
            if let Some(address) = peer.and_then(|peer| peer.address.as_ref()) {
                let _ = writeln!(toml, "peers = [\"{address}\"]");
            }
        }
        std::fs::write(home.join("node.toml"), toml)?;
        let mut command = command(&home, &["node", "start"])?;
        command.envs(ENVIRONMENT).env("IGOR_LOG", "warn,igor_node=info");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (rows, log) = (child.stdout.take().context("its output")?, child.stderr.take().context("its log")?);
        let (told, heard) = channel();
        thread::spawn(move || {
            for row in BufReader::new(log).lines().map_while(Result::ok) {
                if let Ok(row) = serde_json::from_str(&row) {
                    drop(told.send(row));
                }
            }
        });
        let mut rows = BufReader::new(rows).lines();
        let mut node = Node { home, address: None, child, log: heard };
        loop {
            let row: Value = serde_json::from_str(&rows.next().context("the node did not start")??)?;
            if row["event"] == "started" {
                node.address = row["network"][0].as_str().map(str::to_owned);
            }
            if row["event"] == "carried" {
                // A stdout that nobody reads is none that it waits for.
                return Ok(node);
            }
        }
    }
}

impl Node {
    fn ask(&self, args: &[&str]) -> anyhow::Result<Value> {
        ask(&self.home, args)?.pop().context("an answer")
    }

    /// Waits for a line of its log.
    fn says(&self, what: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let row = self.log.recv_timeout(left).with_context(|| format!("the log never says {what:?}"))?;
            if row["message"] == what {
                return Ok(row);
            }
        }
    }

    /// Waits until something holds of the agent here.
    fn until(&self, what: &str, holds: impl Fn(&Node) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + WITHIN;
        while !holds(self)? {
            ensure!(Instant::now() < deadline, "{what} never came");
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Waits for a checkpoint that is made from now on.
    fn checkpointed(&self) -> anyhow::Result<()> {
        let tick = self.ask(&["show", NAME])?["tick"].as_u64();
        self.until("a checkpoint", |node| Ok(node.ask(&["show", NAME])?["checkpoint_tick"].as_u64() > tick))
    }

    /// Waits until another node would go on with the agent, and has read nearly all of it.
    fn followed(&self) -> anyhow::Result<()> {
        self.until("a follower", |node| {
            let follower = node.ask(&["node", "check"])?["standby"][0].take();
            Ok(follower["behind"].as_u64().is_some_and(|behind| behind <= BEHIND_MAX))
        })
    }
}

pub(crate) fn run(_: &crate::rig::Rig) -> anyhow::Result<()> {
    let Some(binary) = igor_weed::find() else {
        println!("SKIPPED: it needs SeaweedFS: scripts/weed installs it; or set IGOR_WEED");
        return Ok(());
    };
    let mut heads = format!("{:<8} {:<5}", "state", "");
    for phase in PHASES {
        let _ = write!(heads, " {:>9}", phase.trim_end_matches("_ms"));
    }
    println!("milliseconds, medians of {ROUNDS}\n{heads}");
    for (name, bytes) in STATES {
        let (warm, cold) = measure(&binary, bytes)?;
        for (how, figures) in [("warm", warm), ("cold", cold)] {
            let mut line = format!("{name:<8} {how:<5}");
            for phase in PHASES {
                match figures.get(phase) {
                    Some(values) => drop(write!(line, " {:>9.1}", median(values))),
                    None => drop(write!(line, " {:>9}", "-")),
                }
            }
            println!("{line}");
        }
    }
    println!("\nmilliseconds since the last sign of life, {} KiB of state and a tick a second each", CROWD_STATE >> 10);
    println!("{:<8} {:>9} {:>9} {:>9}", "agents", "median", "99%", "longest");
    for agents in CROWDS {
        let mut times = crowd(&binary, agents)?;
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default();
        println!("{agents:<8} {:>9.0} {:>9.0} {:>9.0}", at(50), at(99), at(100));
    }
    Ok(())
}

/// Kills a node that has so many agents. Gives how long it took until each of them ticked at the other one.
fn crowd(binary: &Path, agents: usize) -> anyhow::Result<Vec<f64>> {
    let weed = Weed::start(binary).map_err(anyhow::Error::msg)?;
    let folder = tempfile::tempdir_in(".")?;
    let mut ground = Ground { folder, weed, keys: Vec::new(), owner: String::new() };
    for number in 0..2 {
        ground.keys.push(key(&ground.home(number), "node")?);
    }
    ground.owner = key(&ground.home(0), "owner")?;
    let has = ground.start(0, true, None)?;
    let other = ground.start(1, true, Some(&has))?;
    for agent in 0..agents {
        deploy(&ground, &has, &format!("{NAME}-{agent}"), CROWD_STATE, "1s")?;
    }
    has.until("followers of all", |node| {
        let rows = ask(&node.home, &["node", "check"])?;
        let is_followed =
            |row: &&Value| row["standby"][0]["behind"].as_u64().is_some_and(|behind| behind <= BEHIND_MAX);
        Ok(rows.iter().filter(is_followed).count() == agents)
    })?;
    // Each has a checkpoint by then.
    thread::sleep(2 * CHECKPOINT);
    drop(has);
    let mut times = Vec::new();
    while times.len() < agents {
        times.push(other.says(GOES_ON)?["total_ms"].as_f64().context("how long it took")?);
    }
    Ok(times)
}

fn measure(binary: &Path, bytes: usize) -> anyhow::Result<(Figures, Figures)> {
    let weed = Weed::start(binary).map_err(anyhow::Error::msg)?;
    let folder = tempfile::tempdir_in(".")?;
    let mut ground = Ground { folder, weed, keys: Vec::new(), owner: String::new() };
    let strangers = 2..2 + ROUNDS;
    for number in 0..strangers.end {
        ground.keys.push(key(&ground.home(number), "node")?);
    }
    ground.owner = key(&ground.home(0), "owner")?;
    let mut has = ground.start(0, true, None)?;
    let mut other = ground.start(1, true, Some(&has))?;
    deploy(&ground, &has, NAME, bytes, "20ms")?;
    let mut warm = Figures::new();
    for round in 0..ROUNDS {
        has.checkpointed()?;
        has.followed()?;
        apart(round);
        drop(has);
        note(&mut warm, &other.says(GOES_ON)?);
        has = other;
        // The one that was killed.
        other = ground.start(round % 2, true, Some(&has))?;
    }
    let agent = has.ask(&["show", NAME])?["agent"].as_str().context("its id")?.to_owned();
    has.checkpointed()?;
    let mut cold = Figures::new();
    // Nobody who follows it is left.
    drop(other);
    for (round, number) in strangers.enumerate() {
        apart(round);
        drop(has);
        has = ground.start(number, false, None)?;
        let socket = has.home.join("node.sock");
        let socket = socket.to_str().context("a path")?;
        ask(&ground.home(0), &["takeover", &agent, "--node", socket])?;
        let read = has.says(WAS_READ)?;
        let mut row = has.says(GOES_ON)?;
        let sum = |one: &Value, other: &Value| one.as_f64().zip(other.as_f64()).map(|(one, other)| one + other);
        row["total_ms"] = sum(&row["total_ms"], &read["read_ms"]).context("how long it took")?.into();
        row["read_ms"] = read["read_ms"].clone();
        note(&mut cold, &row);
        has.checkpointed()?;
    }
    let verdict = has.ask(&["verify", &agent])?;
    ensure!(verdict["ok"] == true, "the journal does not verify: {verdict}");
    Ok((warm, cold))
}

/// Kills come at other places between two checkpoints each time.
fn apart(round: usize) {
    let rounds = u32::try_from(ROUNDS).unwrap_or(u32::MAX);
    thread::sleep(CHECKPOINT * u32::try_from(round).unwrap_or(0) / rounds);
}

fn deploy(ground: &Ground, node: &Node, name: &str, bytes: usize, interval: &str) -> anyhow::Result<()> {
    let folder = ground.folder.path();
    let wasm = folder.join("ledger.wasm");
    std::fs::write(&wasm, wat::parse_str(ledger(bytes))?)?;
    let manifest = folder.join("agent.toml");
    // A small one has room for many like it.
    let memory = if bytes > CROWD_STATE { 256 } else { 1 };
    let text = format!(
        "[limits]\nmemory_bytes = \"{memory}MiB\"\nstate_bytes = \"{}MiB\"\ntick_time = \"10s\"\n[tick]\ninterval = \"{interval}\"\n\
         [checkpoint]\ninterval = \"{}s\"\n[survival]\nstandby = {:?}\n",
        memory.min(128),
        CHECKPOINT.as_secs(),
        &ground.keys[..2]
    );
    std::fs::write(&manifest, text)?;
    let (wasm, manifest) = (wasm.to_str().context("a path")?, manifest.to_str().context("a path")?);
    node.ask(&["deploy", wasm, "--name", name, "--budget", "100000", "--manifest", manifest])?;
    Ok(())
}

/// Keeps what a line of the log says.
fn note(figures: &mut Figures, row: &Value) {
    for phase in PHASES {
        if let Some(time) = row[phase].as_f64() {
            figures.entry(phase).or_default().push(time);
        }
    }
}
