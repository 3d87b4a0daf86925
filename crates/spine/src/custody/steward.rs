//! Carries out what custody decides, for every agent that this node knows.

use super::{Coming, Host, Lease, Peers, awake::Awake, books::Books, entrance::Entrance, lease::Tenant, notes::Notes};
use crate::{World, moving::Arrivals};
use igor_protocol::{
    AgentId, Body, Commit, Entry, KeyPair, Manifest, NodeId, Seq,
    custody::{Action, Event, Known, Memory, Note, Refusal, Rules, Status, Tidings, may_begin, step_by},
    entry::{Custody, Genesis, GenesisBody, Order, Phase},
    ledger::{Book, Draft, Fault},
};
use igor_store::Store;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    #[error("what is known of the custody of {agent} does not read: {why}; restore the home from a copy")]
    Note {
        /// Whose.
        agent: AgentId,
        /// What is wrong.
        why: String,
    },
    /// An order that does not count.
    #[error(transparent)]
    Order(Fault),
    /// The node around could not do its part.
    #[error("{0}")]
    Host(String),
    /// Only one life of an agent goes on, and only while the agent is not handed over.
    #[error("agent {0} runs, is being started, or is on its way to another node")]
    Leased(AgentId),
    /// It was here before this process: whoever took it over meanwhile is asked for first.
    #[error("peers were not asked yet what they know of agent {0} since this node started; try again in some seconds")]
    Asleep(AgentId),
    /// Its journal is not on this machine's disk alone.
    #[error(
        "the journal of agent {0} is in a bucket: it goes to nodes that reach that (igor migrate), and not by file"
    )]
    InBucket(AgentId),
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

/// Who may write to the journal of an agent now; who holds the lock has its turn.
#[derive(Default)]
pub(super) struct Desk {
    tenant: Option<Tenant>,
    /// A record that was heard and is not kept yet, since the disk was full, say. Until it is, nothing else happens.
    news: Option<Custody>,
}

type Turn = Arc<tokio::sync::Mutex<Desk>>;

impl Desk {
    /// Whether a life has the agent's lease.
    pub(super) fn is_leased(&self) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| !tenant.is_over())
    }

    /// Whether it says anything.
    fn is_needed(&self) -> bool {
        self.is_leased() || self.news.is_some()
    }

    pub(super) fn lease(&mut self) -> Lease {
        let (lease, tenant) = Lease::new();
        self.tenant = Some(tenant);
        lease
    }

    /// Ends the life that has the lease, if one has, at once. Returns once nothing of it is left.
    pub(super) async fn take_back(&mut self) {
        if let Some(tenant) = &mut self.tenant {
            tenant.take_back().await;
        }
        self.tenant = None;
    }
}

/// The custody of all agents at one node.
pub struct Steward<S, W, P, H> {
    pub(super) key: Arc<KeyPair>,
    pub(super) store: Arc<S>,
    pub(super) world: Arc<W>,
    pub(super) peers: Arc<P>,
    pub(super) host: Arc<H>,
    rules: Rules,
    pub(super) books: Books,
    pub(super) notes: Notes,
    /// What all moves have in memory that come in here, and what is left of those that were cut.
    pub(super) arrivals: Arrivals,
    turns: Mutex<BTreeMap<AgentId, Turn>>,
    awake: Awake,
    /// Agents that are coming in: what is here of their journals is not removed.
    pub(super) coming: Entrance,
    /// Agents that are handed over, or whose answer is asked for.
    pub(super) leaving: Busy,
    /// Agents that are about to be given away: no life begins.
    pub(super) freezing: Busy,
}

/// Agents about which something is being done that is done once at a time.
#[derive(Default)]
pub(super) struct Busy(Mutex<BTreeSet<AgentId>>);

/// It is done until this is dropped.
pub(super) struct Doing<'a> {
    busy: &'a Busy,
    agent: AgentId,
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<AgentId>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with an agent; nothing if somebody has.
    pub(super) fn begin(&self, agent: AgentId) -> Option<Doing<'_>> {
        let begun = self.lock().insert(agent);
        begun.then(|| Doing { busy: self, agent })
    }

    pub(super) fn has(&self, agent: AgentId) -> bool {
        self.lock().contains(&agent)
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.agent);
    }
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// The steward of a node.
    pub fn new(key: Arc<KeyPair>, store: Arc<S>, world: Arc<W>, peers: Arc<P>, host: Arc<H>) -> Self {
        let (coming, leaving, freezing) = (Entrance::default(), Busy::default(), Busy::default());
        let (rules, books, arrivals) = (Rules::ALL, Books::default(), Arrivals::default());
        let (turns, awake, notes) = (Mutex::default(), Awake::default(), Notes::default());
        Self { key, store, world, peers, host, rules, books, notes, arrivals, turns, awake, coming, leaving, freezing }
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

    async fn remember(&self, agent: AgentId, memory: Memory) -> Result<(), Error> {
        self.keep(agent, &Note::new(self.owner(agent)?, memory)).await
    }

    async fn keep(&self, agent: AgentId, note: &Note) -> Result<(), Error> {
        Ok(self.store.put_local(&Note::name(agent), note.encode()).await?)
    }

    /// Whether agents are coming in.
    pub fn is_expecting(&self) -> bool {
        !self.coming.is_empty()
    }

    /// Whether an agent is being handed over.
    pub fn is_handing_over(&self, agent: AgentId) -> bool {
        self.leaving.has(agent)
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

    /// What another node told. Records that say nothing new, or that nothing here bears out, change nothing. Where one
    /// cannot be taken in, peers are to be asked again before the agent begins to live.
    pub async fn hear(&self, tidings: Tidings) -> Result<(), Error> {
        let (agent, last) = (tidings.agent, tidings.records.last().cloned());
        let heard = Box::pin(self.take_in(tidings)).await;
        if matches!(heard, Err(Error::Own(_) | Error::Note { .. } | Error::Host(_))) {
            let turn = self.turn(agent);
            let desk = turn.lock().await;
            // What is on the desk is kept as soon as it can be.
            if desk.news.is_none() || desk.news != last {
                self.awake.sleeps(agent);
            }
        }
        heard
    }

    async fn take_in(&self, tidings: Tidings) -> Result<(), Error> {
        if self.is_shared(tidings.agent) {
            // Whatever they say, the store has it or it is not so.
            self.store.refresh(tidings.agent).await?;
            return self.dismiss(tidings.agent).await;
        }
        let owner = match self.owner(tidings.agent) {
            Err(Error::Unknown(_)) => return Ok(()),
            owner => owner?,
        };
        for record in tidings.records {
            // What is known was checked when it came; most of what is told is.
            let known = self.known(tidings.agent, false)?;
            if record.phase.agent() != tidings.agent || known.records().any(|known| *known == record) {
                continue;
            }
            record.check(&owner)?;
            match Box::pin(self.happen(tidings.agent, Event::Heard(record))).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Finishes what a crash interrupted, and asks the peers. An agent that is this node's is not started: that is for
    /// [`Event::Timer`] or [`Steward::claim`], after [`Steward::waited`]. Where it fails, it is to be tried again.
    pub async fn wake(&self, agent: AgentId) -> Result<Status, Error> {
        if self.is_shared(agent) {
            // The store knows what peers could say.
            self.store.refresh(agent).await?;
            if !self.is_settled(agent)? {
                self.host.unsettled(agent);
            }
            return self.status(agent);
        }
        // Before they are: what comes back at once and cannot be taken in counts.
        self.awake.asked(agent);
        let woken = async {
            self.leave_buried_now(agent).await?;
            self.happen(agent, Event::Restarted).await?;
            self.status(agent)
        };
        woken.await.inspect_err(|_| self.awake.sleeps(agent))
    }

    /// Peers had the time to answer what they were asked when the agent was woken: it may live from now on. Changes nothing
    /// for one that was not woken, or of which they said what could not be taken in.
    pub fn waited(&self, agent: AgentId) {
        self.awake.waited(agent);
    }

    /// Whether an agent that is this node's may begin to live, as far as that depends on what peers know.
    pub fn is_awake(&self, agent: AgentId) -> bool {
        self.awake.has(agent) || self.is_shared(agent)
    }

    pub(super) fn must_be_awake(&self, agent: AgentId) -> Result<(), Error> {
        if self.is_awake(agent) { Ok(()) } else { Err(Error::Asleep(agent)) }
    }

    /// The right to run an agent, for a life that the node begins by itself.
    pub async fn claim(&self, agent: AgentId) -> Result<Lease, Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        self.keep_news(&mut desk, agent).await?;
        self.may_write(&desk, agent)?;
        self.must_be_awake(agent)?;
        self.store.settle().await?;
        if self.is_shared(agent) {
            self.fence_own(agent).await?;
            if !self.still_has(agent)? {
                return Err(Refusal::NotCustodian.into());
            }
        }
        Ok(desk.lease())
    }

    /// The right to begin an agent, which has no journal here yet.
    pub async fn claim_new(&self, genesis: &GenesisBody) -> Result<Lease, Error> {
        let agent = genesis.agent_id();
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        let known = self.known(agent, desk.is_leased())?;
        may_begin(self.me(), self.world.wall_clock(), genesis, &known.memory)?;
        if known.running || known.held.is_some() {
            return Err(Error::Leased(agent));
        }
        self.awake.rises(agent);
        Ok(desk.lease())
    }

    /// Commits an owner's order to the journal of an agent that has no life now. Returns its position.
    pub async fn order(&self, order: Order) -> Result<Seq, Error> {
        let agent = order.body.agent;
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        self.keep_news(&mut desk, agent).await?;
        self.may_write(&desk, agent)?;
        self.store.settle().await?;
        if self.is_shared(agent) {
            // What is refused is refused before: each fence stays in the journal.
            self.store.refresh(agent).await?;
            self.sealed(agent, &order)?;
            self.fence_own(agent).await?;
        }
        let (seq, commit) = self.sealed(agent, &order)?;
        self.store.append(commit).await?;
        Ok(seq)
    }

    /// An order at the end of what is here of a journal, under a seal, and its place.
    fn sealed(&self, agent: AgentId, order: &Order) -> Result<(Seq, Commit), Error> {
        let mut book = self.book(agent)?.ok_or(Error::Unknown(agent))?;
        book.append_own();
        let at = self.world.wall_clock().max(book.ledger().at);
        let mut draft = book.draft();
        let entry = Entry { at, body: Body::Order(order.clone()) };
        let (seq, _) = book.push(&mut draft, entry).map_err(Error::Order)?;
        book.push_seal(&mut draft, &self.key, at)?;
        Ok((seq, book.commit(draft)?))
    }

    /// Whether this node may write to the journal of an agent, and nobody else does now.
    fn may_write(&self, desk: &Desk, agent: AgentId) -> Result<(), Error> {
        match self.known(agent, desk.is_leased())?.status(self.me()) {
            Status::Custodian if desk.is_leased() || self.freezing.has(agent) => Err(Error::Leased(agent)),
            Status::Custodian => Ok(()),
            Status::Suspended(doubt) => Err(Refusal::Doubt(doubt).into()),
            Status::Absent | Status::Unfinished | Status::Given(_) | Status::Undecided | Status::Elsewhere => {
                Err(Refusal::NotCustodian.into())
            }
        }
    }

    /// Carries out what an event leads to. Returns the nodes that the journal is to be sent to.
    pub async fn happen(&self, agent: AgentId, event: Event) -> Result<Vec<NodeId>, Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        self.happen_at(&mut desk, agent, event).await
    }

    /// As [`Steward::happen`], in the agent's turn.
    pub(super) async fn happen_at(&self, desk: &mut Desk, agent: AgentId, event: Event) -> Result<Vec<NodeId>, Error> {
        let happened = match self.keep_news(desk, agent).await {
            Ok(()) => self.carry_out(desk, agent, event).await,
            Err(error) => Err(error),
        };
        let settled = match &happened {
            Ok(_) | Err(Error::Refused(_)) => self.is_settled(agent).unwrap_or(false),
            Err(_) => false,
        };
        if !settled {
            self.host.unsettled(agent);
        }
        happened
    }

    /// Whether nothing is left to be done about the custody of an agent.
    pub(super) fn is_settled(&self, agent: AgentId) -> Result<bool, Error> {
        Ok(!matches!(self.status(agent)?, Status::Unfinished | Status::Given(_)))
    }

    /// Keeps what ended the agent's life here, if it could not be kept when it was heard: without it the journal still
    /// says that this node has custody.
    async fn keep_news(&self, desk: &mut Desk, agent: AgentId) -> Result<(), Error> {
        let Some(record) = desk.news.clone() else { return Ok(()) };
        match self.carry_out(desk, agent, Event::Heard(record)).await {
            Ok(_) | Err(Error::Refused(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// As [`Steward::keep_news`], in a turn of its own.
    pub(super) async fn keep_news_now(&self, agent: AgentId) -> Result<(), Error> {
        let turn = self.turn(agent);
        let mut desk = turn.lock().await;
        self.keep_news(&mut desk, agent).await
    }

    async fn carry_out(&self, desk: &mut Desk, agent: AgentId, event: Event) -> Result<Vec<NodeId>, Error> {
        // Until it is done: whoever waits for this may go away in the middle.
        if let Event::Heard(record) = &event {
            desk.news = Some(record.clone());
        }
        let done = Box::pin(self.act(desk, agent, event)).await;
        if matches!(done, Ok(_) | Err(Error::Refused(_))) {
            desk.news = None;
        }
        done
    }

    async fn act(&self, desk: &mut Desk, agent: AgentId, event: Event) -> Result<Vec<NodeId>, Error> {
        // What comes with its right to be here, whatever peers know.
        let is_news = matches!(event, Event::Arrived { .. } | Event::Ordered(_));
        let shared = self.is_shared(agent);
        let step = |known: &Known, event| step_by(self.rules, self.me(), self.world.wall_clock(), known, event);
        let mut known = self.known(agent, desk.is_leased())?;
        let mut actions = step(&known, event.clone())?;
        if actions.contains(&Action::Stop) {
            // What the life that ends here has written, or asked for, is part of what is decided on.
            desk.take_back().await;
            self.store.settle().await?;
            known = self.known(agent, false)?;
            actions = match step(&known, event) {
                // Nothing speaks against the life any more.
                Err(_) if known.status(self.me()) == Status::Custodian => vec![Action::Start],
                stepped => stepped?,
            };
        }
        let mut memory = known.memory;
        let mut transfers = Vec::new();
        let mut actions = actions.into_iter().peekable();
        while let Some(action) = actions.next() {
            match action {
                // Done before, so that the step knows the journal as it stays. What arrived was appended as it was
                // verified: the journal that is here is that one already.
                Action::Stop | Action::Adopt => {}
                // No life begins while the agent is about to go; what is returned is not about to go any more.
                Action::Start if desk.is_leased() || self.freezing.has(agent) => {}
                // Its accept or its takeover is durable.
                Action::Start if is_news => {
                    self.awake.rises(agent);
                    self.start(desk, agent)?;
                }
                Action::Start if shared => {
                    self.fence_own(agent).await?;
                    self.start(desk, agent)?;
                }
                // The host wakes it first.
                Action::Start if !self.is_awake(agent) => self.host.unsettled(agent),
                Action::Start => drop(self.start(desk, agent)?),
                // What is not in the store has no weight: nothing is kept of it here.
                Action::Keep(phase) if shared => {
                    if actions.next_if_eq(&Action::Append).is_some() {
                        self.append(agent, phase.sign(&self.key), None).await?;
                    }
                }
                Action::Keep(phase) => {
                    let record = phase.sign(&self.key);
                    memory.keep(record.clone());
                    let note = Note::new(self.owner(agent)?, memory.clone());
                    // What is appended next is durable with it: of two steps a crash may leave the first, of one none.
                    if actions.next_if_eq(&Action::Append).is_some() {
                        self.append(agent, record, Some(note)).await?;
                    } else {
                        self.keep(agent, &note).await?;
                    }
                }
                Action::Append => {
                    let record = memory.signed.clone().ok_or(Error::Unknown(agent))?;
                    self.append(agent, record, None).await?;
                }
                Action::Bury(record) => {
                    memory.elsewhere = Some(record.clone());
                    self.remember(agent, memory.clone()).await?;
                    // What comes in is written on the end of the journal that is here: that is left when it is over.
                    if let Some(_nothing_comes) = self.coming.begin(agent) {
                        self.leave_branch(agent, &record).await?;
                    }
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

    pub(super) fn turn(&self, agent: AgentId) -> Turn {
        // No update can fail in the middle.
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= TURNS_KEPT {
            // Those that nobody has or waits for, of agents that do not run, are as good as new ones.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1 || turn.try_lock().is_ok_and(|desk| desk.is_needed()));
        }
        turns.entry(agent).or_default().clone()
    }

    /// Appends a record that this node signed, in a commit of its own, and keeps a note of it with that.
    pub(super) async fn append(&self, agent: AgentId, record: Custody, note: Option<Note>) -> Result<(), Error> {
        self.add(agent, note, |book, draft| book.push_custody(draft, record).map(drop)).await
    }

    /// Appends a seal where the last entry is not one, so that its writer cannot deny what is before.
    pub(super) async fn seal(&self, agent: AgentId) -> Result<(), Error> {
        if self.books.look(&*self.store, agent, Book::is_sealed)?.ok_or(Error::Unknown(agent))? {
            return Ok(());
        }
        let now = self.world.wall_clock();
        self.add(agent, None, |book, draft| {
            let at = now.max(book.ledger().at);
            book.push_seal(draft, &self.key, at).map(drop)
        })
        .await
    }

    /// Appends a commit of this node's own. The book goes on with it, so that nothing is read again.
    async fn add(
        &self,
        agent: AgentId,
        note: Option<Note>,
        push: impl FnOnce(&mut Book, &mut Draft) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let mut book = self.books.take_at_end(&*self.store, agent)?.ok_or(Error::Unknown(agent))?;
        book.append_own();
        let mut draft = book.draft();
        push(&mut book, &mut draft)?;
        let commit = book.commit(draft)?;
        book.append_foreign();
        match note {
            Some(note) => self.store.append_noting(commit, &Note::name(agent), note.encode()).await?,
            None => self.store.append(commit).await?,
        }
        self.books.put(book);
        Ok(())
    }

    /// As [`Steward::leave_buried`], unless the agent comes in now.
    pub(super) async fn leave_buried_now(&self, agent: AgentId) -> Result<(), Error> {
        match self.coming.begin(agent) {
            Some(coming) => self.leave_buried(&coming, &[]).await,
            None => Ok(()),
        }
    }

    /// Leaves a branch that is over where that could not be done when its end was heard of: the process was killed, the
    /// disk was full, or a move came in. A later tombstone may be what is remembered: then the takeover is looked for
    /// among `told`, records that were heard.
    pub(super) async fn leave_buried(&self, coming: &Coming<'_>, told: &[Custody]) -> Result<(), Error> {
        let agent = coming.agent();
        let turn = self.turn(agent);
        let _turn = turn.lock().await;
        let Some(tombstone) = self.note(agent)?.and_then(|note| note.memory.elsewhere) else { return Ok(()) };
        let known =
            |record: &&Custody| record.phase.agent() == agent && record.phase.epoch() <= tombstone.phase.epoch();
        for record in told.iter().filter(known).chain([&tombstone]) {
            self.leave_branch(agent, record).await?;
        }
        Ok(())
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
