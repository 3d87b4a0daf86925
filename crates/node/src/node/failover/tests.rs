use super::Standby;
use igor_protocol::{AgentId, Hash};

#[test]
fn whatever_is_said_of_an_agent_while_it_is_asked_about_is_one_question_more() {
    let standby = Standby::default();
    let agent = |name: &[u8]| AgentId(Hash::of_blob(name));
    let (one, other) = (agent(b"one"), agent(b"other"));
    assert!(standby.begins_to_ask(one) && standby.begins_to_ask(other));
    assert!((0..1000).all(|_| !standby.begins_to_ask(one)), "somebody asks already");
    assert!(standby.asks_again(one));
    assert!(!standby.asks_again(one) && !standby.asks_again(other), "nothing more was said");
    assert!(standby.begins_to_ask(one));
}
