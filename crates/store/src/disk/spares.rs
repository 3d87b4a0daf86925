//! Segments made beforehand, and whether there is room to make more.
//!
//! Invariant: a spare's zeros, header and name are durable before the log gets it. Making one takes many
//! milliseconds, so a thread in the background does it; whoever needs one that is not ready makes it here.

use super::{Options, home::Home, segment::Segment, table::Shared};
use crate::{Error, files::Mode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file of allocated bytes, given up to make room for a blob or a local value when the disk is full.
const RESERVE: &str = "reserve";

pub(crate) struct Spares {
    home: Arc<Home>,
    table: Shared,
    state: Mutex<State>,
    options: Options,
}

struct State {
    spare: Option<Arc<Segment>>,
    /// The size of the next segment. It grows with use, so that small homes stay small.
    size: u64,
    reserved: bool,
    /// Set when there was no room for a segment or the reserve; until there is.
    full: bool,
}

impl Spares {
    pub(crate) fn new(home: Arc<Home>, table: Shared, options: Options, spare: Option<Segment>) -> Self {
        let size = options.segment_bytes_first;
        let state = State { spare: spare.map(Arc::new), size, reserved: false, full: false };
        Self { home, table, state: Mutex::new(state), options }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what is missing: the reserve, then a spare. To be called from the background.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let mut state = self.state();
        self.fill(&mut state)
    }

    /// Whether the disk is too full for more than the current segment. Tries to make what is missing first.
    pub(crate) fn is_full(&self) -> Result<bool, Error> {
        let mut state = self.state();
        if state.spare.is_none() || state.full {
            self.fill(&mut state)?;
        }
        Ok(state.full)
    }

    /// A segment of at least this many bytes.
    pub(crate) fn take(&self, bytes: u64) -> Result<Arc<Segment>, Error> {
        let mut state = self.state();
        if let Some(spare) = state.spare.take() {
            if spare.size >= bytes {
                return Ok(spare);
            }
            self.home.discard(&spare.name);
        }
        let made = match self.make(&mut state, bytes) {
            Err(Error::Full { .. }) => {
                self.give_up_reserve(&mut state);
                self.make(&mut state, bytes)
            }
            made => made,
        };
        made.map(Arc::new)
    }

    /// Gives up the reserve; says whether there was one.
    pub(crate) fn release_reserve(&self) -> bool {
        let mut state = self.state();
        self.give_up_reserve(&mut state)
    }

    fn give_up_reserve(&self, state: &mut State) -> bool {
        state.full = true;
        state.reserved = false;
        // It may be that of an earlier process.
        self.home.files.remove(RESERVE).is_ok()
    }

    fn fill(&self, state: &mut State) -> Result<(), Error> {
        let filled = self.fill_reserve(state).and_then(|()| {
            if state.spare.is_none() {
                state.spare = Some(Arc::new(self.make(state, 0)?));
            }
            Ok(())
        });
        state.full = matches!(filled, Err(Error::Full { .. }));
        if state.full { Ok(()) } else { filled }
    }

    fn fill_reserve(&self, state: &mut State) -> Result<(), Error> {
        if state.reserved || self.options.reserve_bytes == 0 {
            return Ok(());
        }
        let file = self.home.open(RESERVE, Mode::Create)?;
        // Not synced: after a power cut it is made again.
        file.allocate(self.options.reserve_bytes).map_err(|e| {
            self.home.discard(RESERVE);
            self.home.error(RESERVE, e)
        })?;
        state.reserved = true;
        Ok(())
    }

    fn make(&self, state: &mut State, bytes: u64) -> Result<Segment, Error> {
        let (number, link) = {
            let mut table = self.table.lock();
            let number = table.next_segment;
            table.next_segment += 1;
            (number, table.link)
        };
        let size = state.size.max(bytes.next_multiple_of(4096));
        let segment = Segment::create(&self.home, number, size, link)?;
        state.size = state.size.saturating_mul(4).min(self.options.segment_bytes_max);
        Ok(segment)
    }
}
