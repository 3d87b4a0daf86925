//! The probe against a server that is honest, and one that lies in each way that is known of real ones.

mod common;

use common::{bytes, open};
use igor_bucket::Bucket;
use igor_bucket::probe::{Check, Plan, Refusal, probe};
use igor_bucket_testing::{Conditions, Fault, Faulty, Liar, Listings};
use igor_store::bucket::Created;
use std::time::Duration;

const PLAN: Plan = Plan { racers: 8, rounds: 4 };

#[tokio::test]
async fn an_honest_server_passes() {
    let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
    let report = probe(&open(&server.endpoint(), "p"), PLAN).await.unwrap();
    let checks = [
        Check::Create,
        Check::CreateAgain,
        Check::Unchanged,
        Check::Absent,
        Check::Replace,
        Check::List,
        Check::Delete,
        Check::DeleteAbsent,
        Check::CreateAfterDelete,
    ];
    assert_eq!(report.checks, checks);
    assert_eq!((report.rounds, report.rounds_unclear, report.listings, report.left.len()), (4, 0, 1, 0));
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_refused() {
    let server = Liar::start(Conditions::Ignored, Listings::Fresh).await;
    let refusal = probe(&open(&server.endpoint(), "p"), PLAN).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Broken { check: Check::CreateAgain, .. }), "{refusal:?}");
    let said = refusal.to_string();
    for word in ["`create it again`", "`exists already` was expected, `created` was seen", "SeaweedFS do", "Garage 2.5"]
    {
        assert!(said.contains(word), "{said}");
    }
    // It cleans up where it refuses, too.
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_looks_before_it_writes_is_refused() {
    // It does all right one request after the other.
    let server = Liar::start(Conditions::Raced(Duration::from_millis(100)), Listings::Fresh).await;
    let refusal = probe(&open(&server.endpoint(), "p"), PLAN).await.unwrap_err();
    let Refusal::Broken { check: Check::Race, expected, saw } = &refusal else { panic!("{refusal:?}") };
    assert_eq!(expected, "one winner of 8");
    assert!(saw.ends_with(" winners"), "{saw}");
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_listing_may_be_late_but_not_for_ever() {
    let server = Liar::start(Conditions::Kept, Listings::Late(Duration::from_millis(100))).await;
    let report = probe(&open(&server.endpoint(), "p"), PLAN).await.unwrap();
    assert!(report.listings > 1, "{report:?}");
    let server = Liar::start(Conditions::Kept, Listings::Never).await;
    let refusal = probe(&open(&server.endpoint(), "p"), PLAN).await.unwrap_err();
    let Refusal::Broken { check: Check::List, saw, .. } = &refusal else { panic!("{refusal:?}") };
    assert_eq!(saw, "a listing of []");
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_not_judged() {
    let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
    let proxy = Faulty::start(server.address()).await;
    proxy.set(Fault::Answer(503));
    let refusal = probe(&open(&proxy.endpoint(), "p"), PLAN).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Failed { check: Check::Create, .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("503"), "{refusal}");
}

#[tokio::test]
async fn what_the_probe_wrote_is_not_in_the_way_of_what_is_there() {
    let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
    let bucket = open(&server.endpoint(), "p");
    assert_eq!(bucket.create("agents/one", bytes("x")).await, Ok(Created::New));
    probe(&bucket, PLAN).await.unwrap();
    assert_eq!(server.keys(), ["p/agents/one"]);
}
