//! `show` and `ps`: agents as they are now.

use crate::{
    Context, args,
    failure::{Code, Failure},
    output::{Tone, note},
    source::{Keeper, Source, wait},
    words,
};
use igor_node::{
    api::wire::{Absent, AgentInfo, Elsewhere, Orphan, Requests},
    custody::{ELSEWHERE, HEARSAY},
};
use serde::Serialize;

/// Messages, and replies, of an orphaned branch that people are shown.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Serialize)]
struct Short<'a> {
    agent: String,
    name: &'a str,
    status: &'a str,
    tick: u64,
    balance: String,
}

/// Lists the agents of a home or node, or the branches that takeovers orphaned there.
pub(crate) fn ps(context: &Context, args: &args::Ps) -> Result<(), Failure> {
    if args.orphans { orphans(context) } else { agents(context) }
}

fn orphans(context: &Context) -> Result<(), Failure> {
    let orphans = match Keeper::find(context)? {
        Keeper::Node(client) => wait(client.orphans())?,
        Keeper::Nobody(local) => local.orphans(None)?,
    };
    if orphans.is_empty() {
        return context.out.words("no takeover has orphaned anything here");
    }
    for orphan in &orphans {
        context.out.say(orphan, || {
            let name = orphan.name.clone().unwrap_or_else(|| orphan.agent.to_string());
            format!("{}\n{}", context.out.tone(Tone::Strong, &name), branch(orphan))
        })?;
    }
    Ok(())
}

/// A branch that a takeover orphaned, in words.
fn branch(orphan: &Orphan) -> String {
    let mut lines = vec![
        format!("  orphaned    epoch {}, {}; it cost {}", orphan.epoch, orphan.in_words(), words::money(orphan.cost)),
        format!("              {}", orphan.file.display()),
        format!("              igor timeline {} --from {}", orphan.file.display(), orphan.from),
    ];
    for message in orphan.messages.iter().take(SHOWN_MAX) {
        let name = match (&message.id, &message.stream, message.n) {
            (Some(id), ..) => words::safe(id, 60),
            (None, Some(stream), Some(n)) => format!("number {n} of stream {}", words::safe(stream, 60)),
            _ => String::new(),
        };
        let sender = words::safe(&message.sender, 60);
        lines.push(format!("    message   {name} from {sender}, entry {}", message.seq));
    }
    for reply in orphan.replies.iter().take(SHOWN_MAX) {
        lines.push(format!("    reply     to the message of entry {}, entry {}", reply.message, reply.seq));
    }
    let left = orphan.messages.len().saturating_sub(SHOWN_MAX) + orphan.replies.len().saturating_sub(SHOWN_MAX);
    if left > 0 {
        lines.push(format!("    and {left} more: --json lists them"));
    }
    lines.join("\n")
}

fn agents(context: &Context) -> Result<(), Failure> {
    let agents = match Keeper::find(context)? {
        Keeper::Node(client) => {
            if let Some(why) = wait(client.node())?.suspended {
                note(why);
            }
            wait(client.agents())?
        }
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

/// Shows one agent: as it is here, or where it is.
pub(crate) fn show(context: &Context, args: &args::Named) -> Result<(), Failure> {
    let name = args.name.as_str();
    let unknown = match Source::agent_named(context, name) {
        Ok(Source::Node(_, info)) => return context.out.say(&info, || in_words(context, &info)),
        Ok(Source::Home(local, agent)) => {
            let info = AgentInfo { orphans: local.orphans(Some(agent))?, ..local.info(agent)? };
            return context.out.say(&info, || in_words(context, &info));
        }
        Ok(Source::File(_)) => return Err(Failure::failed("not an agent's name")),
        // It is not here. Who knows where it is?
        Err(why) if matches!(why.code, Code::Failed | Code::Refused) => why,
        Err(why) => return Err(why),
    };
    let absent = match Keeper::find(context)? {
        Keeper::Nobody(local) => local.absent(name)?,
        Keeper::Node(client) => match (wait(client.absent(name))?, name.parse()) {
            (Some(absent), _) => Some(absent),
            (None, Ok(agent)) => wait(client.whereabouts(agent))?.map(|at| {
                let status = ELSEWHERE.to_owned();
                Absent { status, name: None, at, orphans: Vec::new() }
            }),
            (None, Err(_)) => None,
        },
    };
    match absent {
        Some(absent) => context.out.say(&absent, || absent_in_words(context, &absent)),
        None => Err(unknown),
    }
}

fn absent_in_words(context: &Context, absent: &Absent) -> String {
    let name = absent.name.clone().unwrap_or_else(|| absent.at.agent.to_string());
    let mut lines = vec![
        context.out.tone(Tone::Strong, &name),
        format!("  status      {}: its journal is not here", absent.status),
        format!("  moved to    {}", whereabouts(&absent.at)),
        format!("  agent       {}", absent.at.agent),
    ];
    lines.extend(absent.orphans.iter().map(branch));
    lines.join("\n")
}

fn whereabouts(at: &Elsewhere) -> String {
    let by = if at.by == HEARSAY { ", as other nodes say" } else { "" };
    let reached = match (at.answers, at.addresses.first()) {
        (Some(false), _) => "; it does not answer now".to_owned(),
        (_, Some(address)) => format!("; other nodes reach it at {address}"),
        (_, None) => String::new(),
    };
    format!("{}, epoch {}{by}{reached}", at.node, at.epoch)
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
    let requests = info.requests.map(|requests| ("requests", in_requests(&requests)));
    let rows = rows.into_iter().chain(requests);
    lines.extend(rows.map(|(key, value)| format!("  {key:<11} {value}")));
    lines.extend(info.standby.iter().enumerate().map(|(at, node)| {
        let key = if at == 0 { "standby" } else { "" };
        format!("  {key:<11} {node}")
    }));
    lines.extend(info.moved.iter().map(|at| format!("  moved to    {}", whereabouts(at))));
    lines.extend(info.orphans.iter().map(branch));
    lines.join("\n")
}

/// What an agent cost in requests to its bucket.
fn in_requests(requests: &Requests) -> String {
    let Requests { creates, reads, deletes, ticks, creates_per_1000_ticks } = *requests;
    let count = |number, noun| words::count(number, noun);
    let all = format!("{}, {}, {}", count(creates, "create"), count(reads, "read"), count(deletes, "delete"));
    match creates_per_1000_ticks {
        Some(each) => {
            format!("{all} in {} here: {}.{:02} creates a tick", count(ticks, "tick"), each / 1000, each % 1000 / 10)
        }
        None => format!("{all} here"),
    }
}
