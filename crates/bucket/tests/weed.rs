//! Against a real server: SeaweedFS, one for all tests of this file. It ends with the process.

mod common;

use bytes::Bytes;
use common::{bytes, open, open_with, options, refused, unknown};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use igor_bucket::probe::{Plan, probe};
use igor_bucket::{Bucket, Requests};
use igor_bucket_testing::{ACCESS_KEY, Fault, Faulty, SECRET_KEY, Weed, weed};
use igor_store::bucket::{Created, Failure, PAGE_KEYS_MAX};
use std::sync::LazyLock;

static WEED: LazyLock<Option<Weed>> = LazyLock::new(weed);

#[tokio::test]
async fn operations_do_what_they_say() {
    let Some(weed) = &*WEED else { return };
    let bucket = open(&weed.endpoint(), "operations");
    assert_eq!(bucket.get("a/one", 100).await, Ok(None));
    assert_eq!(bucket.create("a/one", bytes("first")).await, Ok(Created::New));
    assert_eq!(bucket.create("a/one", bytes("second")).await, Ok(Created::Exists));
    assert_eq!(bucket.get("a/one", 100).await, Ok(Some(bytes("first"))));
    assert_eq!(bucket.replace("a/one", bytes("third!")).await, Ok(()));
    assert_eq!(bucket.replace("a/two", bytes("new by replace")).await, Ok(()));
    assert_eq!(bucket.get("a/one", 6).await, Ok(Some(bytes("third!"))));
    let too_large = Failure::TooLarge { key: "a/one".to_owned(), bytes: 6, max: 5 };
    assert_eq!(bucket.get("a/one", 5).await, Err(too_large));
    assert_eq!(bucket.list("a/", "").await, Ok(vec!["a/one".to_owned(), "a/two".to_owned()]));
    assert_eq!(bucket.list("a/", "a/one").await, Ok(vec!["a/two".to_owned()]));
    assert_eq!(bucket.list("a/", "a/two").await, Ok(vec![]));
    assert_eq!(bucket.list("a/t", "a/one").await, Ok(vec!["a/two".to_owned()]));
    assert_eq!(bucket.list("nothing/", "").await, Ok(vec![]));
    assert_eq!(bucket.delete("a/one").await, Ok(()));
    assert_eq!(bucket.delete("a/one").await, Ok(()));
    assert_eq!(bucket.get("a/one", 100).await, Ok(None));
    assert_eq!(bucket.create("a/one", bytes("fourth")).await, Ok(Created::New));
    let counts = bucket.counts();
    assert_eq!(counts.requests, Requests { create: 3, replace: 2, get: 5, list: 5, delete: 2 });
    assert_eq!((counts.exists, counts.too_large, counts.unknown, counts.refused), (1, 1, 0, 0));
    assert_eq!((counts.bytes_up, counts.bytes_down), (5 + 6 + 6 + 14 + 6, 5 + 6));
    // Another part of the same bucket has none of it.
    assert_eq!(open(&weed.endpoint(), "other").list("", "").await, Ok(vec![]));
    assert_eq!(open(&weed.endpoint(), "operation").get("s/a/one", 100).await, Ok(None));
}

#[tokio::test]
async fn objects_of_all_sizes_come_back_whole() {
    let Some(weed) = &*WEED else { return };
    let bucket = open(&weed.endpoint(), "sizes");
    for length in [0, 1, 4095, 64 << 10, (1 << 20) + 1, 8 << 20] {
        let object: Bytes = (0..length).map(|n: u32| (n % 251) as u8).collect();
        let key = format!("of/{length}");
        assert_eq!(bucket.create(&key, object.clone()).await, Ok(Created::New), "{length}");
        let there = bucket.get(&key, u64::from(length)).await.unwrap().unwrap();
        assert!(there == object, "{length} bytes came back as {}", there.len());
    }
}

#[tokio::test]
async fn a_listing_is_cut_into_pages() {
    let Some(weed) = &*WEED else { return };
    let bucket = open(&weed.endpoint(), "pages");
    let keys: Vec<String> = (0..PAGE_KEYS_MAX + 5).map(|n| format!("log/{n:020}")).collect();
    let creations = stream::iter(keys.clone()).map(|key| {
        let bucket = bucket.clone();
        async move { bucket.create(&key, bytes("x")).await }
    });
    let created: Vec<_> = creations.buffer_unordered(16).collect().await;
    assert!(created.iter().all(|created| *created == Ok(Created::New)));
    assert_eq!(bucket.list("log/", "").await.unwrap(), keys[..PAGE_KEYS_MAX]);
    assert_eq!(bucket.list("log/", &keys[PAGE_KEYS_MAX - 1]).await.unwrap(), keys[PAGE_KEYS_MAX..]);
    assert_eq!(bucket.list("log/", &keys[4]).await.unwrap(), keys[5..]);
}

#[tokio::test]
async fn of_creators_at_once_one_wins() {
    let Some(weed) = &*WEED else { return };
    // Two clients, as two nodes have.
    let nodes = [open(&weed.endpoint(), "race"), open(&weed.endpoint(), "race")];
    for round in 0..10 {
        let key = format!("slot/{round}");
        let object = |racer: usize| bytes(&format!("racer {racer}"));
        let answers = join_all((0..8).map(|racer| nodes[racer % 2].create(&key, object(racer)))).await;
        let winners: Vec<usize> = (0..8).filter(|racer| answers[*racer] == Ok(Created::New)).collect();
        let losers = answers.iter().filter(|answer| **answer == Ok(Created::Exists)).count();
        assert_eq!((winners.len(), losers), (1, 7), "{answers:?}");
        for node in &nodes {
            assert_eq!(node.get(&key, 100).await, Ok(Some(object(winners[0]))));
        }
    }
}

#[tokio::test]
async fn it_passes_the_probe_which_leaves_nothing() {
    let Some(weed) = &*WEED else { return };
    let bucket = open(&weed.endpoint(), "probed");
    let report = probe(&bucket, Plan::default()).await.unwrap();
    assert_eq!((report.checks.len(), report.rounds, report.rounds_unclear), (9, 10, 0), "{report:?}");
    assert_eq!(report.left, Vec::<String>::new());
    assert_eq!(bucket.list("", "").await, Ok(vec![]));
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let Some(weed) = &*WEED else { return };
    for (access_key, secret_key) in [("nobody", SECRET_KEY), (ACCESS_KEY, "wrong")] {
        let bucket = open_with(&options(&weed.endpoint()), "s3://agents/x", access_key, secret_key);
        for why in [
            refused(bucket.create("a", bytes("a")).await),
            refused(bucket.replace("a", bytes("a")).await),
            refused(bucket.get("a", 10).await),
            refused(bucket.list("", "").await),
            refused(bucket.delete("a").await),
        ] {
            assert!(why.contains("403") && why.contains("credentials are wrong"), "{why}");
            assert!(!why.contains(SECRET_KEY), "{why}");
        }
        assert_eq!(bucket.counts().refused, 5);
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_refused() {
    let Some(weed) = &*WEED else { return };
    let bucket = open_with(&options(&weed.endpoint()), "s3://nowhere/x", ACCESS_KEY, SECRET_KEY);
    for why in [refused(bucket.get("a", 10).await), refused(bucket.list("", "").await)] {
        assert!(why.contains("no bucket `nowhere`") && why.contains("aws s3 mb s3://nowhere"), "{why}");
    }
    // To who may not make buckets, writing to none is forbidden.
    for why in [refused(bucket.create("a", bytes("a")).await), refused(bucket.replace("a", bytes("a")).await)] {
        assert!(why.contains("s3://nowhere/x, if there is that bucket"), "{why}");
    }
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_found_again() {
    let Some(weed) = &*WEED else { return };
    let proxy = Faulty::start(weed.address());
    let bucket = open(&proxy.endpoint(), "lost");
    assert_eq!(bucket.create("before", bytes("x")).await, Ok(Created::New));
    proxy.set(Fault::LoseAnswer);
    unknown(bucket.create("slot", bytes("mine")).await);
    proxy.set(Fault::None);
    assert_eq!(bucket.create("slot", bytes("mine")).await, Ok(Created::Exists));
    assert_eq!(bucket.get("slot", 100).await, Ok(Some(bytes("mine"))));
}
