//! A moving-average crossover on real prices that arrive as messages.
//!
//! A message is one line of daily prices, `date,open,high,low,close,volume`; the message `report` is answered with the
//! agent's account as JSON. The strategy itself ([`Book`]) knows nothing of agents and messages, so
//! [`uninterrupted`] gives what any life of the agent must come to, however often it is killed on the way.
//!
//! It is here to be exact, not to be rich: what it does with the prices is textbook, and no advice.

mod book;
mod money;
mod price;

pub use book::{Book, Event, FAST_DAYS, Report, SLOW_DAYS, STARTING_CASH};
pub use money::Dollars;
pub use price::{Day, Malformed};

use igor_sdk::{Agent, Batch, Context, Next, log};
use serde::{Deserialize, Serialize};

/// The agent: its state is its book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    book: Book,
}

impl Agent for Strategy {
    fn init(_: &mut impl Context) -> Self {
        Strategy { book: Book::new() }
    }

    fn tick(&mut self, context: &mut impl Context) -> Next {
        let mut batch = Batch::default();
        while let Some(message) = batch.next(context) {
            if is_report(&message) {
                let report = self.book.report().to_json();
                if let Err(error) = context.reply(report.as_bytes()) {
                    log!(context, "the report was not sent: {error}");
                }
            } else if let Some(event) = self.book.line(&message) {
                log!(context, "{event}");
            }
        }
        batch.then()
    }
}

igor_sdk::agent!(Strategy);

impl Strategy {
    /// The agent's account.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }
}

/// What an agent that was sent these lines, each once and in order, reports at the end.
#[must_use]
pub fn uninterrupted(csv: &str) -> Report {
    let mut book = Book::new();
    for line in csv.lines() {
        // As from an agent: what the line meant is for its log.
        let _ = book.line(line.as_bytes());
    }
    book.report()
}

fn is_report(message: &[u8]) -> bool {
    message.trim_ascii() == b"report"
}
