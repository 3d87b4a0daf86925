//! Checks a whole journal with nothing but its bytes: chain, signatures, orders, bills, money, times, messages.
//!
//! What this cannot see (outcomes, fuel, replies, checkpoint states) takes a re-execution: the spine's replay.

use crate::{
    AgentId, Commit, Entry, Hash, Manifest,
    entry::{Body, Content, Failure, Outcome, Request},
    ledger::{Book, Fault},
    limits::BLOB_BYTES_MAX,
    units::{Credits, Epoch, Seq},
};

/// Where the blobs that a journal names are read from.
pub trait Blobs {
    /// The bytes of a blob, or nothing where it is not to be had. Need not be checked against the hash.
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>>;

    /// Whether a blob is known not to be there, which is nothing wrong; not so of one that is there and does not read.
    fn lacks(&self, _: Hash) -> bool {
        false
    }
}

/// The first entry that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry seq=`{seq}` is bad: {fault}")]
pub struct Bad {
    /// Its position.
    pub seq: Seq,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// What a verified journal comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose journal it is.
    pub agent: AgentId,
    /// How many entries it has.
    pub entries: u64,
    /// How many runs it has.
    pub runs: u64,
    /// The epoch at its end.
    pub epoch: Epoch,
    /// The head at its end.
    pub head: Hash,
    /// The last entry that a seal vouches for.
    pub sealed: Option<Seq>,
    /// Runs that failed by the host's word alone (timeouts and the like), which no re-execution can confirm.
    pub asserted: u64,
    /// What those runs cost.
    pub asserted_cost: Credits,
}

/// Verifies a journal, one commit after the other from Genesis on.
#[derive(Debug, Default)]
pub struct Verifier {
    book: Option<Book>,
    runs: u64,
    sealed: Option<Seq>,
    asserted: u64,
    asserted_cost: Credits,
}

impl Verifier {
    /// A verifier that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the next commit. Returns its entries. After an error, the verifier says nothing more.
    pub fn push(&mut self, commit: &Commit, blobs: &dyn Blobs) -> Result<Vec<(Seq, Hash, Entry)>, Bad> {
        let book = match &mut self.book {
            Some(book) => book,
            none => none.insert(begin(commit, blobs).map_err(|fault| Bad { seq: commit.first(), fault })?),
        };
        let entries = book.apply(commit).map_err(|(seq, fault)| Bad { seq, fault })?;
        for (seq, _, entry) in &entries {
            self.count(*seq, entry);
            check_blobs(entry, blobs).map_err(|fault| Bad { seq: *seq, fault })?;
        }
        Ok(entries)
    }

    /// The book so far; none before the first commit.
    pub const fn book(&self) -> Option<&Book> {
        self.book.as_ref()
    }

    /// What was verified; nothing if there was no commit at all.
    pub fn report(&self) -> Option<Report> {
        let chain = self.book.as_ref()?.chain();
        Some(Report {
            agent: chain.agent,
            entries: chain.next.0,
            runs: self.runs,
            epoch: chain.epoch,
            head: chain.head,
            sealed: self.sealed,
            asserted: self.asserted,
            asserted_cost: self.asserted_cost,
        })
    }

    fn count(&mut self, seq: Seq, entry: &Entry) {
        match &entry.body {
            Body::Run(run) => {
                self.runs += 1;
                if let Outcome::Failed { failure, .. } = &run.outcome
                    && !Failure::is_deterministic(*failure)
                {
                    self.asserted += 1;
                    // Bounded by the sum of all costs, which the book has checked to fit.
                    self.asserted_cost = self.asserted_cost.checked_add(run.cost).unwrap_or(Credits::MAX);
                }
            }
            Body::Seal(_) => self.sealed = Some(Seq(seq.0.saturating_sub(1))),
            Body::Custody(_) => self.sealed = Some(seq),
            _ => {}
        }
    }
}

/// The book before the Genesis that a first commit holds.
pub fn begin(commit: &Commit, blobs: &dyn Blobs) -> Result<Book, Fault> {
    let (_, _, encoded) = commit.entries().next().ok_or(Fault::Place("a commit has entries"))?;
    let Body::Genesis(genesis) = Entry::decode(encoded)?.body else {
        return Err(Fault::Place("a journal begins with its Genesis"));
    };
    let hash = genesis.body.manifest;
    let bytes = blobs.blob(hash, 64 << 10).filter(|bytes| Hash::of_blob(bytes) == hash).ok_or(Fault::Blob(hash))?;
    let manifest = Manifest::decode(&bytes).map_err(|_| Fault::Blob(hash))?;
    Book::before_genesis(&genesis, manifest)
}

/// Every body that an entry names by hash must be there; a state may be missing only when a later one stands for it.
pub fn check_blobs(entry: &Entry, blobs: &dyn Blobs) -> Result<(), Fault> {
    let check = |content: &Content| match content {
        Content::Inline(_) => Ok(()),
        Content::Blob { hash, bytes } => match blobs.blob(*hash, (*bytes).min(BLOB_BYTES_MAX)) {
            Some(found) if found.len() as u64 == *bytes && Hash::of_blob(&found) == *hash => Ok(()),
            _ => Err(Fault::Blob(*hash)),
        },
    };
    match &entry.body {
        Body::Message(message) => check(&message.body),
        Body::Run(run) => run.requests.iter().try_for_each(|request| match request {
            Request::Reply { body, .. } => check(body),
            Request::WakeAt(_) | Request::Finish | Request::MigrateTo(_) => Ok(()),
        }),
        _ => Ok(()),
    }
}
