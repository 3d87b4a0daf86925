//! Modules in, refusals out; and bytes that nobody meant as a module.

use super::*;
use igor_protocol::manifest::Limits;
use proptest::prelude::*;

const BODY: &str = r#"(memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick"))"#;

fn check_text(text: &str, manifest: &Manifest) -> Result<Checked, Refusal> {
    check(&wat::parse_str(text).unwrap_or_else(|error| panic!("{text}\n{error}")), manifest)
}

/// That the module is refused in words that contain each of `wanted`.
fn refused(text: &str, wanted: &[&str]) {
    let error = check_text(text, &Manifest::default()).expect_err(text).to_string();
    for words in wanted {
        assert!(error.contains(words), "{text}\n  gave: {error}\n  not: {words}");
    }
    assert!(error.len() < 700, "too long: {error}");
}

#[test]
fn the_least_agent_is_accepted() {
    let accepted = check_text(&format!("(module {BODY})"), &Manifest::default());
    assert_eq!(accepted, Ok(Checked { start: None, can_checkpoint: false }));
}

#[test]
fn exports_for_checkpoints_come_together() {
    let write = r#"(func (export "agent_checkpoint") (result i32) i32.const 0)"#;
    let locate = r#"(func (export "agent_checkpoint_ptr") (result i32) i32.const 0)"#;
    let resume = r#"(func (export "agent_resume") (param i32 i32))"#;
    let malloc = r#"(func (export "malloc") (param i32) (result i32) i32.const 0)"#;
    let alloc = r#"(func (export "agent_alloc") (param i32) (result i32) i32.const 0)"#;
    for allocator in [malloc, alloc] {
        let all = check_text(&format!("(module {BODY} {write} {locate} {resume} {allocator})"), &Manifest::default());
        assert_eq!(all, Ok(Checked { start: None, can_checkpoint: true }));
    }
    refused(
        &format!("(module {BODY} {write} {resume} {alloc})"),
        &["exports agent_checkpoint but not agent_checkpoint_ptr"],
    );
    refused(&format!("(module {BODY} {write} {locate} {alloc})"), &["not agent_resume"]);
    refused(&format!("(module {BODY} {locate} {resume} {alloc})"), &["not agent_checkpoint;"]);
    refused(&format!("(module {BODY} {write} {locate} {resume})"), &["not agent_alloc", "or malloc"]);
    // A libc's malloc alone says nothing; nor does its type, unless it would be called.
    let odd = r#"(func (export "malloc") (param i64))"#;
    assert!(check_text(&format!("(module {BODY} {malloc})"), &Manifest::default()).is_ok_and(|it| !it.can_checkpoint));
    assert!(check_text(&format!("(module {BODY} {odd})"), &Manifest::default()).is_ok());
    refused(
        &format!("(module {BODY} {write} {locate} {resume} {odd})"),
        &["exports malloc as (i64) -> ()", "(i32) -> (i32)"],
    );
}

#[test]
fn missing_and_wrong_exports_are_named() {
    let memory = r#"(memory (export "memory") 1)"#;
    let init = r#"(func (export "agent_init"))"#;
    let tick = r#"(func (export "agent_tick"))"#;
    refused(&format!("(module {init} {tick})"), &["does not export memory"]);
    refused(&format!("(module {memory} {tick})"), &["does not export agent_init", "() -> ()"]);
    refused(&format!("(module {memory} {init})"), &["does not export agent_tick", "() -> (i32) or () -> ()"]);
    refused(
        &format!(r#"(module {memory} {init} (func (export "agent_tick") (param i64 f32) (result f64) unreachable))"#),
        &["agent_tick as (i64, f32) -> (f64)", "must be () -> (i32) or () -> ()"],
    );
    refused(&format!(r#"(module {init} {tick} (func (export "memory")))"#), &["exports memory as a func", "a memory"]);
    refused(
        &format!(r#"(module {memory} {tick} (global (export "agent_init") i32 i32.const 0))"#),
        &["agent_init as a global"],
    );
    refused(&format!(r#"(module {BODY} (func (export "_initialize") (param i32)))"#), &["_initialize as (i32) -> ()"]);
    refused(&format!(r#"(module {BODY} (func (export "igor:start")))"#), &["exports igor:start", "rename"]);
    let many = "i32 ".repeat(1000);
    refused(&format!(r#"(module {memory} {tick} (func (export "agent_init") (param {many})))"#), &["i32, ..."]);
}

#[test]
fn imports_are_known_granted_and_of_their_type() {
    let import =
        |module: &str, name: &str, item: &str| format!(r#"(module (import "{module}" "{name}" {item}) {BODY})"#);
    refused(&import("igor", "launch", "(func)"), &["imports igor.launch, which does not exist", "docs/abi.md"]);
    refused(&import("env", "clock_now", "(func)"), &["imports env.clock_now"]);
    refused(&import("wasi_snapshot_preview1", "proc_raise", "(func)"), &["wasi_snapshot_preview1.proc_raise"]);
    refused(&import("wasi_unstable", "fd_write", "(func)"), &["wasi_unstable.fd_write"]);
    refused(&import("igor", "clock_now", "(func (result i32))"), &["igor.clock_now as () -> (i32); it is () -> (i64)"]);
    refused(&import("igor", "wake_at", "(func (param i64) (result i32))"), &["it is (i64) -> ()"]);
    refused(&import("igor", "memory", "(memory 1)"), &["imports the memory igor.memory", "define and export it"]);
    refused(&import("env", "t", "(table 1 funcref)"), &["imports the table env.t"]);
    refused(&import("env", "g", "(global i32)"), &["imports the global env.g"]);
    refused(&import("env", "e", "(tag)"), &["imports the tag env.e"]);
}

#[test]
fn every_capability_is_asked_for_by_name() {
    let with = |deny: fn(&mut igor_protocol::manifest::Capabilities)| {
        let mut manifest = Manifest::default();
        manifest.capabilities.migrate = true;
        deny(&mut manifest.capabilities);
        manifest
    };
    let denials = [
        (Needs::Clock, with(|all| all.clock = false)),
        (Needs::Randomness, with(|all| all.randomness = false)),
        (Needs::Log, with(|all| all.log = false)),
        (Needs::Wallet, with(|all| all.wallet = false)),
        (Needs::Messages, with(|all| all.messages = false)),
        (Needs::Migrate, Manifest::default()),
    ];
    for known in abi::IMPORTS {
        let letters =
            |letters: &str| letters.chars().map(|l| if l == 'i' { " i32" } else { " i64" }).collect::<String>();
        let (params, results) = (letters(known.signature.params), letters(known.signature.results));
        let text = format!(
            r#"(module (import "{}" "{}" (func (param{params}) (result{results}))) {BODY})"#,
            known.module, known.name
        );
        assert!(check_text(&text, &with(|_| ())).is_ok(), "{text}");
        for (needs, manifest) in &denials {
            match check_text(&text, manifest) {
                Ok(_) => assert_ne!(known.needs, *needs, "{text}"),
                Err(error) => {
                    assert_eq!(known.needs, *needs, "{text}");
                    let line = format!("add to agent.toml: [capabilities] {} = true", needs.key());
                    assert!(error.to_string().contains(&line), "{error}");
                    assert!(error.to_string().contains(&format!("{}.{}", known.module, known.name)), "{error}");
                }
            }
        }
    }
}

#[test]
fn what_is_too_large_at_the_start_is_refused() {
    let init_tick = r#"(func (export "agent_init")) (func (export "agent_tick"))"#;
    refused(
        &format!(r#"(module (memory (export "memory") 1025) {init_tick})"#),
        &["begins with 67174400 bytes", "limit is 67108864", "[limits] memory_bytes = 67174400"],
    );
    refused(&format!(r#"(module (memory (export "memory") 65536) {init_tick})"#), &["begins with 4294967296 bytes"]);
    refused(
        &format!("(module {BODY} (table 60000 funcref) (table 60000 funcref))"),
        &["120000 elements", "table_elements = 120000"],
    );
    refused(&format!("(module {BODY} (table 0xffffffff funcref))"), &["begin with 4294967295 elements"]);
    let manifest = Manifest { limits: Limits { memory_bytes: 68 << 20, ..Limits::default() }, ..Manifest::default() };
    assert!(check_text(&format!(r#"(module (memory (export "memory") 1025) {init_tick})"#), &manifest).is_ok());
    let long = vec![0; PROGRAM_BYTES_MAX + 1];
    assert_eq!(check(&long, &manifest), Err(Refusal::TooLarge { bytes: long.len(), max: PROGRAM_BYTES_MAX }));
}

#[test]
fn proposals_that_are_not_available_are_named() {
    for (text, wanted) in [
        (format!("(module {BODY} (memory 1))"), "multi"),
        (r#"(module (memory (export "memory") i64 1))"#.into(), "memory64"),
        (r#"(module (memory (export "memory") 1 1 shared))"#.into(), "threads"),
        (format!("(module {BODY} (tag))"), "exceptions"),
        (format!("(module {BODY} (type (struct (field i32))))"), "gc"),
        (format!("(module {BODY} (global externref ref.null extern))"), "gc"),
        (format!("(module {BODY} (type $f (func)) (func (param (ref $f))))"), "function references"),
        (r#"(module (memory (export "memory") 1 (pagesize 1)))"#.into(), "custom page sizes"),
    ] {
        let error = check_text(&text, &Manifest::default()).expect_err(&text).to_string();
        assert!(error.contains(wanted), "{text}\n  gave: {error}\n  not: {wanted}");
        assert!(error.contains("agents are core WebAssembly without threads"), "{error}");
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let good = wat::parse_str(format!("(module {BODY})")).expect("a module");
    let said = |bytes: &[u8]| check(bytes, &Manifest::default()).expect_err("no module").to_string();
    assert!(said(b"").contains("does not begin with"));
    assert!(said(b"#!/bin/sh\necho hello").contains("does not begin with"));
    assert!(said(b"\x7fELF").contains("does not begin with"));
    let component = wat::parse_str("(component)").expect("a component");
    assert_eq!(check(&component, &Manifest::default()), Err(Refusal::Component));
    assert!(said(b"\0asm\x02\0\0\0").contains("not a valid module"));
    for length in 8..good.len() {
        check(&good[..length], &Manifest::default()).expect_err("a part of a module");
    }
    assert!(said(&good[..good.len() - 1]).contains("cut short"));
    assert!(said(&[&good[..], b"more"].concat()).contains("not a valid module"));
}

#[test]
fn names_are_shown_short_and_plain() {
    let name = format!("\\1b[2J\\00{}", "x".repeat(5000));
    let text = format!(r#"(module (import "igor" "{name}" (func)) {BODY})"#);
    let error = check_text(&text, &Manifest::default()).expect_err("unknown").to_string();
    assert!(error.len() < 500 && error.chars().all(|c| !c.is_control()), "{error}");
}

#[test]
fn an_imported_start_function_is_refused() {
    let text = format!(r#"(module (import "igor" "finish" (func $finish)) {BODY} (start $finish))"#);
    assert_eq!(check_text(&text, &Manifest::default()), Err(Refusal::StartIsImported));
}

/// A module with most of what check looks at.
fn rich() -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (import "igor" "clock_now" (func (result i64)))
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            {BODY} (table 4 funcref) (global (mut i32) (i32.const 5)) (elem (i32.const 1) $s)
            (func $s (local i64) i64.const 5 local.set 0) (start $s) (data (i32.const 8) "data")
            (@custom "igor.manifest" "[tick]"))"#
    ))
    .expect("a module")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in any::<bool>()) {
        let mut program = if header { b"\0asm\x01\0\0\0".to_vec() } else { Vec::new() };
        program.extend(bytes);
        crate::fuzz::program(&program);
    }

    #[test]
    fn no_mutation_makes_it_panic(changes in proptest::collection::vec((any::<u16>(), any::<u8>(), 0..3_u8), 1..8)) {
        let mut program = rich();
        for (at, byte, how) in changes {
            let at = 8 + usize::from(at) % (program.len() - 8);
            match how {
                0 => program[at] = byte,
                1 => program.insert(at, byte),
                _ => drop(program.remove(at)),
            }
        }
        crate::fuzz::program(&program);
    }
}
