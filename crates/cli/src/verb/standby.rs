//! `standby` and `node check`: which nodes go on with an agent when its own does not, by its owner's order.
//!
//! Invariant kept here: the order states the whole list, so that it means the same however often it is given.

use crate::{
    Context, Kept, args,
    failure::Failure,
    output::Tone,
    source::wait,
    verb::{migrate::node, order},
    words,
};
use igor_protocol::{
    Nanos, NodeId,
    entry::{Action, Policy, Standby, StoreKind},
    ledger::Book,
    limits::STANDBY_MAX,
};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Row {
    agent: String,
    name: String,
    /// The nodes, the first in line first.
    standby: Vec<String>,
    any_order: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_ns: Option<u64>,
    /// Of the order; nothing where none was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Shows or changes the list.
pub(crate) fn standby(context: &Context, args: &args::StandbyVerb, kept: &mut Kept) -> Result<(), Failure> {
    let (name, change) = match args {
        args::StandbyVerb::List(args::Named { name }) => (name, None),
        args::StandbyVerb::Add(add) => (&add.name, Some(Change::Add(add))),
        args::StandbyVerb::Remove(remove) => (&remove.name, Some(Change::Remove(&remove.nodes))),
    };
    let given = order::give(context, name, &mut kept.order, |book| {
        let Some(change) = &change else { return Ok(None) };
        let policy = change.apply(book)?;
        Ok((policy != *book.policy()).then_some(Action::Policy(policy)))
    })?;
    let policy = match given.order.as_ref().map(|order| &order.body.action) {
        Some(Action::Policy(policy)) => policy,
        _ => given.book.policy(),
    };
    let Standby { nodes, any_order, silent_for } = &policy.standby;
    let row = Row {
        agent: given.agent.to_string(),
        name: name.clone(),
        standby: nodes.iter().map(ToString::to_string).collect(),
        any_order: *any_order,
        silent_ns: silent_for.map(|time| time.0),
        seq: given.order.is_some().then_some(given.seq.0),
    };
    context.out.say(&row, || in_words(&row, policy))
}

fn in_words(row: &Row, policy: &Policy) -> String {
    if row.standby.is_empty() {
        return format!("nobody goes on with {} when its node does not", row.name);
    }
    let order = if row.any_order { "whoever is first" } else { "in this order" };
    let after = policy.standby.silent_for.map_or_else(
        || "once its node is silent for 700 ms".to_owned(),
        |time| format!("once its node is silent for {} ms", time.0 / 1_000_000),
    );
    let nodes: Vec<String> = row.standby.iter().map(|node| format!("  {node}")).collect();
    format!("{} is gone on with {after}, {order}, by\n{}", row.name, nodes.join("\n"))
}

/// Says what would happen to the agents of a node if it died now.
pub(crate) fn check(context: &Context) -> Result<(), Failure> {
    let agents = wait(node(context)?.check())?;
    if agents.is_empty() {
        return context.out.words("no agent lives here now");
    }
    for agent in &agents {
        context.out.say(agent, || {
            let name = context.out.tone(Tone::Strong, &agent.name);
            let taken = match &agent.taken_by {
                Some(node) => format!("{node} would go on with it"),
                None if agent.standby.is_empty() => "nobody would go on with it: it names no standby".to_owned(),
                None => "nobody would go on with it: none of its standby nodes follows it".to_owned(),
            };
            let mut lines = vec![format!("{name}: {taken}; lost: {} (durable on {})", agent.lost, agent.durable_on)];
            for standby in &agent.standby {
                let how = match (standby.behind, standby.after_ns) {
                    (Some(0), Some(after)) => format!("up to date, after {} of silence", words::duration(Nanos(after))),
                    (Some(behind), Some(after)) => format!(
                        "{} behind, after {} of silence",
                        words::count(behind, "entry"),
                        words::duration(Nanos(after))
                    ),
                    _ => "says nothing of it: not connected, or does not take it (its log says why)".to_owned(),
                };
                lines.push(format!("  {}  {how}", standby.node));
            }
            lines.join("\n")
        })?;
    }
    Ok(())
}

enum Change<'a> {
    Add(&'a args::StandbyAdd),
    Remove(&'a [NodeId]),
}

impl Change<'_> {
    /// The policy with the change in it.
    fn apply(&self, book: &Book) -> Result<Policy, Failure> {
        let mut policy = book.policy().clone();
        if book.genesis().store == StoreKind::Disk {
            return Err(Failure::refused(
                "this agent's journal is on its node's disk only, and nobody else could read it: standby nodes need an agent \
                 that began on a node with a bucket ([store] url in node.toml)",
            ));
        }
        let standby = &mut policy.standby;
        match self {
            Self::Add(add) => {
                for node in &add.nodes {
                    if !standby.nodes.contains(node) {
                        standby.nodes.push(*node);
                    }
                }
                if standby.nodes.len() > STANDBY_MAX {
                    return Err(Failure::refused(format!("an agent has at most {STANDBY_MAX} standby nodes")));
                }
                standby.any_order = add.any_order || (standby.any_order && !add.in_order);
                standby.silent_for = add.silent.map_or(standby.silent_for, |time| Some(Nanos(time.0)));
                let named = |node: &NodeId| policy.names(*node, book.genesis().custodian);
                if let Some(node) = add.nodes.iter().find(|node| !named(node)) {
                    return Err(Failure::refused(format!("its owner's policy does not let {node} be its custodian")));
                }
            }
            Self::Remove(nodes) => {
                if let Some(node) = nodes.iter().find(|node| !standby.nodes.contains(node)) {
                    return Err(Failure::refused(format!("{node} does not stand by for it; see `igor standby list`")));
                }
                standby.nodes.retain(|node| !nodes.contains(node));
            }
        }
        Ok(policy)
    }
}
