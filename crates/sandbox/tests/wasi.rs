//! The WASI subset, as C, Zig, Go and QuickJS use it.

mod common;

use common::{World, begun, load, run};
use igor_protocol::{
    Nanos,
    entry::{Failure, Trigger},
};
use igor_spine::guest::{Ask, Ended, Input};
use std::sync::Arc;

const TICK: Input = Input::Tick(Trigger::Interval);

/// All that the tests import.
const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $prestat_name (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// Runs a tick with this body; gives how it ended and the first 256 bytes of memory after it.
fn tick(more: &str, body: &str, world: &Arc<World>) -> (Ended, Vec<u8>) {
    let more = format!(
        r#"{more} (func (export "agent_checkpoint") (result i32) i32.const 256)
        (func (export "agent_checkpoint_ptr") (result i32) i32.const 0)
        (func (export "agent_alloc") (param i32) (result i32) i32.const 0)
        (func (export "agent_resume") (param i32 i32))"#
    );
    let mut guest = begun(&load(&common::agent(IMPORTS, &more, body)));
    let ended = run(&mut guest, TICK, world).ended;
    if !matches!(ended, Ended::Returned { .. }) {
        return (ended, Vec::new());
    }
    let Ended::State(memory) = run(&mut guest, Input::Checkpoint, &World::new()).ended else { panic!("no state") };
    (ended, memory)
}

/// That each expression gives its error number.
fn gives(more: &str, all: &[(&str, i32)], world: &Arc<World>) -> Vec<u8> {
    let checks = all.iter().enumerate().map(|(index, (call, wanted))| {
        format!("(if (i32.ne {call} (i32.const {wanted})) (then (call $exit (i32.const {index}))))")
    });
    let body = checks.collect::<Vec<_>>().concat() + "(i32.const 0)";
    let (ended, memory) = tick(more, &body, world);
    assert_eq!(ended, Ended::Returned { more_work: false }, "the number is that of the call in {all:?}");
    memory
}

fn number(memory: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(memory[at..at + 8].try_into().expect("eight bytes"))
}

#[test]
fn both_clocks_are_the_observed_one() {
    let world = World::new();
    let calls = [
        ("(call $clock (i32.const 0) (i64.const 0) (i32.const 0))", 0),
        ("(call $clock (i32.const 1) (i64.const 1) (i32.const 8))", 0),
        ("(call $clock (i32.const 2) (i64.const 0) (i32.const 16))", 28),
        ("(call $clock (i32.const -1) (i64.const 0) (i32.const 16))", 28),
        ("(call $resolution (i32.const 1) (i32.const 24))", 0),
        ("(call $resolution (i32.const 3) (i32.const 24))", 28),
    ];
    let memory = gives("", &calls, &world);
    assert_eq!([0, 8, 16, 24].map(|at| number(&memory, at)), [1_000_000_000, 1_000_000_001, 0, 1]);
    assert_eq!(world.state().asked, [Ask::Clock, Ask::Clock]);
}

#[test]
fn random_bytes_are_observed() {
    let world = World::new();
    let memory = gives("", &[("(call $random (i32.const 1) (i32.const 2))", 0)], &world);
    assert_eq!(memory[..4], [0, 0, 31, 0]);
    assert_eq!(world.state().asked, [Ask::Random(2)]);
}

/// Go's `net`, which much of its library brings along, imports all four.
#[test]
fn sockets_are_imported_and_never_there() {
    let calls = [
        ("(call $accept (i32.const 0) (i32.const 0) (i32.const -1))", 52),
        ("(call $recv (i32.const 0) (i32.const -1) (i32.const 1) (i32.const 0) (i32.const -1) (i32.const -1))", 52),
        ("(call $send (i32.const 1) (i32.const -1) (i32.const 1) (i32.const 0) (i32.const -1))", 52),
        ("(call $shutdown (i32.const 3) (i32.const 2))", 52),
    ];
    let world = World::new();
    let memory = gives("", &calls, &world);
    assert_eq!(memory, [0; 256]);
    assert_eq!(world.state().asked.len(), 0);
    assert_eq!(world.state().held.len(), 0);
}

#[test]
fn there_are_no_files_arguments_or_environment() {
    let calls = [
        ("(call $args (i32.const 0) (i32.const 4))", 0),
        ("(call $args_get (i32.const -1) (i32.const -1))", 0),
        ("(call $env (i32.const 8) (i32.const 12))", 0),
        ("(call $env_get (i32.const -1) (i32.const -1))", 0),
        ("(call $prestat (i32.const 3) (i32.const 0))", 8),
        ("(call $prestat_name (i32.const 3) (i32.const 0) (i32.const 9))", 8),
        (
            "(call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0))",
            52,
        ),
        ("(call $read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16))", 0),
        ("(call $read (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 16))", 8),
        ("(call $close (i32.const 2))", 0),
        ("(call $close (i32.const 3))", 8),
        ("(call $close (i32.const -1))", 8),
        ("(call $seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0))", 70),
        ("(call $seek (i32.const 9) (i64.const 0) (i32.const 0) (i32.const 0))", 8),
        ("(call $stat (i32.const 1) (i32.const 32))", 0),
        ("(call $stat (i32.const 4) (i32.const 32))", 8),
        ("(call $flags (i32.const 0) (i32.const 4))", 0),
        ("(call $flags (i32.const 3) (i32.const 4))", 8),
        ("(call $yield)", 0),
    ];
    let world = World::new();
    // What must be zero afterwards is not so before.
    let memory = gives(
        r#"(data (i32.const 0) "\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\aa")"#,
        &calls,
        &world,
    );
    assert_eq!(memory[..21], [&[0; 20][..], &[0xaa]].concat());
    assert_eq!((memory[32], &memory[33..56]), (2, &[0; 23][..]), "a character device");
    assert!(world.state().asked.is_empty() && world.state().held.is_empty());
}

#[test]
fn exiting_is_a_trap_with_its_code() {
    let (ended, _) = tick("", "(call $exit (i32.const 3)) (i32.const 0)", &World::new());
    assert_eq!(ended, Ended::Failed(Failure::Trap, "the module exited with code 3".into()));
}

/// Two buffers: "one\ntw" and "o\nthree".
const TEXT: &str = r#"(data (i32.const 0) "\40\00\00\00\06\00\00\00\46\00\00\00\07\00\00\00") (data (i32.const 64) "one\ntwo\nthree")"#;

#[test]
fn what_is_written_becomes_lines() {
    let world = World::new();
    let calls = [
        ("(call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32))", 0),
        // Standard error has lines of its own, which do not mix with a half line of standard output.
        ("(call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 36))", 0),
        ("(call $write (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 40))", 8),
        ("(call $write (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 40))", 8),
        ("(call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 44))", 0),
    ];
    let memory = gives(TEXT, &calls, &world);
    assert_eq!((memory[32], memory[36], memory[40], memory[44]), (13, 6, 0, 0));
    // The run's end ends the lines.
    assert_eq!(world.logs(), ["one", "two", "one", "three", "tw"]);
}

#[test]
fn half_a_line_before_a_trap_is_kept() {
    let world = World::new();
    let write = "(drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 32)))";
    let (ended, _) = tick(TEXT, &format!("{write} unreachable"), &world);
    assert!(matches!(ended, Ended::Failed(Failure::Trap, _)));
    assert_eq!(world.logs(), ["o", "three"]);
}

#[test]
fn half_a_line_that_is_too_much_stops_the_run() {
    let world = World::with(|state| state.most = Some(1));
    let write = "(drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 32)))";
    let (ended, _) = tick(TEXT, &format!("{write} (i32.const 0)"), &world);
    assert!(matches!(ended, Ended::Stopped(_)), "{ended:?}");
}

#[test]
fn a_flood_is_taken_in_part() {
    // Two buffers of 60,000 bytes each: 16 KiB are taken, and the caller is told so.
    let more = r#"(data (i32.const 0) "\00\01\00\00\60\ea\00\00\00\01\00\00\60\ea\00\00")"#;
    let world = World::new();
    let memory = gives(more, &[("(call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32))", 0)], &world);
    assert_eq!(number(&memory, 32) & 0xffff_ffff, 16 << 10);
    assert_eq!(world.logs().iter().map(String::len).collect::<Vec<_>>(), [4096]);
    // A buffer outside memory traps, also where there is no room for it any more.
    let outside = more.replace("\\60\\ea\\00\\00\")", "\\01\\ff\\00\\00\")");
    let (ended, _) =
        tick(&outside, "(call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32))", &World::new());
    assert!(matches!(&ended, Ended::Failed(Failure::Trap, cause) if cause.starts_with("fd_write: ")), "{ended:?}");
}

/// The bytes of a subscription: userdata, kind, clock, timeout, flags.
fn subscription(userdata: u8, kind: u8, clock: u8, timeout: u64, flags: u8) -> String {
    let mut bytes = [0_u8; 48];
    (bytes[0], bytes[8], bytes[16], bytes[40]) = (userdata, kind, clock, flags);
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Polls these; gives how many events there were, and each as (userdata, error, kind).
fn poll(subscriptions: &[String], world: &Arc<World>) -> Vec<(u8, u8, u8)> {
    let more = format!(r#"(data (i32.const 1024) "{}")"#, subscriptions.concat());
    let call =
        format!("(call $poll (i32.const 1024) (i32.const 0) (i32.const {}) (i32.const 252))", subscriptions.len());
    let memory = gives(&more, &[(&call, 0)], world);
    let happened = usize::from(memory[252]);
    memory.chunks_exact(32).take(happened).map(|event| (event[0], event[8], event[10])).collect()
}

#[test]
fn polling_waits_for_the_soonest_clock() {
    let world = World::new();
    let both = [subscription(1, 0, 1, 5_000, 0), subscription(2, 0, 0, 3_000, 0), subscription(3, 0, 0, 3_000, 0)];
    assert_eq!(poll(&both, &world), [(2, 0, 0), (3, 0, 0)]);
    assert_eq!(world.state().waited, [Nanos(3_000)]);
    assert!(world.state().asked.is_empty(), "nothing but the waiting is observed");
}

#[test]
fn an_absolute_time_is_compared_with_the_observed_one() {
    let world = World::new();
    let later = subscription(1, 0, 0, 1_000_000_700, 1);
    assert_eq!(poll(&[later.clone(), later, subscription(2, 0, 1, 9_000, 0)], &world), [(1, 0, 0), (1, 0, 0)]);
    assert_eq!(world.state().waited, [Nanos(700)]);
    assert_eq!(world.state().asked, [Ask::Clock], "asked once");
    let world = World::new();
    assert_eq!(poll(&[subscription(7, 0, 1, 5, 1)], &world), [(7, 0, 0)]);
    assert!(world.state().waited.is_empty(), "it has passed");
}

#[test]
fn what_cannot_be_polled_says_so_at_once() {
    let world = World::new();
    let all = [
        subscription(1, 1, 0, 0, 0),
        subscription(2, 0, 0, 5_000, 0),
        subscription(3, 0, 2, 5, 0),
        subscription(4, 2, 0, 0, 0),
    ];
    assert_eq!(poll(&all, &world), [(1, 58, 1), (3, 28, 0), (4, 58, 2)]);
    assert!(world.state().waited.is_empty());
    for count in [0, 65] {
        let call = format!("(call $poll (i32.const 1024) (i32.const 0) (i32.const {count}) (i32.const 252))");
        gives("", &[(&call, 28)], &World::new());
    }
}
