//! Kills `igor run` under load, at random instants, and then looks for anything lost, repeated or miscounted.
//!
//! `IGOR_KILLS` says how often (40 by default; `scripts/kill-test` makes it 1,000), `IGOR_SEED` when. The agent is
//! the strategy. Two senders go on through all kills: one sends numbered lines, one asks questions with ids of its
//! own; both retry until they are answered. Each kill is classified from the journal that it left and from the log of
//! the killed process. A full run (1,000 or more) fails if a class was never hit.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

// The demo looks at processes and journals from outside in the same way. Not all that it needs is needed here.
#[allow(dead_code)]
#[path = "../src/verb/demo/audit.rs"]
mod audit;
#[path = "../src/verb/demo/dice.rs"]
mod dice;
#[path = "kills/place.rs"]
mod place;
#[path = "kills/report.rs"]
mod report;
#[path = "kills/section.rs"]
mod section;
#[allow(dead_code)]
#[path = "../src/verb/demo/stage.rs"]
mod stage;

use audit::{Announced, Journal, amount};
use dice::Dice;
use place::{Place, Places, Syncs};
use report::Report;
use stage::{Actor, Answer, Heard, Stage};

const NAME: &str = "strategy";
const FULL_RUN: u32 = 1000;
/// Lines a second, and lines for each kill, so that the load lasts to the end.
const RATE: &str = "150";
const LINES_PER_KILL: u32 = 45;
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (kills, seed) = (number("IGOR_KILLS", 40), u64::from(number("IGOR_SEED", 1)));
    println!("{kills} kills with seed {seed}");
    let begun = Instant::now();
    let folder = tempfile::tempdir().expect("a temporary directory");
    match Trial::new(folder.path(), kills, seed).perform() {
        Ok(report) => {
            let words = report.in_words(seed, begun.elapsed());
            println!("{words}");
            if let Ok(path) = std::env::var("IGOR_KILLS_REPORT") {
                let text = fs::read_to_string(&path).expect("the report can be read");
                fs::write(path, section::replace(&text, report::KILLS, &words)).expect("the report can be written");
            }
        }
        Err(why) => panic!("seed {seed}: {why}; what the processes said is kept in {}", folder.keep().display()),
    }
}

/// The processes and what they said.
struct Trial {
    stage: Stage,
    sender: Stage,
    log: PathBuf,
    lines: String,
    kills: u32,
    dice: Dice,
    announced: Vec<Announced>,
    /// The last tick that the journal had after the last kill.
    known: u64,
    /// The process that runs now has said that it is there.
    started: bool,
    places: Places,
}

impl Trial {
    fn new(folder: &Path, kills: u32, seed: u64) -> Self {
        let igor = Path::new(env!("CARGO_BIN_EXE_igor"));
        let log = folder.join("run.log");
        let lines = folder.join("lines.csv");
        fs::write(&lines, load(kills)).expect("lines can be written");
        let stage = Stage::new(igor, &folder.join("home"), &folder.join("sender.log"));
        Self {
            stage: stage.logging(&log, "warn,igor_store=trace"),
            sender: stage,
            log,
            lines: lines.to_string_lossy().into_owned(),
            kills,
            dice: Dice::new(seed),
            announced: Vec::new(),
            known: 0,
            started: false,
            places: Places::default(),
        }
    }

    fn perform(mut self) -> Result<Report, String> {
        let mut actor = self.start()?;
        // The first start makes the agent that the senders send to.
        self.wait_for_start(&actor)?;
        let lines = self.lines.clone();
        let sent = self.sender.start(&["send", NAME, "--lines", &lines, "--rate", RATE])?;
        let stop = Arc::new(AtomicBool::new(false));
        let asking = {
            let (stage, stop) = (self.sender.clone(), stop.clone());
            thread::spawn(move || ask(&stage, &stop))
        };
        let mut killed = Ok(());
        for _ in 0..self.kills {
            match self.kill(actor) {
                Ok(next) => actor = next,
                Err(why) => {
                    killed = Err(why);
                    actor = self.start()?;
                    break;
                }
            }
        }
        self.wait_for_start(&actor)?;
        stop.store(true, Ordering::Relaxed);
        let questions = asking.join().map_err(|_| "a question was not answered")??;
        killed?;
        let stream = finish(sent)?;
        actor.interrupt()?;
        let (status, rows) = actor.end()?;
        self.hear(&rows);
        if !status.success() {
            return Err(format!("a clean stop ended with {status}"));
        }
        self.audit(&stream, questions)
    }

    fn start(&mut self) -> Result<Actor, String> {
        self.started = false;
        drop(fs::remove_file(&self.log));
        let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/strategy/strategy.wasm");
        self.stage.start(&["run", agent, "--name", NAME, "--interval", "2ms", "--checkpoint-interval", "40ms"])
    }

    fn wait_for_start(&mut self, actor: &Actor) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.started {
            match actor.hear(deadline) {
                Heard::Row(row) => self.hear(&[row]),
                other => return Err(format!("the agent did not start: {other:?}: {}", self.said())),
            }
        }
        Ok(())
    }

    /// Kills a process at some instant, says what that hit, and starts it again.
    fn kill(&mut self, mut actor: Actor) -> Result<Actor, String> {
        let (soon, after) = match self.dice.below(10) {
            0 | 1 => (true, self.dice.micros(60_000)),
            // The mover works right after a start.
            2 | 3 => (false, self.dice.micros(25_000)),
            _ => (false, self.dice.micros(300_000)),
        };
        if !soon {
            self.wait_for_start(&actor)?;
        }
        let deadline = Instant::now() + after;
        loop {
            match actor.hear(deadline) {
                Heard::Silence => break,
                Heard::Row(row) => self.hear(&[row]),
                Heard::End => return Err(format!("the agent ended by itself: {}", self.said())),
            }
        }
        let rows = actor.kill()?;
        self.hear(&rows);
        self.classify()?;
        self.start()
    }

    fn hear(&mut self, rows: &[Value]) {
        self.started |= rows.iter().any(|row| row["event"] == "started");
        self.announced.extend(rows.iter().filter_map(Announced::of));
    }

    /// What the killed process said, but for its syncs.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().lines().filter(|line| !line.contains("TRACE")).collect()
    }

    fn classify(&mut self) -> Result<(), String> {
        let shown = self.sender.ask(&["show", NAME])?.last()?;
        let tick = shown["tick"].as_u64().ok_or("no tick")?;
        let known = self.announced.last().map_or(0, |told| told.tick).max(self.known);
        if tick < known {
            return Err(format!("the journal had tick {known}, and after a kill its last one is {tick}"));
        }
        self.known = tick;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let open = shown["open_messages"].as_u64().is_some_and(|open| open > 0);
        self.places.count(self.started, tick > known, open, &Syncs::read(&log));
        Ok(())
    }

    fn audit(self, stream: &str, questions: u64) -> Result<Report, String> {
        let lines = u64::try_from(load(self.kills).lines().count()).unwrap_or(u64::MAX);
        let shown = self.sender.ask(&["show", NAME])?.last()?;
        let journal = Journal::read(&self.sender, NAME)?;
        journal.announced_are_there(&self.announced)?;
        journal.stream_once(stream, lines)?;
        let questions = journal.ids_once((0..questions).map(question))?;
        let money = journal.money(amount(&shown["balance"])?)?;
        let verdict = self.sender.ask(&["verify", NAME, "--execute"])?.last()?;
        if verdict["ok"] != true || verdict["runs"] != verdict["executed"] {
            return Err(format!("the life does not re-execute: {verdict}"));
        }
        let missed: Vec<Place> = self.places.missed().collect();
        if self.kills >= FULL_RUN && !missed.is_empty() {
            return Err(format!("no kill hit {missed:?}"));
        }
        Ok(Report {
            kills: self.kills,
            announced: self.announced.len(),
            ticks: journal.ticks(),
            entries: journal.entries(),
            lines,
            questions,
            money,
            executed: verdict["executed"].as_u64().unwrap_or_default(),
            places: self.places,
        })
    }
}

/// Waits until all lines are committed. Gives the name of their stream.
fn finish(mut sent: Actor) -> Result<String, String> {
    let (status, rows) = sent.end_within(PATIENCE * 10)?;
    match rows.last().and_then(|row| row["stream"].as_str()) {
        Some(stream) if status.success() => Ok(stream.to_owned()),
        _ => Err(format!("sending the lines ended with {status}")),
    }
}

/// Real prices, over and over.
fn load(kills: u32) -> String {
    let prices = include_str!("../../../agents/strategy/prices/msft-daily.csv");
    let wanted = usize::try_from((kills * LINES_PER_KILL).max(100)).unwrap_or(usize::MAX);
    prices.lines().cycle().take(wanted).fold(String::new(), |text, line| text + line + "\n")
}

fn question(n: u64) -> String {
    format!("question-{n}")
}

/// Asks again and again, each question until it is answered. What the agent has seen never becomes less.
fn ask(stage: &Stage, stop: &AtomicBool) -> Result<u64, String> {
    let (mut n, mut seen) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let answer =
            stage.ask(&["call", NAME, "report", "--id", &question(n), "--timeout", "60s"]).and_then(Answer::last)?;
        let reply = answer["reply"].as_str().unwrap_or_default();
        let reply: Value = serde_json::from_str(reply).map_err(|e| e.to_string())?;
        let prices = reply["prices"].as_u64().ok_or("a reply without prices")?;
        if prices < seen {
            return Err(format!("the agent had seen {seen} prices, and now {prices}"));
        }
        (n, seen) = (n + 1, prices);
        thread::sleep(Duration::from_millis(30));
    }
    Ok(n)
}
