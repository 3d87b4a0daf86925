//! Numbers as people read them. Scripts get exact values from the JSON instead.

use igor_protocol::{Credits, Nanos, Timestamp};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment in RFC 3339, UTC.
pub(crate) fn time(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| at.0.to_string())
}

/// A duration with two or three digits: `51 us`, `1.2 s`, `3 h 20 min`.
pub(crate) fn duration(nanos: Nanos) -> String {
    const SECOND: u64 = 1_000_000_000;
    let n = nanos.0;
    let decimal = |unit: u64, name: &str| {
        let tenths = n / (unit / 10);
        if tenths < 100 && !tenths.is_multiple_of(10) {
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        } else {
            format!("{} {name}", n / unit)
        }
    };
    let two = |big: u64, name: &str, small: u64, small_name: &str| match n % big / small {
        0 => format!("{} {name}", n / big),
        rest => format!("{} {name} {rest} {small_name}", n / big),
    };
    match n {
        0..1_000 => format!("{n} ns"),
        1_000..1_000_000 => decimal(1_000, "us"),
        1_000_000..SECOND => decimal(1_000_000, "ms"),
        SECOND..60_000_000_000 => decimal(SECOND, "s"),
        60_000_000_000..3_600_000_000_000 => two(60 * SECOND, "min", SECOND, "s"),
        3_600_000_000_000..86_400_000_000_000 => two(3_600 * SECOND, "h", 60 * SECOND, "min"),
        _ => two(86_400 * SECOND, "d", 3_600 * SECOND, "h"),
    }
}

/// An amount with a few digits: `9.99 credits`, `51 microcredits`, `nothing`. Cut, never rounded up.
pub(crate) fn money(amount: Credits) -> String {
    const CREDIT: u128 = 1_000_000_000_000_000_000;
    const STEPS: [(u128, &str); 5] = [
        (CREDIT, "credits"),
        (CREDIT / 1_000_000, "microcredits"),
        (CREDIT / 1_000_000_000, "nanocredits"),
        (CREDIT / 1_000_000_000_000, "picocredits"),
        (1, "units"),
    ];
    let units = amount.units();
    if units == 0 {
        return "nothing".to_owned();
    }
    // From a hundredth of a credit on, in credits; below, in the largest unit of which there is one.
    let (unit, name) = if units >= CREDIT / 100 {
        STEPS[0]
    } else {
        STEPS.into_iter().find(|(unit, _)| units >= *unit).unwrap_or(STEPS[4])
    };
    let (whole, rest) = (units / unit, units % unit);
    let decimals = match whole {
        _ if unit == 1 => 0,
        0..10 if name == "credits" => 6,
        0..1000 => 2,
        _ => 0,
    };
    let scale = 10_u128.pow(decimals);
    let fraction = rest / (unit / scale.min(unit)).max(1);
    if decimals == 0 || fraction == 0 {
        return format!("{whole} {}", if whole == 1 { name.trim_end_matches('s') } else { name });
    }
    let digits = format!("{fraction:0width$}", width = decimals as usize);
    format!("{whole}.{} {name}", digits.trim_end_matches('0'))
}

/// A large number in round words: `812`, `51 thousand`, `3 million`.
pub(crate) fn about(number: u128) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{} thousand", number / 1_000),
        1_000_000..1_000_000_000 => format!("{} million", number / 1_000_000),
        _ => format!("{} billion", number / 1_000_000_000),
    }
}

/// A number of bytes: `812 bytes`, `48 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} bytes"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        10_485_760..10_737_418_240 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}

/// A count with its noun: `1 tick`, `3 ticks`, `2 entries`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// Fuel in round numbers: `812`, `14 k`, `1.2 M`.
pub(crate) fn fuel(fuel: igor_protocol::Fuel) -> String {
    match fuel.0 {
        n @ 0..10_000 => format!("{n}"),
        n @ 10_000..1_000_000 => format!("{} k", n / 1_000),
        n @ 1_000_000..1_000_000_000 => format!("{}.{} M", n / 1_000_000, n % 1_000_000 / 100_000),
        n => format!("{}.{} G", n / 1_000_000_000, n % 1_000_000_000 / 100_000_000),
    }
}

/// Text from outside for a terminal: one line, at most `max` characters, nothing that moves the cursor but on. Tabs
/// stay, for whoever cuts the line at them.
pub(crate) fn safe(text: &str, max: usize) -> String {
    let mut safe: String =
        text.chars().take(max).map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(max).is_some() {
        safe.push_str("...");
    }
    safe
}

#[cfg(test)]
mod tests;
