//! The manifest as people write it: `agent.toml`, or the custom section `igor.manifest` of the module.
//!
//! Invariants kept here:
//! - Every key is known and every value checked, or the text is refused with the name of the field and what to
//!   write instead: a misspelt limit must not silently be the default.
//! - What is not written has the value of [`Manifest::default`]. `[capabilities]` is the exception: where it is
//!   written, what it does not name is not granted.
//! - `[survival]` is no part of what the hash of a manifest covers: an agent begins with it, and from then on its owner's
//!   orders say who goes on with it.

mod values;

use crate::error::Text;
use igor_protocol::{Manifest, entry::Standby, manifest::Capabilities};
use values::Section;

/// The custom section of a module that holds its manifest.
pub const SECTION: &str = "igor.manifest";
/// Longest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Every field with its default, as a text to begin from. `docs/guides/manifest.md` explains them.
pub const DEFAULT_TEXT: &str = include_str!("manifest/default.toml");

/// A manifest with what it says about the agent beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentManifest {
    /// `agent.name`: what the agent may be called where nobody chose a name.
    pub name: Option<String>,
    /// `agent.version`: for people.
    pub version: Option<String>,
    /// `agent.description`: for people.
    pub description: Option<String>,
    /// What the journal knows and everyone enforces.
    pub manifest: Manifest,
    /// `[survival]`: who goes on with the agent when its node does not, until its owner says otherwise.
    pub survival: Standby,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than any manifest.
    #[error("the manifest is too long: {0} bytes, at most {MANIFEST_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Not TOML.
    #[error("the manifest is not valid TOML: {0}")]
    Syntax(Text),
    /// A section or key that there is not.
    #[error("the manifest has `{field}`, which does not exist; there are: {known}")]
    Unknown {
        /// What it has.
        field: Text,
        /// What stands in its place.
        known: String,
    },
    /// A value that does not fit its field.
    #[error("the manifest's {field} is {found}; write {wanted}")]
    Value {
        /// The field, with its section.
        field: String,
        /// What it is.
        found: Text,
        /// What it must be, with an example.
        wanted: &'static str,
    },
    /// A value that no journal or node can keep.
    #[error(transparent)]
    Limit(#[from] igor_protocol::manifest::Error),
    /// A module whose sections cannot be read.
    #[error("the module's sections cannot be read: {0}")]
    Module(Text),
    /// More than one section with a manifest.
    #[error("the module has several sections `{SECTION}`; keep one")]
    Several,
}

/// Reads a manifest from TOML.
pub fn parse(text: &str) -> Result<AgentManifest, Error> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(Error::TooLong(text.len()));
    }
    let table: toml::Table = text.parse().map_err(|error| syntax(text, &error))?;
    let mut read = AgentManifest::default();
    let manifest = &mut read.manifest;
    let mut root = Section::root(table);
    root.section("agent", |agent| {
        agent.text("name", &mut read.name)?;
        agent.text("version", &mut read.version)?;
        agent.text("description", &mut read.description)
    })?;
    root.section("capabilities", |granted| {
        let all = &mut manifest.capabilities;
        *all = Capabilities {
            clock: false,
            randomness: false,
            log: false,
            wallet: false,
            messages: false,
            migrate: false,
        };
        granted.flag("clock", &mut all.clock)?;
        granted.flag("randomness", &mut all.randomness)?;
        granted.flag("log", &mut all.log)?;
        granted.flag("wallet", &mut all.wallet)?;
        granted.flag("messages", &mut all.messages)?;
        granted.flag("migrate", &mut all.migrate)
    })?;
    root.section("limits", |section| {
        let limits = &mut manifest.limits;
        section.bytes("memory_bytes", &mut limits.memory_bytes)?;
        section.number("table_elements", &mut limits.table_elements)?;
        section.number("tick_fuel", &mut limits.tick_fuel.0)?;
        section.duration("tick_time", &mut limits.tick_time)?;
        section.bytes("state_bytes", &mut limits.state_bytes)?;
        section.bytes("log_bytes", &mut limits.log_bytes)?;
        section.number("observations", &mut limits.observations)?;
        section.bytes("observed_bytes", &mut limits.observed_bytes)?;
        section.bytes("message_bytes", &mut limits.message_bytes)?;
        section.number("inbox_messages", &mut limits.inbox_messages)?;
        section.bytes("inbox_bytes", &mut limits.inbox_bytes)
    })?;
    root.section("ceiling", |section| {
        let ceiling = &mut manifest.ceiling;
        section.duration("base", &mut ceiling.base)?;
        section.number("picos_per_fuel", &mut ceiling.picos_per_fuel)?;
        section.duration("per_hostcall", &mut ceiling.per_hostcall)
    })?;
    root.section("tick", |section| {
        section.duration("interval", &mut manifest.interval)?;
        section.duration("interval_min", &mut manifest.interval_min)
    })?;
    root.section("checkpoint", |section| section.duration("interval", &mut manifest.checkpoint_interval))?;
    root.section("survival", |section| {
        let survival = &mut read.survival;
        section.nodes("standby", &mut survival.nodes)?;
        section.flag("any_order", &mut survival.any_order)?;
        section.silence("silent", &mut survival.silent_for)
    })?;
    root.end()?;
    read.manifest = read.manifest.validate()?;
    Ok(read)
}

/// Reads the manifest that a module carries; nothing if it carries none.
pub fn of_module(program: &[u8]) -> Result<Option<AgentManifest>, Error> {
    let mut found = None;
    for payload in wasmparser::Parser::new(0).parse_all(program) {
        let payload = payload.map_err(|error| Error::Module(Text::new(&error.to_string())))?;
        let wasmparser::Payload::CustomSection(section) = payload else { continue };
        if section.name() == SECTION && found.replace(section.data()).is_some() {
            return Err(Error::Several);
        }
    }
    let Some(bytes) = found else { return Ok(None) };
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(Error::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Error::Syntax(Text::new(&error.to_string())))?;
    parse(text).map(Some)
}

/// The parser's words with the line, which its own words leave to a drawing of several lines.
fn syntax(text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Error::Syntax(Text::new(&format!("{}; line {line}", error.message())))
}

#[cfg(test)]
mod tests;
