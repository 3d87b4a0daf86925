//! Who had the agent in which epoch, by its final journal; and that nobody else announced anything.

use super::ear::Told;
use crate::{NAME, stage::Stage};
use serde_json::Value;
use std::collections::BTreeMap;

/// The custody of a life, read from `timeline`.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// By epoch, as it is written.
    by_epoch: BTreeMap<(u64, u64), String>,
    custodian: String,
    /// To whom it was given, while there is no answer.
    given: Option<String>,
    epoch: (u64, u64),
    pub(crate) moves: u32,
    pub(crate) returns: u32,
    /// How often another node went on with it.
    pub(crate) fences: u32,
    /// The head after each entry.
    heads: Vec<String>,
}

impl Owners {
    /// Reads an agent's journal, and holds its custody against the rules.
    pub(crate) fn read(stage: &Stage) -> Result<Self, String> {
        let mut owners = Self::default();
        match stage.read(&["timeline", NAME], |row| owners.take(&row))? {
            (Some(0), _) => Ok(owners),
            (code, said) => Err(format!("timeline exited with {code:?}: {said}")),
        }
    }

    fn take(&mut self, row: &Value) -> Result<(), String> {
        let text = |field: &str| row[field].as_str().map(str::to_owned).ok_or_else(|| format!("no `{field}` in {row}"));
        let epoch = parse(&text("epoch")?)?;
        if epoch < self.epoch {
            return Err(format!("epoch {epoch:?} after {:?}: {row}", self.epoch));
        }
        self.epoch = epoch;
        self.heads.push(text("head")?);
        let kind = text("kind")?;
        match (kind.as_str(), row["phase"].as_str()) {
            ("genesis", _) => self.custodian = text("custodian")?,
            ("custody", Some("handoff")) if self.given.is_none() && text("from")? == self.custodian => {
                self.given = Some(text("to")?);
                return Ok(());
            }
            ("custody", Some("accept")) if self.given.as_ref() == Some(&text("to")?) => {
                self.custodian = text("to")?;
                (self.given, self.moves) = (None, self.moves + 1);
            }
            ("custody", Some("return")) if self.given.is_some() && text("from")? == self.custodian => {
                (self.given, self.returns) = (None, self.returns + 1);
            }
            ("custody", Some("fence")) if text("from")? == self.custodian => {
                self.fences += u32::from(self.custodian != text("to")?);
                (self.given, self.custodian) = (None, text("to")?);
            }
            ("custody", _) => return Err(format!("this does not follow in custody: {row}")),
            _ if self.given.is_some() => return Err(format!("this happened in a pause: {row}")),
            _ => {}
        }
        match self.by_epoch.insert(epoch, self.custodian.clone()) {
            Some(before) if before != self.custodian => {
                Err(format!("epoch {epoch:?} belonged to {before}, and then to {}", self.custodian))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn epochs(&self) -> usize {
        self.by_epoch.len()
    }

    /// What was announced came from the one node that had the agent in that epoch.
    pub(crate) fn announced_by_owners(&self, told: &[Told], keys: &[String]) -> Result<(), String> {
        let stranger = told.iter().find(|told| {
            let owner = parse(&told.epoch).ok().and_then(|epoch| self.by_epoch.get(&epoch));
            owner.is_none_or(|owner| keys.get(told.node) != Some(owner))
        });
        stranger.map_or(Ok(()), |told| {
            Err(format!(
                "tick {} was announced in epoch {} by node {}, which did not have the agent",
                told.tick.tick, told.epoch, told.node
            ))
        })
    }

    /// Whether a journal that ends with this head after this entry is a beginning of this one.
    pub(crate) fn begins_with(&self, seq: u64, head: &str) -> bool {
        usize::try_from(seq).ok().and_then(|seq| self.heads.get(seq)).is_some_and(|there| there == head)
    }
}

fn parse(epoch: &str) -> Result<(u64, u64), String> {
    let parts = epoch.split_once('.').and_then(|(term, n)| Some((term.parse().ok()?, n.parse().ok()?)));
    parts.ok_or_else(|| format!("{epoch:?} is no epoch"))
}
