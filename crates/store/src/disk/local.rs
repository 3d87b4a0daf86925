//! Local values: small ones of the node's own, each in place of the one before.
//!
//! Invariants: a value is a record of the log first, ordered with commits and durable with its group, so that a node
//! can note what it signs and commit it in one; it is in a file of its own before the last segment that has it is
//! dropped; what the log has of a name counts before what its file has; a value that
//! reads is the one that was put.

use super::{
    home::{Home, LOCAL, UNFINISHED, join},
    segment,
    spares::Spares,
    table::{Shared, Table},
};
use crate::{
    Error, LOCAL_BYTES_MAX,
    files::{Rule, SyncPoint},
};
use std::{collections::BTreeSet, io, sync::Arc};

/// A record that is a local value: the length of its name in one byte, its name, its bytes.
pub(crate) const VALUE: u8 = 4;
/// A record that removes the local value of this name.
pub(crate) const VALUE_REMOVAL: u8 = 5;

const NAME_BYTES_MAX: usize = 64;
/// What a file begins with: the first bytes of a hash of the name and the value.
const CHECK_BYTES: usize = 16;

/// What becomes of a local value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) name: String,
    /// Its bytes; nothing where it is removed.
    pub(crate) bytes: Option<Arc<[u8]>>,
}

/// What the log has of a local value.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    pub(crate) local: Local,
    /// The count of the group that has it.
    pub(crate) group: u64,
}

impl Local {
    /// A value that is put in place of the one before.
    pub(crate) fn put(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        check_name(name)?;
        if bytes.len() as u64 > LOCAL_BYTES_MAX {
            return Err(Error::TooLarge { what: "a local value", bytes: bytes.len() as u64, max: LOCAL_BYTES_MAX });
        }
        Ok(Self { name: name.to_owned(), bytes: Some(bytes.into()) })
    }

    /// A value that is removed.
    pub(crate) fn removal(name: &str) -> Result<Self, Error> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), bytes: None })
    }

    /// The kind and the content of its record.
    pub(crate) fn record(&self) -> (u8, Vec<u8>) {
        let name = self.name.as_bytes();
        let Some(bytes) = &self.bytes else { return (VALUE_REMOVAL, name.to_vec()) };
        // A name that was checked is shorter than a byte can say.
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        (VALUE, [&[length], name, bytes].concat())
    }

    /// What a record of one of the two kinds says; nothing if it is not one that was written here.
    pub(crate) fn read(kind: u8, content: &[u8]) -> Option<Self> {
        let named = |name| std::str::from_utf8(name).ok();
        match kind {
            VALUE => {
                let (length, rest) = content.split_first()?;
                let (name, bytes) = rest.split_at_checked(usize::from(*length))?;
                Self::put(named(name)?, bytes).ok()
            }
            VALUE_REMOVAL => Self::removal(named(content)?).ok(),
            _ => None,
        }
    }
}

/// Reads a local value.
pub(crate) fn get(home: &Home, table: &Shared, name: &str) -> Result<Option<Vec<u8>>, Error> {
    check_name(name)?;
    // First what the log has: it is forgotten only when the file has it.
    let recent = table.lock().locals.get(name).map(|recent| recent.local.bytes.clone());
    match recent {
        Some(bytes) => Ok(bytes.map(|bytes| bytes.to_vec())),
        None => read_file(home, name),
    }
}

fn read_file(home: &Home, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let path = join(LOCAL, name);
    let bytes_max = LOCAL_BYTES_MAX + CHECK_BYTES as u64;
    let Some(content) = home.read_small(&path, "a local value", bytes_max)? else { return Ok(None) };
    match content.split_at_checked(CHECK_BYTES) {
        Some((found, bytes)) if !home.rules.forbid(Rule::ValueCheck, found != check(name, bytes)) => {
            Ok(Some(bytes.to_vec()))
        }
        _ => Err(home.damaged(&path, 0, "its bytes are not what was stored under this name")),
    }
}

/// A value under another name is damage too.
fn check(name: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let hash = segment::hash(b"igor/local/1\0", &[&[length], name.as_bytes(), bytes]);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.0[..CHECK_BYTES]);
    check
}

/// The names of all local values, sorted.
pub(crate) fn list(home: &Home, table: &Shared) -> Result<Vec<String>, Error> {
    let recent: Vec<Local> = table.lock().locals.values().map(|recent| recent.local.clone()).collect();
    let mut names: BTreeSet<String> = home.list(LOCAL)?.into_iter().filter(|name| check_name(name).is_ok()).collect();
    for Local { name, bytes } in recent {
        if bytes.is_some() {
            names.insert(name);
        } else {
            names.remove(&name);
        }
    }
    Ok(names.into_iter().collect())
}

/// What the log has of local values up to a group, that one included.
pub(crate) fn up_to(table: &Table, group: u64) -> Vec<Recent> {
    table.locals.values().filter(|recent| recent.group <= group).cloned().collect()
}

/// Makes values durable in files of their own. A full disk gives up its reserve for them.
pub(crate) fn write_files(home: &Home, spares: &Spares, values: &[Recent]) -> Result<(), Error> {
    if values.is_empty() || !home.rules.keep(Rule::ValuesBeforeDrop) {
        return Ok(());
    }
    for Recent { local, .. } in values {
        match write_file(home, local) {
            Err(Error::Full { .. }) if spares.release_reserve() => write_file(home, local)?,
            written => written?,
        }
    }
    home.sync_dir(LOCAL, SyncPoint::LocalName)
}

fn write_file(home: &Home, local: &Local) -> Result<(), Error> {
    let path = join(LOCAL, &local.name);
    let Some(bytes) = &local.bytes else {
        return match home.files.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(home.error(&path, e)),
            _ => Ok(()),
        };
    };
    let content = [&check(&local.name, bytes)[..], bytes].concat();
    let unfinished = home.write_unfinished(LOCAL, &local.name, &content, SyncPoint::Local)?;
    home.files.rename(&unfinished, &path).map_err(|e| home.error(&path, e))
}

/// Forgets what the files have, where nothing newer came.
pub(crate) fn forget(table: &mut Table, written: &[Recent]) {
    for Recent { local, group } in written {
        if table.locals.get(&local.name).is_some_and(|recent| recent.group == *group) {
            table.locals.remove(&local.name);
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    // What begins like an unfinished file would be taken for one.
    let taken = name.starts_with(&format!("{UNFINISHED}-"));
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) && !taken {
        Ok(())
    } else {
        Err(Error::BadName { name: name.into() })
    }
}
