//! The book at a journal's end: the same from any of its checkpoints of which the blobs are there.

mod harness;

use harness::{
    deliver,
    stage::{DONE, Stage, script, settings},
};
use igor_protocol::{
    Body, Hash, Manifest, Nanos,
    entry::{Content, MessageId, Sender},
    verify::Blobs,
};
use igor_spine::{
    World,
    command::{Command, Parcel},
    guest::{Answer, Ask},
    inspect::{self, book_at_end},
};
use igor_store::{Error, Store};
use std::collections::BTreeSet;

/// What a store has, but for some.
struct Lacks<'a> {
    stage: &'a Stage,
    missing: BTreeSet<Hash>,
    /// They are there, and do not read.
    is_damage: bool,
}

impl Blobs for Lacks<'_> {
    fn blob(&self, hash: Hash, bytes_max: u64) -> Option<Vec<u8>> {
        if self.missing.contains(&hash) { None } else { self.stage.store.blob(hash, bytes_max) }
    }

    fn lacks(&self, hash: Hash) -> bool {
        self.missing.contains(&hash) && !self.is_damage
    }
}

#[test]
fn the_book_is_the_same_where_blobs_of_its_last_checkpoints_are_missing() {
    let stage = Stage::with(Manifest::default());
    for life in 0..3 {
        let program = script(|_, membrane| {
            while let Answer::Bytes(_) = membrane.observe(Ask::Message { room: 1 << 20 })? {}
            Ok(DONE)
        });
        // So many ids that what is remembered of them is a blob.
        stage.ends(program, settings(Nanos::from_millis(1), None), |commands| {
            let world = stage.world.clone();
            async move {
                for n in 0..500 {
                    let id = MessageId::Opaque(format!("message {n} of life {life}"));
                    let parcel = Parcel { sender: Sender::Uid(1), id, body: b"x".to_vec() };
                    deliver(&commands, parcel).await.expect("it lives").expect("it takes it");
                }
                world.sleep_until(world.monotonic().saturating_add(Nanos::from_secs(1))).await;
                commands.send(Command::Stop).await.expect("it lives");
            }
        });
    }
    let remembered: Vec<Hash> = stage
        .entries()
        .into_iter()
        .filter_map(|(_, entry)| match entry.body {
            Body::Checkpoint(checkpoint) => match checkpoint.remembered {
                Content::Blob { hash, .. } => Some(hash),
                Content::Inline(_) => None,
            },
            _ => None,
        })
        .collect();
    assert!(remembered.len() >= 3, "{remembered:?}");
    let end = stage.store.tail(stage.agent).expect("it reads").expect("a journal").next;
    let book = |lacks: &[Hash], is_damage| {
        let blobs = Lacks { stage: &stage, missing: lacks.iter().copied().collect(), is_damage };
        let book: Result<_, inspect::Error<Error>> =
            book_at_end(|from| stage.store.read(stage.agent, from), &blobs, end);
        book.map(|book| format!("{book:?}")).map_err(|error| error.to_string())
    };
    let whole = book(&[], false);
    assert!(whole.is_ok(), "{whole:?}");
    for missing in 1..=remembered.len() {
        let last = &remembered[remembered.len() - missing..];
        assert!(book(last, false) == whole, "without the last {missing}");
        assert!(book(last, true).is_err_and(|why| why.contains("missing or damaged")), "damage is not passed over");
    }
}
