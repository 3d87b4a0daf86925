//! The one configuration of the engine.
//!
//! Invariants kept here:
//! - Every engine is made by [`engine`]; live, replay and the compiling child differ in the size of the stack only,
//!   which compiled code does not know.
//! - Whatever can change what a guest computes, or the fuel that it takes, is set here by name and is part of
//!   [`RUNTIME_ID`]: change one, change the other.
//! - What differs between machines (CPU features, memory, threads) changes speed, never results.

use crate::error::{Error, Host};
use std::num::NonZeroUsize;
use wasmparser::WasmFeatures;
use wasmtime::{Config, Engine, OptLevel, Strategy};

/// Names what gives the same results: the engine's version, the configuration below, the ABI.
pub const RUNTIME_ID: &str = "wasmtime-48.0.8/igor-cfg-1/abi-1";

/// Fuel between two yields. Long ticks can be stopped at each; less would make the switching felt (at this interval
/// it is about 1% of the time), more would make stopping slow.
pub(crate) const YIELD_INTERVAL: u64 = 1_000_000;

/// The proposals that guests may use: what compilers emit for core WebAssembly by default, all of it deterministic
/// in this configuration. No threads, memory64, several memories, exceptions, GC, references to host objects.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST);

/// How deep guests may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// A guest that lives.
    Live,
    /// A replay, on a stack four times as large: what ran on one machine must not overflow on another whose frames
    /// are larger.
    Replay,
}

/// The stack of a living guest, in bytes.
const STACK_BYTES: usize = 1 << 20;
/// What hostcalls have beyond the guest's stack, in bytes.
const HOST_STACK_BYTES: usize = 1 << 20;

/// An engine with the one configuration. Benchmarks use it to call wasmtime without igor around it.
pub fn engine(stack: Stack) -> Result<Engine, Error> {
    let stack_bytes = match stack {
        Stack::Live => STACK_BYTES,
        Stack::Replay => 4 * STACK_BYTES,
    };
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .consume_fuel(true)
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        .max_wasm_stack(stack_bytes)
        .async_stack_size(stack_bytes + HOST_STACK_BYTES)
        // All that a 32-bit memory can address is reserved, so that it never moves and no access needs a bounds
        // check. It costs address space only: some 30,000 instances fit in a process.
        .memory_reservation(4 << 30)
        .memory_may_move(false)
        // Enough for the cause of a trap; deep recursion must not make a failure slow.
        .wasm_backtrace_max_frames(NonZeroUsize::new(4));
    Engine::new(&config).map_err(|e| Error::Host(Host::Engine(e.to_string())))
}

#[cfg(test)]
mod tests;
