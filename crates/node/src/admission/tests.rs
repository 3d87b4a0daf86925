use super::*;

fn admission(agents: u64, memory_mib: u64) -> Arc<Admission> {
    let limits = home::Admission { agents, memory_bytes: memory_mib << 20, ..home::Admission::default() };
    Admission::new(limits)
}

#[test]
fn places_end_where_the_operator_says_and_come_back() {
    let admission = admission(2, 1 << 20);
    let manifest = Manifest::default();
    let first = admission.admit(&manifest).unwrap();
    let _second = admission.admit(&manifest).unwrap();
    let refused = admission.admit(&manifest).unwrap_err();
    assert_eq!((refused.field, refused.wanted, refused.max), ("agents", 3, 2));
    assert!(refused.to_string().contains("admission.agents"), "{refused}");
    drop(first);
    drop(admission.admit(&manifest).unwrap());
    let (agents, memory) = admission.fill();
    assert_eq!((agents.used, memory.used), (1, 2 * manifest.limits.memory_bytes));
}

#[test]
fn an_agent_counts_with_two_instances() {
    let manifest = Manifest::default();
    let needed_mib = manifest.limits.memory_bytes >> 19;
    drop(admission(9, needed_mib).admit(&manifest).unwrap());
    let refused = admission(9, needed_mib - 1).admit(&manifest).unwrap_err();
    assert_eq!(refused.field, "memory_bytes");
}

#[test]
fn a_full_store_takes_no_more_agents_and_keeps_those_it_has() {
    let limits = home::Admission { stored_bytes: 1000, stored_bytes_per_agent: 400, ..home::Admission::default() };
    let (admission, manifest) = (Admission::new(limits), Manifest::default());
    let refused = |bytes| admission.admit_new(&manifest, bytes).unwrap_err().field;
    assert_eq!((refused(1001), refused(401)), ("stored_bytes", "stored_bytes_per_agent"));
    drop(admission.admit_new(&manifest, 400).unwrap());
    admission.accounts().of(igor_protocol::AgentId(igor_protocol::Hash::ZERO)).add(900);
    assert_eq!(refused(101), "stored_bytes");
    drop(admission.admit(&manifest).unwrap());
}
