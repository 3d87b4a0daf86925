//! A change of custody: right by itself, and at its place.

use super::super::{Book, Fault};
use crate::{
    entry::{Custody, Phase},
    units::Timestamp,
};

/// `first` says whether it is the first entry of its commit.
pub(crate) fn custody(book: &mut Book, record: &Custody, at: Timestamp, first: bool) -> Result<(), Fault> {
    // A commit has one epoch, and this entry may raise it.
    if !first {
        return Err(Fault::Place("a custody entry is the first of its commit"));
    }
    let held = book.held();
    held.admit(&record.phase)?;
    record.check(&book.genesis.owner)?;
    if record.phase.place().is_none_or(|place| place.at != at) {
        return Err(Fault::Time("a custody entry and what is signed in it have the same time"));
    }
    book.chain.epoch = record.phase.epoch();
    if let Phase::Takeover(takeover) = &record.phase {
        book.ledger.order_counter = takeover.order.body.counter;
    }
    // What it wished, it wished of the node that it was on.
    book.ledger.move_to = None;
    book.ledger.custody = Some(Box::new(held.standing.after(record)));
    Ok(())
}
