//! What must hold of a journal, seen from outside: from `timeline --json` and from what `run --json` announced.

use super::stage::Stage;
use igor_protocol::Credits;
use serde_json::Value;
use std::collections::BTreeMap;

/// A tick that a process announced before it was killed, or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) tick: u64,
    pub(crate) seq: u64,
    pub(crate) head: String,
}

impl Announced {
    /// The tick that an event line of `run` announces.
    pub(crate) fn of(row: &Value) -> Option<Self> {
        (row["event"] == "tick").then_some(())?;
        Some(Self { tick: row["tick"].as_u64()?, seq: row["seq"].as_u64()?, head: row["head"].as_str()?.to_owned() })
    }
}

/// A whole journal, as `timeline --json` prints it: what the checks need of it.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The head after each entry.
    heads: Vec<String>,
    ends: usize,
    funded: Credits,
    spent: Credits,
    /// Position and head of each tick, by its place in the journal.
    ticks: Vec<(u64, u64, String)>,
    messages: Vec<Message>,
    /// How often runs that count took the message at a position.
    taken: BTreeMap<u64, u32>,
}

#[derive(Debug)]
struct Message {
    seq: u64,
    stream: Option<String>,
    n: Option<u64>,
    id: Option<String>,
}

/// The money of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) funded: Credits,
    pub(crate) spent: Credits,
    pub(crate) balance: Credits,
}

impl Journal {
    /// Reads an agent's journal.
    pub(crate) fn read(stage: &Stage, agent: &str) -> Result<Self, String> {
        Self::read_with(stage, agent, |_| Ok(()))
    }

    /// The same, with another look at each entry.
    pub(crate) fn read_with(
        stage: &Stage,
        agent: &str,
        mut look: impl FnMut(&Value) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut journal = Self::default();
        match stage.read(&["timeline", agent], |row| journal.take(&row).and_then(|()| look(&row)))? {
            (Some(0), _) => Ok(journal),
            (code, said) => Err(format!("timeline exited with {code:?}: {said}")),
        }
    }

    fn take(&mut self, row: &Value) -> Result<(), String> {
        let number = |field: &str| row[field].as_u64().ok_or_else(|| format!("no `{field}` in {row}"));
        let text = |field: &str| row[field].as_str().map(str::to_owned);
        self.heads.push(text("head").unwrap_or_default());
        match row["kind"].as_str() {
            Some("genesis") => self.funded = amount(&row["budget"])?,
            Some("order") if row["action"] == "fund" => self.funded = amount(&row["total"])?,
            Some("message") => {
                let (seq, n) = (number("seq")?, row["n"].as_u64());
                self.messages.push(Message { seq, stream: text("stream"), n, id: text("id") });
            }
            Some("end") => self.ends += 1,
            Some("run") => {
                self.spent = self.spent.checked_add(amount(&row["cost"])?).ok_or("the costs overflow")?;
                if row["call"] == "tick" {
                    self.ticks.push((number("tick")?, number("seq")?, text("head").unwrap_or_default()));
                }
                if row["outcome"] == "ok" {
                    for seq in row["messages"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
                        *self.taken.entry(seq).or_default() += 1;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) const fn entries(&self) -> usize {
        self.heads.len()
    }

    /// Whether the entry at this position has this head.
    pub(crate) fn has(&self, seq: u64, head: &str) -> bool {
        usize::try_from(seq).ok().and_then(|seq| self.heads.get(seq)).is_some_and(|there| there == head)
    }

    /// How many ticks it has.
    pub(crate) const fn ticks(&self) -> usize {
        self.ticks.len()
    }

    /// How often the agent ended.
    pub(crate) const fn ends(&self) -> usize {
        self.ends
    }

    /// Ticks are numbered one by one, and every announced one is there, as it was announced, and announced once.
    pub(crate) fn announced_are_there(&self, announced: &[Announced]) -> Result<(), String> {
        if let Some((expected, (tick, ..))) = (1..).zip(&self.ticks).find(|(expected, (tick, ..))| tick != expected) {
            return Err(format!("tick {tick} stands where tick {expected} should"));
        }
        let mut before = 0;
        for told in announced {
            let place = usize::try_from(told.tick).ok().and_then(|tick| tick.checked_sub(1));
            let there = place.and_then(|place| self.ticks.get(place));
            let (_, seq, head) = there.ok_or_else(|| format!("tick {} was announced and is lost", told.tick))?;
            if (*seq, head) != (told.seq, &told.head) {
                return Err(format!("tick {} was announced as entry {}; the journal has another", told.tick, told.seq));
            }
            if told.tick <= before {
                return Err(format!("tick {} was announced after tick {before}", told.tick));
            }
            before = told.tick;
        }
        Ok(())
    }

    /// The numbers of a stream are there from 1 to the end, once, and each was taken by one run that counts.
    pub(crate) fn stream_once(&self, stream: &str, count: u64) -> Result<(), String> {
        let of_stream = || self.messages.iter().filter(|message| message.stream.as_deref() == Some(stream));
        if let Some((expected, message)) = (1..).zip(of_stream()).find(|(n, message)| message.n != Some(*n)) {
            return Err(format!("message {:?} stands where message {expected} should", message.n));
        }
        match of_stream().count() as u64 {
            there if there == count => self.taken_once(of_stream()),
            there => Err(format!("{there} messages are there, {count} were sent")),
        }
    }

    /// Each of these ids is there once, and was taken by one run that counts.
    pub(crate) fn ids_once(&self, ids: impl Iterator<Item = String>) -> Result<u64, String> {
        let mut known: BTreeMap<&str, &Message> = BTreeMap::new();
        for message in &self.messages {
            if let Some(id) = &message.id
                && known.insert(id, message).is_some()
            {
                return Err(format!("the message with id {id} is there twice"));
            }
        }
        let mut count = 0;
        for id in ids {
            let message = known.get(id.as_str()).ok_or_else(|| format!("the message with id {id} is lost"))?;
            self.taken_once(std::iter::once(*message))?;
            count += 1;
        }
        Ok(count)
    }

    fn taken_once<'a>(&self, mut messages: impl Iterator<Item = &'a Message>) -> Result<(), String> {
        let times = |message: &Message| self.taken.get(&message.seq).copied().unwrap_or_default();
        match messages.find(|message| times(message) != 1) {
            Some(message) => {
                Err(format!("the message of entry {} was processed {} times", message.seq, times(message)))
            }
            None => Ok(()),
        }
    }

    /// What was given, less every single cost, is what is left: to the last unit.
    pub(crate) fn money(&self, balance: Credits) -> Result<Money, String> {
        let Self { funded, spent, .. } = *self;
        match funded.checked_sub(spent) {
            Some(rest) if rest == balance => Ok(Money { funded, spent, balance }),
            rest => Err(format!("{funded} less {spent} is {rest:?}, but the balance is {balance}")),
        }
    }
}

/// A decimal string of credits.
pub(crate) fn amount(value: &Value) -> Result<Credits, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is not an amount"))?;
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

// By its path, since another test looks at journals with this file too.
#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;
