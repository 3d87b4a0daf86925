//! The functions of module `igor`: what they give, and what they do with pointers that point elsewhere.

mod common;

use common::{World, agent, begun, load, run};
use igor_protocol::{
    Nanos,
    entry::{Destination, Failure, Trigger},
};
use igor_spine::guest::{Ask, Ended, Held, Hold, Input, Program, Stop};
use std::sync::Arc;

const TICK: Input = Input::Tick(Trigger::Interval);

/// Runs one tick of an agent whose tick gives nonzero where something is not as it must be.
fn tick(imports: &str, body: &str, world: &Arc<World>) -> Ended {
    run(&mut begun(&load(&agent(imports, "", body))), TICK, world).ended
}

/// That `expression`, of type i32, is `wanted` inside a tick.
fn gives(imports: &str, expression: &str, wanted: i32, world: &Arc<World>) {
    let ended = tick(imports, &format!("(i32.ne {expression} (i32.const {wanted}))"), world);
    assert_eq!(ended, Ended::Returned { more_work: false }, "{expression} is not {wanted}");
}

/// The memory of an agent after a tick with this body, as its checkpoint shows it: the first 64 bytes.
fn memory_after(imports: &str, body: &str, world: &Arc<World>) -> Vec<u8> {
    let more = r#"(func (export "agent_checkpoint") (result i32) i32.const 64)
        (func (export "agent_checkpoint_ptr") (result i32) i32.const 0)
        (func (export "agent_alloc") (param i32) (result i32) i32.const 0)
        (func (export "agent_resume") (param i32 i32))"#;
    let mut guest = begun(&load(&agent(imports, more, body)));
    assert_eq!(run(&mut guest, TICK, world).ended, Ended::Returned { more_work: false });
    let Ended::State(memory) = run(&mut guest, Input::Checkpoint, world).ended else { panic!("no state") };
    memory
}

#[test]
fn numbers_are_what_the_world_says() {
    let world = World::with(|state| {
        state.gap = Nanos(42);
        state.receipts = vec![b"r".to_vec(), b"s".to_vec()];
    });
    for (name, wanted) in
        [("clock_now", 1_000_000_000), ("wallet_balance", 5_000_000), ("node_price", 77), ("resumed_gap", 42)]
    {
        let import = format!(r#"(import "igor" "{name}" (func $f (result i64)))"#);
        // The clock of the test goes on by one with each question.
        gives(&import, &format!("(i64.eq (call $f) (i64.const {wanted}))"), 1, &world);
    }
    let import = r#"(import "igor" "wallet_receipt_count" (func $f (result i32)))"#;
    gives(import, "(call $f)", 2, &world);
    assert_eq!(world.state().asked, [Ask::Clock, Ask::Balance, Ask::Price, Ask::ReceiptCount]);
}

#[test]
fn random_bytes_fill_the_buffer_and_no_more() {
    let import = r#"(import "igor" "rand_bytes" (func $f (param i32 i32) (result i32)))"#;
    let world = World::new();
    let memory = memory_after(import, "(call $f (i32.const 4) (i32.const 3))", &world);
    assert_eq!(memory[..8], [0, 0, 0, 0, 0, 31, 62, 0]);
    assert_eq!(world.state().asked, [Ask::Random(3)]);
    gives(import, "(call $f (i32.const 65536) (i32.const 0))", 0, &world);
}

#[test]
fn receipts_come_whole_or_not_at_all() {
    let import = r#"(import "igor" "wallet_receipt" (func $f (param i32 i32 i32) (result i32)))"#;
    let world = World::with(|state| state.receipts = vec![b"abcdef".to_vec()]);
    gives(import, "(call $f (i32.const 0) (i32.const 0) (i32.const 64))", 6, &world);
    gives(import, "(call $f (i32.const 1) (i32.const 0) (i32.const 64))", -1, &world);
    gives(import, "(call $f (i32.const -1) (i32.const 0) (i32.const 64))", -1, &world);
    gives(import, "(call $f (i32.const 0) (i32.const 0) (i32.const 5))", -5, &world);
    let written =
        memory_after(import, "(drop (call $f (i32.const 0) (i32.const 1) (i32.const 6))) (i32.const 0)", &world);
    assert_eq!(&written[..8], b"\0abcdef\0");
    let needed =
        memory_after(import, "(drop (call $f (i32.const 0) (i32.const 1) (i32.const 5))) (i32.const 0)", &world);
    assert_eq!(&needed[..8], b"\0\x06\0\0\0\0\0\0", "the needed length");
}

const NEXT: &str = r#"(import "igor" "message_next" (func $next (param i32 i32) (result i32)))"#;

#[test]
fn messages_are_taken_when_they_fit() {
    let world = World::with(|state| state.messages = [b"hello".to_vec(), Vec::new()].into());
    let peek = "(drop (call $next (i32.const 8) (i32.const 4))) (i32.const 0)";
    assert_eq!(memory_after(NEXT, peek, &world)[8..13], [5, 0, 0, 0, 0], "the needed length, and nothing taken");
    assert_eq!(memory_after(NEXT, &peek.replace("const 4", "const 3"), &world), [0; 64], "no room to say so");
    gives(NEXT, "(call $next (i32.const 0) (i32.const 4))", -5, &world);
    let take = "(drop (call $next (i32.const 8) (i32.const 5))) (i32.const 0)";
    assert_eq!(&memory_after(NEXT, take, &world)[8..14], b"hello\0");
    gives(NEXT, "(call $next (i32.const 0) (i32.const 0))", 0, &world);
    gives(NEXT, "(call $next (i32.const 0) (i32.const 64))", -1, &world);
}

const REPLY: &str = r#"(import "igor" "message_reply" (func $reply (param i32 i32) (result i32)))"#;

#[test]
fn replies_are_held() {
    let world = World::new();
    let call = "(call $reply (i32.const 0) (i32.const 2))";
    gives(REPLY, call, 0, &world);
    assert_eq!(world.state().held, [Held::Reply(vec![0, 0])]);
    for (answer, wanted) in [(Hold::NoMessage, -1), (Hold::AlreadyReplied, -2), (Hold::TooLong, -3)] {
        gives(REPLY, call, wanted, &World::with(|state| state.reply = Some(answer)));
    }
    // Longer than a message may be: the world is not even asked.
    let world = World::new();
    let grow = "(drop (memory.grow (i32.const 2)))";
    let too_large = "(i32.ne (call $reply (i32.const 0) (i32.const 65537)) (i32.const -3))";
    assert_eq!(tick(REPLY, &[grow, too_large].concat(), &world), Ended::Returned { more_work: false });
    assert_eq!(world.state().held, []);
}

#[test]
fn requests_are_held_in_order() {
    let imports = r#"(import "igor" "wake_at" (func $wake (param i64))) (import "igor" "finish" (func $finish))"#;
    let world = World::new();
    tick(imports, "(call $wake (i64.const -7)) (call $wake (i64.const 9)) (call $finish) (i32.const 0)", &world);
    assert_eq!(world.state().held, [Held::WakeAt(-7), Held::WakeAt(9), Held::Finish]);
}

#[test]
fn nodes_are_listed_and_asked_for() {
    let world = World::with(|state| state.nodes = b"did:key:z6Mk 7 0\n".to_vec());
    let draining = r#"(import "igor" "node_draining" (func $f (result i32)))"#;
    gives(draining, "(call $f)", 1, &world);
    let list = r#"(import "igor" "node_list" (func $f (param i32 i32) (result i32)))"#;
    gives(list, "(call $f (i32.const 0) (i32.const 64))", 17, &world);
    gives(list, "(call $f (i32.const 0) (i32.const 16))", -5, &world);
    assert_eq!(world.state().asked, [Ask::Draining, Ask::Nodes, Ask::Nodes]);
}

#[test]
fn a_wish_to_move_names_a_node_or_none() {
    const KEY: &str = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";
    let import = r#"(import "igor" "migrate_to" (func $f (param i32 i32) (result i32)))"#;
    let data = format!(r#"{import} (data (i32.const 100) "{KEY}x")"#);
    let world = World::new();
    gives(&data, "(call $f (i32.const 100) (i32.const 56))", 0, &world);
    gives(&data, "(call $f (i32.const 0) (i32.const 0))", 0, &world);
    // A letter too many or too few, what is no text, and more than is looked at.
    for len in [57, 55, 1000] {
        gives(&data, &format!("(call $f (i32.const 100) (i32.const {len}))"), -6, &world);
    }
    let node = KEY.parse().expect("a key");
    assert_eq!(world.state().held, [Destination::Node(node), Destination::Anywhere].map(Held::MigrateTo));
}

#[test]
fn the_trigger_is_told() {
    let import = r#"(import "igor" "trigger" (func $trigger (result i32)))"#;
    let program = load(&agent(import, "", "(call $trigger) (i32.const 3) i32.eq"));
    for trigger in
        [Trigger::Interval, Trigger::Message, Trigger::Wake, Trigger::MoreWork, Trigger::Resumed { gap: Nanos(1) }]
    {
        let ended = run(&mut begun(&program), Input::Tick(trigger), &World::new()).ended;
        assert_eq!(ended, Ended::Returned { more_work: trigger == Trigger::Wake });
    }
}

/// An agent that does this in `agent_init`, and what comes of it.
fn in_init(imports: &str, body: &str) -> Ended {
    let text = format!(
        r#"(module {imports} (memory (export "memory") 1)
            (func (export "agent_init") {body}) (func (export "agent_tick")))"#
    );
    run(&mut load(&text).instantiate(), Input::Init, &World::new()).ended
}

#[test]
fn outside_ticks_messages_and_requests_are_refused() {
    let unless = |call: &str| format!("(if (i32.ne {call} (i32.const -4)) (then unreachable))");
    let fine = Ended::Returned { more_work: false };
    assert_eq!(in_init(NEXT, &unless("(call $next (i32.const 0) (i32.const 9))")), fine);
    assert_eq!(in_init(REPLY, &unless("(call $reply (i32.const 0) (i32.const 9))")), fine);
    let migrate = r#"(import "igor" "migrate_to" (func $f (param i32 i32) (result i32)))"#;
    assert_eq!(in_init(migrate, &unless("(call $f (i32.const 0) (i32.const 0))")), fine);
    let trigger = r#"(import "igor" "trigger" (func $trigger (result i32)))"#;
    assert_eq!(in_init(trigger, "(if (call $trigger) (then unreachable))"), fine);
    let wake = in_init(r#"(import "igor" "wake_at" (func $f (param i64)))"#, "(call $f (i64.const 1))");
    assert_eq!(wake, Ended::Failed(Failure::Trap, "wake_at outside a tick".into()));
    let finish = in_init(r#"(import "igor" "finish" (func $f))"#, "(call $f)");
    assert_eq!(finish, Ended::Failed(Failure::Trap, "finish outside a tick".into()));
}

/// Every hostcall that takes a pointer, with one bad buffer at a time; `P` and `N` stand for pointer and length.
const POINTERS: &[(&str, &str, &str)] = &[
    ("igor", "rand_bytes", "(param i32 i32) (result i32)|P N"),
    ("igor", "log_emit", "(param i32 i32)|P N"),
    ("igor", "wallet_receipt", "(param i32 i32 i32) (result i32)|0 P N"),
    ("igor", "node_list", "(param i32 i32) (result i32)|P N"),
    ("igor", "migrate_to", "(param i32 i32) (result i32)|P N"),
    ("igor", "message_next", "(param i32 i32) (result i32)|P N"),
    ("igor", "message_reply", "(param i32 i32) (result i32)|P N"),
    ("wasi_snapshot_preview1", "random_get", "(param i32 i32) (result i32)|P N"),
    ("wasi_snapshot_preview1", "clock_time_get", "(param i32 i64 i32) (result i32)|0 0 P8"),
    ("wasi_snapshot_preview1", "clock_res_get", "(param i32 i32) (result i32)|0 P8"),
    ("wasi_snapshot_preview1", "args_sizes_get", "(param i32 i32) (result i32)|P4 0"),
    ("wasi_snapshot_preview1", "args_sizes_get", "(param i32 i32) (result i32)|0 P4"),
    ("wasi_snapshot_preview1", "environ_sizes_get", "(param i32 i32) (result i32)|P4 0"),
    ("wasi_snapshot_preview1", "environ_sizes_get", "(param i32 i32) (result i32)|0 P4"),
    ("wasi_snapshot_preview1", "fd_write", "(param i32 i32 i32 i32) (result i32)|1 P N8 0"),
    ("wasi_snapshot_preview1", "fd_write", "(param i32 i32 i32 i32) (result i32)|1 0 0 P4"),
    ("wasi_snapshot_preview1", "fd_read", "(param i32 i32 i32 i32) (result i32)|0 0 0 P4"),
    ("wasi_snapshot_preview1", "fd_fdstat_get", "(param i32 i32) (result i32)|1 P24"),
    ("wasi_snapshot_preview1", "poll_oneoff", "(param i32 i32 i32 i32) (result i32)|P 0 N48 0"),
    ("wasi_snapshot_preview1", "poll_oneoff", "(param i32 i32 i32 i32) (result i32)|0 P N32 0"),
    ("wasi_snapshot_preview1", "poll_oneoff", "(param i32 i32 i32 i32) (result i32)|0 0 0 P4"),
];

/// Ranges that are not inside a memory of one page, as (pointer, bytes).
const OUTSIDE: &[(i32, i32)] = &[
    (65_536, 1),
    (65_535, 2),
    (0, 65_537),
    (0, -1),
    (-1, 1),
    (-1, -1),
    (1, i32::MAX),
    (i32::MIN, i32::MIN),
    (i32::MAX, i32::MAX),
    (-4, 8),
    (65_537, 0),
];

#[test]
fn a_buffer_outside_memory_traps_and_asks_nothing() {
    let mut tried = 0;
    for (module, name, call) in POINTERS {
        let (types, arguments) = call.split_once('|').expect("types|arguments");
        let types_of = types.split_once(')').expect("parameters").0.split(' ').skip(1);
        let push = |(argument, ty): (&str, &str)| match argument.chars().next() {
            Some('P') => "(local.get $pointer)".to_owned(),
            Some('N') => "(local.get $count)".to_owned(),
            _ => format!("({ty}.const {argument})"),
        };
        let pushed: Vec<_> = arguments.split(' ').zip(types_of).map(push).collect();
        // The balance says which buffer to try, so that one module tries them all.
        let imports = format!(
            r#"(import "igor" "wallet_balance" (func $balance (result i64)))
               (import "{module}" "{name}" (func $f {types}))"#
        );
        let body = format!(
            "(local $both i64) (local $pointer i32) (local $count i32)
             (local.set $both (call $balance))
             (local.set $pointer (i32.wrap_i64 (local.get $both)))
             (local.set $count (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))
             (call $f {}) {} (i32.const 0)",
            pushed.join(" "),
            if types.contains("result") { "drop" } else { "" },
        );
        let program = load(&agent(&imports, "", &body));
        let record = arguments.split(' ').find_map(|argument| argument.strip_prefix('N'));
        for (pointer, bytes) in OUTSIDE {
            let count = match record.map(str::parse::<i32>) {
                // A buffer of fixed length is outside where its pointer says so.
                None if i64::from(pointer.cast_unsigned()) < 65_533 => continue,
                // So many records that they are at least as long.
                Some(Ok(record)) if *bytes > 0 => bytes / record + 1,
                _ => *bytes,
            };
            let both = i64::from(count) << 32 | i64::from(pointer.cast_unsigned());
            let world = World::with(|state| {
                state.balance = Some(both);
                state.messages = [b"m".to_vec()].into();
            });
            let ended = run(&mut begun(&program), TICK, &world).ended;
            let Ended::Failed(Failure::Trap, cause) = &ended else { panic!("{call} {pointer} {count}: {ended:?}") };
            assert!(cause.starts_with(&format!("{name}: ")), "{cause}");
            assert!(cause.contains("not inside the memory of 65536 bytes"), "{cause}");
            let state = world.state();
            assert!(
                state.asked == [Ask::Balance] && state.held.is_empty() && state.waited.is_empty(),
                "{name} asked first"
            );
            tried += 1;
        }
    }
    assert!(tried > 120, "{tried}");
}

#[test]
fn the_membrane_can_stop_a_run_at_each_call() {
    for (import, call) in [
        (r#"(import "igor" "clock_now" (func $f (result i64)))"#, "(drop (call $f))"),
        (r#"(import "igor" "node_price" (func $f (result i64)))"#, "(drop (call $f))"),
        (
            r#"(import "igor" "rand_bytes" (func $f (param i32 i32) (result i32)))"#,
            "(drop (call $f (i32.const 0) (i32.const 1)))",
        ),
        (r#"(import "igor" "log_emit" (func $f (param i32 i32)))"#, "(call $f (i32.const 0) (i32.const 1))"),
        (r#"(import "igor" "wake_at" (func $f (param i64)))"#, "(call $f (i64.const 1))"),
        (NEXT, "(drop (call $next (i32.const 0) (i32.const 1)))"),
        (REPLY, "(drop (call $reply (i32.const 0) (i32.const 1)))"),
    ] {
        let world = World::with(|state| state.most = Some(3));
        let ended = tick(import, &format!("(loop {call} (br 0)) (i32.const 0)"), &world);
        assert_eq!(ended, Ended::Stopped(Stop::OverLimit("observations")), "{call}");
        let state = world.state();
        assert_eq!(state.asked.len() + state.held.len(), 3);
    }
}

#[test]
fn a_call_is_a_line_unless_its_text_has_several() {
    let imports = r#"(import "igor" "log_emit" (func $log (param i32 i32)))"#;
    let more = r#"(data (i32.const 0) "one\n\ntwo\n") (data (i32.const 100) "\ff\c3\a9")"#;
    let call = |at: i32, len: i32| format!("(call $log (i32.const {at}) (i32.const {len}))");
    let body = [call(0, 3), call(0, 4), call(0, 9), call(0, 0), call(100, 3), "(i32.const 0)".into()].concat();
    let world = World::new();
    run(&mut begun(&load(&agent(imports, more, &body))), TICK, &world);
    assert_eq!(world.logs(), ["one", "one", "one", "", "two", "", "\u{fffd}\u{e9}"]);
}

#[test]
fn a_flood_of_text_is_bounded_in_each_call() {
    let imports = r#"(import "igor" "log_emit" (func $log (param i32 i32)))"#;
    let fill = "(memory.fill (i32.const 0) (i32.const 120) (i32.const 65536))";
    let world = World::new();
    tick(imports, &format!("{fill} (call $log (i32.const 0) (i32.const 65536)) (i32.const 0)"), &world);
    let logs = world.logs();
    assert_eq!(logs.len(), 2);
    assert_eq!((logs[0].len(), logs[1].as_str()), (4096, "[cut]"));
    assert!(logs[0].ends_with("xxx [cut]"));
    let newlines = fill.replace("120", "10");
    let world = World::new();
    tick(imports, &format!("{newlines} (call $log (i32.const 0) (i32.const 65536)) (i32.const 0)"), &world);
    assert_eq!(world.logs().len(), (16 << 10) + 1);
}
