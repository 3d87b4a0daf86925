//! Deterministic CBOR (RFC 8949 section 4.2.1): one value, one byte string.
//!
//! Values are arrays by position. Whatever decodes is encoded again and must give the same bytes, so that a hash
//! or a signature over bytes is one over the value, and nobody can write the same value in two ways.

use minicbor::{Decode, Encode};

/// Why bytes are not an encoded value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the CBOR that this value has.
    #[error("not a valid {what}: {why}")]
    Malformed {
        /// What was to be decoded.
        what: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// The right value in other bytes than the deterministic ones.
    #[error("{what} is not in its deterministic encoding")]
    NotCanonical {
        /// What was to be decoded.
        what: &'static str,
    },
    /// Longer than this value may be.
    #[error("{what} is too large: {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What was to be decoded.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A version or kind that this program does not know.
    #[error("{what} {number} is not known to this version of igor; a newer one may read it")]
    Unsupported {
        /// What has the number.
        what: &'static str,
        /// The number.
        number: u64,
    },
}

/// The bytes of a value.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    encode_into(value, &mut bytes);
    bytes
}

/// Appends the bytes of a value.
pub fn encode_into<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and no `Encode` of this crate raises an error of its own.
    if minicbor::encode(value, bytes).is_err() {
        unreachable!("encoding into memory does not fail");
    }
}

/// Decodes exactly one value from all of `bytes`, which must be its deterministic encoding.
pub fn decode<T: for<'b> Decode<'b, ()> + Encode<()>>(
    what: &'static str,
    bytes: &[u8],
    max: usize,
) -> Result<T, Error> {
    if bytes.len() > max {
        return Err(Error::TooLarge { what, bytes: bytes.len() as u64, max: max as u64 });
    }
    let value: T = minicbor::decode(bytes).map_err(|e| Error::Malformed { what, why: e.to_string() })?;
    // Also catches trailing bytes, indefinite lengths and integers in more bytes than needed.
    let mut rest = Expected(bytes);
    let same = minicbor::encode(&value, &mut rest).is_ok() && rest.0.is_empty();
    if same { Ok(value) } else { Err(Error::NotCanonical { what }) }
}

/// Takes what is written for what is expected, and fails at the first difference; nothing is kept.
pub(crate) struct Expected<'a>(pub(crate) &'a [u8]);

/// Something else was written than was expected.
#[derive(Debug)]
pub(crate) struct Different;

impl minicbor::encode::Write for Expected<'_> {
    type Error = Different;

    fn write_all(&mut self, written: &[u8]) -> Result<(), Different> {
        self.0 = self.0.strip_prefix(written).ok_or(Different)?;
        Ok(())
    }
}
