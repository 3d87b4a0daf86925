//! A small home on a simulated disk whose files are then damaged, and what it shows.

use crate::{Case, Verdict, forge, history::agent};
use igor_protocol::{AgentId, Chain, Commit, Seq};
use igor_sim::files::SimDisk;
use igor_store::{
    Error,
    disk::{Core, Options, Reader},
    files::Mode,
};
use std::collections::BTreeMap;

pub(crate) type Journals = BTreeMap<AgentId, Vec<Commit>>;

pub(crate) struct Home {
    pub(crate) disk: SimDisk,
    pub(crate) options: Options,
    /// All that was appended.
    pub(crate) journals: Journals,
}

impl Home {
    pub(crate) fn new(case: Case, seed: u64) -> Self {
        let options =
            Options { segment_bytes_first: 4096, segment_bytes_max: 4096, reserve_bytes: 0, ..Options::default() };
        Self { disk: case.disk(seed), options, journals: BTreeMap::new() }
    }

    pub(crate) fn open(&self) -> Core {
        Core::open(self.disk.files(), &self.options).unwrap()
    }

    /// The next commit of a journal, with one entry of so many bytes.
    pub(crate) fn next(&mut self, n: u64, bytes: usize) -> Commit {
        let journal = self.journals.entry(agent(n)).or_default();
        let start = journal.last().map_or(Chain::begin(agent(n)), Commit::end);
        let commit = Commit::from_encoded(start, vec![entry(start, bytes)]);
        journal.push(commit.clone());
        commit
    }

    /// Appends the next commit, in a group of its own.
    pub(crate) fn append(&mut self, core: &mut Core, n: u64, bytes: usize) {
        core.stage(&self.next(n, bytes)).unwrap();
        core.flush().unwrap();
    }

    /// Fills the segment that is being written with commits of the agents that it is told, and begins the next.
    pub(crate) fn fill(&mut self, core: &mut Core, mut agents: impl Iterator<Item = u64>) {
        self.append(core, agents.next().unwrap(), 100);
        let segment = self.newest();
        while self.newest() == segment {
            self.append(core, agents.next().unwrap(), 500);
        }
    }

    pub(crate) fn segments(&self) -> Vec<String> {
        self.disk.list().into_iter().filter(|name| name.starts_with("log/0")).collect()
    }

    /// The newest segment that has groups.
    pub(crate) fn newest(&self) -> String {
        let used = |name: &String| !forge::groups(&self.disk.read(name).unwrap()).is_empty();
        self.segments().into_iter().rfind(used).unwrap()
    }

    /// The only file whose name begins like this.
    pub(crate) fn only(&self, beginning: &str) -> String {
        let mut files = self.disk.list().into_iter().filter(|name| name.starts_with(beginning));
        let only = files.next().unwrap();
        assert_eq!(files.next(), None);
        only
    }

    /// The file of an agent's journal.
    pub(crate) fn file(&self, n: u64) -> String {
        self.only(&format!("agents/{}-", agent(n).0))
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        self.disk.files().open(name, Mode::CreateEmpty).unwrap().write_at(bytes, 0).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        self.disk.files().remove(name).unwrap();
    }

    /// All that a reader sees.
    pub(crate) fn shown(&self) -> Result<Journals, Error> {
        let reader = Reader::open_files(self.disk.files())?;
        let all = |agent: AgentId| Ok((agent, reader.read(agent, Seq(0))?.collect::<Result<_, _>>()?));
        reader.list().into_iter().map(all).collect()
    }

    /// The damage is reported, or it did none.
    pub(crate) fn nothing_silent(&self) -> Verdict {
        match self.shown() {
            Ok(shown) if shown != self.journals => Err("damage went unseen".into()),
            _ => Ok(()),
        }
    }

    /// It does not even open.
    pub(crate) fn refused(&self) -> Verdict {
        match Reader::open_files(self.disk.files()) {
            Err(Error::Corrupt { .. } | Error::Damaged { .. }) => Ok(()),
            Err(other) => Err(format!("it is refused, but with: {other}")),
            Ok(_) => Err("it opened as if nothing were wrong".into()),
        }
    }

    /// All is there but the last commit of an agent, whose write was cut off.
    pub(crate) fn torn(mut self, n: u64) -> Verdict {
        let journal = self.journals.get_mut(&agent(n)).unwrap();
        journal.pop();
        self.journals.retain(|_, journal| !journal.is_empty());
        match self.shown() {
            Ok(shown) if shown == self.journals => Ok(()),
            Ok(_) => Err("something other than the torn commit is missing".into()),
            Err(e) => Err(format!("a torn write was taken for damage: {e}")),
        }
    }
}

pub(crate) fn entry(at: Chain, bytes: usize) -> Vec<u8> {
    let mut entry = format!("{}/{} ", at.agent, at.next).into_bytes();
    entry.resize(bytes, b'.');
    entry
}

/// What must not have been accepted.
pub(crate) fn must_fail<T>(what: &str, result: &Result<T, Error>) -> Verdict {
    if result.is_err() { Ok(()) } else { Err(format!("{what} was accepted")) }
}
