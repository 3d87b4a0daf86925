use super::*;

/// Whoever drains tries again where the node is busy, and gives up where it has no room.
#[test]
fn what_is_too_much_now_may_come_later_and_what_is_too_much_for_good_may_not() {
    let reason = |refused: NotKept| match Ended::from(refused) {
        Ended::Refused(refusal) => refusal.reason,
        Ended::Cut(_) | Ended::Own(_) => panic!("it is refused"),
    };
    assert_eq!(reason(NotKept::Memory), Reason::Busy);
    assert_eq!(reason(NotKept::Quota { max: 1 }), Reason::Capacity);
}
