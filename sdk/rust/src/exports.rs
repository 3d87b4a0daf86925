//! Behind the exports that [`agent!`](crate::agent!) makes: the one instance of the agent, and the buffers that the
//! host reads and writes.
//!
//! There is no unsafe here: the host writes a checkpoint into a buffer that this module owns and keeps, so resuming
//! needs the pointer only to check that it is this buffer's.

use std::cell::{Cell, RefCell};

use crate::{
    agent::{Agent, Next},
    context::Context,
    state::{decode_state, encode_state},
};

/// Where a module keeps its agent.
pub struct Slot<A> {
    agent: RefCell<Option<A>>,
    /// The last checkpoint; the host reads it between `agent_checkpoint` and the next call.
    checkpoint: RefCell<Vec<u8>>,
    /// What `agent_alloc` gave to the host and `agent_resume` has not yet taken.
    incoming: Cell<Vec<u8>>,
}

impl<A> Default for Slot<A> {
    fn default() -> Self {
        Slot { agent: RefCell::new(None), checkpoint: RefCell::default(), incoming: Cell::default() }
    }
}

impl<A: Agent> Slot<A> {
    /// `agent_init`
    pub fn init(&self, context: &mut impl Context) {
        let agent = A::init(context);
        *self.agent.borrow_mut() = Some(agent);
    }

    /// `agent_tick`
    ///
    /// # Panics
    /// Before [`Slot::init`], and where the agent does.
    pub fn tick(&self, context: &mut impl Context) -> i32 {
        match self.agent.borrow_mut().as_mut() {
            Some(agent) => i32::from(agent.tick(context) == Next::MoreWork),
            None => panic!("agent_tick was called before agent_init"),
        }
    }

    /// `agent_checkpoint`: the length of the state.
    ///
    /// # Panics
    /// Before [`Slot::init`], and where the state cannot be written.
    pub fn checkpoint(&self) -> i32 {
        let bytes = match self.agent.borrow().as_ref() {
            Some(agent) => encode_state(agent),
            None => panic!("agent_checkpoint was called before agent_init"),
        };
        let Ok(len) = i32::try_from(bytes.len()) else {
            panic!("the agent's state has 2 GiB or more");
        };
        *self.checkpoint.borrow_mut() = bytes;
        len
    }

    /// `agent_checkpoint_ptr`
    pub fn checkpoint_ptr(&self) -> *const u8 {
        self.checkpoint.borrow().as_ptr()
    }

    /// `agent_alloc`: a buffer for the host to write a checkpoint into.
    pub fn alloc(&self, len: usize) -> *mut u8 {
        let mut buffer = vec![0; len];
        let ptr = buffer.as_mut_ptr();
        self.incoming.set(buffer);
        ptr
    }

    /// `agent_resume`: goes on with the state in the buffer.
    ///
    /// # Panics
    /// Where the state cannot be read. To go on with a fresh one instead would be to forget a life without a word.
    pub fn resume(&self, ptr: *const u8, len: usize) {
        let buffer = self.incoming.take();
        assert!(
            ptr == buffer.as_ptr() && len <= buffer.len(),
            "agent_resume was called with a buffer that agent_alloc did not give"
        );
        match decode_state(&buffer[..len]) {
            Ok(agent) => *self.agent.borrow_mut() = Some(agent),
            Err(error) => panic!("the agent cannot resume: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::mock;

    #[derive(Serialize, Deserialize)]
    struct Ticks(u32);

    impl Agent for Ticks {
        fn init(_: &mut impl Context) -> Self {
            Ticks(0)
        }

        fn tick(&mut self, _: &mut impl Context) -> Next {
            self.0 += 1;
            if self.0 == 2 { Next::MoreWork } else { Next::Wait }
        }
    }

    fn started() -> Slot<Ticks> {
        let slot = Slot::default();
        slot.init(&mut mock::Host::default());
        slot
    }

    /// What a host does: allocate, write, resume.
    fn resume(slot: &Slot<Ticks>, state: &[u8]) {
        slot.alloc(state.len());
        let mut buffer = slot.incoming.take();
        buffer.copy_from_slice(state);
        let ptr = buffer.as_ptr();
        slot.incoming.set(buffer);
        slot.resume(ptr, state.len());
    }

    #[test]
    fn ticks_report_more_work() {
        let slot = started();
        let results: Vec<i32> = (0..3).map(|_| slot.tick(&mut mock::Host::default())).collect();
        assert_eq!(results, [0, 1, 0]);
    }

    #[test]
    fn a_checkpoint_resumes_in_a_second_instance() {
        let first = started();
        first.tick(&mut mock::Host::default());
        assert_eq!(first.checkpoint(), 2);
        assert_eq!(first.checkpoint_ptr(), first.checkpoint.borrow().as_ptr());
        let state = first.checkpoint.borrow().clone();

        let second = started();
        resume(&second, &state);
        assert_eq!(second.checkpoint(), 2);
        assert_eq!(*second.checkpoint.borrow(), state);
    }

    #[test]
    #[should_panic(expected = "the agent cannot resume: the state has a version")]
    fn an_unreadable_checkpoint_is_no_fresh_start() {
        resume(&started(), &[9, 9]);
    }

    #[test]
    #[should_panic(expected = "agent_alloc did not give")]
    fn a_foreign_buffer_is_refused() {
        started().resume([1, 0].as_ptr(), 2);
    }

    #[test]
    #[should_panic(expected = "agent_alloc did not give")]
    fn a_longer_length_than_was_allocated_is_refused() {
        let slot = started();
        let ptr = slot.alloc(2);
        slot.resume(ptr, 3);
    }

    #[test]
    #[should_panic(expected = "before agent_init")]
    fn a_tick_needs_an_init() {
        Slot::<Ticks>::default().tick(&mut mock::Host::default());
    }
}
