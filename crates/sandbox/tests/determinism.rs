//! Same program, same input, same answers: same fuel, outcome and state, on any instance, engine and thread.

mod common;

use common::{FUEL, World, begun, block_on, load, open, run, wat};
use igor_protocol::{Fuel, Manifest, entry::Trigger};
use igor_sandbox::{Stack, WasmProgram};
use igor_spine::guest::{Ended, Guest, Held, Input, Membrane, Program, Report};
use std::sync::Arc;

/// Does some of everything: hostcalls, memory, floats whose NaN has a payload, growth, a table, loops by the clock.
const BUSY: &str = r#"(module
    (import "igor" "clock_now" (func $clock (result i64)))
    (import "igor" "rand_bytes" (func $random (param i32 i32) (result i32)))
    (import "igor" "log_emit" (func $log (param i32 i32)))
    (import "igor" "message_next" (func $next (param i32 i32) (result i32)))
    (memory (export "memory") 1) (table $t 4 funcref) (elem (i32.const 0) $double $square)
    (type $op (func (param i64) (result i64)))
    (global $sum (mut i64) (i64.const 0))
    (func $double (type $op) (i64.add (local.get 0) (local.get 0)))
    (func $square (type $op) (i64.mul (local.get 0) (local.get 0)))
    (func $start (global.set $sum (i64.const 17))) (start $start)
    (func (export "agent_init") (drop (call $random (i32.const 0) (i32.const 32))))
    (func (export "agent_tick") (result i32)
        (local $i i32)
        (local.set $i (i32.add (i32.const 500) (i32.wrap_i64 (i64.rem_u (call $clock) (i64.const 100)))))
        (loop $again
            (global.set $sum (call_indirect $t (type $op) (i64.add (global.get $sum) (i64.extend_i32_u (local.get $i)))
                (i32.and (local.get $i) (i32.const 1))))
            (f64.store (i32.const 64) (f64.add (f64.div (f64.const 0) (f64.const 0)) (f64.load (i32.const 0))))
            (global.set $sum (i64.xor (global.get $sum) (i64.load (i32.const 64))))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (drop (memory.grow (i32.const 1)))
        (memory.copy (i32.const 512) (i32.const 0) (i32.const 300))
        (call $log (i32.const 64) (i32.const 8))
        (i32.ge_s (call $next (i32.const 128) (i32.const 64)) (i32.const 0)))
    (func (export "agent_checkpoint") (result i32)
        (i64.store (i32.const 8) (global.get $sum)) (i32.const 600))
    (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
    (func (export "agent_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "agent_resume") (param $ptr i32) (param i32)
        (global.set $sum (i64.load offset=8 (local.get $ptr)))))"#;

/// All that can be seen of a life: init, ticks, a checkpoint, a resume, ticks.
fn life(program: &WasmProgram) -> (Vec<Report>, Vec<Held>) {
    let world = World::with(|state| state.messages = [b"a".to_vec(), b"bc".to_vec()].into());
    let mut first = program.instantiate();
    let mut reports = vec![run(&mut first, Input::Init, &world)];
    reports.extend((0..4).map(|_| run(&mut first, Input::Tick(Trigger::Interval), &world)));
    reports.push(run(&mut first, Input::Checkpoint, &world));
    let Some(Ended::State(state)) = reports.last().map(|report| report.ended.clone()) else { panic!("no state") };
    let mut second = program.instantiate();
    reports.push(run(&mut second, Input::Resume(state), &world));
    reports.extend((0..3).map(|_| run(&mut second, Input::Tick(Trigger::Interval), &world)));
    reports.push(run(&mut second, Input::Checkpoint, &world));
    let held = world.state().held.clone();
    (reports, held)
}

#[test]
fn lives_are_equal_on_every_instance_engine_and_thread() {
    let program = load(BUSY);
    let expected = life(&program);
    assert!(expected.0.iter().all(|report| report.fuel > Fuel::ZERO && !matches!(report.ended, Ended::Failed(..))));
    assert!(expected.0.iter().any(|report| report.ended == Ended::Returned { more_work: true }));
    for _ in 0..5 {
        assert_eq!(life(&program), expected, "a later instance, after others were dropped");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let manifest = Manifest::default();
    for stack in [Stack::Replay, Stack::Live] {
        // The first compiles, the second finds it in the cache: the stack is not part of what is compiled.
        let again = open(dir.path(), stack).load(&wat(BUSY), &manifest).expect("loads");
        assert_eq!(life(&again), expected, "on an engine of its own: {stack:?}");
    }
    let compiled = std::fs::read_dir(dir.path().join("compiled")).expect("a cache");
    assert_eq!(compiled.filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some())).count(), 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..8).map(|_| life(&program)).collect::<Vec<_>>())).collect();
        for thread in threads {
            assert!(thread.join().expect("no panic").into_iter().all(|life| life == expected), "beside others");
        }
    });
}

#[test]
fn being_stopped_and_yielding_change_nothing() {
    let text = common::agent(
        "",
        "",
        "(local $i i32) (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 900000)))) (i32.const 0)",
    );
    let program = load(&text);
    let whole = run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new());
    assert!(whole.fuel > Fuel(5_000_000), "it yields several times");
    // Stopped ones in between, then one again from the beginning.
    for polls in 1..4 {
        let mut stopped = begun(&program);
        let world: Arc<dyn Membrane> = World::new();
        assert_eq!(common::poll_times(stopped.run(Input::Tick(Trigger::Interval), FUEL, world), polls), None);
        assert_eq!(stopped.fuel_used().0 / 1_000_000, polls as u64);
    }
    assert_eq!(run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new()), whole);
    // The fuel that a run is given does not change what it uses, as long as it is enough.
    for given in [whole.fuel, Fuel(whole.fuel.0 + 1), Fuel(u64::MAX)] {
        let mut guest = begun(&program);
        assert_eq!(block_on(guest.run(Input::Tick(Trigger::Interval), given, World::new())), whole, "given {given}");
    }
}

#[test]
fn fuel_is_exact_at_its_end() {
    let program = load(BUSY);
    let world = || World::with(|state| state.messages = [b"a".to_vec()].into());
    let whole = block_on(begun(&program).run(Input::Tick(Trigger::Wake), FUEL, world()));
    let less = block_on(begun(&program).run(Input::Tick(Trigger::Wake), Fuel(whole.fuel.0 / 2), world()));
    assert_eq!(less.fuel.0, whole.fuel.0 / 2);
    assert!(matches!(less.ended, Ended::Failed(igor_protocol::entry::Failure::OutOfFuel, _)));
    // The same failure, in the same words, each time.
    let again = block_on(begun(&program).run(Input::Tick(Trigger::Wake), Fuel(whole.fuel.0 / 2), world()));
    assert_eq!(again, less);
}

#[test]
fn failures_repeat_with_their_fuel() {
    for body in [
        "unreachable",
        "(i32.load (i32.const -1))",
        "(loop (br 0)) unreachable",
        "(i32.rem_u (i32.const 1) (i32.const 0))",
    ] {
        let program = load(&common::agent("", "", body));
        let first = run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new());
        assert!(matches!(first.ended, Ended::Failed(..)));
        for _ in 0..3 {
            assert_eq!(run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new()), first);
        }
    }
}
