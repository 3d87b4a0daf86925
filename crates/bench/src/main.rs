//! Benchmarks of igor: each is a ratio against a stated limit, measured in one run, the two sides in turn.
//!
//! `cargo run --release -p igor-bench` runs all; names run some. Absolute figures depend on the machine and its load;
//! the ratios are what to compare.

mod bucket;
mod cold;
mod crowd;
mod durable;
mod fair;
mod measure;
mod memory;
mod pause;
mod recovery;
mod rig;
mod takeover;
mod tick;
mod verify;

use std::process::ExitCode;

/// A benchmark: prints its figures.
type Bench = fn(&rig::Rig) -> anyhow::Result<()>;

const BENCHES: [(&str, Bench); 11] = [
    ("tick", tick::run),
    ("durable", durable::run),
    ("bucket", bucket::run),
    ("crowd", crowd::run),
    ("fair", fair::run),
    ("recovery", recovery::run),
    ("verify", verify::run),
    ("cold", cold::run),
    ("memory", memory::run),
    ("pause", pause::run),
    ("takeover", takeover::run),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|first| first == igor_sandbox::compile::CHILD_ARG) {
        return igor_sandbox::compile::child_main();
    }
    let wanted: Vec<String> = args.collect();
    if let Some(unknown) = wanted.iter().find(|name| !BENCHES.iter().any(|(known, _)| known == name)) {
        let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("no benchmark `{unknown}`; there are: {}", known.join(" "));
        return ExitCode::from(2);
    }
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &[String]) -> anyhow::Result<()> {
    let rig = rig::Rig::new()?;
    for (name, bench) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            println!("\n== {name}");
            bench(&rig)?;
        }
    }
    Ok(())
}
