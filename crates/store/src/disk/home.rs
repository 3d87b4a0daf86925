//! A home directory: what its files are called, its format, and how a small file is replaced.
//!
//! Invariants: a sync that failed once makes every later write here fail; a file that is replaced is seen and
//! durable either as it was or as it is to be, whole.

use crate::{
    Error,
    files::{File, Files, Mode, Rule, Rules, SyncPoint},
};
use igor_protocol::{AgentId, Hash};
use std::{
    io,
    sync::{Arc, OnceLock},
};
use tokio::sync::watch;

/// The version of the layout of a home.
pub const FORMAT: u64 = 1;

pub(crate) const LOG: &str = "log";
pub(crate) const AGENTS: &str = "agents";
pub(crate) const BLOBS: &str = "blobs";
pub(crate) const LOCAL: &str = "local";
pub(crate) const DIRECTORIES: [&str; 4] = [LOG, AGENTS, BLOBS, LOCAL];

const FORMAT_FILE: &str = "format";
const FORMAT_BYTES_MAX: u64 = 64;
/// Begins the name of a file that is not whole yet. A restart removes those.
pub(crate) const UNFINISHED: &str = "new";

/// The files of a home, and whether they can still be relied on.
pub(crate) struct Home {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) rules: Rules,
    poison: OnceLock<String>,
    poisoned: watch::Sender<bool>,
}

impl Home {
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        let rules = files.rules();
        Self { files, rules, poison: OnceLock::new(), poisoned: watch::Sender::new(false) }
    }

    /// Checks the format; makes a new home where there is none yet. The mark's name is durable after [`Home::tidy`].
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        if self.check_format()? {
            return Ok(());
        }
        for directory in DIRECTORIES {
            self.files.create_dir(directory).map_err(|e| self.error(directory, e))?;
        }
        for directory in [LOG, AGENTS] {
            let there = self.list(directory)?.into_iter().find(|name| !name.starts_with(UNFINISHED));
            if let Some(name) = there.filter(|_| self.rules.keep(Rule::FormatMissing)) {
                let why = format!("it has {directory}/{name} but no file `{FORMAT_FILE}`; restore that file");
                return Err(Error::NotAHome { path: self.files.path(""), why });
            }
        }
        // Whoever finds the mark finds the directories.
        self.sync_dir("", SyncPoint::Directories)?;
        let text = format!("igor-home {FORMAT}\n");
        let unfinished = self.write_unfinished("", FORMAT_FILE, text.as_bytes(), SyncPoint::Format)?;
        self.files.rename(&unfinished, FORMAT_FILE).map_err(|e| self.error(FORMAT_FILE, e))
    }

    /// Whether this is a home, or an error if it is one of another version.
    pub(crate) fn check_format(&self) -> Result<bool, Error> {
        let Some(bytes) = self.read_small(FORMAT_FILE, "the format file", FORMAT_BYTES_MAX)? else { return Ok(false) };
        let path = || self.files.path(FORMAT_FILE);
        let text = String::from_utf8_lossy(&bytes);
        let found = text.strip_prefix("igor-home ").and_then(|rest| rest.trim_end().parse().ok());
        match found {
            Some(FORMAT) => Ok(true),
            Some(_) if !self.rules.keep(Rule::HomeFormat) => Ok(true),
            Some(found) => Err(Error::OtherVersion { path: path(), found, known: FORMAT }),
            None => Err(Error::Damaged { path: path(), at: 0, why: format!("it should say `igor-home {FORMAT}`") }),
        }
    }

    /// Fails once anything here failed to sync.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.poison.get() {
            Some(why) if self.rules.keep(Rule::RefuseAfterFailure) => Err(Error::Poisoned { why: why.clone() }),
            _ => Ok(()),
        }
    }

    /// Refuses every later write, since it is not known any more what is durable.
    pub(crate) fn poison(&self, why: String) -> Error {
        let why = self.poison.get_or_init(|| why).clone();
        self.poisoned.send_replace(true);
        Error::Poisoned { why }
    }

    pub(crate) fn watch_poison(&self) -> watch::Receiver<bool> {
        self.poisoned.subscribe()
    }

    pub(crate) fn sync(&self, file: &dyn File, name: &str, point: SyncPoint) -> Result<(), Error> {
        self.check()?;
        file.sync(point).map_err(|e| self.poison(format!("{}: {e}", self.files.path(name).display())))
    }

    pub(crate) fn sync_dir(&self, name: &str, point: SyncPoint) -> Result<(), Error> {
        self.check()?;
        let failed = |e| self.poison(format!("{}: {e}", self.files.path(name).display()));
        self.files.sync_dir(name, point).map_err(failed)
    }

    pub(crate) fn open(&self, name: &str, mode: Mode) -> Result<Arc<dyn File>, Error> {
        self.files.open(name, mode).map_err(|e| self.error(name, e))
    }

    /// Opens a file to read; nothing if it is not there.
    pub(crate) fn open_if_there(&self, name: &str) -> Result<Option<Arc<dyn File>>, Error> {
        match self.files.open(name, Mode::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error(name, e)),
        }
    }

    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        self.files.list(name).map_err(|e| self.error(name, e))
    }

    pub(crate) fn len(&self, file: &dyn File, name: &str) -> Result<u64, Error> {
        file.len().map_err(|e| self.error(name, e))
    }

    /// All of a file of at most `max` bytes; nothing if it is not there.
    pub(crate) fn read_small(&self, name: &str, what: &'static str, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open_if_there(name)? else { return Ok(None) };
        let bytes = self.len(&*file, name)?;
        if bytes > max {
            return Err(Error::TooLarge { what, bytes, max });
        }
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        file.read_at(&mut content, 0).map_err(|e| self.error(name, e))?;
        Ok(Some(content))
    }

    /// Makes these bytes durable in a file that has yet to be given its name; returns the name it has till then.
    pub(crate) fn write_unfinished(
        &self,
        directory: &str,
        name: &str,
        bytes: &[u8],
        point: SyncPoint,
    ) -> Result<String, Error> {
        self.check()?;
        let unfinished = self.unfinished(directory, name);
        let file = self.open(&unfinished, Mode::CreateEmpty)?;
        if let Err(e) = file.write_at(bytes, 0) {
            self.discard(&unfinished);
            return Err(self.error(&unfinished, e));
        }
        self.sync(&*file, &unfinished, point)?;
        Ok(unfinished)
    }

    /// What a file is called until it is whole.
    pub(crate) fn unfinished(&self, directory: &str, name: &str) -> String {
        let whole = join(directory, name);
        if self.rules.keep(Rule::NameWhenWhole) { join(directory, &format!("{UNFINISHED}-{name}")) } else { whole }
    }

    /// Gives a finished file its name, durably.
    pub(crate) fn rename_durably(&self, directory: &str, from: &str, to: &str, entry: SyncPoint) -> Result<(), Error> {
        self.files.rename(from, to).map_err(|e| self.error(to, e))?;
        self.sync_dir(directory, entry)
    }

    /// Removes a file that is not needed. If that fails it stays, which costs space and nothing else; a restart
    /// tries again.
    pub(crate) fn discard(&self, name: &str) {
        drop(self.files.remove(name));
    }

    /// Removes what an interrupted process left unfinished, and makes the names that are there durable where they
    /// may not be and somebody is going to believe them.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        for directory in DIRECTORIES {
            let names = self.list(directory)?;
            let (unfinished, finished): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.starts_with(UNFINISHED));
            for name in unfinished {
                self.discard(&join(directory, name));
            }
            match directory {
                // The log says which of these count, and did so only when their names were durable. That one is gone it
                // does not say for ever.
                AGENTS => self.sync_dir(directory, SyncPoint::FoundGone)?,
                _ if finished.is_empty() => {}
                _ => self.sync_dir(directory, SyncPoint::FoundNames)?,
            }
            // The first segment is made after this, so with one there the mark's name is durable.
            if directory == LOG && finished.is_empty() {
                self.sync_dir("", SyncPoint::FormatName)?;
            }
        }
        Ok(())
    }

    pub(crate) fn error(&self, name: &str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full { path: self.files.path(""), what: name.to_owned() }
            }
            io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { path: self.files.path("") },
            _ => Error::Io { path: self.files.path(name), source },
        }
    }

    pub(crate) fn full(&self, what: String) -> Error {
        Error::Full { path: self.files.path(""), what }
    }

    pub(crate) fn corrupt(&self, agent: AgentId, seq: u64, name: &str, why: impl Into<String>) -> Error {
        Error::Corrupt { agent, seq: igor_protocol::Seq(seq), path: self.files.path(name), why: why.into() }
    }

    pub(crate) fn damaged(&self, name: &str, at: u64, why: impl Into<String>) -> Error {
        Error::Damaged { path: self.files.path(name), at, why: why.into() }
    }
}

pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The file of a journal whose first commit is in this group: no two journals of an agent have the same.
pub(crate) fn agent_file(agent: AgentId, born: u64) -> String {
    format!("{AGENTS}/{}-{born}", agent.0)
}

pub(crate) fn blob_file(hash: Hash) -> String {
    format!("{BLOBS}/{hash}")
}

pub(crate) fn segment_file(number: u64) -> String {
    format!("{LOG}/{number:010}")
}
