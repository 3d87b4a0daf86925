//! Moves an agent around three nodes while they and the connections between them are killed, and then looks for
//! anything lost, doubled or miscounted; and, as a soak, for anything that grows.
//!
//! `IGOR_MOVES` says how often it moves (8 by default; `scripts/move-test` makes it 500), `IGOR_SEED` what is killed
//! when, `IGOR_BINARY` which binary (the one of this build by default). The nodes stand in network namespaces of their
//! own and reach each other through slow proxies over a network that loses packets. That takes root, `ip` and `nft`:
//! where they are not, this says so and tests nothing. A full run (500 or more) fails if a phase was never hit.
//!
//! The agent is the strategy. Two senders go on through everything. Who announced which tick in which epoch is written
//! down here, apart from the nodes, and compared with the journal at the end.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

// The demo looks at processes and journals from outside in the same way. Not all that it needs is needed here.
#[allow(dead_code)]
#[path = "../src/verb/demo/audit.rs"]
mod audit;
#[path = "../src/verb/demo/dice.rs"]
mod dice;
mod field;
#[path = "moves/phase.rs"]
mod phase;
#[path = "moves/report.rs"]
mod report;
#[path = "kills/section.rs"]
mod section;
#[path = "moves/soak.rs"]
mod soak;
#[allow(dead_code)]
#[path = "../src/verb/demo/stage.rs"]
mod stage;
#[path = "moves/trial.rs"]
mod trial;

use field::{
    binary,
    ground::{Ground, Links, Namespaces},
    load::Load,
    number, publish,
};
use soak::Soak;
use trial::Trial;

const NAME: &str = "strategy";
const NODES: usize = 3;
const FULL_RUN: u32 = 500;
/// Lines for each move, so that the load lasts to the end.
const LINES_PER_MOVE: u32 = 120;

#[test]
fn moves_lose_nothing_and_double_nothing() {
    let (moves, seed) = (number("IGOR_MOVES", 8), u64::from(number("IGOR_SEED", 1)));
    let ground = match Namespaces::make(NODES, Links::Bad) {
        Ok(spaces) => Ground::Apart(spaces),
        Err(why) => {
            // Past the harness, which keeps to itself what tests that pass say.
            drop(writeln!(io::stderr(), "SKIPPED: moves in network namespaces need root, `ip` and `nft`: {why}"));
            assert!(moves < FULL_RUN, "a full run cannot be skipped");
            return;
        }
    };
    println!("{moves} moves with seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let lines = usize::try_from(moves.saturating_mul(LINES_PER_MOVE)).unwrap_or(usize::MAX);
    let begun = Instant::now();
    let seen = Trial::begin(ground, &binary(), folder.path(), seed).and_then(|mut trial| {
        let load = Load::begin(&trial.stages(), folder.path(), lines, Duration::from_millis(300))?;
        while trial.moved() < moves {
            trial.step()?;
        }
        let sent = load.finish(lines)?;
        trial.audit(&sent)
    });
    let missed = |seen: &report::Seen| match seen.phases.missed() {
        missed if moves >= FULL_RUN && !missed.is_empty() => {
            println!("{}", seen.in_words(seed, begun.elapsed()));
            Err(format!("never hit: {missed:?}"))
        }
        _ => Ok(()),
    };
    match seen.and_then(|seen| missed(&seen).map(|()| seen)) {
        Ok(seen) => publish(report::MOVES, &seen.in_words(seed, begun.elapsed())),
        Err(why) => panic!("seed {seed}: {why}; what the processes said is kept in {}", folder.keep().display()),
    }
}

#[test]
#[ignore = "takes as long as IGOR_SOAK says, in seconds: scripts/move-test --soak 60m"]
fn nothing_grows_but_the_journal() {
    let (seconds, seed) = (number("IGOR_SOAK", 300), u64::from(number("IGOR_SEED", 1)));
    println!("a soak of {seconds} s with seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let begun = Instant::now();
    let lines = usize::try_from(seconds.saturating_mul(40)).unwrap_or(usize::MAX);
    let seen = Trial::begin(Ground::Loopback, &binary(), folder.path(), seed).and_then(|trial| {
        let mut trial = trial.sparing(0);
        let load = Load::begin(&trial.stages(), folder.path(), lines, Duration::from_secs(1))?;
        let mut soak = Soak::new(Duration::from_secs(seconds.into()));
        while !soak.is_over() {
            trial.step()?;
            soak.look(&trial)?;
        }
        let sent = load.finish(lines)?;
        let seen = trial.audit(&sent)?;
        let judged = soak.judge();
        println!("{}", soak.in_words(&seen, seed, begun.elapsed()));
        judged.map(|()| soak.in_words(&seen, seed, begun.elapsed()))
    });
    match seen {
        Ok(words) => publish(report::SOAK, &words),
        Err(why) => panic!("seed {seed}: {why}; what the processes said is kept in {}", folder.keep().display()),
    }
}

#[test]
fn a_section_takes_the_place_of_the_one_before() {
    let text = "# T\n\nintro\n\n## A\nold\n\n## B\nb\n";
    assert_eq!(section::replace(text, "## A", "\nnew\n"), "# T\n\nintro\n\n## A\n\nnew\n\n## B\nb\n");
    assert_eq!(section::replace(text, "## B", "new"), "# T\n\nintro\n\n## A\nold\n\n## B\n\nnew\n");
    assert_eq!(section::replace(text, "## C", "new"), "# T\n\nintro\n\n## A\nold\n\n## B\nb\n\n## C\n\nnew\n");
}
