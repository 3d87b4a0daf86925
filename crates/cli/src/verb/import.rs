//! `import`: the history in a file becomes a journal of this home, for looking, proving and passing on.
//!
//! Invariants kept here:
//! - All of the file is verified, and whatever can be refused is, before anything is written.
//! - Nothing that is here is rewritten: the file goes on where the journal here ends, or it is refused.
//! - A file gives no custody. What this node is custodian of is not taken from one, since that may lack the newest of
//!   what the node did.
//! - A crash on the way leaves blobs and a name that count for nothing, and then the beginning of the journal, with
//!   which the next import goes on.

use super::export::{blobs_named, missing};
use crate::{
    Context, args,
    failure::Failure,
    output::Progress,
    source::{ArchiveFile, Source, alone, patiently, wait},
    verb::verify,
    words,
};
use igor_node::{Node, custody, home::Home, local};
use igor_protocol::{AgentId, Hash, NodeId, Seq, ledger::Book, limits::BLOB_BYTES_MAX, verify::Blobs};
use igor_spine::inspect;
use igor_store::{Store, append_all};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Imported {
    agent: String,
    name: String,
    entries: u64,
    runs: u64,
    added: u64,
}

/// Takes the history in a file into this home.
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
    let wanted = blobs_named(&source)?;
    let mut blobs = Vec::new();
    for (hash, needed) in wanted.hashes {
        match (source.blob(hash, BLOB_BYTES_MAX), needed) {
            (Some(_), _) => blobs.push(hash),
            (None, true) => return Err(missing(hash)),
            (None, false) => {}
        }
    }
    let Source::File(file) = source else { return Err(Failure::refused("only a file is imported")) };
    let book: Book = inspect::book_at_end(|from| file.commits(from), &file, wanted.end)?;
    let name = Name { asked: args.name.as_deref(), own: &book.genesis().name };
    // A home that is made for this refuses nothing else.
    local::check_name(name.asked.unwrap_or(name.own)).map_err(|e| match name.asked {
        Some(_) => Failure::from(e),
        None => Failure::refused(format!("{e}; give it one with --name")),
    })?;
    let history = History { file: &file, end: wanted.end, custodian: custody::custodian(&book), blobs: &blobs };
    let (name, added) = patiently(|| adopt(context, &history, &name))?;
    let (agent, entries, runs) = (report.agent.to_string(), report.entries, report.runs);
    let row = Imported { agent, name, entries, runs, added };
    context.out.say(&row, || {
        let (all, name) = (words::count(row.entries, "entry"), &row.name);
        let new = match row.added {
            0 => format!("nothing new: {name} has here all that the file has, {all}"),
            added if added == row.entries => format!("{name} is kept here as an archive: {all}, all good"),
            added => format!("{name} went on here by {} to {all}, all good", words::count(added, "entry")),
        };
        format!(
            "{new}\nlook into it with: igor timeline {name}, igor replay {name} --at TICK, igor verify {name} --execute"
        )
    })
}

/// A verified history.
struct History<'a> {
    file: &'a ArchiveFile,
    end: Seq,
    custodian: NodeId,
    /// Those in the file that its journal names.
    blobs: &'a [Hash],
}

/// Takes a history in; returns the agent's name here, and how many entries are new.
fn adopt(context: &Context, history: &History<'_>, name: &Name<'_>) -> Result<(String, u64), Failure> {
    let home = Home::open_or_create(&context.path)?;
    // For this moment, this command is the node.
    let node = match context.become_node() {
        Err(igor_node::Error::Store(e)) => alone(&home, Err(e))?,
        node => node?,
    };
    let (store, agent) = (&**node.store(), history.file.agent());
    let known = store.tail(agent)?;
    match known {
        Some(_) => check_known(&node, history)?,
        None => check_unknown(&node, history)?,
    }
    let from = known.map_or(Seq(0), |known| known.next);
    let has = local::names(store)?.remove(&agent);
    let name = name.here(&node, agent, known.and(has.as_deref()))?;
    for hash in history.blobs {
        let blob = history.file.blob(*hash, BLOB_BYTES_MAX);
        let blob = blob.ok_or_else(|| Failure::integrity(format!("blob {hash} is not what its hash says")))?;
        wait(store.put_blob(blob))?;
    }
    if let Some(left_over) = has.filter(|has| *has != name) {
        wait(local::remove_name(store, &left_over))?;
    }
    wait(local::put_name(store, &name, agent))?;
    if history.end <= from {
        return Ok((name, 0));
    }
    wait(append_all(store, history.file.commits(from)?))?;
    Ok((name, history.end.0 - from.0))
}

/// Refuses the history of an agent that is not here, where this node is its custodian.
fn check_unknown(node: &Node, history: &History<'_>) -> Result<(), Failure> {
    let agent = history.file.agent();
    if history.custodian == node.id() {
        return Err(Failure::refused(format!(
            "this node has custody of agent {agent}, and not its journal: a file may lack the newest of what the node \
             did, so nothing is taken from it; `igor timeline`, `igor verify` and `igor replay` read the file itself"
        )));
    }
    Ok(())
}

/// Refuses a history that is not the one that is here, as far as both go, and that of an agent that lives here.
fn check_known(node: &Node, history: &History<'_>) -> Result<(), Failure> {
    let agent = history.file.agent();
    match node.check_custody(agent) {
        Err(igor_node::Error::NotCustodian { .. }) => {}
        Err(e) => return Err(e.into()),
        Ok(()) => {
            return Err(Failure::refused(format!("agent {agent} lives here; its journal is not taken from a file")));
        }
    }
    let mut theirs = history.file.commits(Seq(0))?;
    for ours in node.store().read(agent, Seq(0))? {
        let ours = ours?;
        // Commits are passed on as they are.
        let Some(theirs) = theirs.next().transpose()? else { return Ok(()) };
        if ours.head() == theirs.head() {
            continue;
        }
        let pairs = ours.entries().zip(theirs.entries());
        let differs = pairs.map(|((seq, ours, _), (_, theirs, _))| (seq, ours != theirs)).find(|(_, differ)| *differ);
        let seq = differs.map_or(ours.next().min(theirs.next()), |(seq, _)| seq);
        return Err(Failure::refused(format!(
            "the journal of agent {agent} here has another history than the file from seq=`{seq}` on; nothing is \
             changed, and each is good by itself"
        )));
    }
    Ok(())
}

/// What a journal is to be called.
struct Name<'a> {
    /// What was asked for.
    asked: Option<&'a str>,
    /// The agent's own.
    own: &'a str,
}

impl Name<'_> {
    /// The name in this home, where the agent may have one already. An agent has one name.
    fn here(&self, node: &Node, agent: AgentId, has: Option<&str>) -> Result<String, Failure> {
        let (store, name) = (&**node.store(), self.asked.or(has).unwrap_or(self.own));
        match (local::agent_named(store, name)?, has) {
            (Some(holder), _) if holder == agent => {}
            (Some(other), _) if store.tail(other)?.is_some() => {
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
