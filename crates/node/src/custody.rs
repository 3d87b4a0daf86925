//! Whether this node may go on with an agent: asked here, by the node and by whoever looks at its home without it.
//!
//! Invariant kept here: only the custodian at the end of an agent's journal runs the agent and commits for it. A journal
//! that has another custodian is an *archive* on this node: history to look at, to prove and to pass on.

use crate::Error;
use igor_protocol::{NodeId, ledger::Book};

/// What an archive's status is called.
pub const ARCHIVED: &str = "archived";
/// What the status is called of an agent that was given away, while there is no answer.
pub const MOVING: &str = "moving";

/// Who may go on with the agent of this book.
pub fn custodian(book: &Book) -> NodeId {
    book.custodian()
}

/// Refuses what only the custodian may do. `here` is this node, where it has a key.
pub fn check(book: &Book, here: Option<NodeId>) -> Result<(), Error> {
    let (agent, custodian) = (book.agent(), custodian(book));
    if here == Some(custodian) { Ok(()) } else { Err(Error::NotCustodian { agent, custodian }) }
}
