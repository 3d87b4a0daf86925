//! Re-execution: the same program, checkpoint and entries give the same state, outcome and fuel.
//!
//! One replayer serves recovery, undo, `verify --execute` and time travel. A mismatch is never repaired: it is an
//! error that names the run.

mod execute;
mod replayer;

pub use execute::{Error, Execution, Moment, execute};
pub(crate) use replayer::{Depth, Replayer};
