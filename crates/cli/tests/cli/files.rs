//! Portable files: what is imported, and what damage is seen.

use crate::home::{Home, STRATEGY};
use igor_protocol::archive;
use std::{fs, path::Path};

/// An empty group, and a little.
const LAST_GROUP_BYTES: usize = 100;

fn exported(home: &Home) -> String {
    let file = home.beside("s.igor");
    home.get(&["export", "s", "--out", &file]);
    file
}

#[test]
fn an_import_is_an_archive() {
    let home = Home::with_strategy(3);
    let file = exported(&home);
    let elsewhere = Home::new();
    let row = elsewhere.get(&["import", &file, "--name", "old"]);
    assert_eq!((row["name"].as_str(), &row["agent"]), (Some("old"), &home.get(&["show", "s"])["agent"]));
    assert_eq!(elsewhere.get(&["show", "old"])["status"], "archived");
    assert_eq!(elsewhere.ask(&["ps"]).rows.len(), 1);
    assert_eq!(elsewhere.get(&["verify", "old", "--execute"])["ok"], true);
    assert_eq!(elsewhere.get(&["replay", "old", "--at", "2"]), home.get(&["replay", "s", "--at", "2"]));
    assert_eq!(elsewhere.ask(&["timeline", "old"]).rows, home.ask(&["timeline", "s"]).rows);
    let again = elsewhere.beside("again.igor");
    elsewhere.get(&["export", "old", "--out", &again]);
    assert_eq!(fs::read(&again).ok(), fs::read(&file).ok(), "the same history, the same bytes");

    // A copy of history is not custody.
    let refused = |args: &[&str]| elsewhere.fails(args, 3, &["archive", "has custody", "igor timeline", "igor verify"]);
    let orders: [&[&str]; 5] =
        [&["fund", "old", "1"], &["end", "old"], &["send", "old", "x"], &["call", "old", "x"], &["pause", "old"]];
    refused(&["run", STRATEGY, "--name", "old", "--ticks", "1"]);
    for args in orders {
        refused(args);
    }
    // Nor is it where a node runs.
    let mut actor = elsewhere.run(&[STRATEGY, "--name", "s", "--interval", "1h"]);
    for args in orders {
        refused(args);
    }
    assert_eq!(elsewhere.get(&["show", "old"])["status"], "archived");
    actor.kill().expect("it can be killed");
}

#[test]
fn a_name_is_not_taken_from_another_agent() {
    let home = Home::with_strategy(1);
    let file = exported(&home);
    let elsewhere = Home::with_strategy(2);
    elsewhere.fails(&["import", &file], 3, &["belongs to", "--name"]);
    assert_eq!(elsewhere.get(&["show", "s"])["tick"], 2);
    elsewhere.get(&["import", &file, "--name", "other"]);
    assert_eq!(elsewhere.ask(&["ps"]).rows.len(), 2);
}

#[test]
fn imports_that_are_not_whole_leave_nothing() {
    let home = Home::with_strategy(3);
    let whole = fs::read(exported(&home)).expect("the file is there");
    let elsewhere = Home::new();
    let cut = elsewhere.file("cut.igor", &whole[..whole.len() - 1]);
    let long = elsewhere.file("long.igor", [&whole[..], b"!"].concat());
    let noise = elsewhere.file("noise.igor", vec![0x5a; 4096]);
    let empty = elsewhere.file("empty.igor", "");
    for file in [&cut, &long, &noise, &empty] {
        elsewhere.fails(&["import", file], 4, &[]);
        elsewhere.fails(&["verify", file], 4, &[]);
    }
    let huge = elsewhere.file("huge.igor", [&whole[..16], &vec![1; 3 << 20]].concat());
    elsewhere.fails(&["import", &huge], 4, &["frame"]);
    assert!(!elsewhere.path().exists(), "nothing is left behind");

    // Large blobs, whole and well-formed, but more than the quota.
    let padded = elsewhere.beside("padded.igor");
    pad(&whole, Path::new(&padded), 3 << 20);
    elsewhere.fails(&["import", &padded, "--quota", "1"], 3, &["quota"]);
    assert!(!elsewhere.path().exists(), "nothing is left behind");
}

/// The file with one more blob of this length.
fn pad(whole: &[u8], path: &Path, bytes: usize) {
    use igor_protocol::Hash;
    let (mut writer, mut out) = archive::Writer::begin();
    let blob = vec![7; bytes];
    for part in archive::parts(Hash::of_blob(&blob), &blob) {
        out.extend(writer.part(&part));
    }
    let mut parser = archive::Parser::default();
    parser.feed(whole);
    while let Some(frame) = parser.next().expect("the file is whole") {
        out.extend(match frame {
            archive::Frame::Blob(part) => writer.part(&part),
            archive::Frame::Commit(commit) => writer.commit(&commit),
        });
    }
    out.extend(writer.finish());
    fs::write(path, out).expect("it can be written");
}

#[test]
fn no_bit_of_a_file_changes_unseen() {
    let home = Home::with_strategy(2);
    let whole = fs::read(exported(&home)).expect("the file is there");
    let file = home.beside("flipped.igor");
    // A prime step, so that every kind of place is hit: header, lengths, program, entries, signatures, end.
    for at in (0..whole.len()).step_by(997).chain(whole.len() - 40..whole.len()) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&file, flipped).expect("it can be written");
        let answer = home.ask(&["verify", &file]);
        assert_eq!(answer.code, Some(4), "byte {at}: {}", answer.said);
        let row = answer.rows.last().expect("a verdict");
        assert!(row["ok"] == false && row["first_bad"]["seq"].is_u64() && row["first_bad"]["why"].is_string(), "{row}");
    }
}

#[test]
fn verify_names_the_entry_that_was_changed() {
    let home = Home::with_strategy(5);
    let whole = fs::read(exported(&home)).expect("the file is there");
    let file = home.beside("changed.igor");
    let mut parser = archive::Parser::default();
    parser.feed(&whole);
    let mut several = 0;
    while let Some(frame) = parser.next().expect("it is whole") {
        let archive::Frame::Commit(commit) = frame else { continue };
        several += usize::from(commit.entries().count() > 1);
        for (seq, _, entry) in commit.entries() {
            let at = find(&whole, entry).expect("it is in the file") + entry.len() / 2;
            let mut changed = whole.clone();
            changed[at] ^= 4;
            fs::write(&file, changed).expect("it can be written");
            let row = home.ask(&["verify", &file]).rows.pop().expect("a verdict");
            assert_eq!(row["first_bad"]["seq"].as_u64(), Some(seq.0), "{row}");
        }
    }
    assert!(several > 0, "some commits have several entries");
}

#[test]
fn no_bit_of_a_journal_changes_unseen() {
    let home = Home::with_strategy(3);
    let segments = home.path().join("log");
    let entries = home.get(&["verify", "s"])["entries"].as_u64().expect("a number");
    let genesis = home.get(&["show", "s"])["agent"].clone();
    for segment in fs::read_dir(segments).expect("the log is there") {
        let path = segment.expect("a segment").path();
        let whole = fs::read(&path).expect("it can be read");
        // What is written: from the first commit to the last byte that is not zero.
        let Some(end) = whole.iter().rposition(|byte| *byte != 0) else { continue };
        let Some(start) = find(&whole, b"igor-cfg") else { continue };
        for at in (start..end).step_by(61) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, flipped).expect("it can be written");
            let answer = home.ask(&["verify", "s"]);
            // The very last group may look as if it had never been written. A clean stop leaves an empty one there.
            let torn = answer.code == Some(0) && answer.rows[0]["entries"].as_u64() == Some(entries);
            let named = answer.rows.last().is_some_and(|row| row["first_bad"]["seq"].is_u64());
            let seen = answer.code == Some(4) && named;
            assert!(seen || (torn && at > end - LAST_GROUP_BYTES), "byte {at} of {end}: {answer:?}");
        }
        fs::write(&path, whole).expect("it can be written");
    }
    assert_eq!(home.get(&["show", "s"])["agent"], genesis);
}

#[test]
fn damage_is_seen_through_a_node_too() {
    let home = Home::with_strategy(3);
    let mut actor = home.run(&[STRATEGY, "--name", "s", "--interval", "1h"]);
    assert_eq!(home.get(&["verify", "s"])["ok"], true);
    let damaged = fs::read_dir(home.path().join("log"))
        .expect("the log is there")
        .chain(fs::read_dir(home.path().join("agents")).expect("agents have files"));
    for file in damaged.map(|file| file.expect("a file").path()) {
        let mut bytes = fs::read(&file).expect("it can be read");
        if let Some(at) = find(&bytes, b"igor-cfg") {
            bytes[at] ^= 1;
            fs::write(&file, bytes).expect("it can be written");
        }
    }
    let answer = home.fails(&["verify", "s"], 4, &["damaged"]);
    assert_eq!(answer.rows[0]["ok"], false);
    actor.kill().expect("it can be killed");
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
