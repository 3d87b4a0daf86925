//! An owner's order for an agent that does not run: committed to its journal, so that its next life knows it.

use crate::{Error, node::StoreBlobs, world::RealWorld};
use igor_protocol::{Body, Entry, KeyPair, Seq, entry::Order};
use igor_spine::{World, inspect};
use igor_store::{Store, disk::Disk};

/// Checks an order against the journal of its agent and commits it with a seal. Returns its position.
///
/// `key` is the custodian's: the caller has seen that. Nobody else may append to the journal meanwhile: the caller has the store, and the agent
/// does not run.
pub async fn commit(store: &Disk, key: &KeyPair, order: Order) -> Result<Seq, Error> {
    let agent = order.body.agent;
    let unknown = || Error::UnknownAgent { name: agent.to_string() };
    let end = store.tail(agent)?.ok_or_else(unknown)?.next;
    let mut book = inspect::book_at_end(|from| store.read(agent, from), &StoreBlobs(store), end)?;
    book.append_own();
    let at = RealWorld.wall_clock().max(book.ledger().at);
    let mut draft = book.draft();
    let (seq, _) = book.push(&mut draft, Entry { at, body: Body::Order(order) }).map_err(Error::Order)?;
    book.push_seal(&mut draft, key, at).map_err(Error::Order)?;
    let commit = book.commit(draft).map_err(Error::Order)?;
    store.append(commit).await?;
    Ok(seq)
}
