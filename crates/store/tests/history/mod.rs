//! A long random life of a store on a simulated disk, and the check that nothing promised was lost.
//!
//! The model knows everything that was ever asked for, and how much of it the store has promised: what it
//! acknowledged, and what it showed, to readers or after a restart. Whatever happens, a restart must show at least what was
//! promised, at most what was asked for, and every journal as a beginning of its history.

use igor_protocol::{AgentId, Chain, Commit, Epoch, Hash, Seq};
use igor_sim::{
    files::{Crash, SimDisk},
    random::Random,
};
use igor_store::{
    Error,
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

/// What one agent's journal is to be.
struct Story {
    commits: Vec<Commit>,
    /// How many of them are promised.
    promised: usize,
    end: Chain,
}

/// A local value: the promised one, and the ones that were asked for since.
#[derive(Default)]
struct Value {
    promised: Option<Vec<u8>>,
    asked: Vec<Vec<u8>>,
}

pub(crate) struct History {
    pub(crate) disk: SimDisk,
    random: Random,
    stories: BTreeMap<AgentId, Story>,
    values: BTreeMap<String, Value>,
    blobs: Vec<(Hash, Vec<u8>)>,
    archives: BTreeMap<AgentId, Vec<Commit>>,
    /// Archives that were asked for and may or may not be there.
    asked_archives: BTreeMap<AgentId, Vec<Commit>>,
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
            blobs: Vec::new(),
            archives: BTreeMap::new(),
            asked_archives: BTreeMap::new(),
            acknowledge_early: false,
        }
    }

    /// Opens the store and does up to `steps` things; stops at the first error.
    pub(crate) fn live(&mut self, steps: usize) -> Result<(), Violation> {
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
        }
        Ok(())
    }

    /// Errors are right only when the machine is down or the disk was told to fail.
    fn excuse(&self, error: &Error) -> Result<(), Violation> {
        if self.disk.is_down() || matches!(error, Error::Poisoned { .. }) { Ok(()) } else { Err(error.to_string()) }
    }

    fn step(&mut self, core: &mut Core) -> Result<(), Error> {
        match self.random.below(16) {
            0..8 => self.append(core),
            8 | 9 => core.maintain(),
            10 | 11 => core.close_idle(),
            12 | 13 => self.put_local(core),
            14 => self.put_blob(core),
            _ => self.adopt(core),
        }
    }

    fn append(&mut self, core: &mut Core) -> Result<(), Error> {
        for _ in 0..=self.random.below(5) {
            let agent = agent(self.random.below(4));
            let commit = self.next_commit(agent);
            core.stage(&commit)?;
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
            story.promised = story.commits.len();
        }
    }

    /// What a reader may have seen is promised, whoever was still waiting for an answer.
    fn promise_shown(&mut self, core: &Core) {
        for (agent, story) in &mut self.stories {
            let shown = story.commits.iter().position(|commit| core.tail(*agent) == Some(commit.end()));
            story.promised = story.promised.max(shown.map_or(0, |at| at + 1));
        }
        for (agent, commits) in std::mem::take(&mut self.asked_archives) {
            let shown = core.tail(agent).is_some() && core.tail(agent) == commits.last().map(Commit::end);
            if shown { &mut self.archives } else { &mut self.asked_archives }.insert(agent, commits);
        }
    }

    fn next_commit(&mut self, agent: AgentId) -> Commit {
        let begin = || Story { commits: Vec::new(), promised: 0, end: Chain::begin(agent) };
        let story = self.stories.entry(agent).or_insert_with(begin);
        if self.random.one_in(10) {
            story.end.epoch = Epoch { n: story.end.epoch.n + 1, ..story.end.epoch };
        }
        let commit = make_commit(&mut self.random, story.end);
        story.end = commit.end();
        story.commits.push(commit.clone());
        commit
    }

    fn put_local(&mut self, core: &Core) -> Result<(), Error> {
        let name = format!("value-{}", self.random.below(3));
        let bytes = random_bytes(&mut self.random, 200);
        let value = self.values.entry(name.clone()).or_default();
        value.asked.push(bytes.clone());
        core.put_local(&name, &bytes)?;
        *value = Value { promised: Some(bytes), asked: Vec::new() };
        Ok(())
    }

    fn put_blob(&mut self, core: &Core) -> Result<(), Error> {
        let bytes = random_bytes(&mut self.random, 900);
        let hash = core.put_blob(&bytes)?;
        self.blobs.push((hash, bytes));
        Ok(())
    }

    fn adopt(&mut self, core: &Core) -> Result<(), Error> {
        let agent = agent(100 + self.random.below(3));
        let mut commits = self.archives.get(&agent).cloned().unwrap_or_default();
        let mut end = commits.last().map_or(Chain::begin(agent), Commit::end);
        for _ in 0..=self.random.below(3) {
            let commit = make_commit(&mut self.random, end);
            end = commit.end();
            commits.push(commit);
        }
        self.asked_archives.insert(agent, commits.clone());
        core.adopt_archive(agent, commits.iter().cloned().map(Ok))?;
        self.asked_archives.remove(&agent);
        self.archives.insert(agent, commits);
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
            story.commits = commits;
            story.promised = story.commits.len();
            story.end = story.commits.last().map_or(Chain::begin(*agent), Commit::end);
            if tail.unwrap_or(Chain::begin(*agent)) != story.end {
                return Err(format!("{agent}: the tail is not where the journal ends"));
            }
            check_middle(core, *agent, &story.commits, &mut self.random)?;
        }
        self.compare_values(core)?;
        for (hash, bytes) in &self.blobs {
            let found = core.get_blob(*hash, 1000).map_err(|e| e.to_string())?;
            if found.as_ref() != Some(bytes) {
                return Err(format!("blob {hash} is gone"));
            }
        }
        self.compare_archives(core)
    }

    fn compare_values(&mut self, core: &Core) -> Result<(), Violation> {
        for (name, value) in &mut self.values {
            let found = core.get_local(name).map_err(|e| e.to_string())?;
            let asked = found.as_ref().is_some_and(|found| value.asked.contains(found));
            if found != value.promised && !asked {
                return Err(format!("local value {name} is not what was stored"));
            }
            *value = Value { promised: found, asked: Vec::new() };
        }
        Ok(())
    }

    fn compare_archives(&mut self, core: &Core) -> Result<(), Violation> {
        let agents: Vec<_> = self.archives.keys().chain(self.asked_archives.keys()).copied().collect();
        for agent in agents {
            let found = match core.read(agent, Seq(0)) {
                Ok(commits) => Some(commits.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?),
                Err(Error::Unknown { .. }) => None,
                Err(e) => return Err(e.to_string()),
            };
            let asked = self.asked_archives.remove(&agent);
            if found.as_ref() != self.archives.get(&agent) && (found.is_none() || found != asked) {
                return Err(format!("archive {agent} is not what was adopted"));
            }
            if let Some(commits) = found {
                self.archives.insert(agent, commits);
            }
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
    fn check(&self, found: &[Commit]) -> Result<(), Violation> {
        if found.len() < self.promised {
            return Err(format!("{} commits were promised, {} are there", self.promised, found.len()));
        }
        if self.commits.get(..found.len()) != Some(found) {
            return Err("a journal is not a beginning of its history".into());
        }
        Ok(())
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
