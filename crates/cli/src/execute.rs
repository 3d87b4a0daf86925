//! Re-execution of a journal for `verify --execute` and `replay`.

use crate::{
    Context,
    failure::{Code, Failure},
    source::Source,
};
use igor_protocol::{Seq, Tick, limits::PROGRAM_BYTES_MAX, verify::Blobs};
use igor_sandbox::{Sandbox, Stack, WasmProgram};
use igor_spine::replay::{self, Execution};
use std::sync::Arc;

/// Why a journal does not stand, and where.
#[derive(Debug)]
pub(crate) struct Fallen {
    /// The first entry that is wrong, where it is an entry that is wrong.
    pub(crate) seq: Option<Seq>,
    /// What is wrong.
    pub(crate) why: Failure,
}

/// Verifies and re-executes a journal, up to a tick or all of it. `progress` is told how many entries are done.
pub(crate) fn execute(
    context: &Context,
    source: &Source,
    until: Option<Tick>,
    progress: impl FnMut(u64),
) -> Result<Execution, Fallen> {
    let unplaced = |why| Fallen { seq: None, why };
    let commits = source.commits(Seq(0)).map_err(unplaced)?;
    let load = |book: &igor_protocol::ledger::Book| {
        let hash = book.genesis().program;
        let program = source.blob(hash, PROGRAM_BYTES_MAX as u64);
        let program = program.ok_or_else(|| format!("its program {hash} is missing or damaged"))?;
        load(context, &program, book.manifest()).map_err(|e| e.to_string())
    };
    let executed = replay::execute(commits, source, load, until, progress);
    let executed = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(executed));
    executed.map_err(|error| match error {
        replay::Error::Source(why) => Fallen { seq: None, why },
        replay::Error::Bad(bad) => Fallen { seq: Some(bad.seq), why: Failure::integrity(bad.fault) },
        replay::Error::Diverged { seq, what, .. } => {
            let why = format!("re-execution gave something else than the journal has: {what}");
            Fallen { seq: Some(seq), why: Failure::integrity(why) }
        }
        replay::Error::Empty => unplaced(Failure::integrity(error)),
        replay::Error::Program(_) | replay::Error::NoSuchTick(_) => unplaced(Failure::new(Code::Failed, error)),
    })
}

/// The program, compiled; from the home's cache where there is a home, else from nothing.
fn load(context: &Context, program: &[u8], manifest: &igor_protocol::Manifest) -> Result<Arc<WasmProgram>, Failure> {
    let in_home =
        context.home().ok().and_then(|home| Sandbox::open(&home.cache(), context.compiler(), Stack::Replay).ok());
    let scratch = tempfile::tempdir().map_err(Failure::failed)?;
    let sandbox = match in_home {
        Some(sandbox) => sandbox,
        None => Sandbox::open(scratch.path(), context.compiler(), Stack::Replay)?,
    };
    Ok(Arc::new(sandbox.load(program, manifest).map_err(Failure::from)?))
}
