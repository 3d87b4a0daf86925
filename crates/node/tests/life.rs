//! Agents on a node: created, stopped, gone on with; names and flags over restarts and crashes.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{
    COUNTER, ECHO, Running, STILLBORN, TRAP, compiler, creation, open_node, temporary, try_open_node, within,
};
use igor_node::{
    Error, Node, Wishes,
    api::wire::Event,
    home::{Home, Role},
    local,
};
use igor_protocol::{
    Credits, KeyPair, Manifest, Nanos, Seq, Tick, Timestamp,
    entry::{Genesis, GenesisBody, Policy, StoreKind},
    ledger::Book,
};
use igor_spine::{Ending, World};
use igor_store::{
    Store,
    disk::{Disk, Options},
};

fn ticks(count: u64) -> Wishes {
    Wishes { ticks: Some(count), ..Wishes::default() }
}

async fn all_events(node: &std::sync::Arc<Node>, life: &std::sync::Arc<igor_node::Hosted>) -> Vec<Event> {
    let mut events = life.events(node.store().clone());
    let mut all = Vec::new();
    while let Some(event) = within(events.next()).await.unwrap() {
        all.push(event);
    }
    all
}

fn tick_numbers(events: &[Event]) -> Vec<u64> {
    let numbers = events.iter().filter_map(|event| match event {
        Event::Tick { tick, .. } => Some(tick.0),
        _ => None,
    });
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_goes_on_where_it_was() {
    let home = temporary();
    let node = open_node(home.path()).await;
    let life = node.create(creation("c", COUNTER), ticks(5)).await.unwrap();
    let first = all_events(&node, &life).await;
    assert!(
        matches!(&first[0], Event::Started { resumed: false, tick: Tick(0), name, .. } if name == "c"),
        "{first:?}"
    );
    assert_eq!(tick_numbers(&first), [1, 2, 3, 4, 5]);
    assert!(matches!(first.last(), Some(Event::Stopped { tick: Tick(5) })), "{first:?}");
    assert!(first.iter().any(|event| matches!(event, Event::Checkpoint { tick: Tick(5), bytes: 4, .. })));
    assert!(matches!(&*life.over().await, Ok(Ending::Stopped)));
    let agent = life.agent();
    drop((life, node));

    let node = open_node(home.path()).await;
    assert_eq!(node.resolve("c").unwrap(), Some(agent));
    assert_eq!(node.resolve(&agent.to_string()).unwrap(), Some(agent));
    assert_eq!(node.resolve("d").unwrap(), None);
    let stopped = node.agent(agent).unwrap();
    assert_eq!((stopped.status.as_str(), stopped.tick), ("stopped", Tick(5)));
    let life = node.start(agent, ticks(3)).await.unwrap();
    let second = all_events(&node, &life).await;
    assert!(matches!(second[0], Event::Started { resumed: true, tick: Tick(5), .. }), "{second:?}");
    assert_eq!(tick_numbers(&second), [6, 7, 8]);
    // The last balance told is the one that the journal comes to.
    let last = second.iter().rev().find_map(|event| match event {
        Event::Tick { balance, cost, .. } => Some((*balance, *cost)),
        _ => None,
    });
    let info = node.agent(agent).unwrap();
    assert!(last.unwrap().1 > Credits::ZERO);
    assert_eq!(info.funded.checked_sub(info.spent), Some(info.balance));
    assert!(info.balance <= last.unwrap().0, "only the checkpoint came after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_reads_late_or_slowly_misses_nothing() {
    let home = temporary();
    let node = open_node(home.path()).await;
    let wishes = Wishes { interval: Some(Nanos::ZERO), ..ticks(2000) };
    let life = node.create(creation("c", COUNTER), wishes).await.unwrap();
    let mut slow = life.events(node.store().clone());
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.extend(within(slow.next()).await.unwrap());
    }
    // Two thousand ticks pass unread, and the life has not waited.
    within(life.over()).await;
    while let Some(event) = within(slow.next()).await.unwrap() {
        seen.push(event);
    }
    let late = all_events(&node, &life).await;
    assert_eq!(seen, late);
    assert_eq!(tick_numbers(&seen), (1..=2000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_taken_once_and_only_by_an_agent_that_is_there() {
    let home = temporary();
    let node = open_node(home.path()).await;
    let life = node.create(creation("a", COUNTER), ticks(1)).await.unwrap();
    let taken = node.create(creation("a", ECHO), ticks(1)).await.unwrap_err();
    assert!(matches!(&taken, Error::NameTaken { agent, .. } if *agent == life.agent()), "{taken}");
    let bad = node.create(creation("a/b", ECHO), ticks(1)).await.unwrap_err();
    assert!(matches!(bad, Error::Local(local::Error::BadName { .. })), "{bad}");
    // What is refused leaves nothing.
    let refused = node.create(creation("x", "(module)"), ticks(1)).await.unwrap_err();
    assert!(matches!(refused, Error::Program(_)), "{refused}");
    assert_eq!(local::agent_named(&**node.store(), "x").unwrap(), None);
    assert_eq!(node.agents().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_with_agents_makes_no_new_keys() {
    let home = temporary();
    let node = open_node(home.path()).await;
    node.create(creation("c", COUNTER), ticks(1)).await.unwrap().stop().await;
    let (key, id) = (node.home().keys().path(Role::Node), node.id());
    drop(node);
    let aside = key.with_extension("aside");
    std::fs::rename(&key, &aside).unwrap();
    let lost = try_open_node(home.path()).await.err().unwrap();
    assert!(matches!(&lost, Error::Home(igor_node::home::Error::NoKey { .. })), "{lost}");
    assert!(!key.exists());
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(open_node(home.path()).await.id(), id);
}

/// A Genesis as `create` makes it, before anything of it is kept.
fn genesis(home: &Home, name: &str, program: &[u8], manifest: &Manifest) -> Genesis {
    let key = |role| home.keys().read(role).unwrap();
    let (owner, node): (KeyPair, KeyPair) = (key(Role::Owner), key(Role::Node));
    let body = GenesisBody {
        owner: owner.public(),
        nonce: [7; 16],
        name: name.into(),
        program: igor_protocol::Hash::of_blob(program),
        manifest: manifest.hash(),
        runtime: igor_sandbox::RUNTIME_ID.into(),
        custodian: node.public(),
        terms: igor_protocol::Terms { price_per_ns: 1, price_per_fuel: 0 },
        budget: common::credits("1"),
        issuer: owner.public(),
        store: StoreKind::Disk,
        policy: Policy::default(),
        expires: Timestamp(u64::MAX),
    };
    body.sign(&owner, &node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_any_two_steps_of_a_creation_leaves_all_or_nothing() {
    let program = wat::parse_str(COUNTER).unwrap();
    let manifest = Manifest::default();
    // After step 0: nothing; 1: the program; 2: the manifest; 3: the name; 4: Genesis, without its init.
    for steps in 0..=4 {
        let home = temporary();
        drop(open_node(home.path()).await);
        let genesis = genesis(&Home::existing(home.path()).unwrap(), "a", &program, &manifest);
        let agent = genesis.body.agent_id();
        let store = Disk::open(home.path(), &Options::default()).unwrap();
        if steps >= 1 {
            store.put_blob(program.clone()).await.unwrap();
        }
        if steps >= 2 {
            store.put_blob(manifest.encode()).await.unwrap();
        }
        if steps >= 3 {
            local::put_name(&store, "a", agent).await.unwrap();
        }
        if steps >= 4 {
            let now = igor_node::RealWorld.wall_clock();
            let (book, draft) = Book::begin(genesis, manifest.clone(), now).unwrap();
            store.create(book.commit(draft).unwrap()).await.unwrap();
        }
        drop(store);

        let node = open_node(home.path()).await;
        let found = node.resolve("a").unwrap();
        assert_eq!(found, (steps == 4).then_some(agent), "after step {steps}");
        let life = match found {
            Some(agent) => node.start(agent, ticks(2)).await.unwrap(),
            None => node.create(creation("a", COUNTER), ticks(2)).await.unwrap(),
        };
        assert_eq!(tick_numbers(&all_events(&node, &life).await), [1, 2], "after step {steps}");
        assert_eq!(node.resolve("a").unwrap(), Some(life.agent()));
        assert_eq!(node.agents().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_fails_is_recorded_and_tried_again() {
    let home = temporary();
    let node = open_node(home.path()).await;
    let failed = node.create(creation("s", STILLBORN), ticks(1)).await.unwrap_err();
    assert!(matches!(&failed, Error::Life(igor_spine::Error::Init(_))), "{failed}");
    let agent = node.resolve("s").unwrap().expect("its journal says what happened");
    let before = node.agent(agent).unwrap();
    let again = node.start(agent, ticks(1)).await.unwrap_err();
    assert!(matches!(&again, Error::Life(igor_spine::Error::Init(_))), "{again}");
    assert!(node.agent(agent).unwrap().seq > before.seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_life_at_a_time() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let life = running.create(creation("c", COUNTER)).await;
    let twice = running.node.start(life.agent(), ticks(1)).await.unwrap_err();
    assert!(matches!(twice, Error::Running { .. }), "{twice}");
    let second = Node::open(home.path(), compiler()).err().expect("one process has a home");
    let words = second.to_string();
    assert!(words.contains(&std::process::id().to_string()) && words.contains("node.sock"), "{words}");
    running.close().await;
    drop(open_node(home.path()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_outlives_the_node() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let agent = running.create(creation("c", COUNTER)).await.agent();
    assert_eq!(running.client.pause("c").await.unwrap(), "paused");
    let paused = running.client.agent("c").await.unwrap();
    running.close().await;

    let running = Running::open(home.path()).await;
    assert_eq!(running.client.agent("c").await.unwrap().status, "paused", "also before it is started");
    let life = running.node.start(agent, Wishes::default()).await.unwrap();
    let mut events = life.events(running.node.store().clone());
    assert!(matches!(within(events.next()).await.unwrap(), Some(Event::Started { tick, .. }) if tick == paused.tick));
    // A second pause is answered between two rounds of the life: it came that far, and has not ticked.
    assert_eq!(running.client.pause("c").await.unwrap(), "paused");
    assert_eq!(running.client.agent("c").await.unwrap().tick, paused.tick);
    assert_ne!(running.client.resume("c").await.unwrap(), "paused");
    while !matches!(within(events.next()).await.unwrap().unwrap(), Event::Tick { .. }) {}
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_agent_is_forgiven_once() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let life = running.create(creation("t", TRAP)).await;
    let agent = life.agent();
    let events = all_events(&running.node, &life).await;
    assert_eq!(tick_numbers(&events), [1, 2, 3, 4, 5]);
    assert!(matches!(events.last(), Some(Event::Suspended { cause, .. }) if cause.contains("trap")), "{events:?}");
    let info = running.client.agent("t").await.unwrap();
    assert_eq!(info.status, "suspended");
    assert!(info.cause.unwrap().contains("trap"));
    // Without a word of its operator it stays so, after a restart too.
    let again = running.node.start(agent, Wishes::default()).await.unwrap();
    assert!(matches!(&*within(again.over()).await, Ok(Ending::Suspended { .. })));
    assert_eq!(running.node.agent(agent).unwrap().tick, Tick(5));
    // With one it tries once more, and only once.
    running.client.resume("t").await.unwrap();
    let third = running.node.life(agent).unwrap();
    assert!(matches!(&*within(third.over()).await, Ok(Ending::Suspended { .. })));
    assert_eq!(running.node.agent(agent).unwrap().tick, Tick(6));
    let fourth = running.node.start(agent, Wishes::default()).await.unwrap();
    assert!(matches!(&*within(fourth.over()).await, Ok(Ending::Suspended { .. })));
    assert_eq!(running.node.agent(agent).unwrap().tick, Tick(6));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_fails_leaves_the_others_alone() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let trap = running.create(creation("t", TRAP)).await;
    let echo = running.create(creation("e", ECHO)).await;
    within(trap.over()).await;
    assert!(!echo.is_over());
    let sent = running.client.send(
        "e",
        vec![igor_node::api::wire::Outgoing::new(igor_protocol::entry::MessageId::Opaque("1".into()), b"hi")],
    );
    assert_eq!(within(sent).await.unwrap().len(), 1);
    let names: Vec<_> = running.client.agents().await.unwrap().into_iter().map(|agent| agent.name).collect();
    assert_eq!(names, ["e", "t"]);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_operator_grants_is_refused_by_name() {
    let home = temporary();
    std::fs::write(home.path().join("node.toml"), "[grants]\nmemory_bytes = 1000000\n").unwrap();
    let node = open_node(home.path()).await;
    let refused = node.create(creation("c", COUNTER), ticks(1)).await.unwrap_err();
    let words = refused.to_string();
    assert!(matches!(refused, Error::NotGranted(_)), "{words}");
    assert!(words.contains("limits.memory_bytes") && words.contains("1000000"), "{words}");
    assert_eq!(node.store().list().unwrap().len(), 0);
    let mut modest = creation("c", COUNTER);
    modest.manifest.limits.memory_bytes = 1 << 19;
    let life = node.create(modest, ticks(1)).await.unwrap();
    assert_eq!(tick_numbers(&all_events(&node, &life).await), [1]);
    let first = node.store().read(life.agent(), Seq(0)).unwrap().next().unwrap().unwrap();
    assert_eq!(first.first(), Seq(0));
}

/// Waits until a running agent is paused, or not.
async fn comes_to_be(life: &std::sync::Arc<igor_node::Hosted>, paused: bool) {
    within(async {
        while (life.info().status == "paused") != paused {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_last_is_durable_and_done() {
    let home = temporary();
    let node = open_node(home.path()).await;
    let life = node.create(creation("c", COUNTER), Wishes::default()).await.unwrap();
    let agent = life.agent();
    for _ in 0..50 {
        let said = [true, false, true, false].map(|pause| {
            let node = node.clone();
            tokio::spawn(async move { if pause { node.pause(agent).await } else { node.resume(agent).await } })
        });
        for said in said {
            within(said).await.unwrap().unwrap();
        }
        let paused = local::flags(&**node.store(), agent).unwrap().paused;
        assert_eq!(life.info().status == "paused", paused);
    }
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_while_it_starts_is_heard() {
    let home = temporary();
    let node = open_node(home.path()).await;
    // Its init takes a while, so that the pause comes in the middle of its start.
    let slow = "(func (export \"agent_init\") (local $n i32) (local.set $n (i32.const 10000000))
        (loop $more (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))";
    let slow = COUNTER.replacen("(func (export \"agent_init\") (i32.store (i32.const 0) (i32.const 0)))", slow, 1);
    let life = node.create(creation("c", &slow), ticks(3)).await.unwrap();
    let agent = life.agent();
    within(life.over()).await;
    for round in 0..10 {
        let pause = async {
            tokio::time::sleep(std::time::Duration::from_millis(round)).await;
            node.pause(agent).await
        };
        let (started, paused) = tokio::join!(node.start(agent, Wishes::default()), pause);
        paused.unwrap();
        let life = started.unwrap();
        comes_to_be(&life, true).await;
        life.stop().await;
        node.resume(agent).await.unwrap();
    }
}
