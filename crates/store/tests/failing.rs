//! Real files of which any one sync fails: the store refuses everything, claims nothing that it does not know, and
//! the next start has all that was acknowledged.
#![allow(clippy::unwrap_used)]

mod machine;

use igor_protocol::{Chain, Commit, Hash, Seq};
use igor_store::{
    Error, Store,
    disk::Disk,
    files::{File, Files, Mode, RealFiles, SyncPoint},
};
use machine::{agent, next, read_all, small};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const AGENTS: u64 = 3;

/// Counts the syncs of one name, and lets one fail.
struct Syncs {
    point: SyncPoint,
    failing: u64,
    count: AtomicU64,
}

impl Syncs {
    fn next(&self, point: SyncPoint) -> io::Result<()> {
        let fails = point == self.point && self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.failing;
        if fails { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }

    fn failed(&self) -> bool {
        self.count.load(Ordering::SeqCst) >= self.failing
    }
}

struct Failing {
    files: RealFiles,
    syncs: Arc<Syncs>,
}

struct FailingFile {
    file: Arc<dyn File>,
    syncs: Arc<Syncs>,
}

impl Files for Failing {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(FailingFile { file: self.files.open(name, mode)?, syncs: self.syncs.clone() }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.files.create_dir(name)
    }
    fn sync_dir(&self, name: &str, point: SyncPoint) -> io::Result<()> {
        self.syncs.next(point)?;
        self.files.sync_dir(name, point)
    }
    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.files.list(name)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }
}

impl File for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_at(bytes, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.syncs.next(point)?;
        self.file.sync(point)
    }
}

/// What was asked for, and how much of it was acknowledged.
#[derive(Default)]
struct Asked {
    journals: Vec<(Vec<Commit>, usize)>,
    blobs: Vec<(Hash, Vec<u8>)>,
    value: Option<Vec<u8>>,
}

impl Asked {
    fn end(&self, n: u64) -> Option<Chain> {
        let (commits, acknowledged) = &self.journals[usize::try_from(n).unwrap()];
        acknowledged.checked_sub(1).map(|last| commits[last].end())
    }

    /// All that was acknowledged is there, and nothing that was not asked for.
    fn check(&self, disk: &Disk) {
        for (n, (commits, acknowledged)) in (0..).zip(&self.journals) {
            let found = read_all(disk.read(agent(n), Seq(0))).unwrap();
            assert!(
                found.len() >= *acknowledged,
                "{acknowledged} commits were acknowledged, {} are there",
                found.len()
            );
            assert_eq!(commits[..found.len()], found);
        }
        for (hash, bytes) in &self.blobs {
            assert_eq!(disk.get_blob(*hash, 10_000).unwrap().as_ref(), Some(bytes));
        }
        if self.value.is_some() {
            assert!(disk.get_local("value").unwrap() >= self.value);
        }
    }
}

/// Agents that append at the same time, through several segments, with blobs, values and a removal in between.
async fn live(disk: &Disk, asked: &mut Asked) -> Result<(), Error> {
    let mut chains: Vec<_> = (0..AGENTS).map(|n| Chain::begin(agent(n))).collect();
    asked.journals = vec![(Vec::new(), 0); chains.len()];
    for round in 0..14_u8 {
        let commits: Vec<_> = chains.iter_mut().map(|chain| next(chain, 900)).collect();
        let append = |n: usize| disk.append(commits[n].clone());
        let (first, second, third) = tokio::join!(append(0), append(1), append(2));
        let mut results = vec![first, second, third];
        for ((result, commit), (commits, acknowledged)) in results.iter().zip(commits).zip(&mut asked.journals) {
            commits.push(commit);
            *acknowledged += usize::from(result.is_ok());
        }
        results.drain(..).collect::<Result<(), _>>()?;
        if round % 5 == 0 {
            let bytes = vec![round; 3000];
            asked.blobs.push((disk.put_blob(bytes.clone()).await?, bytes));
            disk.put_local("value", vec![round]).await?;
            asked.value = Some(vec![round]);
        }
        if round == 11 {
            let mut other = Chain::begin(agent(AGENTS));
            disk.append(next(&mut other, 900)).await?;
            disk.remove(agent(AGENTS)).await?;
            assert_eq!(disk.tail(agent(AGENTS))?, None);
        }
    }
    Ok(())
}

/// Lives until a sync fails, then goes on with files that work; says whether it failed.
async fn live_until(point: SyncPoint, failing: u64) -> bool {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let syncs = Arc::new(Syncs { point, failing, count: AtomicU64::new(0) });
    let files = Arc::new(Failing { files: RealFiles::new(home), syncs: syncs.clone() });
    let mut asked = Asked::default();
    match Disk::open_files(files, &small()) {
        Err(e) => assert!(matches!(e, Error::Poisoned { .. }), "{e}"),
        Ok(disk) => {
            let lived = live(&disk, &mut asked).await;
            if let Err(e) = &lived {
                assert!(matches!(e, Error::Poisoned { .. }), "{e}");
                assert!(matches!(disk.poisoned().await, Error::Poisoned { .. }));
                for n in 0..AGENTS {
                    assert_eq!(disk.tail(agent(n)).unwrap(), asked.end(n), "only what was acknowledged is shown");
                    let mut chain = asked.end(n).unwrap_or(Chain::begin(agent(n)));
                    assert!(matches!(disk.append(next(&mut chain, 10)).await, Err(Error::Poisoned { .. })));
                }
                assert!(matches!(disk.put_blob(vec![1; 10]).await, Err(Error::Poisoned { .. })));
                assert!(matches!(disk.put_local("other", b"x".to_vec()).await, Err(Error::Poisoned { .. })));
            }
        }
    }
    let disk = Disk::open(home, &small()).unwrap();
    asked.check(&disk);
    let mut chain = disk.tail(agent(0)).unwrap().unwrap_or(Chain::begin(agent(0)));
    disk.append(next(&mut chain, 10)).await.unwrap();
    syncs.failed()
}

#[tokio::test]
async fn any_sync_that_fails_on_real_files_is_the_last() {
    // Those wait for a restart.
    let later = [SyncPoint::RecoveredGroup, SyncPoint::FoundNames];
    for point in SyncPoint::ALL.into_iter().filter(|point| !later.contains(point)) {
        assert!(live_until(point, 1).await, "{point:?} did not fail");
        live_until(point, 3).await;
    }
}
