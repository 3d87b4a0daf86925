use super::*;

fn heard(term: u64) -> Elsewhere {
    let (agent, node) = (AgentId(igor_protocol::Hash::ZERO), igor_protocol::KeyPair::from_seed(&[1; 32]).public());
    let epoch = Epoch { term, n: 0 };
    Elsewhere { agent, node, epoch, addresses: vec![], answers: None, by: String::new() }
}

#[test]
fn what_others_say_uses_up_no_counters() {
    assert_eq!(counter_above(7, None), 7);
    assert_eq!(counter_above(7, Some(&heard(3))), 7);
    assert_eq!(counter_above(7, Some(&heard(9))), 9);
    assert_eq!(counter_above(7, Some(&heard(u64::MAX))), 7 + COUNTERS_HEARD_MAX);
    assert_eq!(counter_above(u64::MAX, Some(&heard(u64::MAX))), u64::MAX);
}
