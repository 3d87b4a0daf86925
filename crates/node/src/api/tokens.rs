//! Who may call over TCP: a file of names and tokens, one pair a line, that only its owner can read.

use crate::{Error, home::check_private};
use igor_protocol::Hash;
use std::{fs, io::Read, path::Path};

const FILE_BYTES_MAX: u64 = 1 << 20;
/// Shortest token, in bytes: 128 bits as hex.
const TOKEN_BYTES_MIN: usize = 32;
const TOKEN_BYTES_MAX: usize = 1024;

/// The tokens, by name. Only their hashes are kept, so that comparing them tells nothing by its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(Vec<(String, Hash)>);

impl Tokens {
    /// Reads a file of lines `NAME TOKEN`. Empty lines and lines that begin with `#` count for nothing.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let bad = |why: String| Error::Tokens { path: path.to_owned(), why };
        let file = fs::File::open(path).map_err(|e| bad(e.to_string()))?;
        check_private(path, &file)?;
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|e| bad(e.to_string()))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(bad(format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        Self::parse(&text).map_err(bad)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = i + 1;
            let (name, token) =
                line.split_once(char::is_whitespace).ok_or(format!("line {number}: not `NAME TOKEN`"))?;
            let token = token.trim();
            if crate::local::check_name(name).is_err() {
                return Err(format!("line {number}: a token's name has letters, digits, '-', '_' and '.'"));
            }
            if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) {
                return Err(format!("line {number}: a token has {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters"));
            }
            if tokens.iter().any(|(other, _)| other == name) {
                return Err(format!("line {number}: there is another token named {name}"));
            }
            tokens.push((name.to_owned(), Hash::of_blob(token.as_bytes())));
        }
        if tokens.is_empty() { Err("it has no token; write a line `NAME TOKEN`".into()) } else { Ok(Self(tokens)) }
    }

    /// Whose token this is.
    pub(super) fn name_of(&self, token: &str) -> Option<&str> {
        let hash = Hash::of_blob(token.as_bytes());
        self.0.iter().find(|(_, known)| *known == hash).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests;
