//! One record of custody of every phase: the agent is given by its first node to another.

use super::{HOST_TERMS, START, agent, host, node, owner, shared_genesis};
use igor_protocol::{
    Chain, Epoch, Hash, Nanos, Seq, Terms, Timestamp,
    custody::{Held, Standing},
    entry::{Action, Body, Custody, Entry, GenesisBody, OrderBody, Policy, StoreKind},
};

/// The end of a journal of the sample agent after `entries` entries and this head, sealed.
pub(crate) fn held(entries: u64, head: Hash) -> Held {
    let terms = Terms { price_per_ns: 1_000_000_000, price_per_fuel: 0 };
    Held {
        chain: Chain { agent: agent(), epoch: Epoch::default(), next: Seq(entries), head },
        at: START,
        standing: Standing::first(node().public(), terms),
        sealed: true,
        ended: None,
        order_counter: 1,
        first: node().public(),
        policy: Policy::default(),
        ordered: false,
        store: StoreKind::Disk,
    }
}

/// The end of a journal in a bucket that has its Genesis only.
pub(crate) fn held_after(body: &GenesisBody, chain: Chain) -> Held {
    let standing = Standing::first(body.custodian, body.terms);
    let (store, policy) = (body.store, body.policy.clone());
    Held { chain, standing, sealed: false, order_counter: 0, store, policy, ..held(1, chain.head) }
}

/// The same journal after one more custody entry.
pub(crate) fn after(held: &Held, record: &Custody) -> Held {
    let place = record.phase.place().expect("an entry");
    let chain = place.chain().link(&Entry { at: place.at, body: Body::Custody(record.clone()) }.encode());
    Held { chain, at: place.at, standing: held.standing.after(record), sealed: true, ..held.clone() }
}

fn before() -> Held {
    held(300, Hash::of_blob(b"the head before the handoff"))
}

fn millis(n: u64) -> Timestamp {
    START.after(Nanos::from_millis(n))
}

pub(crate) fn handoff() -> Custody {
    before().handoff(host().public(), HOST_TERMS, millis(1)).unwrap().sign(&node())
}

pub(crate) fn accept() -> Custody {
    after(&before(), &handoff()).accept(millis(2)).unwrap().sign(&host())
}

pub(crate) fn decline() -> Custody {
    after(&before(), &handoff()).decline(millis(2)).unwrap().sign(&host())
}

pub(crate) fn give_back() -> Custody {
    after(&before(), &handoff()).give_back(decline().declined().unwrap(), millis(3)).unwrap().sign(&node())
}

pub(crate) fn takeover() -> Custody {
    let (base_seq, base_head) = (Seq(299), before().chain.head);
    let action = Action::Takeover { base_seq, base_head, custodian: host().public(), terms: HOST_TERMS };
    let order = OrderBody { agent: agent(), term: 0, counter: 7, at: millis(4), action }.sign(&owner());
    before().take_over(&order, millis(5)).unwrap().sign(&host())
}

pub(crate) fn fence() -> Custody {
    let body = shared_genesis().body;
    let held = Held { store: body.store, policy: body.policy, ..before() };
    held.fence(host().public(), HOST_TERMS, millis(6)).unwrap().sign(&host())
}
