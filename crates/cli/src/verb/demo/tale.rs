//! What every story has: an audience, and somebody who reads along with the agent, wherever it is.
//!
//! Invariant kept here: what a node tells is kept as it was told, whatever becomes of the node.

use super::{
    Broken, LINES,
    audit::Announced,
    host::{Host, going_on},
    screen::{Doing, Picture, Screen, Whereabouts},
    watcher::{News, Watcher},
};
use crate::output::{Output, Tone};
use igor_protocol::Seq;
use std::time::{Duration, Instant};

/// How often it is looked whether something has happened.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// A story while it is told.
pub(super) struct Tale {
    pub(super) screen: Screen,
    pub(super) announced: Vec<Announced>,
    /// The position after the last entry that was told.
    pub(super) next: u64,
    /// Where the agent lived, one node after the other.
    pub(super) journey: Vec<usize>,
    watcher: Option<Watcher>,
}

impl Tale {
    /// Of three nodes; `blows` is what is done to them.
    pub(super) fn new(out: Output, letters: [&'static str; 3], blows: &'static str) -> Self {
        let picture = Picture {
            nodes: letters.map(|letter| (letter, Doing::Runs)),
            agent: Whereabouts::Nowhere,
            tick: 0,
            epoch: "0.0".to_owned(),
            prices: (0, LINES),
            blows: 0,
            named: blows,
        };
        let screen = Screen::new(out, picture);
        Self { screen, announced: Vec::new(), next: 0, journey: Vec::new(), watcher: None }
    }

    pub(super) fn last_tick(&self) -> u64 {
        self.announced.last().map_or(0, |told| told.tick)
    }

    /// A new act begins.
    pub(super) fn act(&mut self, title: &str) -> Result<(), Broken> {
        let title = self.screen.tone(Tone::Strong, title);
        Ok(self.screen.words(format!("\n{title}"))?)
    }

    /// From now on the agent is read along with there.
    pub(super) fn lives_at(&mut self, node: usize, host: &Host) -> Result<(), String> {
        self.watcher = Some(Watcher::begin(&host.socket()?, Seq(self.next)));
        self.journey.push(node);
        self.screen.picture.agent = Whereabouts::At(node);
        Ok(())
    }

    /// The next thing that a node tells of the agent, or nothing by then.
    pub(super) fn hear(&mut self, deadline: Instant) -> Result<Option<News>, Broken> {
        going_on()?;
        self.screen.refresh()?;
        let slice = deadline.min(Instant::now() + SLICE);
        let Some(told) = self.watcher.as_ref().and_then(|watcher| watcher.hear(slice)) else { return Ok(None) };
        self.next = told.seq + 1;
        let picture = &mut self.screen.picture;
        picture.epoch = told.epoch;
        match &told.news {
            News::Tick(tick) => {
                picture.tick = tick.tick;
                self.announced.push(tick.clone());
            }
            News::Message(Some(n)) => picture.prices.0 = *n,
            News::Message(None) | News::Ended | News::Other => {}
        }
        Ok(Some(told.news))
    }
}
