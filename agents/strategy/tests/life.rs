//! However a life is cut into ticks and restarts, it comes to the same end.

use igor_agent_strategy::{Strategy, uninterrupted};
use igor_sdk::{Batch, Next, decode_state, encode_state, mock::Node};
use proptest::prelude::*;

const PRICES: &str = include_str!("../prices/msft-daily.csv");

fn report(node: &mut Node<Strategy>) -> String {
    node.host.send("report");
    node.settle();
    node.host.replies().pop().expect("a report is answered")
}

#[test]
fn the_real_prices_come_to_this() {
    let report = uninterrupted(PRICES);
    assert_eq!((report.prices, report.ignored, report.splits), (3270, 0, 1));
    // A separate computation, in floating point, comes to the same; a change here is a change of the strategy.
    assert_eq!(
        report.to_json(),
        r#"{"prices":3270,"position":405,"cash":13535700,"trades":117,"profit":1333285700,"ignored":0,"splits":1}"#
    );
}

#[test]
fn the_report_has_the_promised_integers() {
    let json: serde_json::Value = serde_json::from_str(&uninterrupted(PRICES).to_json()).unwrap();
    for field in ["prices", "position", "cash", "trades", "profit"] {
        assert!(json[field].is_i64(), "{field}: {json}");
    }
}

#[test]
fn an_agent_comes_to_the_same_as_the_book() {
    let mut node = Node::<Strategy>::start();
    PRICES.lines().for_each(|line| node.host.send(line));
    assert_eq!(node.tick(), Next::MoreWork);
    assert_eq!(node.host.taken.len(), Batch::MESSAGES_MAX);
    assert_eq!(report(&mut node), uninterrupted(PRICES).to_json());
    let trades = node.host.logs.iter().filter(|line| line.contains("bought") || line.contains("sold")).count();
    assert_eq!(trades as u64, uninterrupted(PRICES).trades);
    assert!(node.host.logs.iter().any(|line| line.starts_with("2003-02-18: ")), "the split is in the log");
}

#[test]
fn a_double_line_shows() {
    let twice = PRICES.lines().chain(PRICES.lines().take(2));
    let mut node = Node::<Strategy>::start();
    twice.for_each(|line| node.host.send(line));
    assert!(report(&mut node).starts_with("{\"prices\":3271,"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn restarts_change_nothing(cuts in prop::collection::vec((1usize..400, any::<bool>()), 1..40)) {
        let mut node = Node::<Strategy>::start();
        let mut lines = PRICES.lines();
        for (count, finish) in cuts {
            lines.by_ref().take(count).for_each(|line| node.host.send(line));
            // Sometimes with messages still waiting, as a crash would have it.
            if finish { node.settle(); } else { node.tick(); }
            node.restart();
        }
        lines.for_each(|line| node.host.send(line));
        prop_assert_eq!(report(&mut node), uninterrupted(PRICES).to_json());
    }

    #[test]
    fn rubbish_is_counted_and_changes_nothing_else(
        rubbish in prop::collection::vec((0usize..3271, prop::collection::vec(any::<u8>(), 0..80)), 1..20),
    ) {
        let mut lines: Vec<Vec<u8>> = PRICES.lines().map(|line| line.as_bytes().to_vec()).collect();
        for (at, mut noise) in rubbish {
            noise.push(b'!');
            lines.insert(at, noise);
        }
        let mut node = Node::<Strategy>::start();
        let count = lines.len() - 3271;
        for line in &lines { node.host.send(line); }
        let mut expected = uninterrupted(PRICES);
        expected.ignored = count as u64;
        prop_assert_eq!(report(&mut node), expected.to_json());
    }

    #[test]
    fn near_prices_never_panic(
        lines in prop::collection::vec("[0-9]{4}-[0-9]{2}-[0-9]{2}(,[0-9]{0,7}(\\.[0-9]{0,7})?){4,6}", 0..200),
    ) {
        let mut node = Node::<Strategy>::start();
        for line in &lines { node.host.send(line); }
        let _ = report(&mut node);
    }

    #[test]
    fn no_bytes_make_a_state_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(state) = decode_state::<Strategy>(&bytes) {
            prop_assert!(decode_state::<Strategy>(&encode_state(&state)) == Ok(state));
        }
    }
}
