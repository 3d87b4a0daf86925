//! Links in Markdown that lead nowhere.

use crate::File;
use std::path::Path;

/// Every relative link to a file, or a heading in one, that is not there.
pub(crate) fn dead(files: &[File]) -> Vec<String> {
    let mut found = vec![];
    for file in files.iter().filter(|file| file.is(".md")) {
        let mut code = false;
        for (n, line) in file.text.lines().enumerate() {
            code ^= line.trim_start().starts_with("```");
            for link in if code { vec![] } else { targets(line) } {
                if !leads_somewhere(files, file, link) {
                    found.push(file.at(n + 1, &format!("the link to `{link}` is dead")));
                }
            }
        }
    }
    found
}

/// What `[text](target)` on this line points to.
fn targets(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()).collect()
}

fn leads_somewhere(files: &[File], from: &File, link: &str) -> bool {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return true;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() { Some(from.path.clone()) } else { resolve(&from.path, path) };
    let Some(target) = target else { return false };
    match heading {
        Some(heading) => files.iter().any(|file| file.path == target && headings(file).any(|h| h == heading)),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(target).exists(),
    }
}

/// A path relative to a file as one below the root; nothing if it leaves the tree.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The headings of a file as links name them.
fn headings(file: &File) -> impl Iterator<Item = String> + '_ {
    file.text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests;
