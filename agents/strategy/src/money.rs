//! Dollars as whole millionths. No floating point: the same prices give the same account on every machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dollars(pub i128);

/// Millionths in a dollar.
const MICROS: i128 = 1_000_000;
const FRACTION_DIGITS_MAX: usize = 6;
const WHOLE_DIGITS_MAX: usize = 6;

impl Dollars {
    /// Whole dollars.
    #[must_use]
    pub const fn whole(dollars: i128) -> Self {
        Dollars(dollars * MICROS)
    }

    /// Reads a price: `24.6` or `24`, above zero and under a million, with at most six decimals. No sign, no
    /// exponent, nothing left out.
    #[must_use]
    pub fn parse_price(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let micros = digits(whole, WHOLE_DIGITS_MAX)? * MICROS + scaled_fraction(fraction)?;
        (micros > 0).then_some(Dollars(micros))
    }
}

fn scaled_fraction(text: &str) -> Option<i128> {
    let mut micros = digits(text, FRACTION_DIGITS_MAX)?;
    for _ in text.len()..FRACTION_DIGITS_MAX {
        micros *= 10;
    }
    Some(micros)
}

fn digits(text: &str, count_max: usize) -> Option<i128> {
    if text.is_empty() || text.len() > count_max || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        // Cents are enough to read; the report has every digit.
        write!(f, "{sign}${}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_exactly() {
        let cases = [
            ("24.62", Some(24_620_000)),
            ("46.8", Some(46_800_000)),
            ("47", Some(47_000_000)),
            ("0.000001", Some(1)),
            ("999999.999999", Some(999_999_999_999)),
            ("0", None),
            ("0.0", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1.2.3", None),
            ("1000000", None),
            ("0.0000001", None),
            ("NaN", None),
            (" 1", None),
            ("\u{661}", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Dollars::parse_price(text), expected.map(Dollars), "{text:?}");
        }
    }

    #[test]
    fn amounts_read_as_dollars_and_cents() {
        assert_eq!(Dollars::whole(10_000).to_string(), "$10000.00");
        assert_eq!(Dollars(-1_239_999).to_string(), "-$1.23");
    }
}
