//! Messages: what comes in is answered for, known again, and taken, however many there are and whatever the ticks do.

mod harness;

use harness::{
    deliver, numbered,
    stage::{DONE, Stage, nobody, script, settings},
};
use igor_protocol::{
    Body, Commit, Credits, Entry, Manifest, Nanos,
    entry::{Call, Failure, MessageId, Observation, Outcome, Run, Sender, Trigger},
    limits::ENTRY_BYTES_MAX,
};
use igor_sim::executor::point;
use igor_spine::{
    Ending, World,
    command::{Command, Parcel, Refused},
    guest::{Answer, Ask, Ended, Held, Membrane, Stop},
};
use std::cell::{Cell, RefCell};
use tokio::sync::{mpsc, oneshot};

const ALL: Ask = Ask::Message { room: 1 << 20 };

fn take_all(membrane: &dyn Membrane) -> Result<Vec<Vec<u8>>, Stop> {
    let mut taken = Vec::new();
    while let Answer::Bytes(body) = membrane.observe(ALL)? {
        taken.push(body);
    }
    Ok(taken)
}

fn opaque(id: &str, body: &[u8]) -> Parcel {
    Parcel { sender: Sender::Uid(1), id: MessageId::Opaque(id.to_owned()), body: body.to_vec() }
}

async fn go_on(commands: &mpsc::Sender<Command>) {
    let (answer, answered) = oneshot::channel();
    commands.send(Command::Resume { answer }).await.expect("it lives");
    answered.await.expect("it lives");
}

/// Ticks follow each other without end and are far ahead of the disk; an answer waits for it.
#[test]
fn an_answer_vouches_only_for_what_is_durable() {
    // So slow that the ticks have to wait for it in the end, since they yield nowhere else.
    let stage = Stage::new(Manifest::default(), Credits::from_units(1 << 100), Nanos::from_millis(1));
    let mut program = script(|_, _| Ok(DONE));
    program.points = 0;
    let answers = Cell::new(0);
    let killed = stage.live(program, settings(Nanos::ZERO, None), Some(2_000), |commands| {
        let (stage, answers) = (&stage, &answers);
        async move {
            for n in 0_u64.. {
                // One that is new, then the same again and again: nothing is added for those.
                let delivered = deliver(&commands, numbered(1, b"x")).await.expect("it lives").expect("it takes it");
                assert_eq!(delivered.duplicate, n > 0);
                let (seq, head) = delivered.sealed;
                // A crash at this very moment leaves what is in the store now.
                let commits = stage.store.commits(stage.agent);
                let durable = commits.iter().flat_map(Commit::entries).any(|(at, there, _)| at == seq && there == head);
                assert!(durable, "answer {n} vouches for seq {seq}, which is not durable");
                answers.set(answers.get() + 1);
            }
        }
    });
    assert!(killed.is_none() && answers.get() > 10, "{} answers", answers.get());
    let ticks = |commit: &Commit| {
        let entries = commit.entries().map(|(_, _, bytes)| Entry::decode(bytes).expect("an entry"));
        entries.filter(|entry| matches!(entry.body, Body::Run(_))).count()
    };
    assert!(stage.store.commits(stage.agent).iter().any(|commit| ticks(commit) > 10), "no tick was ahead of the disk");
    stage.execute_all(program);
}

#[test]
fn a_message_that_comes_again_is_known() {
    let stage = Stage::with(Manifest::default());
    let program = script(|_, membrane| take_all(membrane).map(|_| DONE));
    let said = RefCell::new(Vec::new());
    stage.ends(program, settings(Nanos::from_secs(1), None), |commands| {
        let (said, world) = (&said, stage.world.clone());
        async move {
            for when in ["while open", "after ticks"] {
                let (one, two) = (numbered(1, b"one"), numbered(2, b"two"));
                for (what, parcel) in [
                    ("first", one.clone()),
                    ("second", two.clone()),
                    ("earlier", one),
                    ("last", two),
                    ("last, other body", numbered(2, b"another")),
                    ("gap", numbered(4, b"four")),
                    ("opaque", opaque("id", b"body")),
                    ("opaque again", opaque("id", b"body")),
                    ("opaque, other body", opaque("id", b"another")),
                ] {
                    let answer = deliver(&commands, parcel).await.expect("it lives");
                    let answer = match answer {
                        Ok(delivered) if delivered.duplicate => "duplicate",
                        Ok(_) => "new",
                        Err(Refused::Conflict(_)) => "conflict",
                        Err(Refused::Gap { expected: 3 }) => "gap",
                        Err(other) => panic!("{what} {when}: {other}"),
                    };
                    said.borrow_mut().push((when, what, answer));
                }
                world.sleep_until(world.monotonic().saturating_add(Nanos::from_secs(5))).await;
            }
            commands.send(Command::Stop).await.expect("it lives");
        }
    });
    let expected = |again: bool| {
        let first = if again { "duplicate" } else { "new" };
        [first, first, "duplicate", "duplicate", "conflict", "gap", first, "duplicate", "conflict"]
    };
    let answers: Vec<&str> = said.borrow().iter().map(|(.., answer)| *answer).collect();
    assert_eq!(answers, [expected(false), expected(true)].concat(), "{said:?}");
    let open = stage.book().ledger().open.clone();
    assert!(open.is_empty(), "the second round was asked after ticks had taken all: {open:?}");
    stage.execute_all(program);
}

/// Sends while the agent is paused, then lets it go on.
async fn send_and_go_on(commands: &mpsc::Sender<Command>, bodies: impl Iterator<Item = Vec<u8>>) {
    for (n, body) in (1..).zip(bodies) {
        deliver(commands, numbered(n, &body)).await.expect("it lives").expect("it takes it");
    }
    go_on(commands).await;
}

#[test]
fn an_inbox_larger_than_a_run_may_observe_drains_over_several() {
    let mut manifest = Manifest::default();
    manifest.limits.observed_bytes = 4096;
    manifest.limits.message_bytes = 1000;
    let stage = Stage::with(manifest);
    let program = script(|_, membrane| {
        for body in take_all(membrane)? {
            membrane.hold(Held::Log(format!("{}", body[0])))?;
        }
        Ok(DONE)
    });
    let mut paused = settings(Nanos::from_secs(1), Some(10));
    paused.paused = true;
    stage.ends(program, paused, |commands| async move {
        send_and_go_on(&commands, (0..20).map(|n| vec![n; 1000])).await;
    });
    let ticks = stage.ticks();
    let told = |run: &Run| run.observations.contains(&Observation::NoRoom);
    assert_eq!(ticks.iter().filter(|run| told(run)).count(), 4, "twenty, four at a time, and the last saw the end");
    let logged: Vec<String> = ticks.iter().flat_map(|run| run.logs.clone()).collect();
    assert_eq!(logged, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "each once, in order");
    // What is left brings the next tick about by itself.
    assert!(ticks[1..5].iter().all(|run| run.call == Call::Tick(Trigger::Message)), "they waited for the interval");
    assert!(stage.book().ledger().open.is_empty());
    stage.execute_all(program);
}

/// As much of everything that makes an entry long as a manifest can allow.
#[test]
fn the_largest_run_fits_its_entry() {
    const REPLIES: usize = 252; // as many inline ones as the limit on their sum has room for
    let mut manifest = Manifest::default();
    manifest.limits.log_bytes = 1 << 20;
    manifest.limits.observed_bytes = 1 << 20;
    let stage = Stage::with(manifest);
    let program = script(|_, membrane| {
        for _ in 0..REPLIES {
            membrane.observe(ALL)?;
            membrane.hold(Held::Reply(vec![b'x'; 4096]))?;
        }
        let seen = REPLIES as u64 * (Observation::WEIGHT + 1) + Observation::WEIGHT;
        membrane.observe(Ask::Random(u32::try_from((1 << 20) - seen).unwrap_or(0)))?;
        for _ in 0..1 << 20 {
            // Short lines are the longest, encoded.
            membrane.hold(Held::Log("x".to_owned()))?;
        }
        Ok(DONE)
    });
    let mut paused = settings(Nanos::from_secs(1), Some(1));
    paused.paused = true;
    stage.ends(program, paused, |commands| async move {
        send_and_go_on(&commands, std::iter::repeat_n(b"x".to_vec(), REPLIES)).await;
    });
    let longest = stage.entries().iter().map(|(_, entry)| entry.encode().len()).max();
    assert!(longest > Some(ENTRY_BYTES_MAX / 10 * 9), "{longest:?} bytes are not what the limits allow");
    assert!(longest <= Some(ENTRY_BYTES_MAX));
    assert!(stage.ticks()[0].outcome.is_ok());
    stage.execute_all(program);
}

#[test]
fn replies_without_end_are_over_the_limit_and_the_agent_lives() {
    let mut manifest = Manifest::default();
    manifest.limits.inbox_messages = 1100;
    let stage = Stage::with(manifest);
    let program = script(|_, membrane| {
        while let Answer::Bytes(body) = membrane.observe(ALL)? {
            if body == b"big" {
                membrane.hold(Held::Reply(vec![b'x'; 4096]))?;
            }
        }
        Ok(DONE)
    });
    let mut paused = settings(Nanos::from_secs(1), Some(3));
    paused.paused = true;
    // Far more answers than an entry can hold, each of them short enough to be in it.
    stage.ends(program, paused, |commands| async move {
        let big = std::iter::repeat_n(b"big".to_vec(), 300);
        send_and_go_on(&commands, big.chain(std::iter::repeat_n(b"small".to_vec(), 10))).await;
    });
    let ticks = stage.ticks();
    let failed: Vec<_> = ticks.iter().filter(|run| !run.outcome.is_ok()).collect();
    assert_eq!(failed.len(), 3, "what those took is closed after three attempts");
    for run in failed {
        assert_eq!(run.outcome.name(), "over_limit");
        assert!(
            matches!(&run.outcome, Outcome::Failed { cause, .. } if cause.contains("replies")),
            "{:?}",
            run.outcome
        );
        assert!(run.cost.units() > 0, "it was charged");
    }
    let ledger = stage.book().ledger().clone();
    assert!(ledger.open.is_empty() && ledger.failures == 0, "{} open", ledger.open.len());
    stage.execute_all(program);
}

#[test]
fn a_message_that_nobody_takes_brings_one_tick() {
    let stage = Stage::with(Manifest::default());
    let program = script(|_, _| Ok(DONE));
    stage.ends(program, settings(Nanos::from_secs(1), Some(10)), |commands| async move {
        deliver(&commands, numbered(1, b"x")).await;
    });
    let by_message = stage.ticks().iter().filter(|run| run.call == Call::Tick(Trigger::Message)).count();
    assert_eq!(by_message, 1);
}

/// What a failed tick took, the next may take; if it does not, that is the end of it.
#[test]
fn a_message_that_nobody_takes_after_a_failure_brings_one_tick_more() {
    let stage = Stage::with(Manifest::default());
    let program = script(|_, membrane| {
        let Answer::Bytes(dice) = membrane.observe(Ask::Random(1))? else { return Ok(DONE) };
        // By chance it takes a message and traps.
        if dice[0] % 4 == 0 && matches!(membrane.observe(ALL)?, Answer::Bytes(_)) {
            return Ok(Ended::Failed(Failure::Trap, "chance".to_owned()));
        }
        Ok(DONE)
    });
    let taken = |stage: &Stage| stage.ticks().iter().filter(|run| run.taken().count() > 0).count();
    stage.ends(program, settings(Nanos::from_secs(1), Some(40)), |commands| async move {
        deliver(&commands, numbered(1, b"x")).await;
    });
    let by_message = stage.ticks().iter().filter(|run| run.call == Call::Tick(Trigger::Message)).count();
    assert!(taken(&stage) > 0, "no tick failed");
    assert!(by_message <= 1 + taken(&stage), "{by_message} ticks for one message, {} failures", taken(&stage));
    stage.execute_all(program);
}

#[test]
fn messages_that_never_stop_coming_do_not_starve_ticks() {
    let stage = Stage::with(Manifest::default());
    let program = script(|_, membrane| take_all(membrane).map(|_| DONE));
    let sent = Cell::new(0_u64);
    let ended = stage.live(program, settings(Nanos::ZERO, Some(20)), Some(20_000), |commands| {
        let sent = &sent;
        async move {
            for n in 1.. {
                let (answer, _) = oneshot::channel();
                if commands.send(Command::Deliver { parcel: numbered(n, b"x"), answer }).await.is_err() {
                    return;
                }
                sent.set(n);
            }
        }
    });
    assert!(matches!(ended, Some(Ok(Ending::Stopped))), "{ended:?}, {} sent", sent.get());
    let most = stage.ticks().iter().map(|run| run.taken().count()).max();
    let full = Manifest::default().limits.inbox_messages as usize;
    assert!(most < Some(full), "a tick came only when the inbox was full");
    assert!(sent.get() > full as u64, "only {} came", sent.get());
}

/// With a slow disk, whoever delivers during a tick makes it wait; that is not the tick's time.
#[test]
fn a_slow_disk_does_not_make_a_tick_time_out() {
    let mut manifest = Manifest::default();
    manifest.limits.tick_time = Nanos::from_millis(1);
    let stage = Stage::new(manifest, Credits::from_units(1 << 100), Nanos::from_millis(20));
    let mut program = script(|_, _| Ok(DONE));
    program.points = 10;
    stage.ends(program, settings(Nanos::from_millis(50), Some(10)), |commands| async move {
        for n in 1.. {
            if deliver(&commands, numbered(n, b"x")).await.is_none() {
                return;
            }
            point().await;
        }
    });
    let ticks = stage.ticks();
    assert!(ticks.iter().all(|run| run.outcome.is_ok()));
    assert!(ticks.iter().any(|run| run.waited > Nanos::from_millis(20)), "no tick had to wait for the disk");
}

#[test]
fn a_tick_that_waits_longer_than_its_time_times_out() {
    let mut manifest = Manifest::default();
    manifest.limits.tick_time = Nanos::from_millis(10);
    manifest.limits.message_bytes = 64;
    let stage = Stage::with(manifest);
    let program = igor_sim::guest::SimProgram { runtime: "r1".to_owned(), ..Default::default() };
    let told = |body: &'static [u8]| {
        move |commands: mpsc::Sender<Command>| async move {
            deliver(&commands, numbered(1, body)).await;
        }
    };
    stage.ends(program.clone(), settings(Nanos::from_secs(1), Some(2)), told(b"wait 9"));
    assert!(stage.ticks().iter().all(|run| run.outcome.is_ok()));
    let late = stage.ends(program.clone(), settings(Nanos::from_secs(1), Some(2)), |commands| async move {
        deliver(&commands, numbered(2, b"wait 11")).await;
    });
    assert_eq!(late, Ending::Stopped);
    let timeouts = stage.ticks().iter().filter(|run| run.outcome.name() == "timeout").count();
    assert_eq!(timeouts, 3, "three attempts, then it is closed");
    stage.ends(program.clone(), settings(Nanos::from_secs(1), Some(1)), nobody);
    stage.execute_all(program);
}
