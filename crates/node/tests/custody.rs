//! Custody on real nodes, with real sockets: what is heard ends a life, whatever it is doing; who gave an agent away has
//! it back where it is declined; and what one peer knows stops an old copy.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{
    COUNTER, PATIENCE, creation,
    member::{HERE, Member, stranger, stranger_who_says, takes_from},
    temporary, within,
};
use futures_util::future::{BoxFuture, try_join_all};
use igor_network::{Config, Event, Handler, Network, Refusal, Request, Response, Stream, Why};
use igor_node::{
    Error, Node, Wishes,
    api::wire::MoveEvent,
    home::{Home, Role},
};
use igor_protocol::{
    AgentId, Hash, KeyPair, NodeId, Seq, Timestamp,
    custody::{Memory, Note, Tidings},
    entry::{Action, Custody, OrderBody},
};
use igor_store::Store;
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// Every tick takes long, and is executed again by a life that begins.
const BURN: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (local $left i32)
    (local.set $left (i32.const 20000000))
    (loop $more
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (i32.const 0)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_meets_those_who_are_listed_wherever_they_were() {
    let keys = [temporary(), temporary()].map(|home| {
        let key = Home::open_or_create(home.path()).unwrap().keys().read_or_create(Role::Node).unwrap().public();
        (home, key)
    });
    let [(old, old_key), (other, other_key)] = keys;
    let old = Member::start_at(old, &format!("{HERE}[policy]\nnodes = [\"{other_key}\"]\n")).await;
    let config = format!("{HERE}peers = [\"{}\"]\n[policy]\nnodes = [\"{old_key}\"]\n", old.address());
    let other = Member::start_at(other, &config).await;
    old.meets(other.id()).await;
    let kept = async |member: &Member| member.node().store().get_local("addresses").unwrap().is_some();
    old.until("the address is kept", kept).await;
    // It comes back elsewhere, where the other one does not look for it.
    let old = Member::start_at(old.close().await, &format!("{HERE}[policy]\nnodes = [\"{other_key}\"]\n")).await;
    old.meets(other.id()).await;
    other.close().await;
    old.close().await;
}

/// That another node took the agent over from here on, as its owner ordered.
fn takeover(node: &Node, agent: AgentId, by: &KeyPair) -> Custody {
    takeover_ordered_by(node.owner(), node, agent, by)
}

fn takeover_ordered_by(owner: &KeyPair, node: &Node, agent: AgentId, by: &KeyPair) -> Custody {
    let held = node.book(agent).unwrap().held();
    let action = Action::Takeover {
        base_seq: Seq(held.chain.next.0 - 1),
        base_head: held.chain.head,
        custodian: by.public(),
        terms: held.standing.terms,
    };
    let counter = held.order_counter + 1;
    let order = OrderBody { agent, term: held.chain.epoch.term, counter, at: Timestamp(1), action }.sign(owner);
    held.take_over(&order, held.at).unwrap().sign(by)
}

/// Where an agent is that was here, nobody says who has not had it: else any peer could talk an owner out of a takeover.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_a_stranger_counts_for_nothing_where_the_agent_is_known() {
    let a = Member::start(HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.meets(b.id()).await;
    within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    // Two strangers: a key that comes again may still seem to be there with the connection that it has left.
    let [liar, honest, not_its_owner] = [71, 72, 73].map(|seed| KeyPair::from_seed(&[seed; 32]));
    // What its owner really ordered is no hearsay.
    for (stranger, owner, expected) in [(&liar, &not_its_owner, b.id()), (&honest, a.node().owner(), honest.public())] {
        let record = takeover_ordered_by(owner, a.node(), agent, stranger);
        let tidings = Tidings { agent, records: vec![record] }.encode();
        let network = stranger_who_says(Some(tidings), stranger, &a).await;
        a.meets(stranger.public()).await;
        let found = within(a.node().whereabouts(agent)).await.unwrap().expect("somebody has it");
        assert_eq!(found.node, expected, "{found:?}");
        network.shutdown().await;
    }
    b.close().await;
    a.close().await;
}

async fn tell(from: &Network, to: &Member, agent: AgentId, record: Custody) {
    let body = Tidings { agent, records: vec![record] }.encode();
    let told = within(from.request(to.id(), Request::Tell { body })).await;
    assert_eq!(told.unwrap(), Response::Told { body: vec![] });
}

/// The agent is not here any more; what was after the takeover's base is kept as a file.
fn is_gone(member: &Member, agent: AgentId) {
    assert_eq!(member.node().store().tail(agent).unwrap(), None);
    assert!(member.node().life(agent).is_none_or(|life| life.is_over()));
    let orphans = std::fs::read_dir(member.home.path().join("orphans")).unwrap().count();
    assert_eq!(orphans, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_that_is_heard_ends_a_life_that_goes_on() {
    let a = Member::start(HERE).await;
    let life = a.running.create(creation("a", COUNTER)).await;
    a.ticks_on("a").await;
    let key = KeyPair::from_seed(&[7; 32]);
    let other = stranger(&key, &a).await;
    a.meets(key.public()).await;
    let record = takeover(a.node(), life.agent(), &key);
    a.ticks_on("a").await;
    tell(&other, &a, life.agent(), record).await;
    assert!(matches!(&*within(life.over()).await, Err(Error::Overtaken { .. })));
    is_gone(&a, life.agent());
    other.shutdown().await;
    a.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_that_is_heard_while_a_life_begins_lets_none_begin() {
    let a = Member::start(HERE).await;
    let life = a.running.create(creation("a", BURN)).await;
    let agent = life.agent();
    a.running.ticked("a", 25).await;
    a.node().stop(agent).await.unwrap();
    let key = KeyPair::from_seed(&[7; 32]);
    let other = stranger(&key, &a).await;
    a.meets(key.public()).await;
    // At the end of the journal as it is, so that it is gone on from where it would be here too.
    let record = takeover(a.node(), agent, &key);

    let node = a.node().clone();
    let resumed = tokio::spawn(async move { node.resume(agent).await });
    let begins = async |member: &Member| {
        let sent = member.running.client.stream_highest("a", "any").await;
        matches!(sent, Err(igor_node::client::Error::Refused { ref code, .. }) if code == "starting")
            || resumed.is_finished()
    };
    a.until("it is being started", begins).await;
    tell(&other, &a, agent, record).await;
    assert!(a.node().life(agent).is_none_or(|life| life.is_over()), "nothing of it is left when the news was taken in");
    drop(within(resumed).await.unwrap());
    assert!(a.node().life(agent).is_none_or(|life| life.is_over()), "and nothing begins after it");
    let end = a.node().store().tail(agent).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(a.node().store().tail(agent).unwrap(), end, "nobody writes to its journal");
    other.shutdown().await;
    a.close().await;
}

/// Hands an agent from `a` to `b`, which is gone once the agent is frozen.
async fn give_to_one_that_goes(a: &Member, agent: AgentId, b: Member) -> TempDir {
    let (frozen, goes) = std::sync::mpsc::channel::<()>();
    let (gone, went) = std::sync::mpsc::channel::<()>();
    let (node, to) = (a.node().clone(), b.id());
    let gate = std::sync::Mutex::new((frozen, went));
    let given = tokio::spawn(async move {
        let tell = move |event| {
            if matches!(event, MoveEvent::Freeze) {
                let gate = gate.lock().unwrap();
                gate.0.send(()).unwrap();
                gate.1.recv_timeout(PATIENCE).unwrap();
            }
        };
        node.give(agent, to, tell).await
    });
    tokio::task::spawn_blocking(move || goes.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    let home = b.close().await;
    gone.send(()).unwrap();
    let failed = within(given).await.unwrap().expect_err("nobody answered");
    assert!(matches!(failed, Error::Move(igor_spine::custody::Failed::Unanswered(_))), "{failed}");
    home
}

fn knows(a: &Member, more: &str) -> String {
    format!("{HERE}peers = [\"{}\"]\n{more}", a.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_refuses_what_was_given_to_it_declines_and_the_agent_goes_on_where_it_was() {
    // It has room for one, and is to have it still when the agent is back.
    let a = Member::start(&format!("{HERE}[admission]\nagents = 1\n")).await;
    let life = a.running.create(creation("a", COUNTER)).await;
    let agent = life.agent();
    for again in [
        |a: &Member| knows(a, ""),
        |a: &Member| takes_from(a, "[admission]\nagents = 0\n"),
        |a: &Member| takes_from(a, "[price]\nper_second = \"5\"\n"),
    ] {
        let b = Member::start(&takes_from(&a, "")).await;
        a.meets(b.id()).await;
        a.ticks_on("a").await;
        let home = give_to_one_that_goes(&a, agent, b).await;
        let refused = a.node().create(creation("b", COUNTER), Wishes::default()).await;
        assert!(matches!(refused, Err(Error::NoRoom(_))), "the place is kept");
        let b = Member::start_at(home, &again(&a)).await;
        let back = async |a: &Member| a.node().life(agent).is_some_and(|life| !life.is_over());
        a.until("it is back", back).await;
        a.ticks_on("a").await;
        assert_eq!(b.running.status(&agent.to_string()).await.0, "archived");
        b.close().await;
    }
    assert_eq!(a.node().book(agent).unwrap().chain().epoch.n, 6, "three times there and back");
    a.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_said_goes_with_the_agent_and_does_not_stay_behind() {
    let a = Member::start(HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.ticks_on("a").await;
    a.meets(b.id()).await;
    a.node().pause(agent).await.unwrap();
    let moved = within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    assert!(matches!(moved, MoveEvent::Accepted { .. }));
    b.until("it is there", async |b: &Member| b.node().life(agent).is_some()).await;
    b.until("it stands still", async |b: &Member| b.running.status("a").await.0 == "paused").await;
    // Nobody starts it but who says so there: not a question either.
    b.node().stop(agent).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(b.node().life(agent).is_none_or(|life| life.is_over()));
    assert_eq!(igor_node_flags(&a, agent), "{}");
    b.node().resume(agent).await.unwrap();
    b.ticks_on("a").await;
    b.close().await;
    a.close().await;
}

/// What `a` still has written down of its operator's words.
fn igor_node_flags(member: &Member, agent: AgentId) -> String {
    let name = format!("flags-{}", &agent.0.to_string()[..32]);
    let bytes = member.node().store().get_local(&name).unwrap().unwrap_or_else(|| b"{}".to_vec());
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_has_its_name_already() {
    let a = Member::start(HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.meets(b.id()).await;
    within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    // The accept is durable, and its life need not have begun: this is what a kill now would leave.
    assert_eq!(b.node().resolve("a").unwrap(), Some(agent));
    // What it has stored here is counted still, and was not written down while nobody ran it.
    let counted = format!("stored-{}", &agent.0.to_string()[..32]);
    assert!(a.node().store().get_local(&counted).unwrap().is_some());
    b.close().await;
    a.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_move_of_an_agent_goes_on_and_nothing_is_sent_of_one_that_cannot_go() {
    let a = Member::start(HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.meets(b.id()).await;
    a.ticks_on("a").await;
    let moves = (0..4).map(|_| {
        let (node, to) = (a.node().clone(), b.id());
        tokio::spawn(async move { node.give(agent, to, |_| ()).await })
    });
    let moves: Vec<_> = moves.collect();
    let (mut went, mut moving) = (0, 0);
    for moved in moves {
        match within(moved).await.unwrap() {
            Ok(_) => went += 1,
            // Refused while another was under way, or when the agent was there already.
            Err(Error::Move(
                igor_spine::custody::Failed::Moving
                | igor_spine::custody::Failed::Own(igor_spine::custody::Error::Refused(_)),
            )) => moving += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((went, moving), (1, 3));
    b.ticks_on("a").await;
    b.close().await;
    a.close().await;
}

/// Orders, pauses, and moves at once: each is done whole or refused, and the agent lives at one place in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_and_moves_at_once_leave_one_agent_with_all_its_money() {
    let a = Member::start(HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.meets(b.id()).await;
    a.ticks_on("a").await;
    let node = a.node().clone();
    let funds = tokio::spawn(async move {
        let (mut last, mut unsure) = (None, None);
        for counter in 1..200_u64 {
            let total = format!("{}", 10 + counter).parse().unwrap();
            let action = Action::Fund { total };
            let order = OrderBody { agent, term: 0, counter, at: Timestamp(1), action }.sign(node.owner());
            loop {
                match node.order(agent, order.clone()).await {
                    Ok(_) => (last, unsure) = (Some(total), None),
                    // It was taken on, and only its answer was lost.
                    Err(Error::Order(_)) if unsure == Some(total) => (last, unsure) = (unsure, None),
                    Err(Error::Unanswered { .. }) => {
                        unsure = Some(total);
                        continue;
                    }
                    Err(Error::NotCustodian { .. } | Error::Custody(igor_spine::custody::Error::Refused(_))) => {
                        return (last, unsure);
                    }
                    // Between its life here and the answer to its handoff.
                    Err(
                        Error::Custody(igor_spine::custody::Error::Leased(_))
                        | Error::NotRunning { .. }
                        | Error::Moving { .. },
                    ) => {}
                    Err(other) => panic!("{other}"),
                }
                break;
            }
        }
        (last, unsure)
    });
    let node = a.node().clone();
    let pauses = tokio::spawn(async move {
        while node.pause(agent).await.is_ok() && node.resume(agent).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    let (last, unsure) = within(funds).await.unwrap();
    within(pauses).await.unwrap();
    b.until("it is there", async |b: &Member| b.node().life(agent).is_some()).await;
    let there = b.running.client.agent("a").await.unwrap();
    if let Some(total) = last {
        let is_there = there.funded == total || Some(there.funded) == unsure;
        assert!(is_there, "what was taken on is in the journal that moved: {total}, {unsure:?}, {}", there.funded);
    }
    b.node().resume(agent).await.unwrap();
    b.ticks_on("a").await;
    assert!(a.node().life(agent).is_none_or(|life| life.is_over()));
    b.close().await;
    a.close().await;
}

/// As after a long life of small steps: each commit by itself would be a tiny frame, which its receiver makes wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_commits_go_over_without_being_made_to_wait() {
    const COMMITS: usize = 20_000;
    let a = Member::start(HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.ticks_on("a").await;
    drop(a.node().life(agent).unwrap().stop().await);
    let key = Home::open_or_create(a.home.path()).unwrap().keys().read(Role::Node).unwrap();
    let (store, mut book) = (a.node().store(), a.node().book(agent).unwrap());
    book.append_own();
    let mut commits = Vec::new();
    for _ in 0..COMMITS {
        let (mut draft, at) = (book.draft(), book.ledger().at);
        book.push_seal(&mut draft, &key, at).unwrap();
        commits.push(book.commit(draft).unwrap());
    }
    try_join_all(commits.into_iter().map(|commit| store.append(commit))).await.unwrap();

    a.meets(b.id()).await;
    let moved = a.node().give(agent, b.id(), |_| ());
    let moved = tokio::time::timeout(Duration::from_mins(4), moved).await.expect("it moves").unwrap();
    assert!(matches!(moved, MoveEvent::Accepted { .. }));
    let journal =
        |member: &Member| member.node().store().read(agent, Seq(0)).unwrap().take(COMMITS).map(Result::unwrap);
    assert!(journal(&a).eq(journal(&b)) && journal(&b).count() == COMMITS);
    assert_eq!(b.network.counters().refused(Refusal::SmallFrames), 0);
    b.ticks_on("a").await;
    b.close().await;
    a.close().await;
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            std::fs::create_dir(&name).unwrap();
            copy(&path, &name);
        } else if kind.is_file() {
            std::fs::copy(&path, &name).unwrap();
        }
    }
}

/// A home that was restored from an old copy runs what lives elsewhere only until somebody who knows is connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_a_home_stops_when_one_who_knows_comes() {
    let a = Member::start(HERE).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.ticks_on("a").await;
    let a_home = a.close().await;
    let old = temporary();
    copy(a_home.path(), old.path());
    let a = Member::start_at(a_home, HERE).await;
    let b = Member::start(&takes_from(&a, "")).await;
    a.meets(b.id()).await;
    a.ticks_on("a").await;
    within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    b.ticks_on("a").await;
    let b_home = b.close().await;
    drop(a.close().await);

    let a = Member::start_at(old, HERE).await;
    a.ticks_on("a").await;
    let b = Member::start_at(b_home, &takes_from(&a, "")).await;
    let stops = async |a: &Member| a.node().life(agent).is_none_or(|life| life.is_over());
    a.until("it stops", stops).await;
    b.ticks_on("a").await;
    assert!(a.node().resume(agent).await.is_err() || stops(&a).await, "it is not this node's to go on with");
    b.close().await;
    a.close().await;
}

/// Remembers of which agents it was told.
struct Told(Arc<Mutex<BTreeSet<AgentId>>>);

impl Handler for Told {
    fn answer(&self, _: NodeId, request: Request) -> BoxFuture<'_, Result<Response, Why>> {
        Box::pin(async move {
            let Request::Tell { body } = request else { return Err(Why::NotAllowed) };
            self.0.lock().unwrap().insert(Tidings::decode(&body).unwrap().agent);
            Ok(Response::Told { body: Vec::new() })
        })
    }

    fn transfer(&self, _: NodeId, _: Stream) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn notice(&self, _: Event) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_is_met_hears_of_every_takeover() {
    const TAKEOVERS: u16 = 300;
    let a = Member::start(HERE).await;
    let own = a.running.create(creation("a", COUNTER)).await.agent();
    a.ticks_on("a").await;
    let node = a.node();
    within(node.stop(own)).await.unwrap();
    let (held, by) = (node.book(own).unwrap().held(), KeyPair::from_seed(&[5; 32]));
    for n in 0..TAKEOVERS {
        let agent = AgentId(Hash::of_blob(&n.to_be_bytes()));
        let mut held = held.clone();
        held.chain.agent = agent;
        let (base_seq, base_head, terms) = (Seq(held.chain.next.0 - 1), held.chain.head, held.standing.terms);
        let action = Action::Takeover { base_seq, base_head, custodian: by.public(), terms };
        let counter = held.order_counter + 1;
        let order = OrderBody { agent, term: held.chain.epoch.term, counter, at: Timestamp(1), action };
        let record = held.take_over(&order.sign(node.owner()), held.at).unwrap().sign(&by);
        let memory = Memory { elsewhere: Some(record), ..Default::default() };
        let note = Note::new(node.owner().public(), memory);
        node.store().put_local(&Note::name(agent), note.encode()).await.unwrap();
    }
    let told = Arc::new(Mutex::default());
    let mut config = Config::new(&[6; 32]).unwrap();
    config.bootstrap = vec![a.address().parse().unwrap()];
    let peer = Network::start(config, Arc::new(Told(told.clone()))).await.unwrap();
    // It is told slowly, so as not to be in the way of its other work.
    let deadline = tokio::time::Instant::now() + PATIENCE * 4;
    while told.lock().unwrap().len() < usize::from(TAKEOVERS) {
        assert!(tokio::time::Instant::now() < deadline, "it heard of {}", told.lock().unwrap().len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    peer.shutdown().await;
    a.close().await;
}
