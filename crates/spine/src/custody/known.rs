//! What this node durably knows of an agent: its journal's book, and the note beside it.

use super::{Error, Host, Peers, Steward};
use crate::World;
use igor_protocol::{
    AgentId, OwnerId,
    custody::{Known, Note, Status},
    entry::Custody,
    ledger::Book,
};
use igor_store::Store;

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// What this node is to an agent.
    pub fn status(&self, agent: AgentId) -> Result<Status, Error> {
        Ok(self.known(agent, false)?.status(self.me()))
    }

    /// All records that this node knows of an agent, to be told to whoever asks.
    pub fn records(&self, agent: AgentId) -> Result<Vec<Custody>, Error> {
        let mut records: Vec<Custody> = Vec::new();
        for record in self.known(agent, false)?.records() {
            if !records.contains(record) {
                records.push(record.clone());
            }
        }
        Ok(records)
    }

    /// What is durably known. `running` is what only this process knows.
    pub(super) fn known(&self, agent: AgentId, running: bool) -> Result<Known, Error> {
        let memory = self.note(agent)?.map(|note| note.memory).unwrap_or_default();
        Ok(Known { held: self.books.look(&*self.store, agent, Book::held)?, memory, running })
    }

    /// The book at the end of the journal that is here.
    pub(super) fn book(&self, agent: AgentId) -> Result<Option<Book>, Error> {
        Ok(self.books.look(&*self.store, agent, Book::clone)?)
    }

    pub(super) fn note(&self, agent: AgentId) -> Result<Option<Note>, Error> {
        self.notes.read(&*self.store, agent)
    }

    /// Whether nothing is known of the agent here, not even that it is elsewhere.
    pub(super) fn is_unknown(&self, agent: AgentId) -> Result<bool, Error> {
        Ok(self.note(agent)?.is_none() && self.store.tail(agent)?.is_none())
    }

    /// Who owns an agent that this node has, had, or has heard of.
    pub fn owner(&self, agent: AgentId) -> Result<OwnerId, Error> {
        if let Some(note) = self.note(agent)? {
            return Ok(note.owner);
        }
        self.books.look(&*self.store, agent, |book| book.genesis().owner)?.ok_or(Error::Unknown(agent))
    }
}
