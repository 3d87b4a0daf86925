//! `verify --execute` and time travel: a whole journal is verified and executed again.

use super::{Depth, Replayer};
use crate::guest::Program;
use igor_protocol::{
    Commit, Credits, Fuel, Hash, Nanos, Seq, Tick,
    entry::{Body, Call, Content, Outcome, Run},
    ledger::Book,
    limits::BLOB_BYTES_MAX,
    verify::{self, Bad, Blobs, Report, Verifier},
};
use std::sync::Arc;

/// Why a journal does not stand.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// It could not be read.
    #[error("{0}")]
    Source(E),
    /// An entry is bad by itself.
    #[error(transparent)]
    Bad(#[from] Bad),
    /// A run gives something else when it is executed again.
    #[error("re-executing seq=`{seq}` (tick `{tick}`) gave something else than the journal has: {what}")]
    Diverged {
        /// The run.
        seq: Seq,
        /// Its tick.
        tick: Tick,
        /// What differs.
        what: String,
    },
    /// The program could not be loaded.
    #[error("the program cannot be executed here: {0}")]
    Program(String),
    /// There is no entry at all.
    #[error("the journal is empty")]
    Empty,
    /// The tick that was asked for is not there, or did not count.
    #[error("{0}")]
    NoSuchTick(String),
}

/// What a re-execution came to.
#[derive(Debug)]
pub struct Execution {
    /// What verification says.
    pub report: Report,
    /// Runs that were executed again and agreed.
    pub executed: u64,
    /// Runs that were not: another runtime made them, or they failed and too many runs stand before them.
    pub skipped: u64,
    /// The other runtime, where there is one.
    pub other_runtime: Option<String>,
    /// The place that was asked for.
    pub moment: Option<Moment>,
}

/// The agent after some tick.
#[derive(Debug)]
pub struct Moment {
    /// The position of the tick's entry.
    pub seq: Seq,
    /// The tick.
    pub run: Run,
    /// The balance after it.
    pub balance: Credits,
    /// The state that a checkpoint would hold.
    pub state: Vec<u8>,
    /// The hash of the state.
    pub state_root: Hash,
}

/// Verifies and executes a journal from its Genesis on, or up to a tick that counts.
///
/// `load` makes the program that the journal's Genesis names. `progress` is told the number of entries, now and then.
pub async fn execute<P: Program, E>(
    commits: impl Iterator<Item = Result<Commit, E>>,
    blobs: &dyn Blobs,
    load: impl FnOnce(&Book) -> Result<Arc<P>, String>,
    until: Option<Tick>,
    mut progress: impl FnMut(u64),
) -> Result<Execution, Error<E>> {
    let mut verifier = Verifier::new();
    let mut load = Some(load);
    let mut follower: Option<Follower<P>> = None;
    for commit in commits {
        let commit = commit.map_err(Error::Source)?;
        if let Some(load) = load.take() {
            let book = verify::begin(&commit, blobs).map_err(|fault| Bad { seq: commit.first(), fault })?;
            follower = Some(Follower::new(load(&book).map_err(Error::Program)?, &book));
        }
        let entries = verifier.push(&commit, blobs)?;
        let Some(book) = verifier.book() else { return Err(Error::Empty) };
        for (i, (seq, _, entry)) in entries.iter().enumerate() {
            let tick = match &entry.body {
                Body::Run(run) => run.tick,
                _ => book.ledger().tick,
            };
            let next = entries.get(i + 1).map(|(_, _, entry)| &entry.body);
            let Some(follow) = follower.as_mut() else { return Err(Error::Empty) };
            let stepped = follow.step(*seq, &entry.body, next, book, blobs).await;
            stepped.map_err(|what| Error::Diverged { seq: *seq, tick, what })?;
            if let Body::Run(run) = &entry.body
                && run.call.is_tick()
                && until == Some(run.tick)
                && let Some(follower) = follower.take()
            {
                let moment = follower.moment(*seq, run, book.ledger().balance).await?;
                return follower_done(&verifier, moment.0, Some(moment.1));
            }
        }
        progress(commit.next().0);
    }
    if let Some(until) = until {
        return Err(Error::NoSuchTick(format!("the journal has no tick {until}")));
    }
    let follower = follower.ok_or(Error::Empty)?;
    follower_done(&verifier, follower.counts(), None)
}

/// Runs executed, runs skipped, and the other runtime.
type Counts = (u64, u64, Option<String>);

fn follower_done<E>(verifier: &Verifier, counts: Counts, moment: Option<Moment>) -> Result<Execution, Error<E>> {
    let report = verifier.report().ok_or(Error::Empty)?;
    let (executed, skipped, other_runtime) = counts;
    Ok(Execution { report, executed, skipped, other_runtime, moment })
}

/// A replayer, as long as the runs are those of this runtime.
struct Follower<P: Program> {
    replayer: Replayer<P>,
    runtime: String,
    follows: bool,
    skipped: u64,
    other_runtime: Option<String>,
    last_checkpoint: Option<(Hash, u64)>,
}

impl<P: Program> Follower<P> {
    fn new(program: Arc<P>, book: &Book) -> Self {
        let runtime = program.runtime().to_owned();
        let replayer = Replayer::new(program, book.manifest().clone(), Depth::Failed);
        Self { replayer, runtime, follows: false, skipped: 0, other_runtime: None, last_checkpoint: None }
    }

    async fn step(
        &mut self,
        seq: Seq,
        body: &Body,
        next: Option<&Body>,
        book: &Book,
        blobs: &dyn Blobs,
    ) -> Result<(), String> {
        match body {
            Body::Message(message) => {
                let bytes = match &message.body {
                    Content::Inline(bytes) => bytes.clone(),
                    Content::Blob { hash, bytes } => blobs.blob(*hash, *bytes).ok_or("a message body is missing")?,
                };
                self.replayer.message(seq, bytes);
            }
            Body::Run(run) => {
                if let Some(Body::Checkpoint(checkpoint)) = next {
                    self.last_checkpoint = Some((checkpoint.root, checkpoint.bytes));
                }
                if let Some(runtime) = &run.runtime {
                    self.enter(runtime, run.call, blobs);
                }
                if !self.follows {
                    self.skipped += 1;
                    self.replayer.skip(run, book.ledger());
                    return Ok(());
                }
            }
            _ => {}
        }
        if self.follows { self.replayer.entry(body, book.ledger()).await } else { Ok(()) }
    }

    /// Init and resume say which runtime the runs after them are made by.
    fn enter(&mut self, runtime: &str, call: Call, blobs: &dyn Blobs) {
        if runtime != self.runtime {
            self.follows = false;
            self.other_runtime = Some(runtime.to_owned());
            return;
        }
        if self.follows || call == Call::Init {
            self.follows = true;
            return;
        }
        let state = self.last_checkpoint.and_then(|(root, bytes)| {
            blobs.blob(root, bytes.min(BLOB_BYTES_MAX)).filter(|state| Hash::of_blob(state) == root)
        });
        if let Some(state) = state {
            self.replayer.set_state(state);
            self.follows = true;
        }
    }

    fn counts(&self) -> Counts {
        (self.replayer.executed, self.skipped + self.replayer.not_executed, self.other_runtime.clone())
    }

    async fn moment<E>(self, seq: Seq, run: &Run, balance: Credits) -> Result<(Counts, Moment), Error<E>> {
        let counts = self.counts();
        if !run.outcome.is_ok() {
            let why = run.outcome.name();
            return Err(Error::NoSuchTick(format!("tick {} was undone ({why}); ask for one that counted", run.tick)));
        }
        if !self.follows {
            let runtime = self.other_runtime.unwrap_or_default();
            return Err(Error::Program(format!("tick {} was made by runtime {runtime}", run.tick)));
        }
        let probe = Run {
            call: Call::Checkpoint,
            tick: run.tick,
            started_seq: seq.next(),
            observations: Vec::new(),
            requests: Vec::new(),
            logs: Vec::new(),
            outcome: Outcome::Ok { more_work: false },
            fuel: Fuel::ZERO,
            duration: Nanos::ZERO,
            waited: Nanos::ZERO,
            cost: Credits::ZERO,
            runtime: None,
        };
        let state = self.replayer.into_state(&probe).await.map_err(Error::Program)?;
        let state_root = Hash::of_blob(&state);
        Ok((counts, Moment { seq, run: run.clone(), balance, state, state_root }))
    }
}
