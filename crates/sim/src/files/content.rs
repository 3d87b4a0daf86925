//! The bytes of one simulated file: as the page cache has them, and as the disk does.

use super::Losses;
use crate::random::Random;

#[derive(Default)]
pub(super) struct Content {
    cached: Vec<u8>,
    on_disk: Vec<u8>,
    /// Changes that the disk has not been made to take, oldest first.
    unsynced: Vec<Change>,
    allocated: u64,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate,
}

impl Content {
    /// Bytes that the disk has.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { cached: bytes.clone(), on_disk: bytes, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    /// The room it takes.
    pub(super) fn size(&self) -> u64 {
        self.allocated.max(self.cached.len() as u64)
    }

    /// The room it needs more to reach this length.
    pub(super) fn growth(&self, length: u64) -> u64 {
        length.saturating_sub(self.size())
    }

    /// Reserves room; the file becomes longer, as by `fallocate`.
    pub(super) fn allocate(&mut self, length: u64) {
        self.allocated = self.allocated.max(length);
        if length > self.cached.len() as u64 {
            let zeros = vec![0; usize::try_from(length).unwrap_or(usize::MAX) - self.cached.len()];
            self.write(&zeros, self.cached.len() as u64);
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        put(&mut self.cached, at, bytes);
        self.unsynced.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self) {
        self.cached.clear();
        self.allocated = 0;
        self.unsynced.push(Change::Truncate);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.on_disk);
        }
    }

    /// The disk takes some of the changes, and the page cache forgets that it does not have the others.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.take_some(random);
    }

    /// Only what the disk has is left.
    pub(super) fn cut_power(&mut self, random: &mut Random) -> Losses {
        let losses = self.take_some(random);
        self.cached.clone_from(&self.on_disk);
        self.allocated = 0;
        losses
    }

    fn take_some(&mut self, random: &mut Random) -> Losses {
        let mut losses = Losses::default();
        let mut changes: Vec<_> = self.unsynced.drain(..).collect();
        while !changes.is_empty() {
            let change = changes.swap_remove(random.index(changes.len()));
            match (random.below(3), change) {
                (0, _) => losses.lost += 1,
                (1, change) => change.apply(&mut self.on_disk),
                (_, Change::Write { at, bytes }) => {
                    let from = random.index(bytes.len() + 1);
                    // Often a beginning arrives, sometimes any part.
                    let part =
                        if random.one_in(2) { 0..from } else { from..from + random.index(bytes.len() - from + 1) };
                    match part.len() {
                        0 => losses.lost += 1,
                        some if some < bytes.len() => losses.torn += 1,
                        _ => {}
                    }
                    if !part.is_empty() {
                        put(&mut self.on_disk, at + part.start, &bytes[part]);
                    }
                }
                (_, Change::Truncate) => losses.lost += 1,
            }
        }
        losses
    }
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes: written } => put(bytes, at, &written),
            Self::Truncate => bytes.clear(),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}
