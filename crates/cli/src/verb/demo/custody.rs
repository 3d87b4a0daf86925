//! What must hold of a life over its moves, seen from outside: from `timeline --json` and the prices that nodes asked.
//!
//! Invariant: what is checked here is computed here. That a node says so is not believed.

use super::audit::amount;
use igor_protocol::Credits;
use serde_json::Value;
use std::collections::BTreeMap;

/// A run is billed for at most this much time, unless it took more fuel than a short run does: as the default manifest
/// says.
const SURELY_BILLED_NS: u64 = 1_000_000;

/// What a node asks, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_ns: u128,
    pub(crate) per_fuel: u128,
}

impl Rate {
    /// A price in credits a second and credits a unit of fuel.
    pub(crate) fn new(per_second: &str, per_fuel: &str) -> Result<Self, String> {
        let units = |text: &str| text.parse::<Credits>().map(Credits::units).map_err(|e| format!("{text}: {e}"));
        Ok(Self { per_ns: units(per_second)? / 1_000_000_000, per_fuel: units(per_fuel)? })
    }
}

/// Who had custody when, and what was charged.
#[derive(Debug)]
pub(crate) struct Custody {
    rates: BTreeMap<String, Rate>,
    /// The custodian of each epoch in which something was run, in the order in which they came.
    epochs: Vec<((u64, u64), String)>,
    custodian: String,
    /// To whom it was given, while there is no answer.
    given: Option<String>,
    /// The epoch of the last entry.
    epoch: (u64, u64),
    bills: u64,
}

impl Custody {
    /// Before the first entry. Each node is known by its key, and asked this.
    pub(crate) const fn new(rates: BTreeMap<String, Rate>) -> Self {
        Self { rates, epochs: Vec::new(), custodian: String::new(), given: None, epoch: (0, 0), bills: 0 }
    }

    /// Takes the next entry into account. Fails where it breaks a rule.
    pub(crate) fn take(&mut self, row: &Value) -> Result<(), String> {
        let seq = &row["seq"];
        let epoch = epoch(row).ok_or_else(|| format!("entry {seq} has no epoch"))?;
        if epoch < self.epoch {
            return Err(format!("entry {seq} is of epoch {epoch:?}, after {:?}", self.epoch));
        }
        let raised = epoch > self.epoch;
        self.epoch = epoch;
        match row["kind"].as_str() {
            Some("genesis") => {
                text(row, "custodian")?.clone_into(&mut self.custodian);
                self.check_price(row, &self.custodian)
            }
            Some("custody") => self.change(row, raised),
            _ if raised => Err(format!("entry {seq} raises the epoch, and is no change of custody")),
            Some("run") => self.run(row),
            _ => Ok(()),
        }
    }

    fn change(&mut self, row: &Value, raised: bool) -> Result<(), String> {
        let (seq, to) = (&row["seq"], text(row, "to")?);
        match (row["phase"].as_str(), self.given.take()) {
            (Some("handoff"), None) if raised && row["from"] == self.custodian.as_str() => {
                self.given = Some(to.to_owned());
                self.check_price(row, to)
            }
            (Some("accept"), Some(given)) if !raised && given == to => {
                self.custodian = given;
                self.check_price(row, to)
            }
            (Some("return"), Some(_)) if raised && row["from"] == self.custodian.as_str() => Ok(()),
            (Some("fence"), _) if raised && row["from"] == self.custodian.as_str() => {
                to.clone_into(&mut self.custodian);
                self.check_price(row, to)
            }
            (phase, given) => {
                Err(format!("entry {seq}: {phase:?} where {} had it, given to {given:?}", self.custodian))
            }
        }
    }

    fn run(&mut self, row: &Value) -> Result<(), String> {
        let seq = &row["seq"];
        if let Some(to) = &self.given {
            return Err(format!("entry {seq} is a run after the agent was given to {to}"));
        }
        match self.epochs.last() {
            Some((epoch, custodian)) if *epoch == self.epoch && *custodian == self.custodian => {}
            Some((epoch, custodian)) if *epoch == self.epoch => {
                return Err(format!("in epoch {epoch:?} both {custodian} and {} ran it", self.custodian));
            }
            _ => self.epochs.push((self.epoch, self.custodian.clone())),
        }
        self.bill(row)
    }

    /// Duration and fuel by the price of the host; less only where the bill has its ceiling, or the money its end.
    fn bill(&mut self, row: &Value) -> Result<(), String> {
        let number = |field: &str| row[field].as_u64().ok_or_else(|| format!("no `{field}` in {row}"));
        let rate = self.rates.get(&self.custodian).ok_or_else(|| format!("nobody knows {}", self.custodian))?;
        let (time, fuel) = (number("duration_ns")?, number("fuel")?);
        let bill = |time: u64| u128::from(time) * rate.per_ns + u128::from(fuel) * rate.per_fuel;
        let (cost, left) = (amount(&row["cost"])?.units(), amount(&row["balance"])?.units());
        self.bills += 1;
        let least = if left == 0 { 0 } else { bill(time.min(SURELY_BILLED_NS)) };
        if (least..=bill(time)).contains(&cost) {
            Ok(())
        } else {
            Err(format!("entry {} costs {cost} units; by its host's price it is {}", row["seq"], bill(time)))
        }
    }

    fn check_price(&self, row: &Value, node: &str) -> Result<(), String> {
        let rate = self.rates.get(node).ok_or_else(|| format!("nobody knows {node}"))?;
        let said = amount(&row["price_per_second"])?.units();
        if said == rate.per_ns * 1_000_000_000 {
            Ok(())
        } else {
            Err(format!("entry {}: {node} is to be paid {said} units a second, which is not what it asks", row["seq"]))
        }
    }

    /// The custodian of each epoch in which something was run.
    pub(crate) fn epochs(&self) -> &[((u64, u64), String)] {
        &self.epochs
    }

    /// How many bills were checked.
    pub(crate) const fn bills(&self) -> u64 {
        self.bills
    }
}

fn epoch(row: &Value) -> Option<(u64, u64)> {
    let (term, n) = row["epoch"].as_str()?.split_once('.')?;
    Some((term.parse().ok()?, n.parse().ok()?))
}

fn text<'a>(row: &'a Value, field: &str) -> Result<&'a str, String> {
    row[field].as_str().ok_or_else(|| format!("no `{field}` in {row}"))
}

#[cfg(test)]
mod tests;
