//! One agent's life: trigger, run, commit, release; recovery, checkpoint, replay.
//!
//! Invariants kept here:
//! - Nothing that a run asked for leaves before the run is committed: only the journal makes a [`Committed`], and the
//!   outbox takes nothing else.
//! - What runs is always what recovery would make: a checkpoint is a barrier, and the agent goes on in the instance
//!   that was restored from it.
//! - After an append fails or its fate is unknown, memory is dropped; the journal is read again.
//! - This crate knows neither wasmtime nor libp2p, and reads time and randomness only through [`World`].

mod aside;
pub mod command;
pub mod custody;
mod error;
pub mod event;
pub mod guest;
pub mod inspect;
mod journal;
mod life;
mod membrane;
mod meter;
pub mod moving;
pub mod replay;
pub mod standby;
mod world;

use aside::aside;
pub use error::Error;
pub use journal::Committed;
pub use life::{Ending, Life, Parts, Recovery, Restored, Settings};
pub use world::{Around, World};
