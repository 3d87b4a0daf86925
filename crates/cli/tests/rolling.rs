//! Restarts three nodes one after the other while their agents tick and are sent messages.
//!
//! `IGOR_ROLLING_AGENTS` says how many agents (12 by default; `scripts/rolling-restart` makes it 50). Each node in turn
//! is told to stop, hands its agents on, and is started again. Everything that the nodes ever showed of an agent must be
//! in its last journal; every message is there once and was processed once; every journal is executed again.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

// The demo looks at processes and journals from outside in the same way. Not all that it needs is needed here.
#[allow(dead_code)]
#[path = "../src/verb/demo/audit.rs"]
mod audit;
mod cluster;
#[path = "kills/section.rs"]
mod section;
#[allow(dead_code)]
#[path = "../src/verb/demo/stage.rs"]
mod stage;

use audit::Journal;
use cluster::{Cluster, PATIENCE};
use stage::{Answer, Stage};

const STRATEGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/strategy/strategy.wasm");
const NODES: usize = 3;

/// What was seen of an agent.
#[derive(Default)]
struct Sight {
    /// Its last tick.
    tick: u64,
    /// Heads by position.
    heads: BTreeMap<u64, String>,
}

/// By the agent's name.
type Seen = Arc<Mutex<BTreeMap<String, Sight>>>;
/// The ids of messages that were answered, by the name of their agent.
type Sent = BTreeMap<String, Vec<String>>;

#[test]
fn nodes_are_restarted_one_by_one_and_no_tick_is_lost() {
    let agents = std::env::var("IGOR_ROLLING_AGENTS").map_or(12, |text| text.parse().expect("a number"));
    let mut cluster = Cluster::start(&["0.001"; NODES]);
    let names: Vec<String> = (0..agents).map(|n| format!("a{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let node = &cluster.0[n % NODES];
        node.get(&["deploy", STRATEGY, "--name", name, "--budget", "1", "--interval", "250ms"]);
    }
    let stages: Vec<Stage> = cluster.0.iter().map(|member| member.stage.clone()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Seen::default();
    let watching: Vec<_> = stages.iter().map(|stage| watch(stage.clone(), stop.clone(), seen.clone())).collect();
    let sending = send(stages, names.clone(), stop.clone());

    let mut moved = 0;
    for index in 0..NODES {
        let begun = Instant::now();
        let here = cluster.0[index].rows(&["ps"]);
        let living = here.iter().filter(|row| row["status"] != "archived").count() as u64;
        let drained = cluster.0[index].stop().expect("it drained");
        assert_eq!((&drained["moved"], &drained["staying"]), (&living.into(), &Value::Array(vec![])), "{drained}");
        let left = begun.elapsed();
        cluster.0[index].start();
        cluster.meet(index);
        println!(
            "node {index}: {living} agents left in {} ms, back after {} ms",
            left.as_millis(),
            begun.elapsed().as_millis()
        );
        moved += living;
    }
    let hosts: Vec<usize> = names.iter().map(|name| cluster.host_of(name)).collect();
    for (name, host) in names.iter().zip(&hosts) {
        let tick = cluster.0[*host].get(&["show", name])["tick"].as_u64();
        cluster.0[*host].until(name, "it ticks on", |row| row["tick"].as_u64() > tick.map(|tick| tick + 2));
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sending.join().expect("the sender ends well");
    for watcher in watching {
        watcher.join().expect("a watcher ends well");
    }

    let (mut pauses, mut ticks, mut heads, mut messages) = (Vec::new(), 0, 0, 0);
    for (name, host) in names.iter().zip(&hosts) {
        let stage = &cluster.0[*host].stage;
        let rows = cluster.0[*host].rows(&["timeline", name]);
        let by_seq: BTreeMap<u64, &Value> = rows.iter().filter_map(|row| Some((row["seq"].as_u64()?, row))).collect();
        let shown = seen.lock().unwrap_or_else(PoisonError::into_inner).remove(name).unwrap_or_default();
        for (seq, head) in &shown.heads {
            assert_eq!(
                by_seq.get(seq).map(|row| &row["head"]),
                Some(&Value::from(head.as_str())),
                "{name}: entry {seq}"
            );
        }
        let journal = Journal::read(stage, name).expect("a journal");
        journal.announced_are_there(&[]).expect("ticks are numbered one by one");
        let answered = sent.get(name).cloned().unwrap_or_default();
        messages += journal.ids_once(answered.into_iter()).unwrap_or_else(|why| panic!("{name}: {why}"));
        let verdict = cluster.0[*host].get(&["verify", name, "--execute"]);
        assert_eq!((&verdict["ok"], &verdict["runs"]), (&true.into(), &verdict["executed"]), "{name}: {verdict}");
        pauses.extend(pauses_in(&rows));
        assert!(journal.ticks() as u64 >= shown.tick, "{name}: tick {} was shown and is lost", shown.tick);
        (ticks, heads) = (ticks + journal.ticks(), heads + shown.heads.len());
    }
    assert_eq!(pauses.len() as u64, moved, "each move has a pause");
    pauses.sort_unstable();
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let build = if cfg!(debug_assertions) { "a debug build" } else { "a release build" };
    let words = format!(
        "`scripts/rolling-restart` restarts {NODES} nodes one after the other by SIGTERM, with {agents} agents on them that
tick every 250 ms and answer messages. Each node hands its agents on, and is started again. What any node ever showed of
an agent is compared with its last journal, which is executed again. This is what its last full run saw ({build},
{processors} processors, which nodes, agents and questions shared).

| what | seen |
| --- | --- |
| moves, of these refused or left behind | {moved}, 0 |
| ticks, of these lost | {ticks}, 0 |
| states of agents that were shown, of these not in the journals | {heads}, 0 |
| messages answered, of these lost, processed twice | {messages}, 0, 0 |
| from a handoff to the first tick after it | {} ms (median), {} ms (longest) |
",
        median.as_millis(),
        longest.as_millis()
    );
    println!("{words}");
    if let Ok(path) = std::env::var("IGOR_REPORT") {
        let text = fs::read_to_string(&path).expect("the report can be read");
        fs::write(path, section::replace(&text, "## A rolling restart", &words)).expect("the report can be written");
    }
}

/// Keeps what a node shows of the agents that it runs.
fn watch(stage: Stage, stop: Arc<AtomicBool>, seen: Seen) -> JoinHandle<()> {
    thread::spawn(move || {
        for round in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let mut rows = stage.ask(&["ps"]).map(|answer| answer.rows).unwrap_or_default();
            rows.retain(|row| row["status"] != "archived");
            // All of them by their ticks, and one after the other by its head.
            let one = rows.get(round % rows.len().max(1)).and_then(|row| row["name"].as_str()).map(str::to_owned);
            let shown = one.and_then(|name| stage.ask(&["show", &name]).and_then(Answer::last).ok());
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for row in &rows {
                if let (Some(name), Some(tick)) = (row["name"].as_str(), row["tick"].as_u64()) {
                    let sight = seen.entry(name.to_owned()).or_default();
                    sight.tick = sight.tick.max(tick);
                }
            }
            if let Some(row) = shown.filter(|row| row["status"] != "archived")
                && let (Some(name), Some(seq), Some(head)) =
                    (row["name"].as_str(), row["seq"].as_u64(), row["head"].as_str())
            {
                seen.entry(name.to_owned()).or_default().heads.insert(seq, head.to_owned());
            }
            drop(seen);
            thread::sleep(Duration::from_millis(200));
        }
    })
}

/// Asks one agent after the other, each question at every node until one answers. Gives the ids that were answered.
fn send(stages: Vec<Stage>, names: Vec<String>, stop: Arc<AtomicBool>) -> JoinHandle<Sent> {
    thread::spawn(move || {
        let mut sent = Sent::new();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (name, id) = (&names[n % names.len()], format!("question-{n}"));
            let deadline = Instant::now() + PATIENCE;
            // Where it was last goes first; the same id is the same message wherever it comes in.
            while !stages.iter().any(|stage| is_answered(stage, name, &id)) {
                assert!(Instant::now() < deadline, "{name} does not answer {id}");
            }
            sent.entry(name.clone()).or_default().push(id);
        }
        sent
    })
}

fn is_answered(stage: &Stage, name: &str, id: &str) -> bool {
    let answer = stage.ask(&["call", name, "report", "--id", id, "--timeout", "5s"]).and_then(Answer::last);
    answer.is_ok_and(|row| row["reply"].is_string())
}

/// The time from each handoff that was accepted to the first run after it.
fn pauses_in(rows: &[Value]) -> Vec<Duration> {
    let at = |row: &Value| OffsetDateTime::parse(row["at"].as_str().expect("a time"), &Rfc3339).expect("a time");
    let mut given = None;
    let mut pauses = Vec::new();
    for row in rows {
        match (row["kind"].as_str(), row["phase"].as_str()) {
            (Some("custody"), Some("handoff")) => given = Some(at(row)),
            (Some("custody"), Some("return")) => given = None,
            (Some("run"), _) if row["call"] == "tick" => {
                pauses.extend(given.take().map(|given| (at(row) - given).unsigned_abs()));
            }
            _ => {}
        }
    }
    pauses
}
