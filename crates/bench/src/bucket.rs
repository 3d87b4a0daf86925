//! Ticks whose journal is in a bucket (SeaweedFS on loopback), against bare conditional puts of the same bytes: one
//! agent, and 256 of them against as many that do nothing but put.

use crate::{
    measure::{median, micros, percentile},
    rig::{Quiet, Rig, ticks, ticks_every},
};
use anyhow::Context;
use bytes::Bytes;
use igor_bucket::{Address, Options, Remote};
use igor_protocol::{
    AgentId, KeyPair, Nanos, Seq,
    entry::{StoreId, StoreKind},
    slot::Nonce,
};
use igor_store::{
    Store,
    bucket::{Bucket, Created},
    disk::{self, Disk},
    shared::{BUNDLE_SLOTS_MIN, Shared, Wing, identify},
};
use igor_weed::{BUCKET, ENVIRONMENT, Weed};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const ROUNDS: u64 = 12;
const TICKS: u64 = 200;
/// One append is under way at a time then, and the server has nothing else to do.
const PACE: Nanos = Nanos::from_millis(10);
const AGENTS: u64 = 256;
const TICKS_OF_EACH: u64 = 40;
const CROWD_ROUNDS: u64 = 3;
/// What a slot has beside its commit, about: numbers, hashes, keys and a signature.
const SLOT_BYTES_MORE: usize = 230;

type BucketStore = Shared<Disk, Remote>;

pub(crate) fn run(rig: &Rig) -> anyhow::Result<()> {
    let Some(binary) = igor_weed::find() else {
        println!("SKIPPED: it needs SeaweedFS: scripts/weed installs it; or set IGOR_WEED");
        return Ok(());
    };
    let weed = Weed::start(&binary).map_err(anyhow::Error::msg)?;
    let home = tempfile::tempdir_in(".")?;
    let store = Arc::new(rig.runtime.block_on(open(&weed, &home.path().join("one")))?);
    one(rig, &store)?;
    let store = Arc::new(rig.runtime.block_on(open(&weed, &home.path().join("many")))?);
    crowd(rig, &store)
}

async fn open(weed: &Weed, home: &Path) -> anyhow::Result<BucketStore> {
    let address: Address = format!("s3://{BUCKET}").parse()?;
    let options = Options { endpoint: Some(weed.endpoint()), ..Options::default() };
    let set = |name: &str| ENVIRONMENT.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let bucket = Remote::open(&address, &options, &set)?;
    let id = identify(&bucket, StoreId([5; 16])).await?;
    let disk = Arc::new(Disk::open(home, &disk::Options::default())?);
    let key = Arc::new(KeyPair::from_seed(&[2; 32]));
    let wing = Wing { bucket, id, key, nonce: Nonce([7; 16]), bundle_slots_min: BUNDLE_SLOTS_MIN };
    Ok(Shared::open(disk, Some(wing))?)
}

fn kind(store: &BucketStore) -> anyhow::Result<StoreKind> {
    Ok(StoreKind::Bucket(store.wing().context("a bucket")?.id))
}

/// The bytes that a tick's slot takes, about, measured from the journal itself.
fn slot_bytes(store: &BucketStore, agent: AgentId) -> anyhow::Result<usize> {
    let commits = store.read(agent, Seq(0))?.skip(2);
    let mut sizes: Vec<usize> = commits.map(|commit| commit.map(|c| c.encode().len())).collect::<Result<_, _>>()?;
    sizes.sort_unstable();
    Ok(sizes.get(sizes.len() / 2).copied().unwrap_or(256) + SLOT_BYTES_MORE)
}

/// One conditional put after the other, begun no sooner than `pace` after the last. Gives the microseconds of each.
async fn puts(
    store: &BucketStore,
    prefix: &str,
    bytes: &Bytes,
    (count, pace): (u64, Nanos),
) -> anyhow::Result<Vec<f64>> {
    let bucket = &store.wing().context("a bucket")?.bucket;
    let mut took = Vec::new();
    for number in 0..count {
        if let (Some(last), false) = (took.last(), pace == Nanos::ZERO) {
            tokio::time::sleep(pace.to_duration().saturating_sub(Duration::from_secs_f64(last / 1e6))).await;
        }
        let begun = Instant::now();
        let created = bucket.create(&format!("{prefix}/{number:020}"), bytes.clone()).await?;
        took.push(micros(begun.elapsed()));
        anyhow::ensure!(created == Created::New, "it was there already");
    }
    Ok(took)
}

fn one(rig: &Rig, store: &Arc<BucketStore>) -> anyhow::Result<()> {
    let (nonce, kind) = (1, kind(store)?);
    let agent = rig.genesis_in(nonce, kind).body.agent_id();
    let life = rig.runtime.block_on(rig.create_in(store, nonce, kind))?;
    rig.runtime.block_on(ticks(life, 50, Quiet::default()))?;
    let bytes = Bytes::from(vec![0x5a; slot_bytes(store, agent)?]);
    let (mut ratios, mut bare, mut durable) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut floor = rig.runtime.block_on(puts(store, &format!("bare/{round}"), &bytes, (TICKS, PACE)))?;
        let quiet = Quiet::default();
        let life = rig.runtime.block_on(rig.open(store, agent))?;
        rig.runtime.block_on(ticks_every(life, TICKS, PACE, quiet.clone()))?;
        let mut appends = quiet.appends();
        let (put, tick) = (percentile(&mut floor, 50), percentile(&mut appends, 50));
        ratios.push(tick / put);
        bare.push((put, percentile(&mut floor, 99)));
        durable.push((tick, percentile(&mut appends, 99)));
    }
    let mid = |values: Vec<f64>| median(&values);
    println!("bytes of a slot               {:8}", bytes.len());
    println!(
        "bare conditional put     p50  {:8.1} us   p99 {:8.1} us",
        mid(bare.iter().map(|one| one.0).collect()),
        mid(bare.iter().map(|one| one.1).collect())
    );
    println!(
        "durable tick's append    p50  {:8.1} us   p99 {:8.1} us",
        mid(durable.iter().map(|one| one.0).collect()),
        mid(durable.iter().map(|one| one.1).collect())
    );
    println!("ratio of the p50s             {:8.2}      (goal: at most 1.3)", mid(ratios));
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
fn crowd(rig: &Rig, store: &Arc<BucketStore>) -> anyhow::Result<()> {
    let kind = kind(store)?;
    let (mut rates, mut raws, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..CROWD_ROUNDS {
        let first = 1000 * (round + 1);
        let mut lives = Vec::new();
        for nonce in first..first + AGENTS {
            lives.push(rig.runtime.block_on(rig.create_in(store, nonce, kind))?);
        }
        let begun = Instant::now();
        rig.runtime.block_on(async {
            let running: Vec<_> =
                lives.into_iter().map(|life| tokio::spawn(ticks(life, TICKS_OF_EACH, Quiet::default()))).collect();
            for one in running {
                one.await??;
            }
            anyhow::Ok(())
        })?;
        let rate = (AGENTS * TICKS_OF_EACH) as f64 / begun.elapsed().as_secs_f64();
        let bytes = Bytes::from(vec![0x5a; slot_bytes(store, rig.genesis_in(first, kind).body.agent_id())?]);
        let begun = Instant::now();
        rig.runtime.block_on(async {
            let running: Vec<_> = (0..AGENTS)
                .map(|one| {
                    let (store, bytes) = (store.clone(), bytes.clone());
                    tokio::spawn(async move {
                        puts(&store, &format!("crowd/{round}/{one}"), &bytes, (10, Nanos::ZERO)).await
                    })
                })
                .collect();
            for one in running {
                one.await??;
            }
            anyhow::Ok(())
        })?;
        let raw = (AGENTS * 10) as f64 / begun.elapsed().as_secs_f64();
        rates.push(rate);
        raws.push(raw);
        ratios.push(rate / raw);
    }
    println!("{AGENTS} agents, durable ticks a second   {:10.0}", median(&rates));
    println!("bare puts a second, {AGENTS} at once       {:10.0}", median(&raws));
    println!("ratio                                {:10.2}", median(&ratios));
    Ok(())
}
