//! The disk store on the files of this machine.
#![allow(clippy::unwrap_used)]

use igor_protocol::{AgentId, Chain, Commit, Epoch, Hash, Seq};
use igor_store::{
    Error, Store, append_all,
    disk::{Disk, Options, Reader},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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

/// A home in which a journal of twenty commits is in a file.
async fn with_a_file(home: &Path) -> Vec<Commit> {
    let disk = Disk::open(home, &small()).unwrap();
    let mut chains = [1, 2].map(|n| Chain::begin(agent(n)));
    let commits: Vec<_> = (0..20).map(|_| next(&mut chains[0], 3, 100)).collect();
    for commit in &commits {
        disk.append(commit.clone()).await.unwrap();
    }
    for _ in 0..20 {
        disk.append(next(&mut chains[1], 3, 2000)).await.unwrap();
    }
    drop(disk);
    assert_eq!(files(home, 1), 1);
    commits
}

fn files(home: &Path, n: u8) -> usize {
    let names = std::fs::read_dir(home.join("agents")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with(&agent(n).0.to_string())).count()
}

fn read(commits: Result<igor_store::Commits, Error>) -> Result<Vec<Commit>, Error> {
    commits?.collect()
}

#[tokio::test]
async fn a_removed_journal_is_gone_with_its_file_and_another_branch_may_come() {
    let home = tempfile::tempdir().unwrap();
    let old = with_a_file(home.path()).await;
    let disk = Disk::open(home.path(), &small()).unwrap();
    let mut open = disk.read(agent(1), Seq(0)).unwrap();
    assert_eq!(open.next().unwrap().unwrap(), old[0]);
    disk.remove(agent(1)).await.unwrap();
    assert_eq!(disk.tail(agent(1)).unwrap(), None);
    assert_eq!(disk.list().unwrap(), [agent(2)]);
    let mut branch = Chain { epoch: Epoch { term: 1, n: 0 }, ..Chain::begin(agent(1)) };
    let new: Vec<_> = (0..30).map(|_| next(&mut branch, 3, 2000)).collect();
    append_all(&disk, new.iter().cloned().map(Ok::<_, Error>)).await.unwrap();
    assert_eq!(open.collect::<Result<Vec<_>, _>>().unwrap(), &old[1..], "who reads it reads it to its end");
    assert_eq!(read(disk.read(agent(1), Seq(0))).unwrap(), new);
    drop(disk);
    assert_eq!(files(home.path(), 1), 1, "the old file is gone");
    let reader = Reader::open(home.path()).unwrap();
    assert_eq!(read(reader.read(agent(1), Seq(0))).unwrap(), new);
}

/// One opened before it, by another process, does not mistake the next journal for the one that it found.
#[tokio::test]
async fn a_reader_of_a_removed_journal_is_told_so() {
    let home = tempfile::tempdir().unwrap();
    let old = with_a_file(home.path()).await;
    let reader = Reader::open(home.path()).unwrap();
    let open = reader.read(agent(1), Seq(0)).unwrap();
    let disk = Disk::open(home.path(), &small()).unwrap();
    disk.remove(agent(1)).await.unwrap();
    let mut branch = Chain { epoch: Epoch { term: 1, n: 0 }, ..Chain::begin(agent(1)) };
    for _ in 0..30 {
        disk.append(next(&mut branch, 3, 2000)).await.unwrap();
    }
    drop(disk);
    assert_eq!(open.collect::<Result<Vec<_>, _>>().unwrap(), old);
    let gone = reader.read(agent(1), Seq(0)).map(drop).unwrap_err();
    assert!(matches!(&gone, Error::Removed { agent: of, .. } if *of == agent(1)), "{gone}");
    assert!(gone.to_string().ends_with("its journal was removed; ask again"), "{gone}");
    assert_eq!(Reader::open(home.path()).unwrap().tail(agent(1)), Some(branch));
}

/// What is cut off goes on at the tail; what does not belong is refused, and nothing behind it is taken.
#[tokio::test]
async fn a_journal_of_another_node_comes_in_by_parts() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::open(home.path(), &small()).unwrap();
    let mut chain = Chain::begin(agent(1));
    let commits: Vec<_> = (0..300)
        .map(|i| {
            // Custody changed on the way.
            chain.epoch.n = i / 100;
            next(&mut chain, 3, 200)
        })
        .collect();
    let cut = commits[..130].iter().cloned().map(Ok).chain([Err(Error::Unknown { agent: agent(9) })]);
    assert!(matches!(append_all(&disk, cut).await, Err(Error::Unknown { .. })));
    let tail = disk.tail(agent(1)).unwrap().unwrap();
    assert_eq!(tail, commits[129].end());
    let stray = Commit::from_encoded(Chain { head: Hash([9; 32]), ..commits[150].start() }, vec![vec![1]]);
    let rest = commits.iter().skip_while(|commit| commit.first() < tail.next);
    let behind = next(&mut stray.end(), 3, 200);
    let wrong = rest.take(20).chain([&stray, &behind]).cloned().map(Ok);
    assert!(matches!(append_all(&disk, wrong).await, Err(Error::Conflict { .. })));
    drop(disk);
    let disk = Disk::open(home.path(), &small()).unwrap();
    let tail = disk.tail(agent(1)).unwrap().unwrap();
    assert_eq!(tail, commits[149].end());
    append_all(&disk, commits[150..].iter().cloned().map(Ok::<_, Error>)).await.unwrap();
    assert_eq!(read(disk.read(agent(1), Seq(0))).unwrap(), commits);
}

#[tokio::test]
async fn local_values_are_stored_in_the_order_of_asking() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::open(home.path(), &small()).unwrap();
    // Two at once: the files of both have the same name until they are whole.
    for round in 0..20_u8 {
        let (first, second) =
            tokio::join!(disk.put_local("mark", vec![round; 60_000]), disk.put_local("mark", vec![round]));
        first.and(second).unwrap();
        assert_eq!(disk.get_local("mark").unwrap(), Some(vec![round]));
    }
    disk.put_local("another", Vec::new()).await.unwrap();
    assert_eq!(disk.list_local().unwrap(), ["another", "mark"]);
    assert_eq!(disk.get_local("none").unwrap(), None);
    let (put, removed) = tokio::join!(disk.put_local("mark", vec![1]), disk.remove_local("mark"));
    put.and(removed).unwrap();
    assert_eq!(disk.list_local().unwrap(), ["another"]);
    disk.remove_local("mark").await.unwrap();
}

/// Whenever it is read, it is the beginning of one branch, or a typed error says that it went away.
#[tokio::test]
async fn who_reads_while_branches_come_and_go_sees_one_of_them() {
    let home = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(home.path(), &small()).unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let (reads, over_too) = (disk.clone(), over.clone());
    let reader = std::thread::spawn(move || {
        let mut seen = 0;
        while !over_too.load(Ordering::SeqCst) {
            match read(reads.read(agent(1), Seq(0))) {
                Ok(commits) => {
                    let mut chain = Chain { epoch: commits[0].epoch(), ..Chain::begin(agent(1)) };
                    for commit in commits {
                        assert_eq!(commit.start(), chain);
                        chain = commit.end();
                    }
                    seen += 1;
                }
                Err(Error::Unknown { .. } | Error::Removed { .. }) => {}
                Err(e) => panic!("{e}"),
            }
        }
        seen
    });
    for term in 0..40 {
        let mut chain = Chain { epoch: Epoch { term, n: 0 }, ..Chain::begin(agent(1)) };
        let commits: Vec<_> = (0..25).map(|_| next(&mut chain, 3, 2000)).collect();
        append_all(&*disk, commits.into_iter().map(Ok::<_, Error>)).await.unwrap();
        assert_eq!(disk.tail(agent(1)).unwrap(), Some(chain));
        disk.remove(agent(1)).await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let seen = reader.join().unwrap();
    assert!(seen > 0, "it was never seen");
    drop(disk);
    // The last file may have had no time to go.
    drop(Disk::open(home.path(), &small()).unwrap());
    assert_eq!(files(home.path(), 1), 0);
    assert!(Reader::open(home.path()).unwrap().list().is_empty());
}
