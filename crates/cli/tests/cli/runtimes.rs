//! Journals of another runtime: what can be checked of them here is, and what cannot is said.

use crate::{home::Home, lives::IDLE};
use igor_protocol::{
    Body, Commit, Credits, Entry, Fuel, Hash, KeyPair, Manifest, Nanos, Seq, Terms, Tick, Timestamp,
    archive::{self, Writer},
    entry::{Call, GenesisBody, Outcome, Policy, Run, StoreKind, Trigger},
    ledger::Book,
};

const OTHER: &str = "wasmtime-1.0.0/igor-cfg-0/abi-0";
const START: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn run(book: &Book, call: Call) -> Run {
    let ledger = book.ledger();
    Run {
        call,
        tick: Tick(ledger.tick.0 + u64::from(call.is_tick())),
        started_seq: book.chain().next,
        observations: Vec::new(),
        requests: Vec::new(),
        logs: Vec::new(),
        outcome: Outcome::Ok { more_work: false },
        fuel: Fuel(10),
        duration: Nanos(100),
        waited: Nanos::ZERO,
        cost: Credits::from_units(100),
        runtime: (call == Call::Init).then(|| OTHER.to_owned()),
    }
}

/// An agent that another runtime ran for two ticks, as a file.
fn file(home: &Home) -> String {
    let (owner, node) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let program = wat::parse_str(IDLE).expect("the module is well-formed");
    let manifest = Manifest::default();
    let genesis = GenesisBody {
        owner: owner.public(),
        nonce: [7; 16],
        name: "old".to_owned(),
        program: Hash::of_blob(&program),
        manifest: manifest.hash(),
        runtime: OTHER.to_owned(),
        custodian: node.public(),
        terms: Terms { price_per_ns: 1, price_per_fuel: 0 },
        budget: "1".parse().expect("an amount"),
        issuer: owner.public(),
        policy: Policy::default(),
        expires: START.after(Nanos::from_secs(1)),
        store: StoreKind::Disk,
    };
    let blobs = [program, manifest.encode()];
    let (mut book, mut draft) = Book::begin(genesis.sign(&owner, &node), manifest, START).expect("it begins");
    let tick = Call::Tick(Trigger::Interval);
    for (second, call) in [Call::Init, tick, tick].into_iter().enumerate() {
        let (at, body) = (START.after(Nanos::from_secs(1 + second as u64)), Body::Run(run(&book, call)));
        book.push(&mut draft, Entry { at, body }).expect("it follows the rules");
    }
    book.push_seal(&mut draft, &node, book.ledger().at).expect("it is sealed");
    let commit: Commit = book.commit(draft).expect("a commit");
    let (mut writer, mut out) = Writer::begin();
    for blob in &blobs {
        out.extend(archive::parts(Hash::of_blob(blob), blob).flat_map(|part| writer.part(&part)));
    }
    out.extend(writer.commit(&commit));
    out.extend(writer.finish());
    assert_eq!(commit.next(), Seq(5));
    home.file("old.igor", out)
}

#[test]
fn what_is_not_executed_is_said_and_is_not_success() {
    let home = Home::new();
    let file = file(&home);
    assert_eq!(home.get(&["verify", &file])["runs"], 3, "by itself it is good");
    home.get(&["import", &file]);
    for what in [file.as_str(), "old"] {
        let answer = home.fails(&["verify", what, "--execute"], 1, &["not executed", "3 runs", OTHER]);
        let verdict = &answer.rows[0];
        assert_eq!((&verdict["ok"], &verdict["executed"]), (&true.into(), &0.into()), "{verdict}");
        assert_eq!(verdict["not_executed"], serde_json::json!({ "runs": 3, "runtime": OTHER }));
        assert!(verdict["first_bad"].is_null());
        let said = home.plain(&["verify", what, "--execute"]);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(text.starts_with("incomplete: ") && text.contains(&format!("NOT executed: 3 runs of runtime {OTHER}")));
        assert!(!text.contains("good") && !text.contains("executed again"), "{text}");
    }
}
