//! A whole journal: it verifies, and no bit of it can be changed unseen.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    Commit, Credits,
    archive::{Error, Parser},
    verify::{Report, Verifier},
};
use samples::life::{self, LifeBlobs};

fn verify<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> Option<Report> {
    let mut verifier = Verifier::new();
    for commit in commits {
        verifier.push(commit, &LifeBlobs).ok()?;
    }
    verifier.report()
}

#[test]
fn the_sample_life_verifies() {
    let commits = life::commits();
    let report = verify(&commits).expect("a report");
    let end = commits.last().unwrap().end();
    assert_eq!((report.agent, report.entries, report.head), (samples::agent(), end.next.0, end.head));
    assert_eq!((report.runs, report.asserted, report.asserted_cost), (6, 0, Credits::ZERO));
}

/// Exhaustive: each bit of each commit, verified in its place with all that comes before it.
#[test]
fn every_single_bit_flip_in_a_journal_is_detected() {
    let commits = life::commits();
    let mut verifier = Verifier::new();
    for (place, commit) in commits.iter().enumerate() {
        let bytes = commit.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(read) = Commit::decode(&flipped) else { continue };
            // Few come here: verification from the beginning is affordable.
            assert!(verify(commits[..place].iter().chain([&read])).is_none(), "commit {place}, bit {bit}");
        }
        verifier.push(commit, &LifeBlobs).unwrap();
    }
}

/// Exhaustive: each bit of each entry of each commit. The error names that entry, not the commit.
#[test]
fn a_flipped_bit_is_found_in_the_entry_that_has_it() {
    let commits = life::commits();
    assert!(commits.iter().any(|commit| commit.entries().count() > 2), "some commit has several entries");
    for (place, commit) in commits.iter().enumerate() {
        let bytes = commit.encode();
        let mut end = bytes.len() - 34;
        let entries: Vec<_> = commit.entries().map(|(_, _, entry)| entry).collect();
        for (index, entry) in entries.into_iter().enumerate().rev() {
            let start = end - entry.len();
            assert_eq!(&bytes[start..end], entry, "the entries stand before the head");
            for bit in start * 8..end * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let bad = Commit::decode(&flipped).expect_err("it was changed").index();
                assert_eq!(bad, index as u64, "commit {place}, bit {bit}");
            }
            end = start - header_bytes(entry.len());
        }
    }
}

/// Of the CBOR header of a byte string.
const fn header_bytes(length: usize) -> usize {
    match length {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}

#[test]
fn a_journal_with_a_commit_missing_repeated_or_exchanged_is_refused() {
    let commits = life::commits();
    for place in 0..commits.len() - 1 {
        let mut missing = commits.clone();
        missing.remove(place);
        assert!(verify(&missing).is_none(), "without commit {place}");
        let mut repeated = commits.clone();
        repeated.insert(place, commits[place].clone());
        assert!(verify(&repeated).is_none(), "with commit {place} twice");
        let mut exchanged = commits.clone();
        exchanged.swap(place, place + 1);
        assert!(verify(&exchanged).is_none(), "with commits {place} and the next exchanged");
    }
}

#[test]
fn a_file_that_was_cut_extended_or_changed_is_refused() {
    let read = |bytes: &[u8]| {
        let mut parser = Parser::default();
        parser.feed(bytes);
        while parser.next()?.is_some() {}
        parser.finish()
    };
    let file = samples::archive();
    assert_eq!(read(&file), Ok(()));
    for end in 0..file.len() {
        assert_eq!(read(&file[..end]), Err(Error::Truncated), "cut after {end} bytes");
    }
    assert_eq!(read(&[&file[..], &[0]].concat()), Err(Error::Trailing));
    for bit in 0..file.len() * 8 {
        let mut changed = file.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&changed).is_err(), "bit {bit} was changed");
    }
}
