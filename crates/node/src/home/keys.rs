//! Key files: made once, read strictly.

use super::{Error, check_private, create_private};
use igor_protocol::{AgentId, KeyPair};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Longest key file, in bytes: a whole one has about 200.
const FILE_BYTES_MAX: u64 = 4096;
/// Longest file with a counter, in bytes.
const COUNTER_BYTES_MAX: u64 = 32;
const VERSION: &str = "1";

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs Genesis and orders.
    Owner,
    /// Signs what the node appends.
    Node,
}

impl Role {
    /// The word in file names and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Node => "node",
        }
    }
}

/// The keys of a home.
#[derive(Clone, Debug)]
pub struct Keys {
    directory: PathBuf,
}

impl Keys {
    pub(super) const fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where a key is.
    pub fn path(&self, role: Role) -> PathBuf {
        self.directory.join(format!("{}.key", role.name()))
    }

    /// Reads a key.
    pub fn read(&self, role: Role) -> Result<KeyPair, Error> {
        let path = self.path(role);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NoKey { path }),
            Err(e) => return Err(Error::io(&path, e)),
        };
        check_private(&path, &file)?;
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        match read {
            Ok(_) => parse(&path, role, &text),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(Error::BadKey { path, why: "it is not text" }),
            Err(e) => Err(Error::io(&path, e)),
        }
    }

    /// A number above `above` and above all that this gave before for an agent, durable before it is given: what the
    /// owner signs with it is not signed with it twice, whatever became of the first.
    pub fn next_counter(&self, agent: AgentId, above: u64) -> Result<u64, Error> {
        let path = self.directory.join(format!("orders-{agent}"));
        let failed = |e: io::Error| Error::io(&path, e);
        // Two commands at once get two numbers.
        let directory = fs::File::open(&self.directory).map_err(failed)?;
        rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        let before = match fs::File::open(&path) {
            Ok(file) => {
                let mut text = String::new();
                file.take(COUNTER_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
                let read = text.strip_suffix('\n').and_then(|text| text.parse().ok());
                read.ok_or_else(|| Error::BadCounter { path: path.clone() })?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(failed(e)),
        };
        let next = above.max(before).checked_add(1).ok_or_else(|| Error::BadCounter { path: path.clone() })?;
        write_durably(&self.directory, &format!("new-orders-{agent}"), &path, format!("{next}\n").as_bytes())
            .map_err(failed)?;
        Ok(next)
    }

    /// Reads a key, or makes it where there is none. Call it only with the home's lock held.
    pub fn read_or_create(&self, role: Role) -> Result<KeyPair, Error> {
        match self.read(role) {
            Err(Error::NoKey { .. }) => self.create(role),
            other => other,
        }
    }

    fn create(&self, role: Role) -> Result<KeyPair, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::Entropy(e.to_string()))?;
        let key = KeyPair::from_seed(&seed);
        let text = format!(
            "igor-key {VERSION}\nrole: {}\npublic: {}\nseed: {}\n",
            role.name(),
            key.public(),
            hex::encode(seed)
        );
        create_private(&self.directory, false)?;
        let path = self.path(role);
        let write = || -> io::Result<()> {
            write_durably(&self.directory, &format!("new-{}.key", role.name()), &path, text.as_bytes())?;
            let home = self.directory.parent().unwrap_or(&self.directory);
            fs::File::open(home)?.sync_all()
        };
        write().map_err(|e| Error::io(&path, e))?;
        Ok(key)
    }
}

/// Writes a file that nobody else can read, under another name first.
fn write_durably(directory: &Path, unfinished: &str, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(unfinished);
    // What an interrupted attempt left here was never used.
    drop(fs::remove_file(&unfinished));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(directory)?.sync_all()
}

fn parse(path: &Path, role: Role, text: &str) -> Result<KeyPair, Error> {
    let bad = |why| Error::BadKey { path: path.to_owned(), why };
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("igor-key "));
    match version {
        Some(VERSION) => {}
        Some(other) => {
            return Err(Error::KeyVersion { path: path.to_owned(), found: other.chars().take(20).collect() });
        }
        None => return Err(bad("it does not begin with `igor-key`")),
    }
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).map(str::trim);
    let found_role = field("role: ").ok_or_else(|| bad("its line `role` is missing"))?;
    let public = field("public: ").ok_or_else(|| bad("its line `public` is missing"))?;
    let seed_text = field("seed: ").ok_or_else(|| bad("its line `seed` is missing"))?;
    if found_role != role.name() {
        return Err(bad("it is the other role's key"));
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(seed_text, &mut seed).map_err(|_| bad("its seed is not 64 hex digits"))?;
    let key = KeyPair::from_seed(&seed);
    if key.public().to_string() != public {
        return Err(bad("seed and public key do not belong together"));
    }
    Ok(key)
}
