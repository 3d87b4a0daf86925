//! What must hold of a journal, seen from outside: from `timeline --json` and from what `run --json` announced.

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

/// A whole journal, as `timeline --json` prints it.
#[derive(Debug)]
pub(crate) struct Journal {
    rows: Vec<Value>,
}

/// The money of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) funded: Credits,
    pub(crate) spent: Credits,
    pub(crate) balance: Credits,
}

impl Journal {
    pub(crate) const fn new(rows: Vec<Value>) -> Self {
        Self { rows }
    }

    pub(crate) fn entries(&self) -> usize {
        self.rows.len()
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.rows.iter().filter(move |row| row["kind"] == kind)
    }

    /// All ticks, by number.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("run").filter(|row| row["call"] == "tick")
    }

    /// How often the agent ended.
    pub(crate) fn ends(&self) -> usize {
        self.of_kind("end").count()
    }

    /// Ticks are numbered one by one, and every announced one is there, once, as it was announced.
    pub(crate) fn announced_are_there(&self, announced: &[Announced]) -> Result<(), String> {
        let mut ticks: BTreeMap<u64, &Value> = BTreeMap::new();
        for (expected, row) in (1..).zip(self.ticks()) {
            if row["tick"].as_u64() != Some(expected) {
                return Err(format!("tick {} stands where tick {expected} should", row["tick"]));
            }
            ticks.insert(expected, row);
        }
        for told in announced {
            let row = ticks.get(&told.tick).ok_or_else(|| format!("tick {} was announced and is lost", told.tick))?;
            if row["seq"].as_u64() != Some(told.seq) || row["head"].as_str() != Some(&told.head) {
                return Err(format!("tick {} was announced as entry {}, the journal has another", told.tick, told.seq));
            }
        }
        let mut numbers: Vec<u64> = announced.iter().map(|told| told.tick).collect();
        numbers.sort_unstable();
        match numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(format!("tick {} was announced twice", twice[0])),
            None => Ok(()),
        }
    }

    /// The numbers of each stream are there from 1 to the end, once, and each was taken by one run that counts.
    pub(crate) fn messages_once(&self, stream: &str, count: u64) -> Result<(), String> {
        let mut seqs = Vec::new();
        for (expected, row) in (1..).zip(self.of_kind("message").filter(|row| row["stream"] == stream)) {
            if row["n"].as_u64() != Some(expected) {
                return Err(format!("message {} stands where message {expected} should", row["n"]));
            }
            seqs.push(row["seq"].as_u64().ok_or("a message without a seq")?);
        }
        if seqs.len() as u64 != count {
            return Err(format!("{} messages are there, {count} were sent", seqs.len()));
        }
        let mut taken: BTreeMap<u64, u32> = BTreeMap::new();
        for row in self.ticks().filter(|row| row["outcome"] == "ok") {
            for seq in row["messages"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
                *taken.entry(seq).or_default() += 1;
            }
        }
        match seqs.iter().find(|seq| taken.get(seq) != Some(&1)) {
            Some(seq) => {
                Err(format!("the message of entry {seq} was processed {} times", taken.get(seq).unwrap_or(&0)))
            }
            None => Ok(()),
        }
    }

    /// What was given, less every single cost, is what is left: to the last unit.
    pub(crate) fn money(&self, balance: Credits) -> Result<Money, String> {
        let mut funded = Credits::ZERO;
        let mut spent = Credits::ZERO;
        for row in &self.rows {
            match row["kind"].as_str() {
                Some("genesis") => funded = amount(&row["budget"])?,
                Some("order") if row["action"] == "fund" => funded = amount(&row["total"])?,
                Some("run") => spent = spent.checked_add(amount(&row["cost"])?).ok_or("the costs overflow")?,
                _ => {}
            }
        }
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
