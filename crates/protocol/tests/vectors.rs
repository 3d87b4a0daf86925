//! The test vectors of the format: `vectors/v1.txt`, one `name value` a line, made from the samples and kept for ever.
//!
//! `IGOR_BLESS=1 cargo test -p igor-protocol --test vectors` writes the file; a change in a line that was released is
//! a break of the format and needs a new version, beside the old one.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{Commit, Credits, Entry, Manifest, archive, entry::Action};
use minicbor::Decoder;
use std::{collections::BTreeMap, path::PathBuf};

const HEADER: &str = "# Test vectors of the journal format 1, explained in docs/formats/journal.md. Hex if not text.\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/v1.txt")
}

/// Every vector: its name and its value as text.
fn lines() -> Vec<(String, String)> {
    let mut lines = vec![];
    let mut add = |name: String, value: String| lines.push((name, value));
    for (role, seed, key) in
        [("owner", [1u8; 32], samples::owner()), ("node", [2; 32], samples::node()), ("host", [4; 32], samples::host())]
    {
        add(format!("key/{role}/seed"), hex::encode(seed));
        add(format!("key/{role}/public"), hex::encode(key.public().0));
        add(format!("key/{role}/text"), key.public().to_string());
    }
    add("agent/bytes".into(), hex::encode(samples::agent().as_bytes()));
    add("agent/text".into(), samples::agent().to_string());
    for text in ["0", "0.000000000000000001", "18.446744073709551615", "18.446744073709551616", "12.5"] {
        let amount: Credits = text.parse().unwrap();
        add(format!("amount/{text}"), hex::encode(minicbor::to_vec(amount).unwrap()));
    }
    add(format!("amount/{}", Credits::MAX), hex::encode(minicbor::to_vec(Credits::MAX).unwrap()));
    for (name, entry) in samples::entries() {
        add(format!("entry/{name}"), hex::encode(entry.encode()));
    }
    for (name, commit) in samples::commits() {
        add(format!("commit/{name}"), hex::encode(commit.encode()));
    }
    for (name, object) in samples::slots() {
        add(format!("slot/{name}"), hex::encode(object.encode()));
    }
    let decline = hex::encode(samples::custody::decline().encode());
    add("custody/decline".into(), decline);
    add("order/recall".into(), hex::encode(samples::order(Action::Recall, 2).encode()));
    add("manifest/default".into(), hex::encode(Manifest::default().encode()));
    add("manifest/default/hash".into(), Manifest::default().hash().to_string());
    add("remembered/one-sender".into(), hex::encode(samples::remembered()));
    add("file/life".into(), hex::encode(samples::archive()));
    lines
}

fn stored() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path()).expect("vectors/v1.txt; IGOR_BLESS=1 writes it");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').map(|(n, v)| (n.into(), v.into())).expect("name value")).collect()
}

#[test]
fn the_vectors_are_what_this_code_writes() {
    let written = lines().iter().fold(HEADER.to_string(), |text, (name, value)| format!("{text}{name} {value}\n"));
    if std::env::var_os("IGOR_BLESS").is_some() {
        std::fs::write(path(), &written).unwrap();
    }
    let stored = stored();
    for (name, value) in lines() {
        assert_eq!(stored.get(&name), Some(&value), "{name}");
    }
    assert_eq!(std::fs::read_to_string(path()).unwrap(), written, "vectors that no sample makes");
}

// What follows uses the file alone, by the rules in docs/formats/journal.md, and none of this crate's code.

fn bytes(name: &str) -> Vec<u8> {
    hex::decode(&stored()[name]).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The bytes of the item that `path` leads to through nested arrays.
fn item<'a>(bytes: &'a [u8], path: &[usize]) -> &'a [u8] {
    let mut d = Decoder::new(bytes);
    for index in path {
        d.array().unwrap().expect("a length");
        (0..*index).for_each(|_| d.skip().unwrap());
    }
    let start = d.position();
    d.skip().unwrap();
    &bytes[start..d.position()]
}

fn string<'a>(bytes: &'a [u8], path: &[usize]) -> &'a [u8] {
    Decoder::new(item(bytes, path)).bytes().unwrap()
}

fn number(bytes: &[u8], path: &[usize]) -> u64 {
    Decoder::new(item(bytes, path)).u64().unwrap()
}

fn verify(public: &[u8], domain: &str, signed: &[u8], signature: &[u8]) {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public.try_into().unwrap()).unwrap();
    let signature = ed25519_dalek::Signature::from_bytes(signature.try_into().unwrap());
    let message = [domain.as_bytes(), &[0], signed].concat();
    key.verify_strict(&message, &signature).unwrap_or_else(|e| panic!("{domain}: {e}"));
}

fn blake3(parts: &[&[u8]]) -> Vec<u8> {
    blake3::hash(&parts.concat()).as_bytes().to_vec()
}

#[test]
fn the_id_and_the_signatures_of_genesis_follow_from_its_bytes() {
    let entry = bytes("entry/genesis");
    let body = item(&entry, &[1, 1, 0, 0]);
    assert_eq!(blake3(&[b"igor/genesis/1\0", body]), bytes("agent/bytes"));
    verify(&bytes("key/owner/public"), "igor/genesis-owner/1", body, string(&entry, &[1, 1, 0, 1]));
    verify(&bytes("key/node/public"), "igor/genesis-host/1", body, string(&entry, &[1, 1, 0, 2]));
    assert_eq!(string(body, &[4]), bytes("manifest/default/hash"));
    assert_eq!(blake3(&[&bytes("manifest/default")]), bytes("manifest/default/hash"));
}

#[test]
fn the_signatures_of_orders_receipts_and_seals_follow_from_their_bytes() {
    let order = bytes("order/recall");
    verify(&bytes("key/owner/public"), "igor/order/1", item(&order, &[0]), string(&order, &[1]));

    let entry = bytes("entry/checkpoint");
    let receipt = item(&entry, &[1, 1, 0, 6]);
    let signature = string(receipt, &[6]);
    let unsigned = [&receipt[..receipt.len() - 64], &[0; 64]].concat();
    verify(&bytes("key/node/public"), "igor/receipt/1", &unsigned, signature);

    let seal = bytes("entry/seal");
    let head = blake3(&[b"a head"]);
    let signed = [&bytes("agent/bytes")[..], &[0; 8], &[0; 8], &3u64.to_be_bytes(), &head].concat();
    verify(&bytes("key/node/public"), "igor/seal/1", &signed, string(&seal, &[1, 1, 0, 0]));
}

#[test]
fn the_signatures_of_custody_follow_from_their_bytes() {
    let (owner, node, host) = (bytes("key/owner/public"), bytes("key/node/public"), bytes("key/host/public"));
    let domain = "igor/custody/1";
    let signed = |name: &str, by: &[u8]| {
        let record = item(&bytes(name), &[1, 1, 0]).to_vec();
        verify(by, domain, item(&record, &[0]), string(&record, &[1]));
        record
    };
    let handoff = signed("entry/custody-handoff", &node);
    let accept = signed("entry/custody-accept", &host);
    let back = signed("entry/custody-return", &node);
    let takeover = signed("entry/custody-takeover", &host);
    // What is inside is signed as the phase that it was: `[number, [fields]]`.
    let phase = |number: u8, fields: &[u8]| [&[0x82, number, 0x81], fields].concat();
    let given = item(&accept, &[0, 1, 0, 1]);
    assert_eq!(phase(0, item(given, &[0])), item(&handoff, &[0]));
    verify(&node, domain, &phase(0, item(given, &[0])), string(given, &[1]));
    let declined = item(&back, &[0, 1, 0, 1]);
    verify(&host, domain, &phase(2, item(declined, &[0])), string(declined, &[1]));
    let decline = bytes("custody/decline");
    assert_eq!(phase(2, item(declined, &[0])), item(&decline, &[0]));
    let order = item(&takeover, &[0, 1, 0, 3]);
    verify(&owner, "igor/order/1", item(order, &[0]), string(order, &[1]));

    // An accept stands on the head after the handoff.
    let place = item(&handoff, &[0, 1, 0, 0]);
    let [term, n, seq] = [[1, 0].as_slice(), &[1, 1], &[2]].map(|path| number(place, path).to_be_bytes());
    let entry = bytes("entry/custody-handoff");
    let at = item(place, &[4]);
    assert_ne!(at, item(&entry, &[0]), "the sample entries have times of their own");
    let entry = [&[0x82], at, item(&entry, &[1])].concat();
    let head = blake3(&[b"igor/chain/1\0", string(place, &[3]), &term, &n, &seq, &entry]);
    assert_eq!(head, string(&accept, &[0, 1, 0, 0, 3]));
}

#[test]
fn the_head_of_a_commit_follows_from_its_entries() {
    for name in ["commit/first", "commit/second"] {
        let commit = bytes(name);
        let [term, n, first] = [[2, 0].as_slice(), &[2, 1], &[3]].map(|path| number(&commit, path));
        let mut head = string(&commit, &[4]).to_vec();
        let entries = Decoder::new(item(&commit, &[6])).array().unwrap().expect("a length");
        let mut marks = vec![];
        for index in 0..entries {
            if index > 0 {
                marks.extend_from_slice(&head[..8]);
            }
            let place = [term, n, first + index].map(u64::to_be_bytes).concat();
            head = blake3(&[b"igor/chain/1\0", &head, &place, string(&commit, &[6, usize::try_from(index).unwrap()])]);
        }
        assert_eq!(marks, string(&commit, &[5]), "{name}");
        assert_eq!(head, string(&commit, &[7]), "{name}");
    }
}

#[test]
fn the_frames_of_a_file_follow_from_its_bytes() {
    let file = bytes("file/life");
    assert_eq!(&file[..16], b"IGOR\0\x01\0\0\0\0\0\0\0\0\0\0");
    let (mut at, mut kinds) = (16, vec![]);
    while at < file.len() {
        let length = u32::from_be_bytes(file[at + 1..at + 5].try_into().unwrap()) as usize;
        kinds.push(file[at]);
        at += 5 + length;
    }
    let kinds: Vec<(u8, usize)> = kinds.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    assert_eq!(kinds, [(1, 4), (2, 13), (255, 1)]);
    let (before, last) = file.split_at(file.len() - 37);
    assert_eq!(last[5..], blake3(&[b"igor/archive/1\0", before]));
}

/// The stored bytes decode to the samples, not only the other way round.
#[test]
fn the_vectors_are_read_as_the_samples() {
    for (name, entry) in samples::entries() {
        assert_eq!(Entry::decode(&bytes(&format!("entry/{name}"))), Ok(entry), "{name}");
    }
    for (name, commit) in samples::commits() {
        assert_eq!(Commit::decode(&bytes(&format!("commit/{name}"))), Ok(commit), "{name}");
    }
    assert_eq!(Manifest::decode(&bytes("manifest/default")), Ok(Manifest::default()));
    assert_eq!(stored()["agent/text"].parse(), Ok(samples::agent()));
    let mut parser = archive::Parser::default();
    parser.feed(&bytes("file/life"));
    let mut commits = vec![];
    while let Some(frame) = parser.next().unwrap() {
        if let archive::Frame::Commit(commit) = frame {
            commits.push(commit);
        }
    }
    assert_eq!(commits, samples::life::commits());
}
