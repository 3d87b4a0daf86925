//! The home directory of a node: what lies where, and who may read it.
//!
//! ```text
//! HOME/            0700
//!   format lock log/ agents/ blobs/ local/     the store's (docs/formats/disk.md)
//!   keys/owner.key keys/node.key                          0600, this crate's
//!   keys/orders-AGENT                                     the highest number of a takeover order that was signed here
//!   orphans/                                              journals whose end a takeover orphaned, as files
//!   incoming/                                             files on their way in; emptied at each start
//!   cache/                                                compiled programs; may be deleted
//!   node.toml                                             optional, written by people
//!   tokens                                                optional, 0600, who may call over TCP
//!   node.sock                                             while a node runs
//! ```
//!
//! Invariants kept here:
//! - A key is made once, is durable before it is used, and is never written over.
//! - A key that others may read, or that is cut or changed, is refused; nobody gets a new identity by accident.
//! - The socket lies where only this user can put one.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

mod config;
mod keys;
mod socket;

pub use config::{
    Admission, ApiConfig, BadPrice, Capability, Config, Grants, MetricsConfig, NetworkConfig, NotGranted, Policy,
    Prices, StoreConfig, price_per_ns,
};
pub use keys::{Keys, Role};

/// The environment variable that names the home, below the flag `--home`.
pub const HOME_VARIABLE: &str = "IGOR_HOME";

const CONFIG_FILE: &str = "node.toml";
const KEYS_DIRECTORY: &str = "keys";
/// Journals that a takeover orphaned.
const ORPHANS_DIRECTORY: &str = "orphans";
/// Files that come in through the API.
const INCOMING_DIRECTORY: &str = "incoming";
const CACHE_DIRECTORY: &str = "cache";
/// The lowest bits of a mode, which say what others may do.
const PRIVATE_BITS: u32 = 6;

/// A home directory that is there and belongs to this user.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a flag nor the environment says where the home is.
    #[error("no home directory: set --home or {HOME_VARIABLE}, or HOME")]
    Nowhere,
    /// There is no home here.
    #[error("{} is not there; `igor run` makes it, or name another with --home", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("{} is not a directory; move it away, or use another --home", path.display())]
    NotADirectory {
        /// What it is called.
        path: PathBuf,
    },
    /// Others can read or write it, or it is theirs.
    #[error("{}: {why}; {fix}", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// In which way.
        why: String,
        /// What to do.
        fix: String,
    },
    /// A key file that does not hold a key.
    #[error("{} does not hold a key: {why}; restore it from a copy (without it the agents here cannot go on)", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A key file of another version.
    #[error("{} has key format {found}, this igor reads 1; use the igor that made it", path.display())]
    KeyVersion {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: String,
    },
    /// A file that does not hold the number of the last order.
    #[error("{} does not hold a number below 2^64; write the highest term of the agent into it that you know of", path.display())]
    BadCounter {
        /// The file.
        path: PathBuf,
    },
    /// There is no key.
    #[error("{} is not there; restore it from a copy, or begin a new home with --home", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A configuration that does not say what it must.
    #[error("{}: {why}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line where that is known.
        why: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system has no randomness to make keys from.
    #[error("the system gives no random bytes for a key: {0}")]
    Entropy(String),
}

impl Error {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl Home {
    /// Where the home is: `flag`, else `IGOR_HOME`, else `igor` in the user's XDG data directory.
    pub fn locate(flag: Option<&Path>) -> Result<PathBuf, Error> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = flag.map(Path::to_owned).or_else(|| variable(HOME_VARIABLE)) {
            return Ok(path);
        }
        // The XDG specification has relative paths ignored.
        let data = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
        data.or_else(|| Some(variable("HOME")?.join(".local/share")))
            .map(|data| data.join("igor"))
            .ok_or(Error::Nowhere)
    }

    /// The home at `path`, which must be there.
    pub fn existing(path: &Path) -> Result<Self, Error> {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => Err(Error::NotADirectory { path: path.to_owned() }),
            Ok(_) => {
                let path = fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
                Ok(Self { path })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::Absent { path: path.to_owned() }),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// The home at `path`, made with mode 0700 where there is none. Nobody else may write to it.
    pub fn open_or_create(path: &Path) -> Result<Self, Error> {
        create_private(path, true)?;
        let home = Self::existing(path)?;
        let found = fs::metadata(&home.path).map_err(|e| Error::io(&home.path, e))?;
        if found.mode() & 0o022 != 0 {
            let fix = format!("run: chmod 700 {}", home.path.display());
            return Err(Error::Exposed { path: home.path, why: "others can write to this home".into(), fix });
        }
        Ok(home)
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where compiled programs are kept. They can be made again at any time.
    pub fn cache(&self) -> PathBuf {
        self.path.join(CACHE_DIRECTORY)
    }

    /// Where branches are kept, as portable files, that a takeover orphaned.
    pub fn orphans(&self) -> PathBuf {
        self.path.join(ORPHANS_DIRECTORY)
    }

    /// Makes the directory for them.
    pub(crate) fn make_orphans(&self) -> Result<(), Error> {
        create_private(&self.orphans(), false)
    }

    /// An empty directory for files that come in and are not checked yet. Nobody else may use it: it belongs to the
    /// process that has the home.
    pub(crate) fn empty_incoming(&self) -> Result<(), Error> {
        let directory = self.incoming();
        match fs::remove_dir_all(&directory) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&directory, e)),
            _ => {}
        }
        create_private(&directory, false)
    }

    /// Where that is.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.path.join(INCOMING_DIRECTORY)
    }

    /// Where the configuration is, if there is one.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG_FILE)
    }

    /// What `node.toml` says, with defaults for what it does not.
    pub fn config(&self) -> Result<Config, Error> {
        Config::read(&self.config_path())
    }

    /// The keys; `owner` and `node` alike, where they are.
    pub fn keys(&self) -> Keys {
        Keys::at(self.path.join(KEYS_DIRECTORY))
    }

    /// Where the socket of this home's node is: in the home, or, where that path is too long for a socket, in a
    /// private directory that is named by a hash of it.
    pub fn socket(&self) -> PathBuf {
        socket::path(&self.path)
    }

    /// Where the socket of a node on the home at `path` is or will be, also before there is such a home.
    pub fn socket_of(path: &Path) -> Result<PathBuf, Error> {
        match Self::existing(path) {
            Err(Error::Absent { .. }) => {
                let absolute = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
                // What is there may be a link; what is not will be made as it is called.
                let there = absolute.ancestors().find_map(|there| Some((there, fs::canonicalize(there).ok()?)));
                let home = there.and_then(|(there, real)| Some(real.join(absolute.strip_prefix(there).ok()?)));
                Ok(socket::path(&home.unwrap_or(absolute)))
            }
            home => Ok(home?.socket()),
        }
    }

    /// As [`Home::socket`], after making sure that nobody else can put a socket there. Makes its directory.
    pub fn prepare_socket(&self) -> Result<PathBuf, Error> {
        let socket = self.socket();
        if let Some(directory) = socket.parent().filter(|directory| *directory != self.path) {
            create_private(directory, false)?;
        }
        self.check_socket()?;
        Ok(socket)
    }

    /// Whether the socket lies where only this user can put one. Nothing is wrong where there is none.
    pub fn check_socket(&self) -> Result<(), Error> {
        let socket = self.socket();
        let Some(directory) = socket.parent().filter(|directory| *directory != self.path) else { return Ok(()) };
        match fs::symlink_metadata(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io(directory, e)),
            Ok(found)
                if found.is_dir() && found.uid() == own_uid() && found.mode().trailing_zeros() >= PRIVATE_BITS =>
            {
                Ok(())
            }
            Ok(_) => Err(Error::Exposed {
                path: directory.to_owned(),
                why: "this directory for the socket is somebody else's, or others can enter it".into(),
                fix: "remove it, or use a --home with a shorter path".into(),
            }),
        }
    }
}

/// The user that this process acts as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes a directory that only its owner may enter; one that is there stays as it is.
fn create_private(path: &Path, parents: bool) -> Result<(), Error> {
    let made = match path.parent() {
        // The parents are ordinary directories, as a shell would make them; only the last one is private.
        Some(parent) if parents && !parent.as_os_str().is_empty() => fs::create_dir_all(parent),
        _ => Ok(()),
    };
    match made.and_then(|()| fs::DirBuilder::new().mode(0o700).create(path)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|e| Error::io(path, e)),
    }
}

/// Refuses a file that anybody but its owner can read or write.
pub(crate) fn check_private(path: &Path, file: &fs::File) -> Result<(), Error> {
    let found = file.metadata().map_err(|e| Error::io(path, e))?;
    let mode = found.permissions().mode() & 0o777;
    if mode.trailing_zeros() < PRIVATE_BITS {
        let why = format!("others can read it (mode {mode:04o})");
        return Err(Error::Exposed { path: path.to_owned(), why, fix: format!("run: chmod 600 {}", path.display()) });
    }
    Ok(())
}
