//! A full disk, a read-only one, one that fails to sync, and commits that do not belong.
#![allow(clippy::unwrap_used)]

mod machine;

use igor_protocol::{Body, Chain, Commit, Entry, Epoch, Hash, Seq, Timestamp, entry::EndCause};
use igor_sim::files::{Crash, SimDisk};
use igor_store::{
    Error, Store,
    disk::{Core, Disk, Options, Reader},
    files::SyncPoint,
};
use machine::{agent, next, read_all, skip, small};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn tiny() -> Options {
    Options { segment_bytes_first: 8192, segment_bytes_max: 8192, reserve_bytes: 4096, ..Options::default() }
}

/// A commit with which an agent ends.
fn end(chain: &mut Chain) -> Commit {
    let commit = Commit::new(*chain, &[Entry { at: Timestamp(1), body: Body::End(EndCause::Exhausted) }]);
    *chain = commit.end();
    commit
}

fn append(core: &mut Core, commit: &Commit) -> Result<(), Error> {
    core.stage(commit)?;
    core.flush()
}

#[test]
fn a_full_disk_names_the_agent_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new(1);
    let mut core = Core::open(disk.files(), &tiny()).unwrap();
    core.maintain().unwrap();
    disk.set_capacity(Some(disk.used() + 20_000));
    let mut chains: Vec<_> = (0..3).map(|n| Chain::begin(agent(n))).collect();
    let mut kept = vec![Vec::new(); 3];
    let refused = loop {
        let n = kept.iter().map(Vec::len).sum::<usize>() % 3;
        let mut after = chains[n];
        let commit = next(&mut after, 200);
        if let Err(e) = append(&mut core, &commit) {
            assert!(e.nothing_written());
            break e.to_string();
        }
        (chains[n], kept[n]) = (after, [kept[n].as_slice(), &[commit]].concat());
        // The mover runs out of space too, and that is no reason to fail.
        assert!(matches!(core.maintain(), Ok(()) | Err(Error::Full { .. })));
    };
    assert!(refused.contains("no space left") && refused.contains("agent igor1"), "{refused}");
    assert!(matches!(core.stage_local("name", &[1; 9000]), Err(Error::Full { .. })));
    // What an agent needs to end gracefully or to go elsewhere still has room: what the keystore is told of it, a
    // checkpoint's state, and the entries.
    core.stage_local("custody", &[2; 300]).unwrap();
    core.flush().unwrap();
    let state = core.put_blob(&[3; 2000]).unwrap();
    for (chain, kept) in chains.iter_mut().zip(&mut kept) {
        let commit = end(chain);
        append(&mut core, &commit).unwrap();
        kept.push(commit);
    }
    disk.restart(Crash::Power);
    disk.set_capacity(None);
    let mut core = Core::open(disk.files(), &tiny()).unwrap();
    assert_eq!(core.get_local("custody").unwrap(), Some(vec![2; 300]));
    assert_eq!(core.get_blob(state, 4096).unwrap(), Some(vec![3; 2000]));
    for (n, (chain, kept)) in chains.iter_mut().zip(&kept).enumerate() {
        assert_eq!(&read_all(core.read(agent(n as u64), Seq(0))).unwrap(), kept);
        append(&mut core, &next(chain, 200)).unwrap();
    }
    core.maintain().unwrap();
}

#[test]
fn a_full_disk_that_has_room_again_needs_no_restart() {
    let disk = SimDisk::new(2);
    let mut core = Core::open(disk.files(), &tiny()).unwrap();
    core.maintain().unwrap();
    disk.set_capacity(Some(disk.used()));
    let mut chain = Chain::begin(agent(0));
    let refused = loop {
        let commit = next(&mut chain, 300);
        if append(&mut core, &commit).is_err() {
            break commit;
        }
    };
    disk.set_capacity(None);
    append(&mut core, &refused).unwrap();
    assert_eq!(core.tail(agent(0)), Some(refused.end()));
}

#[test]
fn commits_that_do_not_link_are_refused_and_nothing_is_written() {
    let mut core = Core::open(SimDisk::new(3).files(), &tiny()).unwrap();
    let mut chain = Chain::begin(agent(0));
    let first = next(&mut chain, 10);
    let missing = core.stage(&Commit::from_encoded(chain, vec![vec![1]])).unwrap_err();
    assert!(matches!(missing, Error::Conflict { tail: None, .. }), "{missing}");
    core.stage(&first).unwrap();
    // What is staged counts, though it is not durable yet.
    let again = core.stage(&first).unwrap_err();
    assert!(matches!(again, Error::Conflict { .. }), "{again}");
    assert_eq!(core.tail(agent(0)), None);
    core.flush().unwrap();
    assert_eq!(core.tail(agent(0)), Some(chain));
    let other_head = Chain { head: Hash([9; 32]), ..chain };
    let forked = core.stage(&Commit::from_encoded(other_head, vec![vec![1]])).unwrap_err();
    assert!(matches!(forked, Error::Conflict { tail: Some(tail), .. } if *tail == chain));
    let gap = core.stage(&Commit::from_encoded(Chain { next: chain.next.next(), ..chain }, vec![vec![1]])).unwrap_err();
    assert!(gap.to_string().contains("but the journal ends at seq"), "{gap}");
    let raised = Chain { epoch: Epoch { term: 0, n: 2 }, ..chain };
    let raised = Commit::from_encoded(raised, vec![vec![1]]);
    core.stage(&raised).unwrap();
    let fenced = Commit::from_encoded(Chain { epoch: Epoch { term: 0, n: 1 }, ..raised.end() }, vec![vec![1]]);
    let fenced = core.stage(&fenced).unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    assert!(fenced.nothing_written());
    core.flush().unwrap();
    assert_eq!(read_all(core.read(agent(0), Seq(0))).unwrap(), [first, raised]);
}

#[test]
fn a_removed_journal_begins_anew_and_nothing_of_it_comes_back() {
    let disk = SimDisk::new(4);
    let mut core = Core::open(disk.files(), &tiny()).unwrap();
    let mut chain = Chain::begin(agent(0));
    for _ in 0..20 {
        append(&mut core, &next(&mut chain, 400)).unwrap();
        core.maintain().unwrap();
    }
    let file = || disk.list().into_iter().find(|name| name.starts_with("agents/"));
    assert!(file().is_some());
    // What is staged before goes with it; what comes after begins at the beginning, under whatever custody.
    core.stage(&next(&mut chain, 10)).unwrap();
    core.stage_removal(agent(0)).unwrap();
    let late = core.stage(&next(&mut chain, 10)).unwrap_err();
    assert!(matches!(late, Error::Conflict { tail: None, .. }) && late.nothing_written(), "{late}");
    assert!(core.tail(agent(0)).is_some(), "it is there until the removal is durable");
    core.flush().unwrap();
    assert_eq!((core.tail(agent(0)), core.list()), (None, Vec::new()));
    assert!(matches!(core.read(agent(0), Seq(0)).map(drop), Err(Error::Unknown { .. })));
    assert!(file().is_some(), "the file goes in the background");
    core.maintain().unwrap();
    assert_eq!(file(), None);
    // Again, and of one that never was: nothing to do.
    let operations = disk.operations();
    core.stage_removal(agent(0)).unwrap();
    core.stage_removal(agent(7)).unwrap();
    core.flush().unwrap();
    assert_eq!(disk.operations(), operations);
    let mut branch = Chain { epoch: Epoch { term: 1, n: 0 }, ..Chain::begin(agent(0)) };
    let kept: Vec<_> = (0..20).map(|_| next(&mut branch, 300)).collect();
    for commit in &kept {
        append(&mut core, commit).unwrap();
    }
    core.maintain().unwrap();
    disk.restart(Crash::Power);
    let core = Core::open(disk.files(), &tiny()).unwrap();
    assert_eq!(read_all(core.read(agent(0), Seq(0))).unwrap(), kept);
}

/// Room is kept for it, and what it takes away makes room.
#[test]
fn a_journal_can_be_removed_from_a_full_disk() {
    let disk = SimDisk::new(8);
    let mut core = Core::open(disk.files(), &tiny()).unwrap();
    core.maintain().unwrap();
    disk.set_capacity(Some(disk.used() + 40_000));
    let mut chains: Vec<_> = (0..2).map(|n| Chain::begin(agent(n))).collect();
    let mut fill = |core: &mut Core| loop {
        for chain in &mut chains {
            let mut after = *chain;
            let commit = next(&mut after, 400);
            match append(core, &commit) {
                Ok(()) => *chain = after,
                Err(Error::Full { .. }) => return,
                Err(e) => panic!("{e}"),
            }
            assert!(matches!(core.maintain(), Ok(()) | Err(Error::Full { .. })));
        }
    };
    fill(&mut core);
    core.stage_removal(agent(0)).unwrap();
    core.flush().unwrap();
    assert_eq!(core.list(), [agent(1)]);
    let full = disk.used();
    assert!(matches!(core.maintain(), Ok(()) | Err(Error::Full { .. })));
    assert!(disk.used() < full, "{} of {full} bytes are used", disk.used());
    disk.restart(Crash::Power);
    let mut core = Core::open(disk.files(), &tiny()).unwrap();
    assert_eq!(core.list(), [agent(1)]);
    let mut chain = core.tail(agent(1)).unwrap();
    append(&mut core, &next(&mut chain, 200)).unwrap();
}

#[tokio::test]
async fn a_failed_sync_poisons_the_store_and_says_so() {
    for point in [SyncPoint::Group, SyncPoint::Blob, SyncPoint::LocalName, SyncPoint::AgentFile] {
        let files = SimDisk::new(5);
        let disk = Disk::open_files(files.files(), &tiny()).unwrap();
        let mut chain = Chain::begin(agent(0));
        disk.create(next(&mut chain, 10)).await.unwrap();
        let acknowledged = chain;
        // Goes to its file with the segment that it is in.
        disk.put_local("a", b"b".to_vec()).await.unwrap();
        files.fail(point, 1);
        let failed = match point {
            SyncPoint::Group => disk.append(next(&mut chain, 10)).await.unwrap_err(),
            SyncPoint::Blob => disk.put_blob(vec![1; 10]).await.map(drop).unwrap_err(),
            // Found by the mover, some segments later.
            _ => loop {
                if let Err(e) = disk.append(next(&mut chain, 2000)).await {
                    break e;
                }
            },
        };
        assert!(matches!(failed, Error::Poisoned { .. }), "{point:?}: {failed}");
        assert!(matches!(disk.poisoned().await, Error::Poisoned { .. }));
        // Nothing is accepted any more, of any kind.
        assert!(matches!(disk.append(next(&mut chain, 10)).await, Err(Error::Poisoned { .. })));
        assert!(matches!(disk.remove(agent(0)).await, Err(Error::Poisoned { .. })));
        assert!(matches!(disk.put_blob(vec![2]).await, Err(Error::Poisoned { .. })));
        assert!(matches!(disk.put_local("c", b"d".to_vec()).await, Err(Error::Poisoned { .. })));
        drop(disk);
        files.restart(Crash::Process);
        let disk = Disk::open_files(files.files(), &tiny()).unwrap();
        assert!(disk.tail(agent(0)).unwrap().unwrap().next >= acknowledged.next);
    }
}

#[test]
fn local_values_have_plain_names_and_a_limit() {
    let mut core = Core::open(SimDisk::new(6).files(), &tiny()).unwrap();
    for name in ["", "a/b", "..", "A", "new-x", &"x".repeat(65)] {
        assert!(matches!(core.stage_local(name, b""), Err(Error::BadName { .. })), "{name}");
    }
    assert!(matches!(core.stage_local("a", &vec![0; (64 << 10) + 1]), Err(Error::TooLarge { .. })));
    core.stage_local("a", &vec![0; 64 << 10]).unwrap();
    assert_eq!(core.get_local("a").unwrap(), None, "it is not durable yet");
    core.flush().unwrap();
    assert_eq!(core.get_local("a").unwrap().map(|bytes| bytes.len()), Some(64 << 10));
    assert_eq!(core.get_local("b").unwrap(), None);
}

/// A file system of this kind, mounted on a fresh directory. Unmounted at the end.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted =
            rustix::process::geteuid().is_root() && mount(&["-t", "tmpfs", "-o", options, "tmpfs"], directory.path());
        mounted.then(|| Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn home(&self) -> PathBuf {
        self.path().join("home")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.path()).status());
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount").args(arguments).arg(at).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_full_file_system_for_real() {
    let Some(tmpfs) = Mounted::tmpfs("size=1m") else {
        return skip("a full file system", "it needs root and mount");
    };
    let options = Options {
        segment_bytes_first: 64 << 10,
        segment_bytes_max: 64 << 10,
        reserve_bytes: 64 << 10,
        ..Options::default()
    };
    let disk = Disk::open(&tmpfs.home(), &options).unwrap();
    let mut chain = Chain::begin(agent(0));
    let mut kept = Vec::new();
    let refused = loop {
        let mut after = chain;
        let commit = next(&mut after, 4000);
        match disk.append(commit.clone()).await {
            Ok(()) => (chain, kept) = (after, [kept, vec![commit]].concat()),
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert!(refused.to_string().contains(&agent(0).to_string()), "{refused}");
    disk.put_blob(vec![1; 20_000]).await.unwrap();
    let last = end(&mut chain);
    disk.append(last.clone()).await.unwrap();
    kept.push(last);
    assert_eq!(read_all(disk.read(agent(0), Seq(0))).unwrap(), kept);
    drop(disk);
    assert!(mount(&["-o", "remount,size=8m", "tmpfs"], tmpfs.path()));
    let disk = open_again(&tmpfs.home(), &options);
    assert_eq!(read_all(disk.read(agent(0), Seq(0))).unwrap(), kept);
    disk.append(next(&mut chain, 4000)).await.unwrap();
}

/// A process that another test starts has every lock of this one until it runs its program.
#[allow(clippy::disallowed_methods)] // that process runs in real time
fn open_again(home: &Path, options: &Options) -> Disk {
    for _ in 0..500 {
        match Disk::open(home, options) {
            Err(Error::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("{} stays locked", home.display());
}

#[tokio::test]
async fn a_read_only_file_system_can_be_looked_at() {
    let Some(tmpfs) = Mounted::tmpfs("size=16m") else {
        return skip("a read-only file system", "it needs root and mount");
    };
    let mut chain = Chain::begin(agent(0));
    let disk = Disk::open(&tmpfs.home(), &small()).unwrap();
    let commits: Vec<_> = (0..100).map(|_| next(&mut chain, 1000)).collect();
    for commit in &commits {
        disk.append(commit.clone()).await.unwrap();
    }
    drop(disk);
    assert!(mount(&["-o", "remount,ro", "tmpfs"], tmpfs.path()));
    let reader = Reader::open(&tmpfs.home()).unwrap();
    assert_eq!(read_all(reader.read(agent(0), Seq(0))).unwrap(), commits);
    drop(reader);
    let refused = Disk::open(&tmpfs.home(), &small()).map(drop).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
}
