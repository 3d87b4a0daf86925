//! Values of flags: each is within its bounds, or is refused with what to write.

use igor_node::home::price_per_ns;
use igor_protocol::{Credits, Nanos, NodeId, Tick, limits::SILENT_MIN};

/// A duration: digits with a unit, or `0`.
pub(super) fn duration(text: &str) -> Result<Nanos, String> {
    const UNITS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text == "0" {
        return Ok(Nanos::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let nanos = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos);
    let (Some(nanos), false) = (nanos, digits.is_empty()) else {
        return Err("not a duration; write digits with ns, us, ms, s, m or h, such as 10ms, or 0".to_owned());
    };
    let sum = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(nanos)).map(Nanos);
    sum.ok_or_else(|| "too long; a duration is at most 584 years".to_owned())
}

/// How long a node may be silent before others go on with its agents.
pub(super) fn silence(text: &str) -> Result<Nanos, String> {
    let time = duration(text)?;
    let too_short = || {
        format!(
            "too short; it is at least {} ms, since a node says only five times a second that it is well",
            SILENT_MIN.0 / 1_000_000
        )
    };
    (time >= SILENT_MIN).then_some(time).ok_or_else(too_short)
}

/// A price of execution, in credits a second, as units a nanosecond.
pub(super) fn price(text: &str) -> Result<u64, String> {
    price_per_ns(text).map_err(|e| e.to_string())
}

pub(super) fn node_id(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|e| format!("not a node's key: {e}; `igor nodes` and `igor key` show such keys"))
}

pub(super) fn some_credits(text: &str) -> Result<Credits, String> {
    match text.parse() {
        Ok(Credits::ZERO) => Err("nothing to add; give an amount above zero".to_owned()),
        Ok(amount) => Ok(amount),
        Err(e) => Err(igor_protocol::units::CreditsParseError::to_string(&e)),
    }
}

pub(super) fn tick(text: &str) -> Result<Tick, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a tick; they are numbered from 1".to_owned()),
        Ok(number) => Ok(Tick(number)),
    }
}
