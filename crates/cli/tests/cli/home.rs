//! A home of its own for each test, and agents to put in it.

use crate::stage::{Actor, Answer, Heard, Stage};
use igor_bucket_testing::{BUCKET, ENVIRONMENT, Weed};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const STRATEGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/strategy/strategy.wasm");
pub(crate) const PRICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/strategy/prices/msft-daily.csv");
pub(crate) const IGOR: &str = env!("CARGO_BIN_EXE_igor");
const PATIENCE: Duration = Duration::from_mins(1);

/// A home, and a folder for files beside it.
pub(crate) struct Home {
    folder: TempDir,
    stage: Stage,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let stage = Stage::new(Path::new(IGOR), &folder.path().join("home"), &folder.path().join("log"));
        Self { folder, stage }
    }

    /// One whose journals are in a bucket.
    pub(crate) fn in_bucket(weed: &Weed) -> Self {
        Self::in_bucket_at(&weed.endpoint())
    }

    /// As [`Home::in_bucket`], at such an address.
    pub(crate) fn in_bucket_at(endpoint: &str) -> Self {
        let mut home = Self::new();
        home.stage = home.stage.with(&ENVIRONMENT);
        home.get(&["key", "--create"]);
        home.configure(&format!("[store]\nurl = \"s3://{BUCKET}\"\nendpoint = \"{endpoint}\"\n"));
        home
    }

    /// Says more in `node.toml`.
    pub(crate) fn configure(&self, more: &str) {
        let path = self.path().join("node.toml");
        let said = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, said + more).expect("a file can be written");
    }

    /// Its node's key.
    pub(crate) fn key(&self) -> String {
        let rows = self.ask(&["key"]).rows;
        let row = rows.iter().find(|row| row["role"] == "node").expect("the node's key");
        row["key"].as_str().expect("a key").to_owned()
    }

    /// The home directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A file beside the home.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.beside(name);
        fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// The path of a file beside the home.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// A module beside the home.
    pub(crate) fn wat(&self, name: &str, text: &str) -> String {
        self.file(name, wat::parse_str(text).expect("the test's module is well-formed"))
    }

    /// Runs a command with `--json`.
    pub(crate) fn ask(&self, args: &[&str]) -> Answer {
        self.stage.ask(args).expect("igor runs")
    }

    /// Runs a command that must succeed. Gives its last row.
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        self.ask(args).last().unwrap_or_else(|why| panic!("igor {args:?}: {why}"))
    }

    /// Runs a command that must exit with this code and say these words on stderr.
    pub(crate) fn fails(&self, args: &[&str], code: i32, words: &[&str]) -> Answer {
        let answer = self.ask(args);
        assert_eq!(answer.code, Some(code), "igor {args:?} said {}", answer.said);
        for word in words {
            assert!(answer.said.contains(word), "igor {args:?} does not say {word:?}: {}", answer.said);
        }
        answer
    }

    /// Runs a command as people do, without `--json`.
    pub(crate) fn plain(&self, args: &[&str]) -> Output {
        let mut command = Command::new(IGOR);
        command.args(args).arg("--home").arg(self.path()).env_remove("IGOR_NODE").env_remove("IGOR_HOME");
        command.output().expect("igor runs")
    }

    /// Starts a command that goes on, with `--json`.
    pub(crate) fn start(&self, args: &[&str]) -> Actor {
        self.stage.start(args).expect("igor starts")
    }

    /// Starts an agent, and waits until it is there.
    pub(crate) fn run(&self, args: &[&str]) -> Actor {
        let actor = self.start(&[&["run"], args].concat());
        await_event(&actor, "started");
        actor
    }

    /// Starts a node here that takes agents of another one, which connects to it from its next start on.
    pub(crate) fn takes_from(&self, other: &Self) -> Actor {
        let listen = "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n";
        self.configure(&format!("[policy]\nnodes = [\"{}\"]\n{listen}", other.key()));
        let node = self.start(&["node", "start"]);
        let address = await_event(&node, "started").pop().map(|row| row["network"][0].clone()).expect("a row");
        other.configure(&format!("{listen}peers = [{address}]\n"));
        node
    }

    /// The strategy under the name `s`, after so many ticks.
    pub(crate) fn with_strategy(ticks: u32) -> Self {
        let home = Self::new();
        home.get(&["run", STRATEGY, "--name", "s", "--interval", "1ms", "--ticks", &ticks.to_string()]);
        home
    }
}

/// The rows that a process prints, up to an event.
pub(crate) fn await_event(actor: &Actor, event: &str) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    let mut rows = Vec::new();
    loop {
        match actor.hear(deadline) {
            Heard::Row(row) => {
                let there = row["event"] == event;
                rows.push(row);
                if there {
                    return rows;
                }
            }
            other => panic!("no `{event}`, but {other:?} after {rows:?}"),
        }
    }
}

/// The rows of an event.
pub(crate) fn of<'a>(rows: &'a [Value], event: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["event"] == event).collect()
}

/// A row has these fields.
pub(crate) fn has(row: &Value, fields: &[&str]) {
    let missing: Vec<_> = fields.iter().filter(|field| row.get(field).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} not in {row}");
}
