//! One journal in a bucket: what this process knows of it, and how it appends.
//!
//! Invariants kept here:
//! - What is known is either the bucket's end, as far as anybody could tell when it was read, or nothing: whatever makes
//!   that doubtful forgets it, and it is read again.
//! - An append that nobody waits for any more, or that failed, leaves nothing known: it may still come to stand there.
//! - Confirmed commits go to the disk in their order, one writer at a time.

use super::{
    blobs,
    counted::{Counted, Counters},
    keys,
    note::{Note, write},
};
use crate::{
    Error, Store,
    bucket::{Bucket, Created, Failure},
};
use bytes::Bytes;
use igor_protocol::{
    AgentId, Commit, Entry, Hash, NodeId, OwnerId, Seq,
    custody::Held,
    entry::{Body, Genesis, StoreId, StoreKind},
    slot::{
        BUNDLE_BYTES_MAX, Bundle, Counts, End, Found, Harvest, Landed, Nonce, Object, Pack, Place, Position, Refused,
        Rule, Rules, SLOT_BYTES_MAX, Sealed, Ticket, Turn, Void, Writer,
    },
    units::Slot,
};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// As many failed attempts make as long a pause as somebody needs who reads on and takes the next slot.
const ROOM_ATTEMPTS: u32 = 3;

/// One journal.
pub(super) struct Log {
    /// The bucket that it is in.
    pub(super) store: StoreId,
    state: Mutex<State>,
    /// Something was confirmed, lost or forgotten.
    changed: Notify,
    /// Who has it reads on, or writes to the disk.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Something is being written to the disk. Whoever has the turn and finds it so knows that who had it before was cut off.
    pub(super) writing: AtomicBool,
    /// Who has it collects.
    pub(super) collecting: tokio::sync::Mutex<()>,
    /// What it asked of the bucket.
    pub(super) counters: Counters,
    /// Others may want the next slot.
    leaves_room: AtomicBool,
    /// While room is left for others, who has it puts something into a slot.
    slow: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Which knowledge this is: tickets of another count for nothing.
    generation: u64,
    known: Option<Known>,
    /// Nothing of the journal is here any more, and this is not how to come to it.
    over: bool,
}

/// A journal as far as it was read, and what is on its way there.
pub(super) struct Known {
    pub(super) owner: OwnerId,
    /// After the last slot that was read or confirmed.
    pub(super) place: Place,
    pub(super) held: Held,
    /// What this process may put together of the run that it began.
    pub(super) harvest: Harvest,
    /// With all that is on its way.
    staged: Held,
    writer: Writer<Commit, Bytes>,
    /// Confirmed, and not on the disk yet.
    ready: VecDeque<(Commit, Note)>,
}

impl Known {
    /// What was read, nothing of it by this process.
    pub(super) fn read(rules: Rules, owner: OwnerId, place: Place, held: Held) -> Self {
        let writer = Writer::new(rules, place.end.next);
        let (staged, ready) = (held.clone(), VecDeque::new());
        Self { owner, place, staged, held, harvest: Harvest::default(), writer, ready }
    }

    /// Whether nothing was appended since it was so.
    fn is_still(&self, before: Option<Position>) -> bool {
        self.writer.in_flight() == 0 && self.ready.is_empty() && before == Some(self.place.end.next)
    }

    /// Whether this process appends to it.
    pub(super) const fn is_own(&self) -> bool {
        self.writer.is_own()
    }

    fn confirm(&mut self, store: StoreId, landed: Vec<Landed<Commit>>, nonce: Nonce) -> Result<(), Error> {
        for Landed { payload: commit, from, at, next } in landed {
            if changes(&commit) || at == Slot(0) {
                self.place = self.place.after(at, End { next, nonce, run: at });
                self.harvest = Harvest::default();
            } else {
                self.place = self.place.after(at, End { next, nonce, run: self.place.end.run });
                let is_checkpoint = commit.entries().any(|(_, _, bytes)| Entry::is_checkpoint(bytes));
                self.harvest.confirmed(from, at, is_checkpoint);
            }
            let agent = commit.agent();
            self.held.follow(&commit).map_err(|why| Error::NotAdmitted { agent, why })?;
            let note = Note::new(agent, store, self.held.chain.next, self.place);
            self.ready.push_back((commit, note));
        }
        Ok(())
    }

    /// Whether a node has custody at the end, and may go on: nobody, while a handoff waits for its answer.
    fn has_custody(&self, rules: Rules, node: NodeId) -> bool {
        let standing = &self.held.standing;
        standing.custodian == node && !rules.forbid(Rule::GivenIsGiven, standing.pending().is_some())
    }
}

/// Whether a commit begins with a change of custody.
fn changes(commit: &Commit) -> bool {
    let first = commit.entries().next().and_then(|(_, _, bytes)| Entry::decode(bytes).ok());
    matches!(first, Some(Entry { body: Body::Custody(_), .. }))
}

/// Forgets what is known unless the append came to its end.
struct Pending<'a> {
    log: &'a Log,
    generation: u64,
    done: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.log.forget_if(self.generation);
        }
    }
}

impl Log {
    pub(super) fn new(store: StoreId) -> Self {
        Self {
            store,
            state: Mutex::default(),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            writing: AtomicBool::new(false),
            collecting: tokio::sync::Mutex::new(()),
            counters: Counters::default(),
            leaves_room: AtomicBool::new(false),
            slow: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether to put one slot after the other from now on, with pauses in which somebody else may come between.
    pub(super) fn leave_room(&self, leaves: bool) {
        self.leaves_room.store(leaves, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No update can fail in the middle.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known counts no more: it is read again before anything else.
    pub(super) fn forget(&self) {
        let generation = self.lock().generation;
        self.forget_if(generation);
    }

    /// Nothing of the journal is here, says who has the turn. Says whether that is so: it may begin just now.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        state.over = state.known.is_none();
        state.over
    }

    /// Whether the journal is to be come to by another one of these.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    fn forget_if(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation == generation {
            state.known = None;
            state.generation += 1;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// What was known and is no more than the disk has counts no more, unless appends have moved it on.
    pub(super) fn forget_what_was(&self, before: Option<Position>) {
        let mut state = self.lock();
        if state.known.as_ref().is_some_and(|known| known.is_still(before)) {
            state.known = None;
            state.generation += 1;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Looks at what is known.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Known) -> T) -> Option<T> {
        self.lock().known.as_ref().map(look)
    }

    /// Changes what is known, if anything is.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> Option<T> {
        self.lock().known.as_mut().map(change)
    }

    /// Whether this process has appends on their way.
    pub(super) fn is_busy(&self) -> bool {
        self.look(|known| known.writer.in_flight() > 0 || !known.ready.is_empty()).unwrap_or(false)
    }

    /// Puts what was read in place of what was known, unless that moved on meanwhile.
    /// Says whether it did.
    pub(super) fn learn(&self, before: Option<Position>, known: Known) -> bool {
        let mut state = self.lock();
        let is_same = state.known.as_ref().map_or(before.is_none(), |now| now.is_still(before));
        if is_same {
            state.known = Some(known);
            state.generation += 1;
        }
        is_same
    }

    /// An agent begins: nothing of it is anywhere.
    pub(super) fn begin<D: Store, B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        disk: &D,
        commit: &Commit,
    ) -> Result<(), Error> {
        let agent = commit.agent();
        if let Some(tail) = disk.tail(agent)? {
            return Err(Error::Conflict { agent, tail: Some(Box::new(tail)), offered: commit.first() });
        }
        let genesis = genesis_of(commit).ok_or(Error::Unknown { agent })?;
        let held = Held::before(&genesis.body);
        let mut state = self.lock();
        if state.over {
            return Err(Error::Behind { agent });
        }
        state.generation += 1;
        // Whoever begins it is the first custodian, or its slot does not count.
        let (rules, place) = (wing.bucket.rules(), Place::first(wing.nonce));
        let known = Known::read(rules, genesis.body.owner, place, held);
        state.known = Some(Known { writer: Writer::owning(rules, place.end.next), ..known });
        Ok(())
    }

    /// Asks for an append, in its place after all others. Gives also where that is, as far as is known, and who wrote before.
    fn push<B>(&self, wing: &Counted<'_, B>, commit: &Commit) -> Result<(u64, Ticket, (Place, NodeId)), Error> {
        let agent = commit.agent();
        let mut state = self.lock();
        let generation = state.generation;
        let known = state.known.as_mut().ok_or(Error::Behind { agent })?;
        let staged = &known.staged.chain;
        let conflict = || Error::Conflict { agent, tail: Some(Box::new(*staged)), offered: commit.first() };
        let changes = changes(commit);
        let may_push = known.writer.may_push(changes);
        if may_push == Err(Refused::Lost) {
            return Err(Error::Behind { agent });
        }
        if (commit.first(), commit.prev()) != (staged.next, staged.head) {
            return Err(conflict());
        }
        if commit.epoch() < staged.epoch || (commit.epoch() > staged.epoch && !changes) {
            return Err(Error::Fenced { agent, epoch: staged.epoch, offered: commit.epoch() });
        }
        // A change is decided on what is confirmed, and durable here.
        match may_push {
            Ok(()) if changes && !known.ready.is_empty() => return Err(conflict()),
            Ok(()) => {}
            Err(Refused::Busy) => return Err(conflict()),
            Err(Refused::NotOwn | Refused::Lost) => return Err(Error::Behind { agent }),
        }
        known.staged.follow(commit).map_err(|why| Error::NotAdmitted { agent, why })?;
        let pushed = known.writer.push(commit.clone(), changes, |at, commit| seal(wing, at, commit));
        let ticket = pushed.map_err(|_| Error::Behind { agent })?;
        Ok((generation, ticket, (known.place, known.held.standing.custodian)))
    }

    /// Appends, and returns once that is in the bucket and on the disk.
    pub(super) async fn append<D: Store, B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        disk: &D,
        commit: Commit,
    ) -> Result<(), Error> {
        let agent = commit.agent();
        let (generation, ticket, before) = self.push(wing, &commit)?;
        let mut pending = Pending { log: self, generation, done: false };
        let is_change = changes(&commit);
        blobs::upload(wing, disk, &commit).await?;
        self.settle(wing, agent, generation, ticket, is_change).await?;
        if is_change {
            let rules = wing.bucket.rules();
            if rules.keep(Rule::CheckAfterChange) && went_on(wing, agent, before).await? {
                return Err(Error::Behind { agent });
            }
            let mut state = self.lock();
            let is_same = state.generation == generation;
            let known = state.known.as_mut().filter(|_| is_same).ok_or(Error::Behind { agent })?;
            let own = known.has_custody(rules, wing.key.public());
            known.writer.changed(own);
        }
        self.drain(disk, generation, agent).await.map_err(|why| match why {
            Error::Full { .. } => Error::NotKept { agent, why: why.into() },
            why => why,
        })?;
        pending.done = true;
        Ok(())
    }

    /// Puts an append into its slot, and waits until it is confirmed.
    async fn settle<B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        agent: AgentId,
        generation: u64,
        ticket: Ticket,
        is_change: bool,
    ) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            // Before it is looked at: what changes afterwards wakes this.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.turn_of(agent, generation, ticket)? {
                Turn::Put(at, bytes) => match self.put(wing, &keys::slot(agent, at), bytes, is_change).await {
                    Ok(created) => self.update(
                        agent,
                        generation,
                        |known| known.writer.answered(ticket, at, created == Created::New),
                        wing,
                    )?,
                    Err(Failure::Unknown { .. }) => {
                        wing.bucket.pause(attempt).await;
                        attempt += 1;
                    }
                    Err(failure) => return Err(Error::Bucket { agent, failure }),
                },
                Turn::Read(at) => {
                    if attempt > 0 {
                        wing.bucket.pause(attempt - 1).await; // it was said to be there, and was not
                    }
                    attempt += 1;
                    let bytes = get(wing, agent, &keys::slot(agent, at), SLOT_BYTES_MAX as u64).await?;
                    self.update(
                        agent,
                        generation,
                        |known| {
                            let found = compare(known, self.store, ticket, at, bytes.as_deref());
                            known.writer.found(at, found, |at, commit| seal(wing, at, commit))
                        },
                        wing,
                    )?;
                }
                Turn::Wait => changed.await,
                Turn::Confirmed => return Ok(()),
                Turn::Lost => return Err(self.lost(agent)),
            }
        }
    }

    /// Puts something into a slot.
    async fn put<B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        key: &str,
        bytes: Bytes,
        is_change: bool,
    ) -> Result<Created, Failure> {
        if is_change || !self.leaves_room.load(Ordering::Relaxed) {
            return wing.create(key, bytes).await;
        }
        let _turn = self.slow.lock().await;
        wing.bucket.pause(ROOM_ATTEMPTS).await;
        wing.create(key, bytes).await
    }

    fn turn_of(&self, agent: AgentId, generation: u64, ticket: Ticket) -> Result<Turn<Bytes>, Error> {
        let state = self.lock();
        let known = state.known.as_ref().filter(|_| state.generation == generation);
        known.map(|known| known.writer.turn(ticket)).ok_or(Error::Behind { agent })
    }

    fn update<B>(
        &self,
        agent: AgentId,
        generation: u64,
        update: impl FnOnce(&mut Known) -> Vec<Landed<Commit>>,
        wing: &Counted<'_, B>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        if state.generation != generation {
            return Err(Error::Behind { agent });
        }
        let known = state.known.as_mut().ok_or(Error::Behind { agent })?;
        let landed = update(known);
        let confirmed = known.confirm(self.store, landed, wing.nonce);
        drop(state);
        self.changed.notify_waiters();
        confirmed
    }

    fn lost(&self, agent: AgentId) -> Error {
        let epoch = self.look(|known| known.held.chain.epoch).unwrap_or_default();
        Error::Fenced { agent, epoch: epoch.raised().unwrap_or(epoch), offered: epoch }
    }

    /// Writes what is confirmed to the disk.
    async fn drain<D: Store>(&self, disk: &D, generation: u64, agent: AgentId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        loop {
            let ready = {
                let state = self.lock();
                let known = state.known.as_ref().filter(|_| state.generation == generation);
                known.map(|known| known.ready.clone()).ok_or(Error::Behind { agent })?
            };
            if ready.is_empty() {
                return Ok(());
            }
            if self.writing.load(Ordering::Acquire) {
                disk.settle().await?;
                self.writing.store(false, Ordering::Release);
            }
            // Whoever read on meanwhile may have found some in the bucket.
            let here = disk.tail(agent)?.map_or(Seq(0), |tail| tail.next);
            let all = ready.into_iter().map(|ready| (here < ready.0.next()).then_some(ready));
            write(disk, &self.writing, all, || {
                let mut state = self.lock();
                if state.generation == generation
                    && let Some(known) = &mut state.known
                {
                    known.ready.pop_front();
                }
            })
            .await?;
        }
    }
}

/// Whether slots were collected from this place on, in the run that this node wrote: then it was not the end, and what was
/// put there is a ghost.
async fn went_on<B: Bucket>(
    wing: &Counted<'_, B>,
    agent: AgentId,
    (place, wrote): (Place, NodeId),
) -> Result<bool, Error> {
    let run = place.end.run;
    for index in place.bundles.. {
        let Some(found) = get(wing, agent, &keys::bundle(agent, run, index), BUNDLE_BYTES_MAX as u64).await? else {
            break;
        };
        if Bundle::decode(&found, agent, (run, index), wrote).is_some_and(|bundle| place.has_gone_on(bundle.next)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The slots of a bundle; nothing where they are not there.
pub(super) async fn open<B: Bucket>(
    wing: &Counted<'_, B>,
    agent: AgentId,
    bundle: Bundle,
) -> Result<Option<Pack>, Error> {
    let found = get(wing, agent, &keys::pack(agent, bundle.pack), bundle.bytes).await?;
    let found = found.filter(|bytes| Hash::of_blob(bytes) == bundle.pack);
    Ok(found.and_then(|bytes| Pack::decode(&bytes).ok()))
}

fn seal<B>(wing: &Counted<'_, B>, at: Position, commit: &Commit) -> Sealed<Bytes> {
    let bytes = Object::sign(at, wing.nonce, commit.clone(), &wing.key).encode();
    Sealed { hash: Object::hash(&bytes), object: bytes.into() }
}

/// What stands in the slot of the first append that is not confirmed.
fn compare(known: &Known, store: StoreId, ticket: Ticket, at: Slot, bytes: Option<&[u8]>) -> Found {
    let Some(bytes) = bytes else { return Found::Nothing };
    if known.writer.sent(ticket).is_some_and(|sent| sent == bytes) {
        return Found::Same;
    }
    if at == Slot(0) {
        return Found::Another; // readers look nowhere else for what a journal begins with
    }
    // The first that is not confirmed may stand further than the last that is: void slots are between them.
    let end = End { next: Position { number: at, ..known.place.end.next }, ..known.place.end };
    match judge(&end, Some((&known.owner, &known.held)), store, bytes) {
        Ok(_) => Found::Another,
        Err(_) => Found::Void,
    }
}

/// Judges what stands in the slot after `end`. Before the first one nothing is known of whose journal it is.
pub(super) fn judge(
    end: &End,
    at: Option<(&OwnerId, &Held)>,
    store: StoreId,
    bytes: &[u8],
) -> Result<(Object, Counts), Void> {
    let object = Object::decode(bytes).map_err(|e| Void::Malformed(e.to_string()))?;
    let counts = match at {
        Some((owner, held)) if end.next.number > Slot(0) => end.judge(&object, bytes, held, owner)?,
        _ => End::judge_first(&object, bytes, StoreKind::Bucket(store))?,
    };
    Ok((object, counts))
}

/// Reads an object, for as long as that takes.
pub(super) async fn get<B: Bucket>(
    wing: &Counted<'_, B>,
    agent: AgentId,
    key: &str,
    max: u64,
) -> Result<Option<Bytes>, Error> {
    let mut attempt = 0;
    loop {
        match wing.get(key, max).await {
            Ok(found) => return Ok(found),
            // Whatever it is, it is not what stands there by right.
            Err(Failure::TooLarge { .. }) => return Ok(Some(Bytes::new())),
            Err(Failure::Unknown { .. }) => {
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(Error::Bucket { agent, failure }),
        }
    }
}

/// The Genesis that a journal begins with.
pub(super) fn genesis_of(first: &Commit) -> Option<Genesis> {
    let (_, _, bytes) = first.entries().next()?;
    match Entry::decode(bytes).ok()?.body {
        Body::Genesis(genesis) => Some(genesis),
        _ => None,
    }
}
