//! Valid values of every kind, the same on every run: keys from fixed seeds, times from a fixed moment.
#![allow(dead_code)] // each test binary uses its part

pub(crate) mod custody;
pub(crate) mod frames;
pub(crate) mod life;

use igor_protocol::{
    AgentId, Chain, Commit, Credits, Entry, Epoch, Fuel, Hash, KeyPair, Ledger, Manifest, Nanos, Seq, Signature, Slot,
    Terms, Tick, Timestamp,
    archive::{self, Part, Writer},
    entry::{
        Action, Body, Call, Checkpoint, CheckpointKind, Content, Destination, EndCause, Failure, Genesis, GenesisBody,
        Listed, Message, MessageId, Observation, Order, OrderBody, Outcome, Policy, Receipt, Request, Run, Seal,
        Sender, Standby, StoreId, StoreKind, Trigger,
    },
    ledger::{CheckpointRef, OpenMessage},
    limits::INLINE_BYTES_MAX,
    slot::{Nonce, Object, Position},
};

/// The runtime that all samples ran on.
pub(crate) const RUNTIME: &str = "wasmtime-48.0.8/1/abi-1";

/// 2026-01-01T00:00:00Z.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000_000_000);

pub(crate) fn owner() -> KeyPair {
    KeyPair::from_seed(&[1; 32])
}

pub(crate) fn node() -> KeyPair {
    KeyPair::from_seed(&[2; 32])
}

/// Another node, with another price.
pub(crate) fn host() -> KeyPair {
    KeyPair::from_seed(&[4; 32])
}

pub(crate) const HOST_TERMS: Terms = Terms { price_per_ns: 500_000_000, price_per_fuel: 3 };

pub(crate) fn genesis() -> Genesis {
    let body = GenesisBody {
        owner: owner().public(),
        nonce: [3; 16],
        name: "strategy".into(),
        program: Hash::of_blob(b"the program"),
        manifest: Manifest::default().hash(),
        runtime: RUNTIME.into(),
        custodian: node().public(),
        terms: Terms { price_per_ns: 1_000_000_000, price_per_fuel: 0 },
        budget: "12.5".parse().unwrap(),
        issuer: owner().public(),
        policy: Policy { custodians: vec![node().public(), host().public()], ..Policy::default() },
        expires: Timestamp(u64::MAX),
        store: StoreKind::Disk,
    };
    body.sign(&owner(), &node())
}

/// The bucket of all samples.
pub(crate) const STORE: StoreId = StoreId([5; 16]);

/// The same agent in a bucket, with the other node as standby.
pub(crate) fn shared_genesis() -> Genesis {
    let standby = Standby { nodes: vec![host().public()], any_order: false, silent_for: Some(Nanos::from_millis(700)) };
    let body = genesis().body;
    let policy = Policy { standby, ..body.policy.clone() };
    GenesisBody { store: StoreKind::Bucket(STORE), policy, ..body }.sign(&owner(), &node())
}

pub(crate) fn agent() -> AgentId {
    genesis().body.agent_id()
}

pub(crate) fn order(action: Action, counter: u64) -> Order {
    OrderBody { agent: agent(), term: 0, counter, at: START, action }.sign(&owner())
}

pub(crate) fn run(call: Call, outcome: Outcome) -> Run {
    Run {
        call,
        tick: Tick(7),
        started_seq: Seq(12),
        observations: vec![],
        requests: vec![],
        logs: vec![],
        outcome,
        fuel: Fuel(123_456),
        duration: Nanos(78_901),
        waited: Nanos::ZERO,
        cost: Credits::from_units(78_901_000_000_000),
        runtime: None,
    }
}

/// A tick that saw and asked for one of everything.
pub(crate) fn full_run() -> Run {
    Run {
        observations: vec![
            Observation::Clock(START),
            Observation::Random(vec![0xa5; 24]),
            Observation::Balance(12_500_000),
            Observation::Price(-1),
            Observation::ReceiptCount(1),
            Observation::Receipt(Some(vec![1, 2, 3].into())),
            Observation::Receipt(None),
            Observation::MessageTooLong { bytes: 300 },
            Observation::Message(Seq(11)),
            Observation::NoMessage,
            Observation::Waited,
            Observation::NoRoom,
            Observation::Draining(true),
            Observation::Nodes(vec![
                Listed { node: node().public(), terms: Terms { price_per_ns: 1, price_per_fuel: 2 } },
                Listed { node: owner().public(), terms: Terms { price_per_ns: 3_000, price_per_fuel: 0 } },
            ]),
        ],
        requests: vec![
            Request::Reply { message: Seq(11), body: Content::of(b"done") },
            Request::Reply { message: Seq(10), body: Content::of(&[7; INLINE_BYTES_MAX + 1]) },
            Request::WakeAt(Timestamp(START.0 + 60_000_000_000)),
            Request::Finish,
            Request::MigrateTo(Destination::Anywhere),
            Request::MigrateTo(Destination::Node(owner().public())),
        ],
        logs: vec!["bought 3 at 41.25".into(), String::new(), "é".into()],
        waited: Nanos::from_millis(20),
        ..run(Call::Tick(Trigger::Message), Outcome::Ok { more_work: true })
    }
}

pub(crate) fn receipt() -> Receipt {
    let unsigned = Receipt {
        agent: agent(),
        from: Tick(1),
        to: Tick(7),
        cost: Credits::from_units(552_307),
        balance: Credits::from_units(12_499_999_999_999_447_693),
        head: Hash::of_blob(b"the head before the checkpoint"),
        signature: Signature([0; 64]),
    };
    Receipt::sign(unsigned, &node())
}

/// A ledger with something in every field.
pub(crate) fn ledger() -> Ledger {
    Ledger {
        balance: Credits::from_units(12_499_999_999_999_447_693),
        funded: "12.5".parse().unwrap(),
        spent: Credits::from_units(552_307),
        order_counter: 1,
        fund_order: Some(order(Action::Fund { total: "12.5".parse().unwrap() }, 1)),
        tick: Tick(7),
        failures: 1,
        wake_at: Some(Timestamp(START.0 + 60_000_000_000)),
        more_work: true,
        ended: Some(EndCause::Exhausted),
        open: vec![OpenMessage { seq: Seq(11), bytes: 42, attempts: 1 }],
        receipts: vec![receipt()],
        receipted: Credits::from_units(552_307),
        checkpoint: Some(CheckpointRef { seq: Seq(2), tick: Tick(0), root: Hash::of_blob(b"state"), bytes: 5 }),
        runtime: Some(RUNTIME.into()),
        at: START,
        move_to: Some(Destination::Node(owner().public())),
        policy: Some(Box::new(shared_genesis().body.policy)),
        ..Ledger::default()
    }
}

pub(crate) fn checkpoint() -> Checkpoint {
    Checkpoint {
        kind: CheckpointKind::State,
        tick: Tick(7),
        root: Hash::of_blob(b"the state"),
        bytes: 9,
        ledger: ledger(),
        remembered: Content::of(&remembered()),
        receipt: receipt(),
    }
}

/// The memory of one sender with one opaque id and one stream, built by its byte table.
pub(crate) fn remembered() -> Vec<u8> {
    let mut bytes = vec![0x81, 0x81, 0x83]; // [[[sender, ids, streams]]]
    bytes.extend([0x82, 0x00, 0x81, 0x00]); // uid 0
    bytes.extend([0x81, 0x82, 0x50]); // [[digest, seq]]
    bytes.extend([0x11; 16]);
    bytes.push(0x09);
    bytes.extend([0x81, 0x83, 0x61, b's', 0x05, 0x0b]); // [["s", 5, 11]]
    bytes
}

/// One or more entries of every kind, by name.
pub(crate) fn bodies() -> Vec<(&'static str, Body)> {
    let failed = Outcome::failed(Failure::Trap, "unreachable executed");
    let init = Run { runtime: Some(RUNTIME.into()), ..run(Call::Init, Outcome::Ok { more_work: false }) };
    let resumed = Call::Tick(Trigger::Resumed { gap: Nanos::from_secs(5) });
    let message = |sender, id, body: &[u8]| Body::Message(Message { sender, id, body: Content::of(body) });
    let numbered = MessageId::Numbered { stream: "prices".into(), n: 3270 };
    let seal = Seal::sign(&node(), &agent(), Epoch::default(), Seq(3), &Hash::of_blob(b"a head"));
    vec![
        ("genesis", Body::Genesis(genesis())),
        ("genesis-shared", Body::Genesis(shared_genesis())),
        ("run-init", Body::Run(init.clone())),
        ("run-tick-everything", Body::Run(full_run())),
        ("run-tick-resumed", Body::Run(run(resumed, Outcome::Ok { more_work: false }))),
        ("run-tick-failed", Body::Run(run(Call::Tick(Trigger::Interval), failed))),
        ("run-checkpoint", Body::Run(run(Call::Checkpoint, Outcome::Ok { more_work: false }))),
        ("run-resume", Body::Run(Run { call: Call::Resume, ..init.clone() })),
        ("message-uid-opaque", message(Sender::Uid(1000), MessageId::Opaque("m-1".into()), b"report")),
        ("message-token-numbered", message(Sender::Token("ci".into()), numbered, b"2003-02-18,48.68,50.0")),
        ("message-key-blob", message(Sender::Key(owner().public()), MessageId::Opaque("big".into()), &[9; 5000])),
        ("checkpoint", Body::Checkpoint(checkpoint())),
        ("order-fund", Body::Order(order(Action::Fund { total: "36893488147419103232".parse().unwrap() }, 1))),
        ("order-recall", Body::Order(order(Action::Recall, 2))),
        ("order-policy", Body::Order(order(Action::Policy(shared_genesis().body.policy), 3))),
        ("custody-handoff", Body::Custody(custody::handoff())),
        ("custody-accept", Body::Custody(custody::accept())),
        ("custody-return", Body::Custody(custody::give_back())),
        ("custody-takeover", Body::Custody(custody::takeover())),
        ("custody-fence", Body::Custody(custody::fence())),
        ("seal", Body::Seal(seal)),
        ("end-exhausted", Body::End(EndCause::Exhausted)),
        ("end-completed", Body::End(EndCause::Completed)),
        ("end-recalled", Body::End(EndCause::Recalled)),
    ]
}

pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let at = |n: usize| Timestamp(START.0 + n as u64 * 1_000_000);
    bodies().into_iter().enumerate().map(|(n, (name, body))| (name, Entry { at: at(n), body })).collect()
}

/// Genesis alone; then a message, a run and a seal, in a later epoch so that every field counts.
pub(crate) fn commits() -> Vec<(&'static str, Commit)> {
    let all = entries();
    let named = |name: &str| &all.iter().find(|(n, _)| *n == name).expect("a sample of that name").1;
    let first = Commit::new(Chain::begin(agent()), [named("genesis")]);
    let start = Chain { epoch: Epoch { term: 1, n: 300 }, ..first.end() };
    let second = Commit::new(start, ["message-uid-opaque", "run-tick-everything", "seal"].map(named));
    vec![("first", first), ("second", second)]
}

/// The first slot of an agent in a bucket, and the one by which the standby goes on.
pub(crate) fn slots() -> Vec<(&'static str, Object)> {
    let body = shared_genesis().body;
    let agent = body.agent_id();
    let first = Commit::new(Chain::begin(agent), [&Entry { at: START, body: Body::Genesis(shared_genesis()) }]);
    let at = Position { number: Slot(0), prev: Hash::ZERO };
    let begun = Object::sign(agent, at, Nonce([6; 16]), vec![first.clone()], &node());
    let at = Position { number: Slot(1), prev: Object::hash(&begun.encode()) };
    let held = custody::held_after(&body, first.end());
    let record = held.fence(host().public(), HOST_TERMS, START).unwrap().sign(&host());
    let chain = Chain { epoch: record.phase.epoch(), ..first.end() };
    let fence = Commit::new(chain, [&Entry { at: START, body: Body::Custody(record) }]);
    let fenced = Object::sign(agent, at, Nonce([7; 16]), vec![fence], &host());
    vec![("first", begun), ("fence", fenced)]
}

/// A portable file: the manifest, the state in two parts, an empty blob, and a life.
pub(crate) fn archive() -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::begin();
    let (hash, total) = (Hash::of_blob(life::STATE), life::STATE.len() as u64);
    let (one, two) = life::STATE.split_at(3);
    bytes.extend(writer.part(&Part { hash, total, offset: 0, bytes: one.to_vec() }));
    bytes.extend(writer.part(&Part { hash, total, offset: 3, bytes: two.to_vec() }));
    for blob in [Manifest::default().encode(), vec![]] {
        for part in archive::parts(Hash::of_blob(&blob), &blob) {
            bytes.extend(writer.part(&part));
        }
    }
    for commit in life::commits() {
        bytes.extend(writer.commit(&commit));
    }
    bytes.extend(writer.finish());
    bytes
}
