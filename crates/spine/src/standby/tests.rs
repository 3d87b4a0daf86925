//! Whose turn it is, and who was away.

use super::*;
use igor_protocol::KeyPair;

fn node(seed: u8) -> NodeId {
    KeyPair::from_seed(&[seed; 32]).public()
}

fn line(any_order: bool, silent_for: Option<Nanos>) -> Standby {
    Standby { nodes: vec![node(1), node(2), node(3)], any_order, silent_for }
}

#[test]
fn each_further_back_in_line_waits_longer() {
    let ms = |of, custodian, standby: &Standby| {
        silent_for(node(of), node(custodian), standby).map(|nanos| nanos.0 / 1_000_000)
    };
    let standby = line(false, None);
    assert_eq!([1, 2, 3, 9].map(|of| ms(of, 9, &standby)), [Some(700), Some(1000), Some(1300), None]);
    assert_eq!([1, 2, 3].map(|of| ms(of, 1, &standby)), [None, Some(700), Some(1000)], "who has it is not in line");
    let standby = line(true, Some(Nanos::from_secs(2)));
    assert_eq!([1, 2, 3].map(|of| ms(of, 2, &standby)), [Some(2000), None, Some(2000)]);
}

#[test]
fn a_look_that_comes_late_is_seen_once() {
    let mut looks = Looks::begin(Nanos(7));
    let mut at = |millis| looks.is_late(Nanos(7).saturating_add(Nanos::from_millis(millis)));
    assert!(!at(50) && !at(500) && at(951) && !at(1000));
}

#[test]
fn room_is_left_for_those_who_may_hear_nothing() {
    let ms = |millis| Nanos(7).saturating_add(Nanos::from_millis(millis));
    let mut room = Room::begin(Nanos(7));
    // Nobody has ever said anything: perhaps nobody is there.
    assert!(!room.is_left(ms(0)) && !room.is_left(ms(8_999)) && room.is_left(ms(9_000)) && room.is_left(ms(9_999)));
    assert!(!room.is_left(ms(10_000)) && !room.is_left(ms(18_999)) && room.is_left(ms(19_500)));
    room.hear(ms(19_600));
    assert!(
        !room.is_left(ms(19_600)) && !room.is_left(ms(20_049)) && room.is_left(ms(20_050)) && room.is_left(ms(29_599))
    );
    assert!(!room.is_left(ms(34_000)) && room.is_left(ms(39_000)), "and then now and then");
    room.hear(ms(40_000));
    assert!(!room.is_left(ms(40_100)));
}
