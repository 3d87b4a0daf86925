//! Reading on: from where the disk has a journal to where the bucket has it.
//!
//! Invariants kept here, beside those of [`Reader`], which says what to ask for:
//! - Only slots that count are written to the disk, each with the note that says so, and only after the blobs that a
//!   successor needs of it; of what checkpoints name, after that of the last one, except far behind the end.
//! - What the note says was there must still be, as a slot or in a bundle.
//! - A reading that ends in the middle leaves nothing known: the disk may be further than what was known before.
//!
//! Slots are read several at once, the more the more there are; none of them outlives the question that comes after them.

use super::{
    blobs::{self, Quota},
    counted::Counted,
    keys,
    log::{Known, Log, genesis_of, get, judge, open},
    note::{self, Note, write},
};
use crate::{Error, Store, bucket::Bucket, search::last_with_checkpoint};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use igor_protocol::{
    AgentId, Body, Commit, Entry, OwnerId, Seq,
    custody::Held,
    slot::{Ask, BUNDLE_BYTES_MAX, Bundle, Judged, Object, Pack, Place, Position, Reader, SLOT_BYTES_MAX},
    units::Slot,
};
use std::sync::atomic::Ordering;

/// Slots that are read at once, at most.
const SLOTS_AT_ONCE: usize = 16;
/// Bytes that one of them has at most; a longer one is read when its turn comes.
const AHEAD_SLOT_BYTES: usize = 256 << 10;

/// Whose a journal is, and its end; nothing before its first slot.
type At = Option<(OwnerId, Held)>;

/// A journal while it is read.
struct Reading<'a, D, B> {
    log: &'a Log,
    wing: &'a Counted<'a, B>,
    disk: &'a D,
    agent: AgentId,
    quota: Quota,
    /// What the last checkpoint names, which is fetched once it is clear that it is the last.
    state: Vec<blobs::Named>,
    /// How many slots are read at once.
    at_once: usize,
    /// Where that is enough, all before this.
    until: Option<Seq>,
    doubt: Doubt<'a>,
}

/// Forgets what is known, once the disk may be further than that; unless it is learned anew.
struct Doubt<'a> {
    log: &'a Log,
    /// What was known.
    before: Option<Position>,
    is_further: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.is_further {
            self.log.forget_what_was(self.before);
        }
    }
}

impl Log {
    /// Reads on until the bucket has no more.
    pub(super) async fn refresh<D: Store, B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        disk: &D,
        agent: AgentId,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        if self.is_over() { Ok(()) } else { self.read_on(wing, disk, agent, (None, u64::MAX)).await }
    }

    /// As [`Log::refresh`], for who has the turn.
    pub(super) async fn read_on<D: Store, B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        disk: &D,
        agent: AgentId,
        (until, bytes_max): (Option<Seq>, u64),
    ) -> Result<(), Error> {
        if self.is_busy() {
            return Ok(()); // whatever stands in its way is found by the append
        }
        let rules = wing.bucket.rules();
        let known = self.look(|known| (known.place, known.is_own(), Some((known.owner, known.held.clone()))));
        let (before, is_own) =
            (known.as_ref().map(|(place, ..)| place.end.next), known.as_ref().is_some_and(|it| it.1));
        let mut reading = Reading {
            log: self,
            wing,
            disk,
            agent,
            quota: Quota::new(agent, bytes_max),
            state: Vec::new(),
            at_once: 1,
            until,
            doubt: Doubt { log: self, before, is_further: false },
        };
        let (place, at) = match known {
            Some((place, _, at)) => (place, at),
            None => reading.on_disk().await?,
        };
        let mut reader = Reader::new(rules, place, at);
        reading.read_all(&mut reader).await?;
        // Who has custody keeps it, unless somebody else went on.
        let is_news = before.is_none() || reader.has_counted() || (!is_own && reader.has_moved());
        let (place, at) = reader.kept_to();
        if let Some((owner, held)) = at.as_ref().filter(|_| is_news) {
            let learned = self.learn(before, Known::read(rules, *owner, *place, held.clone()));
            reading.doubt.is_further &= !learned;
        }
        Ok(())
    }
}

impl<D: Store, B: Bucket> Reading<'_, D, B> {
    /// Where the disk has it.
    async fn on_disk(&mut self) -> Result<(Place, At), Error> {
        let (disk, agent) = (self.disk, self.agent);
        if self.log.writing.load(Ordering::Acquire) {
            // Whoever wrote was cut off in the middle: what it had begun to write comes first.
            disk.settle().await?;
            self.log.writing.store(false, Ordering::Release);
        }
        let Some(tail) = disk.tail(agent)? else { return Ok((Place::first(self.wing.nonce), None)) };
        let note = note::read(disk, &note::name(agent))?;
        if (note.agent, note.entries, note.store) != (agent, tail.next, self.log.store) {
            let why = format!("it is about {} entries, and the journal has {}", note.entries, tail.next);
            return Err(Error::Damaged { path: format!("local/{}", note::name(agent)).into(), at: 0, why });
        }
        let place = note.place();
        let (at, last) = at_end(disk, agent, tail.next)?;
        self.must_be_there(&place).await?;
        // What an earlier reading did not come to.
        if let Some(commit) = last {
            for named in blobs::named(&commit)?.into_iter().filter(|named| named.is_state) {
                if !disk.has_blob(named.hash)? {
                    self.state.push(named);
                }
            }
        }
        Ok((place, Some(at)))
    }

    /// What was read last must be in the bucket: as a slot, or, if it was collected, in the bundle that came next.
    async fn must_be_there(&self, place: &Place) -> Result<(), Error> {
        let Place { last, bundles, end, .. } = *place;
        let found = self.get(&keys::slot(self.agent, last), SLOT_BYTES_MAX).await?;
        // Whatever stands there otherwise: it came after that was collected.
        if found.is_some_and(|bytes| Object::hash(&bytes) == end.next.prev)
            || place.may_be_collected(self.get(&keys::bundle(self.agent, end.run, bundles), 0).await?.is_some())
        {
            return Ok(());
        }
        Err(Error::RolledBack { agent: self.agent, what: format!("slot {last} of its journal") })
    }

    /// Reads on until there is no more.
    async fn read_all(&mut self, reader: &mut Reader<At, Commit>) -> Result<(), Error> {
        let mut missing = None;
        loop {
            match reader.ask() {
                Ask::Slot(_) if self.state.is_empty() && self.is_enough(reader.kept_to().1) => return Ok(()),
                Ask::Slot(first) => self.at_once = self.slots(reader, first).await?,
                Ask::Bundle(run, index) => {
                    let bundle = self.bundle((run, index), reader.kept_to().1).await?;
                    if reader.bundle(bundle.map(|bundle| bundle.map(|bundle| bundle.next)))
                        && let Some(bundle) = bundle.flatten()
                    {
                        let pack = open(self.wing, self.agent, bundle).await?;
                        let slots = pack.iter().flat_map(Pack::slots);
                        let numbered = slots.map_while(|bytes| Some((Object::decode(bytes).ok()?.number, bytes)));
                        if !reader.pack(bundle.next, numbered, |place, at, bytes| self.judged(place, at, bytes)) {
                            let what = format!("what bundle {index} of run {run} of its journal has");
                            return Err(Error::RolledBack { agent: self.agent, what });
                        }
                    }
                }
                Ask::Keep => self.keep(reader).await?,
                Ask::Nothing => {
                    let Some(state) = self.state.last().copied() else { return Ok(()) };
                    if blobs::fetch(self.wing, self.disk, self.agent, &state, &mut self.quota).await? {
                        self.state.pop();
                    } else if missing == Some(state) {
                        let what = state.key(self.wing.bucket.rules(), self.agent);
                        return Err(Error::RolledBack { agent: self.agent, what });
                    } else {
                        // A later checkpoint may have come, so that this one is needed no more.
                        missing = Some(state);
                    }
                    reader.again();
                }
            }
        }
    }

    /// Reads slots from this one on, until the reader asks for something else. Says how many to read at once from there.
    async fn slots(&self, reader: &mut Reader<At, Commit>, first: Slot) -> Result<usize, Error> {
        let (mut next, mut at_once, mut reads) = (first, self.at_once, FuturesOrdered::new());
        while let Ask::Slot(number) = reader.ask() {
            while reads.len() < at_once {
                let number = next;
                // Long ones are read when their turn comes.
                let max = if at_once == 1 { SLOT_BYTES_MAX } else { AHEAD_SLOT_BYTES };
                reads.push_back(async move { (number, self.get(&keys::slot(self.agent, number), max).await) });
                next = next.next();
            }
            let Some((_, found)) = reads.next().await.filter(|(of, _)| *of == number) else {
                // It goes on elsewhere than behind the last: what was read ahead is of no use.
                (next, reads) = (number, FuturesOrdered::new());
                continue;
            };
            let mut found: Option<Bytes> = found?;
            if found.as_ref().is_some_and(Bytes::is_empty) {
                found = self.get(&keys::slot(self.agent, number), SLOT_BYTES_MAX).await?;
            }
            at_once = if found.is_some() { (at_once * 2).min(SLOTS_AT_ONCE) } else { 1 };
            let (place, at) = reader.here();
            let found = found.map(|bytes| (bytes.len(), self.judged(place, at, &bytes)));
            reader.slot(found);
            if self.is_enough(reader.here().1) {
                reader.enough();
            }
        }
        Ok(at_once)
    }

    /// Whether a journal that ends here is all that is wanted.
    fn is_enough(&self, at: &At) -> bool {
        let end = at.as_ref().map(|(_, held)| held.chain.next);
        self.until.is_some_and(|until| end.is_some_and(|end| end >= until))
    }

    /// What a slot is after this place; nothing if it does not count.
    fn judged(&self, place: &Place, at: &At, bytes: &[u8]) -> Option<Judged<At, Commit>> {
        let before = at.as_ref().map(|(owner, held)| (owner, held));
        let (object, counts) = judge(&place.end, before, self.log.store, bytes).ok()?;
        if object.agent != self.agent {
            return None;
        }
        let owner = match at {
            Some((owner, _)) => *owner,
            None => genesis_of(&object.commit)?.body.owner,
        };
        Some(Judged { commit: object.commit, end: counts.end, at: Some((owner, counts.held)) })
    }

    /// Writes all that was read to the disk, each after the blobs that it names.
    async fn keep(&mut self, reader: &mut Reader<At, Commit>) -> Result<(), Error> {
        let all: Vec<_> = reader.ahead().map(|next| (next.commit.clone(), next.place)).collect();
        let mut ready = Vec::new();
        for (commit, place) in all {
            let Some(commit) = commit else {
                ready.push(None);
                continue;
            };
            let named = blobs::named(&commit)?;
            if named.iter().any(|named| named.is_state) {
                self.state = named.iter().filter(|named| named.is_state).copied().collect();
            }
            if named.iter().any(|named| !named.is_state) {
                // What comes with those before is counted with them.
                self.write(reader, std::mem::take(&mut ready)).await?;
            }
            self.quota.spend(commit.entries().map(|(_, _, bytes)| bytes.len() as u64).sum())?;
            self.fetch(named.into_iter().filter(|named| !named.is_state)).await?;
            let note = Note::new(self.agent, self.log.store, commit.next(), place);
            ready.push(Some((commit, note)));
        }
        if !reader.is_far_behind() {
            // Who looks at the journal here meanwhile, or after a crash, finds what its last checkpoint names; unless that is gone
            // since a later one came.
            let mut missing = Vec::new();
            for state in std::mem::take(&mut self.state) {
                if !blobs::fetch(self.wing, self.disk, self.agent, &state, &mut self.quota).await? {
                    missing.push(state);
                }
            }
            self.state = missing;
        }
        self.write(reader, ready).await
    }

    async fn write(
        &mut self,
        reader: &mut Reader<At, Commit>,
        ready: Vec<Option<(Commit, Note)>>,
    ) -> Result<(), Error> {
        self.doubt.is_further |= ready.iter().any(Option::is_some);
        let mut news = Vec::with_capacity(ready.len());
        for one in ready {
            let is_here = match &one {
                Some((commit, _)) => self.is_here(commit)?,
                None => false,
            };
            news.push(one.filter(|_| !is_here));
        }
        write(self.disk, &self.log.writing, news, || reader.kept()).await
    }

    /// Whether the disk has a commit already: an earlier reading wrote it, while an append before it was on its way.
    fn is_here(&self, commit: &Commit) -> Result<bool, Error> {
        let Some(tail) = self.disk.tail(self.agent)?.filter(|tail| tail.next >= commit.next()) else {
            return Ok(false);
        };
        if tail.next == commit.next() {
            return Ok(tail.head == commit.head());
        }
        let there = self.disk.read(self.agent, commit.first())?.next().transpose()?;
        Ok(there.is_some_and(|there| (there.next(), there.head()) == (commit.next(), commit.head())))
    }

    /// Brings blobs to the disk.
    async fn fetch(&mut self, all: impl Iterator<Item = blobs::Named>) -> Result<(), Error> {
        for named in all {
            if !blobs::fetch(self.wing, self.disk, self.agent, &named, &mut self.quota).await? {
                let what = named.key(self.wing.bucket.rules(), self.agent);
                return Err(Error::RolledBack { agent: self.agent, what });
            }
        }
        Ok(())
    }

    /// Whether there is something where a bundle of this number goes, and the bundle if it is one, of who has custody here.
    async fn bundle(&self, number: (Slot, u32), at: &At) -> Result<Option<Option<Bundle>>, Error> {
        let found = self.get(&keys::bundle(self.agent, number.0, number.1), BUNDLE_BYTES_MAX).await?;
        let wrote = at.as_ref().map(|(_, held)| held.standing.custodian);
        Ok(found.map(|bytes| Bundle::decode(&bytes, self.agent, number, wrote?)))
    }

    async fn get(&self, key: &str, max: usize) -> Result<Option<bytes::Bytes>, Error> {
        get(self.wing, self.agent, key, max as u64).await
    }
}

/// Whose a journal is that is on the disk, and its end; and the commit with its last checkpoint.
fn at_end<D: Store>(disk: &D, agent: AgentId, end: Seq) -> Result<((OwnerId, Held), Option<Commit>), Error> {
    let damaged = |why: &str| Error::Corrupt { agent, seq: Seq(0), path: "log".into(), why: why.to_owned() };
    let wrong = |why| Error::NotAdmitted { agent, why };
    let first = disk.read(agent, Seq(0))?.next().ok_or_else(|| damaged("it is empty"))??;
    let genesis = genesis_of(&first).ok_or_else(|| damaged("it does not begin with a Genesis"))?;
    let last = last_with_checkpoint(&|from| disk.read(agent, from), end)?;
    let (mut held, from) = match &last {
        None => (Held::before(&genesis.body), Seq(0)),
        Some(commit) => {
            let (mut chain, mut found) = (commit.start(), None);
            for (_, _, bytes) in commit.entries() {
                if let Ok(Entry { body: Body::Checkpoint(checkpoint), .. }) = Entry::decode(bytes) {
                    found = Some((chain, checkpoint));
                }
                chain = chain.link(bytes);
            }
            let (chain, checkpoint) = found.ok_or_else(|| damaged("its last checkpoint does not read"))?;
            let mut held = Held::before_checkpoint(&genesis.body, chain, &checkpoint);
            held.follow_from(commit, chain.next).map_err(wrong)?;
            (held, commit.next())
        }
    };
    if from < end {
        for commit in disk.read(agent, from)? {
            held.follow(&commit?).map_err(wrong)?;
        }
    }
    Ok(((genesis.body.owner, held), last))
}
