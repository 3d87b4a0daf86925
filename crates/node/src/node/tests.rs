use super::*;
use crate::{
    api::{
        self, Limits,
        wire::{DrainEvent, Outgoing},
    },
    client::{Address, Client, Error as Refusal},
};
use igor_network::Network;
use igor_protocol::{
    Hash, Seq,
    custody::{Memory, Note, Status as CustodyStatus},
    entry::{Action, MessageId, OrderBody},
    ledger::Book,
};
use igor_sandbox::compile;
use igor_spine::World;

/// Commits the Genesis of an agent, as its creation does before its init.
async fn begin(node: &Node, name: &str) -> AgentId {
    let (manifest, terms) = (Manifest::default(), Terms { price_per_ns: 1, price_per_fuel: 0 });
    let genesis =
        node.own_genesis(name, Hash::of_blob(b"a program"), &manifest, "1".parse().unwrap(), terms, Policy::default());
    let agent = genesis.body.agent_id();
    node.store.put_blob(manifest.encode()).await.unwrap();
    local::put_name(&*node.store, name, agent).await.unwrap();
    let (book, draft) = Book::begin(genesis, manifest, RealWorld.wall_clock()).unwrap();
    node.store.create(book.commit(draft).unwrap()).await.unwrap();
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_being_created_is_on_its_way() {
    let home = tempfile::tempdir().unwrap();
    let compiler = Compiler::new("nothing is compiled here".into(), compile::Limits::default());
    let node = Node::open(home.path(), compiler).unwrap();
    let server = api::serve(&node, Limits::default()).await.unwrap();
    let client = Client::new(Address::Socket(server.socket().clone()));
    let sent = async || {
        let message = Outgoing::new(MessageId::Opaque("1".into()), b"hello");
        let refused = client.send("x", vec![message]).await.unwrap_err();
        let passing = refused.is_passing();
        match refused {
            Refusal::NotFound { code, .. } | Refusal::Refused { code, .. } => (code, passing),
            other => panic!("{other}"),
        }
    };
    assert_eq!(sent().await, ("unknown_agent".into(), false));
    let creating = node.occupy("x").unwrap();
    assert_eq!(sent().await, ("starting".into(), true), "its program is compiled");
    let agent = begin(&node, "x").await;
    let starting = node.occupy(&agent.to_string()).unwrap();
    assert_eq!(sent().await, ("starting".into(), true), "its init runs");
    drop((creating, starting));
    assert_eq!(sent().await, ("not_running".into(), true), "nobody runs it");
    server.shut_down().await;
}

const LISTEN: &str = "[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n";

/// A node that is on the network, and where others reach it.
async fn open_joined(home: &Path, peers: &[&str]) -> (Arc<Node>, Network, String) {
    let toml = if peers.is_empty() { LISTEN.to_owned() } else { format!("{LISTEN}peers = {peers:?}\n") };
    std::fs::write(home.join("node.toml"), toml).unwrap();
    let node = open(home);
    let network = node.join().await.unwrap().unwrap();
    while network.addresses().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let address = igor_network::address_of(node.id(), network.addresses()[0].clone()).unwrap().to_string();
    (node, network, address)
}

/// A node of a home that has many agents asks about all of them, in few questions, and nobody takes it for a flood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_are_asked_about_in_few_questions() {
    const AGENTS: usize = 300;
    let (a_home, b_home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, a_network, address) = open_joined(a_home.path(), &[]).await;
    for n in 0..AGENTS {
        begin(&a, &format!("a{n}")).await;
    }
    let (b, b_network, _) = open_joined(b_home.path(), &[&address]).await;
    // Who connects is asked about all.
    let other = BTreeSet::from([b.id()]);
    let answered = a.steward().peers().answered_by(&other);
    tokio::time::timeout(std::time::Duration::from_mins(1), answered).await.unwrap();
    let counted = b_network.counters();
    for why in igor_network::Refusal::ALL {
        assert_eq!(counted.refused(why), 0, "{why:?}");
    }
    assert!(counted.requests_in < 40, "{} questions", counted.requests_in);
    a_network.shutdown().await;
    b_network.shutdown().await;
}

fn open(home: &Path) -> Arc<Node> {
    Node::open(home, Compiler::new("nothing is compiled here".into(), compile::Limits::default())).unwrap()
}

/// What peers say of an agent that does not read goes nowhere. So they are asked again once it reads, before it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_did_not_read_at_the_start_is_asked_about_before_it_lives() {
    let (a_home, b_home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = open(a_home.path());
    let agent = begin(&before, "a").await;
    let book = before.book(agent).unwrap();
    let blob = a_home.path().join("blobs").join(book.genesis().manifest.to_string());
    let aside = a_home.path().join("aside");
    std::fs::rename(&blob, &aside).unwrap();

    // Its owner had another node take it over meanwhile.
    let (b, b_network, address) = open_joined(b_home.path(), &[]).await;
    let (held, base) = (book.held(), book.chain());
    let action =
        Action::Takeover { base_seq: Seq(base.next.0 - 1), base_head: base.head, custodian: b.id(), terms: b.terms() };
    let (term, at) = (base.epoch.term, held.at);
    let order = OrderBody { agent, term, counter: 1, at, action }.sign(&before.owner);
    let mut memory = Memory::default();
    memory.keep(held.take_over(&order, at).unwrap().sign(&b.key));
    let note = Note::new(before.owner.public(), memory);
    b.store.put_local(&Note::name(agent), note.encode()).await.unwrap();

    drop(before);
    let (a, a_network, _) = open_joined(a_home.path(), &[&address]).await;
    let patience = std::time::Duration::from_mins(1);
    let other = BTreeSet::from([b.id()]);
    tokio::time::timeout(patience, a.steward().peers().answered_by(&other)).await.unwrap();
    let carried = a.carry_all().await.unwrap();
    assert_eq!((carried.living, carried.unable), (0, 1));

    std::fs::rename(&aside, &blob).unwrap();
    assert_eq!(a.steward().status(agent).unwrap(), CustodyStatus::Custodian, "nothing was taken in");
    // However late it answers.
    let heard = async {
        while a.steward().status(agent).unwrap() != CustodyStatus::Elsewhere {
            assert!(a.start(agent, Wishes::default()).await.is_err());
        }
    };
    tokio::time::timeout(patience, heard).await.unwrap();
    let refused = a.start(agent, Wishes::default()).await.map(drop).unwrap_err();
    assert!(matches!(refused, Error::NotCustodian(_)), "{refused}");
    a_network.shutdown().await;
    b_network.shutdown().await;
}

/// Whoever reads along hears of every agent, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_emptied_tells_of_every_agent() {
    const AGENTS: usize = 300;
    let home = tempfile::tempdir().unwrap();
    let node = open(home.path());
    for n in 0..AGENTS {
        begin(&node, &format!("a{n}")).await;
    }
    let server = api::serve(&node, Limits::default()).await.unwrap();
    let mut told = Client::new(Address::Socket(server.socket().clone())).drain().await.unwrap();
    let (mut names, mut last) = (BTreeSet::new(), None);
    while let Some(event) = told.next().await.unwrap() {
        if let DrainEvent::Stays { name, .. } = &event {
            names.insert(name.clone());
        }
        last = Some(event);
    }
    assert_eq!(last, Some(DrainEvent::Drained { moved: 0, staying: AGENTS }));
    assert_eq!(names.len(), AGENTS);
    server.shut_down().await;
}

#[tokio::test]
async fn all_that_the_operator_said_goes_with_an_agent() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (open(here.path()), open(there.path()));
    let agent = begin(&here, "a").await;
    let said = local::Flags {
        paused: true,
        stopped: true,
        forgiven: Some(igor_protocol::Tick(5)),
        interval: Some(Nanos(7)),
        checkpoint_interval: Some(Nanos(9)),
    };
    local::put_flags(&*here.store, agent, said).await.unwrap();
    there.keep_manner(agent, here.manner(agent)).await.unwrap();
    assert_eq!(local::flags(&*there.store, agent).unwrap(), said);
}

#[test]
fn an_agent_is_attended_by_one_task() {
    let agent = AgentId(Hash::of_blob(b"an agent"));
    for _ in 0..200 {
        let attended = attend::Attended::default();
        let begun = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| attended.begin(agent))).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(|begun| *begun).count()
        });
        assert_eq!(begun, 1);
        assert!(!attended.is_done(agent), "the others had more to do");
        assert!(attended.is_done(agent));
        assert!(attended.begin(agent), "what was done may begin again");
        attended.leave(agent);
        assert!(attended.begin(agent), "and what was left");
    }
}
