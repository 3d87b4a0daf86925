//! Compiled programs, kept on disk for this machine.
//!
//! ```text
//! DIR/key                  32 random bytes, made at first use; mode 0600 in a directory of mode 0700
//! DIR/NAME.cwasm           keyed BLAKE3 over (NAME, artifact): 32 bytes; then the artifact
//! NAME                     BLAKE3 over (program hash, runtime id, what the engine says of target and CPU features)
//! ```
//!
//! Invariants kept here:
//! - The runtime trusts what it loads as it trusts its own code, so nothing is loaded from disk unless the key
//!   vouches for exactly the bytes in memory, under exactly this name.
//! - A file that the key does not vouch for is as good as absent: it is logged, and replaced.
//! - Files appear whole, by renaming. Nothing is synced: what a power cut spoils fails its check and is made again,
//!   the key included: with another key, everything is.

use crate::{compile::ARTIFACT_BYTES_MAX, engine::RUNTIME_ID, error::Host};
use igor_protocol::Hash;
use std::{
    fs::{self, File, OpenOptions, Permissions},
    hash::{Hash as _, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use wasmtime::{Engine, Module};

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// Files beyond this sum are dropped, those first that were written first.
const CACHE_BYTES_MAX: u64 = 2 << 30;

/// A directory of compiled programs.
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// What the engine says of configuration, target and CPU features.
    machine: [u8; 32],
}

impl Cache {
    /// Opens the cache in `dir`, which is made where it is not there.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> Result<Self, Host> {
        let failed = |why| Host::Cache { path: dir.to_owned(), why };
        fs::create_dir_all(dir).map_err(failed)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
        let key = key(dir)?;
        remove_leftovers(dir);
        let mut hasher = Blake3(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), key, machine: *hasher.0.finalize().as_bytes() })
    }

    /// The compiled program, if it is here and its check is good.
    pub(crate) fn get(&self, engine: &Engine, program: Hash) -> Result<Option<Module>, Host> {
        let name = self.name(program);
        let path = self.path(&name);
        let bytes = match read_bounded(&path, MAC_BYTES + ARTIFACT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => {
                tracing::warn!(path = %path.display(), %why, "a compiled program cannot be read; it is made again");
                return Ok(None);
            }
        };
        let good = bytes
            .split_first_chunk::<MAC_BYTES>()
            .filter(|(mac, artifact)| blake3::Hash::from_bytes(**mac) == self.mac(&name, artifact));
        let Some((_, artifact)) = good else {
            tracing::warn!(path = %path.display(), "a compiled program is not as it was written; it is made again");
            return Ok(None);
        };
        load(engine, artifact).map(Some)
    }

    /// Keeps what the compile child made, and loads it.
    pub(crate) fn put(&self, engine: &Engine, program: Hash, artifact: &[u8]) -> Result<Module, Host> {
        let name = self.name(program);
        if let Err(why) = self.write(&name, artifact) {
            // The program runs all the same; it will be compiled again next time.
            tracing::warn!(path = %self.path(&name).display(), %why, "a compiled program could not be kept");
        }
        load(engine, artifact)
    }

    fn write(&self, name: &blake3::Hash, artifact: &[u8]) -> io::Result<()> {
        self.make_room(artifact.len() as u64)?;
        replace(&self.dir, &self.path(name), &[self.mac(name, artifact).as_bytes(), artifact])
    }

    fn name(&self, program: Hash) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_derive_key("igor compile cache, name of a file, 1");
        hasher.update(&program.0);
        hasher.update(&self.machine);
        hasher.update(RUNTIME_ID.as_bytes());
        hasher.finalize()
    }

    fn path(&self, name: &blake3::Hash) -> PathBuf {
        self.dir.join(format!("{name}.cwasm"))
    }

    fn mac(&self, name: &blake3::Hash, artifact: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes());
        hasher.update(artifact);
        hasher.finalize()
    }

    /// Drops the oldest files until there is room for one more.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
                let about = entry.metadata()?;
                files.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len(), entry.path()));
            }
        }
        files.sort();
        let mut sum: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if sum.saturating_add(bytes) <= CACHE_BYTES_MAX {
                break;
            }
            fs::remove_file(path)?;
            sum -= len;
        }
        Ok(())
    }
}

/// The key of this directory, made where there is none.
fn key(dir: &Path) -> Result<[u8; KEY_BYTES], Host> {
    let path = dir.join("key");
    let failed = |why| Host::Cache { path: path.clone(), why };
    let is_key = fs::metadata(&path).is_ok_and(|about| about.len() == KEY_BYTES as u64);
    if !is_key {
        if path.exists() {
            tracing::warn!(path = %path.display(), "not a key: it is made again, and so is what it vouched for");
        }
        let mut fresh = [0; KEY_BYTES];
        getrandom::fill(&mut fresh).map_err(|error| failed(io::Error::other(error.to_string())))?;
        // Another process may do the same: the last one's key stays, and what the others wrote is made again.
        replace(dir, &path, &[&fresh]).map_err(failed)?;
    }
    let bytes = read_bounded(&path, KEY_BYTES).map_err(failed)?;
    <[u8; KEY_BYTES]>::try_from(bytes)
        .map_err(|_| failed(io::Error::other("not a key; remove it, and it is made again")))
}

/// Removes what processes that were killed while writing have left. Younger files may be in the making.
fn remove_leftovers(dir: &Path) {
    const AGE: Duration = Duration::from_hours(1);
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        let age = fs::metadata(&path).and_then(|about| about.modified()).ok().and_then(|time| time.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age > AGE) {
            // Whoever cannot remove it cannot write here either, and hears of that then.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Writes a file whole, readable by this user only.
fn replace(dir: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    let temporary = dir.join(format!("{:016x}.tmp", u64::from_le_bytes(nonce)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn read_bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[allow(unsafe_code)] // the one way to load compiled code
fn load(engine: &Engine, artifact: &[u8]) -> Result<Module, Host> {
    // SAFETY: the bytes are what this home's compile child wrote: either they come from it directly, or the key,
    // which only this user can read, vouches for them, checked over the very bytes in memory that are loaded here.
    // The name that is checked with them binds program, runtime, target and CPU features.
    let module = unsafe { Module::deserialize(engine, artifact) };
    module.map_err(|e| Host::Artifact(e.to_string()))
}

/// Collects what a value hashes.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Never asked for: the whole hash is taken instead.
        let mut short = [0; 8];
        short.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(short)
    }
}
