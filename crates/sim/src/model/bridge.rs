//! Between the model's small records and the protocol's: what the machine sees and does is the real thing.
//!
//! Invariants kept here:
//! - A record goes over and comes back as it was.
//! - The standing at a journal's end is folded by the protocol's own [`Standing`].

use super::memo::Facts;
use super::state::{Act, Disk, Entry, Gift, Journal, Keys, NodeIx, Record, Taken};
use igor_protocol::{
    AgentId, Chain, Epoch, Hash, NodeId, PublicKey, Seq, Signature, Terms, Timestamp,
    custody::{Action, Evidence, Held, Known, Memory, Standing},
    entry::{
        self, Accept, Custody, Decline, Declined, Given, Handoff, Order, OrderBody, Phase, Place, Policy, Return,
        StoreKind, Takeover,
    },
};

/// The one agent.
const AGENT: AgentId = AgentId(Hash([0xa9; 32]));
/// Signatures are checked before the machine, so the model needs none.
const SIGNATURE: Signature = Signature([0; 64]);
/// Times do not matter to custody.
pub(super) const NOW: Timestamp = Timestamp(0);

/// A node's key.
pub(super) const fn key(node: NodeIx) -> NodeId {
    PublicKey([node; 32])
}

/// A node's price: each has its own, so that a bill shows whose it is.
pub(super) const fn price(node: NodeIx) -> u8 {
    node + 1
}

pub(super) const fn terms(node: NodeIx) -> Terms {
    Terms { price_per_ns: price(node) as u64, price_per_fuel: 0 }
}

fn ix(key: NodeId) -> NodeIx {
    key.0[0]
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("the model is bounded far below 256 entries and epochs")
}

fn hash(head: u64) -> Hash {
    let mut hash = Hash::ZERO;
    hash.0[..8].copy_from_slice(&head.to_be_bytes());
    hash
}

fn head(hash: Hash) -> u64 {
    hash.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

const fn epoch((term, n): (u8, u8)) -> Epoch {
    Epoch { term: term as u64, n: n as u64 }
}

/// The head after one more entry. Any good mixing will do: no node of the model looks for collisions.
fn link(head: u64, entry: &Entry) -> u64 {
    let words: [u64; 4] = match *entry {
        Entry::Tick(node, number, cost) => [1, u64::from(node), u64::from(number), u64::from(cost)],
        Entry::Custody(Record::Takeover(taken)) => {
            [7, taken.prev, u64::from_be_bytes([taken.counter, taken.term, taken.seq, taken.by, 0, 0, 0, 0]), 0]
        }
        Entry::Custody(record) => {
            let (kind, gift) = match record {
                Record::Handoff(gift) => (2, gift),
                Record::Accept(gift) => (3, gift),
                Record::Decline(gift) => (4, gift),
                Record::Return(gift) => (5, gift),
                Record::Takeover(_) => return head,
            };
            let small = [gift.epoch.0, gift.epoch.1, gift.seq, gift.from, gift.to, 0, 0, 0];
            [kind, gift.prev, u64::from_be_bytes(small), 0]
        }
    };
    words.into_iter().fold(head, |mixed, word| {
        let mixed = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
    })
}

fn given(gift: Gift) -> Given {
    let place =
        Place { agent: AGENT, epoch: epoch(gift.epoch), seq: Seq(gift.seq.into()), prev: hash(gift.prev), at: NOW };
    let (from, to) = (key(gift.from), key(gift.to));
    let handoff = Handoff { place, from, to, terms: terms(gift.to), store: StoreKind::Disk };
    Given { handoff, signature: SIGNATURE }
}

/// The place after a handoff, in this epoch.
fn after(gift: Gift, epoch: Epoch) -> Place {
    let prev = hash(link(gift.prev, &Entry::Custody(Record::Handoff(gift))));
    Place { agent: AGENT, epoch, seq: Seq(u64::from(gift.seq) + 1), prev, at: NOW }
}

pub(super) fn order(taken: Taken) -> Order {
    let action = entry::Action::Takeover {
        base_seq: Seq(u64::from(taken.seq) - 1),
        base_head: hash(taken.prev),
        custodian: key(taken.by),
        terms: terms(taken.by),
    };
    let (term, counter) = (taken.term.into(), taken.counter.into());
    Order { body: OrderBody { agent: AGENT, term, counter, at: NOW, action }, signature: SIGNATURE }
}

pub(super) fn real(record: Record) -> Custody {
    let decline = |gift| Decline { given: given(gift), at: NOW };
    let phase = match record {
        Record::Handoff(gift) => Phase::Handoff(given(gift).handoff),
        Record::Accept(gift) => Phase::Accept(Accept { place: after(gift, epoch(gift.epoch)), given: given(gift) }),
        Record::Decline(gift) => Phase::Decline(decline(gift)),
        Record::Return(gift) => Phase::Return(Return {
            place: after(gift, epoch((gift.epoch.0, gift.epoch.1 + 1))),
            declined: Declined { decline: decline(gift), signature: SIGNATURE },
        }),
        Record::Takeover(taken) => {
            let (epoch, seq) = (epoch((taken.counter, 0)), Seq(taken.seq.into()));
            let place = Place { agent: AGENT, epoch, seq, prev: hash(taken.prev), at: NOW };
            let (custodian, terms) = (key(taken.by), terms(taken.by));
            Phase::Takeover(Takeover { place, custodian, terms, order: order(taken) })
        }
    };
    Custody { phase, signature: SIGNATURE }
}

/// The small record of what the machine made; none where no small record stands for it.
fn record(phase: &Phase) -> Option<Record> {
    let gift = |handoff: &Handoff| Gift {
        epoch: (small(handoff.place.epoch.term), small(handoff.place.epoch.n)),
        seq: small(handoff.place.seq.0),
        prev: head(handoff.place.prev),
        from: ix(handoff.from),
        to: ix(handoff.to),
    };
    let small = match phase {
        Phase::Handoff(handoff) => Record::Handoff(gift(handoff)),
        Phase::Accept(accept) => Record::Accept(gift(&accept.given.handoff)),
        Phase::Decline(decline) => Record::Decline(gift(&decline.given.handoff)),
        Phase::Return(back) => Record::Return(gift(&back.declined.decline.given.handoff)),
        Phase::Takeover(takeover) => Record::Takeover(Taken {
            counter: small(takeover.order.body.counter),
            term: small(takeover.order.body.term),
            seq: small(takeover.place.seq.0),
            prev: head(takeover.place.prev),
            by: ix(takeover.custodian),
        }),
        // Of agents on a shared store: this model is of those on disks.
        Phase::Fence(_) => return None,
    };
    (real(small).phase == *phase).then_some(small)
}

/// The end of a journal, and whether every entry was right at its place.
pub(super) fn fold(journal: &[Entry]) -> (Held, bool) {
    let mut held = Held {
        chain: Chain { agent: AGENT, epoch: Epoch::default(), next: Seq(1), head: hash(1) },
        at: NOW,
        standing: Standing::first(key(0), terms(0)),
        sealed: true,
        ended: None,
        order_counter: 0,
        first: key(0),
        policy: Policy::default(),
        ordered: false,
        store: StoreKind::Disk,
    };
    let mut right = true;
    for entry in journal {
        match *entry {
            Entry::Tick(node, _, cost) => {
                let standing = &held.standing;
                right &= standing.pending().is_none() && standing.custodian == key(node);
                right &= standing.terms.price_per_ns == u64::from(cost);
            }
            Entry::Custody(record) => {
                let custody = real(record);
                right &= held.admit(&custody.phase).is_ok();
                held.chain.epoch = custody.phase.epoch();
                held.standing = held.standing.after(&custody);
                if let Record::Takeover(taken) = record {
                    held.order_counter = taken.counter.into();
                }
            }
        }
        held.chain.head = hash(link(head(held.chain.head), entry));
        held.chain.next = held.chain.next.next();
    }
    (held, right)
}

pub(super) fn facts(journal: &[Entry]) -> Facts {
    let (held, right) = fold(journal);
    Facts {
        term: small(held.chain.epoch.term),
        end: (small(held.chain.next.0), head(held.chain.head)),
        price: small(held.standing.terms.price_per_ns),
        right,
        proofs: held.standing.proofs.iter().filter_map(|custody| record(&custody.phase)).collect(),
    }
}

fn memory(keys: &Keys) -> Memory {
    Memory {
        signed: keys.signed.map(real),
        came: keys.came.map(real),
        elsewhere: keys.elsewhere.map(real),
        evidence: keys.evidence.map(|(heard, known)| Evidence { heard: real(heard), known: known.map(real) }),
    }
}

/// What the machine is told of a node.
pub(super) fn known(disk: &Disk, running: bool) -> Known {
    let held = disk.journal.as_ref().map(|journal: &Journal| fold(journal).0);
    Known { held, memory: memory(&disk.keys), running }
}

/// What a record becomes in the keystore, by the protocol's own rule.
pub(super) fn keep(keys: &mut Keys, kept: Record) {
    let mut memory = memory(keys);
    memory.keep(real(kept));
    let small = |custody: &Option<Custody>| custody.as_ref().and_then(|custody| record(&custody.phase));
    (keys.signed, keys.came) = (small(&memory.signed), small(&memory.came));
}

/// Actions of the machine as the model's; nothing where one signs what has no small record.
pub(super) fn acts(actions: &[Action]) -> Option<Vec<Act>> {
    actions
        .iter()
        .map(|action| {
            Some(match action {
                Action::Stop => Act::Stop,
                Action::Start => Act::Start,
                Action::Adopt => Act::Adopt,
                Action::Keep(phase) => Act::Keep(record(phase)?),
                Action::Append => Act::Append,
                Action::Bury(custody) => Act::Bury(record(&custody.phase)?),
                Action::Suspend(evidence) => {
                    let known = match &evidence.known {
                        Some(known) => Some(record(&known.phase)?),
                        None => None,
                    };
                    Act::Suspend(record(&evidence.heard.phase)?, known)
                }
                Action::Transfer(to) => Act::Transfer(ix(*to)),
                Action::Tell(to) => Act::Tell(ix(*to)),
                Action::Announce => Act::Announce,
                Action::Ask => Act::Ask,
            })
        })
        .collect()
}
