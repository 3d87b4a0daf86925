//! Compiling in a child process of the same binary.
//!
//! A compiler that works on a stranger's module can be made to take very long, to eat memory, or to fail in ways that
//! nobody foresaw. So it works where that costs a refusal and nothing else: in a process with limits on memory, CPU
//! time and files, without environment, which is ended after a time limit.
//!
//! ```text
//! parent                                   child: `PROGRAM --igor-compile MEMORY CPU`
//!   module on standard input       ->        limits itself, then reads, validates, compiles
//!   reads at most ARTIFACT_BYTES_MAX  <-      `+` and the artifact, or `-` and why not
//! ```
//!
//! Invariants kept here:
//! - The child sets its limits before it reads a byte of the module.
//! - The parent reads a bounded number of bytes and waits a bounded time, whatever the child does.
//! - No more children at once than there are slots, so that their memory limits are those of all compiling.
//! - A child works at a lower priority than whoever started it: what lives goes first.

mod child;

pub use child::{CHILD_ARG, child_main};

use crate::error::{Error, Host, Refusal, Text};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::{self, Read, Write},
    num::NonZeroU32,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// Longest artifact that is accepted, in bytes.
pub(crate) const ARTIFACT_BYTES_MAX: usize = 512 << 20;

/// The environment variable that gives modules more time to compile than the default; see [`Limits::of_seconds`].
pub const SECONDS_VARIABLE: &str = "IGOR_COMPILE_SECONDS";

/// Most seconds that can be given.
const SECONDS_MAX: u64 = 3600;

/// Most threads that compile.
const THREADS_MAX: usize = 4;

/// What compiling one module may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time on the clock.
    pub time: Duration,
    /// CPU time, in seconds, over all threads.
    pub cpu_seconds: u64,
    /// Address space, in bytes.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(12), cpu_seconds: 30, memory_bytes: 1 << 30 }
    }
}

impl Limits {
    /// The default limits with another time on the clock: whole seconds, as text, from 1 to 3600. CPU time is then
    /// limited by the clock alone, over as many threads as there can be.
    pub fn of_seconds(text: &str) -> Result<Self, BadSeconds> {
        let seconds = text.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        let seconds = seconds.ok_or_else(|| BadSeconds(Text::new(text)))?;
        let cpu_seconds = seconds * THREADS_MAX as u64;
        Ok(Self { time: Duration::from_secs(seconds), cpu_seconds, ..Self::default() })
    }
}

/// A text that is no time to compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SECONDS_VARIABLE} is a whole number of seconds from 1 to {SECONDS_MAX}, not `{0}`")]
pub struct BadSeconds(Text);

/// Compiles modules in a child process.
#[derive(Debug)]
pub struct Compiler {
    program: PathBuf,
    limits: Limits,
    /// Children that may still be started.
    free: Mutex<u32>,
    freed: Condvar,
}

/// The right to have one child.
pub(crate) struct Turn<'a> {
    compiler: &'a Compiler,
}

impl Compiler {
    /// A compiler that starts `program`, which must call [`child_main`] when its first argument is [`CHILD_ARG`].
    /// It compiles one module at a time.
    pub const fn new(program: PathBuf, limits: Limits) -> Self {
        Self { program, limits, free: Mutex::new(1), freed: Condvar::new() }
    }

    /// The same, compiling so many modules at once.
    #[must_use]
    pub fn with_slots(self, slots: NonZeroU32) -> Self {
        Self { free: Mutex::new(slots.get()), ..self }
    }

    /// Waits for the turn.
    pub(crate) fn turn(&self) -> Turn<'_> {
        // A panic while compiling leaves nothing behind that could be wrong.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn { compiler: self }
    }

    fn spawn(&self) -> io::Result<Child> {
        // Few threads and few arenas: each reserves address space, which is limited.
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        Command::new(&self.program)
            .arg(CHILD_ARG)
            .arg(self.limits.memory_bytes.to_string())
            .arg(self.limits.cpu_seconds.to_string())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            // A group of its own, to be ended whole.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.compiler.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.compiler.freed.notify_one();
    }
}

impl Turn<'_> {
    /// Compiles a module: the artifact that the engine loads.
    pub(crate) fn compile(&self, module: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |why| Error::Host(Host::Compiler { program: self.compiler.program.clone(), why });
        let mut child = self.compiler.spawn().map_err(failed)?;
        let said = talk(&mut child, module, self.compiler.limits.time);
        // It has said all, or takes too long, or says too much: in each case it is not needed any more.
        end(&child);
        let status = child.wait().map_err(failed)?;
        self.judge(said.map_err(failed)?, status)
    }

    fn judge(&self, said: Said, status: ExitStatus) -> Result<Vec<u8>, Error> {
        const SIGXCPU: i32 = 24;
        let limits = &self.compiler.limits;
        let failed = |why: String| Refusal::Compile { memory_bytes: limits.memory_bytes, why: Text::new(&why) };
        let refusal = match said {
            Said::NothingInTime => Refusal::CompileTime(limits.time),
            Said::TooMuch => Refusal::ArtifactTooLarge(ARTIFACT_BYTES_MAX),
            Said::All(mut bytes) => match (bytes.first(), status.success()) {
                (Some(b'+'), true) => {
                    bytes.remove(0);
                    return Ok(bytes);
                }
                (Some(b'-'), true) => Refusal::Invalid(Text::new(&String::from_utf8_lossy(&bytes[1..]))),
                _ if status.signal() == Some(SIGXCPU) => Refusal::CompileTime(Duration::from_secs(limits.cpu_seconds)),
                _ => failed(format!("the compiler ended with {status}, most likely for want of memory")),
            },
        };
        Err(refusal.into())
    }
}

/// Ends the child, which was not waited for yet, and whatever it started.
fn end(child: &Child) {
    // It may have ended by itself.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// What a child said on standard output.
enum Said {
    All(Vec<u8>),
    TooMuch,
    NothingInTime,
}

/// Gives the module to the child and takes what it says.
fn talk(child: &mut Child, module: &[u8], time: Duration) -> io::Result<Said> {
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (mut input, output) = pipes.ok_or_else(|| io::Error::other("the compiler has no pipes"))?;
    thread::scope(|scope| {
        // A child that dies does not read: that shows in its status, not here.
        scope.spawn(move || {
            let _ = input.write_all(module);
        });
        let (said, hears) = mpsc::channel();
        scope.spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(ARTIFACT_BYTES_MAX as u64 + 2).read_to_end(&mut bytes);
            let _ = said.send(read.map(|_| bytes));
        });
        let heard = hears.recv_timeout(time);
        // Both threads end when the child does, and they are waited for.
        end(child);
        match heard {
            Ok(Ok(bytes)) if bytes.len() > ARTIFACT_BYTES_MAX + 1 => Ok(Said::TooMuch),
            Ok(Ok(bytes)) => Ok(Said::All(bytes)),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Said::NothingInTime),
        }
    })
}
