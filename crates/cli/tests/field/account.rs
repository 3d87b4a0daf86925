//! What a life says at its end, held against all that was told of it and sent to it.

use super::{
    host::Host,
    load::{Sent, question},
    owners::Owners,
};
use crate::{
    NAME,
    audit::{self, Announced, Money},
};
use serde_json::Value;

/// What was seen. That nothing was lost, doubled or miscounted was checked before.
pub(crate) struct Account {
    pub(crate) owners: Owners,
    announced: usize,
    ticks: usize,
    entries: usize,
    lines: u64,
    questions: u64,
    money: Money,
    executed: u64,
    /// What the last node shows of the agent.
    pub(crate) shown: Value,
}

impl Account {
    /// Stops the nodes, and reads the journal of the one that has the agent: it stops last, when nobody is left who could
    /// have it after it.
    pub(crate) fn close(hosts: &mut [Host], last: usize, sent: &Sent) -> Result<Self, String> {
        for node in (0..hosts.len()).filter(|node| *node != last).chain([last]) {
            hosts[node].stop()?;
        }
        let stage = hosts[last].stage.clone();
        let mut told: Vec<_> = hosts.iter_mut().flat_map(|host| host.ear.close()).collect();
        told.sort_by_key(|told| told.tick.tick);
        let announced: Vec<Announced> = told.iter().map(|told| told.tick.clone()).collect();
        let journal = audit::Journal::read(&stage, NAME)?;
        journal.announced_are_there(&announced)?;
        journal.stream_once(&sent.stream, sent.lines)?;
        let questions = journal.ids_once((0..sent.questions).map(question))?;
        let shown = stage.ask(&["show", NAME])?.last()?;
        let money = journal.money(audit::amount(&shown["balance"])?)?;

        let owners = Owners::read(&stage)?;
        let keys: Vec<String> = hosts.iter().map(|host| host.key.to_string()).collect();
        owners.announced_by_owners(&told, &keys)?;
        let verdict = stage.ask(&["verify", NAME, "--execute"])?.last()?;
        if verdict["ok"] != true || verdict["runs"] != verdict["executed"] {
            return Err(format!("the life does not re-execute: {verdict}"));
        }
        let executed = verdict["executed"].as_u64().unwrap_or_default();
        let (announced, ticks, entries, lines) = (announced.len(), journal.ticks(), journal.entries(), sent.lines);
        Ok(Self { owners, announced, ticks, entries, lines, questions, money, executed, shown })
    }

    /// The rows of a report's table that every such trial has.
    pub(crate) fn rows(&self) -> String {
        let Self { owners, announced, ticks, entries, lines, questions, money, executed, .. } = self;
        format!(
            "| epochs, of these with two owners, or with a tick that another node announced | {}, 0, 0 |
| ticks announced, of these lost, repeated | {announced}, 0, 0 ({ticks} in the journal of {entries} entries) |
| messages sent, of these lost, processed twice | {}, 0, 0 ({lines} lines, {questions} questions) |
| ledger, to the last unit, each bill by its host's Terms | {} given = {} spent + {} left |
| runs executed again, of these different | {executed}, 0 |
",
            owners.epochs(),
            lines + questions,
            money.funded,
            money.spent,
            money.balance,
        )
    }
}
