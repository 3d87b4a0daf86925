//! The faults, and the checks at the end.
//!
//! Invariants kept here:
//! - A fault happens only when one node has the agent, it ticks, and the others are ready to go on with it.
//! - What is done, and when, depends on the seed, not on a clock.

use crate::{
    NAME, NODES,
    dice::Dice,
    fault::Fault,
    field::{
        account::Account,
        ground::{Ground, Namespaces},
        host::{Host, PATIENCE, Shown},
        load::Sent,
        multiaddr,
        proxy::Proxy,
        text,
    },
    reader::Reader,
    report::Seen,
    stage::Stage,
};
use igor_bucket_testing::{BUCKET, ENVIRONMENT, Weed};
use igor_protocol::Epoch;
use serde_json::Value;
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How the agent lives, wherever it is.
const MANIFEST: &str = "[tick]\ninterval = \"50ms\"\n[checkpoint]\ninterval = \"2s\"\n";
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Before a fault, in microseconds.
const BEFORE_MICROS: u64 = 1_500_000;
/// From when the agent goes on elsewhere to when the fault ends, in microseconds.
const LASTS_MICROS: u64 = 2_500_000;

/// Three nodes, a bucket, and an agent.
pub(crate) struct Trial {
    // The processes end before what they stand on goes.
    hosts: Vec<Host>,
    reader: Reader,
    _way: Proxy,
    _weed: Weed,
    ground: Ground,
    dice: Dice,
    /// What happened, and how long it took until the agent ticked elsewhere.
    seen: Vec<(Fault, Duration)>,
    /// Failovers that nothing was the reason for.
    wrong: u32,
}

impl Trial {
    /// Starts the nodes, deploys the agent to the first one, and names all as standby.
    pub(crate) fn begin(ground: Ground, weed: Weed, igor: &Path, folder: &Path, seed: u64) -> Result<Self, String> {
        let way = Proxy::start(Namespaces::hub(), weed.address(), Duration::ZERO)?;
        let host = |number| Host::new(&ground, igor, folder, number, &ENVIRONMENT);
        let mut hosts = (0..NODES).map(host).collect::<Result<Vec<_>, _>>()?;
        let store =
            format!("[store]\nurl = \"s3://{BUCKET}\"\nendpoint = \"http://{}\"\nallow_http = true\n", way.address());
        for (from, host) in hosts.iter().enumerate() {
            let others = hosts.iter().enumerate().filter(|(to, _)| *to != from);
            let others: Result<Vec<_>, String> =
                others.map(|(to, other)| Ok((other.key, multiaddr(other.key, ground.address(to))?))).collect();
            host.configure(&ground, from, &others?, &store)?;
        }
        let manifest = folder.join("agent.toml");
        fs::write(&manifest, MANIFEST).map_err(|e| e.to_string())?;
        // One after the other: the first one gives the bucket its identity.
        for host in &mut hosts {
            host.start()?;
        }
        let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/strategy/strategy.wasm");
        let manifest = manifest.to_string_lossy();
        let deployed = hosts[0].stage.ask(&["deploy", agent, "--name", NAME, "--manifest", &manifest])?.last()?;
        let id = text(&deployed, "agent")?.parse().map_err(|e| format!("{deployed}: {e}"))?;
        let keys: Vec<String> = hosts.iter().map(|host| host.key.to_string()).collect();
        let mut standby = vec!["standby", "add", NAME];
        standby.extend(keys.iter().map(String::as_str));
        hosts[0].stage.ask(&standby)?.last()?;
        let reader = Reader::begin(&weed.endpoint(), &folder.join("reader"), id)?;
        let dice = Dice::new(seed);
        Ok(Self { hosts, reader, _way: way, _weed: weed, ground, dice, seen: Vec::new(), wrong: 0 })
    }

    pub(crate) fn stages(&self) -> Vec<Stage> {
        self.hosts.iter().map(|host| host.stage.clone()).collect()
    }

    /// How many faults have happened.
    pub(crate) fn faults(&self) -> u32 {
        u32::try_from(self.seen.len()).unwrap_or(u32::MAX)
    }

    /// Does something to the host of the agent, and comes back once that is over.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let (host, epoch) = self.settle()?;
        let fault = Fault::choose(&mut self.dice);
        thread::sleep(self.dice.micros(BEFORE_MICROS));
        let lasts = self.dice.micros(LASTS_MICROS);
        if self.reader.epoch() != Some(epoch) {
            self.wrong += 1;
            return Ok(());
        }
        let struck = fault.strike(&self.ground, &mut self.hosts[host], host)?;
        let read = self.reader.after(epoch, PATIENCE);
        let read = read.map_err(|why| format!("{fault:?} of node {host}: {why}"))?;
        let took = read.at.saturating_duration_since(struck);
        self.seen.push((fault, took));
        println!("{:>4} {fault:?} of node {host}: {} ms", self.faults(), took.as_millis());
        thread::sleep(lasts);
        fault.mend(&self.ground, &mut self.hosts[host], host)
    }

    /// Does nothing for so long, and counts how often the agent goes on elsewhere.
    pub(crate) fn watch(&self, time: Duration) -> Result<u32, String> {
        let (_, epoch) = self.settle()?;
        let (end, before) = (Instant::now() + time, self.reader.epochs());
        while Instant::now() < end {
            thread::sleep(LOOK_EVERY);
        }
        let after = self.reader.epochs();
        if self.reader.epoch() < Some(epoch) {
            return Err("the reader went back".to_owned());
        }
        u32::try_from(after - before).map_err(|e| e.to_string())
    }

    /// Waits until one node has the agent, as it says, the bucket has ticks of that epoch, and all others would go on
    /// with it. Gives the node and the epoch.
    fn settle(&self) -> Result<(usize, Epoch), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.hosts.iter().map(Host::show).collect::<Result<Vec<_>, _>>()?;
            let lives = |node: &usize| shown[*node].as_ref().is_some_and(Shown::lives);
            let living: Vec<usize> = (0..NODES).filter(lives).collect();
            if let ([host], Some(epoch)) = (living.as_slice(), self.reader.epoch())
                && shown[*host].as_ref().is_some_and(|shown| shown.epoch == epoch.to_string())
                && self.is_followed(*host)?
            {
                return Ok((*host, epoch));
            }
            if Instant::now() >= deadline {
                let check = living.iter().map(|host| self.hosts[*host].stage.ask(&["node", "check"]));
                return Err(format!(
                    "{} s after all nodes were up and connected: {shown:?}; they say {check:?}; the reader: {}",
                    PATIENCE.as_secs(),
                    self.reader.in_words(),
                    check = check.collect::<Vec<_>>(),
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether all others would go on with the agent if this node died now.
    fn is_followed(&self, host: usize) -> Result<bool, String> {
        let rows = self.hosts[host].stage.ask(&["node", "check"])?.rows;
        let standby = rows.iter().find(|row| row["name"] == NAME).and_then(|row| row["standby"].as_array());
        let ready = |one: &&Value| one["follows"] == true && one["after_ns"].is_u64();
        Ok(standby.is_some_and(|standby| standby.iter().filter(ready).count() == NODES - 1))
    }

    /// Stops the nodes, and holds everything that was seen against what is left.
    pub(crate) fn audit(mut self, sent: &Sent) -> Result<Seen, String> {
        let (last, _) = self.settle()?;
        self.answered(last)?;
        let account = Account::close(&mut self.hosts, last, sent)?;
        if account.owners.fences < self.faults() {
            return Err(format!(
                "{} failovers were seen, and the journal has {}",
                self.faults(),
                account.owners.fences
            ));
        }
        self.bucket_has(&account.shown)?;
        let mut copies = 0;
        for host in self.hosts.iter().filter(|host| host.key != self.hosts[last].key) {
            let Ok(row) = host.stage.ask(&["show", NAME])?.last() else { continue };
            let (seq, head) = (row["seq"].as_u64().ok_or("no position")?, text(&row, "head")?);
            if !account.owners.begins_with(seq, &head) {
                return Err(format!("what another node has is no beginning of the journal: {row}"));
            }
            copies += 1;
        }
        if copies == 0 {
            return Err("no other node has anything of the agent: nobody stood by".to_owned());
        }
        Ok(Seen { account, faults: self.seen, wrong: self.wrong, copies })
    }

    /// Waits until every message was taken.
    fn answered(&self, last: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let open = self.hosts[last].show()?.map(|shown| shown.open);
            match open {
                Some(0) => return Ok(()),
                _ if Instant::now() >= deadline => return Err(format!("{open:?} messages are never taken")),
                _ => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Whether the bucket has the journal to the end, and the same.
    fn bucket_has(&self, shown: &Value) -> Result<(), String> {
        let (seq, head) = (shown["seq"].as_u64().ok_or("no position")?, text(shown, "head")?);
        let deadline = Instant::now() + PATIENCE;
        while self.reader.end() != (seq + 1, head.clone()) {
            if Instant::now() >= deadline {
                return Err(format!("the bucket ends at {:?}, the last node at {seq}, {head}", self.reader.end()));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}
