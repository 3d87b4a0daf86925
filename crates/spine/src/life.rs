//! One agent's life, as one visible loop: wait, run, commit, release.
//!
//! ```text
//!   create ──► init ──┐
//!                     ▼
//!   open ──► recover ─► wait ──► run ──► commit ──► release ──┐
//!                     ▲   │       │ failed: undo (restore)     │
//!                     │   │       └───────────────────────────►┤
//!                     └───┼────────────────────────────────────┘
//!                         ├─► money ended, finished, recalled ─► checkpoint ─► End
//!                         ├─► five failures in a row ─► suspended
//!                         └─► stop ─► checkpoint ─► stopped
//! ```
//!
//! Invariants kept here:
//! - Between two rounds of the loop the guest, the inbox and the book are those of the journal's end.
//! - The guest is absent whenever it may differ from that: after a failed run, until it was restored.
//! - A life that always has something to do lets others have their turn.

mod checkpoint;
mod due;
mod inbox;
mod recover;
mod run;
mod tick;
mod turn;

pub(crate) use recover::read_genesis;
pub use recover::{Recovery, Restored};
pub(crate) use run::stopped;
use turn::Turn;

use crate::{
    Error, World,
    command::Command,
    event::{Event, Outbox, Snapshot, Status},
    guest::Program,
    journal::{Journal, Landed},
    membrane::Inbox,
};
use igor_protocol::{
    Body, KeyPair, Manifest, Nanos, Seq,
    entry::{EndCause, Genesis, Receipt},
    ledger::Book,
};
use igor_store::Store;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::mpsc;

/// How long checkpoints are held off by a move that goes ahead: longer than a round of it takes as a rule.
const CHECKPOINT_HELD: Nanos = Nanos::from_secs(10);

/// What an agent lives on.
pub struct Parts<P, S, W> {
    /// Its program, compiled.
    pub program: Arc<P>,
    /// Where its journal is durable.
    pub store: Arc<S>,
    /// Clock and entropy.
    pub world: Arc<W>,
    /// The node's key: seals, receipts.
    pub key: Arc<KeyPair>,
}

/// How the operator wants it to live.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between the starts of two interval ticks; zero: one after the other.
    pub interval: Nanos,
    /// Time between two checkpoints; zero: after every tick.
    pub checkpoint_interval: Nanos,
    /// Stop after so many more ticks that count.
    pub ticks: Option<u64>,
    /// Begin paused.
    pub paused: bool,
    /// Try once more although it is suspended.
    pub forgive: bool,
}

/// How a life ended. The journal is complete, and another life may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, or did its ticks.
    Stopped,
    /// The agent ended.
    Ended(EndCause),
    /// The agent does not go on by itself.
    Suspended {
        /// Why.
        cause: String,
    },
}

/// An agent that is ready to run.
pub struct Life<P: Program, S, W> {
    program: Arc<P>,
    journal: Journal<S, W>,
    guest: Option<P::Guest>,
    inbox: Inbox,
    receipts: Arc<[Receipt]>,
    /// Time that the agent did not run for, until a tick has told it.
    gap: Option<Nanos>,
    /// Fuel that a replay from the last checkpoint would take.
    replay_fuel: u64,
    /// Runs that were re-executed to get here.
    replayed: u64,
    /// How long that took.
    recovery: Recovery,
    /// It was there before this life.
    resumed: bool,
    /// Messages below were there for a tick that counted.
    offered: Seq,
    /// No tick before this moment: after a failure.
    not_before: Nanos,
    /// When the last checkpoint was made or tried.
    checkpointed: Nanos,
    /// A checkpoint comes before the next tick: after an undo.
    checkpoint_first: bool,
    /// Why the last tick that failed did so.
    last_failure: Option<String>,
    /// No checkpoint before this moment: after one that was refused.
    checkpoint_not_before: Nanos,
    /// No checkpoint is planned before this moment: the agent is about to be moved.
    checkpoint_held_until: Nanos,
    /// Commands that were carried out since time had its turn.
    commands_in_row: u32,
    /// Commands that wait for the end of a run.
    deferred: VecDeque<Command>,
    /// Since when it has not let others go first.
    turn: Turn,
}

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Begins a new agent: commits its Genesis, then its Run(init).
    ///
    /// Program and manifest must be in the store as blobs. If `agent_init` fails that is recorded, and opening the
    /// agent tries it again.
    pub async fn create(parts: Parts<P, S, W>, genesis: Genesis, manifest: Manifest) -> Result<Self, Error> {
        let begun = Book::begin(genesis, manifest, parts.world.wall_clock());
        let (book, draft) = begun.map_err(|fault| Error::Journal { seq: Seq(0), fault })?;
        let mut journal = Journal::new(parts.store, parts.world, parts.key, book, Some(draft));
        journal.launch(true)?;
        journal.land().await?;
        let mut life = Self::assemble(parts.program, journal);
        Box::pin(life.init()).await?;
        Ok(life)
    }

    fn assemble(program: Arc<P>, journal: Journal<S, W>) -> Self {
        let checkpointed = journal.world.monotonic();
        Self {
            program,
            receipts: journal.ledger().receipts.clone().into(),
            journal,
            guest: None,
            inbox: Inbox::default(),
            gap: None,
            replay_fuel: 0,
            replayed: 0,
            recovery: Recovery::default(),
            resumed: false,
            offered: Seq(0),
            not_before: Nanos::ZERO,
            checkpointed,
            checkpoint_first: false,
            last_failure: None,
            checkpoint_not_before: Nanos::ZERO,
            checkpoint_held_until: Nanos::ZERO,
            commands_in_row: 0,
            deferred: VecDeque::new(),
            turn: Turn::default(),
        }
    }

    /// What it is before it lives: its events come after this place in the journal.
    pub fn look(&self) -> Snapshot {
        self.snapshot(Status::Stopped)
    }

    /// Lives until something ends it. Every event was committed before `outbox` has it.
    pub async fn run(
        mut self,
        settings: Settings,
        mut commands: mpsc::Receiver<Command>,
        mut outbox: impl Outbox,
    ) -> Result<Ending, Error> {
        let mut course = Course::new(settings, self.journal.ledger().failures);
        let started =
            Event::Started { tick: self.journal.ledger().tick, resumed: self.resumed, replayed: self.replayed };
        self.journal.stage([started]);
        self.commit(false, &mut outbox).await?;
        loop {
            // Who asked during a run is answered before the agent may end: a fund order may be why it does not.
            if let Some(command) = self.deferred.pop_front() {
                self.command(command, &mut course, &mut commands, &mut outbox).await?;
                continue;
            }
            if let Some(ending) = self.ending(&course, &mut outbox).await? {
                return Ok(ending);
            }
            outbox.watch(&self.snapshot(course.status()));
            match self.next(&course, &mut commands).await {
                due::Next::Landed(landed) => {
                    tell(landed?, &mut outbox);
                    self.journal.launch(false)?;
                }
                // Nobody waits for it: the next tick may begin while it becomes durable.
                due::Next::Seal => self.journal.launch(true)?,
                due::Next::Checkpoint => self.checkpoint(&mut outbox).await?,
                due::Next::Tick(trigger) => {
                    outbox.watch(&self.snapshot(Status::Running));
                    let counted = self.tick(trigger, &mut commands, &mut outbox).await?;
                    course.ticked(counted);
                    self.turn.end(&*self.journal.world).await;
                }
                due::Next::Command(command) => self.command(command, &mut course, &mut commands, &mut outbox).await?,
            }
        }
    }

    /// Whether the life is over: what the journal, the operator or the agent said.
    async fn ending(&mut self, course: &Course, outbox: &mut impl Outbox) -> Result<Option<Ending>, Error> {
        let ledger = self.journal.ledger();
        let tick = ledger.tick;
        if let Some(cause) = ledger.ended {
            return self
                .tell(Event::Ended { cause, tick }, Status::Ended, outbox)
                .await
                .map(|()| Some(Ending::Ended(cause)));
        }
        let end = match ledger {
            ledger if ledger.recalled => Some(EndCause::Recalled),
            ledger if ledger.finished => Some(EndCause::Completed),
            ledger if ledger.is_exhausted() => Some(EndCause::Exhausted),
            _ => None,
        };
        if let Some(cause) = end {
            self.final_checkpoint(outbox).await?;
            self.journal.push(Body::End(cause))?;
            self.tell(Event::Ended { cause, tick }, Status::Ended, outbox).await?;
            return Ok(Some(Ending::Ended(cause)));
        }
        if let Some(cause) = self.suspension(course) {
            let event = Event::Suspended { tick, cause: cause.clone() };
            self.tell(event, Status::Suspended, outbox).await?;
            return Ok(Some(Ending::Suspended { cause }));
        }
        if course.stop {
            if !course.frozen {
                self.final_checkpoint(outbox).await?;
            }
            self.tell(Event::Stopped { tick: self.journal.ledger().tick }, Status::Stopped, outbox).await?;
            return Ok(Some(Ending::Stopped));
        }
        Ok(None)
    }

    /// Seals, then tells the last thing of this life.
    async fn tell(&mut self, event: Event, status: Status, outbox: &mut impl Outbox) -> Result<(), Error> {
        self.journal.stage([event]);
        outbox.watch(&self.snapshot(status));
        self.commit(true, outbox).await
    }

    /// Returns once all that was pushed is durable and told.
    async fn commit(&mut self, seal: bool, outbox: &mut impl Outbox) -> Result<(), Error> {
        // On a shared store it need not wait for what is under way to land.
        self.journal.launch(seal)?;
        while self.journal.is_flying() || self.journal.is_late() {
            tell(self.journal.land().await?, outbox);
            // What did not fit before, if anything.
            self.journal.launch(seal)?;
        }
        self.turn.begin(&*self.journal.world);
        Ok(())
    }

    async fn command(
        &mut self,
        command: Command,
        course: &mut Course,
        commands: &mut mpsc::Receiver<Command>,
        outbox: &mut impl Outbox,
    ) -> Result<(), Error> {
        match command {
            Command::Deliver { parcel, answer } => {
                let next = self.deliver((parcel, answer), commands, outbox).await?;
                self.deferred.extend(next);
            }
            Command::Lookup { sender, id, answer } => {
                let _ = answer.send(self.lookup(&sender, &id));
            }
            Command::Order { order, answer } => {
                let taken = if let Err(fault) = self.journal.book().check_order(&order) {
                    Err(crate::command::Refused::Order(fault))
                } else {
                    let (seq, _) = self.journal.push(Body::Order(order))?;
                    self.commit(true, outbox).await?;
                    Ok(seq)
                };
                let _ = answer.send(taken);
            }
            Command::Pause { answer } => {
                course.paused = true;
                let _ = answer.send(());
            }
            Command::Resume { answer } => {
                course.paused = false;
                let _ = answer.send(());
            }
            Command::Seal { answer } => {
                self.checkpoint_held_until = self.journal.world.monotonic().saturating_add(CHECKPOINT_HELD);
                self.commit(true, outbox).await?;
                let _ = answer.send(());
            }
            Command::Stop => course.stop = true,
            Command::Freeze => (course.stop, course.frozen) = (true, true),
        }
        Ok(())
    }

    /// What those who watch are shown.
    fn snapshot(&self, status: Status) -> Snapshot {
        Snapshot::of(self.journal.book(), status)
    }
}

/// Releases what became durable.
fn tell(landed: Option<Landed>, outbox: &mut impl Outbox) {
    if let Some(Landed { events, took }) = landed {
        outbox.appended(took);
        outbox.release(events);
    }
}

/// Where the operator steers.
struct Course {
    settings: Settings,
    paused: bool,
    stop: bool,
    /// No checkpoint comes before the stop.
    frozen: bool,
    /// Failures in a row that the operator forgave.
    forgiven: Option<u32>,
}

impl Course {
    fn new(settings: Settings, failures: u32) -> Self {
        let forgiven = settings.forgive.then_some(failures);
        Self { paused: settings.paused, stop: settings.ticks == Some(0), frozen: false, forgiven, settings }
    }

    const fn status(&self) -> Status {
        if self.paused { Status::Paused } else { Status::Idle }
    }

    fn ticked(&mut self, counted: bool) {
        if counted {
            self.forgiven = None;
        }
        if let (true, Some(left)) = (counted, &mut self.settings.ticks) {
            *left = left.saturating_sub(1);
            self.stop |= *left == 0;
        }
    }
}
