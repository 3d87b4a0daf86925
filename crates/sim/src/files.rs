//! A simulated disk: files that can lose, tear and reorder whatever was not synced.
//!
//! Invariants: everything follows from the seed and the calls; what the store's file seam promises is kept, and
//! nothing more than that. A process that crashed leaves what the page cache has; a power cut leaves what was
//! synced and of the rest any part: each write lost, kept or torn at any byte, each creation, rename and removal
//! lost or kept by itself.

mod content;
mod names;

use crate::random::Random;
use content::Content;
use igor_store::files::{File, Files, Mode, Rule, Rules, SyncPoint};
use names::Names;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How a simulated machine went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed: the page cache survives.
    Process,
    /// The power was cut: only what was synced survives for sure.
    Power,
}

/// What power cuts took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Writes and changes of names that were not synced and are gone.
    pub lost: u64,
    /// Writes that were not synced and of which a part is there.
    pub torn: u64,
}

/// What a disk could not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Writes and reservations for which there was no room.
    pub full: u64,
    /// Syncs that failed.
    pub failed: u64,
}

/// A sync that comes too late: when it comes, and of what.
struct Pending {
    operation: u64,
    target: Target,
}

enum Target {
    Content(usize),
    Directory(String),
}

/// A disk that outlives the processes that use it. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

struct State {
    random: Random,
    contents: Vec<Content>,
    names: Names,
    /// Counts the restarts; handles of an earlier one are dead.
    boot: u64,
    down: bool,
    /// Changes since the last restart: writes, syncs, creations, renames, removals.
    operations: u64,
    crash_at: Option<u64>,
    skipped: BTreeSet<SyncPoint>,
    /// Syncs that come too late: after so many more changes.
    late: BTreeMap<SyncPoint, u64>,
    pending: Vec<Pending>,
    rules: Rules,
    failing: Option<(SyncPoint, u64)>,
    refused: Refused,
    reached: BTreeMap<SyncPoint, u64>,
    capacity: Option<u64>,
    losses: Losses,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            contents: Vec::new(),
            names: Names::default(),
            boot: 0,
            down: false,
            operations: 0,
            crash_at: None,
            skipped: BTreeSet::new(),
            late: BTreeMap::new(),
            pending: Vec::new(),
            rules: Rules::ALL,
            failing: None,
            refused: Refused::default(),
            reached: BTreeMap::new(),
            capacity: None,
            losses: Losses::default(),
        })))
    }

    /// The files as the process that runs now sees them.
    pub fn files(&self) -> Arc<dyn Files> {
        let boot = self.state().boot;
        Arc::new(SimFiles { disk: self.clone(), boot })
    }

    /// Takes the machine down in the middle of this change from now on, 1 being the next one; `None`: not at all.
    pub fn crash_at(&self, operation: Option<u64>) {
        let mut state = self.state();
        state.crash_at = operation.map(|operation| state.operations + operation);
    }

    /// Whether it is down.
    pub fn is_down(&self) -> bool {
        self.state().down
    }

    /// What all power cuts so far took away.
    pub fn losses(&self) -> Losses {
        self.state().losses
    }

    /// Changes since the last restart.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Starts again after a crash, of the kind given. All earlier handles are dead.
    pub fn restart(&self, crash: Crash) {
        let mut state = self.state();
        let state = &mut *state;
        if crash == Crash::Power {
            state.losses.lost += state.names.cut_power(&mut state.random);
            for content in &mut state.contents {
                let Losses { lost, torn } = content.cut_power(&mut state.random);
                (state.losses.lost, state.losses.torn) = (state.losses.lost + lost, state.losses.torn + torn);
            }
        }
        let kept = state.names.known();
        for (at, content) in state.contents.iter_mut().enumerate() {
            if !kept.contains(&at) {
                *content = Content::default();
            }
        }
        state.boot += 1;
        state.pending.clear();
        state.down = false;
        state.crash_at = None;
        state.operations = 0;
    }

    /// Leaves out every sync of this name: it returns and does nothing.
    pub fn skip(&self, point: SyncPoint) {
        self.state().skipped.insert(point);
    }

    /// Lets every sync of this name come too late: it returns at once, and takes effect after so many more changes.
    pub fn delay(&self, point: SyncPoint, operations: u64) {
        self.state().late.insert(point, operations);
    }

    /// Lets the store leave out one of its rules, from its next start on.
    pub fn leave_out(&self, rule: Rule) {
        self.state().rules = Rules::without(rule);
    }

    /// Lets the `nth` sync of this name from now on fail, 1 being the next one: some of the writes are lost, and
    /// all count as written, as Linux has it.
    pub fn fail(&self, point: SyncPoint, nth: u64) {
        let mut state = self.state();
        let reached = state.reached.get(&point).copied().unwrap_or(0);
        state.failing = Some((point, reached + nth));
    }

    /// Lets no sync fail.
    pub fn spare(&self) {
        self.state().failing = None;
    }

    /// What it refused since this was asked last.
    pub fn take_refused(&self) -> Refused {
        std::mem::take(&mut self.state().refused)
    }

    /// Limits the bytes of all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// The bytes of all files together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The names of all files, sorted.
    pub fn list(&self) -> Vec<String> {
        self.state().names.all()
    }

    /// The bytes of a file; nothing if it is not there.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|at| state.contents[at].bytes().to_vec())
    }

    /// Lets the disk rot: replaces the bytes of a file, on the disk and in the page cache.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if let Some(at) = state.names.get(name) {
            let content = &mut state.contents[at];
            let mut bytes = content.bytes().to_vec();
            change(&mut bytes);
            *content = Content::durable(bytes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self, boot: u64) -> io::Result<()> {
        if self.down || self.boot != boot { Err(io::Error::other("the simulated machine is down")) } else { Ok(()) }
    }

    /// Counts a change; says whether the machine goes down in the middle of it.
    fn change(&mut self, boot: u64) -> io::Result<bool> {
        self.check(boot)?;
        self.operations += 1;
        self.down = self.crash_at == Some(self.operations);
        if !self.down {
            self.sync_late();
        }
        Ok(self.down)
    }

    fn used(&self) -> u64 {
        self.names.contents().map(|at| self.contents[at].size()).sum()
    }

    /// How many of the bytes a file wants to grow by there are.
    fn grant(&self, growth: u64) -> u64 {
        self.capacity.map_or(growth, |capacity| growth.min(capacity.saturating_sub(self.used())))
    }

    fn full(&mut self) -> io::Result<()> {
        self.refused.full += 1;
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Does the late syncs whose time has come.
    fn sync_late(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let (due, later): (Vec<_>, _) = pending.into_iter().partition(|pending| pending.operation < self.operations);
        self.pending = later;
        for Pending { target, .. } in due {
            self.sync_now(&target);
        }
    }

    fn sync_now(&mut self, target: &Target) {
        match target {
            Target::Content(at) => self.contents[*at].sync(),
            Target::Directory(name) => self.names.sync(name),
        }
    }

    fn sync(&mut self, point: SyncPoint, target: Target) -> io::Result<()> {
        let reached = self.reached.entry(point).or_insert(0);
        *reached += 1;
        if self.failing == Some((point, *reached)) {
            self.refused.failed += 1;
            // A file system keeps what it knows of its names, and tries again or shuts down; pages it forgets.
            if let Target::Content(at) = &target {
                self.contents[*at].fail_sync(&mut self.random);
            }
            return Err(io::Error::other("the simulated disk failed to sync"));
        }
        match self.late.get(&point) {
            _ if self.skipped.contains(&point) => {}
            Some(operations) => self.pending.push(Pending { operation: self.operations + operations, target }),
            None => self.sync_now(&target),
        }
        Ok(())
    }
}

fn went_down<T>() -> io::Result<T> {
    Err(io::Error::other("the simulated machine went down"))
}

struct SimFiles {
    disk: SimDisk,
    boot: u64,
}

impl Files for SimFiles {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        let mut state = self.disk.state();
        state.check(self.boot)?;
        let known = state.names.get(name);
        let at = match (known, mode) {
            (Some(at), Mode::CreateEmpty) => {
                if state.change(self.boot)? {
                    return went_down();
                }
                state.contents[at].truncate();
                at
            }
            (Some(at), _) => at,
            (None, Mode::Read | Mode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                let down = state.change(self.boot)?;
                let at = state.contents.len();
                state.contents.push(Content::default());
                state.names.add(name, at)?;
                if down {
                    return went_down();
                }
                at
            }
        };
        Ok(Arc::new(SimFile { disk: self.disk.clone(), boot: self.boot, at, writable: mode != Mode::Read }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        let down = state.change(self.boot)?;
        state.names.rename(from, to)?;
        if down { went_down() } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        let down = state.change(self.boot)?;
        state.names.remove(name)?;
        if down { went_down() } else { Ok(()) }
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        let down = state.change(self.boot)?;
        state.names.add_directory(name);
        if down { went_down() } else { Ok(()) }
    }

    fn sync_dir(&self, name: &str, point: SyncPoint) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.change(self.boot)? {
            return went_down();
        }
        state.sync(point, Target::Directory(name.into()))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let state = self.disk.state();
        state.check(self.boot)?;
        state.names.list(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated").join(name)
    }

    fn rules(&self) -> Rules {
        self.disk.state().rules
    }
}

struct SimFile {
    disk: SimDisk,
    boot: u64,
    at: usize,
    writable: bool,
}

impl SimFile {
    fn change(&self, state: &mut State) -> io::Result<bool> {
        if self.writable { state.change(self.boot) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check(self.boot)?;
        Ok(state.contents[self.at].bytes().len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.disk.state();
        state.check(self.boot)?;
        let content = state.contents[self.at].bytes();
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let part = content.get(start..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let down = self.change(&mut state)?;
        let growth = state.contents[self.at].growth(at + bytes.len() as u64);
        let missing = usize::try_from(growth - state.grant(growth)).unwrap_or(usize::MAX);
        let mut written = &bytes[..bytes.len().saturating_sub(missing)];
        if down {
            written = &written[..state.random.index(written.len() + 1)];
        }
        state.contents[self.at].write(written, at);
        match (down, missing) {
            (true, _) => went_down(),
            (false, 0) => Ok(()),
            (false, _) => state.full(),
        }
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if self.change(&mut state)? {
            return went_down();
        }
        let growth = state.contents[self.at].growth(length);
        if state.grant(growth) < growth {
            return state.full();
        }
        state.contents[self.at].allocate(length);
        Ok(())
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.disk.state();
        if self.change(&mut state)? {
            return went_down();
        }
        state.sync(point, Target::Content(self.at))
    }
}
