//! `export` and `import`: an agent's history as a file, and a file's history as an archive.

use crate::{
    Context, args,
    failure::Failure,
    output::Progress,
    source::{ArchiveFile, Source, alone, patiently, wait, write_file},
    verb::verify,
    words,
};
use igor_node::{home::Home, local};
use igor_protocol::{
    AgentId, Body, Chain, Entry, Hash, Seq,
    entry::{Content, Request},
    limits::BLOB_BYTES_MAX,
    verify::Blobs,
};
use igor_store::{
    Store,
    disk::{Disk, Options},
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
struct Wanted {
    hashes: Vec<(Hash, bool)>,
    end: Seq,
}

fn blobs_named(source: &Source) -> Result<Wanted, Failure> {
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

/// The blobs of a file that its journal names. Each was read, and is what its hash says.
fn blobs_there(source: &Source) -> Result<Vec<Hash>, Failure> {
    let mut there = Vec::new();
    for (hash, needed) in blobs_named(source)?.hashes {
        match (source.blob(hash, BLOB_BYTES_MAX), needed) {
            (Some(_), _) => there.push(hash),
            (None, true) => return Err(missing(hash)),
            (None, false) => {}
        }
    }
    Ok(there)
}

fn missing(hash: Hash) -> Failure {
    Failure::integrity(format!("blob {hash}, which the journal names, is missing or damaged"))
}

#[derive(Debug, Serialize)]
struct Imported {
    agent: String,
    name: String,
    entries: u64,
    runs: u64,
}

/// Keeps the history in a file as an archive.
pub(crate) fn import(context: &Context, args: &args::Import) -> Result<(), Failure> {
    let file = ArchiveFile::open(&args.file, args.quota << 20).map_err(|broken| broken.why)?;
    let source = Source::File(file);
    let mut progress = Progress::new("verifying");
    let report = verify::check(&source, |done| progress.at(|| words::count(done, "entry"))).map_err(|fallen| {
        match fallen.seq {
            Some(seq) => fallen.why.while_at(format!("{}: entry seq=`{seq}` is bad", args.file.display())),
            None => fallen.why,
        }
    })?;
    drop(progress);
    let blobs = blobs_there(&source)?;
    let name = Name { asked: args.name.as_deref(), own: genesis_name(&source)? };
    // A home that is made for this refuses nothing else.
    local::check_name(name.asked.unwrap_or(&name.own)).map_err(|e| match name.asked {
        Some(_) => Failure::from(e),
        None => Failure::refused(format!("{e}; give it one with --name")),
    })?;
    let Source::File(file) = source else { return Err(Failure::refused("only a file is imported")) };
    let name = patiently(|| adopt(context, &file, &blobs, &name))?;
    let row = Imported { agent: report.agent.to_string(), name, entries: report.entries, runs: report.runs };
    context.out.say(&row, || {
        let (entries, name) = (words::count(row.entries, "entry"), &row.name);
        format!("{name} is kept here as an archive: {entries}, all good\nlook into it with: igor timeline {name}, igor replay {name} --at TICK, igor verify {name} --execute")
    })
}

/// Keeps a verified journal with the blobs that it names. Whatever can be refused is refused before anything is
/// written; a crash on the way leaves blobs and a name that count for nothing.
fn adopt(context: &Context, file: &ArchiveFile, blobs: &[Hash], name: &Name<'_>) -> Result<String, Failure> {
    let home = Home::open_or_create(&context.path)?;
    let disk = Disk::open(home.path(), &Options { note: "igor import".to_owned(), ..Options::default() });
    let disk = alone(&home, disk)?;
    let agent = file.agent();
    let known = disk.tail(agent)?;
    if let Some(known) = known {
        if !disk.is_archive(agent) {
            let why = format!("agent {agent} lives here; what the file has of it, this home has already");
            return Err(Failure::refused(why));
        }
        check_contains(file, known)?;
    }
    let has = local::names(&disk)?.remove(&agent);
    let name = name.here(&disk, agent, known.and(has.as_deref()))?;
    for hash in blobs {
        let blob = file.blob(*hash, BLOB_BYTES_MAX);
        let blob = blob.ok_or_else(|| Failure::integrity(format!("blob {hash} is not what its hash says")))?;
        wait(disk.put_blob(blob))?;
    }
    if let Some(left_over) = has.filter(|has| *has != name) {
        local::remove_name(&disk, &left_over)?;
    }
    local::put_name(&disk, &name, agent)?;
    // The journal was verified in whole. Should the file have changed since, nothing is kept.
    let damaged = |e: Failure| igor_store::Error::Damaged { path: context.path.clone(), at: 0, why: e.to_string() };
    disk.adopt_archive(agent, file.commits(Seq(0))?.map(|commit| commit.map_err(damaged)))?;
    Ok(name)
}

/// An archive is only replaced by more of the same history.
fn check_contains(file: &ArchiveFile, known: Chain) -> Result<(), Failure> {
    let last = Seq(known.next.0.saturating_sub(1));
    let commit = file.commits(last)?.next().transpose()?;
    let entry = commit.as_ref().and_then(|commit| commit.entries().find(|(seq, ..)| *seq == last));
    match entry {
        Some((_, head, _)) if head == known.head => Ok(()),
        Some(_) => Err(Failure::refused(format!(
            "the archive of agent {} here has another history than the file: at seq=`{last}` their heads differ",
            known.agent
        ))),
        None => Err(Failure::refused(format!(
            "the archive of agent {} here has more than the file: {}",
            known.agent,
            words::count(known.next.0, "entry")
        ))),
    }
}

/// What an archive is to be called.
struct Name<'a> {
    /// What was asked for.
    asked: Option<&'a str>,
    /// The agent's own.
    own: String,
}

impl Name<'_> {
    /// The name in this home, where the archive may have one already. An agent has one name.
    fn here(&self, disk: &Disk, agent: AgentId, has: Option<&str>) -> Result<String, Failure> {
        let name = self.asked.or(has).unwrap_or(&self.own);
        match (local::agent_named(disk, name)?, has) {
            (Some(holder), _) if holder == agent => {}
            (Some(other), _) if disk.tail(other)?.is_some() => {
                let why = format!("the name {name} belongs to agent {other}; choose another with --name");
                return Err(Failure::refused(why));
            }
            (_, Some(has)) => {
                let why = format!("agent {agent} is kept here already, as {has}; import it without another --name");
                return Err(Failure::refused(why));
            }
            (_, None) => {}
        }
        Ok(name.to_owned())
    }
}

fn genesis_name(source: &Source) -> Result<String, Failure> {
    let first = source.commits(Seq(0))?.next().ok_or_else(|| Failure::integrity("the journal is empty"))??;
    let bytes = first.entries().next().map(|(_, _, bytes)| bytes.to_vec()).unwrap_or_default();
    match Entry::decode(&bytes).map_err(Failure::integrity)?.body {
        Body::Genesis(genesis) => Ok(genesis.body.name),
        _ => Err(Failure::integrity("a journal begins with its Genesis")),
    }
}
