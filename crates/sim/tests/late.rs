//! A process that is paused between an append and what follows from it: on a shared store another node may have gone on
//! with the agent meanwhile, so nothing is released before the store has confirmed something new.

mod harness;

use harness::{
    book_of, keys,
    stage::{DONE, Script, Stage, nobody, script, settings},
};
use igor_protocol::{
    Commit, Credits, Manifest, Nanos, Tick,
    entry::{StoreId, StoreKind},
};
use igor_spine::{Ending, Error, event::Event};
use std::sync::Arc;

const BUCKET: StoreKind = StoreKind::Bucket(StoreId([5; 16]));
/// Longer than the time within which what was committed is released.
const PAUSE: Nanos = Nanos::from_secs(60);

fn program() -> Script {
    script(|_, _| Ok(DONE))
}

fn stage(store: StoreKind) -> Stage {
    Stage::in_store(store, Manifest::default(), Credits::from_units(1 << 100), Nanos::ZERO)
}

/// The ticks that were told, with the moments.
fn told(stage: &Stage) -> Vec<(Tick, Nanos)> {
    let heard = stage.heard.lock().expect("one thread");
    let tick = |(at, event): &(Nanos, Event)| match event {
        Event::Tick(tick) => Some((tick.tick, *at)),
        _ => None,
    };
    heard.iter().filter_map(tick).collect()
}

/// The process is paused once, when the journal has so many commits; then this happens elsewhere.
fn pause_after(stage: &Stage, commits: usize, elsewhere: impl Fn(&[Commit]) + Send + 'static) {
    let world = stage.world.clone();
    let mut is_due = true;
    stage.store.between(move |journal| {
        if journal.len() >= commits && std::mem::take(&mut is_due) {
            world.pass(PAUSE);
            elsewhere(journal);
        }
    });
}

/// How many commits a life of this length writes.
fn commits(store: StoreKind, ticks: u64) -> usize {
    let stage = stage(store);
    assert_eq!(stage.ends(program(), settings(Nanos::from_millis(20), Some(ticks)), nobody), Ending::Stopped);
    stage.store.commits(stage.agent).len()
}

#[test]
fn what_was_confirmed_long_ago_is_told_after_the_next_append() {
    for at in 3..commits(BUCKET, 6) {
        let stage = stage(BUCKET);
        pause_after(&stage, at, |_| {});
        let ended = stage.ends(program(), settings(Nanos::from_millis(20), Some(6)), nobody);
        assert_eq!(ended, Ending::Stopped, "paused at commit {at}");
        let ticks: Vec<_> = told(&stage).into_iter().map(|(tick, _)| tick.0).collect();
        assert_eq!(ticks, [1, 2, 3, 4, 5, 6], "all are told, once, in their order; paused at commit {at}");
        stage.execute_all(program());
    }
}

#[test]
fn on_a_disk_nobody_else_goes_on_and_nothing_is_asked_again() {
    let stage = stage(StoreKind::Disk);
    let plain = commits(StoreKind::Disk, 6);
    pause_after(&stage, 4, |_| {});
    assert_eq!(stage.ends(program(), settings(Nanos::from_millis(20), Some(6)), nobody), Ending::Stopped);
    assert!(stage.store.commits(stage.agent).len() <= plain, "an append was made that only confirms");
}

#[test]
fn who_was_overtaken_meanwhile_tells_nothing_more() {
    for at in 3..commits(BUCKET, 6) {
        let stage = Arc::new(stage(BUCKET));
        let overtaken = Arc::downgrade(&stage);
        pause_after(&stage, at, move |_| fence(&overtaken.upgrade().expect("the test has it")));
        let ended = stage.live(program(), settings(Nanos::from_millis(20), Some(6)), Some(1_000_000), nobody);
        let Some(Err(Error::Store(error))) = ended else { panic!("paused at commit {at}: it ended with {ended:?}") };
        assert!(error.is_overtaken(), "paused at commit {at}: {error}");
        let late: Vec<_> = told(&stage).into_iter().filter(|(_, when)| *when > PAUSE).collect();
        assert_eq!(late, [], "told after the pause at commit {at}");
    }
}

/// Another process of the same node, restarted, fences off this one.
fn fence(stage: &Stage) {
    let (_, node) = keys();
    let mut book = book_of(&*stage.store, stage.agent);
    let held = book.held();
    let record = held.fence(node.public(), held.standing.terms, held.at).expect("a fence").sign(&node);
    book.append_own();
    let mut draft = book.draft();
    book.push_custody(&mut draft, record).expect("it is admitted");
    let commit = book.commit(draft).expect("a commit");
    stage.store.append_elsewhere(commit).expect("it is first");
}
