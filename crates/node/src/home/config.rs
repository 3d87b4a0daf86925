//! `node.toml`: what the operator of a node decides. Every field may be left out.

use super::Error;
use igor_protocol::{Credits, Manifest, Terms, manifest::Limits};
use serde::Deserialize;
use std::{
    fs,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Longest configuration, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Units a second for each unit a nanosecond.
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// What `node.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[price]`: what execution here costs, unless `run --price` says otherwise.
    pub price: Prices,
    /// `[grants]`: the most that an agent may ask for.
    pub grants: Grants,
    /// `[api]`: how the API is reached beside the Unix socket.
    pub api: ApiConfig,
}

/// `[price]`, in credits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// Credits for a second of execution, as a decimal string. A multiple of 0.000000001.
    pub per_second: String,
    /// Credits for a unit of fuel, as a decimal string.
    pub per_fuel: String,
}

impl Default for Prices {
    fn default() -> Self {
        Self { per_second: "0.001".into(), per_fuel: "0".into() }
    }
}

/// `[grants]`: a manifest that asks for more is refused, never trimmed, since guests can see their limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Memory of one instance, in bytes. A checkpoint has two instances for a moment.
    pub memory_bytes: u64,
    /// Time of one run, in milliseconds.
    pub tick_time_ms: u64,
    /// Fuel of one run.
    pub tick_fuel: u64,
    /// State of a checkpoint, in bytes.
    pub state_bytes: u64,
    /// Open messages, in bytes.
    pub inbox_bytes: u64,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            tick_time_ms: 10_000,
            tick_fuel: 1 << 40,
            state_bytes: 64 << 20,
            inbox_bytes: 64 << 20,
        }
    }
}

/// A manifest that this node does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// It asks for more than the node grants.
    #[error(
        "the manifest asks for {field} = {asked}; this node grants {granted} (raise grants.{grant} in node.toml, or lower it in agent.toml)"
    )]
    More {
        /// The field as it is written in `agent.toml`.
        field: &'static str,
        /// What it says.
        asked: u64,
        /// The field of `[grants]`.
        grant: &'static str,
        /// What the node grants.
        granted: u64,
    },
    /// It lets itself be billed less than honest machines take.
    #[error(
        "the manifest says {field} = {asked}; a node that is to be paid for its time needs at least {least} (raise it in agent.toml)"
    )]
    Less {
        /// The field as it is written in `agent.toml`.
        field: &'static str,
        /// What it says.
        asked: u64,
        /// The least that is accepted.
        least: u64,
    },
}

impl Grants {
    /// Refuses a manifest that asks for more than this.
    pub fn check(&self, manifest: &Manifest) -> Result<(), NotGranted> {
        let Limits { memory_bytes, tick_time, tick_fuel, state_bytes, inbox_bytes, .. } = manifest.limits;
        let asked = [
            ("limits.memory_bytes", memory_bytes, "memory_bytes", self.memory_bytes),
            ("limits.tick_time (ms)", tick_time.0.div_ceil(1_000_000), "tick_time_ms", self.tick_time_ms),
            ("limits.tick_fuel", tick_fuel.0, "tick_fuel", self.tick_fuel),
            ("limits.state_bytes", state_bytes, "state_bytes", self.state_bytes),
            ("limits.inbox_bytes", inbox_bytes, "inbox_bytes", self.inbox_bytes),
        ];
        if let Some((field, asked, grant, granted)) = asked.into_iter().find(|(_, asked, _, granted)| asked > granted) {
            return Err(NotGranted::More { field, asked, grant, granted });
        }
        // Below these an honest machine would not be paid for its time, and money would bound nothing.
        let ceiling = &manifest.ceiling;
        let least = [
            ("ceiling.base (ns)", ceiling.base.0, 50_000),
            ("ceiling.picos_per_fuel", ceiling.picos_per_fuel, 250),
            ("ceiling.per_hostcall (ns)", ceiling.per_hostcall.0, 1_000),
        ];
        match least.into_iter().find(|(_, asked, least)| asked < least) {
            Some((field, asked, least)) => Err(NotGranted::Less { field, asked, least }),
            None => Ok(()),
        }
    }
}

/// `[api]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address and port to listen on beside the Unix socket. Needs `tokens`.
    pub listen: Option<SocketAddr>,
    /// The file with the tokens that may call over TCP; relative to the home.
    pub tokens: Option<PathBuf>,
    /// Names, beside the address itself, that callers over TCP may use for this node (the Host header).
    pub hosts: Vec<String>,
}

/// Why a text is not a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrice {
    /// Not an amount.
    #[error(transparent)]
    Credits(#[from] igor_protocol::units::CreditsParseError),
    /// Work is never for nothing.
    #[error("a price is above zero; the lowest is 0.000000001 credits a second")]
    Zero,
    /// Not a whole number of units a nanosecond.
    #[error("a price is a multiple of 0.000000001 credits a second, so that every bill is exact")]
    TooFine,
    /// Larger than a price can be.
    #[error("the price is too large; the highest is 18446744073.709551615 credits")]
    TooLarge,
}

impl Prices {
    /// The terms: these prices in whole units.
    pub fn terms(&self) -> Result<Terms, (&'static str, BadPrice)> {
        let price_per_ns = price_per_ns(&self.per_second).map_err(|why| ("price.per_second", why))?;
        let per_fuel: Credits = self.per_fuel.parse().map_err(|e| ("price.per_fuel", BadPrice::Credits(e)))?;
        let price_per_fuel = u64::try_from(per_fuel.units()).map_err(|_| ("price.per_fuel", BadPrice::TooLarge))?;
        Ok(Terms { price_per_ns, price_per_fuel })
    }
}

/// A price in credits a second, as `--price` takes it, in units a nanosecond.
pub fn price_per_ns(credits_per_second: &str) -> Result<u64, BadPrice> {
    let units = credits_per_second.parse::<Credits>()?.units();
    if units == 0 {
        return Err(BadPrice::Zero);
    }
    if !units.is_multiple_of(NANOS_PER_SECOND) {
        return Err(BadPrice::TooFine);
    }
    u64::try_from(units / NANOS_PER_SECOND).map_err(|_| BadPrice::TooLarge)
}

impl Config {
    /// Reads a configuration; where there is no file, the defaults.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bad = |why: String| Error::Config { path: path.to_owned(), why };
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io(path, e)),
        };
        let mut text = String::new();
        match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
            Ok(_) if text.len() as u64 > FILE_BYTES_MAX => {
                return Err(bad(format!("longer than {FILE_BYTES_MAX} bytes")));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(bad("it is not UTF-8 text".into())),
            Err(e) => return Err(Error::io(path, e)),
        }
        Self::parse(&text).map_err(bad)
    }

    /// Parses and checks a configuration.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        config.price.terms().map_err(|(field, why)| format!("{field}: {why}"))?;
        if config.api.listen.is_some() && config.api.tokens.is_none() {
            return Err("api.listen needs api.tokens: over TCP only holders of a token may call".into());
        }
        Ok(config)
    }
}
