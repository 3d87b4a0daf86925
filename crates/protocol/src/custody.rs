//! Custody: the exclusive right to append to a journal, and how it moves from node to node.
//!
//! Invariants kept here:
//! - What a node signs is durable in its keystore before anything else knows it ([`Action::Keep`]), and it signs at
//!   most one record an epoch, of epochs that rise. So it answers a handoff once, whatever crashes.
//! - The journal follows the keystore: a record that was kept is the next entry, and nothing else is.
//! - A node runs an agent only while its journal says that it has custody, nothing that it knows is newer, and what it
//!   signed agrees with what it holds. Where these disagree it does not run: safety comes before liveness.
//! - Who gave an agent away does not run it until it has the signed decline. Silence means nothing.
//! - Records of others count only where they follow from what is known here: signed by the node that had custody, or
//!   ordered by the owner. A stranger's record stops nobody.
//! - There is no I/O, clock, randomness or signature check here. [`step`] is a function of what is durable, so a
//!   restart needs no memory of its own; node, model and simulator all call it.
//!
//! A handoff, happy path first. Actions are done in order, each durable before the next; a crash may come between any
//! two, and all that is told is read from what is durable:
//!
//! ```text
//!  from                                              to
//!   │ Give: Stop, Keep(handoff), Append, Transfer ──► │ Arrived: Adopt, Keep(accept), Append, Start, Tell
//!   │ Heard(accept): Bury  ◄───────────────────────── │
//!
//!   │                                                 │ Arrived, not admitted: Keep(decline), Tell
//!   │ Heard(decline): Keep(return), Append, Start ◄── │
//!
//!   │ Timer, no answer: Transfer, Ask ──────────────► │ Asked: Tell (what was kept)
//!   │ Restarted: Append what was kept, Ask            │ Restarted: the same
//! ```

mod compose;
mod evidence;
mod follow;
mod known;
mod machine;
mod note;
mod rule;
mod standing;
mod tidings;

pub use evidence::Evidence;
pub use known::{Doubt, Known, Memory, Status};
pub use machine::{Action, Event, Refusal, may_begin, step, step_by};
pub use note::Note;
pub use rule::{Rule, Rules};
pub use standing::{Held, Standing};
pub use tidings::{TIDINGS_BYTES_MAX, Tidings};
