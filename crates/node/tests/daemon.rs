//! A node that carries all agents of its home: who lives after a restart, who does not and why, and that each gets its
//! turn.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{
    COUNTER, ECHO, Running, TRAP, credits,
    owner::{Owner, quick, send},
    temporary, within,
};
use igor_node::{
    Carried, Error,
    client::{self, Pace},
};
use igor_protocol::{
    Credits, Fuel, Manifest, Nanos, Timestamp,
    entry::{Action, OrderBody},
};
use igor_store::{
    Store,
    disk::{Disk, Options, Reader},
};
use std::fs;

/// Works until it is stopped, and wants more at once.
const BURNER: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32) (loop $on (br $on)) (i32.const 1)))"#;

async fn until(running: &Running, name: &str, status: &str) {
    within(async {
        while running.status(name).await.0 != status {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lived_lives_again_and_who_rested_rests() {
    let (home, owner) = (temporary(), Owner::new(7));
    let config = Owner::served(&[&owner], "");
    let (running, carried) = Running::daemon(home.path(), &config).await;
    assert_eq!(carried, Carried::default());
    let client = &running.client;
    for name in ["lives", "paused", "stopped", "ended"] {
        owner.deploy(client, name, COUNTER).await.unwrap();
        running.ticked(name, 2).await;
    }
    owner.deploy(client, "trapped", TRAP).await.unwrap();
    client.pause("paused").await.unwrap();
    assert_eq!(client.stop("stopped").await.unwrap(), "stopped");
    let ended = client.agent("ended").await.unwrap().agent;
    let recall = OrderBody { agent: ended, term: 0, counter: 1, at: Timestamp(1), action: Action::Recall };
    client.order("ended", &recall.sign(&owner.0)).await.unwrap();
    until(&running, "ended", "ended").await;
    until(&running, "trapped", "suspended").await;
    let before = client.agents().await.unwrap();
    running.close().await;

    let (running, carried) = Running::daemon(home.path(), &config).await;
    assert_eq!(carried, Carried { living: 2, resting: 3, unable: 0 });
    running.ticked("lives", before.iter().find(|info| info.name == "lives").unwrap().tick.0 + 3).await;
    for info in before.iter().filter(|info| info.name != "lives") {
        let now = running.client.agent(&info.name).await.unwrap();
        assert_eq!((&now.status, now.tick), (&info.status, info.tick), "{}", info.name);
    }
    assert_eq!(running.client.agents().await.unwrap().len(), 5, "all are shown");
    // What they are told is done at once.
    for (name, after) in [("paused", "paused"), ("stopped", "stopped")] {
        let tick = running.client.agent(name).await.unwrap().tick.0;
        assert_ne!(running.client.resume(name).await.unwrap(), after);
        running.ticked(name, tick + 2).await;
    }
    running.client.resume("trapped").await.unwrap();
    running.ticked("trapped", 6).await;
    until(&running, "trapped", "suspended").await;
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_revives_an_agent_at_once() {
    let (home, owner) = (temporary(), Owner::new(7));
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], "")).await;
    let (program, manifest) = (wat::parse_str(COUNTER).unwrap(), quick());
    let mut body = owner.body(&running.client.node().await.unwrap(), "c", &program, &manifest);
    body.budget = Credits::from_units(400_000_000_000);
    let agent = body.agent_id();
    send(&running.client, &body.deploy(&owner.0), &manifest, &program).await.unwrap();
    within(running.node.life(agent).unwrap().over()).await.as_ref().as_ref().unwrap();
    let ended = running.client.agent("c").await.unwrap();
    assert_eq!((ended.balance, ended.cause.as_deref()), (Credits::ZERO, Some("exhausted")));
    assert_eq!(running.client.node().await.unwrap().room.agents.used, 0, "it takes no place");
    let fund = Action::Fund { total: credits("1") };
    let order = OrderBody { agent, term: 0, counter: 1, at: Timestamp(1), action: fund }.sign(&owner.0);
    running.client.order("c", &order).await.unwrap();
    running.ticked("c", ended.tick.0 + 3).await;
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_live_is_reported_and_the_others_go_on() {
    let (home, owner) = (temporary(), Owner::new(7));
    let config = Owner::served(&[&owner], "");
    let (running, _) = Running::daemon(home.path(), &config).await;
    owner.deploy(&running.client, "good", COUNTER).await.unwrap();
    let broken = owner.deploy(&running.client, "broken", ECHO).await.unwrap().agent;
    running.close().await;
    fs::remove_file(home.path().join(format!("blobs/{}", broken.program))).unwrap();

    let (running, carried) = Running::daemon(home.path(), &config).await;
    assert_eq!(carried, Carried { living: 1, resting: 0, unable: 1 });
    let (status, cause) = running.status("broken").await;
    assert_eq!(status, "stopped");
    assert!(cause.as_deref().is_some_and(|cause| cause.contains("the program")), "{cause:?}");
    let again = running.client.resume("broken").await.unwrap_err();
    assert!(again.to_string().contains("the program"), "{again}");
    let tick = running.client.agent("good").await.unwrap().tick.0;
    running.ticked("good", tick + 3).await;
    assert!(running.client.metrics().await.unwrap().contains("igor_start_failures_total 2"));
    running.close().await;

    // Limits that were lowered keep out who is above them, and nobody else.
    let strict = format!("{config}[grants]\ncapabilities = []\n");
    let (running, carried) = Running::daemon(home.path(), &strict).await;
    assert_eq!(carried, Carried { living: 0, resting: 0, unable: 2 });
    assert!(running.status("good").await.1.is_some_and(|cause| cause.contains("grants.capabilities")));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stores_too_much_is_stopped() {
    let (home, owner) = (temporary(), Owner::new(7));
    let limit = |bytes: u64| Owner::served(&[&owner], &format!("[admission]\nstored_bytes_per_agent = {bytes}\n"));
    let (running, _) = Running::daemon(home.path(), &limit(20_000)).await;
    let (program, manifest) = (wat::parse_str(COUNTER).unwrap(), quick());
    let body = owner.body(&running.client.node().await.unwrap(), "c", &program, &manifest);
    let pace = Pace { interval: Some(Nanos::ZERO), checkpoint_interval: None };
    running.client.deploy(&body.deploy(&owner.0), &manifest.encode(), &program, pace).await.unwrap();
    let agent = running.node.resolve("c").unwrap().unwrap();
    within(running.node.life(agent).unwrap().over()).await.as_ref().as_ref().unwrap();
    let stopped = running.client.agent("c").await.unwrap();
    assert!(stopped.cause.as_deref().is_some_and(|cause| cause.contains("stored_bytes_per_agent")), "{stopped:?}");
    assert_eq!(stopped.checkpoint_tick, Some(stopped.tick), "it was stopped cleanly");
    let used = running.client.node().await.unwrap().room.stored_bytes.used;
    assert!(used > 20_000);
    running.close().await;

    let (running, carried) = Running::daemon(home.path(), &limit(20_000)).await;
    assert_eq!(carried, Carried { living: 0, resting: 0, unable: 1 });
    assert_eq!(running.client.node().await.unwrap().room.stored_bytes.used, used, "it is remembered");
    running.close().await;
    let (running, carried) = Running::daemon(home.path(), &limit(20_000_000)).await;
    assert_eq!(carried, Carried { living: 1, resting: 0, unable: 0 });
    running.ticked("c", stopped.tick.0 + 1).await;
    running.close().await;
}

/// A process that another test starts has every lock of this one until it runs its program.
async fn unlocked<T>(open: impl Fn() -> Result<T, igor_store::Error>) -> T {
    within(async {
        loop {
            match open() {
                Err(igor_store::Error::Locked { .. }) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                opened => return opened.unwrap(),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_before_anybody_counted_is_measured() {
    let (home, owner) = (temporary(), Owner::new(7));
    let config = Owner::served(&[&owner], "");
    let (running, _) = Running::daemon(home.path(), &config).await;
    owner.deploy(&running.client, "c", COUNTER).await.unwrap();
    running.ticked("c", 20).await;
    running.client.stop("c").await.unwrap();
    let counted = running.client.node().await.unwrap().room.stored_bytes.used;
    running.close().await;
    let disk = unlocked(|| Disk::open(home.path(), &Options::default())).await;
    for counted in disk.list_local().unwrap().into_iter().filter(|name| name.starts_with("stored-")) {
        disk.remove_local(&counted).await.unwrap();
    }
    drop(disk);

    // From what is there, also of an agent that rests; and then it is remembered.
    let (running, _) = Running::daemon(home.path(), &config).await;
    let measured = running.client.node().await.unwrap().room.stored_bytes.used;
    assert!((counted..counted + 1000).contains(&measured), "{measured}, and {counted} before");
    running.close().await;
    let kept = unlocked(|| Reader::open(home.path())).await.list_local().unwrap();
    assert_eq!(kept.iter().filter(|name| name.starts_with("stored-")).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_begins_once_the_node_is_being_stopped() {
    let (home, owner) = (temporary(), Owner::new(7));
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], "")).await;
    for name in ["a", "b", "c"] {
        owner.deploy(&running.client, name, COUNTER).await.unwrap();
    }
    running.client.stop("a").await.unwrap();
    within(running.node.shut_down()).await;
    for info in running.client.agents().await.unwrap() {
        assert_eq!((info.status.as_str(), info.checkpoint_tick), ("stopped", Some(info.tick)));
    }
    let refused = running.client.resume("a").await.unwrap_err();
    assert!(matches!(&refused, client::Error::Refused { code, .. } if code == "stopping"), "{refused}");
    let refused = owner.deploy(&running.client, "d", COUNTER).await.unwrap_err();
    assert!(refused.is_passing(), "{refused}");
    let agent = running.node.resolve("b").unwrap().unwrap();
    assert!(matches!(running.node.start(agent, igor_node::Wishes::default()).await, Err(Error::Stopping)));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_have_so_many_agents_and_no_more() {
    let (home, owner) = (temporary(), Owner::new(7));
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], "[metrics]\nagents = 2\n")).await;
    for name in ["other", "a", "b", "c", "d"] {
        owner.deploy(&running.client, name, COUNTER).await.unwrap();
    }
    let metrics = running.client.metrics().await.unwrap();
    let labels: std::collections::BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.split_once("agent=\"")?.1.split_once('"').map(|(label, _)| label))
        .collect();
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["a", "b", "other"]);
    for line in [
        "igor_running{agent=\"other\"} 3.0",
        "igor_starts_total{agent=\"other\"} 3",
        "igor_running{agent=\"a\"} 1.0",
        "igor_agents 5.0",
        "igor_agents_max 1000.0",
        "igor_compile_slots_max 2.0",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    running.close().await;
}

/// Four agents that never stop working, on two processors, and sixty that want little: each of these gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_works_without_end_starves_nobody() {
    const TICKS: u64 = 20;
    let (home, owner) = (temporary(), Owner::new(7));
    // Far longer than the test takes on the slowest machine.
    let config = Owner::served(&[&owner], "[grants]\ntick_time_ms = 3600000\n");
    let (running, _) = Running::daemon(home.path(), &config).await;
    let client = &running.client;
    let mut busy = Manifest { interval: Nanos::ZERO, ..Manifest::default() };
    busy.limits.tick_time = Nanos::from_secs(3600);
    busy.limits.tick_fuel = Fuel(1 << 40);
    let program = wat::parse_str(BURNER).unwrap();
    let info = client.node().await.unwrap();
    for name in ["burner-1", "burner-2", "burner-3", "burner-4"] {
        let body = owner.body(&info, name, &program, &busy);
        send(client, &body.deploy(&owner.0), &busy, &program).await.unwrap();
    }
    let quiet: Vec<String> = (0..60).map(|n| format!("quiet-{n}")).collect();
    for name in &quiet {
        owner.deploy(client, name, COUNTER).await.unwrap();
    }
    for name in &quiet {
        running.ticked(name, TICKS).await;
    }
    for name in ["burner-1", "burner-2", "burner-3", "burner-4"] {
        assert_eq!(running.status(name).await.0, "running");
    }
    // Those who still work end with this process, as in a kill.
}
