//! A host that has every key it needs and invents runs: ticks without a cause, checkpoints and resumes that nothing
//! asked for. Each is the first bad entry of the journal.

mod harness;

use harness::{
    TERMS, deliver, numbered,
    stage::{DONE, Stage, nobody, script, settings},
};
use igor_protocol::{
    Body, Commit, Credits, Entry, Fuel, Manifest, Nanos, Seq, Tick, Timestamp,
    entry::{Call, Content, Failure, Message, MessageId, Outcome, Run, Sender, Trigger},
    ledger::Book,
    limits::RESUMED_APART,
    verify::Verifier,
};
use igor_spine::{
    Ending,
    guest::{Answer, Ask, Held},
};

const INTERVAL_MIN: Nanos = Nanos::from_secs(10);
/// When the agent asks to be woken, after its first tick.
const WAKE: Nanos = Nanos::from_secs(60);

/// An agent that did one tick, asked to be woken, was checkpointed and stopped.
fn honest() -> Stage {
    let stage = Stage::with(Manifest { interval: INTERVAL_MIN, interval_min: INTERVAL_MIN, ..Manifest::default() });
    let program = script(|_, membrane| {
        let Answer::Number(now) = membrane.observe(Ask::Clock)? else { unreachable!("a clock gives a number") };
        membrane.hold(Held::WakeAt(now + WAKE.0.cast_signed()))?;
        Ok(DONE)
    });
    assert_eq!(stage.ends(program, settings(INTERVAL_MIN, Some(1)), nobody), Ending::Stopped);
    assert!(stage.book().ledger().checkpoint.is_some());
    stage
}

/// A run that this call would be, so long after the last one began, with all else in order.
fn run(book: &Book, call: Call) -> Run {
    let ledger = book.ledger();
    Run {
        call,
        tick: if call.is_tick() { Tick(ledger.tick.0 + 1) } else { ledger.tick },
        started_seq: book.chain().next,
        observations: Vec::new(),
        requests: Vec::new(),
        logs: Vec::new(),
        outcome: Outcome::Ok { more_work: false },
        fuel: Fuel(10),
        duration: Nanos(100),
        waited: Nanos::ZERO,
        cost: Credits::from_units(100 * u128::from(TERMS.price_per_ns) + 10 * u128::from(TERMS.price_per_fuel)),
        runtime: (call == Call::Resume).then(|| "r1".to_owned()),
    }
}

/// What verification says of a journal that goes on with these entries. The last one is the invented one.
fn verify(stage: &Stage, entries: &[Entry]) -> Result<(), String> {
    let mut verifier = Verifier::new();
    for commit in stage.store.commits(stage.agent) {
        verifier.push(&commit, &*stage.store).expect("what is honest stands");
    }
    let start = verifier.book().expect("a journal").chain();
    let result = verifier.push(&Commit::new(start, entries), &*stage.store);
    result.map(drop).map_err(|bad| {
        assert_eq!(bad.seq, Seq(start.next.0 + entries.len() as u64 - 1), "another entry is named: {bad}");
        bad.fault.to_string()
    })
}

/// One more tick that starts this long after the last.
fn tick_after(trigger: Trigger, since: Nanos) -> Result<(), String> {
    let stage = honest();
    let book = stage.book();
    let run = run(&book, Call::Tick(trigger));
    let at = book.ledger().tick_started.after(since).after(run.duration);
    verify(&stage, &[Entry { at, body: Body::Run(run) }])
}

#[track_caller]
fn refused(result: Result<(), String>, expected: &str) {
    let why = result.expect_err("it was believed");
    assert!(why.contains(expected), "`{why}` does not say `{expected}`");
}

fn less(nanos: Nanos) -> Nanos {
    Nanos(nanos.0 - 1)
}

#[test]
fn an_interval_that_did_not_pass() {
    refused(tick_after(Trigger::Interval, less(INTERVAL_MIN)), "tick.interval_min");
    assert_eq!(tick_after(Trigger::Interval, INTERVAL_MIN), Ok(()));
}

#[test]
fn a_message_that_never_came() {
    let soon = Nanos::from_millis(1);
    refused(tick_after(Trigger::Message, soon), "none was open");
    // With one it is right, unless it came after the tick began.
    let stage = honest();
    let book = stage.book();
    let at = book.ledger().tick_started.after(soon);
    let message = Message { sender: Sender::Uid(1), id: MessageId::Opaque("x".to_owned()), body: Content::of(b"x") };
    let came = Entry { at, body: Body::Message(message) };
    let tick = run(&book, Call::Tick(Trigger::Message));
    let later = Run { started_seq: tick.started_seq.next(), ..tick.clone() };
    let at = at.after(soon);
    refused(verify(&stage, &[came.clone(), Entry { at, body: Body::Run(tick) }]), "none was open");
    assert_eq!(verify(&stage, &[came, Entry { at, body: Body::Run(later) }]), Ok(()));
}

#[test]
fn a_wake_that_is_not_due() {
    let stage = honest();
    let ledger = stage.book().ledger().clone();
    let wake = ledger.wake_at.expect("it asked for one").since(ledger.tick_started);
    refused(tick_after(Trigger::Wake, less(wake)), "wake that was not due");
    assert_eq!(tick_after(Trigger::Wake, wake), Ok(()));
}

#[test]
fn a_wake_is_there_once() {
    let stage = honest();
    let mut book = stage.book();
    let wake = book.ledger().wake_at.expect("it asked for one");
    let entry = |run: Run, at: Timestamp| Entry { at: at.after(run.duration), body: Body::Run(run) };
    let first = entry(run(&book, Call::Tick(Trigger::Wake)), wake);
    let mut draft = book.draft();
    book.push(&mut draft, first.clone()).expect("the first is right");
    let second = entry(run(&book, Call::Tick(Trigger::Wake)), wake.after(Nanos::from_secs(1)));
    refused(verify(&stage, &[first, second]), "wake that was not due");
}

#[test]
fn more_work_that_nobody_has() {
    refused(tick_after(Trigger::MoreWork, Nanos::from_millis(10)), "there is none");
}

#[test]
fn a_gap_longer_than_the_time_that_passed() {
    let since = Nanos::from_secs(3);
    refused(tick_after(Trigger::Resumed { gap: Nanos(since.0 + 1) }, since), "longer gap");
    assert_eq!(tick_after(Trigger::Resumed { gap: since }, since), Ok(()));
}

#[test]
fn restarts_one_upon_the_other() {
    let resumed = Trigger::Resumed { gap: Nanos::ZERO };
    refused(tick_after(resumed, less(RESUMED_APART)), "resumed sooner");
    assert_eq!(tick_after(resumed, RESUMED_APART), Ok(()));
}

#[test]
fn an_honest_host_that_restarts_at_once_waits_and_says_so_first() {
    let stage = honest();
    let before = stage.book().ledger().tick_started;
    let message = |commands| async move {
        deliver(&commands, numbered(1, b"x")).await.expect("an answer").expect("it is taken in");
    };
    assert_eq!(stage.ends(script(|_, _| Ok(DONE)), settings(INTERVAL_MIN, Some(1)), message), Ending::Stopped);
    let tick = stage.ticks().pop().expect("a tick");
    assert!(matches!(tick.call, Call::Tick(Trigger::Resumed { .. })), "{:?}", tick.call);
    let (started, since) = (stage.book().ledger().tick_started, before.after(RESUMED_APART));
    assert!(started >= since && started < since.after(Nanos::from_millis(1)), "it waits no longer than it must");
}

/// A run that is no tick, right after the journal's end.
fn and_then(call: Call, runtime: Option<&str>) -> Result<(), String> {
    let stage = honest();
    let book = stage.book();
    let mut run = run(&book, call);
    run.runtime = runtime.map(str::to_owned);
    let at = book.ledger().at.after(run.duration);
    verify(&stage, &[Entry { at, body: Body::Run(run) }])
}

#[test]
fn a_checkpoint_after_the_checkpoint() {
    refused(and_then(Call::Checkpoint, None), "once after a tick");
}

#[test]
fn a_checkpoint_after_one_that_failed() {
    let stage = honest();
    let mut book = stage.book();
    let since = Nanos::from_secs(20);
    let at = book.ledger().tick_started.after(since);
    let tick = Entry { at, body: Body::Run(run(&book, Call::Tick(Trigger::Interval))) };
    let mut draft = book.draft();
    book.push(&mut draft, tick.clone()).expect("a good tick");
    let failing = |book: &Book| {
        let outcome = Outcome::failed(Failure::Trap, "no state");
        let run = Run { outcome, ..run(book, Call::Checkpoint) };
        Entry { at: book.ledger().run_ended.after(run.duration), body: Body::Run(run) }
    };
    let first = failing(&book);
    book.push(&mut draft, first.clone()).expect("the first try is right");
    let second = failing(&book);
    refused(verify(&stage, &[tick, first, second]), "once after a tick");
}

#[test]
fn a_resume_that_nothing_asked_for() {
    refused(and_then(Call::Resume, Some("r1")), "with another runtime");
    assert_eq!(and_then(Call::Resume, Some("r2")), Ok(()));
}

#[test]
fn a_checkpoint_proved_by_another_runtime() {
    let stage = honest();
    let mut book = stage.book();
    let at = book.ledger().tick_started.after(Nanos::from_secs(20));
    let tick = Entry { at, body: Body::Run(run(&book, Call::Tick(Trigger::Interval))) };
    let mut draft = book.draft();
    book.push(&mut draft, tick.clone()).expect("a good tick");
    let taken = run(&book, Call::Checkpoint);
    let taken = Entry { at: at.after(taken.duration), body: Body::Run(taken) };
    book.push(&mut draft, taken.clone()).expect("a good checkpoint");
    let proof = Run { runtime: Some("r2".to_owned()), ..run(&book, Call::Resume) };
    let proof = Entry { at: book.ledger().run_ended.after(proof.duration), body: Body::Run(proof) };
    refused(verify(&stage, &[tick, taken, proof]), "proved by the runtime that made it");
}
