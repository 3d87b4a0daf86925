//! Putting the slots before a checkpoint together, and deleting them.
//!
//! Invariants kept here:
//! - A slot is deleted only after the bundle that has it is in the bucket, slots of a run in their order, each before the
//!   next. So who finds a slot missing finds the bundle.
//! - Never deleted: the first slot, a slot that changes custody, and a slot that is void. As long as they stand, what
//!   somebody before still has on its way finds its slot taken.
//! - States are deleted only of the epoch that this process appends under, and only before its last checkpoint.

use super::{
    Wing, blobs, keys,
    log::{Known, Log, get},
};
use crate::{
    Error, Store,
    bucket::{Bucket, Created, Failure},
};
use bytes::Bytes;
use igor_protocol::{
    AgentId, Commit, Hash,
    slot::{Bundle, Object, PACK_SLOTS_MAX, Pack, SLOT_BYTES_MAX},
    units::Slot,
};

/// Bytes of slots that one bundle has at most, but for the last slot.
const BYTES_MAX: usize = 4 << 20;

/// One slot that is to go.
struct Old {
    number: Slot,
    prev: Hash,
    bytes: Bytes,
    commit: Commit,
}

impl Log {
    /// Puts what is before the last checkpoint of this process together, as far as that is worth it.
    pub(super) async fn collect<D: Store, B: Bucket>(
        &self,
        wing: &Wing<B>,
        disk: &D,
        agent: AgentId,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        loop {
            let plan = self.look(|known| known.checkpoint.filter(|_| known.is_own()).map(|upto| (known.place, upto)));
            let Some((place, upto)) = plan.flatten() else { return Ok(()) };
            if upto.0 < place.bundled.0.saturating_add(wing.bundle_slots_min) {
                return Ok(());
            }
            let Some((old, next)) = gather(wing, agent, place.bundled, upto).await? else { return Ok(()) };
            let pack: Bytes = Pack::new(old.iter().map(|slot| slot.bytes.to_vec()).collect()).encode().into();
            let bundle = Bundle::new(agent, place.end.run, place.bundles, next, &pack);
            if !put(wing, agent, &keys::pack(agent, bundle.pack), &pack).await? {
                return Ok(()); // somebody has put something else there; nothing is deleted for it
            }
            let bundle: Bytes = bundle.encode().into();
            let is_there = put(wing, agent, &keys::bundle(agent, place.end.run, place.bundles), &bundle).await?;
            let counted = |known: &mut Known| {
                if known.place.end.run == place.end.run && known.place.bundles == place.bundles {
                    known.place.bundles = known.place.bundles.saturating_add(1);
                    if is_there {
                        known.place.bundled = next;
                    }
                }
            };
            if !self.change(counted) || !is_there {
                continue;
            }
            for slot in &old {
                delete(wing, agent, &keys::slot(agent, slot.number)).await?;
            }
            self.delete_states(wing, disk, agent, &old).await?;
        }
    }

    /// Deletes what checkpoints in these slots name, and no later one does.
    async fn delete_states<D: Store, B: Bucket>(
        &self,
        wing: &Wing<B>,
        disk: &D,
        agent: AgentId,
        old: &[Old],
    ) -> Result<(), Error> {
        let Some(last) = self.look(|known| known.held.chain.next) else { return Ok(()) };
        let newest = crate::search::last_with_checkpoint(&|from| disk.read(agent, from), last)?;
        let Some(newest) = newest else { return Ok(()) };
        for slot in old.iter().filter(|slot| slot.commit.first() < newest.first()) {
            for named in blobs::named(&slot.commit)?.iter().filter(|named| named.is_state) {
                delete(wing, agent, &named.key(agent)).await?;
            }
        }
        Ok(())
    }
}

/// The slots that count from `from` on, up to the one before `upto`, or to where the bundle is full; and the number after
/// the last of them. Nothing where they are not as they should be: then they stay.
async fn gather<B: Bucket>(
    wing: &Wing<B>,
    agent: AgentId,
    from: Slot,
    upto: Slot,
) -> Result<Option<(Vec<Old>, Slot)>, Error> {
    let (mut all, mut bytes) = (Vec::<Old>::new(), 0);
    let mut number = from;
    while number < upto && all.len() < PACK_SLOTS_MAX && bytes < BYTES_MAX {
        let Some(found) = get(wing, agent, &keys::slot(agent, number), SLOT_BYTES_MAX as u64).await? else {
            return Ok(None);
        };
        if let Ok(object) = Object::decode(&found) {
            bytes += found.len();
            all.push(Old { number, prev: object.prev, bytes: found, commit: object.commit });
        }
        number = number.next();
    }
    // Which of them count is known from the last one on: the one after it names it, that names the one before, and so on.
    let mut after = None;
    while let Some(found) = get(wing, agent, &keys::slot(agent, number), SLOT_BYTES_MAX as u64).await? {
        if let Ok(object) = Object::decode(&found)
            && all.iter().any(|old| Object::hash(&old.bytes) == object.prev)
        {
            after = Some(object.prev);
            break;
        }
        number = number.next();
    }
    let Some(mut named) = after else { return Ok(None) };
    let mut counting = Vec::new();
    for old in all.into_iter().rev() {
        if Object::hash(&old.bytes) == named {
            named = old.prev;
            counting.push(old);
        }
    }
    counting.reverse();
    let next = counting.last().map(|old| old.number.next());
    Ok(next.map(|next| (counting, next)))
}

/// Creates a bundle. Says whether it is there: somebody else's bytes may be.
async fn put<B: Bucket>(wing: &Wing<B>, agent: AgentId, key: &str, bytes: &Bytes) -> Result<bool, Error> {
    let mut attempt = 0;
    loop {
        match wing.bucket.create(key, bytes.clone()).await {
            Ok(Created::New) => return Ok(true),
            Ok(Created::Exists) => {
                if let Some(there) = get(wing, agent, key, bytes.len() as u64).await? {
                    return Ok(there == *bytes);
                }
            }
            Err(Failure::Unknown { .. }) => {
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(Error::Bucket { agent, failure }),
        }
    }
}

/// Deletes an object, for as long as that takes.
async fn delete<B: Bucket>(wing: &Wing<B>, agent: AgentId, key: &str) -> Result<(), Error> {
    let mut attempt = 0;
    loop {
        match wing.bucket.delete(key).await {
            Ok(()) => return Ok(()),
            Err(Failure::Unknown { .. }) => {
                wing.bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(Error::Bucket { agent, failure }),
        }
    }
}
