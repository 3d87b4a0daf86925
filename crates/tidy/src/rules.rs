//! The rules, each with its reason in the finding.

use crate::File;

/// Longest source file that is not a test, in lines: what one reads in one sitting.
const LINES_MAX: usize = 600;

/// Words of unfinished work. Split, so that this file does not hold them.
const UNFINISHED: [&str; 4] = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X"), concat!("HA", "CK:")];
const LEFTOVERS: [&str; 2] = [concat!("dbg", "!("), concat!("todo", "!(")];

/// Directories that exist on somebody's machine only.
const MACHINES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Names of public fields and constants that say a time or a size, and so need their unit, where no type says it.
const UNITLESS: [&str; 8] = ["timeout", "interval", "delay", "duration", "deadline", "size", "length", "budget"];

pub(crate) fn of_one_file(file: &File) -> Vec<String> {
    let mut found = vec![];
    if file.is(".lock") || file.path.contains("/vectors/") || file.is("LICENSE") {
        return found;
    }
    found.extend(file.lines_with(&UNFINISHED, "finish it, or write an issue: the tree has no reminders"));
    found.extend(file.lines_with(&MACHINES, "a path of one machine; say where it is relative to the repository"));
    if file.is(".rs") {
        found.extend(of_source(file));
    }
    found
}

fn of_source(file: &File) -> Vec<String> {
    let mut found = file.lines_with(&LEFTOVERS, "left over from debugging");
    let ignore = concat!("#[ig", "nore]");
    found.extend(file.lines_with(&[ignore], "say why it is ignored: #[ignore = \"reason\"]"));
    if file.is_test() {
        return found;
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        found.push(file.at(lines, &format!("longer than {LINES_MAX} lines: give each purpose its own file")));
    }
    if file.path.contains("/src/") && !file.text.starts_with("//!") {
        found.push(file.at(1, "begins without `//!`: say what it is for and what it keeps true"));
    }
    for (n, line) in file.text.lines().enumerate() {
        if let Some(name) = bare_number(line).filter(|name| UNITLESS.contains(name)) {
            found.push(
                file.at(n + 1, &format!("`{name}` is a bare number: put the unit into its type or last in its name")),
            );
        }
    }
    found
}

/// The name of a public field or a constant whose type is a plain integer.
fn bare_number(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("pub ").or_else(|| line.starts_with("const ").then_some(line))?;
    let (name, kind) = rest.strip_prefix("const ").unwrap_or(rest).split_once(": ")?;
    let kind = kind.trim_end_matches(',').split(' ').next()?;
    ["u32", "u64", "u128", "usize", "i32", "i64"].contains(&kind).then_some(name)
}

pub(crate) fn of_all_files(files: &[File]) -> Vec<String> {
    let mut found = same_bans(files);
    found.extend(fuzz_targets(files));
    found.extend(named_tests(files));
    found
}

/// What a document says is shown by a test, written as `crates/.../file.rs::function`, is.
fn named_tests(files: &[File]) -> Vec<String> {
    let mut found = vec![];
    for document in files.iter().filter(|file| file.is(".md")) {
        for (n, line) in document.text.lines().enumerate() {
            let quoted = line.split('`').skip(1).step_by(2);
            for (path, name) in quoted.filter_map(|quoted| quoted.split_once(".rs::")) {
                let (path, function) = (format!("{path}.rs"), format!("fn {name}("));
                if !files.iter().any(|file| file.path == path && file.text.contains(&function)) {
                    found.push(
                        document.at(n + 1, &format!("there is no test {name} in {path}: name the one that shows it")),
                    );
                }
            }
        }
    }
    found
}

/// Clippy's settings are not inherited, so the crates where results must repeat have copies, which must not drift.
fn same_bans(files: &[File]) -> Vec<String> {
    let copies = files.iter().filter(|file| file.path.starts_with("crates/") && file.is("/clippy.toml"));
    let Some(first) = copies.clone().next() else { return vec![] };
    copies
        .filter(|copy| copy.text != first.text)
        .map(|copy| copy.at(1, &format!("differs from {}: change all copies alike", first.path)))
        .collect()
}

/// Each property that stable runs is a target of cargo-fuzz as well.
fn fuzz_targets(files: &[File]) -> Vec<String> {
    let mut found = vec![];
    for file in files.iter().filter(|file| file.is("/src/fuzz.rs")) {
        for (n, line) in file.text.lines().enumerate() {
            let property = line.strip_prefix("pub fn ").and_then(|rest| rest.split_once("(bytes: &[u8])"));
            let Some((name, _)) = property else { continue };
            let target = format!("fuzz/fuzz_targets/{name}.rs");
            if !files.iter().any(|file| file.path == target && file.text.contains(&format!("::fuzz::{name}("))) {
                found.push(file.at(n + 1, &format!("has no {target} that calls it; add it, also to fuzz/Cargo.toml")));
            }
        }
    }
    found
}
