//! A long random life of a store on a simulated disk, and the check that nothing promised was lost.
//!
//! The model knows everything that was ever asked for, and how much of it the store has promised: what it
//! acknowledged, and what it showed, to readers or after a restart. Whatever happens, a restart must show at least what was
//! promised, at most what was asked for, and every journal as a beginning of its history: commits, and removals after
//! which there is nothing of what came before.

use igor_protocol::{AgentId, Chain, Commit, Hash, Seq};
use igor_sim::{
    files::{Crash, SimDisk},
    random::Random,
};
use igor_store::{
    Commits, Error,
    disk::{Core, Options, Reader},
};
use std::collections::BTreeMap;

/// What went wrong, in words; a test that expects it asserts on it.
pub(crate) type Violation = String;

/// Small, so that a short history goes through many segments.
pub(crate) fn options() -> Options {
    Options { segment_bytes_first: 4096, segment_bytes_max: 8192, reserve_bytes: 512, ..Options::default() }
}

pub(crate) fn agent(n: u64) -> AgentId {
    AgentId(Hash::of_blob(&n.to_be_bytes()))
}

/// Something that was asked for, for an agent.
#[derive(Clone)]
enum Asked {
    Commit(Commit),
    Removal,
}

/// What one agent's journal is to be.
#[derive(Default)]
struct Story {
    asked: Vec<Asked>,
    /// How many of them are promised.
    promised: usize,
}

/// A local value: the promised one, and what was asked for since; nothing is one that is removed.
#[derive(Default)]
struct Value {
    promised: Option<Vec<u8>>,
    asked: Vec<Option<Vec<u8>>>,
}

pub(crate) struct History {
    pub(crate) disk: SimDisk,
    random: Random,
    stories: BTreeMap<AgentId, Story>,
    values: BTreeMap<String, Value>,
    /// Values that were put together with a commit, by the end of that, in order.
    noted: BTreeMap<AgentId, Vec<(Hash, Vec<u8>)>>,
    blobs: Vec<(Hash, Vec<u8>)>,
    /// A journal that is being read since some steps, and what is still to come of it.
    reading: Option<(Vec<Commit>, Commits)>,
    /// What a step saw that must not be.
    seen: Option<Violation>,
    /// A mistake to show that it is found: acknowledge commits before they are flushed.
    pub(crate) acknowledge_early: bool,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            random: Random::new(seed ^ 0x6869_7374),
            stories: BTreeMap::new(),
            values: BTreeMap::new(),
            noted: BTreeMap::new(),
            blobs: Vec::new(),
            reading: None,
            seen: None,
            acknowledge_early: false,
        }
    }

    /// Opens the store and does up to `steps` things; stops at the first error.
    pub(crate) fn live(&mut self, steps: usize) -> Result<(), Violation> {
        self.reading = None;
        let opened = Core::open(self.disk.files(), &options());
        let mut core = match opened {
            Ok(core) => core,
            Err(e) => return self.excuse(&e),
        };
        if let Err(violation) = self.compare(&core) {
            // Going down while it tidied up, it came back from opening, but shows nothing any more.
            return if self.disk.is_down() { Ok(()) } else { Err(violation) };
        }
        for _ in 0..steps {
            if let Err(e) = self.step(&mut core) {
                self.promise_shown(&core);
                return self.excuse(&e);
            }
            self.seen.take().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Errors are right only when the machine is down or the disk was told to fail.
    fn excuse(&self, error: &Error) -> Result<(), Violation> {
        if self.disk.is_down() || matches!(error, Error::Poisoned { .. }) { Ok(()) } else { Err(error.to_string()) }
    }

    fn step(&mut self, core: &mut Core) -> Result<(), Error> {
        match self.random.below(20) {
            0..8 => self.append(core),
            8 => self.maintain(core),
            9 => core.copy(),
            10 | 11 => core.close_idle(),
            12 | 13 => self.put_local(core),
            14 => self.put_blob(core),
            15 => self.remove(core),
            16 | 17 => self.note(core),
            _ => self.read(core),
        }
    }

    fn append(&mut self, core: &mut Core) -> Result<(), Error> {
        for _ in 0..=self.random.below(5) {
            let agent = agent(self.random.below(4));
            if self.random.one_in(25) {
                self.stories.entry(agent).or_default().asked.push(Asked::Removal);
                core.stage_removal(agent)?;
            } else {
                let commit = self.next_commit(agent);
                core.stage(&commit)?;
            }
            if self.acknowledge_early {
                self.promise_all();
            }
        }
        core.flush()?;
        self.promise_all();
        Ok(())
    }

    fn promise_all(&mut self) {
        for story in self.stories.values_mut() {
            story.promised = story.asked.len();
        }
    }

    /// What a reader may have seen is promised, whoever was still waiting for an answer.
    fn promise_shown(&mut self, core: &Core) {
        for (agent, story) in &mut self.stories {
            let tail = core.tail(*agent);
            let shown = (story.promised..=story.asked.len()).find(|n| story.end_after(*n) == tail);
            story.promised = shown.unwrap_or(story.promised);
        }
    }

    fn next_commit(&mut self, agent: AgentId) -> Commit {
        let story = self.stories.entry(agent).or_default();
        let mut start = story.end_after(story.asked.len()).unwrap_or(Chain::begin(agent));
        if self.random.one_in(10) {
            start.epoch.n += 1;
        }
        let commit = make_commit(&mut self.random, start);
        story.asked.push(Asked::Commit(commit.clone()));
        commit
    }

    fn remove(&mut self, core: &mut Core) -> Result<(), Error> {
        let agent = agent(self.random.below(4));
        self.stories.entry(agent).or_default().asked.push(Asked::Removal);
        core.stage_removal(agent)?;
        core.flush()?;
        self.promise_all();
        Ok(())
    }

    /// Moves what is full. When all is done, the only files are those of journals that are there.
    fn maintain(&mut self, core: &mut Core) -> Result<(), Error> {
        core.maintain()?;
        if self.random.one_in(2) {
            return Ok(());
        }
        core.maintain()?;
        let mut agents: Vec<_> = core.list().iter().map(|agent| agent.0.to_string()).collect();
        for file in self.disk.list().iter().filter_map(|name| name.strip_prefix("agents/")) {
            match agents.iter().position(|agent| file.starts_with(agent)) {
                Some(at) => drop(agents.swap_remove(at)),
                None => self.seen = Some(format!("the file {file} is of no journal, or of one that has another")),
            }
        }
        Ok(())
    }

    /// Begins to read a journal, or reads the rest of it, whatever became of it meanwhile.
    fn read(&mut self, core: &Core) -> Result<(), Error> {
        if let Some((expected, rest)) = self.reading.take() {
            if rest.collect::<Result<Vec<_>, _>>()? != expected {
                self.seen = Some("a journal that was being read became another one".into());
            }
            return Ok(());
        }
        let (agent, story) = (agent(self.random.below(4)), Story::default());
        let story = self.stories.get(&agent).unwrap_or(&story);
        let mut expected = story.after(story.asked.len());
        if !expected.is_empty() {
            let mut commits = core.read(agent, Seq(0))?;
            if commits.next().transpose()? != Some(expected.remove(0)) {
                self.seen = Some("a journal begins with something else".into());
            }
            self.reading = Some((expected, commits));
        }
        Ok(())
    }

    /// Appends a commit and puts a value in one.
    fn note(&mut self, core: &mut Core) -> Result<(), Error> {
        let agent = agent(self.random.below(4));
        let (commit, bytes) = (self.next_commit(agent), random_bytes(&mut self.random, 200));
        let name = note_name(agent);
        self.noted.entry(agent).or_default().push((commit.end().head, bytes.clone()));
        self.values.entry(name.clone()).or_default().asked.push(Some(bytes.clone()));
        core.stage_noting(&commit, &name, &bytes)?;
        core.flush()?;
        self.promise_all();
        self.values.insert(name, Value { promised: Some(bytes), asked: Vec::new() });
        Ok(())
    }

    fn put_local(&mut self, core: &mut Core) -> Result<(), Error> {
        let name = format!("value-{}", self.random.below(3));
        let bytes = (!self.random.one_in(4)).then(|| random_bytes(&mut self.random, 200));
        let value = self.values.entry(name.clone()).or_default();
        value.asked.push(bytes.clone());
        match &bytes {
            Some(bytes) => core.stage_local(&name, bytes)?,
            None => core.stage_local_removal(&name)?,
        }
        core.flush()?;
        *value = Value { promised: bytes, asked: Vec::new() };
        Ok(())
    }

    fn put_blob(&mut self, core: &Core) -> Result<(), Error> {
        let bytes = random_bytes(&mut self.random, 900);
        let hash = core.put_blob(&bytes)?;
        self.blobs.push((hash, bytes));
        Ok(())
    }

    /// Looks without changing anything, as a command does after a crash.
    pub(crate) fn look(&mut self) -> Result<(), Violation> {
        let before = self.disk.operations();
        let reader = match Reader::open_files(self.disk.files()) {
            Ok(reader) => reader,
            // A home that was never finished is none, and nothing was promised in it.
            Err(Error::NotAHome { .. }) if self.stories.values().all(|story| story.promised == 0) => return Ok(()),
            Err(e) => return Err(format!("a reader: {e}")),
        };
        for (agent, story) in &self.stories {
            let commits = match reader.read(*agent, Seq(0)) {
                Ok(commits) => commits.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?,
                Err(Error::Unknown { .. }) => Vec::new(),
                Err(e) => return Err(e.to_string()),
            };
            story.check(&commits)?;
        }
        for (name, value) in &self.values {
            value.check(name, reader.get_local(name).map_err(|e| e.to_string())?.as_ref())?;
        }
        if self.disk.operations() == before { Ok(()) } else { Err("a reader changed something".into()) }
    }

    /// Compares what the store shows with what was promised; from here on, what it shows is promised.
    fn compare(&mut self, core: &Core) -> Result<(), Violation> {
        for (agent, story) in &mut self.stories {
            let tail = core.tail(*agent);
            let commits = match core.read(*agent, Seq(0)) {
                Ok(commits) => commits.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?,
                Err(Error::Unknown { .. }) => Vec::new(),
                Err(e) => return Err(e.to_string()),
            };
            story.check(&commits)?;
            if tail != commits.last().map(Commit::end) {
                return Err(format!("{agent}: the tail is not where the journal ends"));
            }
            check_middle(core, *agent, &commits, &mut self.random)?;
            if let Some(noted) = self.noted.get(agent) {
                check_note(core, *agent, &commits, noted)?;
            }
            story.promised = commits.len();
            story.asked = commits.into_iter().map(Asked::Commit).collect();
        }
        self.compare_values(core)?;
        for (hash, bytes) in &self.blobs {
            let found = core.get_blob(*hash, 1000).map_err(|e| e.to_string())?;
            if found.as_ref() != Some(bytes) {
                return Err(format!("blob {hash} is gone"));
            }
        }
        Ok(())
    }

    fn compare_values(&mut self, core: &Core) -> Result<(), Violation> {
        for (name, value) in &mut self.values {
            let found = core.get_local(name).map_err(|e| e.to_string())?;
            value.check(name, found.as_ref())?;
            *value = Value { promised: found, asked: Vec::new() };
        }
        Ok(())
    }

    /// A life with many crashes, of a kind drawn each time or always the same.
    pub(crate) fn crash_often(&mut self, crashes: usize, kind: Option<Crash>) -> Result<(), Violation> {
        for _ in 0..crashes {
            let limit = if self.random.one_in(3) { 12 } else { 150 };
            self.disk.crash_at(Some(1 + self.random.below(limit)));
            self.live(60)?;
            let drawn = if self.random.one_in(2) { Crash::Process } else { Crash::Power };
            self.disk.restart(kind.unwrap_or(drawn));
            if self.random.one_in(3) {
                self.look()?;
            }
        }
        self.live(0)
    }
}

impl Story {
    /// The journal after the first `n` of what was asked for.
    fn after(&self, n: usize) -> Vec<Commit> {
        let mut commits = Vec::new();
        for asked in &self.asked[..n] {
            match asked {
                Asked::Commit(commit) => commits.push(commit.clone()),
                Asked::Removal => commits.clear(),
            }
        }
        commits
    }

    fn end_after(&self, n: usize) -> Option<Chain> {
        match self.asked[..n].last()? {
            Asked::Commit(commit) => Some(commit.end()),
            Asked::Removal => None,
        }
    }

    fn check(&self, found: &[Commit]) -> Result<(), Violation> {
        let end = found.last().map(Commit::end);
        let shown = |n: &usize| self.end_after(*n) == end && self.after(*n) == found;
        if (self.promised..=self.asked.len()).any(|n| shown(&n)) {
            return Ok(());
        }
        match (0..self.promised).rev().find(shown) {
            Some(n) => Err(format!("{} commits and removals were promised, {n} are there", self.promised)),
            None => Err("a journal is not a beginning of its history".into()),
        }
    }
}

impl Value {
    fn check(&self, name: &str, found: Option<&Vec<u8>>) -> Result<(), Violation> {
        if found == self.promised.as_ref() || self.asked.iter().any(|asked| asked.as_ref() == found) {
            return Ok(());
        }
        Err(format!("local value {name} is not what was stored"))
    }
}

fn note_name(agent: AgentId) -> String {
    format!("note-{}", &agent.0.to_string()[..8])
}

/// The value is the one that was put with the last commit that has one: both are there, or neither is.
fn check_note(core: &Core, agent: AgentId, commits: &[Commit], noted: &[(Hash, Vec<u8>)]) -> Result<(), Violation> {
    let with = |commit: &Commit| noted.iter().find(|(head, _)| *head == commit.end().head);
    let found = core.get_local(&note_name(agent)).map_err(|e| e.to_string())?;
    let last = commits.iter().rev().find_map(with);
    if let Some((_, bytes)) = last.filter(|(_, bytes)| found.as_ref() != Some(bytes)) {
        let there = noted.iter().position(|(_, other)| Some(other) == found.as_ref());
        let of = noted.iter().position(|(_, other)| other == bytes);
        return Err(format!("{agent}: the journal has the commit of note {of:?}, and the value is note {there:?}"));
    }
    // Also the other way round, where the journal was not removed since.
    let newest = noted.iter().rposition(|(_, bytes)| Some(bytes) == found.as_ref());
    let reached = last.and_then(|(head, _)| noted.iter().position(|(other, _)| other == head));
    match (newest, reached) {
        (Some(newest), Some(reached)) if newest > reached => Err(format!("{agent}: note {newest} has no commit")),
        _ => Ok(()),
    }
}

/// Reading from any position begins with the commit that holds it.
fn check_middle(core: &Core, agent: AgentId, commits: &[Commit], random: &mut Random) -> Result<(), Violation> {
    let Some(last) = commits.last() else { return Ok(()) };
    let from = Seq(random.below(last.next().0));
    let expected = commits.iter().filter(|commit| commit.next() > from);
    let found = core.read(agent, from).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| e.to_string())?;
    if found.iter().eq(expected) { Ok(()) } else { Err(format!("{agent}: reading from {from} gives something else")) }
}

fn make_commit(random: &mut Random, start: Chain) -> Commit {
    let entries = (0..=random.below(3)).map(|_| random_bytes(random, 120)).collect();
    Commit::from_encoded(start, entries)
}

fn random_bytes(random: &mut Random, most: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 + random.index(usize::try_from(most).unwrap_or(0))];
    random.fill(&mut bytes);
    bytes
}

/// The seeds to try: the one in `IGOR_SEED`, or as many as `IGOR_SEEDS` says, or the given number.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    match number("IGOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("IGOR_SEEDS").unwrap_or(count),
    }
}

/// Panics with how to see it again.
pub(crate) fn check(seed: u64, what: &str, result: Result<(), Violation>) {
    if let Err(violation) = result {
        panic!("{what}: {violation}; to see it again: IGOR_SEED={seed}");
    }
}
