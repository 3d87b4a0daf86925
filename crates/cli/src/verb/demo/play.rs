//! The acts: a rehearsal that measures, the kills, the end of the money, the last question.

use super::{
    AGENT_FILE, LEAST, NAME, PRICES_FILE, Told,
    aim::{Aim, Hit},
    audit::{Announced, amount},
    dice::Dice,
    stage::{Actor, Answer, Heard, Stage},
};
use crate::{
    failure::Failure,
    output::{Output, Tone},
    words,
};
use igor_protocol::Credits;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// A second of computing costs a credit, so that what the agent pays can be read.
const PRICE: &str = "1";
/// It ticks also when nothing comes in, so that there is always something to interrupt.
const INTERVAL: &str = "1ms";
/// About so long it takes from one tick to the next, with the disk.
const CYCLE: Duration = Duration::from_millis(3);
/// Prices a second: as fast as that, all of them take about twelve seconds.
const RATE: &str = "280";
const REHEARSAL_TICKS: u64 = 250;
/// What the agent has at first is enough for about so long.
const MONEY_FOR: Duration = Duration::from_secs(5);
const FUND: &str = "100";
/// The id of the last question.
pub(super) const QUESTION: &str = "how-did-it-go";
/// More kills than were asked for, until each kind was hit.
const MORE_KILLS: u32 = 20;
/// How often it is seen that somebody pressed Ctrl-C.
const SLICE: Duration = Duration::from_millis(100);
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Somebody pressed Ctrl-C: the play ends, and cleans up.
pub(super) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The stage and what is played on it.
pub(super) struct Play {
    out: Output,
    stage: Stage,
    /// The same with a log of its own.
    sender: Stage,
    agent: String,
    prices: String,
    dice: Dice,
    budget: Credits,
    /// How long a start takes until the agent is there.
    starts_in: Duration,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Run {
    announced: Vec<Announced>,
    /// The last tick that the journal had after the last kill.
    known: u64,
    hits: BTreeMap<Hit, u32>,
    ended: bool,
    stream: String,
    report: String,
}

impl Run {
    pub(super) fn announced(&self) -> &[Announced] {
        &self.announced
    }

    pub(super) fn kills(&self) -> u32 {
        self.hits.values().sum()
    }

    pub(super) fn kills_in_words(&self) -> String {
        let hits = Hit::ALL.iter().map(|hit| format!("{} {}", self.hits.get(hit).unwrap_or(&0), hit.name()));
        format!("{}: {}", self.kills(), hits.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    pub(super) fn report(&self) -> &str {
        &self.report
    }

    /// Takes what was printed into account.
    fn hear(&mut self, rows: &[Value]) {
        self.announced.extend(rows.iter().filter_map(Announced::of));
        self.ended |= rows.iter().any(|row| row["event"] == "ended");
    }

    fn last_tick(&self) -> u64 {
        self.announced.last().map_or(0, |told| told.tick)
    }
}

impl Play {
    /// A play on `stage`; program and prices are in `folder`.
    pub(super) fn new(out: Output, stage: Stage, folder: &Path, seed: u64) -> Self {
        let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
        Self {
            out,
            sender: stage.logging(&folder.join("sender.log"), "warn"),
            stage,
            agent: text(AGENT_FILE),
            prices: text(PRICES_FILE),
            dice: Dice::new(seed),
            budget: LEAST,
            starts_in: Duration::from_millis(50),
        }
    }

    pub(super) const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// A second of the same on another agent: what it costs, and how long a start takes.
    pub(super) fn rehearse(&mut self) -> Result<(), Failure> {
        let ticks = REHEARSAL_TICKS.to_string();
        let args =
            ["run", &self.agent, "--name", "rehearsal", "--price", PRICE, "--interval", INTERVAL, "--ticks", &ticks];
        let mut agent = self.stage.start(&args).map_err(Failure::failed)?;
        expect(&agent, "started", Instant::now() + PATIENCE)?;
        let begun = Instant::now();
        let sender = self.sender.start(&["send", "rehearsal", "--lines", &self.prices, "--rate", RATE]);
        let ended = agent.end().map_err(Failure::failed)?;
        let took = begun.elapsed();
        // The sender has nobody to send to any more.
        sender.map_err(Failure::failed)?.kill().map_err(Failure::failed)?;
        if !ended.0.success() {
            return Err(Failure::failed("the rehearsal failed"));
        }
        let shown = self.shown("rehearsal")?;
        let spent = amount(&shown["spent"]).map_err(Failure::failed)?;
        let share = MONEY_FOR.as_millis() * spent.units() / took.as_millis().max(1);
        self.budget = Credits::from_units(share).max(LEAST);

        let again = Instant::now();
        let mut agent = self.stage.start(&args[..args.len() - 2]).map_err(Failure::failed)?;
        expect(&agent, "started", Instant::now() + PATIENCE)?;
        self.starts_in = again.elapsed();
        agent.kill().map_err(Failure::failed)?;
        Ok(())
    }

    /// The kills, the end of the money on the way, and the last question.
    pub(super) fn perform(&mut self, kills: u32) -> Result<Run, Failure> {
        let mut run = Run::default();
        let budget = self.budget.to_string();
        self.out.words(format!(
            "it begins with {}, which a rehearsal says is enough for about half of the way",
            words::money(self.budget)
        ))?;
        let agent = self.agent.clone();
        let start = ["run", &agent, "--name", NAME, "--price", PRICE, "--budget", &budget, "--interval", INTERVAL];
        let again = [&start[..4], &start[8..]].concat();
        let mut actor = self.stage.start(&start).map_err(Failure::failed)?;
        let first = expect(&actor, "started", Instant::now() + PATIENCE)?;
        run.hear(&first);
        let prices = self.prices.clone();
        let send = ["send", NAME, "--lines", &prices, "--rate", RATE];
        let mut sender = self.sender.start(&send).map_err(Failure::failed)?;
        let mut started = true;
        loop {
            let enough = run.kills() >= kills && (Self::all_hit(&run) || run.kills() >= kills + MORE_KILLS);
            if enough && run.ended {
                break;
            }
            // Enough kills, but its money has not ended: it ticks until it does.
            let aim = if enough { None } else { Some(Aim::next(&mut self.dice, self.starts_in, CYCLE)) };
            let heard = Self::until(&actor, aim, &mut started, &mut run)?;
            let rows = if heard.is_some() { Vec::new() } else { actor.kill().map_err(Failure::failed)? };
            started |= rows.iter().any(|row| row["event"] == "started");
            run.hear(&rows);
            let ended_now = heard.is_some() || rows.iter().any(|row| row["event"] == "ended");
            if ended_now {
                self.revive(&mut actor, &run)?;
            } else {
                self.killed(started, &mut run)?;
            }
            if sender.ended().map_err(Failure::failed)?.is_some_and(|status| !status.success()) {
                // It met the agent when that had ended. The same command sends what is missing.
                sender = self.sender.start(&send).map_err(Failure::failed)?;
            }
            actor = self.stage.start(&again).map_err(Failure::failed)?;
            started = false;
        }
        let rows = expect(&actor, "started", Instant::now() + PATIENCE)?;
        run.hear(&rows);
        self.last_question(actor, sender, &mut run)?;
        Ok(run)
    }

    fn all_hit(run: &Run) -> bool {
        [Hit::Recovery, Hit::Commit, Hit::Tick].iter().all(|hit| run.hits.contains_key(hit))
    }

    /// Waits until the moment that is aimed at. Comes back earlier, with its exit code, if the process ends by itself.
    fn until(actor: &Actor, aim: Option<Aim>, started: &mut bool, run: &mut Run) -> Result<Option<()>, Failure> {
        let begun = Instant::now();
        let mut calm = None;
        let mut deadline = match aim {
            Some(Aim::Recovery(after)) => begun + after,
            _ => begun + PATIENCE,
        };
        loop {
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err(Failure::failed("interrupted"));
            }
            let slice = deadline.min(Instant::now() + SLICE);
            match actor.hear(slice) {
                Heard::End => return Ok(Some(())),
                Heard::Silence if slice < deadline => {}
                Heard::Silence if deadline == begun + PATIENCE => {
                    return Err(Failure::failed("the agent says nothing any more"));
                }
                Heard::Silence => return Ok(None),
                Heard::Row(row) => {
                    run.hear(std::slice::from_ref(&row));
                    *started |= row["event"] == "started";
                    let Some(Aim::Tick { calm: quiet, then }) = aim else { continue };
                    if row["event"] == "started" || calm.is_none() {
                        calm = Some(Instant::now() + quiet);
                    }
                    let now = Instant::now();
                    if row["event"] == "tick" && calm.is_some_and(|calm| now >= calm) && deadline == begun + PATIENCE {
                        deadline = now + then;
                    }
                }
            }
        }
    }

    fn killed(&self, started: bool, run: &mut Run) -> Result<(), Failure> {
        let shown = self.shown(NAME)?;
        let hit = Hit::classify(started, run.known.max(run.last_tick()), &shown);
        run.known = shown["tick"].as_u64().unwrap_or(0);
        *run.hits.entry(hit).or_default() += 1;
        let told = Told::Killed { kill: run.kills(), hit: hit.name(), tick: shown["tick"].as_u64().unwrap_or(0) };
        self.out.say(&told, || format!("kill {:>2}, at tick {:>5}, {}", run.kills(), shown["tick"], hit.words()))
    }

    /// Its money is spent: it ended by itself, gracefully. Its owner gives it more.
    fn revive(&self, actor: &mut Actor, run: &Run) -> Result<(), Failure> {
        let (status, _) = actor.end().map_err(Failure::failed)?;
        let shown = self.shown(NAME)?;
        if !run.ended || !status.success() || shown["status"] != "ended" {
            return Err(Failure::failed(format!("the agent stopped by itself, with {status}: {shown}")));
        }
        let strong = |text: &str| self.out.tone(Tone::Strong, text);
        let tick = shown["tick"].as_u64().unwrap_or(0);
        self.out.say(&Told::Exhausted { tick }, || {
            let words = "its money is spent. It wrote down its state and ended by itself: nobody computes for nothing";
            strong(&format!("tick {tick}: {words}"))
        })?;
        let funded = self.stage.ask(&["fund", NAME, FUND]).and_then(Answer::last).map_err(Failure::failed)?;
        let total = funded["funded"].as_str().unwrap_or_default().to_owned();
        self.out.say(&Told::Funded { funded: total }, || {
            strong(&format!("           its owner gives it {FUND} credits (igor fund {NAME} {FUND}), and it lives again, where it was"))
        })
    }

    /// All prices are in; the agent says what became of them, and is stopped.
    fn last_question(&self, mut actor: Actor, mut sender: Actor, run: &mut Run) -> Result<(), Failure> {
        let failed = |why: String| Failure::failed(why);
        self.out.words(format!(
            "enough: {}. The remaining prices come in, and then it is asked what it has",
            words::count(u64::from(run.kills()), "kill")
        ))?;
        let (mut status, mut rows) = sender.end().map_err(failed)?;
        if !status.success() {
            let mut again = self.sender.start(&["send", NAME, "--lines", &self.prices]).map_err(failed)?;
            (status, rows) = again.end().map_err(failed)?;
        }
        let sent =
            rows.last().filter(|_| status.success()).ok_or_else(|| Failure::failed("the prices could not be sent"))?;
        sent["stream"].as_str().unwrap_or_default().clone_into(&mut run.stream);
        let answer =
            self.stage.ask(&["call", NAME, "report", "--id", QUESTION]).and_then(Answer::last).map_err(failed)?;
        answer["reply"].as_str().unwrap_or_default().clone_into(&mut run.report);
        actor.interrupt().map_err(failed)?;
        let (status, rows) = actor.end().map_err(failed)?;
        run.hear(&rows);
        if status.success() {
            Ok(())
        } else {
            Err(Failure::failed(format!("the agent did not stop cleanly: {status}")))
        }
    }

    fn shown(&self, name: &str) -> Result<Value, Failure> {
        self.stage.ask(&["show", name]).and_then(Answer::last).map_err(Failure::failed)
    }
}

/// What a process prints up to an event.
fn expect(actor: &Actor, event: &str, deadline: Instant) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    loop {
        match actor.hear(deadline) {
            Heard::Row(row) => {
                let there = row["event"] == event;
                rows.push(row);
                if there {
                    return Ok(rows);
                }
            }
            Heard::Silence => return Err(Failure::failed(format!("no `{event}` within {} s", PATIENCE.as_secs()))),
            Heard::End => return Err(Failure::failed(format!("the agent ended before it said `{event}`"))),
        }
    }
}
