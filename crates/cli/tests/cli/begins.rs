//! How an agent begins, or goes on by its owner's order, where a bucket is silent, or has more than the node.

use crate::{
    home::{Home, STRATEGY, await_event},
    stage::Actor,
};
use igor_bucket_testing::{Conditions, Fault, Faulty, Liar, Listings};
use igor_node::{
    client::{Address, Client, Pace},
    home::{self, Role},
};
use igor_protocol::{
    Hash, Manifest, Timestamp,
    entry::{GenesisBody, Policy, StoreKind},
};
use serde_json::{Value, json};
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_mins(1);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn node(home: &Home) -> Actor {
    let actor = home.start(&["node", "start"]);
    await_event(&actor, "started");
    actor
}

/// Waits until the agent `s` has ticked here, more often than `since` says.
fn ticks_on(home: &Home, since: &Value) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let row = home.ask(&["show", "s"]).rows.pop().unwrap_or_default();
        if row["custodian"] == json!(home.key()) && row["tick"].as_u64() > since["tick"].as_u64() {
            return row;
        }
        assert!(Instant::now() < deadline, "it never ticks on: {row}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_same_deployment_is_the_same_agent_where_only_the_bucket_has_it() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let home = Home::in_bucket_at(&server.endpoint());
    let mut actor = node(&home);
    let client = Client::new(Address::Socket(home.path().join("node.sock")));
    let keys = home::Home::existing(&home.path()).expect("a home").keys();
    let owner = keys.read(Role::Owner).expect("an owner's key");
    let (program, manifest) = (fs::read(STRATEGY).expect("a program"), Manifest::default());
    let info = runtime.block_on(client.node()).expect("it answers");
    let body = GenesisBody {
        owner: owner.public(),
        nonce: [7; 16],
        name: "s".to_owned(),
        program: Hash::of_blob(&program),
        manifest: manifest.hash(),
        runtime: info.runtime.clone(),
        custodian: info.node,
        terms: info.terms().expect("a price"),
        budget: "1".parse().expect("an amount"),
        issuer: owner.public(),
        policy: Policy::default(),
        expires: Timestamp(u64::MAX),
        store: info.store_kind().expect("a kind of store"),
    };
    assert!(body.store != StoreKind::Disk);
    let deployment = body.deploy(&owner);
    let deploy = || runtime.block_on(client.deploy(&deployment, &manifest.encode(), &program, Pace::default()));
    assert!(deploy().expect("it begins").created);
    let before = ticks_on(&home, &Value::Null);
    // A node that died as soon as the bucket had it, and before its disk did.
    actor.kill().expect("it can be killed");
    for found in fs::read_dir(home.path()).expect("a home") {
        let found = found.expect("an entry");
        if found.file_name() == "keys" || found.file_name() == "node.toml" {
            continue;
        }
        let path = found.path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it goes");
    }
    let _actor = node(&home);
    assert!(home.ask(&["ps"]).rows.iter().all(|row| row["agent"].is_null()), "nothing is there");
    let again = deploy().expect("it is the same one");
    assert_eq!((again.created, again.agent.agent), (false, deployment.body.agent_id()));
    ticks_on(&home, &before);
}

#[test]
fn a_silent_bucket_keeps_no_agent_of_the_disk_from_starting() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let proxy = runtime.block_on(async { Faulty::start(server.address()) });
    let home = Home::in_bucket_at(&proxy.endpoint());
    let toml = fs::read_to_string(home.path().join("node.toml")).expect("it was written");
    fs::write(home.path().join("node.toml"), "").expect("it can be written");
    home.get(&["run", STRATEGY, "--name", "s", "--interval", "1ms", "--budget", "0.000003", "--price", "0.001"]);
    fs::write(home.path().join("node.toml"), toml).expect("it can be written");
    let _actor = node(&home);
    let before = home.get(&["show", "s"]);
    assert_eq!((&before["cause"], &before["durable_on"]), (&json!("exhausted"), &json!("this disk only")), "{before}");
    proxy.set(Fault::Silent);
    thread::scope(|scope| {
        // As many as may start at once, and more.
        let deploying: Vec<_> = ["one", "two", "three"]
            .into_iter()
            .map(|name| scope.spawn(|| home.ask(&["deploy", STRATEGY, "--name", name, "--budget", "1"])))
            .collect();
        thread::sleep(Duration::from_secs(2));
        home.get(&["fund", "s", "1"]);
        ticks_on(&home, &before);
        assert!(deploying.iter().all(|one| !one.is_finished()), "they wait for the bucket");
        proxy.set(Fault::None);
        for one in deploying {
            one.join().expect("it ends");
        }
    });
}

#[test]
fn an_owner_takes_over_where_the_copy_here_is_behind() {
    let runtime = runtime();
    let server = runtime.block_on(Liar::start(Conditions::Kept, Listings::Fresh));
    let (here, there) = (Home::in_bucket_at(&server.endpoint()), Home::in_bucket_at(&server.endpoint()));
    let mut other = there.takes_from(&here);
    let _actor = node(&here);
    here.get(&["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
    ticks_on(&here, &Value::Null);
    here.get(&["migrate", "s", &there.key()]);
    let left = here.get(&["show", "s"]);
    let ticked = ticks_on(&there, &left);
    other.kill().expect("it can be killed");
    assert!(here.get(&["show", "s"])["tick"].as_u64() < ticked["tick"].as_u64(), "it is behind");
    let taken = here.get(&["takeover", "s"]);
    assert!(taken["base_seq"].as_u64() > left["seq"].as_u64(), "{taken}");
    ticks_on(&here, &ticked);
    assert_eq!(here.get(&["verify", "s", "--execute"])["ok"], true);
}
