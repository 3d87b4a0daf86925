//! `export`: an agent's history as a file; with `--release`, the agent itself.
//!
//! Invariants kept here:
//! - The file holds exactly what was looked at, however the agent goes on meanwhile.
//! - The handoff is durable before the file is written. A kill between the two loses nothing: the same command writes
//!   the file of the same handoff.

use crate::{
    Context, args,
    failure::Failure,
    output::Progress,
    source::{Keeper, Source, patiently, wait, write_file},
    words,
};
use igor_node::{api::wire::Released, portable};
use igor_protocol::{Hash, NodeId, Seq, limits::BLOB_BYTES_MAX, verify::Blobs};
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Exported {
    agent: String,
    file: String,
    entries: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<Released>,
}

/// Writes an agent's history, program and states to a file.
pub(crate) fn export(context: &Context, args: &args::Export) -> Result<(), Failure> {
    let released = match (args.release, args.to) {
        (true, Some(to)) => {
            check_writable(&args.out)?;
            Some(patiently(|| release(context, args, to))?)
        }
        _ => None,
    };
    let written = write(context, args).map_err(|why| match &released {
        Some(released) => why.while_at(format!(
            "{} is given to {} (epoch {}), and its file was not written; the same command again writes it",
            args.name, released.to, released.epoch
        )),
        None => why,
    })?;
    let row = Exported { released, ..written };
    context.out.say(&row, || {
        let (file, name) = (&row.file, &args.name);
        let what = format!("{file}: {}, {}", words::count(row.entries, "entry"), words::bytes(row.bytes));
        match &row.released {
            None => format!("{what}; check it anywhere with: igor verify {file}"),
            Some(released) if released.accepted => {
                format!("{what}\n{} has taken {name} already; the file is history", released.to)
            }
            Some(Released { to, epoch, price_per_second, .. }) => format!(
                "{what}\n{name} is on its way to {to} (epoch {epoch}), at {price_per_second} credits a second, and stands \
                 still until that node takes it: igor import {file}\nonly that node can; keep the file until it has"
            ),
        }
    })
}

/// A directory that is not there is better found before the agent stands still.
fn check_writable(out: &Path) -> Result<(), Failure> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".igor-export").tempfile_in(parent);
    made.map(drop).map_err(|e| Failure::failed(format!("nothing was given away: {}: {e}", out.display())))
}

fn release(context: &Context, args: &args::Export, to: NodeId) -> Result<Released, Failure> {
    match Keeper::find(context)? {
        Keeper::Node(client) => Ok(wait(client.release(&args.name, to, args.price))?),
        Keeper::Nobody(local) => {
            let agent = local.resolve(&args.name)?;
            drop(local);
            // For this moment, this command is the node.
            let node = context.become_node()?;
            node.carry_none();
            Ok(wait(node.release(agent, to, args.price))?)
        }
    }
}

fn write(context: &Context, args: &args::Export) -> Result<Exported, Failure> {
    let source = Source::agent_named(context, &args.name)?;
    let mut progress = Progress::new("exporting");
    let wanted = portable::wanted(source.commits(Seq(0))?)?;
    let blobs = wanted.blobs.iter().filter_map(|(hash, needed)| match source.blob(*hash, BLOB_BYTES_MAX) {
        Some(bytes) => Some(Ok((*hash, bytes))),
        None if *needed => Some(Err(missing(*hash))),
        // The state of an older checkpoint, for which a later one stands.
        None => None,
    });
    let mut entries = 0;
    let commits = source.commits(Seq(0))?.take_while(|commit| !commit.as_ref().is_ok_and(|c| c.next() > wanted.end));
    let commits = commits.inspect(|commit| {
        if let Ok(commit) = commit {
            entries = commit.next().0;
            progress.at(|| words::count(entries, "entry"));
        }
    });
    let bytes = write_file(&args.out, blobs, commits)?;
    let (agent, file) = (source.agent().to_string(), args.out.display().to_string());
    Ok(Exported { agent, file, entries, bytes, released: None })
}

fn missing(hash: Hash) -> Failure {
    Failure::integrity(format!("blob {hash}, which the journal names, is missing or damaged"))
}
