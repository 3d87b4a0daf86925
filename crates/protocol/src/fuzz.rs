//! One property for each decoder, to be given arbitrary bytes, and a source of such bytes that needs no fuzzer.
//!
//! Invariants kept here:
//! - A property never panics but where the decoder under test is wrong.
//! - What decodes is encoded to the same bytes again; what a text parser takes is printed in one canonical way.
//! - [`run`] depends on nothing but its arguments: the seed and the case that it names find the same bytes again.
//!
//! The targets of cargo-fuzz call the same functions, so there is one statement of what holds.

#![allow(clippy::missing_panics_doc)] // a property says by a panic that it does not hold

mod mutate;

use crate::{
    AgentId, Commit, Credits, Entry, Hash, Manifest, PublicKey,
    archive::{self, Frame},
    commit::Outline,
    custody::Tidings,
    entry::{Custody, Deployment, Order},
    ledger::Remembered,
    transfer,
};
use mutate::Mutator;
use std::{
    fmt::{Display, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

/// What must hold for whatever bytes come in. Says whether they were taken, so that samples can be held to that.
pub type Property = fn(&[u8]) -> bool;

/// The properties of this crate by name.
pub const PROPERTIES: [(&str, Property); 11] = [
    ("entry", entry),
    ("commit", commit),
    ("order", order),
    ("custody", custody),
    ("deployment", deployment),
    ("tidings", tidings),
    ("transfer", transfer),
    ("manifest", manifest),
    ("remembered", remembered),
    ("text", text),
    ("archive", archive),
];

/// [`Entry::decode`]: one entry, one byte string.
pub fn entry(bytes: &[u8]) -> bool {
    Entry::decode(bytes).is_ok_and(|entry| same(&entry.encode(), bytes))
}

/// [`Commit::decode`]: one commit, one byte string, a chain that holds, and an outline that agrees.
pub fn commit(bytes: &[u8]) -> bool {
    let outline = Outline::of(bytes);
    Commit::decode(bytes).is_ok_and(|commit| {
        assert_eq!(outline, Ok(Outline { start: commit.start(), end: commit.end() }));
        let end = commit.entries().fold(commit.start(), |chain, (_, _, entry)| chain.link(entry));
        assert_eq!(end, commit.end());
        same(&commit.encode(), bytes)
    })
}

/// [`Order::decode`]: one order, one byte string.
pub fn order(bytes: &[u8]) -> bool {
    Order::decode(bytes).is_ok_and(|order| same(&order.encode(), bytes))
}

/// [`Custody::decode`]: one record, one byte string, which says what it says under its writer's signature only.
pub fn custody(bytes: &[u8]) -> bool {
    Custody::decode(bytes).is_ok_and(|record| {
        // Whatever it claims, it is checked without a panic.
        let _ = record.check(&record.phase.writer());
        same(&record.encode(), bytes)
    })
}

/// [`Deployment::decode`]: one deployment, one byte string.
pub fn deployment(bytes: &[u8]) -> bool {
    Deployment::decode(bytes).is_ok_and(|deployment| same(&deployment.encode(), bytes))
}

/// [`Tidings::decode`]: one list of records, one byte string.
pub fn tidings(bytes: &[u8]) -> bool {
    Tidings::decode(bytes).is_ok_and(|tidings| same(&tidings.encode(), bytes))
}

/// [`transfer::Frame::decode`]: one frame, one byte string.
pub fn transfer(bytes: &[u8]) -> bool {
    transfer::Frame::decode(bytes).is_ok_and(|frame| same(&frame.encode(), bytes))
}

/// [`Manifest::decode`]: one manifest, one byte string, whose hash names it.
pub fn manifest(bytes: &[u8]) -> bool {
    Manifest::decode(bytes).is_ok_and(|manifest| {
        assert_eq!(manifest.hash(), Hash::of_blob(bytes));
        same(&manifest.encode(), bytes)
    })
}

/// [`Remembered::decode`]: one memory of message ids, one byte string.
pub fn remembered(bytes: &[u8]) -> bool {
    Remembered::decode(bytes).is_ok_and(|remembered| same(&remembered.encode(), bytes))
}

/// The text parsers: ids, keys and hashes have one text each; an amount is printed in the one shortest form.
pub fn text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let amount = text.parse::<Credits>().is_ok_and(|amount| {
        let printed = amount.to_string();
        assert!(printed.len() <= text.len(), "{printed:?} is longer than {text:?}");
        printed.parse() == Ok(amount) || panic!("{text:?} is printed as {printed:?}, another amount")
    });
    amount || one_text::<AgentId>(text) || one_text::<PublicKey>(text) || one_text::<Hash>(text)
}

/// [`archive::Parser`]: one file, one byte string, whatever pieces it is fed in.
pub fn archive(bytes: &[u8]) -> bool {
    let whole = read_archive(bytes, bytes.len());
    assert_eq!(whole, read_archive(bytes, 7), "fed in pieces of 7 bytes it is another file");
    whole.is_ok_and(|frames| {
        let (mut writer, mut written) = archive::Writer::begin();
        for frame in &frames {
            written.extend(match frame {
                Frame::Blob(part) => writer.part(part),
                Frame::Commit(commit) => writer.commit(commit),
            });
        }
        written.extend(writer.finish());
        same(&written, bytes)
    })
}

fn read_archive(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, archive::Error> {
    let (mut parser, mut frames) = (archive::Parser::default(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        parser.feed(piece);
        while let Some(frame) = parser.next()? {
            frames.push(frame);
        }
    }
    parser.finish().map(|()| frames)
}

fn one_text<T: FromStr + Display>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|value| same(value.to_string().as_bytes(), text.as_bytes()))
}

/// Panics where what was taken is written differently from what was read.
fn same(written: &[u8], read: &[u8]) -> bool {
    assert_eq!(written, read, "read and written again, but not the same");
    true
}

/// Gives `property` every sample as it is, then `iterations` mutations of them. Says how many mutations it took.
///
/// Panics where the property does, and for a sample that it does not take. The message names the bytes, so that the
/// case can be kept as a sample.
pub fn run(property: Property, samples: &[Vec<u8>], seed: u64, iterations: u64) -> u64 {
    for (index, sample) in samples.iter().enumerate() {
        assert!(property(sample), "sample {index} is not valid: bytes=`{}`", hex(sample));
    }
    let mut mutator = Mutator::new(seed, samples);
    let mut taken = 0;
    for case in 0..iterations {
        let bytes = mutator.next();
        match catch_unwind(AssertUnwindSafe(|| property(&bytes))) {
            Ok(took) => taken += u64::from(took),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text");
                panic!("seed=`{seed}` case=`{case}` bytes=`{}`: {said}", hex(&bytes));
            }
        }
    }
    taken
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // writing to a string cannot fail
        hex
    })
}
