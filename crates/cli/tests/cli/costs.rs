//! What `igor show` says of an agent in a bucket: where it is durable, and what it costs there.

use crate::{
    home::{Home, STRATEGY, await_event},
    lives::IDLE,
};
use igor_bucket_testing::{BUCKET, weed};
use serde_json::Value;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn an_agent_in_a_bucket_says_what_it_asks_of_it() {
    let Some(weed) = weed() else { return };
    let home = Home::in_bucket(&weed);
    let durable_on = format!("s3://{BUCKET}");
    let idle = home.wat("idle.wasm", IDLE);
    let node = home.start(&["node", "start"]);
    await_event(&node, "carried");
    home.get(&["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
    home.get(&["deploy", &idle, "--budget", "1", "--interval", "24h"]);
    let requests = |name: &str| {
        let mut shown = home.get(&["show", name]);
        assert_eq!(shown["durable_on"], durable_on);
        shown["requests"].take()
    };
    let number = |row: &Value, field: &str| row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row}"));
    let before = requests("idle");
    let deadline = Instant::now() + PATIENCE;
    let ticking = loop {
        let now = requests("s");
        if number(&now, "ticks") >= 20 {
            break now;
        }
        assert!(Instant::now() < deadline, "it does not tick: {now}");
    };
    // A tick may share its commit with others; beside commits there are checkpoints.
    let (creates, ticks) = (number(&ticking, "creates"), number(&ticking, "ticks"));
    assert!((1..=3 * ticks).contains(&creates), "{ticking}");
    assert_eq!(number(&ticking, "creates_per_1000_ticks"), creates * 1000 / ticks);
    assert_eq!(requests("idle"), before, "an idle agent asks for nothing");
    let shown = String::from_utf8(home.plain(&["show", "s"]).stdout).expect("text");
    assert!(shown.contains("creates a tick") && shown.contains(&durable_on), "{shown}");
    assert!(home.ask(&["config"]).rows.iter().any(|row| row["key"] == "store.url" && row["value"] == durable_on));

    // Without a node nobody knows what was asked, but the home knows its bucket.
    drop(node);
    let shown = home.get(&["show", "s"]);
    assert!(shown["durable_on"] == durable_on && shown.get("requests").is_none(), "{shown}");
}
