//! Deploying: what an owner signed begins once, and what is refused leaves nothing.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{
    COUNTER, ECHO, Running, STILLBORN, credits,
    owner::{Owner, code, quick, send},
    raw, temporary, within,
};
use igor_node::{
    api::wire::{DEPLOY_BYTES_MAX, NodeInfo},
    client::{Client, Error, Pace},
};
use igor_protocol::{
    Manifest, Nanos, Terms, Timestamp,
    entry::{Action, GenesisBody, OrderBody},
};
use igor_store::Store;
use std::{collections::BTreeSet, path::Path};

/// What makes up what a home knows of agents: files, and the names of local values.
fn kept(running: &Running, home: &Path) -> BTreeSet<String> {
    let folders = ["agents", "blobs", "archives"];
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(home.join(folder)).ok()).flatten();
    let files = files.map(|file| file.unwrap().path().display().to_string());
    files.chain(running.node.store().list_local().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_from_elsewhere_deploys_funds_and_ends() {
    let (home, owner) = (temporary(), Owner::new(7));
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], "")).await;
    let client = &running.client;
    let deployed = owner.deploy(client, "c", COUNTER).await.unwrap();
    assert!(deployed.created);
    let agent = deployed.agent.agent;
    assert_eq!((deployed.agent.owner, deployed.agent.custodian), (owner.0.public(), running.node.id()));
    running.ticked("c", 3).await;
    let order = |counter, action| OrderBody { agent, term: 0, counter, at: Timestamp(1), action };
    client.order("c", &order(1, Action::Fund { total: credits("11") }).sign(&owner.0)).await.unwrap();
    let refused = client.order("c", &order(2, Action::Recall).sign(running.node.owner())).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused { code, .. } if code == "order_refused"), "{refused}");
    client.order("c", &order(2, Action::Recall).sign(&owner.0)).await.unwrap();
    within(running.node.life(agent).unwrap().over()).await.as_ref().as_ref().unwrap();
    assert_eq!(running.status("c").await, ("ended".into(), Some("recalled".into())));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_deployment_is_the_same_agent() {
    let (home, owner) = (temporary(), Owner::new(7));
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], "")).await;
    let (program, manifest) = (wat::parse_str(COUNTER).unwrap(), quick());
    let info = running.client.node().await.unwrap();
    let deployment = owner.body(&info, "c", &program, &manifest).deploy(&owner.0);
    let again = async |client: &Client| within(send(client, &deployment, &manifest, &program)).await;
    // Several at once, as when answers were lost: one makes it, and the others are told that it is there or on its way.
    let (one, two, three) = tokio::join!(again(&running.client), again(&running.client), again(&running.client));
    let created = [&one, &two, &three].into_iter().filter(|done| matches!(done, Ok(done) if done.created)).count();
    assert_eq!(created, 1, "{one:?} {two:?} {three:?}");
    for done in [one, two, three] {
        match done {
            Ok(done) => assert_eq!(done.agent.agent, deployment.body.agent_id()),
            Err(e) => assert!(e.is_passing(), "{e}"),
        }
    }
    assert!(!again(&running.client).await.unwrap().created);
    running.close().await;

    // Its owner is not served any more; the agent is here.
    let (running, carried) = Running::daemon(home.path(), "").await;
    assert_eq!(carried.living, 1);
    assert!(!again(&running.client).await.unwrap().created);
    assert_eq!(running.client.agents().await.unwrap().len(), 1);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pace_of_a_deployment_holds_over_restarts() {
    let (home, owner) = (temporary(), Owner::new(7));
    let config = Owner::served(&[&owner], "");
    let (running, _) = Running::daemon(home.path(), &config).await;
    // By its manifest it would tick once an hour.
    let manifest = Manifest { interval: Nanos::from_secs(3600), ..Manifest::default() };
    let program = wat::parse_str(COUNTER).unwrap();
    let deployment = owner.body(&running.client.node().await.unwrap(), "c", &program, &manifest).deploy(&owner.0);
    let pace = Pace { interval: Some(Nanos::ZERO), checkpoint_interval: Some(Nanos::ZERO) };
    running.client.deploy(&deployment, &manifest.encode(), &program, pace).await.unwrap();
    running.ticked("c", 20).await;
    running.close().await;
    let (running, _) = Running::daemon(home.path(), &config).await;
    let before = running.client.agent("c").await.unwrap();
    running.ticked("c", before.tick.0 + 20).await;
    let after = running.client.agent("c").await.unwrap();
    assert!(after.checkpoint_tick > before.checkpoint_tick, "a checkpoint after every tick");
    running.close().await;
}

/// One way in which a deployment is wrong.
type Change = fn(&mut GenesisBody, &NodeInfo);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_leaves_nothing() {
    let (home, owner, stranger) = (temporary(), Owner::new(7), Owner::new(8));
    let limits = "[admission]\nagents = 1\n[grants]\ncapabilities = [\"log\", \"messages\"]\n";
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], limits)).await;
    let client = &running.client;
    let info = client.node().await.unwrap();
    let mut manifest = quick();
    let none = &mut manifest.capabilities;
    (none.clock, none.randomness, none.wallet) = (false, false, false);
    let program = wat::parse_str(ECHO).unwrap();
    let before = kept(&running, home.path());
    let changes: [(&str, Change); 9] = [
        ("owner_not_served", |body, _| body.owner = Owner::new(8).0.public()),
        ("other_custodian", |body, _| body.custodian = body.owner),
        ("other_runtime", |body, _| body.runtime = "wasmtime-1/igor-cfg-0/abi-0".into()),
        ("expired", |body, _| body.expires = Timestamp(1)),
        ("price", |body, info| {
            body.terms = Terms { price_per_ns: info.terms().unwrap().price_per_ns - 1, ..body.terms };
        }),
        ("genesis_refused", |body, _| {
            body.policy.terms_max = Some(Terms { price_per_ns: 1, price_per_fuel: 0 });
        }),
        ("genesis_refused", |body, _| body.issuer = Owner::new(8).0.public()),
        ("bad_deployment", |body, _| body.manifest = body.program),
        ("bad_name", |body, _| body.name = "no/name".into()),
    ];
    for (wanted, change) in changes {
        let mut body = owner.body(&info, "a", &program, &manifest);
        change(&mut body, &info);
        let signer = if wanted == "owner_not_served" { &stranger } else { &owner };
        let refused = code(send(client, &body.deploy(&signer.0), &manifest, &program).await);
        assert_eq!(refused, wanted);
    }
    let body = || owner.body(&info, "a", &program, &manifest);
    // Signed by another than it names, and changed after it was signed.
    assert_eq!(code(send(client, &body().deploy(&stranger.0), &manifest, &program).await), "bad_signature");
    let mut changed = body().deploy(&owner.0);
    changed.body.budget = credits("11");
    assert_eq!(code(send(client, &changed, &manifest, &program).await), "bad_signature");
    // What is sent is not what was signed.
    let signed = body().deploy(&owner.0);
    let other = Manifest { interval: Nanos::from_millis(7), ..manifest.clone() };
    assert_eq!(code(send(client, &signed, &other, &program).await), "bad_deployment");
    let else_program = wat::parse_str(COUNTER).unwrap();
    assert_eq!(code(send(client, &signed, &manifest, &else_program).await), "bad_deployment");
    let nonsense = client.deploy(&signed, b"nonsense", &program, Pace::default()).await;
    assert_eq!(code(nonsense), "bad_deployment");
    // Manifests and programs that this node does not run.
    let greedy = quick();
    let asks = owner.body(&info, "a", &program, &greedy).deploy(&owner.0);
    assert_eq!(code(send(client, &asks, &greedy, &program).await), "not_granted");
    let empty = wat::parse_str("(module)").unwrap();
    let asks = owner.body(&info, "a", &empty, &manifest).deploy(&owner.0);
    assert_eq!(code(send(client, &asks, &manifest, &empty).await), "program_refused");
    assert_eq!(kept(&running, home.path()), before);
    assert_eq!((client.agents().await.unwrap().len(), client.node().await.unwrap().room.agents.used), (0, 0));

    // One fits. Another does not, under its own name or under this one.
    assert!(send(client, &signed, &manifest, &program).await.unwrap().created);
    let after = kept(&running, home.path());
    assert_eq!(code(send(client, &body().deploy(&owner.0), &manifest, &program).await), "name_taken");
    let second = owner.body(&info, "b", &program, &manifest).deploy(&owner.0);
    assert_eq!(code(send(client, &second, &manifest, &program).await), "no_room");
    assert_eq!(kept(&running, home.path()), after);
    let metrics = client.metrics().await.unwrap();
    for line in ["igor_refusals_total{reason=\"no_room\"} 1", "igor_refusals_total{reason=\"bad_signature\"} 2"] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_deployment_is_refused() {
    let home = temporary();
    let (running, _) = Running::daemon(home.path(), "").await;
    let socket = running.server.socket().clone();
    let post = |length: usize, body: &[u8]| {
        let head = format!(
            "POST /v1/agents HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    for body in [&b""[..], &[0; 11], &[0xff; 64], &[0, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9]] {
        let answer = raw(&socket, &post(body.len(), body)).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_deployment"), "{answer}");
    }
    let answer = raw(&socket, &post(DEPLOY_BYTES_MAX + 1, b"")).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    let query =
        b"POST /v1/agents?interval=1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let answer = raw(&socket, query).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_query"), "{answer}");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_stored_bytes_are_bounded() {
    let (home, owner) = (temporary(), Owner::new(7));
    let memory = Manifest::default().limits.memory_bytes;
    let limits = format!("[admission]\nmemory_bytes = {}\nstored_bytes = 100000\n", 2 * memory);
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner], &limits)).await;
    owner.deploy(&running.client, "a", COUNTER).await.unwrap();
    let room = running.client.node().await.unwrap().room;
    assert_eq!((room.agents.used, room.memory_bytes.used, room.memory_bytes.max), (1, 2 * memory, 2 * memory));
    assert!(room.stored_bytes.used > 0);
    assert_eq!(code(owner.deploy(&running.client, "b", COUNTER).await), "no_room");
    // Whoever leaves makes room.
    running.client.stop("a").await.unwrap();
    owner.deploy(&running.client, "b", COUNTER).await.unwrap();
    running.client.stop("b").await.unwrap();
    let large = format!("{}(data (i32.const 0) \"{}\"))", &COUNTER[..COUNTER.len() - 1], "x".repeat(60_000));
    owner.deploy(&running.client, "c", &large).await.unwrap();
    running.client.stop("c").await.unwrap();
    let larger = large.replace("xxx", "xyx");
    assert_eq!(code(owner.deploy(&running.client, "d", &larger).await), "no_room");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_gives_way_to_its_own_owner_only() {
    let (home, owner, other) = (temporary(), Owner::new(7), Owner::new(8));
    let (running, _) = Running::daemon(home.path(), &Owner::served(&[&owner, &other], "")).await;
    let client = &running.client;
    assert_eq!(code(owner.deploy(client, "a", STILLBORN).await), "init_failed");
    assert_eq!(code(other.deploy(client, "a", COUNTER).await), "name_taken");
    let mended = owner.deploy(client, "a", COUNTER).await.unwrap();
    assert!(mended.created);
    assert_eq!(client.agent("a").await.unwrap().agent, mended.agent.agent);
    running.close().await;
}
