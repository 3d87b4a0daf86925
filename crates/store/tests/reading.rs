//! Reading late in a long journal costs what is read, not what is there; and moving a segment to the agents' files takes
//! memory for a part of it.
#![allow(clippy::unwrap_used)]

mod machine;

use igor_protocol::{Chain, Seq};
use igor_sim::files::SimDisk;
use igor_store::{
    disk::{Core, Options},
    files::{File, Files, Mode, SyncPoint},
};
use machine::{agent, next, read_all};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Files that count the bytes that are read, and know the longest buffer that was read or written.
struct Counting {
    files: Arc<dyn Files>,
    read: Arc<AtomicU64>,
    longest: Arc<AtomicU64>,
}

struct CountingFile {
    file: Arc<dyn File>,
    read: Arc<AtomicU64>,
    longest: Arc<AtomicU64>,
}

impl Files for Counting {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        let (file, read, longest) = (self.files.open(name, mode)?, self.read.clone(), self.longest.clone());
        Ok(Arc::new(CountingFile { file, read, longest }))
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
        self.files.sync_dir(name, point)
    }
    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.files.list(name)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }
}

impl File for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.longest.fetch_max(bytes.len() as u64, Ordering::Relaxed);
        self.file.read_at(bytes, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.longest.fetch_max(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_at(bytes, at)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.file.sync(point)
    }
}

#[test]
fn reading_late_or_in_the_middle_does_not_read_all() {
    const KIB: u64 = 1 << 10;
    let read = Arc::new(AtomicU64::new(0));
    let files = Arc::new(Counting { files: SimDisk::new(1).files(), read: read.clone(), longest: Arc::default() });
    let options = Options { segment_bytes_first: 64 << 10, segment_bytes_max: 64 << 10, ..Options::default() };
    let mut core = Core::open(files.clone(), &options).unwrap();
    let mut chain = Chain::begin(agent(0));
    let commits: Vec<_> = (0..2500).map(|_| next(&mut chain, 1000)).collect();
    for (n, commit) in commits.iter().enumerate() {
        core.stage(commit).unwrap();
        if n % 10 == 0 {
            core.flush().unwrap();
            core.maintain().unwrap();
        }
    }
    core.flush().unwrap();
    core.maintain().unwrap();
    drop(core);

    read.store(0, Ordering::Relaxed);
    let core = Core::open(files, &options).unwrap();
    let opening = read.swap(0, Ordering::Relaxed);
    assert!(opening < 300 * KIB, "opening read {opening} bytes");
    let cost = |from: u64| {
        read.store(0, Ordering::Relaxed);
        let expected = commits.iter().find(|commit| commit.next().0 > from);
        let found = core.read(agent(0), Seq(from)).unwrap().next().map(Result::unwrap);
        assert_eq!(found.as_ref(), expected);
        read.load(Ordering::Relaxed)
    };
    let end = chain.next.0;
    let whole: u64 = commits.iter().map(|commit| commit.encode().len() as u64).sum();
    assert!(whole > 3000 * KIB, "{whole}");
    assert!(cost(end - 1) < 200 * KIB);
    assert!(cost(end - end / 50) < 350 * KIB);
    // The first look at the middle walks at most half of the file, the next one knows the way.
    let first = cost(end / 2);
    assert!(first < whole * 2 / 3, "{first} of {whole}");
    for from in [end / 2, end / 2 + 30, end * 3 / 4] {
        assert!(cost(from) < 450 * KIB, "from {from}");
    }
    assert_eq!(read_all(core.read(agent(0), Seq(0))).unwrap(), commits);
}

#[test]
fn moving_a_segment_takes_memory_for_a_part_of_it() {
    const SEGMENT_BYTES: u64 = 8 << 20;
    let longest = Arc::new(AtomicU64::new(0));
    let files = Counting { files: SimDisk::new(1).files(), read: Arc::default(), longest: longest.clone() };
    let options =
        Options { segment_bytes_first: SEGMENT_BYTES, segment_bytes_max: SEGMENT_BYTES, ..Options::default() };
    let mut core = Core::open(Arc::new(files), &options).unwrap();
    let mut chains = [0, 1].map(|n| Chain::begin(agent(n)));
    let mut commits = [Vec::new(), Vec::new()];
    while chains.iter().map(|chain| chain.next.0).sum::<u64>() * 1000 < SEGMENT_BYTES * 5 / 4 {
        for (chain, commits) in chains.iter_mut().zip(&mut commits) {
            commits.push(next(chain, 1000));
            core.stage(&commits[commits.len() - 1]).unwrap();
        }
        core.flush().unwrap();
    }
    longest.store(0, Ordering::Relaxed);
    core.copy().unwrap();
    let longest = longest.load(Ordering::Relaxed);
    assert!((128 << 10..1 << 20).contains(&longest), "{longest} bytes at once, of a segment of {SEGMENT_BYTES}");
    core.maintain().unwrap();
    for (n, commits) in commits.iter().enumerate() {
        assert_eq!(&read_all(core.read(agent(n as u64), Seq(0))).unwrap(), commits);
    }
}
