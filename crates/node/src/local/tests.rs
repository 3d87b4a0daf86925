use super::*;
use igor_store::disk::Options;

fn agent(byte: u8) -> AgentId {
    AgentId(Hash([byte; 32]))
}

#[test]
fn names_that_agents_can_have() {
    for good in ["a", "Strategy-2", "my_agent.v1", "7", &"x".repeat(64)] {
        check_name(good).expect(good);
    }
    for bad in ["", "-a", ".", "a b", "ä", "a/b", "igor1abc", "a\n", &"x".repeat(65)] {
        check_name(bad).expect_err(bad);
    }
}

#[tokio::test]
async fn a_name_is_found_again_and_can_be_given_anew() {
    let home = tempfile::tempdir().unwrap();
    let store = Disk::open(home.path(), &Options::default()).unwrap();
    assert_eq!(agent_named(&store, "a").unwrap(), None);
    put_name(&store, "a", agent(1)).await.unwrap();
    put_name(&store, "b", agent(2)).await.unwrap();
    assert_eq!(agent_named(&store, "a").unwrap(), Some(agent(1)));
    put_name(&store, "a", agent(3)).await.unwrap();
    let expected = [(agent(2), "b".to_owned()), (agent(3), "a".to_owned())];
    assert_eq!(names(&store).unwrap(), expected.into_iter().collect());
}

#[tokio::test]
async fn flags_are_remembered_and_damage_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let store = Disk::open(home.path(), &Options::default()).unwrap();
    assert_eq!(flags(&store, agent(1)).unwrap(), Flags::default());
    let said = Flags {
        paused: true,
        stopped: true,
        forgiven: Some(Tick(7)),
        interval: Some(Nanos::ZERO),
        checkpoint_interval: Some(Nanos(9)),
    };
    put_flags(&store, agent(1), said).await.unwrap();
    assert_eq!(flags(&store, agent(1)).unwrap(), said);
    assert_eq!(flags(&store, agent(2)).unwrap(), Flags::default());
    // As it was written before there was more to say.
    store.put_local(&flags_value(agent(2)), br#"{"version":1,"paused":true,"forgiven":null}"#.to_vec()).await.unwrap();
    assert_eq!(flags(&store, agent(2)).unwrap(), Flags { paused: true, ..Flags::default() });
    assert_eq!(stored(&store, agent(1)).unwrap(), None);
    let count = Count { bytes: u64::MAX, next: Seq(7), last: Some(Hash::of_blob(b"a state")) };
    put_stored(&store, agent(1), count).await.unwrap();
    assert_eq!(stored(&store, agent(1)).unwrap(), Some(count));
    remove_stored(&store, agent(1)).await.unwrap();
    assert_eq!(stored(&store, agent(1)).unwrap(), None);
    for broken in [&b"{"[..], b"", br#"{"version":2,"paused":true,"forgiven":null}"#, br#"{"version":1}"#] {
        store.put_local(&flags_value(agent(1)), broken.to_vec()).await.unwrap();
        assert!(matches!(flags(&store, agent(1)), Err(Error::Damaged { .. })), "{broken:?}");
    }
    let other = br#"{"version":1,"name":"b","agent":"igor1"}"#;
    store.put_local(&alias_value("a"), other.to_vec()).await.unwrap();
    assert!(matches!(agent_named(&store, "a"), Err(Error::Damaged { .. })));
}
