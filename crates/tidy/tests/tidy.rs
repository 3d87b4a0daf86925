//! The tree keeps the rules of the house, and the rules bite.

use igor_tidy::{File, files, findings};
use std::path::Path;

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = files(&root).expect("the tree can be read");
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "looked in the wrong place: {}", root.display());
    let found = findings(&files);
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

/// One file, and the words that its one finding must contain; none if it is fine.
fn check(path: &str, text: &str, finding: Option<&str>) {
    let found = findings(&[File { path: path.into(), text: text.into() }]);
    match finding {
        Some(words) => assert!(found.len() == 1 && found[0].contains(words), "{text:?} gave {found:?}"),
        None => assert!(found.is_empty(), "{text:?} gave {found:?}"),
    }
}

#[test]
fn each_rule_bites() {
    let source = "crates/x/src/a.rs";
    check(source, "//! Fine.\npub const WAIT_MS: u64 = 1;\n", None);
    check(source, "fn f() {}\n", Some("a.rs:1: begins without"));
    check(source, &format!("//! Long.\n{}", "\n".repeat(600)), Some("a.rs:601: longer than"));
    check(source, "//! Unit.\nstruct S {\n    pub timeout: u64,\n}\n", Some("a.rs:3: `timeout` is a bare number"));
    check(source, "//! Unit.\nstruct S {\n    pub timeout: Nanos,\n}\n", None);
    check(source, concat!("//! Left.\n// FIX", "ME later\n"), Some("a.rs:2: finish it"));
    check(source, concat!("//! Left.\nfn f() { dbg", "!(1) }\n"), Some("a.rs:2: left over"));
    check("crates/x/tests/t.rs", concat!("#[ig", "nore]\nfn t() {}\n"), Some("t.rs:1: say why"));
    check("crates/x/tests/t.rs", "#[ignore = \"needs a loop device\"]\nfn t() {}\n", None);
    check("docs/a.md", concat!("see /wo", "rk/x\n"), Some("a.md:1: a path of one machine"));
    check("docs/a.md", "see ../x\n", None);
    check("docs/a.md", "as `crates/x/tests/t.rs::nowhere` shows\n", Some("a.md:1: there is no test nowhere"));
    check("crates/x/src/fuzz.rs", "//! Fuzz.\npub fn p(bytes: &[u8]) -> bool {}\n", Some("fuzz_targets/p.rs"));
    let [a, b] = ["crates/a/clippy.toml", "crates/b/clippy.toml"];
    let found = findings(&[a, b].map(|path| File { path: path.into(), text: path.into() }));
    assert!(found.len() == 1 && found[0].contains("differs from crates/a"), "{found:?}");
}
