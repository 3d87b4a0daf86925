//! `show` and `ps`: agents as they are now.

use crate::{
    Context, args,
    failure::Failure,
    output::Tone,
    source::{Keeper, Source, wait},
    words,
};
use igor_node::api::wire::AgentInfo;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Short<'a> {
    agent: String,
    name: &'a str,
    status: &'a str,
    tick: u64,
    balance: String,
}

/// Lists the agents of a home or node.
pub(crate) fn ps(context: &Context) -> Result<(), Failure> {
    let agents = match Keeper::find(context)? {
        Keeper::Node(client) => wait(client.agents())?,
        Keeper::Nobody(local) => local.agents()?,
    };
    if agents.is_empty() {
        return context.out.words("no agents yet; begin one with: igor run AGENT.wasm");
    }
    let width = agents.iter().map(|info| info.name.chars().count()).max().unwrap_or(0).max(4);
    context.out.words(
        context.out.tone(Tone::Faint, &format!("{:<width$}  {:<10} {:>8}  balance", "name", "status", "tick")),
    )?;
    for info in &agents {
        let row = Short {
            agent: info.agent.to_string(),
            name: &info.name,
            status: &info.status,
            tick: info.tick.0,
            balance: info.balance.to_string(),
        };
        context.out.say(&row, || {
            format!("{:<width$}  {:<10} {:>8}  {}", row.name, row.status, row.tick, words::money(info.balance))
        })?;
    }
    Ok(())
}

/// Shows one agent.
pub(crate) fn show(context: &Context, args: &args::Named) -> Result<(), Failure> {
    let info = match Source::agent_named(context, &args.name)? {
        Source::Node(_, info) => *info,
        Source::Home(local, agent) => local.info(agent)?,
        Source::File(_) => return Err(Failure::failed("not an agent's name")),
    };
    context.out.say(&info, || in_words(context, &info))
}

fn in_words(context: &Context, info: &AgentInfo) -> String {
    let cause = info.cause.as_ref().map(|cause| format!(" ({})", words::safe(cause, 200))).unwrap_or_default();
    let checkpoint = match info.checkpoint_tick {
        Some(tick) => format!("of tick {tick}, {}", words::bytes(info.checkpoint_bytes)),
        None => "none yet".to_owned(),
    };
    let rows = [
        ("status", format!("{}{cause}", info.status)),
        ("tick", info.tick.to_string()),
        ("balance", format!("{} of {} credits; {} spent", info.balance, info.funded, info.spent)),
        ("price", format!("{} credits a second of execution", info.price_per_second)),
        ("messages", format!("{} open", info.open_messages)),
        ("checkpoint", checkpoint),
        ("durable on", info.durable_on.clone()),
        ("journal", format!("entry {}, epoch {}, head {}", info.seq, info.epoch, info.head)),
        ("agent", info.agent.to_string()),
        ("owner", info.owner.to_string()),
        ("custodian", info.custodian.to_string()),
        ("program", info.program.to_string()),
        ("runtime", info.runtime.clone()),
    ];
    let mut lines = vec![context.out.tone(Tone::Strong, &info.name)];
    lines.extend(rows.iter().map(|(key, value)| format!("  {key:<11} {value}")));
    lines.join("\n")
}
