//! Nodes to which an agent is moved, and that answer what they like.

use super::{
    forge::record,
    scene::{Attacker, Scene, Talk, until},
};
use futures_util::future::BoxFuture;
use igor_network::{Event, Handler, Request, Response, Stream, Why};
use igor_protocol::{
    Chain, Commit, Entry, Hash, KeyPair, NodeId,
    entry::{Accept, Body, Decline, Phase, Place},
    transfer::{Frame, Offer, Welcome},
};

/// What a target does.
#[derive(Clone, Copy)]
enum Lie {
    /// It says that it has another history.
    OtherHistory,
    /// It answers an offer with what is no answer.
    NoAnswer,
    /// An accept that somebody else signed.
    ForgedAccept,
    /// A decline that somebody else signed.
    ForgedDecline,
}

struct Target(Lie);

impl Handler for Target {
    fn answer(&self, _: NodeId, _: Request) -> BoxFuture<'_, Result<Response, Why>> {
        Box::pin(async { Err(Why::NotAllowed) })
    }

    fn transfer(&self, _: NodeId, stream: Stream) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut talk = Talk(stream);
            let Some(Frame::Offer(offer)) = talk.hear().await else { return };
            answer(self.0, &offer, &mut talk).await;
            // Until the other side has seen it.
            while talk.hear().await.is_some() {}
        })
    }

    fn notice(&self, _: Event) {}
}

/// What it would say if it were honest and had nothing.
fn welcome(offer: &Offer) -> Welcome {
    let Chain { next, head, .. } = Chain::begin(offer.agent());
    Welcome { terms: offer.genesis.body.terms, next, head, has_program: true }
}

async fn answer(lie: Lie, offer: &Offer, talk: &mut Talk) {
    match lie {
        Lie::OtherHistory => {
            talk.send(Frame::Welcome(Welcome { next: offer.next, head: Hash([7; 32]), ..welcome(offer) })).await;
            return;
        }
        Lie::NoAnswer => {
            talk.send(Frame::Answered).await;
            return;
        }
        Lie::ForgedAccept | Lie::ForgedDecline => talk.send(Frame::Welcome(welcome(offer))).await,
    };
    let mut last = None;
    let given = loop {
        match talk.hear().await {
            Some(Frame::Reached(next)) => drop(talk.send(Frame::Have(next)).await),
            Some(Frame::Commit(commit)) => last = Some(commit),
            Some(Frame::Last(_)) => break record(&last.expect("a commit")).given().expect("it ends with the handoff"),
            Some(_) => {}
            None => return,
        }
    };
    let somebody = KeyPair::from_seed(&[99; 32]);
    let at = given.handoff.place.at;
    let frame = if matches!(lie, Lie::ForgedAccept) {
        let Chain { next: seq, head: prev, .. } = given.end();
        let place = Place { seq, prev, ..given.handoff.place };
        let accept = Phase::Accept(Accept { place, given }).sign(&somebody);
        Frame::Accepted(Commit::new(place.chain(), [&Entry { at, body: Body::Custody(accept) }]))
    } else {
        Frame::Declined(Box::new(Phase::Decline(Decline { given, at }).sign(&somebody)))
    };
    talk.send(frame).await;
}

/// Gives an agent of the node to a target that lies so. Gives the agent, and why it did not move.
async fn given(scene: &Scene, name: &str, seed: u8, lie: Lie) -> (igor_protocol::AgentId, String) {
    let host = &scene.host;
    let target = Attacker::with(KeyPair::from_seed(&[seed; 32]), host, Target(lie)).await;
    let agent = host.agent(name).await;
    let to = target.key.public();
    until("they are connected", || host.network.peers().iter().any(|peer| peer.node == to && peer.connected)).await;
    let failed = host.running.node.give(agent, to, |_| ()).await.expect_err("nobody took it");
    (agent, failed.to_string())
}

/// Before the handoff nothing that the target says matters: the agent goes on.
pub(crate) async fn that_welcome_what_they_do_not_want() {
    let scene = Scene::begin(&[], "").await;
    for (name, seed, lie) in [("one", 31, Lie::OtherHistory), ("two", 32, Lie::NoAnswer)] {
        let (agent, why) = given(&scene, name, seed, lie).await;
        println!("{why}");
        assert!(scene.host.runs(agent));
        let tick = scene.host.running.node.life(agent).expect("it lives").info().tick.0;
        scene.host.ticked(agent, tick + 2).await;
        scene.host.running.node.life(agent).expect("it lives").stop().await;
    }
    scene.until_metric("igor_moves_out_total{outcome=\"failed\"}", 2).await;
    scene.end("targets that do not want it").await;
}

/// After it only the word of the node that was named counts: no other makes it run elsewhere, or here.
pub(crate) async fn that_answer_for_somebody_else() {
    let scene = Scene::begin(&[], "").await;
    for (name, seed, lie) in [("one", 31, Lie::ForgedAccept), ("two", 32, Lie::ForgedDecline)] {
        let (agent, why) = given(&scene, name, seed, lie).await;
        println!("{why}");
        assert!(why.contains("signature"), "{why}");
        let book = scene.host.running.node.book(agent).unwrap();
        assert!(!scene.host.runs(agent) && book.is_given(), "the handoff stands");
    }
    scene.until_metric("igor_moves_out_total{outcome=\"failed\"}", 2).await;
    scene.end("targets that answer for somebody else").await;
}
