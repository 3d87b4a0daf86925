//! What `run` prints: every event as an object for scripts; for people what they need, and on a terminal one line
//! that is kept up to date instead of one for each tick.

use crate::{
    Context,
    failure::Failure,
    output::{Output, Tone},
    words,
};
use igor_node::api::wire::{AgentInfo, Event};
use igor_protocol::{Fuel, Nanos};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    time::{Duration, Instant},
};

/// How often the line on a terminal changes.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// Where the events of one life are printed.
pub(super) struct Screen {
    out: Output,
    info: AgentInfo,
    home: String,
    /// On a terminal: when the status line was drawn, if one stands there.
    terminal: bool,
    drawn: Option<Instant>,
    stands: bool,
}

impl Screen {
    pub(super) fn new(context: &Context, info: &AgentInfo) -> Self {
        let terminal = !context.out.is_json() && io::stdout().is_terminal();
        let home = context.path.display().to_string();
        Self { out: context.out, info: info.clone(), home, terminal, drawn: None, stands: false }
    }

    /// Prints one event.
    pub(super) fn show(&mut self, event: &Event) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.say(event, String::new);
        }
        if let (true, Event::Tick { outcome, .. }) = (self.terminal, event)
            && outcome == "ok"
        {
            self.redraw(event);
            return Ok(());
        }
        self.clear();
        self.words(event).map_or(Ok(()), |words| self.out.words(words))
    }

    /// Takes the status line away, before something else is printed.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.stands) {
            drop(write!(io::stdout().lock(), "\r\x1b[K"));
        }
    }

    fn redraw(&mut self, event: &Event) {
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW_EVERY) {
            return;
        }
        if let Some(words) = self.words(event) {
            let mut out = io::stdout().lock();
            // An agent that was told to outlive its terminal does.
            drop(write!(out, "\r\x1b[K{words}").and_then(|()| out.flush()));
            (self.drawn, self.stands) = (Some(Instant::now()), true);
        }
    }

    fn words(&self, event: &Event) -> Option<String> {
        let name = &self.info.name;
        Some(match event {
            Event::Started { tick, resumed, .. } => self.opening(tick.0, *resumed),
            Event::Tick { tick, trigger, outcome, cause, fuel, duration_ns, cost, balance, .. } => {
                let took = words::duration(Nanos(*duration_ns));
                let fuel = words::fuel(Fuel(*fuel));
                let paid = format!("cost {}, has {}", words::money(*cost), words::money(*balance));
                match cause {
                    None => format!("tick {tick} ({trigger}): {took}, {fuel} fuel, {paid}"),
                    Some(cause) => {
                        let why = words::safe(cause, 200);
                        let text = format!("tick {tick} undone, {}: {why}; {paid}", outcome.replace('_', " "));
                        self.out.tone(Tone::Bad, &text)
                    }
                }
            }
            Event::Log { tick, text } => {
                format!("{} {}", self.out.tone(Tone::Faint, &format!("tick {tick}:")), words::safe(text, 4096))
            }
            Event::Checkpoint { .. } => return None,
            Event::CheckpointRefused { cause, .. } => {
                format!("a checkpoint was refused, the last one stays: {}", words::safe(cause, 200))
            }
            Event::Funded { funded, balance } => {
                format!("it was funded, in all with {}; it has {}", words::money(*funded), words::money(*balance))
            }
            Event::Suspended { cause, .. } => {
                self.out.tone(Tone::Bad, &format!("suspended: {}", words::safe(cause, 200)))
            }
            Event::Ended { cause, tick } => {
                let how = match cause.as_str() {
                    "exhausted" => format!(
                        "its money is spent\nrevive it: igor fund {name} CREDITS, then the same `igor run` again"
                    ),
                    "completed" => "it said that it is done".to_owned(),
                    _ => "as its owner ordered".to_owned(),
                };
                format!("{} after tick {tick}: {how}", self.out.tone(Tone::Strong, "ended"))
            }
            Event::Stopped { tick } => {
                let stopped = self.out.tone(Tone::Strong, "stopped");
                format!("{stopped} after tick {tick}, state written; {} from here", self.who_goes_on())
            }
        })
    }

    /// Once it is stopped here its node is silent, which is all that standby nodes go by.
    const fn who_goes_on(&self) -> &'static str {
        if self.info.standby.is_empty() { "the same command goes on" } else { "a standby goes on" }
    }

    fn opening(&self, tick: u64, resumed: bool) -> String {
        let info = &self.info;
        let begins = if resumed { format!("goes on after tick {tick}") } else { "begins".to_owned() };
        let mut lines = vec![
            format!("{} {begins}   {}", self.out.tone(Tone::Strong, &info.name), info.agent),
            format!("  price       {} credits a second of execution; {}", info.price_per_second, runway(info)),
            format!("  durable on  {} ({})", info.durable_on, self.home),
        ];
        if !info.standby.is_empty() {
            let nodes: Vec<String> = info.standby.iter().map(ToString::to_string).collect();
            lines.push(format!("  standby     {}", nodes.join("\n              ")));
        }
        lines.extend([
            format!("  talk to it  igor call {} MESSAGE   (igor timeline {0} shows all that it did)", info.name),
            format!("  stop        Ctrl-C; {} where it was, also after a kill", self.who_goes_on()),
        ]);
        lines.join("\n")
    }
}

/// How long the balance pays for: in time of execution, and in ticks as they were so far.
fn runway(info: &AgentInfo) -> String {
    let (left, spent) = (info.balance.units(), info.spent.units());
    if left == 0 {
        return "nothing is left".to_owned();
    }
    let mut words = format!("it has {}", words::money(info.balance));
    let nanos = left.checked_div(info.price_per_second.units() / 1_000_000_000);
    if let Some(nanos) = nanos {
        let time = words::duration(Nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        let _ = write!(words, ", enough for {time} of it");
    }
    if let Some(ticks) = (left / spent.max(1)).checked_mul(u128::from(info.tick.0)).filter(|ticks| *ticks > 0) {
        let _ = write!(words, ", or about {} ticks", words::about(ticks));
    }
    words
}
