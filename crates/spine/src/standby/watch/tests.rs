//! Who is silent, for how long, and who is believed.

use super::*;
use igor_protocol::{Hash, KeyPair};

const AFTER: Nanos = Nanos::from_millis(800);

fn agent() -> AgentId {
    AgentId(Hash([7; 32]))
}

fn node(seed: u8) -> NodeId {
    KeyPair::from_seed(&[seed; 32]).public()
}

fn pulse(n: u64, next: u64) -> Pulse {
    Pulse { agent: agent(), epoch: Epoch { term: 0, n }, next: Seq(next) }
}

fn found(of: NodeId, n: u64, read: u64) -> Following {
    Following { node: of, epoch: Epoch { term: 0, n }, read: Seq(read), after: AFTER }
}

/// One that node 1 has in epoch 3, read to entry 10, heard of at `now`.
fn followed(now: Nanos) -> Watched {
    let watched = Watched::default();
    assert!(watched.hear(node(1), &pulse(3, 10), false, now));
    watched.read(agent(), found(node(1), 3, 10), now);
    watched
}

fn ms(millis: u64) -> Nanos {
    Nanos::from_millis(millis)
}

#[test]
fn silence_counts_from_the_last_sign_of_life() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert!(watched.silent(now.saturating_add(AFTER)).is_empty());
    assert!(!watched.hear(node(1), &pulse(3, 10), false, now.saturating_add(ms(700))), "nothing new");
    assert!(watched.silent(now.saturating_add(ms(1500))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(1501))), [(agent(), node(1), Epoch { term: 0, n: 3 })]);
    assert!(watched.silent(now.saturating_add(ms(1600))).is_empty(), "somebody looks after it");
}

#[test]
fn only_who_has_it_gives_a_sign_of_life() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    // Somebody else, in a later epoch: a reason to read on.
    assert!(watched.hear(node(9), &pulse(u64::MAX, u64::MAX), false, now.saturating_add(ms(700))));
    watched.read(agent(), found(node(1), 3, 10), now.saturating_add(ms(710)));
    assert!(
        !watched.hear(node(9), &pulse(u64::MAX, u64::MAX), false, now.saturating_add(ms(720))),
        "not again at once"
    );
    assert_eq!(watched.silent(now.saturating_add(ms(801))).len(), 1, "and nobody is kept from going on with it");
}

#[test]
fn what_an_earlier_stay_says_is_no_sign_of_life() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert!(!watched.hear(node(1), &pulse(1, 99), false, now.saturating_add(ms(700))));
    assert_eq!(watched.silent(now.saturating_add(ms(801))).len(), 1);
}

#[test]
fn who_has_it_since_has_time_to_say_so() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert!(watched.hear(node(2), &pulse(4, 12), false, now.saturating_add(ms(700))));
    watched.read(agent(), found(node(2), 4, 12), now.saturating_add(ms(750)));
    assert!(watched.silent(now.saturating_add(ms(1550))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(1551))), [(agent(), node(2), Epoch { term: 0, n: 4 })]);
    watched.gone_on(agent(), node(3), Epoch { term: 0, n: 5 }, now.saturating_add(ms(1600)));
    assert!(watched.silent(now.saturating_add(ms(2400))).is_empty());
}

#[test]
fn who_has_it_again_has_time_to_say_so_too() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    // It went to node 2 and came back before its journal was read on.
    assert!(watched.hear(node(2), &pulse(4, 12), false, now.saturating_add(ms(750))));
    watched.read(agent(), found(node(1), 5, 14), now.saturating_add(ms(900)));
    assert!(watched.silent(now.saturating_add(ms(1700))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(1701))), [(agent(), node(1), Epoch { term: 0, n: 5 })]);
}

#[test]
fn what_failed_is_tried_again_later_and_longer() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert!(watched.hear(node(1), &pulse(3, 11), false, now));
    watched.failed(agent(), false, now);
    assert!(!watched.hear(node(1), &pulse(3, 11), false, now.saturating_add(ms(499))));
    assert!(watched.hear(node(1), &pulse(3, 11), false, now.saturating_add(ms(500))), "also where nothing is new");
    watched.failed(agent(), false, now.saturating_add(ms(500)));
    assert!(!watched.hear(node(1), &pulse(3, 11), false, now.saturating_add(ms(1499))));
    assert_eq!(watched.after(agent()), Some(AFTER), "what was read before still counts");
    watched.failed(agent(), true, now.saturating_add(ms(1500)));
    assert_eq!(watched.after(agent()), None);
    assert!(
        watched.silent(now.saturating_add(Nanos::from_secs(3600))).is_empty(),
        "who would not go on with it does not"
    );
}

#[test]
fn what_is_refused_is_read_again_after_long_pauses() {
    let now = Nanos::from_secs(7);
    let minutes = |minutes: u64| now.saturating_add(Nanos::from_secs(60 * minutes));
    let watched = followed(now);
    assert!(watched.hear(node(1), &pulse(3, 11), false, now));
    watched.failed(agent(), false, now);
    assert!(watched.hear(node(1), &pulse(3, 11), false, minutes(1)));
    watched.failed(agent(), true, minutes(1));
    assert!(!watched.hear(node(1), &pulse(3, 12), false, minutes(10)));
    assert!(watched.hear(node(1), &pulse(3, 12), false, minutes(11)));
    watched.failed(agent(), true, minutes(11));
    assert!(!watched.hear(node(1), &pulse(3, 13), false, minutes(30)));
    assert!(watched.hear(node(1), &pulse(3, 13), false, minutes(31)));
    for _ in 0..20 {
        watched.failed(agent(), true, minutes(31));
    }
    assert!(watched.hear(node(1), &pulse(3, 14), false, minutes(31 + 6 * 60)), "but not for longer than that");
    watched.read(agent(), found(node(1), 3, 14), minutes(400));
    assert!(watched.hear(node(1), &pulse(3, 15), false, minutes(400)));
    watched.failed(agent(), true, minutes(400));
    assert!(watched.hear(node(1), &pulse(3, 15), false, minutes(410)), "what was read begins anew");
}

#[test]
fn a_refusal_is_looked_at_again_soon_where_somebody_else_has_it() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    watched.failed(agent(), true, now);
    assert!(!watched.hear(node(2), &pulse(4, 12), false, now.saturating_add(ms(1000))));
    assert!(
        !watched.hear(node(2), &pulse(5, 12), false, now.saturating_add(ms(30_999))),
        "later epochs do not put it off"
    );
    assert!(watched.hear(node(2), &pulse(5, 12), false, now.saturating_add(ms(31_000))));
    watched.failed(agent(), true, now.saturating_add(ms(31_000)));
    assert!(!watched.hear(node(2), &pulse(5, 13), false, now.saturating_add(ms(100_000))), "that is no news any more");
}

#[test]
fn who_is_silent_and_only_read_is_not_looked_at_over_and_over() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert_eq!(watched.silent(now.saturating_add(ms(801))).len(), 1);
    watched.read(agent(), found(node(1), 3, 10), now.saturating_add(ms(900)));
    assert!(watched.silent(now.saturating_add(ms(1899))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(1900))).len(), 1);
    watched.read(agent(), found(node(1), 3, 11), now.saturating_add(ms(2000)));
    assert_eq!(watched.silent(now.saturating_add(ms(2000))).len(), 1, "what was new keeps nobody waiting");
}

#[test]
fn what_rests_is_left_alone_until_something_is_said_of_it() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert_eq!(watched.silent(now.saturating_add(ms(801))).len(), 1);
    watched.rests(agent(), now.saturating_add(ms(900)));
    assert_eq!(watched.after(agent()), None);
    assert!(watched.silent(now.saturating_add(Nanos::from_secs(3600))).is_empty());
    assert!(!watched.hear(node(1), &pulse(3, 11), false, now.saturating_add(ms(1399))));
    assert!(watched.hear(node(1), &pulse(3, 11), false, now.saturating_add(ms(1400))));
    watched.read(agent(), found(node(1), 3, 11), now.saturating_add(ms(1500)));
    assert_eq!(watched.after(agent()), Some(AFTER));
}

#[test]
fn a_fence_is_tried_again_soon_and_another_custodian_read_on_later() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    watched.gone_on(agent(), node(1), Epoch { term: 0, n: 3 }, now);
    assert!(watched.hear(node(1), &pulse(3, 11), false, now), "nothing has changed");
    watched.gone_on(agent(), node(2), Epoch { term: 0, n: 4 }, now);
    assert!(!watched.hear(node(2), &pulse(4, 12), false, now.saturating_add(ms(499))));
    assert!(watched.hear(node(2), &pulse(4, 12), false, now.saturating_add(ms(500))));
}

#[test]
fn what_took_too_long_to_decide_is_not_decided() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    let still = |begun, at| watched.is_still_silent(agent(), now.saturating_add(ms(begun)), now.saturating_add(ms(at)));
    assert!(!still(0, 800) && still(801, 801) && still(801, 2800) && !still(801, 2801));
}

#[test]
fn time_in_which_nobody_could_be_heard_is_no_silence() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    watched.begin_anew(now.saturating_add(ms(5000)));
    assert!(watched.silent(now.saturating_add(ms(5800))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(5801))).len(), 1);
}

#[test]
fn those_that_were_followed_before_have_a_while() {
    let now = Nanos::from_secs(7);
    let watched = Watched::default();
    assert!(watched.remember(agent(), node(1), Epoch { term: 0, n: 3 }, now));
    watched.read(agent(), found(node(1), 3, 10), now);
    assert!(watched.silent(now.saturating_add(ms(5800))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(5801))).len(), 1);
}

#[test]
fn who_has_said_something_has_no_such_while() {
    let now = Nanos::from_secs(7);
    let watched = Watched::default();
    assert!(watched.remember(agent(), node(1), Epoch { term: 0, n: 3 }, now));
    watched.read(agent(), found(node(1), 3, 10), now);
    assert!(!watched.hear(node(1), &pulse(3, 10), false, now.saturating_add(ms(100))));
    assert!(watched.silent(now.saturating_add(ms(900))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(901))).len(), 1);
}

#[test]
fn who_is_about_to_be_silent_for_too_long_is_read_to_the_end_once() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    let at = |millis| now.saturating_add(ms(millis));
    assert_eq!(watched.suspect(at(550)), None);
    assert_eq!(watched.suspect(at(551)), Some(agent()));
    assert!(watched.silent(at(900)).is_empty(), "that is not over");
    watched.read(agent(), found(node(1), 3, 12), at(910));
    assert_eq!(watched.suspect(at(910)), None, "it is silent");
    assert_eq!(watched.silent(at(910)).len(), 1, "nor does it put that off");
    watched.gone_on(agent(), node(1), Epoch { term: 0, n: 3 }, at(920));
    assert_eq!(watched.suspect(at(1471)), Some(agent()), "after another sign of life");
    assert_eq!(watched.until(agent()), None);
    watched.read(agent(), found(node(1), 3, 12), at(1480));
    assert_eq!(watched.suspect(at(1600)), None, "once");
    assert_eq!(watched.silent(at(1721)).len(), 1, "also where nothing was new");
}

#[test]
fn who_goes_on_again_and_again_unheard_waits_longer_each_time() {
    let mut now = Nanos::from_secs(7);
    let watched = followed(now);
    now = now.saturating_add(ms(801));
    // Its node was heard before: it may have died.
    assert_eq!(watched.silent(now).len(), 1);
    watched.leave(agent());
    // From now on nobody hears this one, nor does it hear anybody; but the bucket says that others went on.
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        assert!(watched.remember(agent(), node(2), Epoch { term: 0, n: 5 }, now));
        watched.read(agent(), found(node(2), 5, 20), now);
        now = now.saturating_add(ms(seconds * 1000 + 800));
        assert!(watched.silent(now).is_empty(), "{seconds} s");
        now = now.saturating_add(ms(1));
        assert_eq!(watched.silent(now).len(), 1, "{seconds} s");
        watched.leave(agent());
    }
    // One word of whoever has it is enough.
    assert!(watched.remember(agent(), node(2), Epoch { term: 0, n: 9 }, now));
    watched.read(agent(), found(node(2), 9, 20), now);
    assert!(!watched.hear(node(2), &pulse(9, 20), false, now));
    watched.leave(agent());
    assert!(watched.remember(agent(), node(2), Epoch { term: 0, n: 11 }, now));
    watched.read(agent(), found(node(2), 11, 20), now);
    assert_eq!(watched.silent(now.saturating_add(ms(5801))).len(), 1);
}

#[test]
fn an_early_look_that_fails_puts_off_nothing() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    let at = |millis| now.saturating_add(ms(millis));
    assert_eq!(watched.suspect(at(551)), Some(agent()));
    watched.failed(agent(), false, at(790));
    assert!(!watched.hear(node(9), &pulse(9, 90), false, at(799)), "it is not read on at once");
    assert_eq!(watched.silent(at(801)).len(), 1);
    watched.failed(agent(), false, at(810));
    assert!(watched.silent(at(1809)).is_empty(), "what failed then is tried again later");
    assert_eq!(watched.silent(at(1810)).len(), 1);
}

#[test]
fn who_is_ready_does_not_wait_for_its_turn_to_read_on() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert!(!watched.hear(node(1), &pulse(3, 11), true, now.saturating_add(ms(200))));
    assert_eq!(watched.silent(now.saturating_add(ms(1001))).len(), 1, "so that it can go on");
    let stranger = Pulse { agent: AgentId(Hash([8; 32])), ..pulse(1, 1) };
    assert!(watched.hear(node(9), &stranger, true, now), "one that is new does");
}

#[test]
fn what_could_not_be_read_after_a_start_is_tried_again_though_nobody_is_left_to_say_anything() {
    let now = Nanos::from_secs(7);
    let epoch = Epoch { term: 0, n: 3 };
    let watched = Watched::default();
    assert!(watched.remember(agent(), node(1), epoch, now));
    watched.failed(agent(), false, now);
    assert!(watched.silent(now.saturating_add(ms(499))).is_empty());
    assert_eq!(watched.silent(now.saturating_add(ms(500))), [(agent(), node(1), epoch)]);
    watched.failed(agent(), true, now.saturating_add(ms(500)));
    assert!(watched.silent(now.saturating_add(Nanos::from_secs(3600))).is_empty(), "what is not taken is not");
}

#[test]
fn a_full_table_forgets_whom_nobody_stands_by_for() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    let stranger = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        Pulse { agent: AgentId(Hash(id)), ..pulse(1, 1) }
    };
    for n in 0..5000 {
        let one = stranger(n);
        if watched.hear(node(9), &one, false, now) {
            watched.failed(one.agent, true, now);
        }
    }
    assert!(!watched.hear(node(9), &stranger(9999), false, now), "it is full");
    assert!(watched.hear(node(9), &stranger(9999), false, now.saturating_add(FORGOTTEN_AFTER)));
    assert_eq!(watched.after(agent()), Some(AFTER));
}

#[test]
fn what_its_node_says_is_read_up_to_there() {
    let now = Nanos::from_secs(7);
    let watched = followed(now);
    assert_eq!(watched.until(agent()), None, "nothing more was said");
    assert!(watched.hear(node(1), &pulse(3, 12), false, now.saturating_add(ms(200))));
    assert_eq!(watched.until(agent()), Some(Seq(12)));
    watched.read(agent(), found(node(1), 3, 12), now.saturating_add(ms(210)));
    assert_eq!(watched.until(agent()), None);
    assert!(watched.hear(node(1), &pulse(4, 14), false, now.saturating_add(ms(300))), "a fence of its own");
    assert_eq!(watched.until(agent()), None);
    watched.read(agent(), found(node(1), 3, 12), now.saturating_add(ms(310)));
    // The word of others, and of who failed, is no more than a reason to read to the end.
    assert!(watched.hear(node(9), &pulse(5, 90), false, now.saturating_add(ms(1400))));
    assert_eq!(watched.until(agent()), None);
    watched.failed(agent(), false, now.saturating_add(ms(1410)));
    assert!(watched.hear(node(1), &pulse(3, 13), false, now.saturating_add(ms(3000))));
    assert_eq!(watched.until(agent()), None);
}
