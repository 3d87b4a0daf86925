//! A node that has what it should not have: the home of another one as it was before, key and all.

use super::{
    NAME,
    host::{Host, Peer},
    wire::Wire,
};
use serde_json::Value;
use std::{path::Path, time::Duration};

/// An agent that ticks every millisecond and has not for so long, stands still.
const STANDS_FOR: Duration = Duration::from_millis(400);

/// A node on a copied home. It knows one other node, which it cannot reach at first.
pub(super) struct Rogue {
    host: Host,
    wire: Wire,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Refused {
    /// How `igor migrate` exited, and what it said.
    pub(super) code: i32,
    pub(super) said: String,
    /// What the copy itself says of the agent after that, when it stands still.
    pub(super) status: String,
    pub(super) cause: String,
    /// The end of the journal that it made on its own.
    pub(super) seq: u64,
    pub(super) head: String,
    pub(super) tick: u64,
}

impl Rogue {
    /// Copies the home of a node that does not run. The copy is to know `other`.
    pub(super) fn of(original: &Host, owner: &str, other: &Host, igor: &Path, folder: &Path) -> Result<Self, String> {
        let host = Host::copy_of(original, igor, folder, "copy")?;
        let wire = Wire::to(other.port, false)?;
        host.configure(owner, true, &[Peer { key: &other.key, port: Some(wire.port), sends: true }], "")?;
        Ok(Self { host, wire })
    }

    /// Starts it, cut off from everybody.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.host.start()
    }

    /// Waits until it has run the agent for so many ticks: the journal that it has says that it may.
    pub(super) fn runs(&self, ticks: u64) -> Result<(), String> {
        let tick = |shown: &Value| shown["tick"].as_u64().unwrap_or(0);
        let lives = |shown: &Value| shown["status"] == "running" || shown["status"] == "idle";
        let begun = tick(&self.host.until("the copy does not run", lives)?);
        self.host.until("the copy does not tick", |shown| tick(shown) >= begun + ticks).map(drop)
    }

    /// Connects it, has it give the agent to a node that had it since, and waits until it has heard why that is refused.
    pub(super) fn present(&self, to: &Host) -> Result<Refused, String> {
        self.wire.open();
        let answer = self.host.stage().ask(&["migrate", NAME, &to.key])?;
        // It goes on until it has heard of the record with its own signature that it does not remember.
        let mut before = Value::Null;
        let stands = |shown: &Value| std::mem::replace(&mut before, shown["seq"].clone()) == shown["seq"];
        let shown = self.host.until_every(STANDS_FOR, "the copy goes on", stands)?;
        let text = |field: &str| shown[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| shown[field].as_u64().unwrap_or(0);
        Ok(Refused {
            code: answer.code.unwrap_or(-1),
            said: answer.said.trim().trim_start_matches("igor: ").to_owned(),
            status: text("status"),
            cause: text("cause"),
            seq: number("seq"),
            head: text("head"),
            tick: number("tick"),
        })
    }
}
