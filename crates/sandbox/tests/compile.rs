//! The compile child: what a hostile module does to it, it does not do to us.

mod common;

use common::{agent, child, wat};
use igor_protocol::Manifest;
use igor_sandbox::{
    Error, Refusal, Sandbox, Stack,
    compile::{CHILD_ARG, Compiler, Limits},
    error::Host,
};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

fn refusal(module: &[u8], program: PathBuf, limits: Limits) -> Error {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox =
        Sandbox::open(&dir.path().join("compiled"), Compiler::new(program, limits), Stack::Live).expect("opens");
    sandbox.load(module, &Manifest::default()).err().expect("it is not loaded")
}

fn refused(module: &[u8], limits: Limits) -> Refusal {
    match refusal(module, child(), limits) {
        Error::Refused(refusal) => refusal,
        Error::Host(host) => panic!("{host}"),
    }
}

/// Valid, small, and very hard to compile: one function of a great many values that live across a great many blocks.
fn bomb() -> Vec<u8> {
    let locals = "(local i64)".repeat(2000);
    let step = (0..2000).map(|local| {
        format!("(local.set {local} (i64.add (local.get {local}) (local.get {})))", (local * 7 + 1) % 2000)
    });
    let step = step.collect::<Vec<_>>().concat();
    let blocks = format!("(loop (br_if 0 (i64.eqz (local.get 0))) {step} (if (i64.eqz (local.get 9)) (then (br 1))))")
        .repeat(25);
    wat(&agent("", &format!("(func $bomb {locals} {blocks})"), "(i32.const 0)"))
}

#[test]
fn a_module_that_takes_too_long_is_refused() {
    let limits = Limits { time: Duration::from_secs(1), ..Limits::default() };
    let refused = refused(&bomb(), limits);
    assert_eq!(refused, Refusal::CompileTime(Duration::from_secs(1)));
    assert!(refused.to_string().contains("took more than 1s"), "{refused}");
    assert!(refused.to_string().contains("IGOR_COMPILE_SECONDS"), "{refused}");
}

#[test]
fn the_time_can_be_set_and_nothing_else_with_it() {
    let default = Limits::default();
    let minute = Limits::of_seconds("60").expect("a number");
    assert_eq!(minute, Limits { time: Duration::from_mins(1), cpu_seconds: 240, ..default });
    for text in ["", "0", "-1", "1.5", "3601", "18446744073709551616", "60s", " 60"] {
        let error = Limits::of_seconds(text).expect_err(text).to_string();
        assert_eq!(error, format!("IGOR_COMPILE_SECONDS is a whole number of seconds from 1 to 3600, not `{text}`"));
    }
    let second = Limits::of_seconds("1").expect("a number");
    assert_eq!(refused(&bomb(), second), Refusal::CompileTime(Duration::from_secs(1)));
}

#[test]
fn a_module_that_takes_too_much_cpu_is_refused() {
    let limits = Limits { cpu_seconds: 1, ..Limits::default() };
    assert_eq!(refused(&bomb(), limits), Refusal::CompileTime(Duration::from_secs(1)));
}

#[test]
fn a_module_that_takes_too_much_memory_is_refused() {
    let limits = Limits { memory_bytes: 128 << 20, ..Limits::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = Sandbox::open(dir.path(), Compiler::new(child(), limits), Stack::Live).expect("opens");
    let manifest = Manifest::default();
    sandbox.load(&wat(&agent("", "", "(i32.const 0)")), &manifest).expect("enough for a module that is not hostile");
    let refused = refused(&bomb(), limits);
    assert!(matches!(refused, Refusal::Compile { memory_bytes, .. } if memory_bytes == 128 << 20), "{refused}");
    assert!(refused.to_string().contains("want of memory"), "{refused}");
}

#[test]
fn with_the_default_limits_a_bomb_is_refused_too() {
    let refused = refused(&bomb(), Limits::default());
    assert!(matches!(refused, Refusal::CompileTime(_) | Refusal::Compile { .. }), "{refused}");
    let most = Limits::default();
    assert!(most.time < Duration::from_secs(15) && most.memory_bytes <= 1 << 30);
}

#[test]
fn bodies_that_are_not_valid_are_refused_by_the_child() {
    for (body, wanted) in [
        ("(i64.const 0)", "type mismatch"),
        ("(memory.atomic.notify (i32.const 0) (i32.const 0))", "threads"),
        ("(i32.add (i32.const 0))", "expected i32 but nothing on stack"),
    ] {
        let refused = refused(&wat(&agent("", "", body)), Limits::default());
        let Refusal::Invalid(why) = &refused else { panic!("{refused}") };
        assert!(why.to_string().contains(wanted), "{why}");
    }
}

#[test]
fn a_compiler_that_is_not_there_is_the_machines_fault() {
    let error = refusal(&wat(&agent("", "", "(i32.const 0)")), PathBuf::from("/nonexistent/igor"), Limits::default());
    assert!(matches!(error, Error::Host(Host::Compiler { .. })), "{error}");
    assert!(error.to_string().contains("`/nonexistent/igor`"), "{error}");
}

/// A program that does this instead of compiling.
fn impostor(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("impostor");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("ours");
    path
}

#[test]
fn whatever_the_child_does_ends() {
    let module = wat(&agent("", "", "(i32.const 0)"));
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    for (script, wanted) in [
        ("exec /bin/sleep 1000", "took more than 300ms"),
        // Another process keeps its output open.
        ("/bin/sleep 1000 & exit 0", "took more than 300ms"),
        // Says all there is to say, and stays.
        ("printf -- '-no'; exec >&- 2>&-; exec /bin/sleep 1000", "failed within"),
        ("exit 0", "failed within"),
        ("kill -9 $$", "signal: 9"),
        ("printf -- '-\\033[2Jno\\377'", "not a valid module: \\u{1b}[2Jno"),
        ("exec /bin/cat /dev/zero", ""),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let error = refusal(&module, impostor(dir.path(), script), limits).to_string();
        assert!(error.contains(wanted), "{script}: {error}");
        assert!(error.len() < 700, "{error}");
    }
}

#[test]
fn what_the_runtime_does_not_accept_is_not_loaded() {
    let dir = tempfile::tempdir().expect("a directory");
    let module = wat(&agent("", "", "(i32.const 0)"));
    let error = refusal(&module, impostor(dir.path(), "printf '+nonsense'"), Limits::default());
    assert!(matches!(error, Error::Host(Host::Artifact(_))), "{error}");
}

/// The child by itself, with this as its module.
fn child_says(arguments: &[&str], module: &[u8]) -> (Option<i32>, Vec<u8>) {
    let mut child =
        Command::new(child()).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    // It may end before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(module);
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), output.stdout)
}

#[test]
fn the_child_wants_its_arguments() {
    let module = wat(&agent("", "", "(i32.const 0)"));
    for arguments in [&[][..], &[CHILD_ARG], &[CHILD_ARG, "1000000"], &[CHILD_ARG, "x", "1"], &["--help"]] {
        assert_eq!(child_says(arguments, &module), (Some(2), Vec::new()));
    }
    let (status, output) = child_says(&[CHILD_ARG, "1000000000", "10"], &module);
    assert_eq!((status, output.first()), (Some(0), Some(&b'+')));
    let (status, output) = child_says(&[CHILD_ARG, "1000000000", "10"], b"nonsense");
    assert_eq!((status, output.first()), (Some(0), Some(&b'-')));
}
