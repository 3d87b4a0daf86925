//! The books of the agents that custody was asked about last: whoever asks often, also from another node, costs little.
//!
//! Invariants kept here:
//! - A book that is looked at ends where its journal ends in the store. It is read on from where it was, or from its
//!   last checkpoint if the journal is another one by now.
//! - There are at most [`BOOKS_MAX`].

use crate::{Error, aside, inspect, moving::StoreBlobs};
use igor_protocol::{AgentId, Chain, ledger::Book};
use igor_store::Store;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

const BOOKS_MAX: usize = 16;

/// Books, the last used last.
#[derive(Default)]
pub(super) struct Books(Mutex<VecDeque<Book>>);

impl Books {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Book>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the book at the end of a journal; nothing if there is none here.
    pub(super) fn look<S: Store, T>(
        &self,
        store: &S,
        agent: AgentId,
        look: impl FnOnce(&Book) -> T,
    ) -> Result<Option<T>, Error> {
        let Some(book) = self.take_at_end(store, agent)? else { return Ok(None) };
        let seen = look(&book);
        self.put(book);
        Ok(Some(seen))
    }

    /// Takes the book at the end of a journal; nothing if there is none here. Put it back once what was added to it is
    /// durable.
    pub(super) fn take_at_end<S: Store>(&self, store: &S, agent: AgentId) -> Result<Option<Book>, Error> {
        let Some(end) = store.tail(agent)? else { return Ok(None) };
        let kept = self.take(agent);
        if kept.as_ref().is_some_and(|book| book.chain() == end) {
            return Ok(kept);
        }
        let read = || match kept.and_then(|book| read_on(store, book, end)) {
            Some(book) => Ok(book),
            None => inspect::book_at_end(|from| store.read(agent, from), &StoreBlobs(store), end.next),
        };
        Ok(Some(aside(read)?))
    }

    /// Keeps a book, as far as its journal is durable.
    pub(super) fn put(&self, book: Book) {
        let mut books = self.lock();
        books.retain(|other| other.agent() != book.agent());
        if books.len() >= BOOKS_MAX {
            books.pop_front();
        }
        books.push_back(book);
    }

    fn take(&self, agent: AgentId) -> Option<Book> {
        let mut books = self.lock();
        let at = books.iter().position(|book| book.agent() == agent)?;
        books.remove(at)
    }
}

/// The book at this end, if what it has read is the beginning of what is there now.
fn read_on<S: Store>(store: &S, mut book: Book, end: Chain) -> Option<Book> {
    if book.chain().next < end.next {
        for commit in store.read(book.agent(), book.chain().next).ok()? {
            book.apply(&commit.ok()?).ok()?;
            if book.chain().next >= end.next {
                break;
            }
        }
    }
    (book.chain() == end).then_some(book)
}
