//! `node.toml`: what the operator of a node decides. Every field may be left out.

use super::Error;
use igor_protocol::{Credits, Terms};
use serde::Deserialize;
use std::{
    fs,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

mod grants;
mod network;
mod policy;
mod store;

pub use grants::{Capability, Grants, NotGranted};
pub use network::NetworkConfig;
pub use policy::{Admission, MetricsConfig, Policy};
pub use store::StoreConfig;

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
    /// `[policy]`: whose agents come in.
    pub policy: Policy,
    /// `[grants]`: the most that an agent may ask for.
    pub grants: Grants,
    /// `[admission]`: how much is carried at once.
    pub admission: Admission,
    /// `[api]`: how the API is reached beside the Unix socket.
    pub api: ApiConfig,
    /// `[network]`: where other nodes are met.
    pub network: NetworkConfig,
    /// `[metrics]`: how many series there are.
    pub metrics: MetricsConfig,
    /// `[store]`: where agents that begin here are durable.
    pub store: StoreConfig,
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
