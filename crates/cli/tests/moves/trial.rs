//! The moves, the kills and the cuts, and the checks at the end.
//!
//! Invariants kept here:
//! - A step ends only when exactly one node runs the agent and it ticks: whatever was done to it, that must come again
//!   by itself, once the nodes are up and connected.
//! - What is done, and when, depends on the seed and on how long moves take here, not on a clock.

use crate::{
    NAME, NODES,
    dice::Dice,
    field::{
        account::Account,
        ground::{Ground, Off},
        host::{Host, PATIENCE, Shown},
        load::Sent,
        multiaddr,
        proxy::Proxy,
        text,
    },
    phase::{Blow, Phase, Phases},
    report::Seen,
    stage::{Actor, Heard, Stage},
};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How the agent lives, wherever it is.
const MANIFEST: &str = "[tick]\ninterval = \"50ms\"\n[checkpoint]\ninterval = \"2s\"\n";
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Looks in a row at which two nodes may seem to run the agent.
const DOUBLED_MAX: u32 = 20;
/// How long a move takes until the agent stands still, and how long it stands still, before that was ever seen.
const FIRST_GUESS: Duration = Duration::from_millis(400);

/// Three nodes and an agent.
pub(crate) struct Trial {
    // The processes end before the ground under them goes.
    pub(crate) hosts: Vec<Host>,
    /// From the first node to the second one.
    proxies: Vec<(usize, usize, Proxy)>,
    ground: Ground,
    dice: Dice,
    /// Who is never killed.
    spared: Option<usize>,
    phases: Phases,
    /// Of moves that nothing happened to: until the freeze, and from there to the answer.
    opens_in: Duration,
    stands_for: Duration,
    pauses: Vec<Duration>,
    /// From each blow until the agent ticked again.
    recoveries: Vec<Duration>,
    attempts: u32,
    moved: u32,
}

/// How far a move went, by what the giver told.
#[derive(Default)]
struct Going {
    events: Vec<String>,
    frozen_at: Option<Instant>,
    ended: bool,
}

impl Trial {
    /// Starts the nodes, each at its place, and deploys the agent to the first one.
    pub(crate) fn begin(ground: Ground, igor: &Path, folder: &Path, seed: u64) -> Result<Self, String> {
        let hosts =
            (0..NODES).map(|number| Host::new(&ground, igor, folder, number, &[])).collect::<Result<Vec<_>, _>>()?;
        let mut proxies = Vec::new();
        for (from, host) in hosts.iter().enumerate() {
            let mut others = Vec::new();
            for (to, other) in hosts.iter().enumerate().filter(|(to, _)| *to != from) {
                let at = match ground.proxy(to)? {
                    Some(proxy) => {
                        let at = proxy.address();
                        proxies.push((from, to, proxy));
                        at
                    }
                    None => ground.address(to),
                };
                others.push((other.key, multiaddr(other.key, at)?));
            }
            host.configure(&ground, from, &others, "")?;
        }
        let manifest = folder.join("agent.toml");
        fs::write(&manifest, MANIFEST).map_err(|e| e.to_string())?;
        let mut trial = Self {
            hosts,
            proxies,
            ground,
            dice: Dice::new(seed),
            spared: None,
            phases: Phases::default(),
            opens_in: FIRST_GUESS,
            stands_for: FIRST_GUESS,
            pauses: Vec::new(),
            recoveries: Vec::new(),
            attempts: 0,
            moved: 0,
        };
        for host in &mut trial.hosts {
            host.start()?;
        }
        let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/strategy/strategy.wasm");
        let manifest = manifest.to_string_lossy();
        let deploy = ["deploy", agent, "--name", NAME, "--manifest", &manifest];
        trial.hosts[0].stage.ask(&deploy)?.last()?;
        trial.settle()?;
        Ok(trial)
    }

    /// The same, without ever killing this node.
    pub(crate) const fn sparing(mut self, node: usize) -> Self {
        self.spared = Some(node);
        self
    }

    pub(crate) fn stages(&self) -> Vec<Stage> {
        self.hosts.iter().map(|host| host.stage.clone()).collect()
    }

    /// How often the agent was at another node after a step than before.
    pub(crate) const fn moved(&self) -> u32 {
        self.moved
    }

    /// The pauses that givers told of since this was asked last.
    pub(crate) fn pauses(&self) -> &[Duration] {
        &self.pauses
    }

    /// Begins a move, perhaps does something to it, and comes back when the agent ticks and everything is up.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let giver = self.settle()?;
        let taker = (giver + 1 + usize::try_from(self.dice.below(NODES as u64 - 1)).unwrap_or(0)) % NODES;
        self.meet(giver, taker)?;
        let epoch = self.shown(giver)?.epoch;
        let key = self.hosts[taker].key.to_string();
        let blow = self.choose(giver, taker);
        self.attempts += 1;
        let begun = Instant::now();
        let mut actor = self.hosts[giver].stage.start(&["migrate", NAME, &key])?;
        let mut going = Going::default();
        let Some(blow) = blow else {
            self.follow(&mut actor, &mut going, Instant::now() + PATIENCE, None)?;
            if let Some(frozen) = going.frozen_at
                && going.events.last().is_some_and(|event| event == "accepted")
            {
                self.opens_in = frozen - begun;
                self.stands_for = frozen.elapsed();
            }
            return self.finish(giver, &mut actor, going);
        };
        // Before anything came of it, on the way to the freeze, or between that and the answer.
        let (from, share) = match self.dice.below(10) {
            0 | 1 => (None, self.opens_in),
            2 | 3 => (Some("offer"), self.opens_in),
            _ => (Some("freeze"), self.stands_for),
        };
        let after = self.dice.micros(micros(share) * 5 / 4);
        if from.is_some() {
            self.follow(&mut actor, &mut going, begun + PATIENCE, from)?;
        }
        self.follow(&mut actor, &mut going, Instant::now() + after, None)?;
        let struck = Instant::now();
        let mut next = Some(blow);
        while let Some(blow) = next {
            self.hit(blow, (giver, taker), &epoch, !going.events.is_empty())?;
            // Sometimes again, while it is being made good.
            next = None;
            if self.dice.below(4) == 0 {
                let pause = self.dice.micros(1_500_000);
                thread::sleep(pause);
                next = self.choose(giver, taker);
            }
        }
        self.finish(giver, &mut actor, going)?;
        self.recoveries.push(struck.elapsed());
        Ok(())
    }

    /// Does something to a move, notes how far it was, and ends what was done. `told` is whether the giver had told
    /// anything of it.
    fn hit(&mut self, blow: Blow, (giver, taker): (usize, usize), epoch: &str, told: bool) -> Result<(), String> {
        let victim = match blow {
            Blow::GiverKilled => giver,
            Blow::TakerKilled => taker,
            Blow::PacketsDropped | Blow::ConnectionsEnded => [giver, taker][usize::from(self.dice.below(2) == 1)],
        };
        self.strike(blow, victim)?;
        // Who lives goes on meanwhile, so it is asked first.
        let order = if blow == Blow::GiverKilled { [taker, giver] } else { [giver, taker] };
        let mut shown = [None, None];
        for node in order {
            shown[usize::from(node == taker)] = self.hosts[node].show()?;
        }
        let [Some(here), there] = shown else { return Err("the giver does not know the agent any more".to_owned()) };
        let key = self.hosts[taker].key.to_string();
        self.phases.count(Phase::of(epoch, &key, &here, there.as_ref(), told), blow);
        self.mend(blow, victim)
    }

    /// What to do to the next move, if anything.
    fn choose(&mut self, giver: usize, taker: usize) -> Option<Blow> {
        let blow = match self.dice.below(10) {
            0 | 1 => return None,
            2..=4 => Blow::GiverKilled,
            5..=7 => Blow::TakerKilled,
            8 => Blow::PacketsDropped,
            _ => Blow::ConnectionsEnded,
        };
        let possible = match blow {
            Blow::GiverKilled => self.spared != Some(giver),
            Blow::TakerKilled => self.spared != Some(taker),
            // On loopback nothing stands between the nodes.
            Blow::PacketsDropped | Blow::ConnectionsEnded => matches!(self.ground, Ground::Apart(_)),
        };
        possible.then_some(blow)
    }

    fn strike(&mut self, blow: Blow, victim: usize) -> Result<(), String> {
        match blow {
            Blow::GiverKilled | Blow::TakerKilled => self.hosts[victim].kill(),
            Blow::PacketsDropped => self.ground.cut(victim, Off::All),
            Blow::ConnectionsEnded => {
                self.ways_of(victim).for_each(Proxy::close);
                Ok(())
            }
        }
    }

    /// Ends what was done, after a while: mostly soon, sometimes so late that the others have given it up.
    fn mend(&mut self, blow: Blow, victim: usize) -> Result<(), String> {
        let after = match self.dice.below(8) {
            0 => Duration::from_secs(9) + self.dice.micros(3_000_000),
            _ => self.dice.micros(1_500_000),
        };
        match blow {
            Blow::GiverKilled | Blow::TakerKilled => {
                thread::sleep(after.min(Duration::from_secs(2)));
                self.hosts[victim].start()
            }
            Blow::PacketsDropped => {
                thread::sleep(after);
                self.ground.heal(victim)
            }
            Blow::ConnectionsEnded => {
                thread::sleep(after);
                self.ways_of(victim).for_each(Proxy::open);
                Ok(())
            }
        }
    }

    fn ways_of(&self, node: usize) -> impl Iterator<Item = &Proxy> {
        self.proxies.iter().filter(move |(from, to, _)| *from == node || *to == node).map(|(.., proxy)| proxy)
    }

    /// Hears what the giver tells of the move: until then, up to an event, or to the end, whatever comes first.
    fn follow(
        &mut self,
        actor: &mut Actor,
        going: &mut Going,
        until: Instant,
        event: Option<&str>,
    ) -> Result<(), String> {
        let reached = |going: &Going| event.is_some_and(|event| going.events.iter().any(|told| told == event));
        while !going.ended && !reached(going) {
            match actor.hear(until) {
                Heard::Row(row) => {
                    let event = text(&row, "event")?;
                    if event == "freeze" {
                        going.frozen_at = Some(Instant::now());
                    }
                    if let Some(pause) = row["pause_ns"].as_u64() {
                        self.pauses.push(Duration::from_nanos(pause));
                    }
                    going.events.push(event);
                }
                Heard::Silence => return Ok(()),
                Heard::End => going.ended = true,
            }
        }
        Ok(())
    }

    /// Waits until the command has ended and the agent ticks again.
    fn finish(&mut self, giver: usize, actor: &mut Actor, mut going: Going) -> Result<(), String> {
        self.follow(actor, &mut going, Instant::now() + PATIENCE, None)?;
        if !going.ended {
            return Err(format!("a move did not end within {} s: {:?}", PATIENCE.as_secs(), going.events));
        }
        actor.end()?;
        if self.settle()? != giver {
            self.moved += 1;
        }
        println!("{:>4} moves in {} attempts, {} blows", self.moved, self.attempts, self.phases.sum());
        Ok(())
    }

    fn shown(&self, node: usize) -> Result<Shown, String> {
        self.hosts[node].show()?.ok_or_else(|| format!("node {node} does not know the agent"))
    }

    /// Waits until two nodes are connected: whatever was cut, they find each other again.
    fn meet(&self, one: usize, other: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.hosts[one].is_connected(self.hosts[other].key)? {
            if Instant::now() >= deadline {
                return Err(format!("node {one} and node {other} do not meet again within {} s", PATIENCE.as_secs()));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits until every message was taken, and every node that had the agent knows who took it.
    fn answered(&self, last: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while let open @ 1.. = self.shown(last)?.open {
            if Instant::now() >= deadline {
                return Err(format!("{open} messages are never taken"));
            }
            thread::sleep(LOOK_EVERY);
        }
        for node in (0..NODES).filter(|node| *node != last) {
            while let Some(shown) = self.hosts[node].show()?.filter(|shown| shown.status != "archived") {
                if Instant::now() >= deadline {
                    return Err(format!("node {node} never heard what became of the agent: {shown:?}"));
                }
                thread::sleep(LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// Waits until exactly one node runs the agent, as all of them say, and it ticks. Gives that node.
    fn settle(&self) -> Result<usize, String> {
        let deadline = Instant::now() + PATIENCE;
        let (mut first, mut doubled) = (None, 0);
        loop {
            let shown = self.hosts.iter().map(Host::show).collect::<Result<Vec<_>, _>>()?;
            let living: Vec<_> = shown
                .iter()
                .enumerate()
                .filter_map(|(node, shown)| Some((node, shown.as_ref()?)))
                .filter(|(_, shown)| shown.lives())
                .collect();
            match living.as_slice() {
                [(node, shown)] => {
                    doubled = 0;
                    match first {
                        Some((before, tick)) if before == *node && shown.tick > tick => return Ok(*node),
                        Some((before, _)) if before == *node => {}
                        _ => first = Some((*node, shown.tick)),
                    }
                }
                [] => first = None,
                // They are not asked at one instant, so for a moment one that has just gone is seen twice.
                several => {
                    if doubled > DOUBLED_MAX {
                        return Err(format!("several nodes run the agent: {several:?}"));
                    }
                    (first, doubled) = (None, doubled + 1);
                }
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "nobody runs the agent, {} s after all nodes were up and connected: {shown:?}",
                    PATIENCE.as_secs()
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops the nodes, and holds everything that was seen against what is left.
    pub(crate) fn audit(mut self, sent: &Sent) -> Result<Seen, String> {
        let last = self.settle()?;
        self.answered(last)?;
        let account = Account::close(&mut self.hosts, last, sent)?;
        if account.owners.moves < self.moved {
            return Err(format!(
                "the agent was seen to move {} times, and its journal has {} of that",
                self.moved, account.owners.moves
            ));
        }
        let mut archives = 0;
        for host in self.hosts.iter().filter(|host| host.key != self.hosts[last].key) {
            if host.show()?.is_none() {
                continue;
            }
            archives += 1;
            let row = host.stage.ask(&["show", NAME])?.last()?;
            let (seq, head) = (row["seq"].as_u64().ok_or("no position")?, text(&row, "head")?);
            if row["status"] != "archived" || !account.owners.begins_with(seq, &head) {
                return Err(format!("what an earlier host kept is no beginning of the journal: {row}"));
            }
            let verdict = host.stage.ask(&["verify", NAME])?.last()?;
            if verdict["ok"] != true {
                return Err(format!("what an earlier host kept does not verify: {verdict}"));
            }
        }
        Ok(Seen {
            attempts: self.attempts,
            account,
            phases: self.phases,
            pauses: self.pauses,
            recoveries: self.recoveries,
            archives,
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 8).min(u64::MAX / 8)
}
