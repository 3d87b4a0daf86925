//! The names on a simulated disk: as processes see them, and as the disk has them.

use crate::random::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// Names of files and directories. A directory has no content.
type Entries = BTreeMap<String, Option<usize>>;

#[derive(Default)]
pub(super) struct Names {
    seen: Entries,
    on_disk: Entries,
    /// Changes that the disk has not been made to take, oldest first, each with its directory.
    unsynced: Vec<(String, Change)>,
}

enum Change {
    Add(String, Option<usize>),
    Rename(String, String, usize),
    Remove(String),
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.seen.get(name).copied().flatten()
    }

    pub(super) fn add(&mut self, name: &str, content: usize) -> io::Result<()> {
        let directory = directory_of(name);
        if !directory.is_empty() && !self.seen.contains_key(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(directory, Change::Add(name.into(), Some(content)));
        Ok(())
    }

    pub(super) fn add_directory(&mut self, name: &str) {
        if !self.seen.contains_key(name) {
            self.change(directory_of(name), Change::Add(name.into(), None));
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let content = self.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(directory_of(from), Change::Rename(from.into(), to.into(), content));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.change(directory_of(name), Change::Remove(name.into()));
        Ok(())
    }

    pub(super) fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        if !directory.is_empty() && !self.seen.contains_key(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.seen.keys().filter(|name| directory_of(name) == directory);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    /// All files.
    pub(super) fn all(&self) -> Vec<String> {
        self.seen.iter().filter(|(_, content)| content.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// The contents that have a name.
    pub(super) fn contents(&self) -> impl Iterator<Item = usize> {
        self.seen.values().copied().flatten()
    }

    /// The contents that have a name or may get one back by a power cut.
    pub(super) fn known(&self) -> BTreeSet<usize> {
        let pending = self.unsynced.iter().filter_map(|(_, change)| match change {
            Change::Add(_, content) => *content,
            Change::Rename(_, _, content) => Some(*content),
            Change::Remove(_) => None,
        });
        self.seen.values().chain(self.on_disk.values()).copied().flatten().chain(pending).collect()
    }

    pub(super) fn sync(&mut self, directory: &str) {
        for (of, change) in std::mem::take(&mut self.unsynced) {
            if of == directory {
                change.apply(&mut self.on_disk);
            } else {
                self.unsynced.push((of, change));
            }
        }
    }

    /// Only what the disk has is left. Gives how many changes were lost.
    pub(super) fn cut_power(&mut self, random: &mut Random) -> u64 {
        let mut lost_changes = 0;
        for (_, change) in self.unsynced.drain(..) {
            if random.one_in(2) {
                change.apply(&mut self.on_disk);
            } else {
                lost_changes += 1;
            }
        }
        // What is in a directory that was lost is lost too.
        let lost = |name: &str| !directory_of(name).is_empty() && !self.on_disk.contains_key(directory_of(name));
        let lost: Vec<_> = self.on_disk.keys().filter(|name| lost(name)).cloned().collect();
        self.on_disk.retain(|name, _| !lost.contains(name));
        self.seen.clone_from(&self.on_disk);
        lost_changes
    }

    fn change(&mut self, directory: &str, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push((directory.into(), change));
    }
}

impl Change {
    fn apply(&self, entries: &mut Entries) {
        match self {
            Self::Add(name, content) => drop(entries.insert(name.clone(), *content)),
            Self::Rename(from, to, content) => {
                entries.remove(from);
                entries.insert(to.clone(), Some(*content));
            }
            Self::Remove(name) => drop(entries.remove(name)),
        }
    }
}

fn directory_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}
