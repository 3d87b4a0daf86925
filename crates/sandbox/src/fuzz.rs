//! What must hold for arbitrary bytes that claim to be a program or a manifest.
//!
//! Invariant kept here: a property panics only where this crate is wrong. Nothing is compiled and nothing runs.

#![allow(clippy::missing_panics_doc)] // a property says by a panic that it does not hold

use crate::{abi::START, check::check, error::Refusal, manifest, rewrite::export_start};
use igor_protocol::{
    Manifest,
    limits::{SILENT_MIN, STANDBY_MAX},
};

/// The check of a module takes it or refuses it; what it takes with a start section can have it exported instead.
/// Says whether it was taken.
pub fn program(bytes: &[u8]) -> bool {
    let _ = manifest::of_module(bytes);
    let manifest = Manifest::default();
    let Ok(checked) = check(bytes, &manifest) else { return false };
    if let Some(function) = checked.start {
        match export_start(bytes, function) {
            // The new export, which no program may have of its own, is all that is wrong with it.
            Ok(rewritten) => assert!(
                matches!(check(&rewritten, &manifest), Err(Refusal::ReservedExport(START))),
                "without its start section it is another module"
            ),
            Err(refusal) => panic!("a module that passed cannot be rewritten: {refusal}"),
        }
    }
    true
}

/// The text of a manifest: what is taken has a deterministic form, which every reader of the journal takes too, and names
/// standby nodes that a Genesis may name.
pub fn manifest_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    manifest::parse(text).is_ok_and(|read| {
        assert_eq!(Manifest::decode(&read.manifest.encode()), Ok(read.manifest));
        let survival = read.survival;
        assert!(survival.nodes.len() <= STANDBY_MAX && survival.silent_for.is_none_or(|time| time >= SILENT_MIN));
        true
    })
}
