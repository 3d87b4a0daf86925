//! A life that this node carries: what it is asked, what it tells, and how it ended.
//!
//! Invariants kept here:
//! - What is told of a life, its snapshots too, is durable; it goes on whoever listens, and nobody is waited for.
//! - Who waits for a reply is woken once its run is committed, or learns that the life is over.

use crate::{Error, Wishes, bucket::NodeStore, events::Projector, follow::Follower, metrics::AgentMetrics};
use igor_protocol::{
    AgentId, Credits, Nanos, Seq,
    entry::{Destination, GenesisBody},
};
use igor_sandbox::RUNTIME_ID;
use igor_spine::{
    Committed, Ending,
    command::Command,
    event::{Event, Outbox, Snapshot, Status},
};
use igor_store::{Store, shared::Requests};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::wire;

/// Commands that wait for a life at once; more wait to be put in.
pub(crate) const COMMANDS: usize = 1024;

/// How a life ended.
pub type Over = Arc<Result<Ending, Error>>;

/// One life, from its start to its end.
#[derive(Debug)]
pub struct Hosted {
    name: String,
    genesis: GenesisBody,
    wishes: Wishes,
    /// What it was when it began: events are told from there.
    began: Snapshot,
    resumed: bool,
    may_migrate: bool,
    durable_on: String,
    /// What its journal had asked of the bucket before.
    requests_before: Requests,
    commands: mpsc::Sender<Command>,
    now: watch::Receiver<Snapshot>,
    over: watch::Receiver<Option<Over>>,
    waiting: Arc<Waiting>,
}

/// What a life is at its beginning, and the ends of its channels.
pub(crate) struct Beginning {
    pub(crate) store: Arc<NodeStore>,
    pub(crate) name: String,
    pub(crate) genesis: GenesisBody,
    pub(crate) began: Snapshot,
    pub(crate) wishes: Wishes,
    pub(crate) resumed: bool,
    pub(crate) may_migrate: bool,
    pub(crate) durable_on: String,
    pub(crate) metrics: AgentMetrics,
}

/// What the task of a life needs.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) outbox: Told,
    /// Where its last tick asked to be moved to.
    pub(crate) asked: watch::Receiver<Option<Destination>>,
    pub(crate) over: watch::Sender<Option<Over>>,
}

impl Hosted {
    pub(crate) fn begin(beginning: Beginning) -> (Self, Ends) {
        let Beginning { store, name, genesis, began, wishes, resumed, may_migrate, durable_on, metrics } = beginning;
        let requests_before = store.requests(began.chain.agent).unwrap_or_default();
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (told_now, now) = watch::channel(began.clone());
        let (told_over, over) = watch::channel(None);
        // What was asked of a life that a kill ended is asked of this one.
        let (wish, asked) = watch::channel(began.move_to);
        let waiting = Arc::new(Waiting::default());
        let outbox = Told { store, now: told_now, ahead: VecDeque::new(), waiting: waiting.clone(), wish, metrics };
        let hosted = Self {
            name,
            genesis,
            wishes,
            began,
            resumed,
            may_migrate,
            durable_on,
            requests_before,
            commands,
            now,
            over,
            waiting,
        };
        (hosted, Ends { commands: commanded, outbox, asked, over: told_over })
    }

    /// Whose life it is.
    pub fn agent(&self) -> AgentId {
        self.began.chain.agent
    }

    /// The agent's name on this node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its Genesis says.
    pub const fn genesis(&self) -> &GenesisBody {
        &self.genesis
    }

    /// Whether it was there before this life.
    pub const fn resumed(&self) -> bool {
        self.resumed
    }

    /// Whether it may ask to be moved.
    pub(crate) const fn may_migrate(&self) -> bool {
        self.may_migrate
    }

    /// What it was when this life began.
    pub const fn began(&self) -> &Snapshot {
        &self.began
    }

    /// The agent as it is now, as far as its journal is durable; after the end of this life, as it was then.
    pub fn info(&self) -> wire::AgentInfo {
        let now = self.now.borrow().clone();
        let info = wire::AgentInfo::new(&self.name, &self.genesis, Some(RUNTIME_ID), &now);
        wire::AgentInfo { durable_on: self.durable_on.clone(), ..info }
    }

    /// What its journal had asked of the bucket when this life began, and the ticks since.
    pub(crate) fn asked_since(&self) -> (Requests, u64) {
        (self.requests_before, self.now.borrow().tick.0.saturating_sub(self.began.tick.0))
    }

    /// Why it does not go on, if it should.
    pub(crate) fn cause(&self) -> Option<String> {
        match self.over.borrow().as_deref()? {
            Ok(Ending::Suspended { cause }) => Some(cause.clone()),
            Ok(Ending::Stopped | Ending::Ended(_)) => None,
            Err(e) => Some(e.to_string()),
        }
    }

    /// How its operator wanted it to live.
    pub(crate) const fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// The snapshots of the life from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Snapshot> {
        let mut now = self.now.clone();
        now.mark_unchanged();
        now
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Waits for its end.
    pub async fn over(&self) -> Over {
        let mut over = self.over.clone();
        loop {
            if let Some(ended) = over.borrow_and_update().clone() {
                return ended;
            }
            if over.changed().await.is_err() {
                return Arc::new(Err(Error::Vanished));
            }
        }
    }

    /// Comes back once its snapshot has such a status, or the life is over.
    pub(crate) async fn shown(&self, is: impl Fn(Status) -> bool) {
        drop(self.now.clone().wait_for(|now| is(now.status)).await);
    }

    /// Asks it for something.
    pub(crate) async fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::NotRunning { name: self.name.clone() })
    }

    /// Asks it to checkpoint and stop, and waits until it did.
    pub async fn stop(&self) -> Over {
        // One that is over has nothing to stop.
        drop(self.commands.send(Command::Stop).await);
        self.over().await
    }

    /// Asks it to stop between two runs without a checkpoint, and waits until it did.
    pub(crate) async fn freeze(&self) -> Over {
        drop(self.commands.send(Command::Freeze).await);
        self.over().await
    }

    /// Comes back once the message at this position is closed, and an error if the life is over before. Begin to wait
    /// before asking whether it is open, so that nothing is missed.
    pub(crate) fn await_closing(&self, message: Seq) -> oneshot::Receiver<()> {
        self.waiting.wait_for(message)
    }

    /// Everything that happens in this life, in order, from its start to its end.
    pub fn events(self: &Arc<Self>, store: Arc<NodeStore>) -> Events {
        let (began, resumed) = (&self.began, self.resumed);
        let started = wire::Event::Started { agent: self.agent(), name: self.name.clone(), tick: began.tick, resumed };
        // What an agent did before its first life began to run (its init) is news as well.
        let from = if resumed { began.chain.next } else { Seq(0) };
        let projector = if resumed {
            Projector::new(self.agent(), began.funded, began.spent)
        } else {
            Projector::new(self.agent(), Credits::ZERO, Credits::ZERO)
        };
        let follower = Follower::new(store, self.agent(), from, Some(self.clone()));
        Events { life: self.clone(), follower, projector, from, held: VecDeque::from([started]), ended: false }
    }

    /// What happens in this life from now on.
    pub fn events_from_now(self: &Arc<Self>, store: Arc<NodeStore>) -> Events {
        let now = self.now.borrow().clone();
        let projector = Projector::new(self.agent(), now.funded, now.spent);
        let from = now.chain.next;
        let follower = Follower::new(store, self.agent(), from, Some(self.clone()));
        Events { life: self.clone(), follower, projector, from, held: VecDeque::new(), ended: false }
    }
}

/// The events of a life, read from its journal.
pub struct Events {
    life: Arc<Hosted>,
    follower: Follower,
    projector: Projector,
    from: Seq,
    held: VecDeque<wire::Event>,
    ended: bool,
}

impl Events {
    /// The next event; waits for it. Nothing after the end of the life: [`Hosted::over`] says how it ended. Dropping
    /// the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<wire::Event>, Error> {
        loop {
            if let Some(event) = self.held.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(commit) = self.follower.next().await? {
                let told = self.projector.commit(&commit, self.from, self.life.began().chain.epoch);
                self.held.extend(told.map_err(igor_spine::Error::from)?);
            } else {
                // Whoever drops this future asks again: nothing is taken before the last wait is over.
                let over = self.life.over().await;
                self.ended = true;
                let tick = self.life.now.borrow().tick;
                let last = match &*over {
                    Ok(Ending::Stopped) => Some(wire::Event::Stopped { tick }),
                    Ok(Ending::Ended(cause)) => Some(wire::Event::Ended { cause: cause.name().to_owned(), tick }),
                    Ok(Ending::Suspended { cause }) => Some(wire::Event::Suspended { tick, cause: cause.clone() }),
                    Err(_) => None,
                };
                self.held.extend(last);
            }
        }
    }
}

/// Those who wait until a message is closed. Each is a request of the API, so connections bound their number.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<Seq, Vec<oneshot::Sender<()>>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Seq, Vec<oneshot::Sender<()>>>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, message: Seq) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        // Those who gave up leave room here.
        waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        waiting.entry(message).or_default().push(sender);
        receiver
    }

    fn close(&self, message: Seq) {
        let waiting = self.lock().remove(&message);
        for sender in waiting.into_iter().flatten() {
            let _ = sender.send(());
        }
    }
}

/// What a life tells.
pub(crate) struct Told {
    store: Arc<NodeStore>,
    now: watch::Sender<Snapshot>,
    /// What the life is already, but its journal is not durably yet: the oldest and the newest of it.
    ahead: VecDeque<Snapshot>,
    waiting: Arc<Waiting>,
    wish: watch::Sender<Option<Destination>>,
    metrics: AgentMetrics,
}

impl Told {
    /// Shows what has become durable, and nothing before it has.
    fn show(&mut self) {
        let Some(oldest) = self.ahead.front() else { return };
        let durable = self.store.tail(oldest.chain.agent).ok().flatten().map_or(Seq(0), |chain| chain.next);
        while self.ahead.front().is_some_and(|oldest| oldest.chain.next <= durable) {
            if let Some(snapshot) = self.ahead.pop_front() {
                self.now.send_replace(snapshot);
            }
        }
    }
}

impl Outbox for Told {
    fn release(&mut self, committed: Committed<Vec<Event>>) {
        self.show();
        for event in committed.into_inner() {
            self.metrics.count(&event);
            match event {
                Event::MessageClosed { message, .. } => self.waiting.close(message),
                Event::Tick(tick) if tick.outcome.is_ok() => {
                    self.wish.send_if_modified(|wish| std::mem::replace(wish, tick.move_to) != tick.move_to);
                }
                Event::CheckpointRefused { tick, cause } => {
                    let agent = self.now.borrow().chain.agent;
                    tracing::warn!(%agent, %tick, cause, "a checkpoint was refused; the last one stays");
                }
                _ => {}
            }
        }
    }

    fn watch(&mut self, snapshot: &Snapshot) {
        // The oldest is kept, so that a life that is always ahead is still shown.
        self.ahead.truncate(1);
        self.ahead.push_back(snapshot.clone());
        self.show();
    }

    fn appended(&mut self, took: Nanos) {
        self.metrics.appended(took);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // Nobody answers those who wait any more.
        self.waiting.lock().clear();
    }
}
