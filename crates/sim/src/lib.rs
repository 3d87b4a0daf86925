//! The seeded world: simulated guest, files, clock and entropy around the real spine and store.
//!
//! Invariants kept here:
//! - One thread, virtual time, no ambient clock or randomness: the same seed gives the same run, step by step.
//! - What is simulated is the world; protocol, store and spine are the real ones.

pub mod bucket;
pub mod cluster;
pub mod disk;
pub mod executor;
pub mod files;
pub mod guest;
pub mod memory;
pub mod model;
pub mod random;
pub mod world;
