//! `export`: an agent's history as a file.

use crate::{
    Context, args,
    failure::Failure,
    output::Progress,
    source::{Source, write_file},
    words,
};
use igor_protocol::{
    Body, Entry, Hash, Seq,
    entry::{Content, Request},
    limits::BLOB_BYTES_MAX,
    verify::Blobs,
};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Debug, Serialize)]
struct Exported {
    agent: String,
    file: String,
    entries: u64,
    bytes: u64,
}

/// Writes an agent's history, program and states to a file.
pub(crate) fn export(context: &Context, args: &args::Export) -> Result<(), Failure> {
    let source = Source::agent_named(context, &args.name)?;
    let mut progress = Progress::new("exporting");
    let wanted = blobs_named(&source)?;
    // A live agent goes on meanwhile: the file holds exactly what was looked at.
    let blobs = wanted.hashes.iter().filter_map(|(hash, needed)| match source.blob(*hash, BLOB_BYTES_MAX) {
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
    let row = Exported { agent: source.agent().to_string(), file: args.out.display().to_string(), entries, bytes };
    context.out.say(&row, || {
        format!(
            "{}: {}, {}; check it anywhere with: igor verify {}",
            row.file,
            words::count(entries, "entry"),
            words::bytes(bytes),
            row.file
        )
    })
}

/// What a journal names by hash, and whether it cannot be verified without.
pub(super) struct Wanted {
    pub(super) hashes: Vec<(Hash, bool)>,
    pub(super) end: Seq,
}

pub(super) fn blobs_named(source: &Source) -> Result<Wanted, Failure> {
    let mut needed = BTreeSet::new();
    let mut states = BTreeSet::new();
    let mut last_state = None;
    let mut end = Seq(0);
    for commit in source.commits(Seq(0))? {
        let commit = commit?;
        end = commit.next();
        for (seq, _, bytes) in commit.entries() {
            let mut body = |content: &Content| {
                if let Content::Blob { hash, .. } = content {
                    needed.insert(*hash);
                }
            };
            match Entry::decode(bytes).map_err(|e| Failure::integrity(format!("entry seq=`{seq}`: {e}")))?.body {
                Body::Genesis(genesis) => needed.extend([genesis.body.program, genesis.body.manifest]),
                Body::Message(message) => body(&message.body),
                Body::Run(run) => {
                    for request in &run.requests {
                        if let Request::Reply { body: reply, .. } = request {
                            body(reply);
                        }
                    }
                }
                Body::Checkpoint(checkpoint) => {
                    body(&checkpoint.remembered);
                    states.insert(checkpoint.root);
                    last_state = Some(checkpoint.root);
                }
                Body::Order(_) | Body::Custody(_) | Body::Seal(_) | Body::End(_) => {}
            }
        }
    }
    needed.extend(last_state);
    states.retain(|state| !needed.contains(state));
    let hashes = needed.into_iter().map(|hash| (hash, true)).chain(states.into_iter().map(|hash| (hash, false)));
    Ok(Wanted { hashes: hashes.collect(), end })
}

pub(super) fn missing(hash: Hash) -> Failure {
    Failure::integrity(format!("blob {hash}, which the journal names, is missing or damaged"))
}
