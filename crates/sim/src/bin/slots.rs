//! Explores the shared store exhaustively and prints what was seen: `slots [SCOPE...]`, by default all scopes. Bounds of its
//! own are given as `slots own nodes=3 work=2 checkpoints=1 fences=2 handoffs=1 crashes=1 wipes=0 doubts=0 garbage=0`.
//!
//! A violated property is printed with the shortest way to it, and the exit code is 1.

use igor_protocol::slot::Rules;
use igor_sim::model::slots::{NOTHING, SCOPES, Scope, Slots};
use stateright::{Checker, Model};
use std::{process::ExitCode, thread::available_parallelism, time::Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "own") {
        return match own(&words[1..]) {
            Ok(scope) if explore(&scope) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(2)
            }
        };
    }
    let mut good = true;
    for scope in SCOPES.iter().filter(|scope| words.is_empty() || words.iter().any(|name| name == scope.name)) {
        good &= explore(scope);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bounds from the command line.
fn own(words: &[String]) -> Result<Scope, String> {
    let mut scope = Scope { name: "own", nodes: 2, left: NOTHING, reaches: &[] };
    for word in words {
        let parsed = word.split_once('=').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let Some((name, number)) = parsed else {
            return Err(format!("`{word}` is no bound: write work=2, for example"));
        };
        let left = &mut scope.left;
        *match name {
            "nodes" if number > 0 => &mut scope.nodes,
            "work" => &mut left.work,
            "checkpoints" => &mut left.checkpoints,
            "fences" => &mut left.fences,
            "handoffs" => &mut left.handoffs,
            "crashes" => &mut left.crashes,
            "wipes" => &mut left.wipes,
            "doubts" => &mut left.doubts,
            "garbage" => &mut left.garbage,
            _ => return Err(format!("there is no bound `{name}`")),
        } = number;
    }
    Ok(scope)
}

#[allow(clippy::disallowed_methods)] // how long it takes is the operator's time, not the model's
fn explore(scope: &Scope) -> bool {
    let threads = available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    let checker = Slots::new(scope, Rules::ALL).checker().threads(threads).spawn_bfs().join();
    let (unique, moves, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let seconds = start.elapsed().as_secs_f64();
    println!("{}: {unique} states, {moves} moves, depth {depth}, {seconds:.1} s", scope.name);
    let found = checker.discoveries();
    let violations = found.iter().filter(|(property, _)| !scope.reaches.contains(*property));
    let good = violations.clone().next().is_none();
    for (property, path) in violations {
        println!("  violated: {property}");
        for action in path.clone().into_actions() {
            println!("    {action:?}");
        }
    }
    let missing: Vec<_> = scope.reaches.iter().filter(|what| !found.contains_key(*what)).collect();
    for what in &missing {
        println!("  too narrow: it never comes about that {what}");
    }
    good && missing.is_empty()
}
