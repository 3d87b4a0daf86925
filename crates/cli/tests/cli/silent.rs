//! A node that is told to stop, among nodes that never answer, stops within the time that it promises.

use crate::{
    home::STRATEGY,
    hosts::{Host, policy_of},
};
use igor_network::{Config, Event, Handler, Network, Request, Response, Status, Stream, Why, address_of};
use igor_protocol::{KeyPair, NodeId, Terms};
use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// What `igor node start --help` and the guides say: two minutes to hand agents on, then what stays writes its state.
const PROMISED: Duration = Duration::from_mins(2);
/// For the rest, on any machine.
const MORE: Duration = Duration::from_mins(1);

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Says that it would take agents, lets every move begin, and never says a word about it.
struct Silent;

impl Handler for Silent {
    fn answer(&self, _: NodeId, request: Request) -> Answer<'_, Result<Response, Why>> {
        let status = Status {
            prices: Terms { price_per_ns: 0, price_per_fuel: 0 },
            agents_free: 100,
            memory_free_bytes: 1 << 40,
            stored_free_bytes: 1 << 40,
            draining: false,
            version: "silent".to_owned(),
        };
        let answer = matches!(request, Request::Status).then_some(Response::Status { status });
        Box::pin(async { answer.ok_or(Why::NotAllowed) })
    }

    fn transfer(&self, _: NodeId, stream: Stream) -> Answer<'_, ()> {
        Box::pin(async move {
            let _open = stream;
            std::future::pending::<()>().await;
        })
    }

    fn notice(&self, _: Event) {}
}

#[test]
fn a_node_that_stops_among_silent_nodes_keeps_its_word() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let key = KeyPair::from_seed(&[77; 32]);
    let silent = runtime.block_on(async {
        let mut config = Config::new(&key.seed()).expect("a configuration");
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
        let network = Network::start(config, Arc::new(Silent)).await.expect("a network");
        while network.addresses().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        network
    });
    let address = address_of(key.public(), silent.addresses()[0].clone()).expect("an address");
    let key = key.public().to_string();
    let mut host = Host::start(&format!(
        "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\npeers = [\"{address}\"]\n{}",
        policy_of(&[&key])
    ));
    host.home.get(&["deploy", STRATEGY, "--name", "s", "--budget", "1", "--interval", "20ms"]);
    host.until("it ticks", |row| row["tick"].as_u64() > Some(3));
    let deadline = Instant::now() + Duration::from_mins(1);
    while !host.home.ask(&["nodes"]).rows.iter().any(|row| row["connected"] == true && row["status"].is_object()) {
        assert!(Instant::now() < deadline, "they never met");
        std::thread::sleep(Duration::from_millis(50));
    }

    let told = Instant::now();
    let (status, rows) = host.stop(PROMISED + MORE);
    let took = told.elapsed();
    println!("it stopped after {took:?}: {rows:?}");
    assert!(status.success(), "{status}: {rows:?}");
    assert!(took < PROMISED + MORE, "{took:?}");
    let drained = rows.iter().find(|row| row["event"] == "drained").expect("it says what came of its agents");
    assert_eq!(
        (drained["moved"].as_u64(), drained["staying"].as_array().map(Vec::len)),
        (Some(0), Some(1)),
        "{drained}"
    );
    assert!(drained["staying"][0]["why"].as_str().is_some_and(|why| !why.is_empty()), "{drained}");
    assert_eq!(rows.last().map(|row| &row["event"]), Some(&"stopped".into()), "{rows:?}");
    // What stayed is this node's as before, and wrote its state.
    let left = host.show();
    assert_eq!((&left["custodian"], &left["checkpoint_tick"]), (&host.key.as_str().into(), &left["tick"]), "{left}");
    assert_eq!(host.home.get(&["verify", "s", "--execute"])["ok"], true);
    runtime.block_on(silent.shutdown());
}
