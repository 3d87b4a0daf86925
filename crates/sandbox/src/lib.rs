//! All of wasmtime: engine, hostcalls, meter, compile child and cache.
//!
//! A [`Sandbox`] turns the bytes of a program and its manifest into a [`WasmProgram`], which the spine runs through
//! its seam ([`igor_spine::guest`]). The way in is one procedure: check, look in the cache, else compile in a child
//! process, link.
//!
//! Invariants kept here:
//! - No code of a program is compiled in this process, and none runs outside a metered run.
//! - Compiled code is loaded only if this home's key vouches for its bytes.
//! - A program that is refused is refused before it runs, with the name of what is wrong and what to do ([`error`]).
//! - All configuration that can change a result is in one function, [`engine()`], and named by [`RUNTIME_ID`].

mod abi;
mod cache;
mod check;
pub mod compile;
mod engine;
pub mod error;
mod failure;
pub mod fuzz;
mod guest;
pub mod heap;
mod host;
pub mod manifest;
mod rewrite;
mod sandbox;

pub use engine::{RUNTIME_ID, Stack, engine};
pub use error::{Error, Refusal};
pub use guest::{WasmGuest, WasmProgram};
pub use sandbox::Sandbox;
