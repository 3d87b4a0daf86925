//! The acts: the program lives at A, ends for want of money, moves to B, to C over a wire that is cut, back to A, and
//! is given away by a node that is killed meanwhile. Its nodes are killed all along.
//!
//! Invariants kept here:
//! - What a node tells is kept as it was told, whatever becomes of the node.
//! - Where the agent is, is asked, not known: after each accident the story goes on from what the nodes say.

mod acts;

use super::{
    AGENT_FILE, BUDGET, Broken, MANIFEST, MANIFEST_FILE, NAME, PRICES_FILE, Told,
    aim::{Aim, Hit},
    dice::Dice,
    feeder::{Feed, Feeder, Place},
    host::{Host, PATIENCE, Peer, Price, key},
    rogue::{Refused, Rogue},
    screen::{Doing, Whereabouts},
    stage::{Answer, Heard, Stage},
    tale::{SLICE, Tale},
    watcher::News,
    wire::Wire,
};
use crate::output::Output;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The nodes, by their place in what follows.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;
pub(super) const C: usize = 2;
/// What they ask: A for work done, B for time, C for both.
const PRICES_ASKED: [(&str, Price); 3] = [
    ("A", Price { per_second: "0.000000001", per_fuel: "0.000001" }),
    ("B", Price { per_second: "1", per_fuel: "0" }),
    ("C", Price { per_second: "0.5", per_fuel: "0.0000001" }),
];
/// About so long it takes from one tick to the next, with the disk.
const CYCLE: Duration = Duration::from_millis(3);
/// Prices a second, while the nodes are being killed.
const RATE: &str = "120";
const FUND: &str = "1000";
/// After a kill: as long as this, what the node had still told may be on its way.
const ECHO: Duration = Duration::from_millis(20);

/// The stage and who is on it.
pub(super) struct Play {
    pub(super) tale: Tale,
    pub(super) hosts: [Host; 3],
    /// Where the owner's key is: at none of the nodes.
    owner: Stage,
    owner_key: String,
    /// From B to C: what the agent goes over.
    wire: Wire,
    folder: PathBuf,
    igor: PathBuf,
    dice: Dice,
    feeder: Option<Feeder>,
    /// A's home as it was early on.
    rogue: Option<Rogue>,
    run: Run,
    /// How long a start takes until the agent lives.
    starts_in: Duration,
    /// The process that runs now was started and has not said that its agents live.
    recovering: bool,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The last tick that the journal had after the last kill.
    known: u64,
    pub(super) hits: BTreeMap<Hit, u32>,
    ended: bool,
    funded: bool,
    /// Bytes that the last move took.
    bytes: u64,
    pub(super) cut: String,
    pub(super) giving: String,
    pub(super) stream: String,
    pub(super) report: String,
    pub(super) refused: Option<Refused>,
}

impl Run {
    pub(super) fn kills(&self) -> u32 {
        self.hits.values().sum()
    }

    pub(super) fn kills_in_words(&self) -> String {
        let hits = Hit::ALL.iter().map(|hit| format!("{} {}", self.hits.get(hit).unwrap_or(&0), hit.name()));
        format!("{}: {}", self.kills(), hits.collect::<Vec<_>>().join(", "))
    }
}

impl Play {
    /// Three nodes that know each other, each with a home in `folder`, and an owner with one more.
    pub(super) fn new(out: Output, igor: &Path, folder: &Path, seed: u64) -> Result<Self, String> {
        let owner = Stage::new(igor, &folder.join("owner"), &folder.join("owner.log"));
        let owner_key = key(&owner.ask(&["key", "--create"])?, "owner")?;
        let host = |node: usize| Host::new(igor, folder, PRICES_ASKED[node].0, PRICES_ASKED[node].1);
        let mut hosts = [host(A)?, host(B)?, host(C)?];
        let wire = Wire::to(hosts[C].port, true)?;
        for (node, peers) in [
            // B listens nowhere, so that nobody comes to it but over what it has dialled itself. Each takes the agent
            // from the one that will have it before.
            (A, [(B, None, false), (C, Some(hosts[C].port), true)]),
            (B, [(A, Some(hosts[A].port), true), (C, Some(wire.port), false)]),
            (C, [(A, Some(hosts[A].port), false), (B, None, true)]),
        ] {
            let peers = peers.map(|(peer, port, sends)| Peer { key: &hosts[peer].key, port, sends });
            hosts[node].configure(&owner_key, node != B, &peers, "")?;
        }
        hosts.iter_mut().try_for_each(Host::start)?;
        for host in &hosts {
            host.expect("started")?;
        }
        Ok(Self {
            tale: Tale::new(out, PRICES_ASKED.map(|(letter, _)| letter), "kills"),
            hosts,
            owner,
            owner_key,
            wire,
            folder: folder.to_owned(),
            igor: igor.to_owned(),
            dice: Dice::new(seed),
            feeder: None,
            rogue: None,
            run: Run::default(),
            starts_in: Duration::from_millis(200),
            recovering: false,
        })
    }

    pub(super) const fn run(&self) -> &Run {
        &self.run
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// The owner deploys the agent at A, and somebody begins to send it prices.
    fn deploy(&mut self) -> Result<(), Broken> {
        fs::write(self.folder.join(MANIFEST_FILE), MANIFEST).map_err(|e| e.to_string())?;
        let (agent, manifest) = (self.file(AGENT_FILE), self.file(MANIFEST_FILE));
        let args = ["deploy", &agent, "--name", NAME, "--budget", BUDGET, "--manifest", &manifest];
        self.owner.at(&self.hosts[A].socket()?).ask(&args).and_then(Answer::last)?;
        self.lives_at(A)?;
        let place = |host: &Host| Ok::<_, String>(Place { key: host.key.clone(), socket: host.socket()? });
        let places = self.hosts.iter().map(place).collect::<Result<_, _>>()?;
        // A log of its own, since others talk as well.
        let sender = self.owner.logging(&self.folder.join("sender.log"), "warn");
        let lines = self.file(PRICES_FILE);
        self.feeder = Some(Feeder::begin(Feed { sender, places, lines, rate: RATE }));
        Ok(())
    }

    /// From now on the agent is read along with there.
    fn lives_at(&mut self, node: usize) -> Result<(), String> {
        self.tale.lives_at(node, &self.hosts[node])
    }

    /// The next thing that a node tells of the agent, or nothing by then.
    fn hear(&mut self, deadline: Instant) -> Result<Option<News>, Broken> {
        let news = self.tale.hear(deadline)?;
        self.run.ended |= matches!(news, Some(News::Ended));
        Ok(news)
    }

    /// Hears what a node had told before it was killed.
    fn hear_out(&mut self) -> Result<(), Broken> {
        while self.hear(Instant::now() + ECHO)?.is_some() {}
        Ok(())
    }

    /// So many kills of the node that has the agent, and more, within reason, until one of each of these was hit there.
    fn kills(&mut self, node: usize, kills: u32, wanted: &[Hit], more: u32) -> Result<(), Broken> {
        let mut hits = Vec::new();
        while hits.len() < kills as usize
            || (wanted.iter().any(|hit| !hits.contains(hit)) && hits.len() < (kills + more) as usize)
        {
            hits.push(self.kill_somewhen(node)?);
            if node == A && self.rogue.is_none() {
                // Nothing runs there now: what is copied is what somebody has who takes the disk.
                let rogue = Rogue::of(&self.hosts[A], &self.owner_key, &self.hosts[C], &self.igor, &self.folder)?;
                self.rogue = Some(rogue);
            }
            self.start(node)?;
        }
        self.recovered(node)
    }

    /// Starts a node again.
    fn start(&mut self, node: usize) -> Result<(), Broken> {
        self.hosts[node].start()?;
        self.tale.screen.picture.nodes[node].1 = Doing::Starts;
        self.recovering = true;
        Ok(())
    }

    /// Waits until a node that was started carries its agents.
    fn recovered(&mut self, node: usize) -> Result<(), Broken> {
        let deadline = Instant::now() + PATIENCE;
        while self.recovering {
            self.listen(node)?;
            self.hear(Instant::now() + Duration::from_millis(5))?;
            if Instant::now() >= deadline {
                return Err(format!("node {} does not start", self.hosts[node].letter).into());
            }
        }
        Ok(())
    }

    /// Takes into account what the process of a node has said.
    fn listen(&mut self, node: usize) -> Result<(), Broken> {
        while self.recovering {
            match self.hosts[node].hear(Instant::now()) {
                Heard::Row(row) if row["event"] == "carried" => {
                    self.recovering = false;
                    self.tale.screen.picture.nodes[node].1 = Doing::Runs;
                    if let Some(feeder) = &self.feeder {
                        feeder.again();
                    }
                }
                Heard::Row(_) => {}
                Heard::Silence => break,
                Heard::End => return Err(format!("node {} ended by itself", self.hosts[node].letter).into()),
            }
        }
        Ok(())
    }

    /// Kills the node that has the agent at some instant, and says what that hit.
    fn kill_somewhen(&mut self, node: usize) -> Result<Hit, Broken> {
        let begun = Instant::now();
        let aim = Aim::next(&mut self.dice, self.starts_in, CYCLE);
        if let Aim::Recovery(after) = aim
            && self.recovering
        {
            while begun.elapsed() < after {
                self.listen(node)?;
                self.hear(begun + after)?;
            }
        } else {
            let waited = self.recovering;
            self.recovered(node)?;
            if waited {
                self.starts_in = begun.elapsed();
            }
            self.aim(aim, node)?;
        }
        let rows = self.hosts[node].kill()?;
        self.tale.screen.picture.nodes[node].1 = Doing::Killed;
        self.hear_out()?;
        let lives = !self.recovering || rows.iter().any(|row| row["event"] == "carried");
        let shown = self.hosts[node].shown()?;
        let hit = Hit::classify(lives, self.run.known.max(self.tale.last_tick()), &shown);
        self.hit(node, hit, &shown)?;
        Ok(hit)
    }

    fn hit(&mut self, node: usize, hit: Hit, shown: &Value) -> Result<(), Broken> {
        let tick = shown["tick"].as_u64().unwrap_or(0);
        self.run.known = tick;
        *self.run.hits.entry(hit).or_default() += 1;
        let kill = self.run.kills();
        self.tale.screen.picture.blows = kill;
        let letter = self.hosts[node].letter;
        let told = Told::Killed { kill, node: letter, hit: hit.name(), tick };
        Ok(self
            .tale
            .screen
            .tell(&told, || format!("kill {kill:>2}, node {letter}, tick {tick:>5}: {}", hit.words()))?)
    }

    /// Comes back at the moment that is aimed at.
    fn aim(&mut self, aim: Aim, node: usize) -> Result<(), Broken> {
        let (calm, then) = match aim {
            Aim::Message { calm, then } | Aim::Tick { calm, then } => (calm, then),
            Aim::Recovery(then) => (Duration::ZERO, then),
        };
        let begun = Instant::now();
        let mut since = begun;
        loop {
            let news = self.hear(Instant::now() + SLICE)?;
            if self.run.ended && !self.run.funded {
                self.revive(node)?;
                since = Instant::now();
                continue;
            }
            let due = match (aim, &news) {
                // Where no message comes any more, a tick does as well.
                (Aim::Message { .. }, Some(News::Tick(_))) => since.elapsed() > calm * 4,
                (Aim::Message { .. }, Some(News::Message(_)))
                | (Aim::Tick { .. } | Aim::Recovery(_), Some(News::Tick(_))) => true,
                _ => false,
            };
            if due && since.elapsed() >= calm {
                std::thread::sleep(then);
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err("the agent says nothing any more".to_owned().into());
            }
        }
    }

    /// Its money is spent: it ended by itself, gracefully. Its owner gives it more.
    fn revive(&mut self, node: usize) -> Result<(), Broken> {
        let shown = self.hosts[node].until("the agent does not end", |shown| shown["status"] == "ended")?;
        self.tale.screen.picture.agent = Whereabouts::Ended(node);
        let tick = shown["tick"].as_u64().unwrap_or(0);
        self.tale.screen.tell(&Told::Exhausted { tick }, || {
            format!("tick {tick}: its money is spent. It wrote down its state and ended: nobody computes for nothing")
        })?;
        let funded = self.owner.at(&self.hosts[node].socket()?).ask(&["fund", NAME, FUND]).and_then(Answer::last)?;
        self.run.funded = true;
        self.tale.screen.picture.agent = Whereabouts::At(node);
        let funded = funded["funded"].as_str().unwrap_or_default().to_owned();
        Ok(self.tale.screen.tell(&Told::Funded { funded }, || {
            format!("its owner gives it {FUND} credits (igor fund {NAME} {FUND}), and it lives again, where it was")
        })?)
    }
}
