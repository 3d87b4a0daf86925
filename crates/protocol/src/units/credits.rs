//! Money: 1 credit is 10^18 units, and every amount is a whole number of units.

use minicbor::{Decode, Decoder, Encode, Encoder, data::Tag};
use std::{fmt, str::FromStr};

/// An amount of money in units (10^-18 credits).
///
/// Printed and parsed as a decimal number of credits without an exponent, e.g. `11.5`. Arithmetic is checked:
/// an amount never wraps and never goes below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credits(u128);

/// Units in one credit.
const UNITS_PER_CREDIT: u128 = 1_000_000_000_000_000_000;
const DECIMALS: usize = 18;

impl Credits {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(u128::MAX);

    /// An amount in whole units.
    pub const fn from_units(units: u128) -> Self {
        Self(units)
    }

    /// The amount in whole units.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// The sum, or nothing if it does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or nothing if it would be below zero.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// As guests see it: microcredits, rounded down, held at the largest `i64`.
    pub fn to_guest_micro(self) -> i64 {
        i64::try_from(self.0 / 1_000_000_000_000).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / UNITS_PER_CREDIT, self.0 % UNITS_PER_CREDIT);
        if rest == 0 {
            return f.pad(&whole.to_string());
        }
        let decimals = format!("{rest:018}");
        f.pad(&format!("{whole}.{}", decimals.trim_end_matches('0')))
    }
}

/// Why a text is not an amount of credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not digits with at most one decimal point.
    #[error("not an amount of credits; write digits with at most one point, such as 10 or 0.5")]
    Syntax,
    /// More than 18 digits after the point.
    #[error("more than 18 digits after the point; the smallest amount is 0.000000000000000001 credits")]
    TooFine,
    /// Larger than can be counted.
    #[error("too large; the largest amount is {} credits", Credits::MAX)]
    TooLarge,
}

impl FromStr for Credits {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) || text.ends_with('.') {
            return Err(ParseError::Syntax);
        }
        if decimals.len() > DECIMALS {
            return Err(ParseError::TooFine);
        }
        let whole: u128 = whole.parse().map_err(|_| ParseError::TooLarge)?;
        let rest: u128 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| ParseError::Syntax)?;
        whole
            .checked_mul(UNITS_PER_CREDIT)
            .and_then(|units| units.checked_add(rest))
            .map(Self)
            .ok_or(ParseError::TooLarge)
    }
}

// RFC 8949 3.4.3: an integer that fits 64 bits is a plain integer; a larger one a byte string with tag 2,
// without leading zeros.
impl<C> Encode<C> for Credits {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        if let Ok(small) = u64::try_from(self.0) {
            return e.u64(small)?.ok();
        }
        let bytes = self.0.to_be_bytes();
        let skip = (self.0.leading_zeros() / 8) as usize;
        e.tag(Tag::new(2))?.bytes(&bytes[skip..])?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Credits {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? != minicbor::data::Type::Tag {
            return Ok(Self(u128::from(d.u64()?)));
        }
        if d.tag()? != Tag::new(2) {
            return Err(minicbor::decode::Error::message("an amount has tag 2"));
        }
        let bytes = d.bytes()?;
        if bytes.len() > 16 {
            return Err(minicbor::decode::Error::message("an amount has at most 16 bytes"));
        }
        Ok(Self(bytes.iter().fold(0, |sum, byte| (sum << 8) | u128::from(*byte))))
    }
}
