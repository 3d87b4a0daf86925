use super::*;

#[test]
fn who_is_asked_and_does_not_answer_is_silent() {
    let counters = Counters::default();
    assert_eq!(counters.silent_for(), None, "nothing was asked");
    let first = counters.begin(0);
    assert!(counters.silent_for().is_some(), "it was asked");
    first.answered(false);
    assert!(counters.silent_for().is_some(), "it did not answer");
    let (second, third) = (counters.begin(0), counters.begin(0));
    second.answered(true);
    assert!(counters.silent_for().is_some(), "one more is waited for");
    third.answered(true);
    assert_eq!(counters.silent_for(), None, "it answered");
}

#[test]
fn what_nobody_waits_for_any_more_is_no_silence() {
    let counters = Counters::default();
    drop((counters.begin(0), counters.begin(0)));
    assert_eq!(counters.silent_for(), None, "nobody waits");
    counters.begin(0).answered(false);
    drop(counters.begin(0));
    assert!(counters.silent_for().is_some(), "it failed, and nothing was answered since");
    counters.begin(0).answered(true);
    assert_eq!(counters.silent_for(), None);
}

#[test]
fn what_takes_long_to_send_is_no_silence_meanwhile() {
    let counters = Counters::default();
    let _long = counters.begin(1 << 30);
    assert_eq!(counters.silent_for(), Some(Duration::ZERO));
    let _short = counters.begin(0);
    std::thread::sleep(Duration::from_millis(2));
    assert!(counters.silent_for() > Some(Duration::from_millis(1)), "what is short is not hidden by what is long");
}

#[test]
fn silence_begins_with_the_last_answer() {
    let counters = Counters::default();
    let _first = counters.begin(0);
    std::thread::sleep(Duration::from_millis(50));
    counters.begin(0).answered(true);
    assert!(counters.silent_for() < Some(Duration::from_millis(50)), "others are answered meanwhile");
}

#[test]
fn what_others_overtake_is_no_silence() {
    let counters = Counters::default();
    let (_hangs, fails) = (counters.begin(0), counters.begin(0));
    std::thread::sleep(OVERTAKEN_BY + Duration::from_millis(1));
    assert!(counters.silent_for() > Some(OVERTAKEN_BY));
    counters.begin(0).answered(true);
    assert_eq!(counters.silent_for(), None, "it hangs by itself");
    fails.answered(false);
    assert_eq!(counters.silent_for(), None, "or fails");
    let _next = counters.begin(0);
    std::thread::sleep(Duration::from_millis(2));
    assert!(counters.silent_for() > Some(Duration::from_millis(1)), "nor does it hide that of others");
}
