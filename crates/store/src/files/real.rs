//! The files of this machine.

use super::{File, Files, Mode, SyncPoint};
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
};

/// Files below one directory.
#[derive(Clone, Debug)]
pub struct RealFiles {
    home: PathBuf,
}

impl RealFiles {
    /// The files of this home, which must exist.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }
}

impl Files for RealFiles {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        match mode {
            Mode::Read => options.read(true),
            Mode::Write => options.read(true).write(true),
            Mode::Create => options.read(true).write(true).create(true).truncate(false).mode(0o600),
            Mode::CreateEmpty => options.read(true).write(true).create(true).truncate(true).mode(0o600),
        };
        Ok(Arc::new(RealFile(options.open(self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.path(name))
    }

    fn sync_dir(&self, name: &str, point: SyncPoint) -> io::Result<()> {
        traced(point, || fs::File::open(self.path(name))?.sync_all())
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(name))? {
            // A name that is not UTF-8 is none of the store's.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.home.clone() } else { self.home.join(name) }
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            // Some file systems cannot reserve; then writing the bytes is the reservation.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        traced(point, || self.0.sync_data())
    }
}

/// Says before and after what is made durable, so that a log shows where a killed process was.
fn traced(point: SyncPoint, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    tracing::trace!(?point, "sync begins");
    let synced = sync();
    tracing::trace!(?point, "sync ended");
    synced
}
