//! Rules of the house that no compiler knows: [`findings`] lists where the tree breaks them.
//!
//! Every finding is one line, `path:line: what is wrong and the way out`. `cargo test -p igor-tidy` fails on any.

mod links;
mod rules;

use std::{fs, io, path::Path};

/// What holds nothing of ours; `.git` is a file in a worktree.
const SKIPPED: [&str; 6] = ["target", ".git", "corpus", "artifacts", "node_modules", "proptest-regressions"];

/// A text file of the tree.
pub struct File {
    /// Its path below the root, with forward slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl File {
    /// Whether its name ends so.
    pub fn is(&self, end: &str) -> bool {
        self.path.ends_with(end)
    }

    /// Whether it is a test, which may be long and need not say what it keeps.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// A finding at a line, counted from 1.
    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// A finding for every line that holds any of `words`.
    fn lines_with(&self, words: &[&str], what: &str) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        lines
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
            .map(|(n, _)| self.at(n + 1, what))
            .collect()
    }
}

/// All text files below `root` that could be ours.
pub fn files(root: &Path) -> io::Result<Vec<File>> {
    let (mut files, mut folders) = (vec![], vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.extend(read(root, &entry.path())?);
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// A file's text, or nothing for a binary file.
fn read(root: &Path, path: &Path) -> io::Result<Option<File>> {
    let Ok(text) = String::from_utf8(fs::read(path)?) else { return Ok(None) };
    let below = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Ok(Some(File { path: below, text }))
}

/// Everything that is wrong with the tree.
pub fn findings(files: &[File]) -> Vec<String> {
    let mut found: Vec<String> = files.iter().flat_map(rules::of_one_file).collect();
    found.extend(rules::of_all_files(files));
    found.extend(links::dead(files));
    found
}
