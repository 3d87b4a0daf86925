//! A section of docs/reliability.md, which several programs write, each its own.

/// The text with what is under `heading` (`## ...`) replaced by `words`; at the end where it is not there yet.
pub(crate) fn replace(text: &str, heading: &str, words: &str) -> String {
    let section = format!("{heading}\n\n{}\n", words.trim());
    let begins = text.find(&format!("{heading}\n"));
    let Some(begin) = begins else { return format!("{}\n\n{section}", text.trim_end()) };
    let after = begin + heading.len();
    match text[after..].find("\n## ") {
        Some(end) => format!("{}{section}\n{}", &text[..begin], &text[after + end + 1..]),
        None => format!("{}{section}", &text[..begin]),
    }
}
