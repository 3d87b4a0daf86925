//! A short run of each fuzz property, from samples that are valid. The same seed gives the same bytes.

use igor_network::{
    Record, Request, Response, Status, Why, fuzz,
    message::{Beat, Follow},
};
use igor_protocol::{AgentId, Epoch, Hash, Nanos, Seq, Terms, fuzz::run};

const SEED: u64 = 4;
const ITERATIONS: u64 = 20_000;

/// What each property must take as it is.
fn samples(name: &str) -> Vec<Vec<u8>> {
    let requests = [
        Request::Status,
        Request::Custody { agents: vec![AgentId(Hash([7; 32])), AgentId(Hash([8; 32]))] },
        Request::Tell { body: b"hello".to_vec() },
        Request::Pulse { beats: vec![Beat { agent: AgentId(Hash([7; 32])), epoch: Epoch::default(), next: Seq(1) }] },
    ];
    let status = Status {
        prices: Terms { price_per_ns: 1_000_000, price_per_fuel: 1 },
        agents_free: 3,
        memory_free_bytes: 1 << 33,
        stored_free_bytes: 1 << 40,
        draining: true,
        version: "0.1.0".into(),
    };
    let responses = [
        Response::Refused { why: Why::Busy },
        Response::Status { status },
        Response::Custody { answered: 0, records: vec![] },
        Response::Custody { answered: 2, records: vec![Record(vec![1, 2, 3]), Record(vec![])] },
        Response::Told { body: vec![] },
        Response::Following {
            follows: vec![Follow { agent: AgentId(Hash([7; 32])), next: Seq(1), after: Some(Nanos(9)) }],
        },
    ];
    match name {
        "request" => requests.iter().map(|request| request.encode().expect("small")).collect(),
        "response" => responses.iter().map(|response| response.encode().expect("small")).collect(),
        "seen" => vec![
            b"\x81\x80".to_vec(),
            b"\x81\x82\x4b\x04\xc0\0\x02\x01\x91\x02\x0f\xa1\xcd\x03\x48\x04\x7f\0\0\x01\x06\x0f\xa1".to_vec(),
        ],
        "frames" => vec![b"\0\0\0\0".to_vec(), b"\0\0\0\x02hi\0\0\0\x01!\0\0\0\0".to_vec()],
        other => panic!("no samples for {other}"),
    }
}

#[test]
fn every_property_holds() {
    for (name, property) in fuzz::PROPERTIES {
        let taken = run(property, &samples(name), SEED, ITERATIONS);
        println!("{name}: {taken} of {ITERATIONS} mutations were taken");
        assert!(taken > 0 && taken < ITERATIONS, "{name}: {taken} of {ITERATIONS} were taken: it tests nothing");
    }
}
