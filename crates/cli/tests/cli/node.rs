//! A node that stays: what it carries over kills, who may deploy to it, and what it tells.

use crate::{
    home::{Home, STRATEGY, await_event, has},
    lives::IDLE,
    stage::Actor,
};
use igor_node::{
    api::wire::AgentInfo,
    client::{Address, Client},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const AGENTS: usize = 20;
const KILLS: u64 = 8;
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a node, and waits until it answers. Gives what it said.
fn begin(home: &Home) -> (Actor, Value) {
    let node = home.start(&["node", "start"]);
    let started = await_event(&node, "started").pop().expect("a row");
    (node, started)
}

/// The same, once every agent had its turn.
fn carried(home: &Home) -> (Actor, Value) {
    let (node, _) = begin(home);
    let carried = await_event(&node, "carried").pop().expect("a row");
    (node, carried)
}

/// All agents of the node, as it announces them: what is in it is durable.
fn announced(home: &Home) -> Vec<AgentInfo> {
    let client = Client::new(Address::Socket(home.path().join("node.sock")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(client.agents()).expect("the node answers")
}

#[test]
fn twenty_agents_go_on_exactly_after_every_kill() {
    let home = Home::new();
    let (mut node, _) = carried(&home);
    for n in 0..AGENTS {
        home.get(&["deploy", STRATEGY, "--name", &format!("a{n}"), "--interval", "4ms"]);
    }
    // What was announced, by agent and position: the head there must be this one for ever.
    let mut heads: BTreeMap<(String, u64), String> = BTreeMap::new();
    for round in 1..=KILLS {
        // At different times after the start, also while the agents are still being started.
        sleep(Duration::from_millis(round * 7919 % 400));
        for info in announced(&home) {
            heads.insert((info.name, info.seq.0), info.head.to_string());
        }
        node.kill().expect("it can be killed");
        node = begin(&home).0;
    }
    assert_eq!(await_event(&node, "carried").last().map(|row| &row["living"]), Some(&AGENTS.into()));
    let before = announced(&home);
    assert_eq!(before.len(), AGENTS);
    let deadline = Instant::now() + PATIENCE;
    while !announced(&home).iter().zip(&before).all(|(now, before)| now.tick > before.tick) {
        assert!(Instant::now() < deadline, "not all of them tick again");
    }
    node.signal(Signal::TERM).expect("it can be signalled");
    let (status, _) = node.end().expect("it ends");
    assert_eq!(status.code(), Some(0));
    for n in 0..AGENTS {
        let name = format!("a{n}");
        let rows = home.ask(&["timeline", &name]).rows;
        let ticks = rows.iter().filter(|row| row["call"] == "tick").filter_map(|row| row["tick"].as_u64());
        let ticks: Vec<u64> = ticks.collect();
        assert!(ticks.iter().copied().eq(1..=ticks.len() as u64), "{name}: each tick once, in order");
        for ((_, seq), head) in heads.range((name.clone(), 0)..=(name.clone(), u64::MAX)) {
            let row = usize::try_from(*seq).ok().and_then(|seq| rows.get(seq));
            assert_eq!(row.and_then(|row| row["head"].as_str()), Some(head.as_str()), "{name}: entry {seq}");
        }
        let shown = home.get(&["show", &name]);
        assert_eq!((&shown["status"], &shown["checkpoint_tick"]), (&"stopped".into(), &shown["tick"]));
    }
    for n in [0, AGENTS - 1] {
        assert_eq!(home.get(&["verify", &format!("a{n}"), "--execute"])["ok"], true);
    }
}

/// The home of a node that holders of a token reach over TCP.
fn reachable(policy: &str) -> Home {
    let home = Home::new();
    home.get(&["key", "--create"]);
    let tokens = home.path().join("tokens");
    fs::write(&tokens, format!("ci {TOKEN}\n")).expect("tokens can be written");
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).expect("they can be made private");
    let config = format!("{policy}\n[api]\nlisten = \"127.0.0.1:0\"\ntokens = \"tokens\"\n");
    fs::write(home.path().join("node.toml"), config).expect("the configuration can be written");
    home
}

/// Somebody with a home of their own, who reaches the node over TCP.
struct Afar {
    home: Home,
    node: String,
    token: &'static str,
}

impl Afar {
    fn run(&self, args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igor"));
        command.args(args).args(["--json", "--node", &self.node, "--home"]).arg(self.home.path());
        let output = command.env("IGOR_TOKEN", self.token).output().expect("igor runs");
        let rows = output.stdout.lines().map(|line| serde_json::from_str(&line.expect("text")).expect("a row"));
        (output.status.code(), rows.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn get(&self, args: &[&str]) -> Value {
        let (code, mut rows, said) = self.run(args);
        assert_eq!(code, Some(0), "igor {args:?}: {said}");
        rows.pop().unwrap_or_else(|| panic!("igor {args:?} printed nothing"))
    }

    fn fails(&self, args: &[&str], code: i32, words: &str) {
        let (found, _, said) = self.run(args);
        assert_eq!(found, Some(code), "igor {args:?}: {said}");
        assert!(said.contains(words), "igor {args:?} does not say {words:?}: {said}");
    }
}

fn owner_key(home: &Home) -> String {
    let rows = home.ask(&["key", "--create"]).rows;
    rows[0]["key"].as_str().expect("a key").to_owned()
}

#[test]
fn an_owner_deploys_from_another_home_over_tcp() {
    let theirs = Home::new();
    let home = reachable(&format!("[policy]\nowners = [\"{}\"]", owner_key(&theirs)));
    let (mut node, started) = begin(&home);
    has(&started, &["node", "owner", "socket", "tcp", "price_per_second", "price_per_fuel", "durable_on", "runtime"]);
    let address = started["tcp"].as_str().expect("an address").to_owned();
    let afar = Afar { home: theirs, node: address.clone(), token: TOKEN };
    let deploy = ["deploy", STRATEGY, "--name", "s", "--interval", "5ms", "--budget", "3"];
    let deployed = afar.get(&deploy);
    has(&deployed, &["created", "agent", "name", "status", "node", "owner", "custodian", "balance"]);
    assert_eq!((&deployed["created"], &deployed["custodian"]), (&true.into(), &started["node"]));
    let again = afar.get(&deploy);
    assert_eq!((&again["created"], &again["agent"]), (&false.into(), &deployed["agent"]));
    afar.fails(&["deploy", STRATEGY, "--name", "s", "--budget", "4"], 3, "belongs to agent");

    assert_eq!(afar.get(&["fund", "s", "2"])["funded"], "5");
    assert!(afar.get(&["call", "s", "report"])["reply"].is_string());
    afar.get(&["send", "s", "2001-01-02,1,1,1,1,1"]);
    assert_eq!(afar.get(&["ps"])["name"], "s");
    home.fails(&["fund", "s", "1"], 3, &["only did:key:"]);
    home.fails(&["deploy", STRATEGY, "--name", "t"], 3, &["policy.owners"]);
    afar.get(&["end", "s"]);
    let deadline = Instant::now() + PATIENCE;
    while home.get(&["show", "s"])["status"] != "ended" {
        assert!(Instant::now() < deadline, "it does not end");
    }

    let stranger = Afar { home: Home::new(), ..Afar { home: Home::new(), node: address.clone(), token: TOKEN } };
    stranger.fails(&["deploy", STRATEGY], 3, "igor key --create");
    owner_key(&stranger.home);
    stranger.fails(&["deploy", STRATEGY], 3, "policy.owners");
    let forger = Afar { token: "fedcba9876543210fedcba9876543210", ..stranger };
    forger.fails(&["deploy", STRATEGY], 3, "Bearer");
    let module = afar.home.file("empty.wasm", b"\0asm\x01\0\0\0");
    afar.fails(&["deploy", &module], 3, "does not export");
    afar.fails(&["deploy", STRATEGY, "--budget", "0"], 2, "--budget 0");
    assert_eq!(home.ask(&["ps"]).rows.len(), 1, "nothing of them is left");
    node.signal(Signal::INT).expect("it can be signalled");
    assert!(node.end().expect("it ends").0.success());
    afar.fails(&["deploy", STRATEGY], 5, "no node at");
    afar.home.fails(&["deploy", STRATEGY], 5, &["igor node start"]);
}

#[test]
fn a_node_carries_what_run_began_and_run_goes_on_with_it() {
    let home = Home::with_strategy(3);
    let idle = home.wat("idle.wasm", IDLE);
    let mut actor = home.run(&[&idle, "--interval", "1ms"]);
    await_event(&actor, "tick");
    actor.kill().expect("it can be killed");
    home.get(&["pause", "idle"]);
    let (mut node, carried) = carried(&home);
    assert_eq!((&carried["living"], &carried["resting"], &carried["unable"]), (&2.into(), &0.into(), &0.into()));
    let rows = home.ask(&["ps"]).rows;
    let status = |name: &str| rows.iter().find(|row| row["name"] == name).map(|row| row["status"].clone());
    assert_eq!(status("idle"), Some("paused".into()));
    assert!(home.get(&["call", "s", "report"])["reply"].is_string());
    home.fails(&["run", STRATEGY, "--name", "s"], 3, &["in use by process"]);
    node.signal(Signal::TERM).expect("it can be signalled");
    assert!(node.end().expect("it ends").0.success());
    let again = home.ask(&["run", STRATEGY, "--name", "s", "--ticks", "1", "--interval", "1ms"]);
    assert_eq!(again.code, Some(0), "{}", again.said);
}

#[test]
fn a_service_manager_hears_how_it_is_and_logs_are_lines_of_json() {
    let home = Home::new();
    let path = home.beside("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let hear = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("the node tells");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_igor"));
    command.args(["node", "start", "--json", "--home"]).arg(home.path()).env("NOTIFY_SOCKET", &path);
    command.env_remove("IGOR_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("igor starts");
    assert!(hear().lines().any(|line| line == "READY=1"));
    assert_eq!(hear(), "STATUS=0 agents started");
    // It answers when it says that it is ready.
    home.get(&["deploy", STRATEGY, "--name", "s"]);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::TERM).expect("it can be signalled");
    assert_eq!(hear(), "STOPPING=1");
    let mut said = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success(), "{said}");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let created = lines.iter().find(|line| line["message"] == "an agent was created").expect(&said);
    has(created, &["timestamp", "level", "agent", "name", "owner"]);
}

#[test]
fn a_stdout_that_nobody_reads_does_not_end_it() {
    let home = Home::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_igor"));
    command.args(["node", "start", "--json", "--home"]).arg(home.path()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("igor starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut first).expect("a line");
    // What is told from here on goes nowhere.
    home.get(&["deploy", STRATEGY, "--name", "s"]);
    assert_eq!(home.ask(&["ps"]).rows.len(), 1);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::TERM).expect("it can be signalled");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn people_read_who_the_node_is() {
    let home = reachable("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_igor"));
    command.args(["node", "start", "--home"]).arg(home.path()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("igor starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map(|line| line.expect("text"));
    let text = lines.by_ref().take(7).collect::<Vec<_>>().join("\n");
    for words in [
        "did:key:z6Mk",
        "node.sock",
        "127.0.0.1:",
        "0.001 credits a second",
        "this disk only",
        "igor deploy",
        "SIGTERM",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::INT).expect("it can be signalled");
    assert!(lines.any(|line| line.starts_with("stopped")));
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_configuration_says_where_each_value_comes_from() {
    let home = Home::new();
    let key = owner_key(&home);
    let text = format!("[policy]\nowners = [\"{key}\"]\n[admission]\nagents = 7\n");
    fs::write(home.path().join("node.toml"), text).expect("the configuration can be written");
    let rows = home.ask(&["config"]).rows;
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}"));
    assert_eq!((&row("policy.owners")["value"], &row("admission.agents")["value"]), (&key.into(), &"7".into()));
    assert!(row("admission.agents")["from"].as_str().is_some_and(|from| from.ends_with("node.toml")));
    for key in ["policy.nodes", "admission.memory_bytes", "grants.capabilities", "metrics.agents", "price.per_fuel"] {
        assert_eq!(row(key)["from"], "default", "{key}");
    }
    fs::write(home.path().join("node.toml"), "[admission]\nagents = -7\n").expect("it can be written");
    home.fails(&["config"], 3, &["agents", "node.toml"]);
    home.fails(&["node", "start"], 3, &["agents", "node.toml"]);
}

#[test]
fn a_second_node_on_a_home_is_refused() {
    let home = Home::with_strategy(1);
    let (mut node, _) = begin(&home);
    home.fails(&["node", "start"], 3, &["in use by process"]);
    node.kill().expect("it can be killed");
}
