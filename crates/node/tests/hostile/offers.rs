//! Offers that lead nowhere, or to something else than they say.

use super::{
    forge::{Past, fresh, record},
    scene::{Attacker, Place, Real, Scene, Talk, until_logged},
};
use igor_network::limits::TRANSFERS_PER_PEER;
use igor_node::RealWorld;
use igor_protocol::{
    Hash, KeyPair, Terms,
    archive::Part,
    entry::Phase,
    transfer::{Frame, Reason, Welcome},
};
use igor_spine::World;

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// What the node answers to an offer that it would take.
async fn welcomed(talk: &mut Talk) -> Welcome {
    match talk.hear().await {
        Some(Frame::Welcome(welcome)) => welcome,
        other => panic!("no welcome: {other:?}"),
    }
}

async fn offer(attacker: &Attacker, past: &Past) -> (Talk, Welcome) {
    let mut talk = attacker.say(Frame::Offer(Box::new(past.offer(vec![], false)))).await;
    let welcome = welcomed(&mut talk).await;
    (talk, welcome)
}

/// Silence at each phase, by nodes that may bring agents: each is cut off, and others are taken meanwhile.
pub(crate) async fn that_never_finish() {
    let honest = Place::new();
    let keys = [key(21), key(22), key(23)];
    let nodes: Vec<_> = keys.iter().map(KeyPair::public).chain([honest.id()]).collect();
    let scene = Scene::begin(&nodes, "").await;
    let honest = Real::start(honest, &[&scene.host], &[], "").await;
    let moving = honest.agent("moving").await;
    let pasts: Vec<_> = keys.iter().flat_map(|key| [1, 2].map(|nonce| fresh(9, nonce, key))).collect();
    let mut attackers = vec![];
    for key in keys {
        attackers.push(Attacker::of(key, &scene.host).await);
    }

    // Nothing at all; an offer.
    let mut held = vec![attackers[0].open().await];
    held.push(offer(&attackers[0], &pasts[1]).await.0);
    // The program; a journal that goes ahead and no more.
    let (mut talk, welcome) = offer(&attackers[1], &pasts[2]).await;
    pasts[2].first(0).ship(&mut talk, &welcome).await;
    held.push(talk);
    let (mut talk, welcome) = offer(&attackers[1], &pasts[3]).await;
    pasts[3].ship(&mut talk, &welcome).await;
    talk.send(Frame::Reached(pasts[3].end().next)).await;
    assert!(matches!(talk.hear().await, Some(Frame::Have(next)) if next == pasts[3].end().next));
    held.push(talk);
    // A handoff, and not the word that it was all.
    let (mut talk, welcome) = offer(&attackers[2], &pasts[4]).await;
    pasts[4].ship(&mut talk, &welcome).await;
    let handoff = pasts[4].handoff(&attackers[2].key, scene.host.id(), welcome.terms, |_, _| ());
    talk.send(Frame::Commit(handoff)).await;
    held.push(talk);
    held.push(offer(&attackers[2], &pasts[5]).await.0);

    // Each has so many places and no more.
    for attacker in &attackers {
        for _ in 2..TRANSFERS_PER_PEER {
            held.push(attacker.open().await);
        }
        let mut more = attacker.open().await;
        more.send(Frame::Offer(Box::new(pasts[0].offer(vec![], false)))).await;
        assert_eq!(more.hear().await, None, "one more is cut");
    }
    scene.until_metric("igor_network_refused_total{reason=\"transfers\"}", 3).await;
    // An honest node's agent comes in all the same.
    honest.give(moving, &scene.host).await;
    // And they come to an end.
    scene.until_metric("igor_network_refused_total{reason=\"slow\"}", held.len() as u64).await;
    scene.until_metric("igor_moves_in_total{outcome=\"broken_off\"}", held.len() as u64).await;
    until_logged(&["reason=\"slow\""]).await;
    let here: Vec<_> = pasts.iter().filter(|past| scene.host.has_journal(past.agent)).map(|past| past.agent).collect();
    assert!(here.iter().all(|agent| [pasts[3].agent, pasts[4].agent].contains(agent)), "{here:?}");
    assert!(pasts.iter().all(|past| !scene.host.runs(past.agent)));
    honest.close().await;
    scene.end("handoffs that never finish").await;
}

pub(crate) async fn of_strangers_leave_nothing() {
    const OFFERS: u64 = 64;
    let scene = Scene::begin(&[], "").await;
    let stranger = Attacker::of(key(21), &scene.host).await;
    for nonce in 0..OFFERS {
        let past = fresh(9, nonce, &stranger.key);
        let mut talk = stranger.say(Frame::Offer(Box::new(past.offer(vec![], false)))).await;
        let why = talk.refused(Reason::Policy).await;
        assert!(why.contains("policy.nodes"), "{why}");
        assert!(!scene.host.has_journal(past.agent));
        if nonce == 0 {
            scene.until_refused(past.agent, Reason::Policy, "policy.nodes").await;
        }
    }
    scene.until_metric("igor_moves_in_refused_total{reason=\"policy\"}", OFFERS).await;
    scene.end("offers of strangers").await;
}

/// By a node that may bring agents, of agents that it never had.
pub(crate) async fn of_an_agent_that_is_somebody_elses() {
    let scene = Scene::begin(&[key(21).public()], "").await;
    let attacker = Attacker::of(key(21), &scene.host).await;
    let theirs = fresh(9, 1, &key(22));
    let mut talk = attacker.say(Frame::Offer(Box::new(theirs.offer(vec![], false)))).await;
    let why = talk.refused(Reason::History).await;
    assert!(why.contains("has the agent"), "{why}");
    // With what shows that the attacker has another one.
    let own = fresh(9, 2, &attacker.key);
    let terms = Terms { price_per_ns: 1, price_per_fuel: 0 };
    let handoff = record(&own.handoff(&attacker.key, scene.host.id(), terms, |_, _| ()));
    let mut talk = attacker.say(Frame::Offer(Box::new(theirs.offer(vec![handoff.clone()], true)))).await;
    let why = talk.refused(Reason::History).await;
    assert!(why.contains("another agent"), "{why}");
    // With a manifest that allows more than the owner signed.
    let mut greedy = own.offer(vec![], false);
    greedy.manifest.limits.memory_bytes += 1;
    let mut talk = attacker.say(Frame::Offer(Box::new(greedy))).await;
    let why = talk.refused(Reason::History).await;
    assert!(why.contains("manifest"), "{why}");
    // With more records than there are to show.
    let mut talk = attacker.say(Frame::Offer(Box::new(own.offer(vec![handoff; 5], true)))).await;
    assert_eq!(talk.hear().await, None, "that is no offer");
    // In its own name, the journal of another agent.
    let (mut talk, welcome) = offer(&attacker, &own).await;
    theirs.ship(&mut talk, &welcome).await;
    talk.send(Frame::Reached(theirs.end().next)).await;
    talk.refused(Reason::History).await;
    for past in [&own, &theirs] {
        assert!(!scene.host.has_journal(past.agent) && !scene.host.runs(past.agent));
    }
    scene.until_refused(theirs.agent, Reason::History, "has the agent").await;
    scene.end("somebody else's agent").await;
}

/// It says little and sends much: what is kept is what the operator gives one agent.
pub(crate) async fn that_lie_about_size() {
    const QUOTA_BYTES: u64 = 4 << 20;
    const BLOB_BYTES: usize = 200 << 10;
    let rest = format!("[admission]\nstored_bytes_per_agent = {QUOTA_BYTES}\n");
    let scene = Scene::begin(&[key(21).public()], &rest).await;
    let attacker = Attacker::of(key(21), &scene.host).await;
    let past = fresh(9, 1, &attacker.key);
    let (mut talk, _) = offer(&attacker, &past).await;
    // Up to a thousand different blobs, each small enough.
    for n in 0..1000_u64 {
        let mut bytes = vec![7; BLOB_BYTES];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let (hash, total) = (Hash::of_blob(&bytes), bytes.len() as u64);
        if !talk.send(Frame::Part(Part { hash, total, offset: 0, bytes })).await {
            break;
        }
    }
    let why = talk.refused(Reason::Capacity).await;
    println!("{why}");
    // The honest agent has segments of the log of its own.
    let grown = scene.grown_bytes();
    assert!(grown < QUOTA_BYTES + (96 << 20), "{grown} bytes were kept");
    assert!(!scene.host.has_journal(past.agent));
    scene.until_refused(past.agent, Reason::Capacity, "bytes").await;
    scene.end("an offer that lies about size").await;
}

pub(crate) async fn with_a_forged_signature() {
    let scene = Scene::begin(&[key(21).public()], "").await;
    let attacker = Attacker::of(key(21), &scene.host).await;
    // Of an agent that another node has, in that node's name.
    let past = fresh(9, 1, &key(22));
    let terms = Terms { price_per_ns: 1_000_000, price_per_fuel: 0 };
    let forged = record(&past.handoff(&attacker.key, scene.host.id(), terms, |_, _| ()));
    let mut talk = attacker.say(Frame::Offer(Box::new(past.offer(vec![forged], true)))).await;
    let why = talk.refused(Reason::History).await;
    assert!(why.contains("signature"), "{why}");
    // And a Genesis that the owner did not sign.
    let mut offer = past.offer(vec![], false);
    offer.genesis.body.name = "mine".into();
    let agent = offer.agent();
    let mut talk = attacker.say(Frame::Offer(Box::new(offer))).await;
    talk.refused(Reason::History).await;
    scene.until_refused(agent, Reason::History, "Genesis is not signed").await;
    scene.until_refused(past.agent, Reason::History, "signature").await;
    assert!(!scene.host.has_journal(past.agent) && !scene.host.has_journal(agent));
    scene.end("forged handoffs").await;
}

/// By a node that may bring agents and had this one once: it holds the agent's place here, and asks for it again and again.
pub(crate) async fn that_keep_out_who_has_it_now() {
    let scene = Scene::begin(&[key(21).public(), key(22).public()], "").await;
    let (before, now) = (Attacker::of(key(21), &scene.host).await, Attacker::of(key(22), &scene.host).await);
    let past = fresh(9, 1, &before.key);
    let terms = Terms { price_per_ns: 1, price_per_fuel: 0 };
    let handoff = past.handoff(&before.key, now.key.public(), terms, |_, _| ());
    let given = past.with(handoff.clone());
    let accept = given.book().held().accept(RealWorld.wall_clock()).unwrap().sign(&now.key);

    let (mut held, _) = offer(&before, &past).await;
    let mut talk = now.say(Frame::Offer(Box::new(given.offer(vec![accept], false)))).await;
    welcomed(&mut talk).await;
    let why = held.refused(Reason::Busy).await;
    assert!(why.contains("later custody"), "{why}");
    // Neither does a stranger come in between, whatever it signs: anybody can make a key and a record of a late epoch.
    let stranger = Attacker::of(key(23), &scene.host).await;
    let forged = past.handoff(&stranger.key, scene.host.id(), terms, |phase, me| {
        if let Phase::Handoff(handoff) = phase {
            (handoff.from, handoff.place.epoch.n) = (me, 1 << 40);
        }
    });
    let mut forging = stranger.say(Frame::Offer(Box::new(past.offer(vec![record(&forged)], true)))).await;
    forging.refused(Reason::Busy).await;
    // Nor does it, whatever it signs.
    let second = record(&past.handoff(&before.key, scene.host.id(), terms, |_, _| ()));
    for (records, given) in [(vec![], false), (vec![second], true)] {
        let mut again = before.say(Frame::Offer(Box::new(past.offer(records, given)))).await;
        again.refused(Reason::Busy).await;
    }
    // What it gave away is not its to offer.
    let mut again = before.say(Frame::Offer(Box::new(given.offer(vec![record(&handoff)], false)))).await;
    let why = again.refused(Reason::History).await;
    assert!(why.contains("gave the agent away"), "{why}");
    drop(talk);
    scene.end("offers that keep out who has the agent now").await;
}
