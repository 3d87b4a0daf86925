//! The machine of custody on real journals with real signatures: a small driver, two nodes, an owner.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod samples;

use igor_protocol::{
    Commit, KeyPair, NodeId, Seq, Timestamp,
    custody::{Action, Event, Known, Memory, Refusal, Status, may_begin, step},
    entry::{Action as Ordered, Call, Custody, GenesisBody, OrderBody},
    ledger::{Book, Fault},
    verify::Verifier,
};
use samples::{
    HOST_TERMS, START, host,
    life::{DONE, Life, LifeBlobs, Step, started, tick_at},
    node, owner,
};

/// A node: what is durable, and what a driver does with actions.
struct Node {
    key: KeyPair,
    commits: Vec<Commit>,
    memory: Memory,
    running: bool,
    now: Timestamp,
    /// Records that it told, journals that it sent.
    out: Vec<Custody>,
    sent: Option<Vec<Commit>>,
}

impl Node {
    fn new(key: KeyPair, commits: Vec<Commit>) -> Self {
        let running = !commits.is_empty();
        let now = Timestamp(START.0 + 1_000_000_000);
        Self { key, commits, memory: Memory::default(), running, now, out: vec![], sent: None }
    }

    fn id(&self) -> NodeId {
        self.key.public()
    }

    fn known(&self) -> Known {
        let held = book(&self.commits).map(|book| book.held());
        // As after a restart: from the bytes that the keystore has.
        Known { held, memory: Memory::decode(&self.memory.encode()).unwrap(), running: self.running }
    }

    fn status(&self) -> Status {
        self.known().status(self.id())
    }

    fn happen(&mut self, event: Event) -> Result<(), Refusal> {
        self.happen_until(event, usize::MAX)
    }

    /// Killed after so many actions.
    fn happen_until(&mut self, event: Event, actions: usize) -> Result<(), Refusal> {
        self.now = Timestamp(self.now.0 + 1_000_000);
        let arrived = self.sent.take();
        self.out.clear();
        for action in step(self.id(), self.now, &self.known(), event)?.into_iter().take(actions) {
            match action {
                Action::Stop => self.running = false,
                Action::Start => self.running = true,
                Action::Adopt => self.commits = arrived.clone().unwrap(),
                Action::Keep(phase) => self.memory.keep(phase.sign(&self.key)),
                Action::Append => {
                    let mut book = book(&self.commits).unwrap();
                    let mut draft = book.draft();
                    book.push_custody(&mut draft, self.memory.signed.clone().unwrap()).unwrap();
                    self.commits.push(book.commit(draft).unwrap());
                }
                Action::Bury(record) => self.memory.elsewhere = Some(record),
                Action::Suspend(evidence) => self.memory.evidence = Some(evidence),
                Action::Transfer(_) => self.sent = Some(self.commits.clone()),
                Action::Tell(_) | Action::Announce => self.out = self.known().records().cloned().collect(),
                Action::Ask => {}
            }
        }
        Ok(())
    }

    /// The journal of another node comes in and is verified.
    fn receive(&mut self, from: &Self, admit: bool) {
        self.sent.clone_from(&from.sent);
        let journal = book(self.sent.as_ref().unwrap()).unwrap().held();
        let extends = self.sent.as_ref().unwrap().starts_with(&self.commits);
        self.happen(Event::Arrived { journal, extends, admit }).unwrap();
    }

    /// All that another node told, checked as it comes in.
    fn hear(&mut self, from: &Self) {
        for record in from.out.clone() {
            record.check(&owner().public()).unwrap();
            let _ = self.happen(Event::Heard(record)); // some are known
        }
    }
}

fn book(commits: &[Commit]) -> Option<Book> {
    let mut verifier = Verifier::new();
    for commit in commits {
        verifier.push(commit, &LifeBlobs).unwrap();
    }
    verifier.book().cloned()
}

fn two() -> (Node, Node) {
    let life = Life::begin(vec![Step::Run(started(Call::Init))]);
    (Node::new(node(), life.commits), Node::new(host(), vec![]))
}

fn give(from: &mut Node, to: &Node) {
    from.happen(Event::Give { to: to.id(), terms: HOST_TERMS }).unwrap();
}

#[test]
fn an_agent_is_given_and_accepted() {
    let (mut a, mut b) = two();
    give(&mut a, &b);
    assert_eq!((a.status(), a.running), (Status::Given(b.id()), false));
    b.receive(&a, true);
    assert_eq!((b.status(), b.running), (Status::Custodian, true));
    a.hear(&b);
    assert_eq!((a.status(), a.running), (Status::Elsewhere, false));
    let proof = a.memory.elsewhere.as_ref().unwrap();
    assert_eq!((proof.phase.name(), proof.phase.epoch().to_string().as_str()), ("accept", "0.1"));
    assert_eq!(proof.check(&owner().public()), Ok(()), "the tombstone is a proof by itself");
    assert_eq!(book(&b.commits).unwrap().terms(), HOST_TERMS);
}

#[test]
fn an_agent_that_is_declined_goes_on_where_it_was() {
    let (mut a, mut b) = two();
    give(&mut a, &b);
    b.receive(&a, false);
    assert_eq!((b.status(), b.commits.len()), (Status::Absent, 0));
    a.hear(&b);
    assert_eq!((a.status(), a.running), (Status::Custodian, true));
    let book = book(&a.commits).unwrap();
    assert_eq!((book.chain().epoch.to_string().as_str(), book.terms()), ("0.2", book.genesis().terms));
}

/// A kill after every action of every step: the restart goes on from what is durable, to the same end.
#[test]
fn a_kill_between_any_two_actions_changes_nothing_in_the_end() {
    for kill in 0..5 {
        let (mut a, mut b) = two();
        a.happen_until(Event::Give { to: b.id(), terms: HOST_TERMS }, kill).unwrap();
        a.running = false;
        a.happen(Event::Restarted).unwrap();
        a.happen(Event::Timer).unwrap();
        if a.status() == Status::Custodian {
            assert!(kill < 2, "nothing was kept, so nothing was given");
            give(&mut a, &b);
        }
        b.sent.clone_from(&a.sent);
        let journal = book(a.sent.as_ref().unwrap()).unwrap().held();
        let arrived = Event::Arrived { journal, extends: true, admit: true };
        b.happen_until(arrived, kill).unwrap();
        b.running = false;
        b.happen(Event::Restarted).unwrap();
        a.happen(Event::Timer).unwrap();
        assert_eq!(a.status(), Status::Given(b.id()), "it waits");
        if b.status() == Status::Custodian {
            b.happen(Event::Timer).unwrap();
        } else {
            b.receive(&a, true);
        }
        assert_eq!((b.status(), b.running), (Status::Custodian, true), "killed after {kill}");
        b.happen(Event::Asked(a.id())).unwrap();
        a.hear(&b);
        assert_eq!((a.status(), a.running), (Status::Elsewhere, false), "killed after {kill}");
    }
}

/// The owner names another node while the first still lives: two branches, until it hears.
#[test]
fn a_takeover_orphans_what_the_old_node_went_on_with() {
    let (mut a, mut b) = two();
    b.commits.clone_from(&a.commits);
    let chain = book(&a.commits).unwrap().chain();
    let (base_seq, base_head) = (Seq(chain.next.0 - 1), chain.head);
    let action = Ordered::Takeover { base_seq, base_head, custodian: b.id(), terms: HOST_TERMS };
    let order = OrderBody { agent: chain.agent, term: 0, counter: 5, at: START, action }.sign(&owner());
    assert_eq!(a.happen(Event::Ordered(order.clone())), Err(Refusal::NotForMe));

    let mut life = Life { book: book(&a.commits).unwrap(), now: a.now, commits: a.commits.clone() };
    life.commit(vec![
        Step::Run(samples::run(Call::Checkpoint, DONE)),
        Step::Run(started(Call::Resume)),
        Step::Checkpoint,
    ]);
    a.commits = life.commits;
    b.happen(Event::Ordered(order.clone())).unwrap();
    assert_eq!((b.status(), b.running), (Status::Custodian, true));
    assert_eq!(b.happen(Event::Ordered(order.clone())), Err(Refusal::Known), "an order counts once");
    b.happen(Event::Asked(a.id())).unwrap();
    assert!(a.running, "it has not heard");
    a.hear(&b);
    assert_eq!((a.status(), a.running), (Status::Elsewhere, false));
    assert_eq!(a.happen(Event::Timer), Ok(()));
    assert!(!a.running);
    let elsewhere = Fault::Custody("the journal here does not end at the base that the order names");
    let mine = Ordered::Takeover { base_seq, base_head, custodian: a.id(), terms: HOST_TERMS };
    let mine = OrderBody { action: mine, counter: 9, ..order.body }.sign(&owner());
    assert_eq!(a.happen(Event::Ordered(mine)), Err(Refusal::Fault(elsewhere)));
}

#[test]
fn a_genesis_for_another_node_that_expired_or_was_here_is_refused() {
    let genesis = samples::genesis().body;
    let begin = |me: &KeyPair, genesis: &GenesisBody, memory: &Memory| may_begin(me.public(), START, genesis, memory);
    assert_eq!(begin(&node(), &genesis, &Memory::default()), Ok(()));
    assert_eq!(begin(&host(), &genesis, &Memory::default()), Err(Refusal::NotForMe));
    let expired = GenesisBody { expires: Timestamp(START.0 - 1), ..genesis.clone() };
    let late = Refusal::Fault(Fault::Time("Genesis had expired"));
    assert_eq!(begin(&node(), &expired, &Memory::default()), Err(late));
    let buried = Memory { elsewhere: Some(samples::custody::accept()), ..Memory::default() };
    let given = Memory { signed: Some(samples::custody::handoff()), ..Memory::default() };
    for memory in [buried, given] {
        assert!(matches!(begin(&node(), &genesis, &memory), Err(Refusal::Stale { .. })));
    }
}

#[test]
fn an_old_transfer_that_comes_again_is_answered_with_what_is_newer() {
    let (mut a, mut b) = two();
    give(&mut a, &b);
    b.receive(&a, true);
    a.hear(&b);
    let mut life = Life { book: book(&b.commits).unwrap(), now: b.now, commits: b.commits.clone() };
    life.commit_as(&host(), vec![Step::Run(tick_at(HOST_TERMS))]);
    (b.commits, b.now) = (life.commits, life.now);
    let old = a.commits.clone();
    b.happen(Event::Give { to: a.id(), terms: HOST_TERMS }).unwrap();
    let sent = b.sent.clone();
    a.receive(&b, true);
    assert_eq!((a.status(), a.running), (Status::Custodian, true));
    b.hear(&a);
    let journal = book(&old).unwrap().held();
    let stale = b.happen(Event::Arrived { journal, extends: false, admit: true });
    assert!(matches!(stale, Err(Refusal::Stale { .. })), "{stale:?}");
    a.sent = sent;
    let journal = book(a.sent.as_ref().unwrap()).unwrap().held();
    a.happen(Event::Arrived { journal, extends: false, admit: false }).unwrap();
    assert_eq!(a.out.iter().filter(|record| record.phase.name() == "decline").count(), 0, "it accepted, for ever");
    assert!(a.running && a.out.iter().any(|record| record.phase.name() == "accept"));
}
