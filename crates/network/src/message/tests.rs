use super::*;
use igor_protocol::{Epoch, Hash};

fn status() -> Status {
    Status {
        prices: Terms { price_per_ns: 1_000_000, price_per_fuel: 0 },
        agents_free: 12,
        memory_free_bytes: 1 << 30,
        stored_free_bytes: 1 << 36,
        draining: false,
        version: "0.1.0".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// These bytes are on the wire of released versions: they must not change.
#[test]
fn requests_have_their_bytes() {
    let check = |request: Request, expected: &str| {
        let bytes = request.encode().expect("small enough");
        assert_eq!(hex(&bytes), expected, "{request:?}");
        assert_eq!(Request::decode(&bytes), Ok(request));
    };
    check(Request::Status, "820080");
    let agents = vec![AgentId(Hash([0xaa; 32]))];
    check(Request::Custody { agents }, &format!("820181815820{}", "aa".repeat(32)));
    check(Request::Tell { body: b"hi".to_vec() }, "820281426869");
    let beat = Beat { agent: AgentId(Hash([0xaa; 32])), epoch: Epoch { term: 1, n: 2 }, next: Seq(3) };
    check(Request::Pulse { beats: vec![beat] }, &format!("82038181835820{}82010203", "aa".repeat(32)));
}

#[test]
fn responses_have_their_bytes() {
    let check = |response: Response, expected: &str| {
        let bytes = response.encode().expect("small enough");
        assert_eq!(hex(&bytes), expected, "{response:?}");
        assert_eq!(Response::decode(&bytes), Ok(response));
    };
    check(Response::Refused { why: Why::Busy }, "82008100");
    check(Response::Status { status: status() }, "82018186821a000f4240000c1a400000001b0000001000000000f465302e312e30");
    check(Response::Custody { answered: 0, records: vec![] }, "8202820080");
    check(Response::Custody { answered: 2, records: vec![Record(vec![1])] }, "82028202814101");
    check(Response::Told { body: vec![] }, "82038140");
    let follow = |after| Follow { agent: AgentId(Hash([0xaa; 32])), next: Seq(3), after };
    let follows = vec![follow(Some(Nanos(5))), follow(None)];
    let of = format!("5820{}03", "aa".repeat(32));
    check(Response::Following { follows }, &format!("8204818283{of}0582{of}"));
}

#[test]
fn sizes_are_bounded_both_ways() {
    let largest = Request::Tell { body: vec![7; BODY_BYTES_MAX] };
    let bytes = largest.encode().expect("just fits");
    assert!(bytes.len() <= MESSAGE_BYTES_MAX);
    assert_eq!(Request::decode(&bytes), Ok(largest));
    assert!(Request::Tell { body: vec![7; BODY_BYTES_MAX + 1] }.encode().is_err());
    assert!(Response::Told { body: vec![7; BODY_BYTES_MAX + 1] }.encode().is_err());
    let records = |bytes| Response::Custody { answered: 1, records: vec![Record(vec![7; bytes])] };
    assert!(records(BODY_BYTES_MAX - RECORD_BYTES_MORE).encode().is_ok());
    assert!(records(BODY_BYTES_MAX).encode().is_err());
    let agents = |count| Request::Custody { agents: vec![AgentId(Hash([1; 32])); count] };
    assert!(agents(AGENTS_MAX).encode().is_ok());
    assert!(agents(AGENTS_MAX + 1).encode().is_err());
    let beat = Beat { agent: AgentId(Hash([1; 32])), epoch: Epoch::default(), next: Seq(0) };
    assert!(Request::Pulse { beats: vec![beat; BEATS_MAX] }.encode().is_ok());
    assert!(Request::Pulse { beats: vec![beat; BEATS_MAX + 1] }.encode().is_err());
    let wordy = Response::Status { status: Status { version: "v".repeat(65), ..status() } };
    assert!(wordy.encode().is_err());
    assert!(Response::decode(&codec::encode(&wordy)).is_err(), "written by somebody who does not check");
    assert!(matches!(Request::decode(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(codec::Error::TooLarge { .. })));
}

#[test]
fn what_is_newer_is_told_from_what_is_broken() {
    let check = |bytes: &[u8], newer: bool| {
        assert!(Request::decode(bytes).is_err());
        assert_eq!(is_newer(bytes), newer, "{bytes:x?}");
    };
    check(&[0x82, 0x04, 0x80], true);
    check(&[0x82, 0x03, 0x80], false);
    check(&[0x82, 0x18, 0x20, 0x81, 0x00], true);
    check(&[0x82, 0x02, 0x80], false);
    check(&[0x80], false);
    check(&[], false);
    check(&[0xff; 9], false);
}
