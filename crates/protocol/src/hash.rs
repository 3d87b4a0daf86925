//! BLAKE3 hashes, each under a domain, so that bytes hashed for one purpose never count for another.

use minicbor::{Decode, Encode};
use std::{fmt, str::FromStr};

/// A BLAKE3 hash. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Hash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Hash {
    /// The hash before the first entry.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash that names a blob (program, manifest, checkpoint state, large body) by its content.
    pub fn of_blob(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The hash of `parts`, one after the other, under `domain`. The domain must be a constant of this crate.
    pub(crate) fn in_domain(domain: Domain, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(domain.0);
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The first 16 bytes, where a short name that cannot be chosen is enough.
    pub(crate) fn short(self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.0[..16]);
        short
    }
}

/// What a hash or a signature is for. No domain is a prefix of another, since each ends in a zero byte.
#[derive(Clone, Copy)]
pub(crate) struct Domain(pub(crate) &'static [u8]);

impl Domain {
    pub(crate) const CHAIN: Self = Self(b"igor/chain/1\0");
    pub(crate) const GENESIS: Self = Self(b"igor/genesis/1\0");
    pub(crate) const GENESIS_OWNER: Self = Self(b"igor/genesis-owner/1\0");
    pub(crate) const GENESIS_HOST: Self = Self(b"igor/genesis-host/1\0");
    pub(crate) const ORDER: Self = Self(b"igor/order/1\0");
    pub(crate) const CUSTODY: Self = Self(b"igor/custody/1\0");
    pub(crate) const SEAL: Self = Self(b"igor/seal/1\0");
    pub(crate) const RECEIPT: Self = Self(b"igor/receipt/1\0");
    pub(crate) const MESSAGE_ID: Self = Self(b"igor/message-id/1\0");
    pub(crate) const SLOT: Self = Self(b"igor/slot/1\0");
    pub(crate) const BUNDLE: Self = Self(b"igor/bundle/1\0");
    pub(crate) const ARCHIVE: Self = Self(b"igor/archive/1\0");
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At once: hashes name files and journals, and are written all day.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: write 64 lower-case hex digits")]
pub struct ParseError;

impl FromStr for Hash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseError);
        }
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(ParseError),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}
