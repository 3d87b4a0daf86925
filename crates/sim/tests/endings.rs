//! What ends a life and what goes on: checkpoints that are refused, other runtimes, orders.

mod harness;

use harness::{
    keys, order,
    stage::{DONE, Script, Stage, States, nobody, script, settings},
};
use igor_protocol::{
    AgentId, Body, Credits, KeyPair, Manifest, Nanos, Seq,
    entry::{Action, Call, EndCause, Order, OrderBody},
    ledger::Fault,
};
use igor_spine::{
    Ending, Error, Settings,
    command::{Command, Refused},
    guest::{Ask, Held},
};
use igor_store::Store;
use std::cell::RefCell;
use tokio::sync::{mpsc, oneshot};

const SECOND: Nanos = Nanos::from_secs(1);

fn counting(runtime: &'static str) -> Script {
    Script { runtime, ..script(|_, membrane| membrane.observe(Ask::Random(4)).map(|_| DONE)) }
}

/// Checkpoints that fail, as often as there is time for them.
fn refused(states: States, interval: Nanos) -> (Stage, usize) {
    let stage = Stage::with(Manifest::default());
    let program = Script { states, ..counting("r1") };
    let eager = Settings { checkpoint_interval: Nanos::ZERO, ..settings(interval, Some(10)) };
    assert_eq!(stage.ends(program, eager, nobody), Ending::Stopped);
    let runs = stage.runs();
    assert_eq!(runs.iter().filter(|run| run.call.is_tick() && run.outcome.is_ok()).count(), 10, "the agent goes on");
    let tried: Vec<_> = runs.iter().filter(|run| run.call == Call::Checkpoint).map(|run| run.tick).collect();
    assert!(tried.windows(2).all(|pair| pair[0] < pair[1]), "more than once after a tick: {tried:?}");
    assert!(stage.book().ledger().checkpoint.is_none());
    stage.execute_all(program);
    (stage, tried.len())
}

#[test]
fn a_state_that_does_not_restore_is_tried_once_a_tick_at_most() {
    assert_eq!(refused(States::ResumeTraps, Nanos::from_secs(2)).1, 10);
    // And not at full speed: two ticks a second, one try a second, one at the end.
    let tries = refused(States::ResumeTraps, Nanos::from_millis(500)).1;
    assert!((4..=6).contains(&tries), "{tries} tries");
}

#[test]
fn a_checkpoint_that_traps_is_tried_once_a_tick_at_most() {
    assert_eq!(refused(States::CheckpointTraps, Nanos::from_secs(2)).1, 10);
    let tries = refused(States::CheckpointTraps, Nanos::from_millis(500)).1;
    assert!((4..=6).contains(&tries), "{tries} tries");
}

#[test]
fn after_a_refusal_it_restarts_from_what_there_was() {
    for states in [States::ResumeTraps, States::CheckpointTraps] {
        let (stage, _) = refused(states, Nanos::from_secs(2));
        let program = Script { states, ..counting("r1") };
        assert_eq!(stage.ends(program, settings(SECOND, Some(2)), nobody), Ending::Stopped);
        assert_eq!(stage.book().ledger().tick.0, 12);
        stage.execute_all(program);
    }
}

#[test]
fn a_new_runtime_goes_on_after_a_clean_stop_with_a_resume_of_its_own() {
    let stage = Stage::with(Manifest::default());
    stage.ends(counting("r1"), settings(SECOND, Some(3)), nobody);
    let before = stage.runs().len();
    stage.ends(counting("r2"), settings(SECOND, Some(4)), nobody);
    let runs = stage.runs();
    assert_eq!((runs[before].call, runs[before].runtime.as_deref()), (Call::Resume, Some("r2")));
    assert_eq!(stage.book().ledger().tick.0, 7);
    // Each executes what is its own, and says how many it left out.
    let (first, second) = (stage.execute(counting("r1")), stage.execute(counting("r2")));
    assert_eq!((first.executed, first.skipped), (before as u64, (runs.len() - before) as u64));
    assert_eq!((second.executed, second.skipped), ((runs.len() - before) as u64, before as u64));
    assert_eq!((first.other_runtime.as_deref(), second.other_runtime.as_deref()), (Some("r2"), Some("r1")));
}

#[test]
fn a_new_runtime_does_not_replay_what_another_ran() {
    let stage = Stage::with(Manifest::default());
    stage.ends(counting("r1"), settings(SECOND, Some(3)), nobody);
    // Killed with ticks since the checkpoint.
    let ticked = || stage.book().ledger().tick.0;
    for polls in 1.. {
        assert!(stage.live(counting("r1"), settings(SECOND, None), Some(polls), nobody).is_none());
        if ticked() > 3 {
            break;
        }
    }
    let end = stage.store.tail(stage.agent).expect("a store");
    let opened = stage.live(counting("r2"), settings(SECOND, Some(1)), None, nobody);
    let Some(Err(Error::Runtime { journal, here })) = opened else { panic!("{opened:?}") };
    assert_eq!((journal.as_str(), here.as_str()), ("r1", "r2"));
    assert_eq!(stage.store.tail(stage.agent).expect("a store"), end, "it was left as it is");
    // The runtime that made it stops it cleanly; then the other goes on.
    stage.ends(counting("r1"), settings(SECOND, Some(0)), nobody);
    stage.ends(counting("r2"), settings(SECOND, Some(1)), nobody);
    assert_eq!(stage.book().ledger().runtime.as_deref(), Some("r2"));
}

/// An agent whose money has ended.
fn exhausted() -> Stage {
    let stage = Stage::new(Manifest::default(), Credits::from_units(5_000), Nanos::ZERO);
    assert_eq!(stage.ends(counting("r1"), settings(SECOND, None), nobody), Ending::Ended(EndCause::Exhausted));
    stage
}

fn fund(stage: &Stage, total: u128) -> Result<(), Fault> {
    order(&*stage.store, &stage.world, stage.agent, Action::Fund { total: Credits::from_units(total) })
}

#[test]
fn an_exhausted_agent_stays_ended_under_any_runtime_until_it_is_funded() {
    let stage = exhausted();
    let end = stage.store.tail(stage.agent).expect("a store");
    for runtime in ["r1", "r2"] {
        let ended = stage.ends(counting(runtime), settings(SECOND, Some(5)), nobody);
        assert_eq!(ended, Ending::Ended(EndCause::Exhausted));
        assert_eq!(stage.store.tail(stage.agent).expect("a store"), end, "nothing is added to an ended journal");
    }
    let before = stage.book().ledger().tick;
    fund(&stage, 1 << 60).expect("a good order");
    assert_eq!(stage.ends(counting("r2"), settings(SECOND, Some(3)), nobody), Ending::Stopped);
    assert_eq!(stage.book().ledger().tick.0, before.0 + 3);
    assert!(stage.execute(counting("r2")).skipped > 0);
}

#[test]
fn an_ended_agent_takes_only_the_order_that_revives_it() {
    let stage = exhausted();
    let recalled = order(&*stage.store, &stage.world, stage.agent, Action::Recall);
    assert_eq!(recalled, Err(Fault::Order("the agent has ended")));
    let funded = fund(&stage, 5_000);
    assert_eq!(funded, Err(Fault::Order("its total is not above what was funded before")));
    fund(&stage, 6_000).expect("a good order");
    fund(&stage, 1 << 60).expect("and another, before it lives");
    assert_eq!(stage.book().ledger().funded, Credits::from_units(1 << 60));
    // Alive again, it can be recalled; then nothing revives it.
    order(&*stage.store, &stage.world, stage.agent, Action::Recall).expect("a good order");
    assert_eq!(stage.ends(counting("r1"), settings(SECOND, None), nobody), Ending::Ended(EndCause::Recalled));
    assert_eq!(fund(&stage, 1 << 61), Err(Fault::Place("the agent has ended")));
    stage.execute_all(counting("r1"));
}

#[test]
fn an_agent_that_finished_stays_finished() {
    let stage = Stage::with(Manifest::default());
    let program = script(|ticks, membrane| {
        if ticks == 2 {
            membrane.hold(Held::Finish)?;
        }
        Ok(DONE)
    });
    assert_eq!(stage.ends(program, settings(SECOND, None), nobody), Ending::Ended(EndCause::Completed));
    assert_eq!(stage.book().ledger().tick.0, 3);
    assert_eq!(fund(&stage, 1 << 110), Err(Fault::Place("the agent has ended")));
    assert_eq!(stage.ends(program, settings(SECOND, None), nobody), Ending::Ended(EndCause::Completed));
    stage.execute_all(program);
}

fn signed(agent: AgentId, term: u64, counter: u64, action: Action, key: &KeyPair) -> Order {
    let at = igor_protocol::Timestamp(1_700_000_000_000_000_000);
    OrderBody { agent, term, counter, at, action }.sign(key)
}

async fn ordered(commands: &mpsc::Sender<Command>, order: Order) -> Result<Seq, String> {
    let (answer, answered) = oneshot::channel();
    commands.send(Command::Order { order, answer }).await.expect("it lives");
    match answered.await.expect("it lives") {
        Ok(seq) => Ok(seq),
        Err(Refused::Order(fault)) => Err(fault.to_string()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn orders_to_a_living_agent_count_once_or_are_refused_for_their_reason() {
    let stage = Stage::new(Manifest::default(), Credits::from_units(1 << 60), Nanos::ZERO);
    let said = RefCell::new(Vec::new());
    let ending = stage.ends(counting("r1"), settings(SECOND, None), |commands| {
        let (said, agent) = (&said, stage.agent);
        async move {
            let (owner, node) = keys();
            let total = |exponent: u32| Action::Fund { total: Credits::from_units(1 << exponent) };
            let other = AgentId(igor_protocol::Hash::of_blob(b"another"));
            for (order, expected) in [
                (signed(agent, 0, 5, total(61), &owner), Ok(())),
                (signed(agent, 0, 5, total(61), &owner), Err("its counter is not above")),
                (signed(agent, 0, 4, total(62), &owner), Err("its counter is not above")),
                (signed(agent, 0, 6, total(61), &owner), Err("its total is not above")),
                (signed(agent, 0, 6, total(60), &owner), Err("its total is not above")),
                (signed(other, 0, 6, total(62), &owner), Err("another agent")),
                (signed(agent, 1, 6, total(62), &owner), Err("another branch")),
                (signed(agent, 0, 6, total(62), &node), Err("signature of the order")),
                (signed(agent, 0, 6, Action::Recall, &node), Err("signature of the order")),
                (signed(agent, 0, 6, total(62), &owner), Ok(())),
                (signed(agent, 0, 7, Action::Recall, &owner), Ok(())),
            ] {
                let taken = ordered(&commands, order).await;
                said.borrow_mut().push((taken, expected));
            }
        }
    });
    assert_eq!(ending, Ending::Ended(EndCause::Recalled));
    for (i, (taken, expected)) in said.borrow().iter().enumerate() {
        match (taken, expected) {
            (Ok(_), Ok(())) => {}
            (Err(why), Err(expected)) => assert!(why.contains(expected), "order {i}: `{why}`, not `{expected}`"),
            _ => panic!("order {i}: {taken:?}, not {expected:?}"),
        }
    }
    assert_eq!(said.borrow().len(), 11);
    let orders: Vec<Seq> = stage
        .entries()
        .into_iter()
        .filter(|(_, entry)| matches!(entry.body, Body::Order(_)))
        .map(|(seq, _)| seq)
        .collect();
    let answered: Vec<Seq> = said.borrow().iter().filter_map(|(taken, _)| taken.as_ref().ok().copied()).collect();
    assert_eq!(orders, answered, "refused orders leave no trace");
    assert_eq!(stage.book().ledger().funded, Credits::from_units(1 << 62));
    stage.execute_all(counting("r1"));
}
