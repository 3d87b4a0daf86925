//! What the audience sees: the story, line by line, and under it, on a terminal, where the agent is.
//!
//! Invariants kept here:
//! - Without a terminal, and with `--json`, there is the story and nothing else.
//! - What is drawn is erased before anything else is printed, and at the end.

use super::{NAME, Told};
use crate::{
    failure::Failure,
    output::{Output, Tone, raw},
};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

/// How often it is drawn anew, at most.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Columns inside of a box, and of the whole picture.
const INSIDE: usize = 16;
const COLUMNS: usize = 3 * (INSIDE + 2) + 2 * 4 + 2;

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Runs,
    Starts,
    Killed,
    Off,
    Frozen,
    /// It does not reach the bucket.
    NoBucket,
    /// It does not reach the other nodes.
    NoPeers,
}

/// Where the agent is: at a node, or on its way to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Nowhere,
    At(usize),
    /// Its money has ended.
    Ended(usize),
    Between(usize, usize),
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) nodes: [(&'static str, Doing); 3],
    pub(super) agent: Whereabouts,
    pub(super) tick: u64,
    pub(super) epoch: String,
    /// Prices that came in, of all.
    pub(super) prices: (u64, usize),
    /// What was done to nodes, how often, and what it is called.
    pub(super) blows: u32,
    pub(super) named: &'static str,
}

/// The terminal, or what stands for it.
pub(super) struct Screen {
    out: Output,
    pub(super) picture: Picture,
    /// Lines that are drawn now; none where nothing is ever drawn.
    drawn: Option<usize>,
    last: Instant,
    begun: Instant,
}

impl Screen {
    pub(super) fn new(out: Output, picture: Picture) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let drawn = (!out.is_json() && !dumb && io::stdout().is_terminal()).then_some(0);
        let now = Instant::now();
        Self { out, picture, drawn, last: now, begun: now }
    }

    /// Goes on with the story.
    pub(super) fn tell(&mut self, told: &Told, words: impl FnOnce() -> String) -> Result<(), Failure> {
        self.erase()?;
        self.out.say(told, words)?;
        self.draw()
    }

    /// The same, with words that only people read.
    pub(super) fn words(&mut self, words: impl AsRef<str>) -> Result<(), Failure> {
        self.erase()?;
        self.out.words(words)?;
        self.draw()
    }

    pub(super) fn tone(&self, tone: Tone, text: &str) -> String {
        self.out.tone(tone, text)
    }

    /// Draws the picture as it is now, unless that was done a moment ago.
    pub(super) fn refresh(&mut self) -> Result<(), Failure> {
        if self.last.elapsed() < DRAW_EVERY {
            return Ok(());
        }
        self.erase()?;
        self.draw()
    }

    /// Leaves the story alone on the terminal.
    pub(super) fn erase(&mut self) -> Result<(), Failure> {
        match &mut self.drawn {
            Some(lines @ 1..) => {
                let up = std::mem::take(lines);
                raw(&format!("\x1b[{up}A\r\x1b[J"))
            }
            _ => Ok(()),
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        if self.drawn.is_none() {
            return Ok(());
        }
        self.last = Instant::now();
        // A line that wraps could not be erased.
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col));
        let lines = if columns > COLUMNS { self.boxes() } else { vec![self.line(columns)] };
        self.drawn = Some(lines.len());
        raw(&(lines.join("\n") + "\n"))
    }

    fn boxes(&self) -> Vec<String> {
        let gap = "    ";
        let all = |part: &dyn Fn(usize) -> String| format!("  {}", [0, 1, 2].map(part).join(gap));
        let bar = |length: usize| "─".repeat(length);
        let top = |node: usize| format!("╭ {} {}╮", self.picture.nodes[node].0, bar(INSIDE - 3));
        let inside = |node: usize| {
            let (text, tone) = self.inside(node);
            format!("│{}│", self.tone(tone, &format!(" {text:<width$}", width = INSIDE - 1)))
        };
        let bottom = |_| format!("╰{}╯", bar(INSIDE));
        vec![String::new(), all(&top), all(&inside), all(&bottom), format!("  {}", self.numbers())]
    }

    fn inside(&self, node: usize) -> (String, Tone) {
        match (self.picture.nodes[node].1, self.picture.agent) {
            (Doing::Killed, _) => ("killed".to_owned(), Tone::Bad),
            (Doing::Off, _) => ("switched off".to_owned(), Tone::Faint),
            (Doing::Frozen, _) => ("frozen".to_owned(), Tone::Bad),
            (Doing::NoBucket, _) => ("bucket cut off".to_owned(), Tone::Bad),
            (Doing::NoPeers, _) => ("peers cut off".to_owned(), Tone::Bad),
            (Doing::Starts, _) => ("starts again".to_owned(), Tone::Warn),
            (Doing::Runs, Whereabouts::At(here)) if here == node => (format!("● {NAME}"), Tone::Good),
            (Doing::Runs, Whereabouts::Ended(here)) if here == node => ("○ no money left".to_owned(), Tone::Warn),
            (Doing::Runs, Whereabouts::Between(from, _)) if from == node => (format!("● {NAME} >>"), Tone::Warn),
            (Doing::Runs, Whereabouts::Between(_, to)) if to == node => (">> coming".to_owned(), Tone::Warn),
            (Doing::Runs, _) => (String::new(), Tone::Faint),
        }
    }

    fn numbers(&self) -> String {
        let Picture { tick, epoch, prices: (in_now, all), blows, named, .. } = &self.picture;
        let seconds = self.begun.elapsed().as_secs();
        format!("tick {tick}  epoch {epoch}  {in_now} of {all} prices  {blows} {named}  {seconds} s")
    }

    /// All of it in one line of so many columns.
    fn line(&self, columns: usize) -> String {
        let mut line = String::new();
        for (node, (letter, _)) in self.picture.nodes.iter().enumerate() {
            let (text, _) = self.inside(node);
            let _ = write!(line, "{letter}[{text}] ");
        }
        (line + &self.numbers()).chars().take(columns.saturating_sub(1)).collect()
    }
}
