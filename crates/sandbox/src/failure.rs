//! What the engine's errors mean, in the words of the seam.

use crate::{error::Text, guest::Stopped, host::Halt};
use igor_protocol::entry::Failure;
use igor_spine::guest::Ended;
use wasmtime::{Error, Trap, WasmBacktrace};

/// How a run ended that gave no result. `refused`: the last growth that its limits did not allow.
pub(crate) fn ended(stopped: Stopped, refused: Option<String>) -> Ended {
    let error = match stopped {
        Stopped::Broken(failure, why) => return Ended::Failed(failure, why),
        Stopped::Call(error) => error,
    };
    let error = match error.downcast::<Halt>() {
        Ok(Halt::Stopped(stop)) => return Ended::Stopped(stop),
        Ok(halt @ Halt::HostMemory(_)) => return Ended::HostFailed(halt.to_string()),
        Ok(halt) => return Ended::Failed(Failure::Trap, halt.to_string()),
        Err(error) => error,
    };
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return Ended::HostFailed(format!("the runtime failed: {}", Text::new(&error.to_string())));
    };
    let (failure, what) = match trap {
        Trap::OutOfFuel => (Failure::OutOfFuel, "all fuel used".to_owned()),
        Trap::StackOverflow => (Failure::StackOverflow, "the stack overflowed".to_owned()),
        other => (Failure::Trap, other.to_string().trim_start_matches("wasm trap: ").to_owned()),
    };
    let cause = format!("{what}{}", place(&error));
    match (failure, refused) {
        // What allocators do when they get no memory is to trap.
        (Failure::Trap, Some(refused)) => Ended::Failed(Failure::OutOfMemory, format!("{refused}; then: {cause}")),
        (failure, _) => Ended::Failed(failure, cause),
    }
}

/// Why there is no instance: it has run nothing, but a segment that does not fit traps.
pub(crate) fn instantiating(error: &Error) -> Ended {
    match (error.downcast_ref::<Halt>(), error.downcast_ref::<Trap>()) {
        (Some(halt), _) => Ended::HostFailed(halt.to_string()),
        (None, Some(trap)) => Ended::Failed(Failure::Trap, format!("the module could not be instantiated: {trap}")),
        (None, None) => Ended::HostFailed(format!("no instance: {}", Text::new(&format!("{error:#}")))),
    }
}

/// Where a trap was: the innermost function and the offset in it.
fn place(error: &Error) -> String {
    let Some(frame) = error.downcast_ref::<WasmBacktrace>().and_then(|trace| trace.frames().first()) else {
        return String::new();
    };
    let function = frame
        .func_name()
        .map_or_else(|| format!("function {}", frame.func_index()), |name| format!("`{}`", Text::new(name)));
    frame.func_offset().map_or_else(|| format!(" in {function}"), |offset| format!(" in {function} at +{offset:#x}"))
}
