//! The life of a guest: init, ticks, checkpoint, resume.

mod common;

use common::{World, begun, load, run};
use igor_protocol::{Fuel, entry::Trigger};
use igor_spine::guest::{Ended, Guest, Input, Program};

/// Counts ticks in a global; its state is the count, four bytes.
const COUNTER: &str = r#"(module
    (import "igor" "trigger" (func $trigger (result i32)))
    (import "igor" "log_emit" (func $log (param i32 i32)))
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (data (i32.const 100) "tick")
    (func (export "agent_init"))
    (func (export "agent_tick") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (call $log (i32.const 100) (i32.const 4))
        (i32.eq (call $trigger) (i32.const 4)))
    (func (export "agent_checkpoint") (result i32)
        (i32.store (i32.const 0) (global.get $count))
        (i32.const 4))
    (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
    (func (export "agent_alloc") (param i32) (result i32) (i32.const 64))
    (func (export "agent_resume") (param $ptr i32) (param i32)
        (global.set $count (i32.load (local.get $ptr)))))"#;

fn returned(more_work: bool) -> Ended {
    Ended::Returned { more_work }
}

#[test]
fn it_ticks_and_its_state_goes_on_in_another_instance() {
    let program = load(COUNTER);
    assert!(program.can_checkpoint());
    assert_eq!(program.runtime(), igor_sandbox::RUNTIME_ID);
    let mut first = begun(&program);
    let world = World::new();
    assert_eq!(run(&mut first, Input::Tick(Trigger::Interval), &world).ended, returned(false));
    assert_eq!(run(&mut first, Input::Tick(Trigger::MoreWork), &world).ended, returned(true));
    assert_eq!(world.logs(), ["tick", "tick"]);
    let Ended::State(state) = run(&mut first, Input::Checkpoint, &world).ended else { panic!("no state") };
    assert_eq!(state, [2, 0, 0, 0]);

    let mut second = program.instantiate();
    let report = run(&mut second, Input::Resume(state), &world);
    assert_eq!(report.ended, returned(false));
    assert!(report.fuel > Fuel::ZERO);
    run(&mut second, Input::Tick(Trigger::Interval), &world);
    assert_eq!(run(&mut second, Input::Checkpoint, &world).ended, Ended::State(vec![3, 0, 0, 0]));
    assert_eq!(second.fuel_used(), run_fuel(&mut first));
}

fn run_fuel(guest: &mut igor_sandbox::WasmGuest) -> Fuel {
    run(guest, Input::Checkpoint, &World::new()).fuel
}

/// The agents in the repository, as they were compiled, live here too.
#[test]
fn the_committed_agents_run() {
    for name in ["heartbeat", "strategy", "survivor"] {
        let path = format!("{}/../../agents/{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let manifest = igor_sandbox::manifest::of_module(&bytes).expect("a good one").unwrap_or_default().manifest;
        let program = common::sandbox().load(&bytes, &manifest).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(program.can_checkpoint(), "{name}");
        let world = World::with(|state| state.messages.push_back(b"hello".to_vec()));
        let mut first = begun(&program);
        for trigger in [Trigger::Interval, Trigger::Message, Trigger::Wake] {
            let ended = run(&mut first, Input::Tick(trigger), &world).ended;
            assert!(matches!(ended, Ended::Returned { .. }), "{name}: {ended:?}");
        }
        let Ended::State(state) = run(&mut first, Input::Checkpoint, &world).ended else { panic!("{name}: no state") };
        let mut second = program.instantiate();
        let resumed = run(&mut second, Input::Resume(state.clone()), &world).ended;
        assert_eq!(resumed, returned(false), "{name}");
        let again = run(&mut second, Input::Checkpoint, &world).ended;
        assert_eq!(again, Ended::State(state), "{name}: what was resumed is what was written");
    }
}
