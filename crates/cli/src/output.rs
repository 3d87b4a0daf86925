//! Stdout, as people or as scripts read it; notes and progress go to stderr.
//!
//! Invariants kept here:
//! - With `--json`, stdout has one JSON object a line and nothing else.
//! - Every line is flushed at once, so that a reader sees what is durable and a kill eats at most the last line.
//! - A closed stdout is [`Code::Closed`], never a panic: whoever prints decides how to stop.

use crate::failure::{Code, Failure};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

/// How a piece of text stands out on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// A heading.
    Strong,
    /// Of less weight.
    Faint,
    /// It went well.
    Good,
    /// It is not all that was asked for.
    Warn,
    /// It went wrong.
    Bad,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let colour = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    /// Whether scripts read this.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints one thing: as an object for scripts, or in words for people.
    pub(crate) fn say(self, row: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let line = serde_json::to_string(row).map_err(Failure::failed)?;
            write_line(&line)
        } else {
            write_line(&words())
        }
    }

    /// Prints what only people read.
    pub(crate) fn words(self, words: impl AsRef<str>) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write_line(words.as_ref()) }
    }

    /// Text in a tone, where there is a terminal.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Prints text as it is.
pub(crate) fn raw(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| closed(&e))
}

/// A line on stderr for whoever watches. A closed stderr is nobody watching.
pub(crate) fn note(text: impl AsRef<str>) {
    drop(writeln!(io::stderr().lock(), "{}", text.as_ref()));
}

fn write_line(line: &str) -> Result<(), Failure> {
    // One write a line: two processes on one file do not mix within lines.
    let mut bytes = Vec::with_capacity(line.len() + 1);
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(|e| closed(&e))
}

fn closed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Code::Closed, "stdout was closed"),
        _ => Failure::failed(format!("stdout: {error}")),
    }
}

/// A line on stderr that says how far long work is; only on a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    on: bool,
    what: String,
    told: Option<std::time::Instant>,
}

impl Progress {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { on: io::stderr().is_terminal(), what: what.into(), told: None }
    }

    /// Says where it is, ten times a second at most.
    pub(crate) fn at(&mut self, words: impl FnOnce() -> String) {
        let now = std::time::Instant::now();
        let due = self.told.is_none_or(|told| now.duration_since(told).as_millis() >= 100);
        if self.on && due {
            self.told = Some(now);
            drop(write!(io::stderr().lock(), "\r\x1b[K{}: {}", self.what, words()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            drop(write!(io::stderr().lock(), "\r\x1b[K"));
        }
    }
}
