//! `node`: being a host. `node start` carries every agent of its home until it is told to stop.
//!
//! Invariants kept here:
//! - Whoever waits for this node hears that it is ready once its API answers, and that it stops before it does.
//! - It goes on whoever reads along: neither a closed stdout nor a failing agent ends it, only a signal or a disk that
//!   cannot be believed any more.

mod notify;

use crate::{
    Context,
    failure::Failure,
    output::{Output, Tone, note},
    signals::Signals,
    words::count,
};
use igor_network::{Network, address_of};
use igor_node::{
    Carried, Node,
    api::{
        self, Server,
        wire::{DrainEvent, NodeInfo},
    },
};
use notify::Manager;
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Time in which agents are handed on when the node is told to stop. Whoever ends it for good after a while (systemd:
/// `TimeoutStopSec`) gives it more than that: what stays writes its state then.
const DRAIN_WITHIN: Duration = Duration::from_mins(2);

/// What a node tells of itself.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// It answers.
    Started {
        home: String,
        socket: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        tcp: Option<String>,
        /// Where other nodes find it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        network: Vec<String>,
        #[serde(flatten)]
        info: Box<NodeInfo>,
    },
    /// Each agent of the home had its turn.
    Carried { living: usize, resting: usize, unable: usize },
    /// It was told to stop.
    Stopping { agents: usize },
    /// Its agents had the chance to go elsewhere.
    Drained { moved: usize, staying: Vec<Staying> },
    /// It has stopped, and every agent with it.
    Stopped {},
}

/// An agent that no other node took.
#[derive(Debug, Serialize)]
struct Staying {
    agent: String,
    why: String,
}

/// Carries all agents of the home until a signal comes.
pub(crate) async fn start(context: &Context) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let manager = Manager::of_environment();
    let node = tokio::task::block_in_place(|| context.become_node())?;
    node.open_doors();
    let server = api::serve(&node, api::Limits::default()).await?;
    let teller = Teller { out: context.out };
    let network = node.join().await?;
    teller.tell(&started(&node, &server, network.as_ref()));
    manager.tell("READY=1\nSTATUS=agents are being started");
    let broken = stay(&node, &teller, &manager, &mut signals).await;
    manager.tell("STOPPING=1");
    match broken {
        // Nobody knows what is durable now: nothing more is written.
        Some(broken) => Err(broken.into()),
        None => leave(&node, server, &teller, &mut signals).await,
    }
}

/// Comes back when the node is to stop; with an error where its disk failed.
async fn stay(node: &Arc<Node>, teller: &Teller, manager: &Manager, signals: &mut Signals) -> Option<igor_node::Error> {
    tokio::select! {
        // What has not begun to live by then does so at the next start.
        () = signals.stop() => return None,
        broken = node.poisoned() => return Some(broken),
        carried = node.carry_all() => match carried {
            Ok(Carried { living, resting, unable }) => {
                manager.tell(&format!("STATUS={} started", count(living as u64, "agent")));
                teller.tell(&Event::Carried { living, resting, unable });
            }
            Err(e) => return Some(e),
        },
    }
    tokio::select! {
        () = signals.stop() => None,
        broken = node.poisoned() => Some(broken),
    }
}

/// How a node goes: its agents first, its API last, so that it can be asked to the end.
///
/// What can live elsewhere is handed on before the rest is stopped.
async fn leave(node: &Arc<Node>, server: Server, teller: &Teller, signals: &mut Signals) -> Result<(), Failure> {
    teller.tell(&Event::Stopping { agents: node.info().running });
    if node.known_nodes().iter().any(|row| row.connected) {
        drain(node, teller, signals).await;
    }
    let stopped = node.shut_down();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            broken = node.poisoned() => return Err(broken.into()),
            () = signals.stop() => {
                let left = node.info().running;
                note(format!("still stopping: {} to write state; a kill now would lose nothing committed", count(left as u64, "agent")));
            }
        }
    }
    server.shut_down().await;
    teller.tell(&Event::Stopped {});
    Ok(())
}

/// Hands what can live elsewhere to others. A second signal ends that: what has not gone by then stays.
async fn drain(node: &Arc<Node>, teller: &Teller, signals: &mut Signals) {
    tokio::select! {
        events = node.drain(Some(DRAIN_WITHIN), |_| ()) => {
            let moved = events.iter().filter(|event| matches!(event, DrainEvent::Moved { .. })).count();
            let staying = events.into_iter().filter_map(|event| match event {
                DrainEvent::Stays { agent, why, .. } => Some(Staying { agent: agent.to_string(), why }),
                _ => None,
            });
            teller.tell(&Event::Drained { moved, staying: staying.collect() });
        }
        () = signals.stop() => note("not waiting for the other nodes any more"),
    }
}

fn started(node: &Arc<Node>, server: &Server, network: Option<&Network>) -> Event {
    let addresses = network.map(Network::addresses).unwrap_or_default();
    let addresses = addresses.into_iter().filter_map(|address| address_of(node.id(), address));
    Event::Started {
        home: node.home().path().display().to_string(),
        socket: server.socket().display().to_string(),
        tcp: server.tcp().map(|address| address.to_string()),
        network: addresses.map(|address| address.to_string()).collect(),
        info: Box::new(node.info()),
    }
}

/// Where a node tells of itself.
struct Teller {
    out: Output,
}

impl Teller {
    fn tell(&self, event: &Event) {
        // Nobody has to listen.
        drop(self.out.say(event, || self.words(event)));
    }

    fn words(&self, event: &Event) -> String {
        match event {
            Event::Started { home, socket, tcp, network, info } => {
                self.opening(home, socket, tcp.as_deref(), network, info)
            }
            Event::Carried { living, resting, unable } => {
                let unable = match unable {
                    0 => String::new(),
                    _ => format!("; {} cannot start, see `igor ps` and the log", count(*unable as u64, "agent")),
                };
                format!("{} running, {resting} at rest{unable}", count(*living as u64, "agent"))
            }
            Event::Drained { moved, staying } => {
                let mut lines = vec![format!("handed on: {}", count(*moved as u64, "agent"))];
                lines.extend(staying.iter().map(|row| format!("  {} stays: {}", row.agent, row.why)));
                lines.join("\n")
            }
            Event::Stopping { agents } => {
                format!("stopping: {} to finish the tick that runs and write state", count(*agents as u64, "agent"))
            }
            Event::Stopped {} => "stopped; the same command goes on from here".to_owned(),
        }
    }

    fn opening(&self, home: &str, socket: &str, tcp: Option<&str>, network: &[String], info: &NodeInfo) -> String {
        let others = match network {
            [] => "on its own; other nodes meet it where node.toml has network.listen".to_owned(),
            addresses => addresses.join("\n              "),
        };
        let (reached, from_afar) = match tcp {
            Some(address) => (
                format!("{socket}, and {address} with a token"),
                format!("; from elsewhere: IGOR_TOKEN=... igor deploy AGENT.wasm --node {address}"),
            ),
            None => (socket.to_owned(), "; over TCP where node.toml has api.listen".to_owned()),
        };
        [
            format!("{} {}", self.out.tone(Tone::Strong, "node"), info.node),
            format!("  reached at  {reached}"),
            format!("  network     {others}"),
            format!(
                "  price       {} credits a second of execution, {} a unit of fuel",
                info.price_per_second, info.price_per_fuel
            ),
            format!("  durable on  {} ({home})", info.durable_on),
            format!("  deploy      igor deploy AGENT.wasm{from_afar}"),
            "  stop        Ctrl-C or SIGTERM: every agent writes its state; a kill loses nothing either".to_owned(),
        ]
        .join("\n")
    }
}
