//! Reading on: from where the disk has a journal to where the bucket has it.
//!
//! Invariants kept here:
//! - Only slots that count are written to the disk, each with the note that says so, and only after the blobs that a
//!   successor needs of it.
//! - Nothing is concluded from a slot, there or not, before the next bundle was asked for: where one was collected another
//!   may stand by now, put there by who had slept through that.
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

/// Slots that are read before it is asked whether they were collected meanwhile.
const AHEAD_SLOTS: usize = 64;
/// Bytes of them, but for the last.
const AHEAD_BYTES: usize = 8 << 20;

/// A journal after one more slot.
struct Next {
    /// What the slot adds, if it counts.
    commit: Option<Commit>,
    place: Place,
    at: Option<(OwnerId, Held)>,
}

/// A journal while it is read.
struct Reading<'a, D, B> {
    log: &'a Log,
    wing: &'a Wing<B>,
    disk: &'a D,
    agent: AgentId,
    /// Whose it is, and its end on the disk; nothing before its first slot.
    at: Option<(OwnerId, Held)>,
    place: Place,
    /// What the last checkpoint names, which is fetched once it is clear that it is the last.
    state: Vec<blobs::Named>,
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
                Reading { log: self, wing, disk, agent, at: Some((owner, held)), place, state: Vec::new() }
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
        let mut reading = Self { log, wing, disk, agent, at: None, place, state: Vec::new() };
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
            // Whatever stands there now: it was collected.
            _ if last != end.run && (last < bundled || self.bundle().await?.is_some()) => return Ok(()),
            _ => {}
        }
        Err(Error::RolledBack { agent: self.agent, what: format!("slot {last} of its journal") })
    }

    /// Reads on until there is no more. Says whether anything was read.
    async fn to_end(&mut self) -> Result<bool, Error> {
        let (mut moved, mut missing) = (false, None);
        loop {
            let ahead = self.ahead().await?;
            // Asked for after the slots were read: if there is none, none of them was collected when it was read, so that what
            // stood there is what was put there first.
            if let Some(bundle) = self.bundle().await? {
                self.take_bundle(bundle).await?;
                // Not before: whoever reads on after a crash reads the rest of it.
                self.place.bundles = self.place.bundles.saturating_add(1);
                moved = true;
                continue;
            }
            if ahead.is_empty() {
                let Some(state) = self.state.last().copied() else { break };
                if blobs::fetch(self.wing, self.disk, self.agent, &state).await? {
                    self.state.pop();
                } else if missing == Some(state) {
                    let what = state.key(self.agent);
                    return Err(Error::RolledBack { agent: self.agent, what });
                } else {
                    // A later checkpoint may have come, so that this one is needed no more.
                    missing = Some(state);
                }
                continue;
            }
            moved = true;
            for next in ahead {
                self.keep(next).await?;
            }
        }
        Ok(moved)
    }

    /// The slots that stand next, up to the end of the run, or some of them.
    async fn ahead(&self) -> Result<Vec<Next>, Error> {
        let (mut ahead, mut bytes, mut place, mut at) = (Vec::new(), 0, self.place, self.at.clone());
        let run = place.end.run;
        while ahead.len() < AHEAD_SLOTS && bytes < AHEAD_BYTES && place.end.run == run {
            let key = keys::slot(self.agent, place.end.next.number);
            let Some(found) = self.get(&key, SLOT_BYTES_MAX).await? else { break };
            bytes += found.len();
            let next = match self.judged(&place, at.as_ref(), &found)? {
                Some(next) => next,
                None => {
                    let mut void = place;
                    void.end.next.number = place.end.next.number.next();
                    Next { commit: None, place: void, at: at.clone() }
                }
            };
            (place, at) = (next.place, next.at.clone());
            ahead.push(next);
        }
        Ok(ahead)
    }

    /// What a slot is after this place; nothing if it does not count.
    fn judged(&self, place: &Place, at: Option<&(OwnerId, Held)>, bytes: &[u8]) -> Result<Option<Next>, Error> {
        let before = at.map(|(owner, held)| (owner, held));
        let Ok((object, counts)) = judge(&place.end, before, self.log.store, bytes) else { return Ok(None) };
        if object.agent != self.agent {
            return Ok(None);
        }
        let (number, commit) = (object.number, object.commit);
        let (owner, mut held) = match at {
            Some((owner, held)) => (*owner, held.clone()),
            None => match genesis_of(&commit) {
                Some(genesis) => (genesis.body.owner, Held::before(&genesis.body)),
                None => return Ok(None),
            },
        };
        held.follow(&commit).map_err(|why| Error::NotAdmitted { agent: self.agent, why })?;
        let place = place.after(number, counts.end);
        Ok(Some(Next { commit: Some(commit), place, at: Some((owner, held)) }))
    }

    /// Writes what counts to the disk, after the blobs that it names.
    async fn keep(&mut self, next: Next) -> Result<(), Error> {
        if let Some(commit) = next.commit {
            let named = blobs::named(&commit)?;
            if named.iter().any(|named| named.is_state) {
                self.state = named.iter().filter(|named| named.is_state).copied().collect();
            }
            for named in named.into_iter().filter(|named| !named.is_state) {
                if !blobs::fetch(self.wing, self.disk, self.agent, &named).await? {
                    return Err(Error::RolledBack { agent: self.agent, what: named.key(self.agent) });
                }
            }
            let note = Note::new(self.agent, self.log.store, commit.next(), next.place);
            self.disk.append_noting(commit, &note::name(self.agent), note.encode()).await?;
        }
        (self.place, self.at) = (next.place, next.at);
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
        // Not by where this reads: what is void may have come to stand where something was collected.
        if let Some(bundle) = bundle.filter(|bundle| bundle.next <= self.place.last.next()) {
            self.place.bundled = self.place.bundled.max(bundle.next);
            return Ok(());
        }
        let Some(pack) = open(self.wing, self.agent, bundle).await? else { return Ok(()) };
        let run = self.place.end.run;
        for bytes in pack.slots() {
            let Ok(object) = Object::decode(bytes) else { break };
            if object.number <= self.place.last {
                continue;
            }
            let mut place = self.place;
            place.end.next.number = object.number;
            let Some(mut next) = self.judged(&place, self.at.as_ref(), bytes)?.filter(|next| next.place.end.run == run)
            else {
                break;
            };
            next.place.bundled = object.number.next();
            self.keep(next).await?;
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
