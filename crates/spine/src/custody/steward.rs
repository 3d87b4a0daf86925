//! Carries out what custody decides, for every agent that this node knows.

use super::{Host, Peers, books::Books};
use crate::World;
use igor_protocol::{
    AgentId, KeyPair, Manifest, NodeId, OwnerId,
    custody::{Action, Event, Known, Memory, Note, Refusal, Rules, Status, Tidings, step_by},
    entry::{Custody, Genesis, Phase},
    ledger::{Book, Fault},
};
use igor_store::Store;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Why custody could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The step is not allowed; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A record that is not signed by whom it names, or does not fit together.
    #[error(transparent)]
    Record(#[from] Fault),
    /// The store or the journal.
    #[error(transparent)]
    Own(#[from] crate::Error),
    /// What is known of an agent does not decode.
    #[error("what is known of the custody of {agent} does not read: {why}; restore local/{} from a copy", Note::name(*agent))]
    Note {
        /// Whose.
        agent: AgentId,
        /// What is wrong.
        why: String,
    },
    /// The node around could not do its part.
    #[error("{0}")]
    Host(String),
    /// Nobody here knows of this agent.
    #[error("this node knows nothing of agent {0}")]
    Unknown(AgentId),
}

impl From<igor_store::Error> for Error {
    fn from(error: igor_store::Error) -> Self {
        Self::Own(error.into())
    }
}

/// Turns that are kept before those that say nothing are dropped.
const TURNS_KEPT: usize = 1024;

/// Whether an agent may run now; who holds the lock has its turn.
type Turn = Arc<tokio::sync::Mutex<bool>>;

/// The custody of all agents at one node.
pub struct Steward<S, W, P, H> {
    pub(super) key: Arc<KeyPair>,
    pub(super) store: Arc<S>,
    pub(super) world: Arc<W>,
    pub(super) peers: Arc<P>,
    pub(super) host: Arc<H>,
    rules: Rules,
    books: Books,
    turns: Mutex<BTreeMap<AgentId, Turn>>,
    /// Agents that are coming in.
    coming: Mutex<BTreeSet<AgentId>>,
}

/// The right to let an agent in.
pub struct Coming<'a> {
    coming: &'a Mutex<BTreeSet<AgentId>>,
    agent: AgentId,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.agent);
    }
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// The steward of a node.
    pub fn new(key: Arc<KeyPair>, store: Arc<S>, world: Arc<W>, peers: Arc<P>, host: Arc<H>) -> Self {
        let (rules, books, turns, coming) = (Rules::ALL, Books::default(), Mutex::default(), Mutex::default());
        Self { key, store, world, peers, host, rules, books, turns, coming }
    }

    /// Leaves out a rule of custody: only a simulated node does, to show that the rule is needed.
    #[must_use]
    pub fn keeping(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The node.
    pub fn me(&self) -> NodeId {
        self.key.public()
    }

    /// The other nodes.
    pub const fn peers(&self) -> &Arc<P> {
        &self.peers
    }

    /// What this node is to an agent.
    pub fn status(&self, agent: AgentId) -> Result<Status, Error> {
        Ok(self.known(agent, false)?.status(self.me()))
    }

    /// All records that this node knows of an agent, to be told to whoever asks.
    pub fn records(&self, agent: AgentId) -> Result<Vec<Custody>, Error> {
        let mut records: Vec<Custody> = Vec::new();
        for record in self.known(agent, false)?.records() {
            if !records.contains(record) {
                records.push(record.clone());
            }
        }
        Ok(records)
    }

    /// What is durably known. `running` is what only this process knows.
    pub(super) fn known(&self, agent: AgentId, running: bool) -> Result<Known, Error> {
        let memory = self.note(agent)?.map(|note| note.memory).unwrap_or_default();
        Ok(Known { held: self.books.look(&*self.store, agent, Book::held)?, memory, running })
    }

    /// The book at the end of the journal that is here.
    pub(super) fn book(&self, agent: AgentId) -> Result<Option<Book>, Error> {
        Ok(self.books.look(&*self.store, agent, Book::clone)?)
    }

    fn note(&self, agent: AgentId) -> Result<Option<Note>, Error> {
        let bytes = self.store.get_local(&Note::name(agent))?;
        let decoded = bytes.map(|bytes| Note::decode(&bytes)).transpose();
        decoded.map_err(|e| Error::Note { agent, why: e.to_string() })
    }

    /// Whether nothing is known of the agent here, not even that it is elsewhere.
    pub(super) fn is_unknown(&self, agent: AgentId) -> Result<bool, Error> {
        Ok(self.note(agent)?.is_none() && self.store.tail(agent)?.is_none())
    }

    /// Whose agent it is, as far as is known here.
    pub(super) fn owner(&self, agent: AgentId) -> Result<OwnerId, Error> {
        if let Some(note) = self.note(agent)? {
            return Ok(note.owner);
        }
        self.books.look(&*self.store, agent, |book| book.genesis().owner)?.ok_or(Error::Unknown(agent))
    }

    async fn remember(&self, agent: AgentId, memory: Memory) -> Result<(), Error> {
        let note = Note::new(self.owner(agent)?, memory);
        Ok(self.store.put_local(&Note::name(agent), note.encode()).await?)
    }

    /// Says that an agent is coming in; nothing if it is already.
    pub(super) fn begin(&self, agent: AgentId) -> Option<Coming<'_>> {
        let begun = self.coming.lock().unwrap_or_else(PoisonError::into_inner).insert(agent);
        begun.then(|| Coming { coming: &self.coming, agent })
    }

    /// How the agent began, and what it may do.
    pub(super) fn genesis(&self, agent: AgentId) -> Result<(Genesis, Manifest), Error> {
        Ok(crate::life::read_genesis(&*self.store, agent)?)
    }

    /// One record, whose signatures are checked. What says nothing new is no error.
    pub(super) async fn hear_one(&self, agent: AgentId, record: Custody) -> Result<(), Error> {
        record.check(&self.owner(agent)?)?;
        match self.happen(agent, Event::Heard(record)).await {
            Ok(_) | Err(Error::Refused(Refusal::Known)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// What another node told. Records that say nothing new, or that nothing here bears out, change nothing.
    pub async fn hear(&self, tidings: Tidings) -> Result<(), Error> {
        let Ok(owner) = self.owner(tidings.agent) else { return Ok(()) };
        for record in tidings.records {
            // What is known was checked when it came; most of what is told is.
            let known = self.known(tidings.agent, false)?;
            if record.phase.agent() != tidings.agent || known.records().any(|known| *known == record) {
                continue;
            }
            record.check(&owner)?;
            match self.happen(tidings.agent, Event::Heard(record)).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Finishes what a crash interrupted, and asks the peers. An agent that is this node's is not started: that is for
    /// [`Event::Timer`] or [`Steward::claim`], once they had the time to answer.
    pub async fn wake(&self, agent: AgentId) -> Result<Status, Error> {
        self.leave_buried(agent).await?;
        self.happen(agent, Event::Restarted).await?;
        self.status(agent)
    }

    /// The right to run an agent, for a life that the node begins by itself. Give it back with [`Steward::release`].
    pub async fn claim(&self, agent: AgentId) -> Result<(), Error> {
        let turn = self.turn(agent);
        let mut running = turn.lock().await;
        match self.known(agent, *running)?.status(self.me()) {
            Status::Custodian => *running = true,
            Status::Suspended(doubt) => return Err(Refusal::Doubt(doubt).into()),
            Status::Absent | Status::Unfinished | Status::Given(_) | Status::Undecided | Status::Elsewhere => {
                return Err(Refusal::NotCustodian.into());
            }
        }
        Ok(())
    }

    /// The life is over.
    pub async fn release(&self, agent: AgentId) {
        *self.turn(agent).lock().await = false;
    }

    /// Carries out what an event leads to. Returns the nodes that the journal is to be sent to.
    pub async fn happen(&self, agent: AgentId, event: Event) -> Result<Vec<NodeId>, Error> {
        let turn = self.turn(agent);
        let mut running = turn.lock().await;
        let known = self.known(agent, *running)?;
        let actions = step_by(self.rules, self.me(), self.world.wall_clock(), &known, event)?;
        let mut memory = known.memory;
        let mut transfers = Vec::new();
        for action in actions {
            match action {
                Action::Stop => {
                    self.host.stop(agent).await;
                    *running = false;
                }
                Action::Start => {
                    *running = true;
                    self.host.start(agent).await;
                }
                // What arrived was appended as it was verified: the journal that is here is that one already.
                Action::Adopt => {}
                Action::Keep(phase) => {
                    memory.keep(phase.sign(&self.key));
                    self.remember(agent, memory.clone()).await?;
                }
                Action::Append => {
                    let record = memory.signed.clone().ok_or(Error::Unknown(agent))?;
                    self.append(agent, record).await?;
                }
                Action::Bury(record) => {
                    memory.elsewhere = Some(record.clone());
                    self.remember(agent, memory.clone()).await?;
                    self.leave_branch(agent, &record).await?;
                }
                Action::Suspend(evidence) => {
                    memory.evidence = Some(evidence);
                    self.remember(agent, memory.clone()).await?;
                }
                Action::Transfer(to) => transfers.push(to),
                Action::Tell(to) => self.peers.tell(to, Tidings { agent, records: self.records(agent)? }),
                Action::Announce => {
                    for to in self.peers.all() {
                        self.peers.tell(to, Tidings { agent, records: self.records(agent)? });
                    }
                }
                Action::Ask => self.peers.all().into_iter().for_each(|to| self.peers.ask(to, agent)),
            }
        }
        Ok(transfers)
    }

    fn turn(&self, agent: AgentId) -> Turn {
        // No update can fail in the middle.
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= TURNS_KEPT {
            // Those that nobody has or waits for, of agents that do not run, are as good as new ones.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1 || turn.try_lock().is_ok_and(|running| *running));
        }
        turns.entry(agent).or_default().clone()
    }

    /// Appends a record that this node signed, in a commit of its own.
    async fn append(&self, agent: AgentId, record: Custody) -> Result<(), Error> {
        let mut book = self.book(agent)?.ok_or(Error::Unknown(agent))?;
        book.append_own();
        let mut draft = book.draft();
        book.push_custody(&mut draft, record)?;
        let commit = book.commit(draft)?;
        Ok(self.store.append(commit).await?)
    }

    /// Appends a seal where the last entry is not one, so that its writer cannot deny what is before.
    pub(super) async fn seal(&self, agent: AgentId) -> Result<(), Error> {
        let mut book = self.book(agent)?.ok_or(Error::Unknown(agent))?;
        if book.held().sealed {
            return Ok(());
        }
        book.append_own();
        let at = self.world.wall_clock().max(book.ledger().at);
        let mut draft = book.draft();
        book.push_seal(&mut draft, &self.key, at)?;
        let commit = book.commit(draft)?;
        Ok(self.store.append(commit).await?)
    }

    /// Leaves a branch that is over where that could not be done when its end was heard of: the process was killed, or
    /// the disk was full.
    pub(super) async fn leave_buried(&self, agent: AgentId) -> Result<(), Error> {
        let turn = self.turn(agent);
        let _turn = turn.lock().await;
        match self.note(agent)?.and_then(|note| note.memory.elsewhere) {
            Some(record) => self.leave_branch(agent, &record).await,
            None => Ok(()),
        }
    }

    /// Keeps the end of a journal that a takeover from before it orphaned aside, so that the branch that counts can
    /// come here.
    async fn leave_branch(&self, agent: AgentId, record: &Custody) -> Result<(), Error> {
        let Phase::Takeover(takeover) = &record.phase else { return Ok(()) };
        let Some(end) = self.store.tail(agent)? else { return Ok(()) };
        let (base, order) = (takeover.place.chain(), &takeover.order.body);
        // Of the term that the takeover left, what ends before its base is a beginning of the branch that counts.
        let begins =
            end.epoch.term == order.term && (end.next < base.next || (end.next == base.next && end.head == base.head));
        if begins || end.epoch.term >= base.epoch.term {
            return Ok(());
        }
        self.host.set_aside(agent, base).await.map_err(Error::Host)?;
        Ok(self.store.remove(agent).await?)
    }
}
