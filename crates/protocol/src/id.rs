//! The name of an agent: the hash of its Genesis body, written in bech32m as `igor1...`.

use crate::Hash;
use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use minicbor::{Decode, Encode};
use std::{fmt, str::FromStr};

const HRP: Hrp = Hrp::parse_unchecked("igor");

/// Which agent. The hash of the Genesis body, which the owner signed; the signature is not part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct AgentId(#[n(0)] pub Hash);

impl AgentId {
    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 32 bytes are far below the length limit of the checksum, so encoding cannot fail for this input.
        f.write_str(&bech32::encode::<Bech32m>(HRP, self.as_bytes()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an agent id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an agent id: it begins with igor1 and has a checksum; copy it whole")]
pub struct ParseError;

impl FromStr for AgentId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parsed = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| ParseError)?;
        let mut bytes = [0; 32];
        let mut iter = parsed.byte_iter();
        for byte in &mut bytes {
            *byte = iter.next().ok_or(ParseError)?;
        }
        let id = Self(Hash(bytes));
        // Refuses another prefix, capitals, more bytes, and padding bits that are not zero: an id has one text.
        if id.to_string() == text { Ok(id) } else { Err(ParseError) }
    }
}
