//! Putting the slots before a checkpoint together, and deleting them.
//!
//! Invariants kept here, beside those of [`Harvest`], which says which slots may go:
//! - A slot is deleted only after the bundle that has it is in the bucket. So who finds a slot missing finds the bundle.
//! - States are deleted only before the last checkpoint, the oldest first: so behind one that is gone there is none.
//! - Appends do not wait for it.

use super::{
    blobs,
    counted::Counted,
    keys,
    log::{Known, Log, get},
};
use crate::{
    Error, Store,
    bucket::{Bucket, Created, Failure},
};
use bytes::Bytes;
use igor_protocol::{
    AgentId, Commit, Seq,
    slot::{Bundle, Harvest, Object, Pack, Place, SLOT_BYTES_MAX},
    units::Slot,
};
use std::ops::Range;

/// Bytes of slots that one bundle has at most, but for the last slot.
const BYTES_MAX: usize = 4 << 20;

/// How often an object that is not deleted is tried again at once: for about a minute. Whatever stays harms nobody.
const DELETE_ATTEMPTS: u32 = 60;

/// What one bundle takes.
struct Plan {
    place: Place,
    due: Range<Slot>,
    harvest: Harvest,
}

/// Slots that are to go, and the number after the last.
struct Old {
    bytes: Vec<Vec<u8>>,
    next: Slot,
}

impl Log {
    /// Puts what is before the last checkpoint of this process together, as far as that is worth it.
    pub(super) async fn collect<D: Store, B: Bucket>(
        &self,
        wing: &Counted<'_, B>,
        disk: &D,
        agent: AgentId,
    ) -> Result<(), Error> {
        let _one = self.collecting.lock().await;
        let rules = wing.bucket.rules();
        loop {
            let plan = |known: &Known| {
                let due = known.harvest.due(rules, &known.place, wing.bundle_slots_min).filter(|_| known.is_own())?;
                Some(Plan { place: known.place, due, harvest: known.harvest.clone() })
            };
            let Some(Plan { place, due, harvest }) = self.look(plan).flatten() else { return Ok(()) };
            let Some(old) = gather(wing, agent, harvest.counting(&due)).await? else { return Ok(()) };
            let pack: Bytes = Pack::new(old.bytes).encode().into();
            let bundle = Bundle::sign(agent, (place.end.run, place.bundles), old.next, &pack, &wing.key);
            if !put(wing, agent, &keys::pack(agent, bundle.pack), &pack).await? {
                return Ok(()); // somebody has put something else there; nothing is deleted for it
            }
            let bundle: Bytes = bundle.encode().into();
            let is_there = put(wing, agent, &keys::bundle(agent, place.end.run, place.bundles), &bundle).await?;
            let counted = self.change(|known| {
                let is_same = (known.place.end.run, known.place.bundles) == (place.end.run, place.bundles);
                if is_same {
                    known.place.bundles = known.place.bundles.saturating_add(1);
                    if is_there {
                        known.place.bundled = old.next;
                        known.harvest.bundled(old.next);
                    }
                }
                is_same
            });
            if !is_there {
                if counted == Some(true) {
                    continue; // in the next one, then
                }
                return Ok(());
            }
            for slot in harvest.to_delete(rules, &due, old.next) {
                delete(wing, agent, &keys::slot(agent, slot)).await?;
            }
            delete_states(wing, disk, agent).await?;
        }
    }
}

/// Deletes what checkpoints before the last one name, also those of processes before.
async fn delete_states<D: Store, B: Bucket>(wing: &Counted<'_, B>, disk: &D, agent: AgentId) -> Result<(), Error> {
    let Some(end) = disk.tail(agent)?.map(|tail| tail.next) else { return Ok(()) };
    let before = |end: Seq| crate::search::last_with_checkpoint(&|from| disk.read(agent, from), end);
    let Some(newest) = before(end)? else { return Ok(()) };
    let (mut old, mut first) = (Vec::new(), newest.first());
    while let Some(commit) = before(first)?.filter(|commit| commit.first() < first) {
        let states = states(wing, agent, &commit)?;
        let mut is_there = false;
        for key in &states {
            // Of what is longer than nothing no more is read than that it is there.
            is_there |= get(wing, agent, key, 0).await?.is_some();
        }
        if !is_there {
            break;
        }
        first = commit.first();
        old.push(first);
    }
    for first in old.into_iter().rev() {
        let Some(commit) = disk.read(agent, first)?.next().transpose()? else { continue };
        for key in states(wing, agent, &commit)? {
            delete(wing, agent, &key).await?;
        }
    }
    Ok(())
}

/// The keys of what the checkpoint in a commit names.
fn states<B: Bucket>(wing: &Counted<'_, B>, agent: AgentId, commit: &Commit) -> Result<Vec<String>, Error> {
    let named = blobs::named(commit)?;
    let states = named.iter().filter(|named| named.is_state);
    Ok(states.map(|named| named.key(wing.bucket.rules(), agent)).collect())
}

/// What stands in these slots, or in the first of them, as far as one bundle takes it. Nothing where they are not as they
/// should be: then they stay.
async fn gather<B: Bucket>(
    wing: &Counted<'_, B>,
    agent: AgentId,
    slots: impl Iterator<Item = Slot>,
) -> Result<Option<Old>, Error> {
    let (mut old, mut taken) = (Old { bytes: Vec::new(), next: Slot(0) }, 0);
    for number in slots {
        if taken >= BYTES_MAX {
            break;
        }
        let found = get(wing, agent, &keys::slot(agent, number), SLOT_BYTES_MAX as u64).await?;
        let Some(bytes) = found.filter(|bytes| Object::decode(bytes).is_ok()) else { return Ok(None) };
        taken += bytes.len();
        old.bytes.push(bytes.to_vec());
        old.next = number.next();
    }
    Ok((!old.bytes.is_empty()).then_some(old))
}

/// Creates a bundle. Says whether it is there: somebody else's bytes may be.
async fn put<B: Bucket>(wing: &Counted<'_, B>, agent: AgentId, key: &str, bytes: &Bytes) -> Result<bool, Error> {
    let mut attempt = 0;
    loop {
        match wing.create(key, bytes.clone()).await {
            Ok(Created::New) => return Ok(true),
            Ok(Created::Exists) => {
                if let Some(there) = get(wing, agent, key, bytes.len() as u64).await? {
                    return Ok(there == *bytes);
                }
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(Failure::Unknown { .. }) => {
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(Error::Bucket { agent, failure }),
        }
    }
}

/// Deletes an object. What a bucket does not say is asked for again, and then left to another time.
async fn delete<B: Bucket>(wing: &Counted<'_, B>, agent: AgentId, key: &str) -> Result<(), Error> {
    let mut attempt = 0;
    loop {
        match wing.delete(key).await {
            Ok(()) => return Ok(()),
            Err(Failure::Unknown { .. }) if attempt < DELETE_ATTEMPTS => {
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(Error::Bucket { agent, failure }),
        }
    }
}
