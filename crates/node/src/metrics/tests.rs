use super::*;
use igor_protocol::entry::{Failure, Outcome};

#[test]
fn every_outcome_of_the_journal_is_counted() {
    let failures = [
        Failure::Trap,
        Failure::OutOfFuel,
        Failure::Timeout,
        Failure::OutOfMemory,
        Failure::OutOfMoney,
        Failure::OverLimit,
        Failure::StackOverflow,
    ];
    let outcomes = failures.into_iter().map(|failure| Outcome::failed(failure, ""));
    let names: Vec<_> = std::iter::once(Outcome::Ok { more_work: false }).chain(outcomes).map(|o| o.name()).collect();
    assert_eq!(names, OUTCOMES);
}
