//! A short life that verifies: begun, initialised, a message answered, a failed tick, a checkpoint, funded, given away
//! and declined, given away and accepted, run by the other node at its terms, taken over by its owner's order, recalled.

use super::{HOST_TERMS, RUNTIME, START, agent, genesis, host, node, order, owner, run};
use igor_protocol::{
    Commit, Entry, Fuel, Hash, KeyPair, Manifest, Nanos, Seq, Terms, Tick, Timestamp,
    entry::{
        Action, Body, Call, Content, EndCause, Failure, Genesis, Message, MessageId, Observation, OrderBody, Outcome,
        Phase, Request, Run, Sender, Trigger,
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
    life.give(&host());
    life.decline(&host());
    life.give(&host());
    life.accept(&host());
    life.commit_as(&host(), vec![Step::Run(tick_at(HOST_TERMS))]);
    life.take_over(7, &node(), genesis().body.terms);
    let recall = OrderBody { agent: agent(), term: 7, counter: 8, at: START, action: Action::Recall };
    let end = Body::End(EndCause::Recalled);
    life.commit(vec![Step::Other(Body::Order(recall.sign(&owner()))), Step::Other(end)]);
    life.commits
}

/// An init or resume that is ok.
pub(crate) fn started(call: Call) -> Run {
    Run { runtime: Some(RUNTIME.into()), ..run(call, DONE) }
}

/// A tick by interval, billed by these terms.
pub(crate) fn tick_at(terms: Terms) -> Run {
    let (fuel, duration) = (Fuel(1000), Nanos(2000));
    let ceiling = Manifest::default().ceiling.of(fuel, 0);
    Run {
        fuel,
        duration,
        cost: terms.bill(duration, ceiling, fuel),
        ..run(Call::Tick(Trigger::Resumed { gap: Nanos::ZERO }), DONE)
    }
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
        Self::begin_with(genesis, Manifest::default(), steps)
    }

    pub(crate) fn begin_with(genesis: Genesis, manifest: Manifest, steps: Vec<Step>) -> Self {
        let (book, draft) = Book::begin(genesis, manifest, START).unwrap();
        let mut life = Self { book, now: START, commits: vec![] };
        life.push(&node(), draft, steps);
        life
    }

    pub(crate) fn commit(&mut self, steps: Vec<Step>) {
        self.commit_as(&node(), steps);
    }

    /// As another node than the first.
    pub(crate) fn commit_as(&mut self, node: &KeyPair, steps: Vec<Step>) {
        let draft = self.book.draft();
        self.push(node, draft, steps);
    }

    /// Its custodian gives it to `to`.
    pub(crate) fn give(&mut self, to: &KeyPair) {
        let at = self.later();
        let phase = self.book.held().handoff(to.public(), HOST_TERMS, at).unwrap();
        let from = if phase.writer() == node().public() { node() } else { host() };
        self.custody(phase, &from);
    }

    pub(crate) fn accept(&mut self, by: &KeyPair) {
        let at = self.later();
        self.custody(self.book.held().accept(at).unwrap(), by);
    }

    /// The decline, and the return that answers it.
    pub(crate) fn decline(&mut self, by: &KeyPair) {
        let at = self.later();
        let declined = self.book.held().decline(at).unwrap().sign(by).declined().unwrap();
        let at = self.later();
        self.custody(self.book.held().give_back(declined, at).unwrap(), &node());
    }

    /// By an order with this counter, from where the journal ends.
    pub(crate) fn take_over(&mut self, counter: u64, by: &KeyPair, terms: Terms) {
        let (at, chain) = (self.later(), self.book.chain());
        let (base_seq, base_head) = (Seq(chain.next.0 - 1), chain.head);
        let action = Action::Takeover { base_seq, base_head, custodian: by.public(), terms };
        let order = OrderBody { agent: chain.agent, term: chain.epoch.term, counter, at, action }.sign(&owner());
        self.custody(self.book.held().take_over(&order, at).unwrap(), by);
    }

    /// A commit of this alone.
    pub(crate) fn custody(&mut self, phase: Phase, by: &KeyPair) {
        let mut draft = self.book.draft();
        self.book.push_custody(&mut draft, phase.sign(by)).unwrap();
        self.commits.push(self.book.commit(draft).unwrap());
    }

    /// Every entry a millisecond after the one before; runs numbered and placed as the journal wants them. Sealed.
    fn push(&mut self, node: &KeyPair, mut draft: Draft, steps: Vec<Step>) {
        for step in steps {
            let (tick, next, at) = (self.book.ledger().tick, self.book.chain().next, self.later());
            let body = match step {
                Step::Checkpoint => {
                    let (root, bytes) = (Hash::of_blob(STATE), STATE.len() as u64);
                    self.book.push_checkpoint(&mut draft, node, root, bytes, at).unwrap();
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
        self.book.push_seal(&mut draft, node, at).unwrap();
        self.commits.push(self.book.commit(draft).unwrap());
    }

    /// A millisecond later.
    pub(crate) fn later(&mut self) -> Timestamp {
        self.now = self.now.after(Nanos::from_millis(1));
        self.now
    }
}
