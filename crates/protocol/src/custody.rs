//! Custody: the exclusive right to append to a journal, and how it moves.

mod compose;
mod standing;

pub use standing::{Held, Standing};
