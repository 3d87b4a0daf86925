//! Nodes as real processes, what stands between them, and who sends to them and listens: for tests in which much is
//! killed.
#![allow(dead_code)] // each test uses its part

pub(crate) mod account;
pub(crate) mod ear;
pub(crate) mod ground;
pub(crate) mod host;
pub(crate) mod load;
pub(crate) mod owners;
pub(crate) mod proxy;

use crate::section;
use igor_network::{Multiaddr, address_of};
use igor_protocol::NodeId;
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A number in the environment.
pub(crate) fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The binary that is looked at.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("IGOR_BINARY").map_or_else(|| Path::new(env!("CARGO_BIN_EXE_igor")).to_owned(), PathBuf::from)
}

/// Prints what was seen, and puts it where it belongs in the document that `IGOR_REPORT` names.
pub(crate) fn publish(heading: &str, words: &str) {
    println!("{words}");
    if let Ok(path) = std::env::var("IGOR_REPORT") {
        let text = fs::read_to_string(&path).expect("the report can be read");
        fs::write(path, section::replace(&text, heading, words)).expect("the report can be written");
    }
}

/// The text of a field that must be there.
pub(crate) fn text(row: &Value, field: &str) -> Result<String, String> {
    row[field].as_str().map(str::to_owned).ok_or_else(|| format!("no `{field}` in {row}"))
}

/// How a node is reached at an address.
pub(crate) fn multiaddr(node: NodeId, at: SocketAddr) -> Result<Multiaddr, String> {
    let address = format!("/ip4/{}/tcp/{}", at.ip(), at.port()).parse().map_err(|e| format!("{at}: {e}"))?;
    address_of(node, address).ok_or_else(|| format!("{node} cannot be reached at an address"))
}

/// Which build was looked at; one that is named by `IGOR_BINARY` is of the same kind as this one.
pub(crate) const fn build() -> &'static str {
    if cfg!(debug_assertions) { "a debug build" } else { "a release build" }
}
