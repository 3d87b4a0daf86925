//! The host's side of a running guest: what its hostcalls work on.
//!
//! Invariants kept here:
//! - A pointer and a length are checked against memory before anything is asked of the world, so a hostcall that
//!   traps has changed nothing.
//! - What a hostcall copies or scans is bounded by a constant or by the manifest, whatever length the guest gives.
//! - Nothing of the world is reachable from here but the membrane.

mod igor;
mod limiter;
mod lines;
mod wasi;

pub(crate) use limiter::Limiter;

use crate::error::{Error, Host};
use igor_protocol::manifest::Limits;
use igor_spine::guest::{Answer, Ask, Held, Hold, Membrane, Stop};
use lines::Lines;
use std::{ops::Range, sync::Arc};
use wasmtime::{Caller, Engine, Linker, Memory};

/// The state of the host beside one instance.
pub(crate) struct Ctx {
    /// The membrane of the run that is under way.
    pub(crate) membrane: Option<Arc<dyn Membrane>>,
    /// What `trigger()` says: 0 outside ticks.
    pub(crate) trigger: i32,
    /// The guest's exported memory, from instantiation on.
    pub(crate) memory: Option<Memory>,
    /// What the guest may grow to.
    pub(crate) limiter: Limiter,
    /// Longest reply, in bytes.
    message_bytes: u32,
    /// What was written to standard output and error and is not yet a whole line.
    lines: [Lines; 2],
}

/// Why a hostcall ends the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// The membrane says so.
    #[error("stopped by the membrane")]
    Stopped(Stop),
    /// A buffer that is not wholly inside memory.
    #[error("{call}: {len} bytes at {at:#x} are not inside the memory of {memory} bytes")]
    OutOfBounds { call: &'static str, at: u32, len: u64, memory: usize },
    /// A hostcall where it has no meaning.
    #[error("{0} outside a tick")]
    OutsideTick(&'static str),
    /// `proc_exit`.
    #[error("the module exited with code {0}")]
    Exit(i32),
    /// Memory that the limits allow, but the machine does not have.
    #[error("this machine could not give the guest memory that its limits allow: {0}")]
    HostMemory(String),
    /// Called without a run.
    #[error("a hostcall outside a run")]
    NoRun,
}

type Result<T> = wasmtime::Result<T>;

impl Ctx {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            membrane: None,
            trigger: 0,
            memory: None,
            limiter: Limiter::new(limits),
            message_bytes: limits.message_bytes,
            lines: Default::default(),
        }
    }

    fn membrane(&self) -> Result<&Arc<dyn Membrane>> {
        self.membrane.as_ref().ok_or_else(|| Halt::NoRun.into())
    }

    fn observe(&self, ask: Ask) -> Result<Answer> {
        Ok(self.membrane()?.observe(ask).map_err(Halt::Stopped)?)
    }

    /// A number, asked for by `ask`.
    fn number(&self, ask: &Ask) -> Result<i64> {
        match self.observe(ask.clone())? {
            Answer::Number(number) => Ok(number),
            other => Err(unfit(ask, &other)),
        }
    }

    fn hold(&self, held: Held) -> Result<Hold> {
        Ok(self.membrane()?.hold(held).map_err(Halt::Stopped)?)
    }

    fn log(&self, line: String) -> Result<()> {
        self.hold(Held::Log(line)).map(drop)
    }

    /// Ends the lines that have no newline: the run is over.
    pub(crate) fn finish_lines(&mut self) -> Result<()> {
        let [out, err] = &mut self.lines;
        let rest = [out.finish(), err.finish()];
        rest.into_iter().flatten().try_for_each(|line| self.log(line))
    }

    const fn in_tick(&self) -> bool {
        self.trigger != 0
    }
}

/// An answer of the wrong kind or length is what the journal has where the guest asked for something else.
fn unfit(ask: &Ask, answer: &Answer) -> wasmtime::Error {
    let journaled = match answer {
        Answer::Number(_) => "a number".into(),
        Answer::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Answer::None => "nothing".into(),
        Answer::TooLong(bytes) => format!("something of {bytes} bytes"),
    };
    Halt::Stopped(Stop::Diverged { journaled, replayed: format!("{ask:?}") }).into()
}

/// A range of guest memory that was checked. Memory never shrinks, so it stays valid.
#[derive(Clone, Debug)]
struct Buffer(Range<usize>);

impl Buffer {
    const fn len(&self) -> usize {
        self.0.end - self.0.start
    }

    /// The first `len` bytes of it, or all.
    fn first(&self, len: usize) -> Self {
        Self(self.0.start..self.0.start + len.min(self.len()))
    }
}

/// Guest memory and host state, for the length of one hostcall.
struct Call<'a> {
    name: &'static str,
    memory: &'a mut [u8],
    ctx: &'a mut Ctx,
}

impl<'a> Call<'a> {
    fn new(caller: &'a mut Caller<'_, Ctx>, name: &'static str) -> Result<Self> {
        let memory = caller.data().memory.ok_or(Halt::NoRun)?;
        let (memory, ctx) = memory.data_and_store_mut(caller);
        Ok(Self { name, memory, ctx })
    }

    /// Checks a range that the guest named. Pointers and lengths are read as unsigned.
    fn buffer(&self, ptr: i32, len: impl Into<u64>) -> Result<Buffer> {
        let (at, len) = (ptr.cast_unsigned(), len.into());
        let end = u64::from(at).checked_add(len).and_then(|end| usize::try_from(end).ok());
        match end {
            Some(end) if end <= self.memory.len() => Ok(Buffer(at as usize..end)),
            _ => Err(Halt::OutOfBounds { call: self.name, at, len, memory: self.memory.len() }.into()),
        }
    }

    fn read(&self, buffer: &Buffer) -> &[u8] {
        &self.memory[buffer.0.clone()]
    }

    /// Copies to the beginning of a buffer, which is at least as long.
    fn write(&mut self, buffer: &Buffer, bytes: &[u8]) {
        self.memory[buffer.0.start..buffer.0.start + bytes.len()].copy_from_slice(bytes);
    }
}

/// `len` as the guest means it.
const fn unsigned(len: i32) -> u32 {
    len.cast_unsigned()
}

/// All hostcalls, in one linker. What a module may not have is refused before it gets here.
pub(crate) fn linker(engine: &Engine) -> std::result::Result<Linker<Ctx>, Error> {
    let mut linker = Linker::new(engine);
    igor::define(&mut linker)
        .and_then(|()| wasi::define(&mut linker))
        .map_err(|e| Error::Host(Host::Engine(e.to_string())))?;
    Ok(linker)
}

#[cfg(test)]
mod tests;
