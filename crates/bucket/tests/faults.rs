//! Between a node and its bucket, anything can break: each way has the right class of failure, in bounded time.

mod common;

use common::{HANGS, bytes, open, open_with, options, refused, unknown};
use igor_bucket::probe::{Plan, probe};
use igor_bucket::{Bucket, Options, Remote};
use igor_bucket_testing::{ACCESS_KEY, Conditions, Fault, Faulty, Liar, Listings, SECRET_KEY};
use igor_store::bucket::{Created, Failure};
use std::time::{Duration, Instant};

/// A server, a proxy in front of it, and a bucket behind both.
async fn rig(request_limit: Duration) -> (Liar, Faulty, Remote) {
    let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
    let proxy = Faulty::start(server.address());
    let options = Options { request_limit, ..options(&proxy.endpoint()) };
    let bucket = open_with(&options, "s3://agents/x", ACCESS_KEY, SECRET_KEY);
    (server, proxy, bucket)
}

/// What each operation says while a fault lasts.
async fn all(bucket: &Remote) -> Vec<String> {
    vec![
        unknown(bucket.create("new", bytes("new")).await),
        unknown(bucket.replace("old", bytes("newer")).await),
        unknown(bucket.get("old", 100).await),
        unknown(bucket.list("", "").await),
        unknown(bucket.delete("other").await),
    ]
}

/// All operations say one of these while a fault lasts.
async fn check(fault: Fault, request_limit: Duration, expected: &[&str]) -> (Liar, Faulty, Remote) {
    let (server, proxy, bucket) = rig(request_limit).await;
    for key in ["old", "other"] {
        assert_eq!(bucket.create(key, bytes("before")).await, Ok(Created::New));
    }
    proxy.set(fault);
    let said = tokio::time::timeout(HANGS, all(&bucket)).await.expect("all of them end");
    for why in said {
        assert!(expected.iter().any(|expected| why.contains(expected)), "{fault:?}: {why}");
    }
    assert_eq!(bucket.counts().unknown, 5);
    proxy.set(Fault::None);
    (server, proxy, bucket)
}

const AMPLE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_cut_request_is_unknown_and_can_be_sent_again() {
    let (server, _proxy, bucket) = check(Fault::CutRequest, AMPLE, &["connection cut"]).await;
    assert_eq!(server.keys(), ["x/old", "x/other"]);
    assert_eq!(bucket.create("new", bytes("new")).await, Ok(Created::New));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_what_was_done_is_done() {
    let (server, _proxy, bucket) = check(Fault::LoseAnswer, AMPLE, &["connection cut"]).await;
    assert_eq!(server.keys(), ["x/new", "x/old"]);
    assert_eq!(bucket.create("new", bytes("new")).await, Ok(Created::Exists));
    assert_eq!(bucket.get("new", 100).await, Ok(Some(bytes("new"))));
    assert_eq!(bucket.get("old", 100).await, Ok(Some(bytes("newer"))));
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let (server, proxy, bucket) = check(Fault::CutAnswer, AMPLE, &["connection cut", "began with 200"]).await;
    assert_eq!(server.keys(), ["x/new", "x/old"]);
    // Nor is half of an object.
    assert_eq!(bucket.create("big", vec![7; 1 << 20].into()).await, Ok(Created::New));
    proxy.set(Fault::CutAnswer);
    let why = unknown(bucket.get("big", 1 << 20).await);
    assert!(why.contains("began with 200"), "{why}");
    assert_eq!(bucket.counts().bytes_down, 0);
}

#[tokio::test]
async fn storms_and_throttling_are_unknown_and_counted() {
    for (status, expected) in [(503, "503"), (429, "429")] {
        let (server, _proxy, bucket) = check(Fault::Answer(status), AMPLE, &[expected]).await;
        assert_eq!(bucket.counts().throttled, 5);
        assert_eq!(server.keys(), ["x/old", "x/other"]);
        // Each call was one request: nothing was tried again behind the caller's back.
        assert_eq!(bucket.counts().requests.create, 3);
        assert_eq!(bucket.create("new", bytes("new")).await, Ok(Created::New));
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_limit() {
    let limit = Duration::from_millis(1500);
    let began = Instant::now();
    let (_server, _proxy, bucket) = check(Fault::Silent, limit, &["no answer within 1.5"]).await;
    assert!(began.elapsed() >= limit * 5, "each waits as long as it is told");
    assert_eq!(bucket.counts().throttled, 0);
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_unknown_and_comes_back() {
    let (_server, _proxy, bucket) = check(Fault::Refuse, AMPLE, &["cannot connect", "connection cut"]).await;
    // The proxy listens again as soon as it has seen that it may.
    let mut attempt = 0;
    while bucket.get("old", 100).await != Ok(Some(bytes("before"))) {
        assert!(attempt < 100, "it did not come back");
        bucket.pause(attempt).await;
        attempt += 1;
    }
}

#[tokio::test]
async fn what_is_late_is_not_lost() {
    let (_server, proxy, bucket) = rig(AMPLE).await;
    let late = Duration::from_millis(300);
    proxy.set(Fault::Late(late));
    let began = Instant::now();
    assert_eq!(bucket.create("new", bytes("new")).await, Ok(Created::New));
    assert_eq!(bucket.get("new", 100).await, Ok(Some(bytes("new"))));
    assert!(began.elapsed() >= late * 2);
}

#[tokio::test]
async fn nobody_there_is_unknown() {
    // A port that nobody listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bucket = open(&format!("http://127.0.0.1:{port}"), "x");
    let why = unknown(bucket.create("a", bytes("a")).await);
    assert!(why.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{why}");
}

#[tokio::test]
async fn credentials_that_the_machine_does_not_give_are_said_to_be_missing() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let metadata = format!("http://127.0.0.1:{port}");
    // Nothing is sent to Amazon: there is nothing to sign it with.
    let bucket = Remote::open(&"s3://agents".parse().unwrap(), &Options::default(), &|name| {
        (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| metadata.clone())
    });
    let why = unknown(bucket.unwrap().get("a", 10).await);
    for word in ["no credentials in AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", &metadata, "cannot connect"] {
        assert!(why.contains(word), "{word}: {why}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_refused_with_how_to_make_it() {
    let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
    let bucket = open_with(&options(&server.endpoint()), "s3://nowhere/x", ACCESS_KEY, SECRET_KEY);
    for why in [
        refused(bucket.create("a", bytes("a")).await),
        refused(bucket.replace("a", bytes("a")).await),
        refused(bucket.get("a", 10).await),
        refused(bucket.list("", "").await),
        refused(bucket.delete("a").await),
    ] {
        assert!(why.contains("no bucket `nowhere`") && why.contains("aws s3 mb s3://nowhere"), "{why}");
    }
    let said = probe(&bucket, Plan::default()).await.unwrap_err().to_string();
    assert!(said.contains("aws s3 mb s3://nowhere"), "{said}");
}

#[tokio::test]
async fn what_is_no_key_is_refused_before_it_is_sent() {
    let (server, _proxy, bucket) = rig(AMPLE).await;
    let long = "a".repeat(513);
    for key in ["", "A", "a b", "a//b", "/a", "a/", "../a", "a/./b", "ä", long.as_str()] {
        refused(bucket.create(key, bytes("a")).await);
        refused(bucket.get(key, 10).await);
        refused(bucket.delete(key).await);
    }
    assert_eq!(bucket.counts().requests, igor_bucket::Requests::default());
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn an_object_that_is_too_large_is_not_read() {
    let (_server, _proxy, bucket) = rig(AMPLE).await;
    assert_eq!(bucket.create("big", vec![7; 1 << 20].into()).await, Ok(Created::New));
    let too_large = Failure::TooLarge { key: "big".to_owned(), bytes: 1 << 20, max: 1000 };
    assert_eq!(bucket.get("big", 1000).await, Err(too_large));
    assert_eq!(bucket.counts().bytes_down, 0);
    assert_eq!(bucket.get("big", 1 << 20).await.unwrap().unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn what_hangs_is_sent_once_more_when_others_are_answered() {
    let (server, proxy, bucket) = rig(AMPLE).await;
    assert_eq!(bucket.create("old", bytes("before")).await, Ok(Created::New));
    proxy.set(Fault::Silent);
    let hang = |of: Remote| async move {
        tokio::join!(
            of.get("old", 100),
            of.list("old", ""),
            of.create("new", bytes("new")),
            of.create("old", bytes("other"))
        )
    };
    let hanging = tokio::spawn(hang(bucket.clone()));
    let slow = tokio::spawn({
        let of = bucket.clone();
        async move { (of.delete("old").await, of.replace("old", bytes("newer")).await) }
    });
    // So long that all of them are there, and what is sent then is sent much later.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = bucket.counts().requests;
    proxy.set(Fault::None);
    assert!(!hanging.is_finished() && before.create + before.get + before.list == 5, "{before:?}");
    assert_eq!(bucket.get("absent", 100).await, Ok(None), "on a connection of its own");
    let (read, listed, created, exists) = hanging.await.unwrap();
    assert_eq!((read, listed), (Ok(Some(bytes("before"))), Ok(vec!["old".to_owned()])));
    assert_eq!(created, Ok(Created::New));
    assert_eq!(exists, Ok(Created::Exists), "whose it is only its bytes say");
    let after = bucket.counts().requests;
    assert_eq!((after.create, after.get, after.list), (before.create + 2, before.get + 2, before.list + 1));
    // What may do harm where it arrives late is not sent a second time.
    assert!(!slow.is_finished());
    assert_eq!((after.delete, after.replace), (1, 0));
    slow.abort();
    assert_eq!(server.keys(), ["x/new", "x/old"]);
}
