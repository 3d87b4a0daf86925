//! Writes a journal again with one change, and signs all of it anew: what a dishonest host can do.

use super::{Plan, keys};
use igor_protocol::{
    Body, Chain, Commit, Credits, Entry, KeyPair, Seq,
    entry::{Receipt, Run, Seal},
    ledger::Book,
};
use igor_sim::{
    executor::{self, Run as Ran},
    guest::SimProgram,
    world::SimWorld,
};
use igor_spine::replay;
use std::sync::Arc;

/// The forged journal and the entry that was changed.
pub struct Forged {
    pub commits: Vec<Commit>,
    pub seq: Seq,
}

/// What a run costs under the terms of the harness, within its balance.
pub fn bill(run: &Run) -> Credits {
    let ceiling = super::manifest().ceiling.of(run.fuel, run.hostcalls());
    super::TERMS.bill(run.duration, ceiling, run.fuel)
}

/// Changes the first run for which `change` is true.
pub fn runs(plan: &Plan, change: impl Fn(&mut Run) -> bool) -> Forged {
    entries(plan, |body| match body {
        Body::Run(run) => change(run),
        _ => false,
    })
}

/// Changes the first entry for which `change` is true, then repairs ledgers, receipts, seals and the chain after it.
pub fn entries(plan: &Plan, change: impl Fn(&mut Body) -> bool) -> Forged {
    let (_, node) = keys();
    let mut changed = None;
    let mut chain = Chain::begin(plan.agent);
    let mut book: Option<Book> = None;
    let mut commits = Vec::new();
    for commit in plan.store.commits(plan.agent) {
        let start = chain;
        let mut written = Vec::new();
        for (seq, _, encoded) in commit.entries() {
            let mut entry = Entry::decode(encoded).expect("an entry");
            if changed.is_none() && change(&mut entry.body) {
                changed = Some(seq);
            }
            repair(&mut entry, chain, book.as_ref(), &node);
            if let Body::Genesis(genesis) = &entry.body {
                book = Some(Book::before_genesis(genesis, super::manifest()).expect("a good genesis"));
            }
            let bytes = entry.encode();
            chain = chain.link(&bytes);
            written.push(entry);
        }
        // Past the change, the fold may refuse: the forger goes on with what it had.
        let again = Commit::new(start, &written);
        if let Some(current) = &mut book {
            let mut next = current.clone();
            if next.apply(&again).is_ok() {
                *current = next;
            }
        }
        commits.push(again);
    }
    Forged { commits, seq: changed.expect("something to change") }
}

fn repair(entry: &mut Entry, chain: Chain, book: Option<&Book>, node: &KeyPair) {
    match &mut entry.body {
        Body::Seal(seal) => {
            *seal = Seal::sign(node, &chain.agent, chain.epoch, Seq(chain.next.0 - 1), &chain.head);
        }
        Body::Checkpoint(checkpoint) if book.is_some() => {
            let receipt = Receipt { head: chain.head, ..checkpoint.receipt.clone() };
            checkpoint.receipt = Receipt::sign(receipt, node);
        }
        _ => {}
    }
}

/// Verifies and executes a journal.
pub fn execute(plan: &Plan, commits: &[Commit]) -> Result<(), replay::Error<igor_store::Error>> {
    let world = SimWorld::new(0, igor_protocol::Timestamp(0));
    let load = |_: &Book| Ok(Arc::new(SimProgram::default()));
    let executing = replay::execute(commits.iter().cloned().map(Ok), &*plan.store, load, None, |_| {});
    match executor::run(&world, None, executing, &mut []).0 {
        Ran::Done(result) => result.map(drop),
        Ran::Crashed => unreachable!("never killed"),
    }
}
