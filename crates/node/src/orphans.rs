//! Branches of journals that an owner's takeover orphaned: portable files in the home, and what is on them only.
//!
//! Invariants kept here:
//! - A file's name says all that the file itself cannot: which entries are on this branch only. It gets that name when
//!   all of it is durable, and before the journal leaves the store.
//! - Nothing here is ever merged or written over: two branches have two names. Only the operator deletes.

use crate::{
    api::wire::{Orphan, OrphanedMessage, OrphanedReply},
    bucket::NodeStore,
    home::{self, Home},
    local::{self, Locals},
    portable::{self, Archive, Unreadable},
};
use igor_protocol::{
    AgentId, Body, Chain, Credits, Entry, Epoch, Seq,
    entry::{MessageId, Request},
};
use igor_store::Store;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Messages and replies that are listed of one branch, each.
const LISTED_MAX: usize = 1000;
/// Digits of the head in a file's name.
const HEAD_DIGITS: usize = 8;

/// A file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// The agent.
    pub agent: AgentId,
    /// The epoch at its end.
    pub epoch: Epoch,
    /// The first entry that is on this branch only.
    pub from: Seq,
    /// Where it is.
    pub path: PathBuf,
}

/// The branches of a home, or those of one agent, by file.
pub fn list(home: &Home, agent: Option<AgentId>) -> Result<Vec<Kept>, home::Error> {
    let directory = home.orphans();
    let failed = |source| home::Error::Io { path: directory.clone(), source };
    let files = match fs::read_dir(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.map_err(failed)?,
    };
    let mut kept = Vec::new();
    for file in files {
        // Whatever else somebody put there is theirs.
        kept.extend(named(file.map_err(failed)?.path()).filter(|kept| agent.is_none_or(|agent| kept.agent == agent)));
    }
    kept.sort();
    Ok(kept)
}

/// What the files of all branches take.
pub(crate) fn bytes(home: &Home) -> Result<u64, home::Error> {
    let length = |kept: Kept| fs::metadata(kept.path).map_or(0, |found| found.len());
    Ok(list(home, None)?.into_iter().map(length).sum())
}

fn named(path: PathBuf) -> Option<Kept> {
    let name = path.file_name()?.to_str()?.strip_suffix(".igor")?;
    let mut parts = name.split('-');
    let (agent, epoch, from, _head) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (term, n) = epoch.split_once('.')?;
    let (agent, from) = (agent.parse().ok()?, Seq(from.parse().ok()?));
    let epoch = Epoch { term: term.parse().ok()?, n: n.parse().ok()? };
    parts.next().is_none().then_some(Kept { agent, epoch, from, path })
}

/// Writes the journal that is in the store as a file. `base` is where the branch that counts goes on from.
pub(crate) fn keep(store: &NodeStore, home: &Home, end: Chain, base: Chain) -> Result<Kept, crate::Error> {
    let agent = end.agent;
    let from = parting(store, base)?;
    home.make_orphans()?;
    let head = &end.head.to_string()[..HEAD_DIGITS];
    let path = home.orphans().join(format!("{agent}-{}-{from}-{head}.igor", end.epoch));
    let wanted = portable::wanted(store.read(agent, Seq(0))?).map_err(crate::Error::Journal)?;
    let blobs = wanted.blobs.into_iter().filter_map(|(hash, _)| {
        let blob = store.get_blob(hash, igor_protocol::limits::BLOB_BYTES_MAX).transpose()?;
        Some(blob.map(|bytes| (hash, bytes)))
    });
    portable::write(&path, blobs, store.read(agent, Seq(0))?)?;
    Ok(Kept { agent, epoch: end.epoch, from, path })
}

/// The first entry of the journal here that is not on the branch that goes on from `base`: the one after the base, if
/// that is here. Where the branches part before it, nobody here can tell where, and all but the first entry counts.
fn parting(store: &NodeStore, base: Chain) -> Result<Seq, crate::Error> {
    let Some(last) = base.next.0.checked_sub(1).map(Seq) else { return Ok(Seq(0)) };
    let Some(commit) = store.read(base.agent, last)?.next().transpose()? else { return Ok(Seq(1)) };
    let shared = commit.entries().any(|(seq, head, _)| seq == last && head == base.head);
    Ok(if shared { base.next } else { Seq(1) })
}

/// The branches of a home, or those of one agent, and what is on each only. Reads all of the files.
pub fn all(home: &Home, locals: &impl Locals, agent: Option<AgentId>) -> Result<Vec<Orphan>, crate::Error> {
    let names = local::names(locals)?;
    let kept = list(home, agent)?;
    Ok(kept.iter().map(|kept| read(kept, names.get(&kept.agent).map(String::as_str))).collect())
}

/// What is on a branch only. Reads all of the file.
pub fn read(kept: &Kept, name: Option<&str>) -> Orphan {
    let mut orphan = Orphan {
        agent: kept.agent,
        name: name.map(str::to_owned),
        file: kept.path.clone(),
        epoch: kept.epoch,
        from: kept.from,
        damaged: None,
        entries: 0,
        runs: 0,
        cost: Credits::ZERO,
        messages: Vec::new(),
        replies: Vec::new(),
        effects: Vec::new(),
        unlisted: 0,
    };
    if let Err(why) = fill(&mut orphan, &kept.path) {
        orphan.damaged = Some(why);
    }
    orphan
}

fn fill(orphan: &mut Orphan, path: &Path) -> Result<(), String> {
    let words = |why: Unreadable| why.to_string();
    let archive = Archive::open(path, u64::MAX).map_err(|broken| words(broken.why))?;
    let from = orphan.from;
    for commit in archive.commits(from).map_err(words)? {
        let commit = commit.map_err(words)?;
        for (seq, _, bytes) in commit.entries().filter(|(seq, ..)| *seq >= from) {
            let entry = Entry::decode(bytes).map_err(|e| format!("entry seq=`{seq}`: {e}"))?;
            orphan.entries += 1;
            take(orphan, seq, entry.body);
        }
    }
    Ok(())
}

fn take(orphan: &mut Orphan, seq: Seq, body: Body) {
    match body {
        Body::Message(message) => {
            let (id, stream, n) = match message.id {
                MessageId::Opaque(id) => (Some(id), None, None),
                MessageId::Numbered { stream, n } => (None, Some(stream), Some(n)),
            };
            let message = OrphanedMessage { seq, sender: message.sender.label(), id, stream, n };
            put(&mut orphan.messages, message, &mut orphan.unlisted);
        }
        Body::Run(run) => {
            orphan.runs += 1;
            orphan.cost = orphan.cost.checked_add(run.cost).unwrap_or(Credits::MAX);
            if run.outcome.is_ok() {
                for request in run.requests {
                    if let Request::Reply { message, .. } = request {
                        put(&mut orphan.replies, OrphanedReply { seq, message }, &mut orphan.unlisted);
                    }
                }
            }
        }
        _ => {}
    }
}

fn put<T>(list: &mut Vec<T>, row: T, unlisted: &mut u64) {
    if list.len() < LISTED_MAX {
        list.push(row);
    } else {
        *unlisted += 1;
    }
}

impl Orphan {
    /// What is lost with the branch, in words.
    pub fn in_words(&self) -> String {
        if let Some(why) = &self.damaged {
            return format!("the file does not read: {why}");
        }
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        let replies = match self.replies.len() {
            1 => "1 reply".to_owned(),
            n => format!("{n} replies"),
        };
        let more = if self.unlisted == 0 { String::new() } else { format!(" (and {} more)", self.unlisted) };
        format!(
            "from entry {} on: {}, {}, {}, {replies}{more}, no effects",
            self.from,
            match self.entries {
                1 => "1 entry".to_owned(),
                n => format!("{n} entries"),
            },
            count(usize::try_from(self.runs).unwrap_or(usize::MAX), "run"),
            count(self.messages.len(), "acknowledged message"),
        )
    }
}
