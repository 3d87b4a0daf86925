//! The disk store on the files of this machine.
#![allow(clippy::unwrap_used)]

use igor_protocol::{AgentId, Chain, Commit, Hash, Seq};
use igor_store::{
    Error, Store,
    disk::{Disk, Options, Reader},
};

fn small() -> Options {
    Options { segment_bytes_first: 64 << 10, segment_bytes_max: 64 << 10, reserve_bytes: 4096, ..Options::default() }
}

fn agent(n: u8) -> AgentId {
    AgentId(Hash([n; 32]))
}

fn next(chain: &mut Chain, entries: usize, bytes: usize) -> Commit {
    let entries = (0..entries).map(|i| vec![u8::try_from((chain.next.0 + i as u64) % 251).unwrap(); bytes]).collect();
    let commit = Commit::from_encoded(*chain, entries);
    *chain = commit.end();
    commit
}

#[tokio::test]
async fn what_is_appended_is_read_back_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let mut chains: Vec<_> = (0..5).map(|n| Chain::begin(agent(n))).collect();
    let mut commits = vec![Vec::new(); 5];
    for round in 0..3 {
        let disk = Disk::open(home.path(), &small()).unwrap();
        for i in 0..60 {
            for (chain, commits) in chains.iter_mut().zip(&mut commits) {
                let commit = next(chain, 1 + i % 3, 100 + 10 * i);
                if commit.first() == Seq(0) {
                    disk.create(commit.clone()).await
                } else {
                    disk.append(commit.clone()).await
                }
                .unwrap();
                commits.push(commit);
            }
        }
        for (chain, commits) in chains.iter().zip(&commits) {
            assert_eq!(disk.tail(chain.agent).unwrap(), Some(*chain));
            let read: Vec<_> = disk.read(chain.agent, Seq(0)).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(&read, commits);
        }
        assert!(matches!(Reader::open(home.path()), Err(Error::Locked { pid, .. }) if pid == Some(std::process::id())));
        drop(disk);
        let reader = Reader::open(home.path()).unwrap();
        for (chain, commits) in chains.iter().zip(&commits) {
            assert_eq!(reader.tail(chain.agent), Some(*chain), "round {round}");
            for from in (0..chain.next.0).step_by(37).chain([chain.next.0 - 1]) {
                let read: Vec<_> = reader.read(chain.agent, Seq(from)).unwrap().collect::<Result<_, _>>().unwrap();
                let expected: Vec<_> = commits.iter().skip_while(|c| c.next().0 <= from).cloned().collect();
                assert_eq!(read, expected, "from {from}");
            }
        }
    }
}

#[test]
fn an_archive_that_is_replaced_under_a_reader_is_read_whole() {
    let home = tempfile::tempdir().unwrap();
    let mut chain = Chain::begin(agent(1));
    let commits: Vec<_> = (0..20).map(|_| next(&mut chain, 3, 100)).collect();
    let adopt = |commits: &[Commit]| {
        let disk = Disk::open(home.path(), &small()).unwrap();
        disk.adopt_archive(agent(1), commits.iter().cloned().map(Ok)).unwrap();
    };
    adopt(&commits[..5]);
    let reader = Reader::open(home.path()).unwrap();
    adopt(&commits);
    let read: Vec<_> = reader.read(agent(1), Seq(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, commits);
}
