use super::*;

fn agent(n: u8) -> AgentId {
    AgentId(Hash([n; 32]))
}

#[test]
fn those_who_come_in_together_are_not_promised_more_than_there_is() {
    let accounts = Accounts::new(1000, 10_000);
    accounts.of(agent(0)).add(200);
    let promised: Vec<_> = (1..=20).map(|n| accounts.promise(agent(n))).collect();
    assert_eq!(promised[..3], [400, 200, 100]);
    assert!(promised.iter().sum::<u64>() <= 800 && accounts.free() > 0, "{promised:?}");
    // Asked again it is the same agent.
    accounts.settle(agent(1));
    assert_eq!(accounts.promise(agent(2)), 200 + 100);
    (1..=20).for_each(|n| accounts.settle(agent(n)));
    assert_eq!(accounts.free(), 800);
}

#[test]
fn an_agent_is_promised_what_it_may_have_and_has_not() {
    let accounts = Accounts::new(1 << 30, 1000);
    accounts.of(agent(1)).add(300);
    assert_eq!(accounts.promise(agent(1)), 700);
    accounts.of(agent(2)).add(2000);
    assert_eq!(accounts.promise(agent(2)), 0);
}

#[test]
fn files_that_come_in_together_have_the_room_that_there_is() {
    let accounts = Accounts::new(1000, 1000);
    let (mut one, mut other) = (accounts.begin(), accounts.begin());
    assert!(accounts.extend(&mut one, 600) && accounts.extend(&mut other, 300));
    assert!(!accounts.extend(&mut other, 101), "the first one has it");
    assert!(accounts.extend(&mut other, 100));
    drop(one);
    assert_eq!(accounts.free(), 600);
    drop(other);
    accounts.orphans_are(1000);
    assert!(!accounts.extend(&mut accounts.begin(), 1), "branches that are kept take room as well");
}

#[test]
fn an_account_that_is_closed_counts_nothing_more() {
    let accounts = Accounts::new(1000, 1000);
    let stored = accounts.of(agent(1));
    stored.add(10);
    accounts.close(agent(1));
    stored.add(10);
    stored.appended(Seq(0), Seq(3), 10);
    assert_eq!((accounts.used(), accounts.of(agent(1)).bytes()), (0, 0));
}
