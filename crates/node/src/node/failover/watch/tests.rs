//! Who is silent, for how long, and who is believed.

use super::*;
use igor_protocol::{Hash, KeyPair};

const AFTER: Duration = Duration::from_millis(800);

fn agent() -> AgentId {
    AgentId(Hash([7; 32]))
}

fn node(seed: u8) -> NodeId {
    KeyPair::from_seed(&[seed; 32]).public()
}

fn beat(n: u64, next: u64) -> Beat {
    Beat { agent: agent(), epoch: Epoch { term: 0, n }, next: Seq(next) }
}

fn found(of: NodeId, n: u64, read: u64) -> Following {
    Following { node: of, epoch: Epoch { term: 0, n }, read: Seq(read), after: AFTER }
}

/// One that node 1 has in epoch 3, read to entry 10, heard of at `now`.
fn followed(now: Instant) -> Watched {
    let watched = Watched::default();
    assert!(watched.hear(node(1), &beat(3, 10), now));
    watched.read(agent(), found(node(1), 3, 10), now);
    watched
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn silence_counts_from_the_last_sign_of_life() {
    let now = Instant::now();
    let watched = followed(now);
    assert!(watched.silent(now + AFTER).is_empty());
    assert!(!watched.hear(node(1), &beat(3, 10), now + ms(700)), "nothing new");
    assert!(watched.silent(now + ms(1500)).is_empty());
    assert_eq!(watched.silent(now + ms(1501)), [(agent(), node(1), Epoch { term: 0, n: 3 })]);
    assert!(watched.silent(now + ms(1600)).is_empty(), "somebody looks after it");
}

#[test]
fn only_who_has_it_gives_a_sign_of_life() {
    let now = Instant::now();
    let watched = followed(now);
    // Somebody else, in a later epoch: a reason to read on.
    assert!(watched.hear(node(9), &beat(u64::MAX, u64::MAX), now + ms(700)));
    watched.read(agent(), found(node(1), 3, 10), now + ms(710));
    assert!(!watched.hear(node(9), &beat(u64::MAX, u64::MAX), now + ms(720)), "not again at once");
    assert_eq!(watched.silent(now + ms(801)).len(), 1, "and nobody is kept from going on with it");
}

#[test]
fn what_an_earlier_stay_says_is_no_sign_of_life() {
    let now = Instant::now();
    let watched = followed(now);
    assert!(!watched.hear(node(1), &beat(1, 99), now + ms(700)));
    assert_eq!(watched.silent(now + ms(801)).len(), 1);
}

#[test]
fn who_has_it_since_has_time_to_say_so() {
    let now = Instant::now();
    let watched = followed(now);
    assert!(watched.hear(node(2), &beat(4, 12), now + ms(700)));
    watched.read(agent(), found(node(2), 4, 12), now + ms(750));
    assert!(watched.silent(now + ms(1550)).is_empty());
    assert_eq!(watched.silent(now + ms(1551)), [(agent(), node(2), Epoch { term: 0, n: 4 })]);
    watched.gone_on(agent(), node(3), Epoch { term: 0, n: 5 }, now + ms(1600));
    assert!(watched.silent(now + ms(2400)).is_empty());
}

#[test]
fn what_failed_is_tried_again_later_and_longer() {
    let now = Instant::now();
    let watched = followed(now);
    assert!(watched.hear(node(1), &beat(3, 11), now));
    watched.failed(agent(), false, now);
    assert!(!watched.hear(node(1), &beat(3, 11), now + ms(499)));
    assert!(watched.hear(node(1), &beat(3, 11), now + ms(500)), "also where nothing is new");
    watched.failed(agent(), false, now + ms(500));
    assert!(!watched.hear(node(1), &beat(3, 11), now + ms(1499)));
    assert_eq!(watched.after(agent()), Some(AFTER), "what was read before still counts");
    watched.failed(agent(), true, now + ms(1500));
    assert_eq!(watched.after(agent()), None);
    assert!(watched.silent(now + Duration::from_hours(1)).is_empty(), "who would not go on with it does not");
}

#[test]
fn time_in_which_nobody_could_be_heard_is_no_silence() {
    let now = Instant::now();
    let watched = followed(now);
    watched.begin_anew(now + ms(5000));
    assert!(watched.silent(now + ms(5800)).is_empty());
    assert_eq!(watched.silent(now + ms(5801)).len(), 1);
}

#[test]
fn those_that_were_followed_before_have_a_while() {
    let now = Instant::now();
    let watched = Watched::default();
    assert!(watched.remember(agent(), node(1), Epoch { term: 0, n: 3 }, now + ms(5000)));
    watched.read(agent(), found(node(1), 3, 10), now);
    assert!(watched.silent(now + ms(5800)).is_empty());
    assert_eq!(watched.silent(now + ms(5801)).len(), 1);
}

#[test]
fn a_full_table_forgets_whom_nobody_stands_by_for() {
    let now = Instant::now();
    let watched = followed(now);
    let stranger = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        Beat { agent: AgentId(Hash(id)), ..beat(1, 1) }
    };
    for n in 0..5000 {
        let one = stranger(n);
        if watched.hear(node(9), &one, now) {
            watched.failed(one.agent, true, now);
        }
    }
    assert!(!watched.hear(node(9), &stranger(9999), now), "it is full");
    assert!(watched.hear(node(9), &stranger(9999), now + FORGOTTEN_AFTER));
    assert_eq!(watched.after(agent()), Some(AFTER));
}
