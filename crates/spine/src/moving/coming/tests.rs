//! What is left after cuts is bounded in bytes and in time, one for each agent.

use super::{Arrivals, Coming, LEFT_BYTES_MAX, LEFT_FOR, MEMORY_BYTES_MAX, TRUST_BYTES};
use igor_protocol::{
    AgentId, Hash, Nanos,
    archive::Part,
    transfer::{Begun, Same},
};

fn agent(byte: u8) -> AgentId {
    AgentId(Hash([byte; 32]))
}

fn begun(hash: u8, bytes: usize) -> Coming {
    let mut coming = Coming::begin(Hash([hash; 32]), 1 << 30, None);
    let part = Part { hash: Hash([hash; 32]), total: 1 << 30, offset: 0, bytes: vec![hash; bytes] };
    assert!(coming.is_next(part.hash, part.total, part.offset));
    coming.part(&part);
    coming
}

#[test]
fn what_is_left_is_bounded() {
    let left = Arrivals::default();
    for byte in 0..100 {
        left.keep(agent(byte), Nanos(1), begun(byte, TRUST_BYTES));
    }
    let kept = (0..100).filter(|byte| left.take(agent(*byte), Nanos(1)).is_some()).collect::<Vec<_>>();
    let most = u8::try_from(LEFT_BYTES_MAX / TRUST_BYTES).expect("few");
    assert_eq!(kept, (100 - most..100).collect::<Vec<_>>(), "the newest");
    // One that is larger than all that may be left is not.
    left.keep(agent(1), Nanos(1), begun(1, LEFT_BYTES_MAX + 1));
    assert_eq!(left.take(agent(1), Nanos(1)), None);
    // An agent has one, and not for ever.
    left.keep(agent(1), Nanos(1), begun(1, 10));
    left.keep(agent(1), Nanos(2), begun(2, 20));
    let newest = left.take(agent(1), Nanos(3)).map(|coming| coming.begun());
    assert_eq!(newest, Some(Begun { hash: Hash([2; 32]), bytes: 20 }));
    assert_eq!(left.take(agent(1), Nanos(3)), None);
    left.keep(agent(1), Nanos(1), begun(1, 10));
    assert_eq!(left.take(agent(1), Nanos(1).saturating_add(LEFT_FOR)), None);
}

#[test]
fn a_blob_is_whole_when_its_hash_says_so() {
    let earlier = [1, 2, 3, 4, 5];
    let state = [9, 2, 3, 4];
    let (hash, base) = (Hash::of_blob(&state), Hash::of_blob(&earlier));
    let first = Part { hash, total: 4, offset: 0, bytes: vec![9] };
    let rest = Same { hash, total: 4, offset: 1, bytes: 3, base };
    let mut coming = Coming::begin(hash, 4, Some(base));
    coming.part(&first);
    assert!(!coming.is_whole() && coming.is_next(hash, 4, 1) && !coming.is_next(hash, 4, 0));
    assert!(!coming.same(&Same { bytes: 5, ..rest }, &earlier), "outside of the earlier one");
    assert!(coming.same(&rest, &earlier) && coming.is_whole());
    assert_eq!(coming.base(), Some(base));
    assert_eq!(coming.finish(), Some((hash, state.to_vec())));
    let mut wrong = Coming::begin(hash, 4, Some(base));
    wrong.part(&Part { bytes: vec![9, 9, 9, 9], ..first });
    assert!(wrong.is_whole());
    assert_eq!(wrong.finish(), None);
}

#[test]
fn all_that_comes_in_weighs_at_most_so_much() {
    let arrivals = Arrivals::default();
    let (mut one, mut two) = (arrivals.weight(), arrivals.weight());
    assert!(one.set(MEMORY_BYTES_MAX - 10) && two.set(10));
    assert!(!two.set(11), "there is no more room");
    assert!(one.set(5), "less is always right");
    assert!(two.set(MEMORY_BYTES_MAX - 5));
    drop(two);
    assert!(one.set(MEMORY_BYTES_MAX), "what is gone weighs nothing");
}
