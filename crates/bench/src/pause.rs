//! The pause of a move between two real nodes on loopback, against a raw TCP copy of the bytes that go over in it with
//! one sync on each side.
//!
//! Each node is a process of the released binary with a disk of its own. The agent goes to and fro; between two moves
//! the raw copy is made of what the last one sent, and another one of as many bytes as the state has: what whoever
//! stops first and copies then cannot go below. What one sync of a log and of a small file takes is measured beside them: a
//! pause is mostly these.

use crate::{
    measure::{median, percentile},
    rig::igor,
};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const MOVES: usize = 12;
const STATES: [(&str, usize); 3] = [("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20)];
const COMMAND_WITHIN: Duration = Duration::from_mins(1);

/// An agent with a state of so many bytes, of which each tick changes eight words in eight places.
pub(crate) fn ledger(bytes: usize) -> String {
    let pages = bytes.div_ceil(64 << 10) + 1;
    format!(
        r#"(module
  (memory (export "memory") {pages})
  (func (export "agent_init") (local $at i32) (local $x i64)
    (local.set $x (i64.const 88172645463325252))
    (loop $fill
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (i64.store offset=65536 (local.get $at) (local.get $x))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $fill (i32.lt_u (local.get $at) (i32.const {bytes}))))
    (i64.store (i32.const 65536) (i64.const 0)))
  (func (export "agent_tick") (result i32) (local $n i64) (local $k i64) (local $at i32)
    (local.set $n (i64.add (i64.load (i32.const 65536)) (i64.const 1)))
    (i64.store (i32.const 65536) (local.get $n))
    (loop $change
      (local.set $at (i32.wrap_i64 (i64.rem_u
        (i64.mul (i64.add (i64.mul (local.get $n) (i64.const 8)) (local.get $k)) (i64.const 2654435761))
        (i64.const {places}))))
      (i64.store offset=65544 (i32.mul (local.get $at) (i32.const 8)) (local.get $n))
      (local.set $k (i64.add (local.get $k) (i64.const 1)))
      (br_if $change (i64.lt_u (local.get $k) (i64.const 8))))
    (i32.const 0))
  (func (export "agent_checkpoint") (result i32) (i32.const {bytes}))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 65536))
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "agent_resume") (param i32 i32)))"#,
        places = bytes / 8 - 1,
    )
}

/// A node that runs; it ends with this.
struct Node {
    home: PathBuf,
    key: String,
    address: String,
    child: Child,
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Node {
    fn start(home: PathBuf, key: String, other: &str, peer: Option<&str>) -> anyhow::Result<Self> {
        let peers = peer.map_or_else(String::new, |peer| format!("peers = [\"{peer}\"]\n"));
        let config =
            format!("[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{peers}[policy]\nnodes = [\"{other}\"]\n");
        std::fs::write(home.join("node.toml"), config)?;
        let mut child = command(&home, &["node", "start"])?.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut address = None;
        while address.is_none() {
            let row: Value = serde_json::from_str(&lines.next().context("the node did not start")??)?;
            address = row["network"][0].as_str().map(str::to_owned);
        }
        Ok(Self { home, key, address: address.context("its address")?, child, _lines: lines })
    }

    fn ask(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        ask(&self.home, args)
    }

    fn ticks(&self, more: u64) -> anyhow::Result<()> {
        let tick = || -> anyhow::Result<u64> {
            let row = self.ask(&["show", "ledger"])?.pop().context("a row")?;
            Ok(if row["status"] == "archived" { 0 } else { row["tick"].as_u64().unwrap_or(0) })
        };
        let (deadline, begun) = (Instant::now() + COMMAND_WITHIN, tick()?);
        while tick()? < begun + more {
            ensure!(Instant::now() < deadline, "the agent does not tick");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

pub(crate) fn command(home: &Path, args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(igor()?);
    command.args(args).arg("--json").arg("--home").arg(home).stdin(Stdio::null());
    command.env_remove("IGOR_NODE").env_remove("IGOR_TOKEN").env("IGOR_LOG", "error");
    Ok(command)
}

pub(crate) fn ask(home: &Path, args: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = command(home, args)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "igor {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The key of a home for a role, which is made where there is none.
pub(crate) fn key(home: &Path, role: &str) -> anyhow::Result<String> {
    std::fs::create_dir_all(home)?;
    let rows = ask(home, &["key", "--create"])?;
    let row = rows.iter().find(|row| row["role"] == role).context("a key of this role")?;
    Ok(row["key"].as_str().context("a key")?.to_owned())
}

/// Two ends of a TCP connection, each with a file: bytes are synced here, copied, synced there, and answered.
struct Raw {
    here: TcpStream,
    folder: PathBuf,
    file: File,
    _there: thread::JoinHandle<std::io::Result<()>>,
}

impl Raw {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let here = TcpStream::connect(listener.local_addr()?)?;
        here.set_nodelay(true)?;
        let (mut there, _) = listener.accept()?;
        there.set_nodelay(true)?;
        let kept = File::create(folder.join("there"))?;
        let serve = move || -> std::io::Result<()> {
            let mut length = [0; 8];
            while there.read_exact(&mut length).is_ok() {
                let mut bytes = vec![0; usize::try_from(u64::from_be_bytes(length)).unwrap_or(0)];
                there.read_exact(&mut bytes)?;
                (&kept).write_all(&bytes)?;
                kept.sync_data()?;
                there.write_all(&[1])?;
            }
            Ok(())
        };
        let (folder, file) = (folder.to_owned(), File::create(folder.join("here"))?);
        Ok(Self { here, folder, file, _there: thread::spawn(serve) })
    }

    /// Milliseconds that so many bytes take.
    fn copy(&mut self, bytes: usize) -> anyhow::Result<f64> {
        let content = vec![0x5a; bytes];
        let begun = Instant::now();
        (&self.file).write_all(&content)?;
        self.file.sync_data()?;
        self.here.write_all(&(bytes as u64).to_be_bytes())?;
        self.here.write_all(&content)?;
        self.here.read_exact(&mut [0])?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}

impl Raw {
    /// Milliseconds of a sync after an append.
    fn append(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        (&self.file).write_all(&[0x5a; 300])?;
        self.file.sync_data()?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }

    /// Milliseconds of a small file that takes the place of another: its bytes, then its name.
    fn replace(&self) -> anyhow::Result<f64> {
        let (new, name) = (self.folder.join("new"), self.folder.join("name"));
        let begun = Instant::now();
        let mut file = File::create(&new)?;
        file.write_all(&[0x5a; 600])?;
        file.sync_data()?;
        std::fs::rename(&new, &name)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}

/// What one move came to.
#[derive(Default)]
struct Figures {
    pause: Vec<f64>,
    last: Vec<f64>,
    all: Vec<f64>,
    floor: Vec<f64>,
    floor_of_state: Vec<f64>,
    ratios: Vec<f64>,
    append: Vec<f64>,
    replace: Vec<f64>,
}

pub(crate) fn run(_: &crate::rig::Rig) -> anyhow::Result<()> {
    for (name, bytes) in STATES {
        let figures = measure(bytes)?;
        let (mut pause, mid) = (figures.pause.clone(), |values: &[f64]| median(values));
        println!("state of {name}");
        println!(
            "  pause of a move          p50 {:8.2} ms   longest {:.2} ms",
            mid(&pause),
            percentile(&mut pause, 100)
        );
        println!("  raw copy of its bytes    p50 {:8.2} ms   ratio {:.2}", mid(&figures.floor), mid(&figures.ratios));
        println!("  raw copy of the state    p50 {:8.2} ms", mid(&figures.floor_of_state));
        println!(
            "  one sync of a log        p50 {:8.2} ms   of a small file and its name {:.2} ms",
            mid(&figures.append),
            mid(&figures.replace)
        );
        println!("  bytes in the pause       p50 {:8.0}", mid(&figures.last));
        println!(
            "  bytes in all: first move {:.0}, back and to again p50 {:.0}",
            figures.all.first().copied().unwrap_or(f64::NAN),
            mid(figures.all.get(1..).unwrap_or_default())
        );
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
fn measure(bytes: usize) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir_in(".")?;
    let homes = ["a", "b"].map(|name| folder.path().join(name));
    let keys = [key(&homes[0], "node")?, key(&homes[1], "node")?];
    let wasm = folder.path().join("ledger.wasm");
    std::fs::write(&wasm, wat::parse_str(ledger(bytes))?)?;
    let [home_a, home_b] = homes;
    let [key_a, key_b] = keys;
    let a = Node::start(home_a, key_a.clone(), &key_b, None)?;
    let b = Node::start(home_b, key_b, &key_a, Some(&a.address))?;
    let path = wasm.to_str().context("a path")?;
    // Named there, so that it is so on every node.
    let manifest = folder.path().join("agent.toml");
    std::fs::write(&manifest, "[tick]\ninterval = \"5ms\"\n[checkpoint]\ninterval = \"1s\"\n")?;
    let manifest = manifest.to_str().context("a path")?;
    a.ask(&["deploy", path, "--name", "ledger", "--budget", "1000", "--manifest", manifest])?;
    a.ticks(20)?;
    let deadline = Instant::now() + COMMAND_WITHIN;
    while !a.ask(&["nodes"])?.iter().any(|row| row["connected"] == true) {
        ensure!(Instant::now() < deadline, "the nodes never met");
        thread::sleep(Duration::from_millis(50));
    }
    let (mut raw, mut figures) = (Raw::new(folder.path())?, Figures::default());
    raw.copy(1 << 10)?;
    let (mut from, mut to) = (&a, &b);
    for _ in 0..MOVES {
        let rows = from.ask(&["migrate", "ledger", &to.key])?;
        let number = |event: &str, field: &str| {
            let row = rows.iter().find(|row| row["event"] == event);
            row.and_then(|row| row[field].as_u64()).with_context(|| format!("{event} with {field} in {rows:?}"))
        };
        let (pause, last) = (number("accepted", "pause_ns")? as f64 / 1e6, number("transfer", "bytes")?);
        let floor = raw.copy(usize::try_from(last)?)?;
        figures.pause.push(pause);
        figures.last.push(last as f64);
        figures.all.push(number("accepted", "bytes")? as f64);
        figures.floor.push(floor);
        figures.floor_of_state.push(raw.copy(bytes)?);
        figures.ratios.push(pause / floor);
        figures.append.push(raw.append()?);
        figures.replace.push(raw.replace()?);
        // Long enough for a checkpoint.
        thread::sleep(Duration::from_millis(1500));
        to.ticks(1)?;
        (from, to) = (to, from);
    }
    let verdict = from.ask(&["verify", "ledger", "--execute"])?.pop().context("a verdict")?;
    ensure!(verdict["ok"] == true, "the journal does not verify: {verdict}");
    Ok(figures)
}
