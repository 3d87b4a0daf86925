//! An instance that follows a journal, run by run.

use crate::{
    guest::{Ended, Guest, Input, Program, Stop},
    membrane::{Inbox, ReplayMembrane},
};
use igor_protocol::{
    Hash, Ledger, Manifest, Seq,
    entry::{Body, Call, Checkpoint, Outcome, Run},
};
use std::sync::Arc;

/// How much is re-executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The runs that count: what recovery needs.
    Counted,
    /// Also failed runs whose failure is deterministic: what verification needs.
    Failed,
}

/// Runs that a verifier keeps to come back after it re-executed a failed one. Past this, failed runs are not
/// re-executed: a journal cannot make its reader hold more.
const TAIL_RUNS_MAX: usize = 1 << 17;

/// An instance at a known place in a journal.
pub(crate) struct Replayer<P: Program> {
    program: Arc<P>,
    manifest: Manifest,
    depth: Depth,
    guest: Option<P::Guest>,
    /// What the last Run(checkpoint) gave, until its Checkpoint entry.
    taken: Option<Vec<u8>>,
    /// The state of the last checkpoint.
    state: Option<Arc<Vec<u8>>>,
    inbox: Inbox,
    /// Runs that count since the instance was made, kept in [`Depth::Failed`] only.
    tail: Vec<(Run, Inbox)>,
    /// Fuel of the runs that were re-executed.
    pub(crate) fuel: u64,
    /// How many runs were re-executed.
    pub(crate) executed: u64,
    /// Failed runs that could be re-executed and were not.
    pub(crate) not_executed: u64,
}

impl<P: Program> Replayer<P> {
    pub(crate) fn new(program: Arc<P>, manifest: Manifest, depth: Depth) -> Self {
        Self {
            program,
            manifest,
            depth,
            guest: None,
            taken: None,
            state: None,
            inbox: Inbox::default(),
            tail: Vec::new(),
            fuel: 0,
            executed: 0,
            not_executed: 0,
        }
    }

    /// Begins with a state that is known; the Run(resume) that restores it comes next.
    pub(crate) fn begin_at(&mut self, state: Vec<u8>, inbox: Inbox) {
        self.state = Some(Arc::new(state));
        self.inbox = inbox;
    }

    /// The state of the last checkpoint.
    pub(crate) fn state(&self) -> Option<&[u8]> {
        self.state.as_deref().map(Vec::as_slice)
    }

    /// The state of the last checkpoint, where it was not executed here.
    pub(crate) fn set_state(&mut self, state: Vec<u8>) {
        self.state = Some(Arc::new(state));
    }

    /// A run that is not executed here still closes the messages that it took.
    ///
    /// Those that failed runs closed stay until there are many: `ledger` may be ahead of this run.
    pub(crate) fn skip(&mut self, run: &Run, ledger: &Ledger) {
        if run.outcome.is_ok() {
            for seq in run.taken() {
                Arc::make_mut(&mut self.inbox).remove(&seq);
            }
        }
        if self.inbox.len() > 2 * ledger.open.len() + 4096 {
            self.keep_open(ledger);
        }
    }

    /// Forgets messages that are not open.
    pub(crate) fn keep_open(&mut self, ledger: &Ledger) {
        let is_open = |seq: &Seq| ledger.open.binary_search_by_key(seq, |open| open.seq).is_ok();
        if !self.inbox.keys().all(is_open) {
            Arc::make_mut(&mut self.inbox).retain(|seq, _| is_open(seq));
        }
    }

    /// The messages that a run took: all that its replay needs.
    fn taken_by(&self, run: &Run) -> Inbox {
        let taken = run.taken().filter_map(|seq| self.inbox.get(&seq).map(|body| (seq, body.clone())));
        Arc::new(taken.collect())
    }

    /// A message came in.
    pub(crate) fn message(&mut self, seq: Seq, body: Vec<u8>) {
        Arc::make_mut(&mut self.inbox).insert(seq, body.into());
    }

    /// Takes one entry into account. `ledger` is that after the entry. An error says what differs.
    pub(crate) async fn entry(&mut self, body: &Body, ledger: &Ledger) -> Result<(), String> {
        match body {
            Body::Run(run) => {
                self.run(run).await?;
                self.skip(run, ledger);
                Ok(())
            }
            Body::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
            _ => Ok(()),
        }
    }

    /// The state that a checkpoint would hold here, where the program can give one. The instance is spent.
    pub(crate) async fn into_state(mut self, probe: &Run) -> Result<Vec<u8>, String> {
        let Some(mut guest) = self.guest.take() else { return Err("no run was executed".to_owned()) };
        let membrane = Arc::new(ReplayMembrane::new(probe, self.inbox, self.manifest.limits));
        let report = guest.run(Input::Checkpoint, self.manifest.limits.tick_fuel, membrane).await;
        match report.ended {
            Ended::State(state) => Ok(state),
            other => Err(format!("agent_checkpoint gave no state: {other:?}")),
        }
    }

    /// The instance, the open messages and the state of the last checkpoint.
    pub(crate) fn into_parts(self) -> (Option<P::Guest>, Inbox) {
        (self.guest, self.inbox)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let Some(taken) = self.taken.take() else { return Ok(()) };
        let root = Hash::of_blob(&taken);
        if root != checkpoint.root || taken.len() as u64 != checkpoint.bytes {
            return Err(format!("the checkpoint's root is {}, re-execution gives {root}", checkpoint.root));
        }
        self.state = Some(Arc::new(taken));
        Ok(())
    }

    async fn run(&mut self, run: &Run) -> Result<(), String> {
        if run.outcome.is_ok() {
            let inbox = self.taken_by(run);
            self.counted(run, inbox.clone()).await?;
            if self.depth == Depth::Failed {
                if matches!(run.call, Call::Init | Call::Resume) {
                    self.tail.clear();
                }
                if self.tail.len() < TAIL_RUNS_MAX {
                    self.tail.push((run.clone(), inbox));
                }
            }
            return Ok(());
        }
        let deterministic = matches!(&run.outcome, Outcome::Failed { failure, .. } if failure.is_deterministic());
        if self.depth == Depth::Counted || !deterministic || self.tail.len() >= TAIL_RUNS_MAX {
            self.not_executed += u64::from(deterministic);
            self.taken = None;
            return Ok(());
        }
        // A resume that failed was tried on an instance of its own; the one that gave the state goes on.
        if matches!(run.call, Call::Init | Call::Resume) {
            let mut spent = self.program.instantiate();
            let executed = self.execute(&mut spent, run, Inbox::default()).await.map(drop);
            self.taken = None;
            return executed;
        }
        let Some(mut guest) = self.guest.take() else { return Err("no instance was made before".to_owned()) };
        self.execute(&mut guest, run, self.taken_by(run)).await?;
        drop(guest);
        for (earlier, inbox) in std::mem::take(&mut self.tail) {
            self.counted(&earlier, inbox.clone()).await?;
            self.tail.push((earlier, inbox));
        }
        self.taken = None;
        Ok(())
    }

    async fn counted(&mut self, run: &Run, inbox: Inbox) -> Result<(), String> {
        let mut guest = match run.call {
            Call::Init | Call::Resume => self.program.instantiate(),
            _ => self.guest.take().ok_or("no instance was made before")?,
        };
        let state = self.execute(&mut guest, run, inbox).await?;
        if run.call == Call::Checkpoint {
            self.taken = state;
        }
        self.guest = Some(guest);
        Ok(())
    }

    /// Executes a run again and compares everything that the journal has of it. Gives the state of a checkpoint.
    async fn execute(&mut self, guest: &mut P::Guest, run: &Run, inbox: Inbox) -> Result<Option<Vec<u8>>, String> {
        let input = match run.call {
            Call::Init => Input::Init,
            Call::Tick(trigger) => Input::Tick(trigger),
            Call::Checkpoint => Input::Checkpoint,
            Call::Resume => {
                let last = self.state.as_deref();
                Input::Resume(self.taken.as_ref().or(last).ok_or("there is no checkpoint")?.clone())
            }
        };
        let limits = self.manifest.limits;
        let membrane = Arc::new(ReplayMembrane::new(run, inbox, limits));
        let report = guest.run(input, limits.tick_fuel, membrane.clone()).await;
        let record = membrane.take();
        self.executed += 1;
        self.fuel = self.fuel.saturating_add(report.fuel.0);
        if let Ended::Stopped(Stop::Diverged { journaled, replayed }) = &report.ended {
            return Err(format!("the journal has {journaled} next, the program asks for {replayed}"));
        }
        let outcome = match &report.ended {
            Ended::Returned { more_work } => Outcome::Ok { more_work: *more_work },
            Ended::State(_) => Outcome::Ok { more_work: false },
            Ended::Failed(failure, cause) => Outcome::failed(*failure, cause.clone()),
            Ended::Stopped(stop) => crate::life::stopped(stop),
            Ended::HostFailed(cause) => return Err(format!("this machine could not carry out the run: {cause}")),
        };
        if outcome.name() != run.outcome.name() || (outcome.is_ok() && outcome != run.outcome) {
            return Err(format!("the outcome is `{}` in the journal, `{}` here", shown(&run.outcome), shown(&outcome)));
        }
        // The fuel of a trap is not reliable (wasmtime #13802); running out of memory may be one.
        if !matches!(run.outcome.name(), "trap" | "out_of_memory") && report.fuel != run.fuel {
            return Err(format!("the fuel is {} in the journal, {} here", run.fuel, report.fuel));
        }
        if record.observations != run.observations {
            return Err(format!(
                "the journal has {} observations, {} were made",
                run.observations.len(),
                record.observations.len()
            ));
        }
        if record.logs != run.logs {
            return Err("the log lines differ".to_owned());
        }
        if run.outcome.is_ok() && run.call.is_tick() && record.requests().0 != run.requests {
            return Err("the replies or requests differ".to_owned());
        }
        match report.ended {
            Ended::State(state) => Ok(Some(state)),
            _ => Ok(None),
        }
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok { more_work: false } => "ok".to_owned(),
        Outcome::Ok { more_work: true } => "ok, more work".to_owned(),
        Outcome::Failed { failure, cause } => format!("{}: {cause}", failure.name()),
    }
}
