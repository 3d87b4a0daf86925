//! Histories that are not so, or not so any more.

use super::{
    forge::{Past, entries, record, rewrite},
    scene::{Attacker, Place, Real, Scene, until, until_logged},
};
use igor_network::{Error, Request, Why};
use igor_protocol::{
    Chain, Commit, Credits, Entry, Epoch, Hash, KeyPair, NodeId, Seq, Terms,
    custody::Tidings,
    entry::{Accept, Body, Given, Handoff, Phase, Place as At, Seal, StoreKind},
    transfer::{Frame, Reason},
};
use igor_store::Store;
use std::fs;

/// A node that takes agents from `place`, and that place's node with an agent on it.
async fn scene_and_node(others: &[NodeId]) -> (Scene, Real, Past) {
    let place = Place::new();
    let nodes: Vec<_> = others.iter().copied().chain([place.id()]).collect();
    let scene = Scene::begin(&nodes, "").await;
    let node = Real::start(place, &[&scene.host], &[scene.host.id()], "").await;
    let agent = node.agent("x").await;
    // With a tick in it that is sealed.
    let mut past = Past::of(&node, agent);
    until("a tick is sealed", || {
        past = Past::of(&node, agent);
        past.book().ledger().tick.0 > 0
    })
    .await;
    (scene, node, past)
}

/// It signs a handoff well, with its own key, of an agent that another has. The true custodian's counts afterwards.
pub(crate) async fn given_by_a_node_that_is_not_the_custodian() {
    let thief = KeyPair::from_seed(&[21; 32]);
    let (scene, node, past) = scene_and_node(&[thief.public()]).await;
    let attacker = Attacker::of(thief, &scene.host).await;
    let host = scene.host.id();
    let as_mine: fn(&mut Phase, NodeId) = |phase, thief| {
        if let Phase::Handoff(handoff) = phase {
            handoff.from = thief;
        }
    };
    let terms = scene.host.running.node.terms();
    let handoff = past.handoff(&attacker.key, host, terms, as_mine);
    let mut talk = attacker.say(Frame::Offer(Box::new(past.offer(vec![record(&handoff)], true)))).await;
    let Some(Frame::Welcome(welcome)) = talk.hear().await else { panic!("it looks as if it might") };
    past.ship(&mut talk, &welcome).await;
    talk.send(Frame::Commit(handoff)).await;
    talk.refused(Reason::History).await;
    scene.until_refused(past.agent, Reason::History, "custodian").await;
    assert!(!scene.host.runs(past.agent) && node.runs(past.agent));
    node.give(past.agent, &scene.host).await;
    assert!(!node.runs(past.agent));
    node.close().await;
    scene.end("a handoff by who is not the custodian").await;
}

pub(crate) async fn with_a_wrong_bill() {
    let (scene, node, past) = scene_and_node(&[]).await;
    let place = node.close().await;
    let attacker = Attacker::of(place.key, &scene.host).await;
    let (padded, at) = rewrite(&past, &attacker.key, |body| match body {
        Body::Run(run) if run.call.is_tick() => {
            run.cost = Credits::from_units(run.cost.units() + 1);
            true
        }
        _ => false,
    });
    let mut talk = attacker.say(Frame::Offer(Box::new(padded.offer(vec![], false)))).await;
    let Some(Frame::Welcome(welcome)) = talk.hear().await else { panic!("its last custodian offers it") };
    padded.ship(&mut talk, &welcome).await;
    talk.send(Frame::Reached(padded.end().next)).await;
    let why = talk.refused(Reason::History).await;
    assert!(why.contains("charged") && why.contains(&at.to_string()), "{why}");
    scene.until_refused(past.agent, Reason::History, "charged").await;
    let kept = scene.host.running.node.store().tail(past.agent).unwrap();
    assert!(kept.is_none_or(|kept| kept.next <= at), "nothing is kept of what is wrong: {kept:?}");
    assert!(!scene.host.runs(past.agent));
    scene.end("a wrong bill").await;
}

/// An old handoff, which was good then, and the agent as it was before it.
pub(crate) async fn given_again_after_custody_moved_on() {
    let (scene, node, past) = scene_and_node(&[]).await;
    let agent = past.agent;
    node.give(agent, &scene.host).await;
    let past = Past::of(&node, agent);
    let place = node.close().await;
    let next = Real::start(Place::new(), &[&scene.host], &[scene.host.id()], "").await;
    scene.host.give(agent, &next).await;

    let attacker = Attacker::of(place.key, &scene.host).await;
    let is_handoff = |commit: &Commit| {
        entries(commit).any(|entry| matches!(entry.body, Body::Custody(record) if record.given().is_some()))
    };
    let given = past.commits.iter().position(is_handoff).expect("it was given");
    let handoff = record(&past.commits[given]);
    let before = scene.host.running.node.store().tail(agent).unwrap();
    // It gets the answer of then, which is true and changes nothing.
    let mut talk = attacker.say(Frame::Offer(Box::new(past.first(given + 1).offer(vec![handoff], true)))).await;
    assert_eq!(talk.hear().await, Some(Frame::Answered));
    let Some(Frame::Accepted(commit)) = talk.hear().await else { panic!("it was accepted then") };
    assert!(matches!(record(&commit).phase, Phase::Accept(_)));
    // As if it had never been given: the epoch is an old one.
    let mut talk = attacker.say(Frame::Offer(Box::new(past.first(given).offer(vec![], false)))).await;
    talk.refused(Reason::Epoch).await;
    scene.until_refused(agent, Reason::Epoch, "epoch").await;
    assert_eq!(scene.host.running.node.store().tail(agent).unwrap(), before);
    assert!(!scene.host.runs(agent) && next.runs(agent));
    next.close().await;
    scene.end("a handoff again").await;
}

/// The journal that is here stays, whatever the one who has custody says that it was.
pub(crate) async fn other_than_the_one_that_is_here() {
    let (scene, node, past) = scene_and_node(&[]).await;
    let agent = past.agent;
    node.give(agent, &scene.host).await;
    scene.host.give(agent, &node).await;
    let last = Past::of(&node, agent).book().held().standing.proofs;
    let place = node.close().await;
    let attacker = Attacker::of(place.key, &scene.host).await;
    let before = scene.host.running.node.store().tail(agent).unwrap();

    let mut offer = past.offer(last, false);
    offer.epoch = Epoch { term: 0, n: 2 };
    let mut talk = attacker.say(Frame::Offer(Box::new(offer))).await;
    let Some(Frame::Welcome(welcome)) = talk.hear().await else { panic!("its custodian offers it") };
    let other = Chain { agent, epoch: Epoch { term: 0, n: 2 }, next: welcome.next, head: Hash([7; 32]) };
    let seal = Seal::sign(&attacker.key, &agent, other.epoch, Seq(other.next.0 - 1), &other.head);
    let entry = Entry { at: past.book().ledger().at, body: Body::Seal(seal) };
    talk.send(Frame::Commit(Commit::new(other, [&entry]))).await;
    talk.refused(Reason::History).await;
    scene.until_refused(agent, Reason::History, "link").await;
    assert_eq!(scene.host.running.node.store().tail(agent).unwrap(), before);
    assert!(!scene.host.runs(agent));
    scene.end("another history").await;
}

/// A node whose home was lost, but not its key, is shown the beginning of an agent that it gave away long ago.
pub(crate) async fn of_before_to_a_node_that_lost_its_home() {
    let (scene, node, _) = scene_and_node(&[]).await;
    let old = Real::start(Place::new(), &[], &[], "").await;
    let (agent, liar) = (old.agent("begun").await, node);
    let past = Past::of(&old, agent);
    let Place { home: lost, key } = old.close().await;
    // All that is left of it.
    let home = super::common::temporary();
    let keys = home.path().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::set_permissions(&keys, fs::metadata(lost.path().join("keys")).unwrap().permissions()).unwrap();
    for file in fs::read_dir(lost.path().join("keys")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
    let again = Real::start(Place { home, key }, &[], &[liar.id()], "").await;
    // As if the agent had been given to the liar, who knows how it began.
    let terms = again.running.node.terms();
    let handoff = record(&past.handoff(&again.place.key, liar.id(), terms, |_, _| ()));
    let given = handoff.given().expect("a handoff");
    let place = At { seq: given.end().next, prev: given.end().head, ..given.handoff.place };
    let liar = liar.close().await;
    let accept = Phase::Accept(Accept { place, given }).sign(&liar.key);
    let attacker = Attacker::of(liar.key, &again).await;
    let mut talk = attacker.say(Frame::Offer(Box::new(past.offer(vec![accept], false)))).await;
    let why = talk.refused(Reason::Epoch).await;
    assert!(why.contains("lost"), "{why}");
    until_logged(&[&agent.to_string(), "epoch", "lost"]).await;
    assert!(!again.has_journal(agent) && !again.runs(agent));
    again.close().await;
    scene.end("a beginning to who lost it").await;
}

/// Records that a node tells of an agent that lives here.
pub(crate) async fn told_that_nobody_signed_or_that_end_all_numbers() {
    let (scene, node, past) = scene_and_node(&[]).await;
    let agent = past.agent;
    node.give(agent, &scene.host).await;
    let attacker = Attacker::of(KeyPair::from_seed(&[21; 32]), &scene.host).await;
    let me = attacker.key.public();
    let place = At {
        agent,
        epoch: Epoch { term: 0, n: 9 },
        seq: Seq(u64::MAX),
        prev: Hash([1; 32]),
        at: past.book().ledger().at,
    };
    let terms = Terms { price_per_ns: 1, price_per_fuel: 0 };
    let handoff = Handoff { place, from: me, to: me, terms, store: StoreKind::Disk };
    let last = Phase::Handoff(handoff).sign(&attacker.key);
    let given = Given { handoff, signature: last.signature };
    let accept = Phase::Accept(Accept { place, given }).sign(&attacker.key);
    let foreign = Phase::Handoff(Handoff { from: node.id(), ..handoff }).sign(&attacker.key);
    for record in [last, accept, foreign] {
        let body = Tidings { agent, records: vec![record] }.encode();
        let told = attacker.network.request(attacker.victim, Request::Tell { body }).await;
        assert!(matches!(told, Err(Error::Refused { why: Why::NotAllowed, .. })), "{told:?}");
    }
    scene.until_metric("igor_custody_told_refused_total", 3).await;
    until_logged(&[&agent.to_string(), "custody is refused"]).await;
    assert!(scene.host.runs(agent));
    node.close().await;
    scene.end("records that are told").await;
}
