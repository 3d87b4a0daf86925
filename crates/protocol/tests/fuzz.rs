//! Every property of `igor_protocol::fuzz` over its samples and seeded mutations of them.
//!
//! `IGOR_FUZZ_ITERATIONS` (default 2000) says how many, `IGOR_FUZZ_SEED` (default 1) which ones.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    Credits, Manifest,
    custody::Tidings,
    entry::Action,
    fuzz::{self, PROPERTIES},
    transfer,
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is not a number")))
}

/// Valid inputs of a property, which mutations start from.
fn samples_for(property: &str) -> Vec<Vec<u8>> {
    match property {
        "entry" => samples::entries().iter().map(|(_, entry)| entry.encode()).collect(),
        "commit" => samples::commits().iter().map(|(_, commit)| commit.encode()).collect(),
        "order" => {
            let fund = Action::Fund { total: Credits::MAX };
            [fund, Action::Recall].map(|action| samples::order(action, 1).encode()).to_vec()
        }
        "custody" => {
            let records = [samples::custody::handoff(), samples::custody::decline(), samples::custody::takeover()];
            records.map(|record| record.encode()).to_vec()
        }
        "deployment" => vec![samples::genesis().body.deploy(&samples::owner()).encode()],
        "tidings" => {
            let records = vec![samples::custody::handoff(), samples::custody::takeover()];
            vec![Tidings { agent: samples::agent(), records }.encode()]
        }
        "transfer" => samples::frames::all().iter().map(transfer::Frame::encode).collect(),
        "manifest" => vec![Manifest::default().encode()],
        "remembered" => vec![vec![0x81, 0x80], samples::remembered()],
        "archive" => vec![samples::archive()],
        "text" => [
            samples::agent().to_string(),
            samples::owner().public().to_string(),
            samples::genesis().body.program.to_string(),
            "0.000000000000000001".into(),
            Credits::MAX.to_string(),
        ]
        .map(String::into_bytes)
        .to_vec(),
        other => panic!("no samples for the property {other}"),
    }
}

#[test]
fn every_property_holds() {
    let (seed, iterations) = (number("IGOR_FUZZ_SEED", 1), number("IGOR_FUZZ_ITERATIONS", 2000));
    for (name, property) in PROPERTIES {
        fuzz::run(property, &samples_for(name), seed, iterations);
    }
}

#[test]
fn a_failing_case_is_named_by_its_bytes() {
    fn refuses_long(bytes: &[u8]) -> bool {
        assert!(bytes.len() < 4, "too long");
        true
    }
    let panic = std::panic::catch_unwind(|| fuzz::run(refuses_long, &[vec![1, 2, 3]], 7, 1000)).unwrap_err();
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.starts_with("seed=`7` case=`"), "{message}");
    assert!(message.contains("bytes=`") && message.ends_with("too long"), "{message}");
}

#[test]
#[should_panic(expected = "sample 0 is not valid")]
fn a_sample_that_is_refused_is_a_failure() {
    fuzz::run(fuzz::commit, &[vec![0x80]], 1, 0);
}
