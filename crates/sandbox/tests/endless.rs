//! Guests that do not end by themselves: wherever they loop, fuel ends them, and so does dropping the run.

mod common;

use common::{FUEL, World, begun, load, poll_times, run};
use igor_protocol::{
    Fuel,
    entry::{Failure, Trigger},
};
use igor_spine::guest::{Ended, Guest, Input, Membrane, Program};
use std::sync::Arc;

/// An agent that can checkpoint, with an endless loop in one function.
fn endless(place: &str) -> String {
    let body = |name: &str, otherwise: &str| {
        if name == place { "(loop (br 0)) unreachable".to_owned() } else { otherwise.to_owned() }
    };
    format!(
        r#"(module (memory (export "memory") 1)
            (func $start {start}) (start $start)
            (func (export "_initialize") {initialize})
            (func (export "agent_init") {init})
            (func (export "agent_tick") (result i32) {tick})
            (func (export "agent_checkpoint") (result i32) {checkpoint})
            (func (export "agent_checkpoint_ptr") (result i32) {ptr})
            (func (export "agent_alloc") (param i32) (result i32) {alloc})
            (func (export "agent_resume") (param i32 i32) {resume}))"#,
        start = body("start", ""),
        initialize = body("_initialize", ""),
        init = body("agent_init", ""),
        tick = body("agent_tick", "i32.const 0"),
        checkpoint = body("agent_checkpoint", "i32.const 4"),
        ptr = body("agent_checkpoint_ptr", "i32.const 0"),
        alloc = body("agent_alloc", "i32.const 8"),
        resume = body("agent_resume", ""),
    )
}

/// Where it loops, and the run that meets it.
fn places() -> [(&'static str, Input); 8] {
    let resume = || Input::Resume(vec![1, 2, 3, 4]);
    [
        ("start", Input::Init),
        ("_initialize", Input::Init),
        ("agent_init", Input::Init),
        ("agent_tick", Input::Tick(Trigger::Interval)),
        ("agent_checkpoint", Input::Checkpoint),
        ("agent_checkpoint_ptr", Input::Checkpoint),
        ("agent_alloc", resume()),
        ("agent_resume", resume()),
    ]
}

#[test]
fn fuel_ends_them_everywhere() {
    for (place, input) in places() {
        let program = load(&endless(place));
        let begins = matches!(input, Input::Init | Input::Resume(_));
        let mut guest = if begins { program.instantiate() } else { begun(&program) };
        let report = run(&mut guest, input, &World::new());
        let Ended::Failed(Failure::OutOfFuel, cause) = &report.ended else { panic!("{place}: {:?}", report.ended) };
        assert!(cause.starts_with("all fuel used in "), "{cause}");
        assert_eq!(report.fuel, FUEL, "{place}");
        assert_eq!(guest.fuel_used(), FUEL, "{place}");
    }
}

#[test]
fn dropping_the_run_ends_them_everywhere() {
    let plenty = Fuel(1 << 50);
    for (place, input) in places() {
        let program = load(&endless(place));
        let begins = matches!(input, Input::Init | Input::Resume(_));
        let mut guest = if begins { program.instantiate() } else { begun(&program) };
        let world: Arc<dyn Membrane> = World::new();
        assert_eq!(poll_times(guest.run(input, plenty, world), 5), None, "{place}");
        // It yields each million of fuel; what was used is known although the run is gone.
        let used = guest.fuel_used().0;
        assert!((5_000_000..5_010_000).contains(&used), "{place}: {used}");
        assert_eq!(guest.fuel_used().0, used);
    }
}

#[test]
fn hostcalls_do_not_keep_a_guest_from_yielding() {
    let imports = r#"(import "igor" "trigger" (func $trigger (result i32)))"#;
    let program = load(&common::agent(imports, "", "(loop (drop (call $trigger)) (br 0)) unreachable"));
    let mut guest = begun(&program);
    let world: Arc<dyn Membrane> = World::new();
    assert_eq!(poll_times(guest.run(Input::Tick(Trigger::Wake), Fuel(1 << 50), world), 3), None);
    assert!((3_000_000..3_010_000).contains(&guest.fuel_used().0));
}

#[test]
fn copying_much_is_fuel_too() {
    // One instruction that touches all of memory must not pass for one unit of work.
    for fill in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 65535))",
    ] {
        let program = load(&common::agent("", "", &format!("{fill} (i32.const 0)")));
        let report = run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new());
        assert!(report.fuel.0 >= 65_535, "{fill}: {}", report.fuel);
    }
}

#[test]
#[should_panic(expected = "is not run again")]
fn a_stopped_guest_is_not_run_again() {
    let mut guest = begun(&load(&endless("agent_tick")));
    let world: Arc<dyn Membrane> = World::new();
    assert_eq!(poll_times(guest.run(Input::Tick(Trigger::Wake), Fuel(1 << 40), world), 1), None);
    run(&mut guest, Input::Tick(Trigger::Wake), &World::new());
}

#[test]
#[should_panic(expected = "the first run of a guest")]
fn a_guest_begins_with_init_or_resume() {
    run(&mut load(&endless("nowhere")).instantiate(), Input::Tick(Trigger::Wake), &World::new());
}
