//! Runs the seeded cluster: many seeds, or one again.
#![allow(clippy::cast_precision_loss)] // rates that people read

use igor_sim::cluster::{
    Options, Outcome,
    plan::{Kind, Plan},
    run,
    shrink::shrink,
    sweep::{SEEDS_FOR_ALL, Totals, replay, sweep},
};
use serde_json::json;
use std::{process::ExitCode, thread, time::Instant};

const USAGE: &str = "\
usage: sim [--seeds N] [--from SEED] [--seed SEED] [--bucket yes|no] [--faults LIST] [--keep LIST] [--jobs N] [--trace]
           [--plan] [--json]

  --seeds N      run so many seeds (100)
  --from SEED    beginning with this one (1)
  --seed SEED    run this one only
  --bucket X     whether journals are in a bucket: yes, no (by the seed, one of two)
  --faults LIST  only these faults: names with commas, `none`, or `list` to see them
  --keep LIST    only these operations of the plan, by their numbers
  --jobs N       so many seeds at once (as many as there are processors)
  --trace        say what happens
  --plan         say what is planned
  --json         say the result as one JSON object

exit codes: 0 all seeds hold, 1 one does not or something never happened, 2 wrong usage";

struct Args {
    seeds: u64,
    from: u64,
    one: bool,
    jobs: usize,
    plan: bool,
    json: bool,
    options: Options,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut args =
        Args { seeds: 100, from: 1, one: false, jobs, plan: false, json: false, options: Options::default() };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        match word.as_str() {
            "--seeds" => args.seeds = number(value()?)?,
            "--from" => args.from = number(value()?)?,
            "--seed" => (args.from, args.seeds, args.one) = (number(value()?)?, 1, true),
            "--jobs" => args.jobs = usize::try_from(number(value()?)?).unwrap_or(1),
            "--bucket" => {
                args.options.wanted.bucket = Some(match value()?.as_str() {
                    "yes" => true,
                    "no" => false,
                    other => return Err(format!("`{other}` is neither yes nor no")),
                })
            }
            "--faults" => args.options.wanted.kinds = Some(kinds(&value()?)?),
            "--keep" => {
                let numbers = value()?;
                let numbers = numbers.split(',').filter(|number| !number.is_empty());
                let numbers = numbers.map(|n| n.parse().map_err(|_| format!("`{n}` is not a number")));
                args.options.wanted.keep = Some(numbers.collect::<Result<_, _>>()?);
            }
            "--trace" => args.options.prints = true,
            "--plan" => args.plan = true,
            "--json" => args.json = true,
            other => return Err(format!("`{other}` is no option of this")),
        }
    }
    if args.options.prints && !args.one {
        return Err("--trace is for one seed: give it with --seed".to_owned());
    }
    Ok(args)
}

fn kinds(list: &str) -> Result<Vec<Kind>, String> {
    let faults = Kind::ALL.into_iter().filter(|kind| kind.is_fault());
    if list == "list" {
        return Err(faults.map(Kind::name).collect::<Vec<_>>().join(","));
    }
    let names = list.split(',').filter(|name| !name.is_empty() && *name != "none");
    let find = |name: &str| faults.clone().find(|kind| kind.name() == name).ok_or(format!("`{name}` is no fault"));
    names.map(find).collect()
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(args) if args.one => one(&args),
        Ok(args) => many(&args),
        Err(why) => {
            eprintln!("sim: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn one(args: &Args) -> ExitCode {
    if args.plan {
        let (plan, numbers) = Plan::new(args.from, &args.options.wanted);
        let Plan { nodes, agents, bucket, forks, .. } = plan;
        println!("{nodes} nodes, {agents} agents, in a bucket: {bucket}, takeovers of live nodes: {forks}");
        numbers.iter().zip(&plan.ops).for_each(|(number, op)| println!("{number:>4} {op}"));
    }
    let outcome = run(args.from, &args.options);
    let Outcome { seed, steps, trace, faults, moves, time_ns, .. } = outcome;
    if args.json {
        let counts = &outcome.counts;
        let violation = &outcome.violation;
        println!(
            "{}",
            json!({ "seed": seed, "bucket": outcome.bucket, "ok": violation.is_none(), "violation": violation, "steps": steps,
                "trace": format!("{trace:016x}"), "faults": faults, "moves": moves, "time_ns": time_ns,
                "counts": counts })
        );
    } else {
        for (what, times) in &outcome.counts {
            println!("{times:>9}  {what}");
        }
        println!(
            "seed {seed}: {steps} steps, {faults} faults, {moves} moves, {} s of virtual time, trace {trace:016x}",
            time_ns / 1_000_000_000
        );
    }
    match &outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            eprintln!("seed {seed} fails: {violation}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)] // how long the sweep takes is the operator's time, not the cluster's
fn many(args: &Args) -> ExitCode {
    let begun = Instant::now();
    let (mut said, mut known) = (begun, Vec::new());
    // Nobody wants to read about a thousand.
    let panics = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let totals = sweep(args.from, args.seeds, args.jobs, &args.options, |totals| {
        for failed in totals.failed.iter().filter(|failed| !known.contains(&failed.seed)) {
            eprintln!("seed {} fails: {}", failed.seed, failed.violation.as_deref().unwrap_or_default());
        }
        known = totals.failed.iter().map(|failed| failed.seed).collect();
        if said.elapsed().as_secs() >= 5 {
            said = Instant::now();
            let (seeds, failed) = (totals.seeds, totals.failed.len());
            let rate = 60.0 * seeds as f64 / begun.elapsed().as_secs_f64();
            eprintln!("{seeds} of {} seeds, {failed} failed, {rate:.0} a minute", args.seeds);
        }
        true
    });
    let took = begun.elapsed();
    let smallest = totals.failed.first().map(|failed| {
        eprintln!("seed {} fails; looking for fewer operations that do", failed.seed);
        shrink(&args.options, failed.clone())
    });
    std::panic::set_hook(panics);
    let never = if args.options.wanted.is_all() { totals.never(args.options.wanted.bucket) } else { Vec::new() };
    if args.json {
        say_json(&totals, &never, smallest.as_ref(), took.as_secs_f64());
    } else {
        say(&totals, &never, smallest.as_ref(), took.as_secs_f64());
    }
    let all = never.is_empty() || totals.seeds < SEEDS_FOR_ALL;
    if totals.failed.is_empty() && all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(totals: &Totals, never: &[&str], smallest: Option<&Outcome>, took: f64) {
    for (what, times) in &totals.counts {
        println!("{times:>12}  {what}");
    }
    let Totals { seeds, steps, faults, moves, time_ns, trace, .. } = totals;
    println!(
        "{seeds} seeds in {took:.1} s ({:.0} a minute), {} h of virtual time",
        60.0 * *seeds as f64 / took,
        time_ns / 3_600_000_000_000
    );
    let held = seeds - totals.failed.len() as u64;
    for (what, spread) in [("steps", steps), ("faults", faults), ("moves", moves)] {
        println!("{what} a seed: {} to {}, {} on average", spread.min, spread.max, spread.sum / held.max(1));
    }
    println!("trace {trace:016x}");
    if !never.is_empty() {
        println!("never happened: {}", never.join(", "));
    }
    for failed in &totals.failed {
        println!("seed {} fails: {}", failed.seed, failed.violation.as_deref().unwrap_or_default());
    }
    if let Some(smallest) = smallest {
        println!("with {} operations: {}", smallest.ops.len(), smallest.violation.as_deref().unwrap_or_default());
        println!("  {}", replay(smallest));
    }
}

fn say_json(totals: &Totals, never: &[&str], smallest: Option<&Outcome>, took: f64) {
    let spread =
        |spread: &igor_sim::cluster::sweep::Spread| json!({ "sum": spread.sum, "min": spread.min, "max": spread.max });
    let failed = totals.failed.iter().map(|failed| json!({ "seed": failed.seed, "violation": failed.violation }));
    println!(
        "{}",
        json!({
            "ok": totals.failed.is_empty(), "seeds": totals.seeds, "seconds": took, "time_ns": totals.time_ns,
            "steps": spread(&totals.steps), "faults": spread(&totals.faults), "moves": spread(&totals.moves),
            "trace": format!("{:016x}", totals.trace), "counts": totals.counts, "never": never,
            "failed": failed.collect::<Vec<_>>(), "replay": smallest.map(replay),
        })
    );
}
