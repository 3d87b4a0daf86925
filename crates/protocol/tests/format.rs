//! One value, one byte string: round trips, refusals of every other encoding, and single-bit flips.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    AgentId, Chain, Commit, Credits, Entry, Epoch, Fuel, Hash, Manifest, Nanos, PublicKey, Seq, Signature, Terms, Tick,
    Timestamp, codec,
    commit::Error,
    entry::{
        Accept, Action, Body, Call, Content, Custody, Decline, Declined, Destination, EndCause, Failure, Given,
        Handoff, Listed, Message, MessageId, Observation, Order, OrderBody, Outcome, Phase, Place, Request, Return,
        Run, Seal, Sender, StoreKind, Takeover, Trigger,
    },
};
use proptest::{collection::vec, prelude::*};

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey)
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(r, s)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&r);
        bytes[32..].copy_from_slice(&s);
        Signature(bytes)
    })
}

/// Also small ones and those around the limits of 64 bits.
fn credits() -> impl Strategy<Value = Credits> {
    let border = (-2i8..=2).prop_map(|d| (1u128 << 64).wrapping_add_signed(d.into()));
    prop_oneof![any::<u128>(), any::<u64>().prop_map(u128::from), border, Just(0), Just(u128::MAX)]
        .prop_map(Credits::from_units)
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        vec(any::<u8>(), 0..600).prop_map(Content::Inline),
        (hash(), any::<u64>()).prop_map(|(hash, bytes)| Content::Blob { hash, bytes }),
    ]
}

fn trigger() -> impl Strategy<Value = Trigger> {
    use Trigger::{Interval, Message, MoreWork, Resumed, Wake};
    let gap = any::<u64>().prop_map(|ns| Resumed { gap: Nanos(ns) });
    prop_oneof![Just(Interval), Just(Message), Just(Wake), Just(MoreWork), gap]
}

fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        any::<u64>().prop_map(|t| Observation::Clock(Timestamp(t))),
        vec(any::<u8>(), 0..300).prop_map(Observation::Random),
        any::<i64>().prop_map(Observation::Balance),
        any::<i64>().prop_map(Observation::Price),
        any::<u32>().prop_map(Observation::ReceiptCount),
        proptest::option::of(vec(any::<u8>(), 0..40)).prop_map(|r| Observation::Receipt(r.map(Into::into))),
        any::<u64>().prop_map(|n| Observation::Message(Seq(n))),
        Just(Observation::NoMessage),
        any::<u32>().prop_map(|bytes| Observation::MessageTooLong { bytes }),
        Just(Observation::Waited),
        Just(Observation::NoRoom),
        any::<bool>().prop_map(Observation::Draining),
        vec((key(), any::<u64>(), any::<u64>()), 0..20).prop_map(|list| {
            let listed =
                |(node, price_per_ns, price_per_fuel)| Listed { node, terms: Terms { price_per_ns, price_per_fuel } };
            Observation::Nodes(list.into_iter().map(listed).collect())
        }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any::<u64>(), content()).prop_map(|(n, body)| Request::Reply { message: Seq(n), body }),
        any::<u64>().prop_map(|t| Request::WakeAt(Timestamp(t))),
        Just(Request::Finish),
        Just(Request::MigrateTo(Destination::Anywhere)),
        key().prop_map(|node| Request::MigrateTo(Destination::Node(node))),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Failure::{OutOfFuel, OutOfMemory, OutOfMoney, OverLimit, StackOverflow, Timeout, Trap};
    let failures = vec![Trap, OutOfFuel, Timeout, OutOfMemory, OutOfMoney, OverLimit, StackOverflow];
    prop_oneof![
        any::<bool>().prop_map(|more_work| Outcome::Ok { more_work }),
        (proptest::sample::select(failures), ".{0,40}").prop_map(|(failure, cause)| Outcome::failed(failure, cause)),
    ]
}

prop_compose! {
    fn run()(
        call in prop_oneof![Just(Call::Init), trigger().prop_map(Call::Tick), Just(Call::Checkpoint), Just(Call::Resume)],
        numbers in any::<[u64; 5]>(),
        observations in vec(observation(), 0..6),
        requests in vec(request(), 0..4),
        logs in vec(".{0,30}", 0..4),
        outcome in outcome(),
        cost in credits(),
        runtime in proptest::option::of("[ -~]{0,30}"),
    ) -> Run {
        let [tick, seq, fuel, duration, waited] = numbers;
        let (duration, waited) = (Nanos(duration), Nanos(waited));
        Run {
            call, tick: Tick(tick), started_seq: Seq(seq), observations, requests, logs, outcome, fuel: Fuel(fuel),
            duration, waited, cost, runtime,
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let sender = prop_oneof![
        any::<u32>().prop_map(Sender::Uid),
        ".{0,20}".prop_map(Sender::Token),
        key().prop_map(Sender::Key),
    ];
    let id = prop_oneof![
        ".{0,20}".prop_map(MessageId::Opaque),
        (".{0,20}", any::<u64>()).prop_map(|(stream, n)| MessageId::Numbered { stream, n }),
    ];
    (sender, id, content()).prop_map(|(sender, id, body)| Message { sender, id, body })
}

fn order() -> impl Strategy<Value = Order> {
    let takeover = (any::<u64>(), hash(), key(), terms()).prop_map(|(seq, base_head, custodian, terms)| {
        Action::Takeover { base_seq: Seq(seq), base_head, custodian, terms }
    });
    let action = prop_oneof![credits().prop_map(|total| Action::Fund { total }), Just(Action::Recall), takeover];
    (hash(), any::<[u64; 3]>(), action, signature()).prop_map(|(agent, [term, counter, at], action, signature)| {
        let body = OrderBody { agent: AgentId(agent), term, counter, at: Timestamp(at), action };
        Order { body, signature }
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    any::<[u64; 2]>().prop_map(|[price_per_ns, price_per_fuel]| Terms { price_per_ns, price_per_fuel })
}

fn place() -> impl Strategy<Value = Place> {
    (hash(), any::<[u64; 4]>(), hash()).prop_map(|(agent, [term, n, seq, at], prev)| Place {
        agent: AgentId(agent),
        epoch: Epoch { term, n },
        seq: Seq(seq),
        prev,
        at: Timestamp(at),
    })
}

/// Any record, whether or not it fits together.
fn custody() -> impl Strategy<Value = Custody> {
    let handoff = (place(), key(), key(), terms()).prop_map(|(place, from, to, terms)| Handoff {
        place,
        from,
        to,
        terms,
        store: StoreKind::Disk,
    });
    let given = (handoff, signature()).prop_map(|(handoff, signature)| Given { handoff, signature });
    let parts = (given, place(), any::<u64>(), signature(), key(), terms(), order(), 0..5);
    (parts, signature()).prop_map(|((given, place, at, by, custodian, terms, order, phase), signature)| {
        let decline = Decline { given, at: Timestamp(at) };
        let phase = match phase {
            0 => Phase::Handoff(given.handoff),
            1 => Phase::Accept(Accept { place, given }),
            2 => Phase::Decline(decline),
            3 => Phase::Return(Return { place, declined: Declined { decline, signature: by } }),
            _ => Phase::Takeover(Takeover { place, custodian, terms, order }),
        };
        Custody { phase, signature }
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let causes = vec![EndCause::Exhausted, EndCause::Completed, EndCause::Recalled];
    let fixed = samples::bodies().into_iter().map(|(_, body)| body).collect::<Vec<_>>();
    let body = prop_oneof![
        4 => run().prop_map(Body::Run),
        2 => message().prop_map(Body::Message),
        1 => order().prop_map(Body::Order),
        1 => custody().prop_map(Body::Custody),
        1 => signature().prop_map(|signature| Body::Seal(Seal { signature })),
        1 => proptest::sample::select(causes).prop_map(Body::End),
        1 => proptest::sample::select(fixed),
    ];
    (any::<u64>(), body).prop_map(|(at, body)| Entry { at: Timestamp(at), body })
}

proptest! {
    #[test]
    fn an_entry_comes_back_as_it_was(entry in entry()) {
        prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }

    #[test]
    fn a_commit_comes_back_as_it_was(
        agent in hash(), head in hash(), term in any::<u64>(), n in any::<u64>(), next in 0..u64::MAX - 8,
        entries in vec(entry(), 1..8),
    ) {
        let start = Chain { agent: AgentId(agent), epoch: Epoch { term, n }, next: Seq(next), head };
        let commit = Commit::new(start, &entries);
        prop_assert_eq!(Commit::decode(&commit.encode()), Ok(commit.clone()));
        let read: Vec<Entry> = commit.entries().map(|(_, _, bytes)| Entry::decode(bytes).unwrap()).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn an_order_comes_back_as_it_was(order in order()) {
        prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
    }

    #[test]
    fn a_record_of_custody_comes_back_as_it_was(record in custody()) {
        prop_assert_eq!(Custody::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn ids_keys_and_hashes_have_one_text(bytes in any::<[u8; 32]>()) {
        let (hash, key) = (Hash(bytes), PublicKey(bytes));
        prop_assert_eq!(hash.to_string().parse(), Ok(hash));
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        prop_assert_eq!(AgentId(hash).to_string().parse(), Ok(AgentId(hash)));
    }

    #[test]
    fn a_mistyped_id_is_refused(bytes in any::<[u8; 32]>(), at in 5usize..63, to in "[a-z0-9]") {
        let text = AgentId(Hash(bytes)).to_string();
        let mut typed = text.clone();
        typed.replace_range(at..=at, &to);
        prop_assert!(typed == text || typed.parse::<AgentId>().is_err());
    }
}

/// 52 characters hold 260 bits; the 4 that are left over must be zero, or an id would have 16 texts.
#[test]
fn an_id_with_other_padding_is_refused() {
    use bech32::{Bech32m, ByteIterExt, Fe32, Fe32IterExt, Hrp};
    let text = |last: Fe32| {
        let mut digits: Vec<Fe32> = [7u8; 32].into_iter().bytes_to_fes().collect();
        digits[51] = last;
        digits.into_iter().with_checksum::<Bech32m>(&Hrp::parse("igor").unwrap()).chars().collect::<String>()
    };
    let id = AgentId(Hash([7; 32]));
    assert_eq!([7u8; 32].into_iter().bytes_to_fes().last(), Some(Fe32::S), "7 ends in 1 and four padding bits");
    assert_eq!(text(Fe32::S).parse(), Ok(id));
    assert!(text(Fe32::_3).parse::<AgentId>().is_err());
}

/// Everything that is written in more than one way elsewhere in CBOR, tried on an End entry `[at, [8, [[0, []]]]]`.
#[test]
fn another_encoding_of_the_same_value_is_refused() {
    let entry = Entry { at: Timestamp(0), body: Body::End(EndCause::Exhausted) }.encode();
    assert_eq!(entry, [0x82, 0x00, 0x82, 0x08, 0x81, 0x00]);
    assert!(Entry::decode(&entry).is_ok());
    let others: [(&str, &[u8]); 9] = [
        ("a long integer", &[0x82, 0x18, 0x00, 0x82, 0x08, 0x81, 0x00]),
        ("a longer integer", &[0x82, 0x1b, 0, 0, 0, 0, 0, 0, 0, 0, 0x82, 0x08, 0x81, 0x00]),
        ("a long kind", &[0x82, 0x00, 0x82, 0x18, 0x08, 0x81, 0x00]),
        ("a long array length", &[0x98, 0x02, 0x00, 0x82, 0x08, 0x81, 0x00]),
        ("an array without length", &[0x9f, 0x00, 0x82, 0x08, 0x81, 0x00, 0xff]),
        ("a trailing byte", &[0x82, 0x00, 0x82, 0x08, 0x81, 0x00, 0x00]),
        ("a field more", &[0x83, 0x00, 0x82, 0x08, 0x81, 0x00, 0x00]),
        ("a field more in the body", &[0x82, 0x00, 0x82, 0x08, 0x82, 0x00, 0xf6]),
        ("a field less", &[0x81, 0x00]),
    ];
    for (what, bytes) in others {
        assert!(Entry::decode(bytes).is_err(), "{what} was taken");
    }
}

#[test]
fn another_encoding_of_an_amount_is_refused() {
    let order = |total: &[u8]| {
        let sample = samples::order(Action::Fund { total: Credits::ZERO }, 1).encode();
        let old = [0x82, 0x00, 0x81, 0x00]; // [0, [0]]: fund, total 0
        let at = sample.windows(4).position(|w| w == old).expect("the action");
        [&sample[..at], &[0x82, 0x00, 0x81], total, &sample[at + 4..]].concat()
    };
    let taken = |total: &[u8]| Order::decode(&order(total)).is_ok();
    assert!(taken(&[0x00]));
    assert!(taken(&[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "2^64 is a big number");
    assert!(!taken(&[0xc2, 0x41, 1]), "a small one is a plain integer");
    assert!(!taken(&[0xc2, 0x4a, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "no leading zero");
    assert!(!taken(&[0xc3, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "not negative");
    assert!(!taken(&[&[0xc2, 0x51][..], &[1; 17]].concat()), "not above 2^128");
    assert!(!taken(&[0x20]), "not negative");
}

#[test]
fn kinds_and_versions_of_later_programs_are_named() {
    for kind in [3u8, 9, 23] {
        let error = Entry::decode(&[0x82, 0x00, 0x82, kind, 0x81, 0x00]).unwrap_err();
        assert_eq!(error, codec::Error::Unsupported { what: "journal entry kind", number: kind.into() });
    }
    let mut commit = samples::commits()[0].1.encode();
    commit[1] = 2;
    let error = Error::Codec(codec::Error::Unsupported { what: "commit version", number: 2 });
    assert_eq!(Commit::decode(&commit), Err(error));
}

#[test]
fn a_commit_has_entries_and_not_too_many() {
    let start = Chain::begin(samples::agent());
    let wire = |count: usize| {
        let one = Commit::from_encoded(start, vec![vec![0]]).encode();
        let at = one.windows(3).position(|w| w == [0x81, 0x41, 0x00]).expect("the entries");
        let mut list = minicbor::Encoder::new(Vec::new());
        list.array(count as u64).unwrap();
        for _ in 0..count {
            list.bytes(&[0]).unwrap();
        }
        [&one[..at], &list.into_writer(), &one[at + 3..]].concat()
    };
    assert!(Commit::decode(&wire(1)).is_ok());
    assert_eq!(Commit::decode(&wire(0)), Err(Error::Count(0)));
    assert_eq!(Commit::decode(&wire(4097)), Err(Error::Count(4097)));
    assert_eq!(Commit::decode(&wire(2)), Err(Error::BrokenChain { index: 0 }), "no mark stands for the first of two");
}

/// Exhaustive: each bit of each sample. The chain of a commit covers all but the agent's id, which is checked where a
/// commit is linked to its journal; so the only flips that decode are commits of another agent.
#[test]
fn every_single_bit_flip_in_a_commit_is_detected() {
    for (name, commit) in samples::commits() {
        let bytes = commit.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Commit::decode(&flipped) {
                assert_ne!(read.agent(), commit.agent(), "commit {name}, bit {bit}: taken as of the same agent");
            }
        }
    }
}

#[test]
fn a_signature_counts_for_its_purpose_and_content_only() {
    let (owner, node) = (samples::owner().public(), samples::node().public());
    let mut genesis = samples::genesis();
    assert!(genesis.is_signed());
    std::mem::swap(&mut genesis.owner_signature, &mut genesis.host_signature);
    assert!(!genesis.is_signed(), "the signatures were exchanged");
    let mut genesis = samples::genesis();
    genesis.body.terms.price_per_ns += 1;
    assert!(!genesis.is_signed(), "the price was raised");

    let mut deployment = samples::genesis().body.deploy(&samples::owner());
    assert!(deployment.is_signed() && deployment.clone().countersign(&samples::node()) == samples::genesis());
    assert!(!deployment.clone().countersign(&samples::owner()).is_signed(), "another host signed");
    deployment.body.budget = Credits::MAX;
    assert!(!deployment.is_signed(), "the budget was raised");

    let mut order = samples::order(Action::Recall, 1);
    assert!(order.is_signed_by(&owner) && !order.is_signed_by(&node));
    order.body.counter = 2;
    assert!(!order.is_signed_by(&owner), "the counter was raised");

    let mut receipt = samples::receipt();
    assert!(receipt.is_signed_by(&node) && !receipt.is_signed_by(&owner));
    receipt.cost = Credits::ZERO;
    assert!(!receipt.is_signed_by(&node), "the cost was changed");

    let mut record = samples::custody::accept();
    assert_eq!(record.check(&owner), Ok(()));
    let Phase::Accept(accept) = &mut record.phase else { panic!("an accept") };
    accept.given.handoff.terms.price_per_ns += 1;
    assert!(record.check(&owner).is_err(), "the price was raised");

    let (agent, epoch, head) = (samples::agent(), Epoch { term: 1, n: 2 }, Hash::of_blob(b"head"));
    let seal = Seal::sign(&samples::node(), &agent, epoch, Seq(3), &head);
    assert!(seal.is_signed_by(&node, &agent, epoch, Seq(3), &head));
    assert!(!seal.is_signed_by(&node, &agent, Epoch { term: 2, n: 1 }, Seq(3), &head), "another epoch");
    assert!(!seal.is_signed_by(&node, &agent, epoch, Seq(4), &head), "another place");
    assert!(!seal.is_signed_by(&node, &agent, epoch, Seq(3), &Hash::ZERO), "another head");
}

#[test]
fn a_manifest_outside_its_limits_is_refused_by_name() {
    let manifest = Manifest { interval: Nanos(1), interval_min: Nanos(2), ..Manifest::default() };
    let error = Manifest::decode(&manifest.encode()).unwrap_err();
    assert_eq!(error.to_string(), "the manifest's tick.interval is 1; it must be at least tick.interval_min");
    assert!(Manifest::decode(&Manifest::default().encode()).is_ok());
}
