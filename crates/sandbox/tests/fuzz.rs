//! Arbitrary bytes as a program or a manifest; see `igor_sandbox::fuzz`.
//!
//! `IGOR_FUZZ_ITERATIONS` (default 2000) says how many, `IGOR_FUZZ_SEED` (default 1) which ones.
#![allow(clippy::unwrap_used)]

use igor_protocol::fuzz::run;
use igor_sandbox::{
    fuzz::{manifest_text, program},
    manifest::DEFAULT_TEXT,
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is no number")))
}

#[test]
fn a_program_is_taken_or_refused() {
    let samples = [
        r#"(module (memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick")))"#,
        r#"(module
            (import "igor" "clock_now" (func (result i64)))
            (import "igor" "log_emit" (func (param i32 i32)))
            (memory (export "memory") 1 2) (table 3 funcref) (global (mut i32) (i32.const 7))
            (func $start (drop (call 0)))
            (func (export "agent_init") (call 1 (i32.const 0) (i32.const 5)))
            (func (export "agent_tick") (result i32) (i32.const 0))
            (start $start) (elem (i32.const 0) $start) (data (i32.const 0) "hello"))"#,
        r#"(module
            (memory (export "memory") 1)
            (func (export "_initialize")) (func (export "agent_init")) (func (export "agent_tick"))
            (func (export "agent_checkpoint") (result i32) (i32.const 4))
            (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
            (func (export "agent_resume") (param i32 i32))
            (func (export "agent_alloc") (param i32) (result i32) (i32.const 0)))"#,
    ]
    .map(|text| wat::parse_str(text).unwrap());
    run(program, &samples, number("IGOR_FUZZ_SEED", 1), number("IGOR_FUZZ_ITERATIONS", 2000));
}

#[test]
fn a_manifest_is_taken_or_refused() {
    let short =
        "agent.name = \"a\"\n[limits]\nlog_bytes = \"4 KiB\"\ntick_time = \"1s\"\n[capabilities]\nclock = true\n";
    let samples = ["", short, DEFAULT_TEXT].map(|text| text.as_bytes().to_vec());
    run(manifest_text, &samples, number("IGOR_FUZZ_SEED", 1), number("IGOR_FUZZ_ITERATIONS", 2000));
}
