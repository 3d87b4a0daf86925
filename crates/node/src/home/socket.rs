//! Where a node's socket is. Both sides compute it from the home's path alone.

use igor_protocol::Hash;
use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A socket's address holds 108 bytes, of which the last is zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET_FILE: &str = "node.sock";

/// The socket of the home at this absolute path.
pub(super) fn path(home: &Path) -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    path_in(home, runtime.as_deref())
}

fn path_in(home: &Path, runtime: Option<&Path>) -> PathBuf {
    let inside = home.join(SOCKET_FILE);
    if inside.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return inside;
    }
    let hash = Hash::of_blob(home.as_os_str().as_bytes()).to_string();
    let name = format!("igor-{}-{}", super::own_uid(), &hash[..16]);
    let in_runtime = runtime.map(|runtime| runtime.join(&name).join(SOCKET_FILE));
    in_runtime
        .filter(|path| path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX)
        .unwrap_or_else(|| Path::new("/tmp").join(name).join(SOCKET_FILE))
}

#[cfg(test)]
mod tests;
