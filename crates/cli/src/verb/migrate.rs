//! `migrate`, `node drain` and `nodes`: handing agents to other nodes, and which nodes there are.

use crate::{
    Context, args,
    failure::Failure,
    output::Tone,
    source::{Keeper, wait},
    words,
};
use igor_node::{
    api::wire::{DrainEvent, MoveEvent, NodeRow},
    client::Client,
};
use igor_protocol::{Nanos, NodeId};

/// The node that runs here: only it can reach others.
pub(crate) fn node(context: &Context) -> Result<Client, Failure> {
    match Keeper::find(context)? {
        Keeper::Node(client) => Ok(client),
        Keeper::Nobody(_) => Err(Failure::unreachable(
            "no node runs on this home; start one with `igor node start`, or move by file: `igor export --release --to NODE`",
        )),
    }
}

/// Hands an agent to another node.
pub(crate) fn migrate(context: &Context, args: &args::Migrate) -> Result<(), Failure> {
    let client = node(context)?;
    let to = find(&wait(client.nodes())?, &args.to)?;
    let mut events = wait(client.migrate(&args.name, to))?;
    let mut accepted = false;
    while let Some(event) = wait(events.next())? {
        accepted = matches!(event, MoveEvent::Accepted { .. });
        context.out.say(&event, || tell(&args.name, to, &event))?;
    }
    if accepted { Ok(()) } else { Err(Failure::unreachable("the node went away; `igor show` says where the agent is")) }
}

/// Hands all agents of the node to others. The node stays up, and takes none in until it is started again.
pub(crate) fn drain(context: &Context) -> Result<(), Failure> {
    let mut events = wait(node(context)?.drain())?;
    let mut left = None;
    while let Some(event) = wait(events.next())? {
        if let DrainEvent::Drained { staying, .. } = event {
            left = Some(staying);
        }
        context.out.say(&event, || match &event {
            DrainEvent::Moved { name, to, .. } => format!("{name} lives on {to} now"),
            DrainEvent::Stays { name, why, .. } => format!("{name} stays: {why}"),
            DrainEvent::Drained { moved, staying } => {
                let (moved, staying) = (words::count(*moved as u64, "agent"), words::count(*staying as u64, "agent"));
                format!("handed on: {moved}; left: {staying}. This node takes none in until it is started again")
            }
        })?;
    }
    match left {
        Some(0) => Ok(()),
        Some(left) => Err(Failure::failed(format!("{} cannot go now", words::count(left as u64, "agent")))),
        None => Err(Failure::unreachable("the node went away; `igor ps` says which agents are here")),
    }
}

fn tell(name: &str, to: NodeId, event: &MoveEvent) -> String {
    match event {
        MoveEvent::Waiting => {
            format!("{name} waits for its turn, and goes on here: other moves go before it")
        }
        MoveEvent::Offer { has } if *has == 0 => format!("offered: {to} would take {name}"),
        MoveEvent::Offer { has } => {
            format!("offered: {to} would take {name}, and has {} of it already", words::count(*has, "entry"))
        }
        MoveEvent::Precopy { round, bytes } => {
            format!("round {round}: {} are there, while {name} goes on here", words::bytes(*bytes))
        }
        MoveEvent::Freeze => format!("{name} stands still"),
        MoveEvent::Transfer { bytes } => format!("handed over: the last {}", words::bytes(*bytes)),
        MoveEvent::Accepted { pause_ns, bytes } => format!(
            "{name} lives on {to} now; it stood still for {}, {} went over",
            words::duration(Nanos(*pause_ns)),
            words::bytes(*bytes)
        ),
    }
}

/// A node by its key, or by the beginning or the end of it.
fn find(nodes: &[NodeRow], text: &str) -> Result<NodeId, Failure> {
    if let Ok(node) = text.parse() {
        return Ok(node);
    }
    let key = |row: &NodeRow| row.node.to_string();
    let short = text.strip_prefix("did:key:").unwrap_or(text);
    let named: Vec<_> = nodes.iter().filter(|row| key(row).contains(short) && short.len() >= 4).collect();
    match named.as_slice() {
        [one] => Ok(one.node),
        [] => Err(Failure::failed(format!("no node here is called {text:?}; `igor nodes` lists those that are known"))),
        _ => Err(Failure::failed(format!("{text:?} is part of {} keys; give more of it", named.len()))),
    }
}

/// Lists the nodes that this one knows.
pub(crate) fn nodes(context: &Context) -> Result<(), Failure> {
    let mut nodes = wait(node(context)?.nodes())?;
    nodes.sort_by_key(|row| (!row.connected, row.round_trip_ns));
    if nodes.is_empty() {
        return context.out.words("no other node is known; name one under `[network]` in node.toml");
    }
    for row in &nodes {
        context.out.say(row, || {
            let reach = match (row.connected, row.round_trip_ns) {
                (true, Some(ns)) => context.out.tone(Tone::Good, &words::duration(Nanos(ns))),
                (true, None) => context.out.tone(Tone::Good, "connected"),
                (false, _) => context.out.tone(Tone::Bad, "not connected"),
            };
            let says = row.status.as_ref().map_or_else(String::new, |status| {
                let draining = if status.draining { ", draining" } else { "" };
                format!(
                    "  {} credits/s  room for {}, {} of memory{draining}",
                    status.price,
                    words::count(u64::from(status.agents_free), "agent"),
                    words::bytes(status.memory_free_bytes)
                )
            });
            format!("{}  {reach}{says}", row.node)
        })?;
    }
    Ok(())
}
