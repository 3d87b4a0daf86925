use super::*;
use igor_protocol::Hash;

#[test]
fn phases_add_up_to_what_went_by() {
    let (watches, agent) = (Stopwatches::default(), AgentId(Hash::of_blob(b"an agent")));
    watches.lap(agent, Phase::Read);
    assert!(watches.end(agent).is_none(), "nobody measures it");
    let node = igor_protocol::KeyPair::from_seed(&[1; 32]).public();
    watches.begin(agent, Some((node, Nanos::from_secs(1))));
    let pause = Duration::from_millis(5);
    for phase in [Phase::Read, Phase::Read, Phase::Fence, Phase::Load] {
        std::thread::sleep(pause);
        watches.lap(agent, phase);
    }
    std::thread::sleep(pause);
    watches.recovered(agent, Recovery { restore: Nanos(1), replay: Nanos(1_000_000) });
    let phases = watches.end(agent).unwrap();
    assert!(phases.of(Phase::Read) >= 2 * pause && phases.of(Phase::Fence) >= pause && phases.of(Phase::Load) >= pause);
    assert_eq!(phases.of(Phase::Replay), Duration::from_millis(1));
    assert!(phases.of(Phase::Restore) + Duration::from_millis(1) >= pause);
    assert_eq!(phases.took.iter().sum::<Duration>(), phases.last.duration_since(phases.begun));
    assert_eq!(phases.silent, Some((node, Nanos::from_secs(1))));
    assert!(watches.end(agent).is_none());
}

#[test]
fn no_replay_takes_longer_than_all_of_the_recovery() {
    let (watches, agent) = (Stopwatches::default(), AgentId(Hash::of_blob(b"an agent")));
    watches.begin(agent, None);
    watches.recovered(agent, Recovery { restore: Nanos(0), replay: Nanos::from_secs(3600) });
    let phases = watches.end(agent).unwrap();
    assert_eq!(phases.of(Phase::Restore), Duration::ZERO);
    assert_eq!(phases.of(Phase::Replay), phases.last.duration_since(phases.begun));
}
