//! What is known of the agents that custody was asked about last: as long as its bytes are the same, it need not be
//! decoded again.
//!
//! Invariants kept here:
//! - The store is asked each time: a note that is given is what the store has.
//! - There are at most [`NOTES_MAX`].

use super::Error;
use igor_protocol::{AgentId, custody::Note};
use igor_store::Store;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

const NOTES_MAX: usize = 16;

/// Notes with their bytes, the last used last.
#[derive(Default)]
pub(super) struct Notes(Mutex<VecDeque<(AgentId, Vec<u8>, Note)>>);

impl Notes {
    /// The note of an agent; nothing if there is none.
    pub(super) fn read(&self, store: &impl Store, agent: AgentId) -> Result<Option<Note>, Error> {
        let Some(bytes) = store.get_local(&Note::name(agent))? else { return Ok(None) };
        // No update can fail in the middle.
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = notes.iter().position(|(of, ..)| *of == agent);
        let kept = at.and_then(|at| notes.remove(at)).filter(|(_, from, _)| *from == bytes);
        let note = match kept {
            Some((.., note)) => note,
            None => Note::decode(&bytes).map_err(|e| Error::Note { agent, why: e.to_string() })?,
        };
        if notes.len() >= NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back((agent, bytes, note.clone()));
        Ok(Some(note))
    }
}
