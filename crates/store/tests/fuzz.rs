//! A home with damaged files: read rightly, or refused; see `igor_store::fuzz`.
//!
//! `IGOR_FUZZ_ITERATIONS` (default 2000) says how many, `IGOR_FUZZ_SEED` (default 1) which ones.
#![allow(clippy::unwrap_used)]

use igor_protocol::{AgentId, Chain, Commit, Hash, fuzz::run};
use igor_sim::files::SimDisk;
use igor_store::{
    disk::{Core, Options},
    fuzz::{home, pack},
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is no number")))
}

/// A small home: commits in the log, in agent files, or both, and a journal that was removed and begun anew.
fn sample(rounds: u8, move_after: u8) -> Vec<u8> {
    let options =
        Options { segment_bytes_first: 2048, segment_bytes_max: 2048, reserve_bytes: 0, ..Options::default() };
    let disk = SimDisk::new(1);
    let mut core = Core::open(disk.files(), &options).unwrap();
    let mut chains = [1, 2].map(|n| Chain::begin(AgentId(Hash([n; 32]))));
    for round in 0..rounds {
        for chain in &mut chains {
            let commit = Commit::from_encoded(*chain, vec![vec![round; 40], vec![round; 9]]);
            *chain = commit.end();
            core.stage(&commit).unwrap();
        }
        core.flush().unwrap();
        if round == move_after {
            core.maintain().unwrap();
        }
    }
    let removed = chains[1].agent;
    core.stage_removal(removed).unwrap();
    core.stage(&Commit::from_encoded(Chain::begin(removed), vec![b"another branch".to_vec()])).unwrap();
    core.flush().unwrap();
    let names = disk.list();
    pack(names.iter().map(|name| (name.as_str(), disk.read(name).unwrap())))
}

#[test]
fn a_damaged_home_is_read_rightly_or_refused() {
    let samples = [sample(1, 9), sample(6, 2), sample(12, 11)];
    run(home, &samples, number("IGOR_FUZZ_SEED", 1), number("IGOR_FUZZ_ITERATIONS", 2000));
}

/// In each byte of each file of a home one bit: it never panics and never shows what was not written.
#[test]
fn a_home_with_a_bit_flipped_anywhere() {
    let sample = sample(1, 9);
    assert!(home(&sample));
    for byte in 0..sample.len() {
        let mut flipped = sample.clone();
        flipped[byte] ^= 1 << (byte % 8);
        home(&flipped);
    }
}
