//! `doctor`: what this machine offers, and what to change.
//!
//! Invariant: it measures, and leaves nothing behind.

mod checks;

use crate::{Context, failure::Failure, output::Tone};
use checks::Finding;
use serde::Serialize;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Grade {
    /// As it should be.
    Good,
    /// It works, but worse than it could.
    Warn,
    /// Igor cannot work like this.
    Bad,
}

/// Checks the machine. Fails where something is bad.
pub(crate) fn doctor(context: &Context) -> Result<(), Failure> {
    let findings = checks::all(&context.path);
    for finding in &findings {
        context.out.say(finding, || words(context, finding))?;
    }
    let bad: Vec<&str> = findings.iter().filter(|f| f.grade == Grade::Bad).map(|f| f.check).collect();
    if bad.is_empty() { Ok(()) } else { Err(Failure::failed(format!("not as it must be: {}", bad.join(", ")))) }
}

fn words(context: &Context, finding: &Finding) -> String {
    let (tone, grade) = match finding.grade {
        Grade::Good => (Tone::Good, "good"),
        Grade::Warn => (Tone::Strong, "warn"),
        Grade::Bad => (Tone::Bad, "bad "),
    };
    let advice = finding.advice.as_ref().map(|advice| format!("\n                     {advice}"));
    format!("{}  {:<14} {}{}", context.out.tone(tone, grade), finding.check, finding.value, advice.unwrap_or_default())
}
