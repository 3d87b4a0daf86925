//! What a state of the model is made of: a bucket, what is on its way there, disks, and what processes have in memory.
//!
//! Invariants kept here:
//! - Objects are told apart by what they say, and linked by the hash of that, as real ones are.
//! - Nobody in the model sees `first`, `acknowledged`, `wrong` and `left`.

use igor_protocol::{
    Hash, Slot,
    slot::{Claim, End, Harvest, Judged, Nonce, Place, Position, Reader, Rules, Writer},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher},
};

/// A node by number.
pub type NodeIx = u8;

/// What a slot adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum What {
    Genesis,
    Work,
    Checkpoint,
    /// The writer goes on, whoever had custody.
    Fence,
    /// The writer gives the agent to a node.
    Handoff(NodeIx),
    Accept,
    /// Nothing that counts anywhere.
    Garbage,
}

impl What {
    /// Whether it is a change of custody.
    pub const fn changes(self) -> bool {
        matches!(self, Self::Fence | Self::Handoff(_) | Self::Accept)
    }
}

/// What is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Load {
    /// What it is.
    pub what: What,
    /// Under which epoch.
    pub epoch: u8,
    /// How often its process gave up before: what is made later is not the same.
    pub attempt: u8,
}

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Where it goes, and what it links to.
    pub at: Position,
    /// Which process wrote it.
    pub nonce: Nonce,
    /// Of which node.
    pub writer: NodeIx,
    /// What it adds.
    pub load: Load,
}

impl Object {
    /// What the next slot links to.
    pub fn digest(&self) -> Hash {
        let (mut hasher, mut hash) = (DefaultHasher::new(), Hash::ZERO);
        self.hash(&mut hasher);
        hash.0[..8].copy_from_slice(&hasher.finish().to_be_bytes());
        hash
    }
}

/// Who has custody at the end of a journal: as [`igor_protocol::custody::Standing`], without terms and proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Who may append.
    pub custodian: NodeIx,
    /// Who was given it, and has not answered.
    pub pending: Option<NodeIx>,
    /// The epoch.
    pub epoch: u8,
}

impl Standing {
    /// After one more slot that counts.
    pub fn after(before: Option<Self>, object: &Object) -> Self {
        let Load { what, epoch, .. } = object.load;
        let custodian = before.map_or(object.writer, |before| before.custodian);
        match what {
            What::Fence | What::Accept => Self { custodian: object.writer, pending: None, epoch },
            What::Handoff(to) => Self { custodian, pending: Some(to), epoch },
            _ => Self { custodian, pending: before.and_then(|before| before.pending), epoch },
        }
    }
}

/// What is known of a journal at some place: nothing before its first slot.
pub type At = Option<Standing>;

/// What a slot is after an end, by the judgement of the protocol; nothing if it does not count. What may change custody is
/// explored elsewhere (`super::super`): here whoever is named may, once, at the place that it was made for.
pub fn judge(rules: Rules, end: &End, at: At, object: &Object) -> Option<Judged<At, Object>> {
    let changes = object.load.what.changes();
    match (at, object.load.what) {
        (None, What::Genesis) if object.at == (Position { number: Slot(0), prev: Hash::ZERO }) => {}
        (None, _) | (_, What::Genesis | What::Garbage) => return None,
        (Some(standing), _) => {
            if changes && object.at.prev != end.next.prev {
                return None;
            }
            let change = changes.then_some(object.writer);
            let claim = Claim { at: object.at, nonce: object.nonce, writer: object.writer, change };
            let custodian = standing.pending.is_none().then_some(standing.custodian);
            end.decide(rules, &claim, custodian).ok()?;
        }
    }
    let end = end.after(object.digest(), object.nonce, changes);
    Some(Judged { commit: *object, end, at: Some(Standing::after(at, object)) })
}

/// A bundle with its pack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bundle {
    /// The number after its last slot.
    pub next: Slot,
    /// Its slots.
    pub slots: Vec<Object>,
}

/// Under which key a bundle is: its run, and its number.
pub type BundleKey = (Slot, u32);

/// What a disk has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// What counts, in order.
    pub journal: Vec<Object>,
    /// The note that was written with the last of it.
    pub place: Option<Place>,
}

/// What is being collected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collecting {
    /// Where the bundle goes.
    pub key: BundleKey,
    /// The bundle.
    pub bundle: Bundle,
    /// Whether it is known to be there.
    pub is_there: bool,
    /// What is still to be deleted.
    pub deletes: VecDeque<Slot>,
}

/// A journal as far as a process read it, and what it has on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// After the last slot that was read or confirmed.
    pub place: Place,
    /// The journal there.
    pub at: At,
    /// All that is not confirmed.
    pub writer: Writer<Load, Object>,
    /// What may be collected.
    pub harvest: Harvest,
    /// Where the last change of custody was put.
    pub before: Place,
    /// Confirmed, and not on the disk yet.
    pub ready: VecDeque<(Object, Place)>,
    /// What is being collected.
    pub collecting: Option<Collecting>,
}

/// What a process has in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mind {
    /// Nothing: it reads before it does anything.
    #[default]
    Blank,
    /// A journal that it reads.
    Reading(Box<Reader<At, Object>>),
    /// A journal that it has read.
    Knows(Box<Known>),
}

/// One machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// What survives.
    pub disk: Disk,
    /// How many processes it had before this one.
    pub boots: u8,
    /// How often this process gave up.
    pub attempts: u8,
    /// What its process knows. One that sleeps does nothing for as long as it likes.
    pub mind: Mind,
}

/// What may still happen, so that the model ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Appends that change no custody.
    pub work: u8,
    /// Checkpoints.
    pub checkpoints: u8,
    /// Fences: takeovers, and processes that fence themselves.
    pub fences: u8,
    /// Handoffs.
    pub handoffs: u8,
    /// Kills.
    pub crashes: u8,
    /// Kills that take the disk with them.
    pub wipes: u8,
    /// Appends that nobody waits for any more.
    pub doubts: u8,
    /// Slots that a stranger writes.
    pub garbage: u8,
}

/// What a process found that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// What it had read is not there, and nobody rolled the bucket back.
    RolledBack,
    /// It had custody, and gave up though nobody else has it.
    LostForNothing,
}

/// A state of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The machines.
    pub nodes: Vec<Node>,
    /// What stands in the slots.
    pub slots: BTreeMap<Slot, Object>,
    /// What stood in them first.
    pub first: BTreeMap<Slot, Object>,
    /// Bundles.
    pub bundles: BTreeMap<BundleKey, Bundle>,
    /// Puts that were ever sent. Each arrives any number of times, at any time, or never.
    pub sent: BTreeSet<Object>,
    /// Bundles that were ever sent, likewise.
    pub sent_bundles: BTreeMap<BundleKey, Bundle>,
    /// Deletes that were ever sent, likewise.
    pub sent_deletes: BTreeSet<Slot>,
    /// Appends that returned.
    pub acknowledged: BTreeSet<Object>,
    /// What somebody found that must not be.
    pub wrong: Option<Wrong>,
    /// What may still happen.
    pub left: Left,
}

impl State {
    /// A node.
    pub(super) fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[usize::from(ix)]
    }

    /// A node, to change it.
    pub(super) fn node_mut(&mut self, ix: NodeIx) -> &mut Node {
        &mut self.nodes[usize::from(ix)]
    }

    /// All nodes.
    #[allow(clippy::cast_possible_truncation)] // a handful
    pub(super) fn all(&self) -> std::ops::Range<NodeIx> {
        0..self.nodes.len() as NodeIx
    }

    /// A put arrives. Says whether it created its slot.
    pub(super) fn create(&mut self, object: Object) -> bool {
        let number = object.at.number;
        if self.slots.contains_key(&number) {
            return false;
        }
        self.slots.insert(number, object);
        self.first.entry(number).or_insert(object);
        true
    }
}
