//! Reading on: from where the disk has a journal to where the bucket has it.
//!
//! Invariants kept here:
//! - Only slots that count are written to the disk, each with the note that says so, and only after the blobs that a
//!   successor needs of it.
//! - Nothing is concluded from a slot that is not there before the next bundle was asked for: it may have been collected.
//! - What the note says was there must still be, as a slot or in a bundle.

use super::{
    Wing, blobs, keys,
    log::{Known, Log, genesis_of, get, judge, open},
    note::{self, Note, Place},
};
use crate::{Error, Store, bucket::Bucket, search::last_with_checkpoint};
use igor_protocol::{
    AgentId, Body, Commit, Entry, OwnerId, Seq,
    custody::Held,
    slot::{BUNDLE_BYTES_MAX, Bundle, Object, SLOT_BYTES_MAX},
};

/// A journal while it is read.
struct Reading<'a, D, B> {
    log: &'a Log,
    wing: &'a Wing<B>,
    disk: &'a D,
    agent: AgentId,
    /// Whose it is, and its end on the disk; nothing before its first slot.
    at: Option<(OwnerId, Held)>,
    place: Place,
    /// The state of the last checkpoint, which is fetched once it is clear that it is the last.
    state: Option<blobs::Named>,
}

impl Log {
    /// Reads on until the bucket has no more.
    pub(super) async fn refresh<D: Store, B: Bucket>(
        &self,
        wing: &Wing<B>,
        disk: &D,
        agent: AgentId,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        if self.is_busy() {
            return Ok(()); // whatever stands in its way is found by the append
        }
        let before = self.look(|known| known.place.end.next);
        let mut reading = match self.look(|known| (known.owner, known.held.clone(), known.place)) {
            Some((owner, held, place)) => {
                Reading { log: self, wing, disk, agent, at: Some((owner, held)), place, state: None }
            }
            None => Reading::begin(self, wing, disk, agent).await?,
        };
        let moved = reading.to_end().await?;
        if let Some((owner, held)) = reading.at.filter(|_| moved || before.is_none()) {
            self.learn(before, Known::read(owner, reading.place, held));
        }
        Ok(())
    }
}

impl<'a, D: Store, B: Bucket> Reading<'a, D, B> {
    /// From where the disk has it.
    async fn begin(log: &'a Log, wing: &'a Wing<B>, disk: &'a D, agent: AgentId) -> Result<Self, Error> {
        let place = Place::first(wing.nonce);
        let mut reading = Self { log, wing, disk, agent, at: None, place, state: None };
        let Some(tail) = disk.tail(agent)? else { return Ok(reading) };
        let note = note::read(disk, &note::name(agent))?;
        if (note.agent, note.entries, note.store) != (agent, tail.next, log.store) {
            let why = format!("it is about {} entries, and the journal has {}", note.entries, tail.next);
            return Err(Error::Damaged { path: format!("local/{}", note::name(agent)).into(), at: 0, why });
        }
        reading.at = Some(held_at_end(disk, agent, tail.next)?);
        reading.place = note.place();
        reading.must_be_there().await?;
        Ok(reading)
    }

    /// What was read last must be in the bucket: as a slot, or, if it was collected, in the bundle that came next.
    async fn must_be_there(&self) -> Result<(), Error> {
        let Place { last, bundled, end, .. } = self.place;
        match self.get(&keys::slot(self.agent, last), SLOT_BYTES_MAX).await? {
            Some(bytes) if Object::hash(&bytes) == end.next.prev => return Ok(()),
            None if last != end.run && (last < bundled || self.bundle().await?.is_some()) => return Ok(()),
            _ => {}
        }
        Err(Error::RolledBack { agent: self.agent, what: format!("slot {last} of its journal") })
    }

    /// Reads on until there is no more. Says whether anything was read.
    async fn to_end(&mut self) -> Result<bool, Error> {
        let mut moved = false;
        loop {
            let next = self.place.end.next.number;
            if let Some(bytes) = self.get(&keys::slot(self.agent, next), SLOT_BYTES_MAX).await? {
                self.slot(&bytes).await?;
                moved = true;
            } else if let Some(bundle) = self.bundle().await? {
                self.place.bundles = self.place.bundles.saturating_add(1);
                self.take_bundle(bundle).await?;
                moved = true;
            } else {
                break;
            }
        }
        if let Some(state) = self.state.take() {
            blobs::fetch(self.wing, self.disk, self.agent, &state).await?;
        }
        Ok(moved)
    }

    /// What stands in the next slot.
    async fn slot(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.counts(bytes).await? {
            let next = &mut self.place.end.next.number;
            *next = next.next();
        }
        Ok(())
    }

    /// Takes in a slot, if it counts at the end.
    async fn counts(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let at = self.at.as_ref().map(|(owner, held)| (owner, held));
        let Ok((object, counts)) = judge(&self.place.end, at, self.log.store, bytes) else { return Ok(false) };
        if object.agent != self.agent {
            return Ok(false);
        }
        let (number, commit) = (object.number, object.commit);
        let wrong = |why| Error::NotAdmitted { agent: self.agent, why };
        let at = match self.at.take() {
            Some((owner, mut held)) => {
                held.follow(&commit).map_err(wrong)?;
                (owner, held)
            }
            None => {
                let Some(genesis) = genesis_of(&commit) else { return Ok(false) };
                let mut held = Held::before(&genesis.body);
                held.follow(&commit).map_err(wrong)?;
                (genesis.body.owner, held)
            }
        };
        self.place = self.place.after(number, counts.end);
        self.keep(commit, at).await?;
        Ok(true)
    }

    /// Writes what counts to the disk, after the blobs that it names.
    async fn keep(&mut self, commit: Commit, at: (OwnerId, Held)) -> Result<(), Error> {
        for named in blobs::named(&commit)? {
            if named.is_state {
                self.state = Some(named);
            } else {
                blobs::fetch(self.wing, self.disk, self.agent, &named).await?;
            }
        }
        let entries = at.1.chain.next;
        let note = Note::new(self.agent, self.log.store, entries, self.place);
        self.disk.append_noting(commit, &note::name(self.agent), note.encode()).await?;
        self.at = Some(at);
        Ok(())
    }

    /// Whether there is a next bundle of the run, and what it is.
    async fn bundle(&self) -> Result<Option<Option<Bundle>>, Error> {
        let (run, index) = (self.place.end.run, self.place.bundles);
        let found = self.get(&keys::bundle(self.agent, run, index), BUNDLE_BYTES_MAX).await?;
        Ok(found.map(|bytes| Bundle::decode(&bytes, self.agent, run, index)))
    }

    /// Takes in what of a bundle goes on from here. Between two slots that count there may be void ones, which are in none.
    async fn take_bundle(&mut self, bundle: Option<Bundle>) -> Result<(), Error> {
        let next = self.place.end.next.number;
        if let Some(bundle) = bundle.filter(|bundle| bundle.next <= next) {
            self.place.bundled = self.place.bundled.max(bundle.next);
            return Ok(());
        }
        let Some(pack) = open(self.wing, self.agent, bundle).await? else { return Ok(()) };
        let run = self.place.end.run;
        for bytes in pack.slots() {
            let Ok(object) = Object::decode(bytes) else { break };
            if object.number < self.place.end.next.number {
                continue;
            }
            let before = self.place.end.next.number;
            self.place.end.next.number = object.number;
            if !self.counts(bytes).await? {
                self.place.end.next.number = before;
                break;
            }
            if self.place.end.run != run {
                break;
            }
            self.place.bundled = object.number.next();
        }
        Ok(())
    }

    async fn get(&self, key: &str, max: usize) -> Result<Option<bytes::Bytes>, Error> {
        get(self.wing, self.agent, key, max as u64).await
    }
}

/// Whose a journal is that is on the disk, and its end.
fn held_at_end<D: Store>(disk: &D, agent: AgentId, end: Seq) -> Result<(OwnerId, Held), Error> {
    let damaged = |why: &str| Error::Corrupt { agent, seq: Seq(0), path: "log".into(), why: why.to_owned() };
    let wrong = |why| Error::NotAdmitted { agent, why };
    let first = disk.read(agent, Seq(0))?.next().ok_or_else(|| damaged("it is empty"))??;
    let genesis = genesis_of(&first).ok_or_else(|| damaged("it does not begin with a Genesis"))?;
    let last = last_with_checkpoint(&|from| disk.read(agent, from), end)?;
    let (mut held, from) = match last {
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
            held.follow_from(&commit, chain.next).map_err(wrong)?;
            (held, commit.next())
        }
    };
    if from < end {
        for commit in disk.read(agent, from)? {
            held.follow(&commit?).map_err(wrong)?;
        }
    }
    Ok((genesis.body.owner, held))
}
