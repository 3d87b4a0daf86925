//! Whose ticks a life tells.

use super::*;
use igor_protocol::{
    Chain, Fuel, Nanos, Tick, Timestamp,
    entry::{Run, Trigger},
};

fn tick(number: u64, start: Chain) -> Commit {
    let run = Run {
        call: Call::Tick(Trigger::Interval),
        tick: Tick(number),
        started_seq: start.next,
        observations: Vec::new(),
        requests: Vec::new(),
        logs: Vec::new(),
        outcome: Outcome::Ok { more_work: false },
        fuel: Fuel(1),
        duration: Nanos(1),
        waited: Nanos(0),
        cost: Credits::ZERO,
        runtime: None,
    };
    Commit::new(start, [&Entry { at: Timestamp(1), body: Body::Run(run) }])
}

/// A node that was frozen reads on what another one did since, and does not tell it as its own.
#[test]
fn a_life_tells_nothing_of_what_another_process_went_on_with() {
    let agent = AgentId(Hash([7; 32]));
    let epoch = |n| Epoch { term: 0, n };
    let mut projector = Projector::new(agent, Credits::ZERO, Credits::ZERO);
    let mut tell = |commit: &Commit, from| -> Vec<(u64, Epoch)> {
        let events = projector.commit(commit, Seq(from), epoch(4)).unwrap();
        let ticks = events.iter().filter_map(|event| match event {
            Event::Tick { tick, epoch, .. } => Some((tick.0, *epoch)),
            _ => None,
        });
        ticks.collect()
    };
    let begun = Chain { epoch: epoch(4), ..Chain::begin(agent) };
    let own = tick(1, begun);
    assert_eq!(tell(&own, 0), [(1, epoch(4))]);
    assert_eq!(tell(&own, 1), [], "what came before is known");
    let anothers = tick(2, Chain { epoch: epoch(5), next: own.next(), head: own.head(), ..begun });
    assert_eq!(tell(&anothers, 0), []);
}
