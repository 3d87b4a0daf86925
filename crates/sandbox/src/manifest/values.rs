//! Sections and values of a manifest, each read with the name of its field.

use super::Error;
use crate::error::Text;
use igor_protocol::{
    Nanos, NodeId,
    limits::{SILENT_MIN, STANDBY_MAX},
};
use toml::{Table, Value};

const NUMBER: &str = "a whole number that is not negative, such as 1000";
const BYTES: &str = "bytes as a whole number, or a text such as \"64MiB\" (KiB, MiB, GiB)";
const DURATION: &str = "a text such as \"0\", \"10ms\" or \"1s\" (ns, us, ms, s, m, h)";
const NODES: &str =
    "a list of nodes' keys, such as [\"did:key:z6Mk...\"], each once and at most 16 (`igor key` shows a node's)";
const SILENCE: &str = "\"600ms\" or longer: a node says only five times a second that it is well";
// The texts say these.
const _: () = assert!(STANDBY_MAX == 16 && SILENT_MIN.0 == 600_000_000);

/// A table that is being read. What was read is taken out, so that what is left is unknown.
pub(super) struct Section {
    /// With a dot at its end; empty for the whole.
    prefix: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Section {
    /// The whole text.
    pub(super) const fn root(table: Table) -> Self {
        Self { prefix: String::new(), table, known: Vec::new() }
    }

    /// Reads a section with `read`, if it is there; nothing unknown may be left in it.
    pub(super) fn section(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(value) = self.take(name) else { return Ok(()) };
        let Value::Table(table) = value else {
            return Err(self.unfit(name, &value, "a section, in a line of its own in brackets"));
        };
        let mut section = Self { prefix: format!("{name}."), table, known: Vec::new() };
        read(&mut section)?;
        section.end()
    }

    /// Refuses what was not read.
    pub(super) fn end(self) -> Result<(), Error> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => {
                Err(Error::Unknown { field: Text::new(&format!("{}{key}", self.prefix)), known: self.known.join(", ") })
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str, into: &mut Option<String>) -> Result<(), Error> {
        match self.take(key) {
            None => {}
            Some(Value::String(text)) => *into = Some(text),
            Some(value) => return Err(self.unfit(key, &value, "a text in quotes")),
        }
        Ok(())
    }

    pub(super) fn flag(&mut self, key: &'static str, into: &mut bool) -> Result<(), Error> {
        match self.take(key) {
            None => {}
            Some(Value::Boolean(flag)) => *into = flag,
            Some(value) => return Err(self.unfit(key, &value, "true or false")),
        }
        Ok(())
    }

    /// A count.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str, into: &mut T) -> Result<(), Error> {
        let Some(value) = self.take(key) else { return Ok(()) };
        let number = value.as_integer().and_then(|number| T::try_from(number).ok());
        *into = number.ok_or_else(|| self.unfit(key, &value, NUMBER))?;
        Ok(())
    }

    /// A size: a number of bytes, or a text with a unit.
    pub(super) fn bytes<T: TryFrom<u64>>(&mut self, key: &'static str, into: &mut T) -> Result<(), Error> {
        let Some(value) = self.take(key) else { return Ok(()) };
        let bytes = match &value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::String(text) => bytes(text),
            _ => None,
        };
        *into = bytes.and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(|| self.unfit(key, &value, BYTES))?;
        Ok(())
    }

    pub(super) fn duration(&mut self, key: &'static str, into: &mut Nanos) -> Result<(), Error> {
        let Some(value) = self.take(key) else { return Ok(()) };
        *into = value.as_str().and_then(duration).ok_or_else(|| self.unfit(key, &value, DURATION))?;
        Ok(())
    }

    /// Keys of nodes, in their order.
    pub(super) fn nodes(&mut self, key: &'static str, into: &mut Vec<NodeId>) -> Result<(), Error> {
        let Some(value) = self.take(key) else { return Ok(()) };
        let Value::Array(values) = &value else { return Err(self.unfit(key, &value, NODES)) };
        if values.len() > STANDBY_MAX {
            return Err(self.wrong(key, &format!("a list of {}", values.len()), NODES));
        }
        for one in values {
            let node = one.as_str().and_then(|text| text.parse().ok()).filter(|node| !into.contains(node));
            into.push(node.ok_or_else(|| self.unfit(key, one, NODES))?);
        }
        Ok(())
    }

    /// How long a node is silent before others go on.
    pub(super) fn silence(&mut self, key: &'static str, into: &mut Option<Nanos>) -> Result<(), Error> {
        let Some(value) = self.take(key) else { return Ok(()) };
        let time = value.as_str().and_then(duration).filter(|time| *time >= SILENT_MIN);
        *into = Some(time.ok_or_else(|| self.unfit(key, &value, SILENCE))?);
        Ok(())
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn unfit(&self, key: &str, value: &Value, wanted: &'static str) -> Error {
        let found = match value {
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::String(text) => format!("\"{text}\""),
            other => other.type_str().to_owned(),
        };
        self.wrong(key, &found, wanted)
    }

    fn wrong(&self, key: &str, found: &str, wanted: &'static str) -> Error {
        Error::Value { field: format!("{}{key}", self.prefix), found: Text::new(found), wanted }
    }
}

/// `64MiB`, `1GiB`, `4096`.
fn bytes(text: &str) -> Option<u64> {
    scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)])
}

/// `0`, `10ms`, `1s`. Only zero needs no unit.
fn duration(text: &str) -> Option<Nanos> {
    const SECOND: u64 = 1_000_000_000;
    if text == "0" {
        return Some(Nanos::ZERO);
    }
    // The longer units first: `ms` also ends in `s`.
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", SECOND), ("m", 60 * SECOND), ("h", 3600 * SECOND)];
    scaled(text, &units).map(Nanos)
}

/// A whole number with the first of these units that fits.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    let digits = digits.trim_end();
    // `parse` would take a sign.
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(factor))?
}
