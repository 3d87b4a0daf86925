//! One day's prices, from one line of CSV.

use std::fmt;

use crate::money::Dollars;

const HEADER: &str = "date,open,high,low,close,volume";

/// What the strategy uses of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// As it was written: year-month-day.
    pub date: String,
    /// The first price.
    pub open: Dollars,
    /// The last price.
    pub close: Dollars,
}

/// Why a line is no day of prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not UTF-8.
    Text,
    /// Not six fields.
    Fields,
    /// Not year-month-day.
    Date,
    /// Not a price above zero.
    Price,
    /// High and low do not enclose open and close.
    Range,
    /// Not a whole number.
    Volume,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Text => "it is not text",
            Malformed::Fields => "it has not the six fields date,open,high,low,close,volume",
            Malformed::Date => "its date is not year-month-day",
            Malformed::Price => "one of its prices is not a number above zero",
            Malformed::Range => "its high and low do not enclose its open and close",
            Malformed::Volume => "its volume is not a whole number",
        })
    }
}

impl Day {
    /// Reads a line; `None` for the header and for an empty line, which mean nothing.
    pub fn parse(line: &[u8]) -> Result<Option<Self>, Malformed> {
        let line = std::str::from_utf8(line).map_err(|_| Malformed::Text)?.trim();
        if line.is_empty() || line.eq_ignore_ascii_case(HEADER) {
            return Ok(None);
        }
        let mut fields = line.split(',');
        let mut next = || fields.next().map(str::trim).ok_or(Malformed::Fields);
        let (date, open, high, low, close, volume) = (next()?, next()?, next()?, next()?, next()?, next()?);
        if fields.next().is_some() {
            return Err(Malformed::Fields);
        }
        if !is_date(date) {
            return Err(Malformed::Date);
        }
        let price = |text| Dollars::parse_price(text).ok_or(Malformed::Price);
        let (open, high, low, close) = (price(open)?, price(high)?, price(low)?, price(close)?);
        if low > open.min(close) || high < open.max(close) {
            return Err(Malformed::Range);
        }
        if volume.is_empty() || !volume.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::Volume);
        }
        Ok(Some(Day { date: date.to_owned(), open, close }))
    }
}

/// Whether this looks like a date. Which days a month has is the sender's business: dates are shown, not reckoned with.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read() {
        let day = Day::parse(b"2003-02-18,24.62,24.99,24.4,24.96,28707750\r\n").unwrap().unwrap();
        assert_eq!(day.date, "2003-02-18");
        assert_eq!((day.open, day.close), (Dollars(24_620_000), Dollars(24_960_000)));
    }

    #[test]
    fn headers_and_empty_lines_mean_nothing() {
        for line in ["date,open,high,low,close,volume", " Date,Open,High,Low,Close,Volume\r\n", "", "  \n"] {
            assert_eq!(Day::parse(line.as_bytes()), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(&[u8], Malformed); 11] = [
            (b"\xff\xfe", Malformed::Text),
            (b"hello", Malformed::Fields),
            (b"2003-02-18,1,1,1,1", Malformed::Fields),
            (b"2003-02-18,1,1,1,1,1,1", Malformed::Fields),
            (b"18.02.2003,1,1,1,1,1", Malformed::Date),
            (b"2003-2-18,1,1,1,1,1", Malformed::Date),
            (b"2003-02-18,x,1,1,1,1", Malformed::Price),
            (b"2003-02-18,1,1,1,0,1", Malformed::Price),
            (b"2003-02-18,2,1,1,1,1", Malformed::Range),
            (b"2003-02-18,1,1,1,1,", Malformed::Volume),
            (b"2003-02-18,1,1,1,1,-5", Malformed::Volume),
        ];
        for (line, expected) in cases {
            assert_eq!(Day::parse(line), Err(expected), "{}", String::from_utf8_lossy(line));
        }
    }
}
