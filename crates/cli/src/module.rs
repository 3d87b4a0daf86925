//! What a new agent is made of, as `run` and `deploy` find it: a module, its manifest, a name, some money.

use crate::{
    args::Survival,
    failure::{Code, Failure},
    words,
};
use igor_protocol::{
    Credits,
    entry::{Policy, Standby, StoreKind},
    limits::{PROGRAM_BYTES_MAX, STANDBY_MAX},
};
use igor_sandbox::manifest::AgentManifest;
use std::{fs::File, io::Read, path::Path};

/// Where nobody says how much an agent begins with.
const BUDGET: &str = "10";
/// Longest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// The module in a file, as it is.
pub(crate) fn program(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, PROGRAM_BYTES_MAX as u64)
}

/// The name: as given, else from the file's.
pub(crate) fn name(given: Option<&str>, file: &Path) -> Result<String, Failure> {
    let stem = || file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = given.map(str::to_owned).or_else(stem).unwrap_or_default();
    igor_node::local::check_name(&name).map_err(|e| match given {
        Some(_) => Failure::from(e),
        None => Failure::refused(format!("{e}; give it one with --name")),
    })?;
    Ok(name)
}

/// The money that it begins with.
pub(crate) fn budget(given: Option<Credits>) -> Result<Credits, Failure> {
    match given {
        Some(Credits::ZERO) => Err(Failure::new(Code::Usage, "--budget 0: an agent that has nothing cannot begin")),
        Some(budget) => Ok(budget),
        None => BUDGET.parse().map_err(Failure::failed),
    }
}

/// The manifest: in a file, else the one that the module carries, else the default.
pub(crate) fn manifest(path: Option<&Path>, program: &[u8]) -> Result<AgentManifest, Failure> {
    let Some(path) = path else {
        return match igor_sandbox::manifest::of_module(program) {
            Ok(carried) => Ok(carried.unwrap_or_default()),
            // Not a module at all: the sandbox says so in better words.
            Err(igor_sandbox::manifest::Error::Module(_)) => Ok(AgentManifest::default()),
            Err(e) => Err(Failure::refused(e)),
        };
    };
    let text = String::from_utf8(read(path, MANIFEST_BYTES_MAX)?)
        .map_err(|_| Failure::refused(format!("{}: a manifest is UTF-8 text", path.display())))?;
    let parsed = igor_sandbox::manifest::parse(&text);
    parsed.map_err(|e| Failure::refused(format!("{}: {e}", path.display())))
}

/// Who goes on with a new agent whose journal will be there: as its manifest says, but for what the command says. Nodes
/// that are named and could never go on with it are a mistake that nobody may find out about only when they are needed.
pub(crate) fn policy(manifest: &AgentManifest, said: &Survival, store: StoreKind) -> Result<Policy, Failure> {
    let mut standby = if said.no_standby { Standby::default() } else { manifest.survival.clone() };
    if !said.standby.is_empty() {
        // A list is one with its order.
        standby.any_order = false;
        standby.nodes.clear();
        for node in &said.standby {
            if !standby.nodes.contains(node) {
                standby.nodes.push(*node);
            }
        }
    }
    standby.any_order |= said.any_order;
    standby.silent_for = said.silent.or(standby.silent_for);
    if standby.nodes.len() > STANDBY_MAX {
        return Err(Failure::new(Code::Usage, format!("--standby: an agent has at most {STANDBY_MAX} standby nodes")));
    }
    if standby.nodes.is_empty() && (said.any_order || said.silent.is_some()) {
        let why = "--any-order and --silent say how standby nodes go on; name some with --standby";
        return Err(Failure::new(Code::Usage, why));
    }
    if store == StoreKind::Disk && !standby.nodes.is_empty() {
        return Err(Failure::refused(format!(
            "its standby nodes ({} of them) could never go on with it: its journal would be on its node's disk only, which no \
             other node reads. Give that node a bucket ([store] url in node.toml), or begin the agent with --no-standby",
            standby.nodes.len()
        )));
    }
    Ok(Policy { standby, ..Policy::default() })
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::refused(format!("{} is larger than {}", path.display(), words::bytes(bytes_max))));
    }
    Ok(bytes)
}
