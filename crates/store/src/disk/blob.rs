//! Blobs: files that are written whole and are named by their content.
//!
//! Invariants: a name is there only when all bytes behind it are durable; a blob that reads is the one that was
//! asked for.

use super::{
    home::{BLOBS, Home, blob_file},
    spares::Spares,
};
use crate::{
    Error,
    files::{Rule, SyncPoint},
};
use igor_protocol::{Hash, limits::BLOB_BYTES_MAX};

/// Makes a blob durable.
pub(crate) fn put(home: &Home, spares: &Spares, bytes: &[u8]) -> Result<Hash, Error> {
    let hash = write(home, spares, bytes)?;
    sync_names(home)?;
    Ok(hash)
}

/// Makes the names of all blobs that were written durable.
pub(crate) fn sync_names(home: &Home) -> Result<(), Error> {
    home.sync_dir(BLOBS, SyncPoint::BlobName)
}

/// Writes a blob that is durable after the next [`sync_names`]. A full disk gives up its reserve for it.
pub(crate) fn write(home: &Home, spares: &Spares, bytes: &[u8]) -> Result<Hash, Error> {
    home.check()?;
    if bytes.len() as u64 > BLOB_BYTES_MAX {
        return Err(Error::TooLarge { what: "a blob", bytes: bytes.len() as u64, max: BLOB_BYTES_MAX });
    }
    let hash = Hash::of_blob(bytes);
    // A blob that is here already was synced before it got its name. One that does not read is replaced.
    if matches!(get(home, hash, bytes.len() as u64), Ok(Some(_))) {
        return Ok(hash);
    }
    match write_new(home, hash, bytes) {
        Err(Error::Full { .. }) if spares.release_reserve() => write_new(home, hash, bytes),
        result => result,
    }
}

fn write_new(home: &Home, hash: Hash, bytes: &[u8]) -> Result<Hash, Error> {
    let named = |e| match e {
        Error::Full { .. } => home.full(format!("blob {hash} of {} bytes", bytes.len())),
        other => other,
    };
    let unfinished = home.write_unfinished(BLOBS, &hash.to_string(), bytes, SyncPoint::Blob).map_err(named)?;
    let name = blob_file(hash);
    home.files.rename(&unfinished, &name).map_err(|e| named(home.error(&name, e)))?;
    Ok(hash)
}

/// Whether a blob is here; it is not read.
pub(crate) fn has(home: &Home, hash: Hash) -> Result<bool, Error> {
    Ok(home.open_if_there(&blob_file(hash))?.is_some())
}

/// Reads a blob and checks it; nothing if it is not here.
pub(crate) fn get(home: &Home, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    let name = blob_file(hash);
    let Some(content) = home.read_small(&name, "a blob", bytes_max.min(BLOB_BYTES_MAX))? else { return Ok(None) };
    if home.rules.forbid(Rule::BlobHash, Hash::of_blob(&content) != hash) {
        return Err(home.damaged(&name, 0, "its bytes do not have the hash that is its name"));
    }
    Ok(Some(content))
}

/// The hashes of all blobs, sorted.
pub(crate) fn list(home: &Home) -> Result<Vec<Hash>, Error> {
    Ok(home.list(BLOBS)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Removes blobs durably; nothing happens to those that are not there.
pub(crate) fn remove(home: &Home, hashes: &[Hash]) -> Result<(), Error> {
    home.check()?;
    for hash in hashes {
        let name = blob_file(*hash);
        match home.files.remove(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(home.error(&name, e)),
            _ => {}
        }
    }
    sync_names(home)
}
