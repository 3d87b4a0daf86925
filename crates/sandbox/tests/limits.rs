//! Guests that want too much, say what is not so, or break.

mod common;

use common::{World, agent, begun, load, run, try_load};
use igor_protocol::{
    Fuel, Manifest,
    entry::{Failure, Trigger},
    manifest::Limits,
};
use igor_sandbox::{Error, Refusal, Stack};
use igor_spine::guest::{Ended, Input, Program};

const TICK: Input = Input::Tick(Trigger::Interval);

fn limited(change: impl FnOnce(&mut Limits)) -> Manifest {
    let mut manifest = Manifest::default();
    change(&mut manifest.limits);
    manifest
}

/// How a tick of an agent with these limits ends.
fn tick(manifest: &Manifest, more: &str, body: &str) -> Ended {
    let program = try_load(&agent("", more, body), manifest).expect("a module that is accepted");
    run(&mut begun(&program), TICK, &World::new()).ended
}

#[test]
fn memory_ends_at_its_limit_whatever_the_machine_has() {
    let manifest = limited(|limits| limits.memory_bytes = 3 << 16);
    let grows = |pages: i32| format!("(memory.grow (i32.const {pages}))");
    // As the specification says, and as the guest may handle: -1, and it goes on.
    let refused = format!("(i32.ne {} (i32.const -1))", grows(3));
    assert_eq!(tick(&manifest, "", &refused), Ended::Returned { more_work: false });
    assert_eq!(
        tick(&manifest, "", &format!("(i32.ne {} (i32.const 1))", grows(2))),
        Ended::Returned { more_work: false }
    );
    // A module that allocates without end, and traps when there is no more.
    let without_end = format!("(loop (br_if 0 (i32.ne {} (i32.const -1)))) unreachable", grows(1));
    let Ended::Failed(Failure::OutOfMemory, cause) = tick(&manifest, "", &without_end) else { panic!("no failure") };
    assert!(cause.contains("262144 bytes of memory were refused: limits.memory_bytes is 196608"), "{cause}");
    assert!(cause.contains("then: ") && cause.contains("unreachable"), "{cause}");
    // One that does not give up ends with its fuel.
    let stubborn = format!("(loop (drop {}) (br 0)) unreachable", grows(1));
    assert!(matches!(tick(&manifest, "", &stubborn), Ended::Failed(Failure::OutOfFuel, _)));
}

#[test]
fn a_module_that_declares_its_own_maximum_is_not_out_of_memory() {
    let text = r#"(module (memory (export "memory") 1 2) (func (export "agent_init"))
        (func (export "agent_tick") (result i32)
            (if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then (return (i32.const 1)))) unreachable))"#;
    let ended = run(&mut begun(&load(text)), TICK, &World::new()).ended;
    assert!(matches!(ended, Ended::Failed(Failure::Trap, _)), "{ended:?}");
}

#[test]
fn tables_end_at_their_limit() {
    let manifest = limited(|limits| limits.table_elements = 100);
    let more = "(table $t 50 funcref) (table $u 0 funcref)";
    let grow = |table: &str, by: i32| format!("(table.grow ${table} (ref.null func) (i32.const {by}))");
    assert_eq!(
        tick(&manifest, more, &format!("(i32.ne {} (i32.const 50))", grow("t", 50))),
        Ended::Returned { more_work: false }
    );
    let both = format!("(drop {}) (i32.ne {} (i32.const -1))", grow("u", 40), grow("t", 11));
    assert_eq!(tick(&manifest, more, &both), Ended::Returned { more_work: false });
    let without_end = format!("(loop (br_if 0 (i32.ne {} (i32.const -1)))) unreachable", grow("u", 1));
    let Ended::Failed(Failure::OutOfMemory, cause) = tick(&manifest, more, &without_end) else { panic!("no failure") };
    assert!(cause.contains("limits.table_elements is 100"), "{cause}");
}

#[test]
fn what_is_declared_too_large_is_refused_at_load() {
    let init_tick = r#"(func (export "agent_init")) (func (export "agent_tick"))"#;
    let refused = |text: &str| match try_load(text, &Manifest::default()) {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{text}: {:?}", other.map(|_| "accepted")),
    };
    let memory = refused(&format!(r#"(module (memory (export "memory") 2000) {init_tick})"#));
    assert_eq!(memory, Refusal::MemoryTooLarge { bytes: 131_072_000, limit: 64 << 20 });
    let table = refused(&format!(r#"(module (memory (export "memory") 1) (table 4000000000 funcref) {init_tick})"#));
    assert_eq!(table, Refusal::TablesTooLarge { elements: 4_000_000_000, limit: 100_000 });
}

#[test]
fn deep_recursion_overflows_the_stack_and_nothing_else() {
    let more = "(func $deeper (param i64) (result i64) (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (i64.const 1)))";
    let body = "(drop (call $deeper (i64.const 0))) (i32.const 0)";
    let Ended::Failed(Failure::StackOverflow, cause) = tick(&Manifest::default(), more, body) else {
        panic!("no overflow")
    };
    assert!(cause.starts_with("the stack overflowed in `deeper`"), "{cause}");
}

#[test]
fn a_replay_has_more_stack_than_any_life() {
    // Deeper than a quarter of what a replay has: a life ends there, its replay on another machine does not.
    let more = "(func $down (param i32) (result i32)
        (if (result i32) (local.get 0) (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (i32.const 0))))";
    let tick_at = |stack: Stack, depth: u32| {
        let dir = tempfile::tempdir().expect("a directory");
        let text = agent("", more, &format!("(drop (call $down (i32.const {depth}))) (i32.const 0)"));
        let program = common::open(dir.path(), stack).load(&common::wat(&text), &Manifest::default()).expect("loads");
        run(&mut begun(&program), TICK, &World::new()).ended
    };
    let fits = |stack| {
        (1..20)
            .map(|step| 2_u32.pow(step))
            .take_while(|depth| tick_at(stack, *depth) == Ended::Returned { more_work: false })
            .last()
    };
    let (live, replay) = (fits(Stack::Live), fits(Stack::Replay));
    assert_eq!(replay, live.map(|depth| depth * 4), "powers of two, so exactly four times");
}

/// An agent whose checkpoint is this long at this place, and whose other functions are these.
fn with_checkpoint(len: &str, ptr: &str, alloc: &str, resume: &str) -> String {
    let more = format!(
        r#"(func (export "agent_checkpoint") (result i32) {len})
        (func (export "agent_checkpoint_ptr") (result i32) {ptr})
        (func (export "agent_alloc") (param i32) (result i32) {alloc})
        (func (export "agent_resume") (param i32 i32) {resume})"#
    );
    agent("", &more, "(i32.const 0)")
}

#[test]
fn a_checkpoint_that_lies_about_its_length_fails() {
    let checkpoint = |len: &str, ptr: &str| {
        let program = load(&with_checkpoint(len, ptr, "i32.const 8", ""));
        run(&mut begun(&program), Input::Checkpoint, &World::new()).ended
    };
    for (len, ptr) in
        [("65537", "0"), ("1", "65536"), ("2", "65535"), ("1", "-1"), ("65536", "1"), ("16777216", "0"), ("0", "65537")]
    {
        let ended = checkpoint(&format!("i32.const {len}"), &format!("i32.const {ptr}"));
        let Ended::Failed(Failure::Trap, cause) = &ended else { panic!("{len} at {ptr}: {ended:?}") };
        assert!(cause.contains("agent_checkpoint:") && cause.contains("not inside memory"), "{cause}");
    }
    for len in ["16777217", "-1", "-2147483648"] {
        let ended = checkpoint(&format!("i32.const {len}"), "i32.const 0");
        let Ended::Failed(Failure::OverLimit, cause) = &ended else { panic!("{len}: {ended:?}") };
        assert!(cause.contains("limits.state_bytes is 16777216"), "{cause}");
    }
    assert_eq!(checkpoint("i32.const 0", "i32.const 65536"), Ended::State(Vec::new()));
    let trapped = checkpoint("unreachable", "i32.const 0");
    assert!(matches!(&trapped, Ended::Failed(Failure::Trap, cause) if cause.contains("unreachable")), "{trapped:?}");
}

#[test]
fn a_state_that_is_not_taken_fails() {
    let resume = |alloc: &str, resume: &str, state: Vec<u8>| {
        let program = load(&with_checkpoint("i32.const 0", "i32.const 0", alloc, resume));
        run(&mut program.instantiate(), Input::Resume(state), &World::new()).ended
    };
    let fails = |ended: Ended, why: &str| match ended {
        Ended::Failed(Failure::Trap, cause) => assert!(cause.contains(why), "{cause}"),
        other => panic!("{other:?}"),
    };
    fails(resume("i32.const 8", "unreachable", vec![1]), "unreachable");
    fails(resume("unreachable", "", vec![1]), "unreachable");
    fails(resume("i32.const 0", "", vec![1]), "agent_alloc gave no room for a state of 1 bytes");
    fails(resume("i32.const 65536", "", vec![1]), "agent_alloc: 1 bytes at 0x10000 are not inside memory");
    fails(resume("i32.const -1", "", vec![1]), "not inside memory");
    fails(resume("i32.const 65535", "", vec![1, 2]), "not inside memory");
    fails(resume("i32.const 8", "", vec![0; 65_536]), "not inside memory");
    assert_eq!(resume("i32.const 65535", "", vec![1]), Ended::Returned { more_work: false });
    assert_eq!(resume("i32.const 0", "", Vec::new()), Ended::Returned { more_work: false });
    // One without the functions for it.
    let program = load(&agent("", "", "(i32.const 0)"));
    assert!(!program.can_checkpoint());
    fails(run(&mut program.instantiate(), Input::Resume(vec![1]), &World::new()).ended, "exports no agent_resume");
    fails(run(&mut begun(&program), Input::Checkpoint, &World::new()).ended, "exports no agent_checkpoint");
}

#[test]
fn traps_are_told_with_their_place() {
    for (body, wanted) in [
        ("unreachable", "wasm `unreachable` instruction executed in function 1 at +0x"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "integer divide by zero"),
        ("(i32.load (i32.const 65536))", "out of bounds memory access"),
        ("(call_indirect $t (type $none) (i32.const 0)) (i32.const 0)", "uninitialized element"),
        ("(call_indirect $t (type $none) (i32.const 9)) (i32.const 0)", "table"),
        ("(i32.trunc_f32_s (f32.const nan))", "invalid conversion to integer"),
    ] {
        let ended = tick(&Manifest::default(), "(type $none (func)) (table $t 2 funcref)", body);
        let Ended::Failed(Failure::Trap, cause) = &ended else { panic!("{body}: {ended:?}") };
        assert!(cause.contains(wanted), "{cause}");
    }
    let name = "\\1b[2J".to_owned() + &"n".repeat(3000);
    let text = format!(
        r#"(module (memory (export "memory") 1) (func (export "agent_init")) (func $evil (@name "{name}") unreachable)
            (func (export "agent_tick") (call $evil)))"#
    );
    let ended = run(&mut begun(&load(&text)), TICK, &World::new()).ended;
    let Ended::Failed(Failure::Trap, cause) = &ended else { panic!("{ended:?}") };
    assert!(cause.contains("in `\\u{1b}[2Jnnn"), "{cause}");
    assert!(cause.len() < 400 && cause.chars().all(|c| !c.is_control()), "{cause}");
}

#[test]
fn a_segment_that_does_not_fit_fails_the_first_run() {
    let program = load(&agent("", r#"(data (i32.const 65530) "too long for it")"#, "(i32.const 0)"));
    let report = run(&mut program.instantiate(), Input::Init, &World::new());
    assert!(
        matches!(&report.ended, Ended::Failed(Failure::Trap, cause) if cause.contains("instantiated")),
        "{report:?}"
    );
    assert_eq!(report.fuel, Fuel::ZERO);
}

#[test]
fn a_start_function_runs_first_and_inside_the_run() {
    let text = r#"(module (import "igor" "log_emit" (func $log (param i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "start_initialize")
        (func $start (call $log (i32.const 0) (i32.const 5)))
        (func (export "_initialize") (call $log (i32.const 5) (i32.const 11)))
        (func (export "agent_init") (call $log (i32.const 0) (i32.const 1)))
        (func (export "agent_tick")) (start $start))"#;
    let world = World::new();
    let report = run(&mut load(text).instantiate(), Input::Init, &world);
    assert_eq!(report.ended, Ended::Returned { more_work: false });
    assert_eq!(world.logs(), ["start", "_initialize", "s"]);
}
