//! What the tests on real files share: journals with predictable content, and processes that write and are killed.
#![allow(dead_code)] // each test file uses its part

use igor_protocol::{AgentId, Chain, Commit, Epoch, Hash, Seq};
use igor_store::{
    Error, Store,
    disk::{Disk, Options, Reader},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

const HOME: &str = "IGOR_TEST_HOME";
const AGENTS: u64 = 8;

/// Small, so that a short life goes through many segments.
pub(crate) fn small() -> Options {
    Options { segment_bytes_first: 32 << 10, segment_bytes_max: 32 << 10, reserve_bytes: 4096, ..Options::default() }
}

pub(crate) fn agent(n: u64) -> AgentId {
    AgentId(Hash::of_blob(&n.to_be_bytes()))
}

/// The next commit of a journal: a few entries that follow from the position.
pub(crate) fn next(chain: &mut Chain, bytes: usize) -> Commit {
    let entry = |i: u64| format!("{}/{}/", chain.agent, chain.next.0 + i).into_bytes().repeat(1 + bytes / 80);
    let commit = Commit::from_encoded(*chain, (0..=chain.next.0 % 3).map(entry).collect());
    *chain = commit.end();
    commit
}

pub(crate) fn read_all(commits: Result<igor_store::Commits, Error>) -> Result<Vec<Commit>, Error> {
    match commits {
        Ok(commits) => commits.collect(),
        Err(Error::Unknown { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Says that a test could not run, so that nobody takes silence for success.
pub(crate) fn skip(what: &str, why: &str) {
    drop(writeln!(std::io::stderr(), "SKIPPED: {what}: {why}"));
}

/// What was announced: for each agent, the chain's heads by the position after them.
#[derive(Default)]
pub(crate) struct Announced {
    journals: BTreeMap<AgentId, BTreeMap<u64, Hash>>,
    /// Those of a journal whose removal was begun: none of them may be there, or all, until it is announced.
    removed: BTreeMap<AgentId, (BTreeMap<u64, Hash>, bool)>,
    commits: usize,
    removals: usize,
}

impl Announced {
    pub(crate) fn count(&self) -> usize {
        self.commits
    }

    /// How many journals are known to be removed.
    pub(crate) fn removals(&self) -> usize {
        self.removals
    }

    /// Takes a line, if it is whole.
    fn take(&mut self, line: &str) {
        let Some(line) = line.strip_suffix('\n') else { return };
        // The first line comes after something that the test harness prints.
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            [.., "announced", agent, next, head] => {
                if let (Ok(agent), Ok(next), Ok(head)) = (agent.parse(), next.parse(), head.parse()) {
                    self.journals.entry(agent).or_default().insert(next, head);
                    self.commits += 1;
                }
            }
            [.., "removing", agent] => {
                if let Ok(agent) = agent.parse() {
                    let heads = self.journals.remove(&agent).unwrap_or_default();
                    self.removed.insert(agent, (heads, false));
                }
            }
            [.., "removed", agent] => {
                if let Some((_, done)) = agent.parse().ok().and_then(|agent| self.removed.get_mut(&agent)) {
                    *done = true;
                    self.removals += 1;
                }
            }
            _ => {}
        }
    }

    /// Everything announced is in the journals, which verify from their start to their end.
    pub(crate) fn check(&self, home: &Path) {
        let reader = Reader::open(home).unwrap_or_else(|e| panic!("{e}"));
        let heads = |agent: AgentId| -> BTreeMap<u64, Hash> {
            let commits = read_all(reader.read(agent, Seq(0))).unwrap_or_else(|e| panic!("{e}"));
            commits.iter().map(|commit| (commit.next().0, commit.head())).collect()
        };
        for (agent, announced) in &self.journals {
            let heads = heads(*agent);
            for (next, head) in announced {
                assert_eq!(heads.get(next), Some(head), "agent {agent} at {next}");
            }
        }
        for (agent, (removed, done)) in &self.removed {
            let heads = heads(*agent);
            let there = removed.iter().filter(|(next, head)| heads.get(next) == Some(head)).count();
            // One that was not confirmed may not have happened; the journal goes on then.
            let whole = !done && there == removed.len();
            assert!(there == 0 || whole, "agent {agent}: {there} of the {} that were removed", removed.len());
        }
    }

    /// The newest announcement of each agent is there. Cheap, for after each of many kills.
    pub(crate) fn check_newest(&self, home: &Path) {
        let Some(reader) = open_or_none(home, self.journals.is_empty()) else { return };
        for (agent, announced) in &self.journals {
            let Some((next, head)) = announced.last_key_value() else { continue };
            let commits = read_all(reader.read(*agent, Seq(next - 1))).unwrap_or_else(|e| panic!("{e}"));
            assert!(
                commits.iter().any(|commit| (commit.next().0, commit.head()) == (*next, *head)),
                "{agent} at {next}"
            );
        }
    }
}

/// A process that was killed before it finished making its home left none, and announced nothing.
fn open_or_none(home: &Path, nothing_announced: bool) -> Option<Reader> {
    match Reader::open(home) {
        Ok(reader) => Some(reader),
        Err(Error::NotAHome { .. }) if nothing_announced => None,
        Err(e) => panic!("{e}"),
    }
}

/// This test program again, to run only the ignored test `child` on a home.
pub(crate) fn start_child(home: &Path, child: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", child]).env(HOME, home);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Reads what a child announced until its end.
pub(crate) fn listen(stdout: ChildStdout, announced: &mut Announced) {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    while stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
        announced.take(&line);
        line.clear();
    }
}

/// The home that a child was started on.
pub(crate) fn child_home() -> Option<std::path::PathBuf> {
    std::env::var_os(HOME).map(Into::into)
}

/// Appends to several journals at once and announces each commit that is durable, until killed. Now and then removes a
/// journal and begins it anew, as another branch: a local value knows how many there were.
pub(crate) async fn write_for_ever(home: &Path) {
    let disk = Disk::open(home, &small()).unwrap();
    let mut branch = disk.get_local("branch").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    let begin = |n, branch| Chain { epoch: Epoch { term: branch, n: 0 }, ..Chain::begin(agent(n)) };
    let mut chains: Vec<_> =
        (0..AGENTS).map(|n| disk.tail(agent(n)).unwrap().unwrap_or_else(|| begin(n, branch))).collect();
    for round in 0_usize.. {
        let commits: Vec<_> = chains.iter_mut().map(|chain| next(chain, 10 * (round % 40))).collect();
        // All wait together, so that they come to share groups.
        let appends: Vec<_> = commits.iter().map(|commit| Box::pin(disk.append(commit.clone()))).collect();
        for (append, commit) in appends.into_iter().zip(&commits) {
            append.await.unwrap();
            say(&format!("announced {} {} {}", commit.agent(), commit.next(), commit.head()));
        }
        if round % 6 == 3 {
            branch += 1;
            disk.put_local("branch", branch.to_be_bytes().to_vec()).await.unwrap();
            let n = branch % AGENTS;
            say(&format!("removing {}", agent(n)));
            disk.remove(agent(n)).await.unwrap();
            say(&format!("removed {}", agent(n)));
            chains[usize::try_from(n).unwrap()] = begin(n, branch);
        }
    }
}

fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}
