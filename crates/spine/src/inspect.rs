//! An agent at the end of its journal, without running it; and where its last checkpoint is.
//!
//! Reads from the last checkpoint on. What came before is believed, as a restart believes it: `verify` is what
//! doubts it.

use igor_protocol::{
    Body, Chain, Commit, Entry, Hash, Seq, codec,
    entry::{Call, Checkpoint, Content, Genesis, Run},
    ledger::{Book, Fault, Remembered},
    verify::Blobs,
};
use igor_store::search::last_with_checkpoint;

/// Why a journal cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// Its source failed.
    #[error(transparent)]
    Source(#[from] E),
    /// An entry is wrong.
    #[error("the journal breaks a rule at seq=`{seq}`: {fault}")]
    Bad {
        /// Its position.
        seq: Seq,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl<E> Error<E> {
    fn bad(seq: Seq, fault: impl Into<Fault>) -> Self {
        Self::Bad { seq, fault: fault.into() }
    }
}

/// The book of an agent whose journal ends before `end`. `read` gives the commits from the one that holds a position.
///
/// It begins at the last checkpoint of which the blobs are there, and is the same from any: whoever reads on from far behind
/// has those of the last one only at the end.
pub fn book_at_end<E, I: Iterator<Item = Result<Commit, E>>>(
    read: impl Fn(Seq) -> Result<I, E>,
    blobs: &dyn Blobs,
    end: Seq,
) -> Result<Book, Error<E>> {
    let empty = || Error::bad(Seq(0), Fault::Place("a journal begins with its Genesis"));
    let first = read(Seq(0))?.next().ok_or_else(empty)??;
    let before = igor_protocol::verify::begin(&first, blobs).map_err(|fault| Error::bad(Seq(0), fault))?;
    let mut until = end;
    let (mut book, from) = loop {
        let Some(last) = last_checkpoint(&read, until)? else { break (before, Seq(0)) };
        match begin_at(&last, &first, &before, blobs) {
            Err(Error::Bad { fault: Fault::Blob(hash), .. }) if blobs.lacks(hash) => until = last.commit.start().next,
            begun => break (begun?, last.commit.next()),
        }
    };
    if from < end {
        for commit in read(from)? {
            book.apply(&commit?).map_err(|(seq, fault)| Error::Bad { seq, fault })?;
        }
    }
    Ok(book)
}

/// A checkpoint of a journal.
pub(crate) struct Last {
    /// The commit that it is in.
    pub(crate) commit: Commit,
    /// The chain before its entry.
    pub(crate) chain: Chain,
    /// The entry.
    pub(crate) checkpoint: Checkpoint,
    /// The run right before it, which proved its state.
    pub(crate) proof: Run,
}

/// The last checkpoint in the commits of a journal that begin before `end`. Not more is read than it takes to find it.
pub(crate) fn last_checkpoint<E, I: Iterator<Item = Result<Commit, E>>>(
    read: &impl Fn(Seq) -> Result<I, E>,
    end: Seq,
) -> Result<Option<Last>, Error<E>> {
    last_with_checkpoint(read, end)?.map_or(Ok(None), checkpoint_in)
}

/// The last checkpoint of a commit.
fn checkpoint_in<E>(commit: Commit) -> Result<Option<Last>, Error<E>> {
    let (mut chain, mut proof, mut last) = (commit.start(), None, None);
    for (seq, _, bytes) in commit.entries() {
        proof = match (decode(seq, bytes)?, proof) {
            (Body::Run(run), _) if run.call == Call::Resume => Some(run),
            (Body::Checkpoint(checkpoint), Some(proof)) => {
                last = Some((chain, checkpoint, proof));
                None
            }
            (Body::Checkpoint(_), None) => {
                return Err(Error::bad(seq, Fault::Place("a checkpoint follows the runs that took and proved it")));
            }
            _ => None,
        };
        chain = chain.link(bytes);
    }
    Ok(last.map(|(chain, checkpoint, proof)| Last { commit, chain, checkpoint, proof }))
}

fn begin_at<E>(last: &Last, first: &Commit, before: &Book, blobs: &dyn Blobs) -> Result<Book, Error<E>> {
    let seq = last.chain.next;
    let content = open(&last.checkpoint.remembered, blobs).map_err(|fault| Error::bad(seq, fault))?;
    let remembered = Remembered::decode(&content).map_err(|e| Error::bad(seq, e))?;
    let genesis = genesis(first)?;
    let (manifest, checkpoint) = (before.manifest().clone(), &last.checkpoint);
    let begun = Book::before_checkpoint(&genesis, manifest, last.chain, checkpoint, remembered);
    let mut book = begun.map_err(|fault| Error::bad(seq, fault))?;
    book.apply_entries(&last.commit, seq).map_err(|(seq, fault)| Error::Bad { seq, fault })?;
    Ok(book)
}

/// The Genesis that the first commit of a journal begins with.
pub fn genesis<E>(first: &Commit) -> Result<Genesis, Error<E>> {
    let wrong = || Error::bad(Seq(0), Fault::Place("a journal begins with its Genesis"));
    let (seq, _, bytes) = first.entries().next().ok_or_else(wrong)?;
    match decode(seq, bytes)? {
        Body::Genesis(genesis) if seq == Seq(0) => Ok(genesis),
        _ => Err(wrong()),
    }
}

fn decode<E>(seq: Seq, bytes: &[u8]) -> Result<Body, Error<E>> {
    Entry::decode(bytes).map(|entry| entry.body).map_err(|e: codec::Error| Error::bad(seq, e))
}

fn open(content: &Content, blobs: &dyn Blobs) -> Result<Vec<u8>, Fault> {
    match content {
        Content::Inline(bytes) => Ok(bytes.clone()),
        Content::Blob { hash, bytes } => {
            blobs.blob(*hash, *bytes).filter(|found| Hash::of_blob(found) == *hash).ok_or(Fault::Blob(*hash))
        }
    }
}
