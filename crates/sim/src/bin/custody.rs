//! Explores the custody of an agent exhaustively and prints what was seen: `custody [SCOPE...]`, by default all scopes.
//!
//! A violated property is printed with the shortest way to it, and the exit code is 1.

use igor_protocol::custody::Rules;
use igor_sim::model::{Custody, SCOPES, Scope};
use stateright::{Checker, Model};
use std::{process::ExitCode, thread::available_parallelism};

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut good = true;
    for scope in SCOPES.iter().filter(|scope| names.is_empty() || names.iter().any(|name| name == scope.name)) {
        good &= explore(scope);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn explore(scope: &Scope) -> bool {
    let threads = available_parallelism().map_or(1, usize::from);
    let checker = Custody::new(scope, Rules::ALL).checker().threads(threads).spawn_bfs().join();
    let (unique, moves, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{}: {unique} states, {moves} moves, depth {depth}", scope.name);
    let violations = checker.discoveries();
    for (property, path) in &violations {
        println!("  violated: {property}");
        for action in path.clone().into_actions() {
            println!("    {action:?}");
        }
    }
    violations.is_empty()
}
