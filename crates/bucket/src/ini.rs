//! The files of AWS's tools: sections, and settings in them.
//!
//! Read are `[section]`, `key = value`, comments from `#` or `;` at the start of a line (or after a space, as in
//! AWS's tools), and indented lines, which are settings of a setting and skipped. Anything else is an error that names
//! its line. A later setting of the same key counts.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// Longest file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 256 << 10;

/// Sections by name, settings by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ini(BTreeMap<String, BTreeMap<String, String>>);

impl Ini {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut ini = Self::default();
        let mut section: Option<&mut BTreeMap<String, String>> = None;
        for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let wrong = |why: &str| format!("line {}: {why}", n + 1);
            if line.trim().is_empty() || line.trim_start().starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let (name, after) = rest.split_once(']').ok_or_else(|| wrong("a section has no `]`"))?;
                if !without_comment(after).is_empty() {
                    return Err(wrong("something stands behind the `]`"));
                }
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                section = Some(ini.0.entry(name).or_default());
            } else if line.starts_with([' ', '\t']) {
                if section.is_none() {
                    return Err(wrong("is indented, but belongs to nothing"));
                }
            } else {
                let (key, value) = line.split_once('=').ok_or_else(|| wrong("is not `key = value`"))?;
                let section = section.as_mut().ok_or_else(|| wrong("stands before the first [section]"))?;
                section.insert(key.trim().to_ascii_lowercase(), without_comment(value).to_owned());
            }
        }
        Ok(ini)
    }

    /// The settings of a section.
    pub(crate) fn section(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(name)
    }
}

fn without_comment(value: &str) -> &str {
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    value[..end.unwrap_or(value.len())].trim()
}
