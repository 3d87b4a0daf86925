//! One frame of a transfer of every kind.

use super::{HOST_TERMS, agent, commits, custody, genesis};
use igor_protocol::{
    Epoch, Hash, Manifest, Nanos, Seq, Tick, archive,
    transfer::{Begun, Frame, Manner, Offer, Reason, Refusal, Same, Welcome},
};

pub(crate) fn all() -> Vec<Frame> {
    let part = archive::parts(Hash::of_blob(b"a blob"), b"a blob").next().expect("one part");
    let commit = commits().swap_remove(0).1;
    let offer = Offer {
        genesis: genesis(),
        manifest: Manifest::default(),
        epoch: Epoch { term: 0, n: 1 },
        next: Seq(301),
        state_bytes: 1 << 20,
        records: vec![custody::handoff()],
        given: true,
        runtime: Some("a runtime".into()),
    };
    assert_eq!(offer.agent(), agent());
    let (state, base) = (Hash::of_blob(b"a state"), Hash::of_blob(b"an earlier state"));
    let welcome = Welcome {
        terms: HOST_TERMS,
        next: Seq(17),
        head: Hash::of_blob(b"the head before 17"),
        has_program: true,
        state: Some(base),
        wants: Some(state),
        begun: Some(Begun { hash: state, bytes: 4096 }),
        runtime: "a runtime".to_owned(),
    };
    let same = Same { hash: state, total: 12_288, offset: 4096, bytes: 8192, base };
    vec![
        Frame::Offer(Box::new(offer)),
        Frame::Welcome(welcome),
        Frame::Refused(Refusal::new(Reason::Capacity, "no room")),
        Frame::Differs,
        Frame::Part(part),
        Frame::Same(same),
        Frame::Commit(commit.clone()),
        Frame::Reached(Seq(300)),
        Frame::Have(Seq(300)),
        Frame::Last(Manner::default()),
        Frame::Last(Manner {
            paused: true,
            interval: Some(Nanos(5)),
            checkpoint_interval: Some(Nanos(7)),
            stopped: true,
            forgiven: Some(Tick(9)),
        }),
        Frame::Answered,
        Frame::Accepted(commit),
        Frame::Declined(Box::new(custody::decline())),
    ]
}
