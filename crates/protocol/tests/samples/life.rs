//! A short life that verifies: begun, initialised, a message answered, a failed tick, a checkpoint, funded, recalled.

use super::{RUNTIME, START, genesis, node, order, run};
use igor_protocol::{
    Commit, Entry, Hash, Manifest, Nanos, Seq, Tick, Timestamp,
    entry::{
        Action, Body, Call, Content, EndCause, Failure, Genesis, Message, MessageId, Observation, Outcome, Request,
        Run, Sender, Trigger,
    },
    ledger::{Book, Draft},
    verify::Blobs,
};

/// The state of its checkpoint.
pub(crate) const STATE: &[u8] = b"state";

pub(crate) const DONE: Outcome = Outcome::Ok { more_work: false };

/// All blobs that its journal names.
pub(crate) struct LifeBlobs;

impl Blobs for LifeBlobs {
    fn blob(&self, hash: Hash, _: u64) -> Option<Vec<u8>> {
        [Manifest::default().encode(), STATE.to_vec()].into_iter().find(|blob| Hash::of_blob(blob) == hash)
    }
}

/// What a test puts into a journal.
#[allow(clippy::large_enum_variant)] // a handful
pub(crate) enum Step {
    Run(Run),
    Checkpoint,
    Other(Body),
}

/// The commits of the journal. Each ends with a seal.
pub(crate) fn commits() -> Vec<Commit> {
    let message = |id| Message { sender: Sender::Uid(1000), id, body: Content::of(b"report") };
    let first = message(MessageId::Opaque("m-1".into()));
    let second = message(MessageId::Numbered { stream: "prices".into(), n: 1 });
    let answered = Run {
        observations: vec![
            Observation::Clock(START.after(Nanos::from_millis(5))),
            Observation::Message(Seq(3)),
            Observation::Balance(12_499_921),
        ],
        requests: vec![Request::Reply { message: Seq(3), body: Content::of(b"{}") }],
        logs: vec!["answered".into()],
        ..run(Call::Tick(Trigger::Message), Outcome::Ok { more_work: true })
    };
    let failed = Run {
        observations: vec![Observation::Message(Seq(4))],
        ..run(Call::Tick(Trigger::MoreWork), Outcome::failed(Failure::Trap, "unreachable executed"))
    };
    let fund = Action::Fund { total: "20".parse().unwrap() };

    let mut life = Life::begin(vec![Step::Run(started(Call::Init))]);
    life.commit(vec![Step::Other(Body::Message(first)), Step::Other(Body::Message(second))]);
    life.commit(vec![Step::Run(answered)]);
    life.commit(vec![Step::Run(failed)]);
    life.commit(vec![Step::Run(run(Call::Checkpoint, DONE)), Step::Run(started(Call::Resume)), Step::Checkpoint]);
    life.commit(vec![Step::Other(Body::Order(order(fund, 1)))]);
    let end = Body::End(EndCause::Recalled);
    life.commit(vec![Step::Other(Body::Order(order(Action::Recall, 5))), Step::Other(end)]);
    life.commits
}

/// An init or resume that is ok.
pub(crate) fn started(call: Call) -> Run {
    Run { runtime: Some(RUNTIME.into()), ..run(call, DONE) }
}

/// A journal in the making.
pub(crate) struct Life {
    pub(crate) book: Book,
    pub(crate) now: Timestamp,
    pub(crate) commits: Vec<Commit>,
}

impl Life {
    pub(crate) fn begin(steps: Vec<Step>) -> Self {
        Self::begin_as(genesis(), steps)
    }

    pub(crate) fn begin_as(genesis: Genesis, steps: Vec<Step>) -> Self {
        let (book, draft) = Book::begin(genesis, Manifest::default(), START).unwrap();
        let mut life = Self { book, now: START, commits: vec![] };
        life.push(draft, steps);
        life
    }

    pub(crate) fn commit(&mut self, steps: Vec<Step>) {
        let draft = self.book.draft();
        self.push(draft, steps);
    }

    /// Every entry a millisecond after the one before; runs numbered and placed as the journal wants them. Sealed.
    fn push(&mut self, mut draft: Draft, steps: Vec<Step>) {
        for step in steps {
            let (tick, next, at) = (self.book.ledger().tick, self.book.chain().next, self.later());
            let body = match step {
                Step::Checkpoint => {
                    let (root, bytes) = (Hash::of_blob(STATE), STATE.len() as u64);
                    self.book.push_checkpoint(&mut draft, &node(), root, bytes, at).unwrap();
                    continue;
                }
                Step::Run(run) => {
                    let tick = Tick(tick.0 + u64::from(run.call.is_tick()));
                    Body::Run(Run { tick, started_seq: next, ..run })
                }
                Step::Other(body) => body,
            };
            self.book.push(&mut draft, Entry { at, body }).unwrap();
        }
        let at = self.later();
        self.book.push_seal(&mut draft, &node(), at).unwrap();
        self.commits.push(self.book.commit(draft).unwrap());
    }

    /// A millisecond later.
    pub(crate) fn later(&mut self) -> Timestamp {
        self.now = self.now.after(Nanos::from_millis(1));
        self.now
    }
}
