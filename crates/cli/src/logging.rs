//! What the layers below say on stderr: warnings, or what the environment asks for. A node that stays tells more, and
//! with `--json` as lines of JSON.

use crate::{
    args::Verb,
    failure::{Code, Failure},
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// The environment variable that says how much is told.
const VARIABLE: &str = "IGOR_LOG";
const ALLOWED: &str = "write a level (off, error, warn, info, debug, trace), TARGET=LEVEL such as igor_node=debug, \
                       or several of these with commas";

/// Begins to tell. A value that makes no sense is wrong usage, never silence.
pub(crate) fn begin(verb: Option<&Verb>, json: bool) -> Result<(), Failure> {
    let asked = std::env::var_os(VARIABLE).unwrap_or_default();
    let wrong = |text: &str| Failure::new(Code::Usage, format!("{VARIABLE}: {text:?} says nothing; {ALLOWED}"));
    let text = asked.to_str().ok_or_else(|| wrong(&asked.to_string_lossy()))?;
    let stays = matches!(verb, Some(Verb::Node { .. }));
    let usual = if stays { LevelFilter::INFO } else { LevelFilter::WARN };
    let told = targets(text, usual).map_err(wrong)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if stays && json {
        tracing_subscriber::registry().with(lines.json().flatten_event(true)).with(told).init();
    } else {
        tracing_subscriber::registry().with(lines.with_target(false)).with(told).init();
    }
    Ok(())
}

/// What a value asks for; an error is the part of it that asks for nothing. Without a value there is the usual.
fn targets(text: &str, usual: LevelFilter) -> Result<Targets, &str> {
    let unsaid = Targets::new().with_default(usual);
    if text.is_empty() {
        return Ok(unsaid);
    }
    text.split(',').map(str::trim).try_fold(unsaid, |told, part| match part.split_once('=') {
        None => Ok(told.with_default(level(part).ok_or(part)?)),
        Some((target, word)) if is_target(target) => Ok(told.with_target(target, level(word).ok_or(part)?)),
        Some(_) => Err(part),
    })
}

fn level(word: &str) -> Option<LevelFilter> {
    // A number would parse as well, and a typing slip with it.
    word.bytes().all(|b| b.is_ascii_alphabetic()).then(|| word.parse().ok()).flatten().filter(|_| !word.is_empty())
}

/// Whether a word could be the path of a module.
fn is_target(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b))
}

#[cfg(test)]
mod tests;
