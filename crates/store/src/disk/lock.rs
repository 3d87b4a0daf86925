//! The lock of a home: one process writes, or several read.
//!
//! Invariant: the operating system holds the lock, so it ends with its process, however that ends; what the file
//! says about the holder is for messages only.

use crate::Error;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

const NAME: &str = "lock";
const NOTE_BYTES_MAX: u64 = 512;
const PAUSE: Duration = Duration::from_millis(50);
/// Pauses after which a writer that waits for readers says so, and after which it gives up: 1 s, a minute. They have
/// the lock while they read the log, which is soon done.
const PAUSES_UNTOLD: u32 = 20;
const PAUSES_MAX: u32 = 1200;

/// A held lock. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    exclusive: bool,
}

impl Lock {
    /// For the one process that writes. Waits up to a minute for readers, not at all for another writer.
    pub(crate) fn exclusive(home: &Path, note: &str) -> Result<Self, Error> {
        Self::exclusive_after(home, note, PAUSES_MAX)
    }

    fn exclusive_after(home: &Path, note: &str, pauses_max: u32) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(home.join(NAME)).map_err(|e| io_error(home, e))?;
        for pauses in 0..=pauses_max {
            if try_lock(home, &file, FlockOperation::NonBlockingLockExclusive)? {
                let mut text = format!("{}\n{note}\n", std::process::id());
                text.truncate(text.floor_char_boundary(usize::try_from(NOTE_BYTES_MAX).unwrap_or(usize::MAX)));
                let written = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
                return match written {
                    // Without room for the note the lock still holds.
                    Err(e) if e.kind() != io::ErrorKind::StorageFull => Err(io_error(home, e)),
                    _ => Ok(Self { file, exclusive: true }),
                };
            }
            // Only readers share: where even sharing is refused, a writer has it.
            if !try_lock(home, &file, FlockOperation::NonBlockingLockShared)? {
                return Err(held_by(home, &file));
            }
            flock(&file, FlockOperation::Unlock).map_err(|e| io_error(home, e.into()))?;
            if pauses == PAUSES_UNTOLD {
                tracing::warn!(home = %home.display(), "a command is reading this home; waiting until it has opened it");
            }
            if pauses < pauses_max {
                pause(PAUSE);
            }
        }
        Err(Error::Locked { path: home.into(), pid: None, note: "a command that reads it".into() })
    }

    /// For a process that only reads; nothing where there is no lock to hold, so nobody writes either.
    pub(crate) fn shared(home: &Path) -> Result<Option<Self>, Error> {
        let file = match File::open(home.join(NAME)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error(home, e)),
        };
        if try_lock(home, &file, FlockOperation::NonBlockingLockShared)? {
            return Ok(Some(Self { file, exclusive: false }));
        }
        Err(held_by(home, &file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.exclusive {
            // Whoever finds the lock taken next should not read about this process.
            drop(self.file.set_len(0));
        }
    }
}

fn try_lock(home: &Path, file: &File, operation: FlockOperation) -> Result<bool, Error> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(e) => Err(io_error(home, e.into())),
    }
}

fn held_by(home: &Path, file: &File) -> Error {
    // The holder writes its note right after taking the lock; give it that moment.
    for _ in 0..10 {
        let mut text = String::new();
        let mut fresh = File::open(home.join(NAME)).or_else(|_| file.try_clone());
        let read = fresh.as_mut().map(|file| file.take(NOTE_BYTES_MAX).read_to_string(&mut text));
        if matches!(read, Ok(Ok(_)))
            && let Some((pid, note)) = text.split_once('\n')
            && let Ok(pid) = pid.parse()
        {
            return Error::Locked { path: home.into(), pid: Some(pid), note: note.trim_end().into() };
        }
        pause(PAUSE / 10);
    }
    Error::Locked { path: home.into(), pid: None, note: String::new() }
}

#[allow(clippy::disallowed_methods)] // other processes are waited for, and those are never simulated
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn io_error(home: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { path: home.into() },
        _ => Error::Io { path: home.join(NAME), source },
    }
}

#[cfg(test)]
mod tests;
