//! One agent's life: trigger, run, commit, release; recovery, checkpoint, replay.
//!
//! Invariants kept here:
//! - Nothing that a run asked for leaves before the run is committed: only the journal makes a `Committed`, and the
//!   outbox takes nothing else.
//! - This crate knows neither wasmtime nor libp2p, and reads time and randomness only through its seams.

pub mod guest;
