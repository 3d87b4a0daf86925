//! What agents have stored on a node is counted for every journal that is there, whoever wrote it; and what is deleted is
//! counted no more.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{
    COUNTER, creation,
    member::{HERE, Member, takes_from},
    temporary, within,
};
use igor_node::{
    Error, Import, Wishes,
    home::{Home, Role},
};
use igor_protocol::{AgentId, Seq};
use igor_spine::custody::NotDeleted;
use igor_store::Store;

/// More than all that is not in the entries: the program, the manifest.
const BESIDE_BYTES: u64 = 64 << 10;

/// What the entries of a journal take.
fn entries(member: &Member, agent: AgentId) -> u64 {
    let commits = member.node().store().read(agent, Seq(0)).unwrap().map(Result::unwrap);
    commits.map(|commit| commit.entries().map(|(_, _, bytes)| bytes.len() as u64).sum::<u64>()).sum()
}

fn used(member: &Member) -> u64 {
    member.node().info().room.stored_bytes.used
}

/// Waits until all of a journal at rest is counted, once.
async fn is_counted(what: &str, member: &Member, agent: AgentId) {
    let counted = async |member: &Member| {
        let (used, entries) = (used(member), entries(member, agent));
        (entries..=entries + BESIDE_BYTES).contains(&used)
    };
    member.until(what, counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_and_what_stays_behind_is_counted() {
    let places = [temporary(), temporary()];
    let keys = places
        .each_ref()
        .map(|home| Home::open_or_create(home.path()).unwrap().keys().read_or_create(Role::Node).unwrap().public());
    let [a, b] = places;
    let a = Member::start_at(a, &format!("{HERE}[policy]\nnodes = [\"{}\"]\n", keys[1])).await;
    let b = Member::start_at(b, &takes_from(&a, "")).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.ticks_on("a").await;
    a.meets(b.id()).await;
    within(a.node().give(agent, b.id(), |_| ())).await.unwrap();
    is_counted("an archive", &a, agent).await;
    // Much more than the program: what comes back is what was written there.
    while entries(&b, agent) < entries(&a, agent) + 2 * BESIDE_BYTES {
        within(b.node().life(agent).unwrap().stop()).await.as_ref().as_ref().unwrap();
        within(Box::pin(b.node().start(agent, Wishes { ticks: Some(400), ..Wishes::default() }))).await.unwrap();
        within(b.node().life(agent).unwrap().over()).await.as_ref().as_ref().unwrap();
    }
    is_counted("what came, and what was written since", &b, agent).await;
    within(Box::pin(b.node().start(agent, Wishes::default()))).await.unwrap();
    within(b.node().give(agent, a.id(), |_| ())).await.unwrap();
    a.ticks_on("a").await;
    within(a.node().stop(agent)).await.unwrap();
    is_counted("what came back", &a, agent).await;
    is_counted("an archive of what was here", &b, agent).await;

    // It is known after a restart.
    let before = used(&a);
    let a = Member::start_at(a.close().await, &format!("{HERE}[policy]\nnodes = [\"{}\"]\n", keys[1])).await;
    assert_eq!(used(&a), before);
    // What is deleted is counted no more; what is this node's is not deleted.
    assert!(matches!(a.node().delete(agent).await, Err(Error::NotDeleted(NotDeleted::Own(_)))));
    let deleted = b.node().delete(agent).await.unwrap();
    assert!(deleted.bytes > 2 * BESIDE_BYTES && deleted.entries > 0, "{deleted:?}");
    assert_eq!(used(&b), 0);
    assert!(matches!(b.node().delete(agent).await, Err(Error::NotDeleted(NotDeleted::Nothing(_)))));
    b.close().await;
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_counted() {
    let a = Member::start(HERE).await;
    let agent = a.running.create(creation("a", COUNTER)).await.agent();
    a.ticks_on("a").await;
    within(a.node().stop(agent)).await.unwrap();
    let file = a.home.path().join("a.igor");
    let store = a.node().store();
    let wanted = igor_node::portable::wanted(store.read(agent, Seq(0)).unwrap()).unwrap();
    let blobs = wanted.blobs.into_iter().map(|(hash, _)| Ok((hash, store.get_blob(hash, 1 << 30).unwrap().unwrap())));
    igor_node::portable::write(&file, blobs, store.read(agent, Seq(0)).unwrap()).unwrap();
    let b = Member::start(HERE).await;
    let import = Import { path: file, bytes_max: 1 << 30, name: None, archive: true, by_operator: true };
    within(b.node().import(import)).await.unwrap();
    assert!(used(&b) >= entries(&b, agent) && entries(&b, agent) > 0);
    is_counted("an import", &b, agent).await;
    b.close().await;
    a.close().await;
}
