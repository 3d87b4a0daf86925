//! The strategy: what it has seen, what it holds, and what it does with a new price. Pure; no agent, no messages.
//!
//! **Crossover.** While the average of the last [`FAST_DAYS`] closes is above that of the last [`SLOW_DAYS`], it
//! holds as many whole shares as its cash buys; while it is below, it holds none. It trades at the close, without
//! fees. Averages are compared as cross-multiplied sums, so nothing is rounded.
//!
//! **Splits.** The prices are not adjusted, so a 2-for-1 split looks like a loss of half. It is told from one by the
//! night: a share that opens at about half of its last close (a ratio of [`SPLIT_RATIO_PERCENT_MIN`] to
//! [`SPLIT_RATIO_PERCENT_MAX`] percent) was split. In the thirteen years of the real prices that is so once, on
//! 2003-02-18 (48.30 to 24.62, 196%); the worst other night took 15%. On a split each share held becomes two and
//! the remembered closes are halved, so neither worth nor averages jump.

use std::{collections::VecDeque, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    money::Dollars,
    price::{Day, Malformed},
};

/// Days of the fast average.
pub const FAST_DAYS: usize = 10;
/// Days of the slow average; the first trade needs that many prices.
pub const SLOW_DAYS: usize = 30;
/// What the agent starts with.
pub const STARTING_CASH: Dollars = Dollars::whole(10_000);
/// From this ratio of a close to the next open on, in percent, it was a split.
const SPLIT_RATIO_PERCENT_MIN: i128 = 185;
/// And up to this one.
const SPLIT_RATIO_PERCENT_MAX: i128 = 215;
/// It holds no more shares than this, so that no prices, however absurd, can overflow its account.
const SHARES_MAX: i128 = 1_000_000_000_000;

/// The account, and what the averages need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    prices: u64,
    ignored: u64,
    splits: u64,
    trades: u64,
    shares: i128,
    cash: Dollars,
    /// The latest closes, the newest last; no more than [`SLOW_DAYS`].
    closes: VecDeque<Dollars>,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Shares were bought at the close.
    Bought {
        /// The day.
        date: String,
        /// How many.
        shares: i128,
        /// The price of one.
        price: Dollars,
    },
    /// All shares were sold at the close.
    Sold {
        /// The day.
        date: String,
        /// How many.
        shares: i128,
        /// The price of one.
        price: Dollars,
    },
    /// Each share became two before this day.
    Split {
        /// The day.
        date: String,
        /// How many shares are held after it.
        shares: i128,
    },
    /// The line was no day of prices.
    Ignored(Malformed),
}

/// The account, for others. Money is in millionths of a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Days of prices taken.
    pub prices: u64,
    /// Shares held.
    pub position: i128,
    /// Money held.
    pub cash: i128,
    /// Purchases and sales.
    pub trades: u64,
    /// Cash and shares at the last close, less the money at the start.
    pub profit: i128,
    /// Lines that were not prices.
    pub ignored: u64,
    /// Splits seen.
    pub splits: u64,
}

impl Book {
    /// An account that has only its starting cash.
    #[must_use]
    pub fn new() -> Self {
        Book { prices: 0, ignored: 0, splits: 0, trades: 0, shares: 0, cash: STARTING_CASH, closes: VecDeque::new() }
    }

    /// Takes one line of prices. A line that is none is counted and named; the header means nothing. A line that was
    /// there before counts again: that each arrives once is the runtime's promise, and hiding a breach would help
    /// nobody.
    pub fn line(&mut self, line: &[u8]) -> Option<Event> {
        match Day::parse(line) {
            Ok(Some(day)) => self.day(day),
            Ok(None) => None,
            Err(malformed) => {
                self.ignored += 1;
                Some(Event::Ignored(malformed))
            }
        }
    }

    fn day(&mut self, day: Day) -> Option<Event> {
        self.prices += 1;
        let split = self.closes.back().is_some_and(|last| is_split(*last, day.open));
        if split {
            self.split();
        }
        self.closes.push_back(day.close);
        if self.closes.len() > SLOW_DAYS {
            self.closes.pop_front();
        }
        let trade = self.trade(&day);
        // One line a day; a trade on the day of a split says the number of shares too.
        trade.or_else(|| split.then_some(Event::Split { date: day.date, shares: self.shares }))
    }

    fn split(&mut self) {
        self.splits += 1;
        self.shares = self.shares.saturating_mul(2).min(SHARES_MAX);
        for close in &mut self.closes {
            close.0 /= 2;
        }
    }

    fn trade(&mut self, day: &Day) -> Option<Event> {
        let (fast, slow) = self.averages()?;
        let price = day.close;
        if fast > slow && self.shares == 0 {
            let shares = (self.cash.0 / price.0).min(SHARES_MAX);
            if shares == 0 {
                return None;
            }
            self.shares = shares;
            self.cash.0 -= shares * price.0;
            self.trades += 1;
            return Some(Event::Bought { date: day.date.clone(), shares, price });
        }
        if fast < slow && self.shares > 0 {
            let shares = std::mem::take(&mut self.shares);
            self.cash.0 = self.cash.0.saturating_add(shares * price.0);
            self.trades += 1;
            return Some(Event::Sold { date: day.date.clone(), shares, price });
        }
        None
    }

    /// The fast and the slow average, both times the product of their days; none before there are enough closes.
    fn averages(&self) -> Option<(i128, i128)> {
        if self.closes.len() < SLOW_DAYS {
            return None;
        }
        let slow: i128 = self.closes.iter().map(|close| close.0).sum();
        let fast: i128 = self.closes.iter().skip(SLOW_DAYS - FAST_DAYS).map(|close| close.0).sum();
        Some((fast * days(SLOW_DAYS), slow * days(FAST_DAYS)))
    }

    /// The account, for others.
    #[must_use]
    pub fn report(&self) -> Report {
        let price = self.closes.back().copied().unwrap_or_default();
        let worth = self.cash.0.saturating_add(self.shares * price.0);
        Report {
            prices: self.prices,
            position: self.shares,
            cash: self.cash.0,
            trades: self.trades,
            profit: worth - STARTING_CASH.0,
            ignored: self.ignored,
            splits: self.splits,
        }
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    /// One line of JSON, always with the same fields in the same order.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Report { prices, position, cash, trades, profit, ignored, splits } = self;
        format!(
            "{{\"prices\":{prices},\"position\":{position},\"cash\":{cash},\"trades\":{trades},\"profit\":{profit},\
             \"ignored\":{ignored},\"splits\":{splits}}}"
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Bought { date, shares, price } => write!(f, "{date}: bought {shares} shares at {price}"),
            Event::Sold { date, shares, price } => write!(f, "{date}: sold {shares} shares at {price}"),
            Event::Split { date, shares } => write!(f, "{date}: 2-for-1 split, now {shares} shares"),
            Event::Ignored(why) => write!(f, "a message was ignored: {why}"),
        }
    }
}

fn is_split(last_close: Dollars, open: Dollars) -> bool {
    let ratio = last_close.0 * 100;
    ratio >= open.0 * SPLIT_RATIO_PERCENT_MIN && ratio <= open.0 * SPLIT_RATIO_PERCENT_MAX
}

fn days(count: usize) -> i128 {
    i128::try_from(count).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day on which the price stood still.
    fn flat(book: &mut Book, price: &str) -> Option<Event> {
        book.line(format!("2020-01-01,{price},{price},{price},{price},100").as_bytes())
    }

    fn after_flat_days(price: &str) -> Book {
        let mut book = Book::new();
        for _ in 0..SLOW_DAYS {
            assert_eq!(flat(&mut book, price), None);
        }
        book
    }

    #[test]
    fn it_buys_when_the_fast_average_rises_and_sells_when_it_falls() {
        let mut book = after_flat_days("30");
        let bought = flat(&mut book, "33");
        assert_eq!(bought.unwrap().to_string(), "2020-01-01: bought 303 shares at $33.00");
        assert_eq!(book.report().cash, 1_000_000);
        assert_eq!(flat(&mut book, "36"), None);
        assert_eq!(book.report().profit, 909_000_000);
        let sold: Vec<Event> = (0..20).filter_map(|_| flat(&mut book, "20.5")).collect();
        assert_eq!(sold.len(), 1);
        assert_eq!(sold[0].to_string(), "2020-01-01: sold 303 shares at $20.50");
        assert_eq!((book.report().position, book.report().trades), (0, 2));
    }

    #[test]
    fn a_split_changes_neither_worth_nor_averages() {
        let mut book = after_flat_days("30");
        flat(&mut book, "33");
        let before = book.report();
        let event = flat(&mut book, "16.5");
        assert_eq!(event.unwrap().to_string(), "2020-01-01: 2-for-1 split, now 606 shares");
        let after = book.report();
        assert_eq!((after.profit, after.trades, after.splits), (before.profit, before.trades, 1));
    }

    #[test]
    fn a_crash_is_no_split() {
        for (close, open, expected) in [
            ("48.30", "24.62", true),
            ("48.30", "26.11", false),
            ("48.30", "22.46", false),
            ("50", "25", true),
            ("24.62", "48.30", false),
        ] {
            let price = |text| Dollars::parse_price(text).unwrap();
            assert_eq!(is_split(price(close), price(open)), expected, "{close} to {open}");
        }
    }

    #[test]
    fn absurd_prices_overflow_nothing() {
        let mut book = Book::new();
        // Bought at next to nothing, sold at next to a million, again and again.
        for _ in 0..5 {
            for (days, price) in [(60, "0.000001"), (1, "0.000003"), (40, "999999.999999"), (60, "700000")] {
                for _ in 0..days {
                    flat(&mut book, price);
                }
            }
        }
        let report = book.report();
        assert_eq!(report.trades, 10);
        assert!(report.profit > SHARES_MAX * 700_000 * 1_000_000, "{report:?}");
    }

    #[test]
    fn a_report_is_one_line_of_json() {
        let mut book = Book::new();
        assert_eq!(
            book.line(b"what?").unwrap().to_string(),
            "a message was ignored: it has not the six fields date,open,high,low,close,volume"
        );
        assert_eq!(
            book.report().to_json(),
            r#"{"prices":0,"position":0,"cash":10000000000,"trades":0,"profit":0,"ignored":1,"splits":0}"#
        );
    }
}
