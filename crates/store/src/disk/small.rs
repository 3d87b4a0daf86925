//! Files that are written whole: blobs, named by their content, and local values, named by the node.
//!
//! Invariants: a name is there only when all bytes behind it are durable; a blob that reads is the one that was
//! asked for.

use super::{
    home::{BLOBS, Home, LOCAL, UNFINISHED, blob_file, join},
    spares::Spares,
};
use crate::{
    Error, LOCAL_BYTES_MAX,
    files::{Rule, SyncPoint},
};
use igor_protocol::{Hash, limits::BLOB_BYTES_MAX};

const LOCAL_NAME_BYTES_MAX: usize = 64;

/// Makes a blob durable.
pub(crate) fn put_blob(home: &Home, spares: &Spares, bytes: &[u8]) -> Result<Hash, Error> {
    let hash = write_blob(home, spares, bytes)?;
    sync_blob_names(home)?;
    Ok(hash)
}

/// Makes the names of all blobs that were written durable.
pub(crate) fn sync_blob_names(home: &Home) -> Result<(), Error> {
    home.sync_dir(BLOBS, SyncPoint::BlobName)
}

/// Writes a blob that is durable after the next [`sync_blob_names`]. A full disk gives up its reserve for it.
pub(crate) fn write_blob(home: &Home, spares: &Spares, bytes: &[u8]) -> Result<Hash, Error> {
    home.check()?;
    if bytes.len() as u64 > BLOB_BYTES_MAX {
        return Err(Error::TooLarge { what: "a blob", bytes: bytes.len() as u64, max: BLOB_BYTES_MAX });
    }
    let hash = Hash::of_blob(bytes);
    // A blob that is here already was synced before it got its name. One that does not read is replaced.
    if matches!(get_blob(home, hash, bytes.len() as u64), Ok(Some(_))) {
        return Ok(hash);
    }
    match write_new_blob(home, hash, bytes) {
        Err(Error::Full { .. }) if spares.release_reserve() => write_new_blob(home, hash, bytes),
        result => result,
    }
}

fn write_new_blob(home: &Home, hash: Hash, bytes: &[u8]) -> Result<Hash, Error> {
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
pub(crate) fn has_blob(home: &Home, hash: Hash) -> Result<bool, Error> {
    Ok(home.open_if_there(&blob_file(hash))?.is_some())
}

/// Reads a blob and checks it; nothing if it is not here.
pub(crate) fn get_blob(home: &Home, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    let name = blob_file(hash);
    let Some(content) = home.read_small(&name, "a blob", bytes_max.min(BLOB_BYTES_MAX))? else { return Ok(None) };
    if home.rules.forbid(Rule::BlobHash, Hash::of_blob(&content) != hash) {
        return Err(home.damaged(&name, 0, "its bytes do not have the hash that is its name"));
    }
    Ok(Some(content))
}

/// The hashes of all blobs, sorted.
pub(crate) fn list_blobs(home: &Home) -> Result<Vec<Hash>, Error> {
    Ok(home.list(BLOBS)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Removes blobs durably; nothing happens to those that are not there.
pub(crate) fn remove_blobs(home: &Home, hashes: &[Hash]) -> Result<(), Error> {
    home.check()?;
    for hash in hashes {
        let name = blob_file(*hash);
        match home.files.remove(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(home.error(&name, e)),
            _ => {}
        }
    }
    sync_blob_names(home)
}

/// Makes a local value durable, in place of the one before. A full disk gives up its reserve for it: a node that cannot
/// note what it signs can neither give an agent away nor take it back.
pub(crate) fn put_local(home: &Home, spares: &Spares, name: &str, bytes: &[u8]) -> Result<(), Error> {
    check_name(name)?;
    if bytes.len() as u64 > LOCAL_BYTES_MAX {
        return Err(Error::TooLarge { what: "a local value", bytes: bytes.len() as u64, max: LOCAL_BYTES_MAX });
    }
    match home.replace(LOCAL, name, bytes, SyncPoint::Local, SyncPoint::LocalName) {
        Err(Error::Full { .. }) if spares.release_reserve() => {
            home.replace(LOCAL, name, bytes, SyncPoint::Local, SyncPoint::LocalName)
        }
        result => result,
    }
}

/// Removes a local value durably; nothing happens if it is not there.
pub(crate) fn remove_local(home: &Home, name: &str) -> Result<(), Error> {
    check_name(name)?;
    home.check()?;
    let path = join(LOCAL, name);
    match home.files.remove(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(home.error(&path, e)),
        _ => home.sync_dir(LOCAL, SyncPoint::LocalName),
    }
}

/// Reads a local value.
pub(crate) fn get_local(home: &Home, name: &str) -> Result<Option<Vec<u8>>, Error> {
    check_name(name)?;
    home.read_small(&join(LOCAL, name), "a local value", LOCAL_BYTES_MAX)
}

/// The names of all local values, sorted.
pub(crate) fn list_local(home: &Home) -> Result<Vec<String>, Error> {
    let mut names = home.list(LOCAL)?;
    names.retain(|name| check_name(name).is_ok());
    Ok(names)
}

fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    // What begins like an unfinished file would be taken for one.
    let taken = name.starts_with(&format!("{UNFINISHED}-"));
    if (1..=LOCAL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) && !taken {
        Ok(())
    } else {
        Err(Error::BadName { name: name.into() })
    }
}
