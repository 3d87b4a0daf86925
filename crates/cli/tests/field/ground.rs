//! Where the nodes stand: each in a network namespace of its own, or all of them on loopback.
//!
//! ```text
//!   node 0 ── veth ──┐
//!   node 1 ── veth ──┼── a bridge with one address, where the proxies listen
//!   node 2 ── veth ──┘   in the namespace of this process
//! ```
//! Invariants kept here:
//! - On bad links a node reaches nothing but the proxies: whatever else it sends or gets is dropped, and of the rest one
//!   packet in a hundred, in each direction. On good ones nodes reach each other as well, and nothing is dropped.
//! - What is cut off sends nothing more, not even that its connections end.
//! - What was made is taken away again when the test ends, however it does; only a kill of the test itself leaves it.

use super::proxy::Proxy;
use std::{
    fs::{self, Permissions},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Every node listens here, on an address of its own.
const PORT: u16 = 4100;
/// How long what is sent takes from one node to the other, each way.
pub(crate) const DELAY: Duration = Duration::from_millis(20);
/// What a node's namespace lets pass.
const RULES: &str = "
table inet field {
    chain in {
        type filter hook input priority 0;
        iifname lo accept
        meta nfproto ipv6 drop
        ip saddr != HUB drop
        numgen random mod 100 < 1 drop
    }
    chain out {
        type filter hook output priority 0;
        oifname lo accept
        meta nfproto ipv6 drop
        ip daddr != HUB drop
        numgen random mod 100 < 1 drop
    }
}";
/// What is dropped of what a node sends and gets.
const CUT: &str = "
table inet cut {
    chain in { type filter hook input priority -5; iifname lo accept; IN drop; }
    chain out { type filter hook output priority -5; oifname lo accept; OUT drop; }
}";

/// How well nodes in namespaces reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Through proxies alone, and with losses.
    Bad,
    /// As on a good network.
    Good,
}

/// What a node is cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Off {
    /// Everything.
    All,
    /// What listens at the bridge.
    Hub,
    /// Everything else.
    Others,
}

/// The ground under the nodes.
pub(crate) enum Ground {
    /// All of them share this machine's loopback, without loss, delay or cuts.
    Loopback,
    /// Each has a namespace.
    Apart(Namespaces),
}

impl Ground {
    /// Where a node listens.
    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        let ip = match self {
            // Loopback has a network of addresses; runs beside this one have other ones.
            Self::Loopback => {
                let [.., high, low] = std::process::id().to_be_bytes();
                Ipv4Addr::new(127, high.max(1), low, last(node))
            }
            Self::Apart(_) => Namespaces::address(last(node)),
        };
        SocketAddr::new(IpAddr::V4(ip), PORT)
    }

    /// A file that runs `igor` where a node stands, with this in its environment.
    pub(crate) fn launcher(
        &self,
        igor: &Path,
        folder: &Path,
        node: usize,
        environment: &[(&str, &str)],
    ) -> Result<PathBuf, String> {
        let Self::Apart(spaces) = self else { return Ok(igor.to_owned()) };
        let path = folder.join(format!("igor-{node}"));
        let set =
            environment.iter().fold(String::new(), |set, (name, value)| format!("{set}export {name}='{value}'\n"));
        let space = spaces.node(node);
        let text = format!("#!/bin/sh\n{set}exec ip netns exec {space} '{}' \"$@\"\n", igor.display());
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o700)))
            .map_err(|e| e.to_string())?;
        Ok(path)
    }

    /// A proxy to a node, where there are any.
    pub(crate) fn proxy(&self, to: usize) -> Result<Option<Proxy>, String> {
        let Self::Apart(_) = self else { return Ok(None) };
        let target = self.address(to);
        Proxy::start(Namespaces::hub(), target, DELAY).map(Some)
    }

    /// Cuts a node off, so that no packet comes or goes.
    pub(crate) fn cut(&self, node: usize, from: Off) -> Result<(), String> {
        let Self::Apart(spaces) = self else { return Ok(()) };
        let hub = Namespaces::address(HUB);
        let (gets, sends) = match from {
            Off::All => (String::new(), String::new()),
            Off::Hub => (format!("ip saddr {hub}"), format!("ip daddr {hub}")),
            Off::Others => (format!("ip saddr != {hub}"), format!("ip daddr != {hub}")),
        };
        nft(&spaces.node(node), &CUT.replace("IN", &gets).replace("OUT", &sends))
    }

    /// Lets packets through again.
    pub(crate) fn heal(&self, node: usize) -> Result<(), String> {
        let Self::Apart(spaces) = self else { return Ok(()) };
        nft(&spaces.node(node), "delete table inet cut")
    }
}

/// The last part of the bridge's address.
const HUB: u8 = 254;

/// The last part of a node's address.
fn last(node: usize) -> u8 {
    u8::try_from(node + 1).unwrap_or(u8::MAX)
}

/// Namespaces of the nodes, and the bridge between them.
pub(crate) struct Namespaces {
    name: String,
    nodes: usize,
}

impl Namespaces {
    /// Makes them, or says what this machine lacks.
    pub(crate) fn make(nodes: usize, links: Links) -> Result<Self, String> {
        // The name of a device has at most 15 characters.
        let made = Self { name: format!("igor{}", std::process::id()), nodes };
        let hub = Self::address(HUB);
        ip(&["link", "add", &made.name, "type", "bridge"])?;
        ip(&["address", "add", &format!("{hub}/24"), "dev", &made.name])?;
        ip(&["link", "set", &made.name, "up"])?;
        for node in 0..nodes {
            let (own, port) = (made.node(node), made.node(node));
            ip(&["netns", "add", &own])?;
            ip(&["-n", &own, "link", "set", "lo", "up"])?;
            ip(&["link", "add", &port, "type", "veth", "peer", "name", "out", "netns", &own])?;
            ip(&["link", "set", &port, "master", &made.name, "up"])?;
            ip(&["-n", &own, "address", "add", &format!("{}/24", Self::address(last(node))), "dev", "out"])?;
            ip(&["-n", &own, "link", "set", "out", "up"])?;
            if links == Links::Bad {
                nft(&own, &RULES.replace("HUB", &hub.to_string()))?;
            }
        }
        Ok(made)
    }

    /// Where something may listen that all nodes reach, at a port that is free.
    pub(crate) fn hub() -> SocketAddr {
        SocketAddr::from((Self::address(HUB), 0))
    }

    fn node(&self, node: usize) -> String {
        format!("{}.{node}", self.name)
    }

    /// Of the addresses that are set aside for tests of networks. Runs beside this one have other ones.
    fn address(last: u8) -> Ipv4Addr {
        let [.., low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(198, 18, low, last)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // The ends of a veth go together. What was not made cannot be removed, and need not.
        for name in (0..self.nodes).map(|node| self.node(node)) {
            drop(ip(&["netns", "delete", &name]));
        }
        drop(ip(&["link", "delete", &self.name]));
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    run(args, "")
}

fn nft(space: &str, script: &str) -> Result<(), String> {
    run(&["netns", "exec", space, "nft", "-f", "-"], script)
}

fn run(args: &[&str], input: &str) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("ip {}: {why}", args.join(" "));
    // Administrators' commands are not on everybody's path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let child = Command::new("ip").args(args).env("PATH", path).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| failed(&e))?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|e| failed(&e))?;
    match (output.status.success(), written) {
        (true, Ok(())) => Ok(()),
        (true, Err(e)) => Err(failed(&e)),
        (false, _) => Err(failed(&String::from_utf8_lossy(&output.stderr).trim())),
    }
}
