//! The probe against a server that is honest, and one that lies in each way that is known of real ones.

mod common;

use common::{bytes, open, options};
use igor_bucket::probe::{Check, Plan, Refusal, probe};
use igor_bucket::{Bucket, Remote};
use igor_bucket_testing::{Conditions, Fault, Faulty, Liar, Listings};
use igor_store::bucket::{Created, PAGE_KEYS_MAX};
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
async fn it_does_so_for_the_clients_of_google_and_azure() {
    let key = r#"{"disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}"#;
    let environments = [
        ("gs://agents/p", vec![("GOOGLE_SERVICE_ACCOUNT_KEY", key)]),
        ("az://agents/p", vec![("AZURE_STORAGE_ACCOUNT_NAME", "account"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")]),
    ];
    for (address, variables) in environments {
        let open = |server: &Liar| {
            let environment = |name: &str| {
                variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
            };
            Remote::open(&address.parse().unwrap(), &options(&server.endpoint()), &environment).unwrap()
        };
        let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
        let bucket = open(&server);
        let report = probe(&bucket, PLAN).await.unwrap_or_else(|refusal| panic!("{address}: {refusal}"));
        assert_eq!((report.checks.len(), report.rounds, report.left.len()), (9, 4, 0), "{address}");
        assert_eq!(server.keys(), Vec::<String>::new(), "{address}");
        // And more keys than one page has.
        let keys: Vec<String> = (0..PAGE_KEYS_MAX + 5).map(|n| format!("log/{n:020}")).collect();
        for key in &keys {
            assert_eq!(bucket.create(key, bytes("x")).await, Ok(Created::New), "{address}");
        }
        assert_eq!(bucket.list("log/", "").await.unwrap(), keys[..PAGE_KEYS_MAX], "{address}");
        assert_eq!(bucket.list("log/", &keys[4]).await.unwrap(), keys[5..], "{address}");
        // A server that lies to them is seen through as well.
        let server = Liar::start(Conditions::Ignored, Listings::Fresh).await;
        let refusal = probe(&open(&server), PLAN).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Broken { check: Check::CreateAgain, .. }), "{refusal:?}");
    }
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
    let proxy = Faulty::start(server.address());
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
