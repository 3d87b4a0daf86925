//! The child's side: limits first, then the module.

use crate::engine::{self, Stack};
use igor_protocol::limits::PROGRAM_BYTES_MAX;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, nice, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use std::{
    env,
    io::{self, Read, Write},
    process::ExitCode,
};

/// The first argument by which the binary knows that it is a compile child.
pub const CHILD_ARG: &str = "--igor-compile";

/// Longest text that says why a module is refused, in bytes.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// How much less of a processor a compile child gets than what lives: under load about a tenth.
const NICENESS: i32 = 10;

/// The whole life of a compile child. Call it first thing in `main` when the first argument is [`CHILD_ARG`].
///
/// It never returns to a shell with anything useful: it is spoken to by [`super::Compiler`] only.
pub fn child_main() -> ExitCode {
    let numbers: Vec<u64> = env::args().skip(2).filter_map(|number| number.parse().ok()).collect();
    let &[memory_bytes, cpu_seconds] = numbers.as_slice() else {
        return ExitCode::from(2);
    };
    if confine(memory_bytes, cpu_seconds).is_err() {
        return ExitCode::FAILURE;
    }
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives up everything that compiling does not need.
fn confine(memory_bytes: u64, cpu_seconds: u64) -> io::Result<()> {
    let limit = |resource, soft: u64, hard: u64| {
        // Never above what this process was given, which would be refused.
        let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        setrlimit(resource, Rlimit { current: Some(soft.min(given)), maximum: Some(hard.min(given)) })
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    nice(NICENESS)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    // The three standard streams and no more. Whatever else was open was opened close-on-exec, as Rust does.
    limit(Resource::Nofile, 3, 3)?;
    limit(Resource::As, memory_bytes, memory_bytes)?;
    // The soft limit ends it with a signal that tells why, the hard one for certain.
    limit(Resource::Cpu, cpu_seconds, cpu_seconds.saturating_add(1))?;
    Ok(())
}

fn compile() -> io::Result<()> {
    // The start function's export makes a module a little longer than it came.
    let bytes_max = PROGRAM_BYTES_MAX as u64 + 1024;
    let mut module = Vec::new();
    io::stdin().lock().take(bytes_max).read_to_end(&mut module)?;
    let engine = engine::engine(Stack::Live).map_err(io::Error::other)?;
    let mut output = io::stdout().lock();
    match engine.precompile_module(&module) {
        Ok(artifact) => {
            output.write_all(b"+")?;
            output.write_all(&artifact)?;
        }
        Err(error) => {
            let mut why = error.root_cause().to_string();
            why.truncate(why.floor_char_boundary(REFUSAL_BYTES_MAX));
            output.write_all(b"-")?;
            output.write_all(why.as_bytes())?;
        }
    }
    output.flush()
}
