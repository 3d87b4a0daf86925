//! Answers that are lost, and an agent that moves before the command asks again.

use crate::hosts::{Host, Owner, ended, network, policy};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Output},
    thread,
    time::Duration,
};

const GLANCE: Duration = Duration::from_millis(5);

/// What becomes of the request that is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It never comes to the node.
    Request,
    /// The node does it; its answer goes nowhere.
    Answer,
}

/// The way to a node's API, on which one request or its answer is lost.
struct Way {
    listener: TcpListener,
    to: String,
}

impl Way {
    fn to(host: &Host) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it can be asked");
        Self { listener, to: host.tcp.clone() }
    }

    fn address(&self) -> String {
        self.listener.local_addr().expect("an address").to_string()
    }

    /// Passes requests on until the command has ended. Of the first that posts to `path`, this part is lost; `then` has
    /// happened before anything more comes through.
    fn pass(&self, mut command: Child, path: &str, loss: Loss, mut then: impl FnMut()) -> Output {
        let mut lost = false;
        while command.try_wait().expect("it can be asked").is_none() {
            let Ok((near, _)) = self.listener.accept() else {
                thread::sleep(GLANCE);
                continue;
            };
            near.set_nonblocking(false).expect("it can wait");
            let it_is = |request: &str| !lost && request.starts_with("POST") && request.contains(path);
            // A connection that fails is one that the command sees fail.
            if self.relay(near, it_is, loss).unwrap_or(false) {
                lost = true;
                then();
            }
        }
        assert!(lost, "nothing was lost");
        command.wait_with_output().expect("it ended")
    }

    /// Passes one request and its answer on. Says whether it was lost.
    fn relay(&self, mut near: TcpStream, it_is: impl Fn(&str) -> bool, loss: Loss) -> io::Result<bool> {
        let request = read_request(&mut near)?;
        let lost = it_is(&String::from_utf8_lossy(&request));
        if lost && loss == Loss::Request {
            return Ok(true);
        }
        let mut far = TcpStream::connect(&self.to)?;
        far.write_all(&request)?;
        if lost {
            let mut answer = [0; 12];
            far.read_exact(&mut answer)?;
            assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
            return Ok(true);
        }
        io::copy(&mut far, &mut near)?;
        Ok(false)
    }
}

/// A request, which asks that the connection ends with its answer.
fn read_request(near: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        near.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or("0", str::trim);
    let mut body = vec![0; length.parse().expect("a length")];
    near.read_exact(&mut body)?;
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head.extend_from_slice(&body);
    Ok(head)
}

/// Two nodes that know each other, and an agent on the first, which is reached over a way of its own.
fn two() -> (Owner, Host, Host, Way) {
    let owner = Owner::new();
    let a = Host::start_over_tcp(&format!("{}{}", network(&[]), policy(&[&owner.key], &[])), "ci");
    let b = Host::start(&format!("{}{}", network(&[&a]), policy(&[&owner.key], &[&a])));
    owner.deploy(&a);
    a.meets(&b);
    let way = Way::to(&a);
    (owner, a, b, way)
}

/// The counters of the orders in the journal.
fn orders(host: &Host) -> Vec<Option<u64>> {
    let rows = host.home.ask(&["timeline", "s"]).rows;
    rows.iter().filter(|row| row["kind"] == "order").map(|row| row["counter"].as_u64()).collect()
}

/// The command says so, and so does the journal where the agent is.
fn funded_once(output: &Output, host: &Host) {
    let row = ended(output, 0, &[]);
    assert_eq!((&row["funded"], &row["added"]), (&"2".into(), &"1".into()), "{row}");
    assert_eq!((orders(host), &host.show()["funded"]), (vec![Some(1)], &"2".into()));
}

#[test]
fn an_order_that_the_node_did_is_found_in_the_archive_that_it_left() {
    let (owner, a, b, way) = two();
    let fund = owner.start_with_token(&["fund", "s", "1", "--node", &way.address()]);
    let output = way.pass(fund, "/orders", Loss::Answer, || drop(a.home.get(&["migrate", "s", &b.key])));
    funded_once(&output, &b);
}

#[test]
fn an_order_that_never_came_is_the_same_one_at_the_other_node() {
    let (owner, a, b, way) = two();
    let fund = owner.start_with_token(&["fund", "s", "1", "--node", &format!("{},{}", way.address(), b.api())]);
    let output = way.pass(fund, "/orders", Loss::Request, || drop(a.home.get(&["migrate", "s", &b.key])));
    funded_once(&output, &b);
}

#[test]
fn who_does_not_know_whether_an_order_stands_is_told_how_to_give_it_once() {
    let (owner, mut a, b, way) = two();
    let fund = owner.start_with_token(&["fund", "s", "1", "--node", &way.address()]);
    let output = way.pass(fund, "/orders", Loss::Answer, || {
        a.home.get(&["migrate", "s", &b.key]);
        a.kill();
    });
    ended(&output, 5, &["it is unknown whether the order stands", "igor fund s --total 2"]);
    for _ in 0..2 {
        let row = owner.get(&b, &["fund", "s", "--total", "2"]);
        assert_eq!((&row["funded"], &row["added"], &row["seq"]), (&"2".into(), &"0".into(), &Value::Null), "{row}");
    }
    let row = owner.get(&b, &["fund", "s", "--total", "2.5"]);
    assert_eq!((&row["funded"], &row["added"]), (&"2.5".into(), &"0.5".into()), "{row}");
    assert_eq!(orders(&b), [Some(1), Some(2)]);
}

#[test]
fn a_message_whose_answer_is_lost_is_not_sent_again_by_another_sender() {
    let (owner, a, b, way) = two();
    let both = format!("{},{}", way.address(), b.api());
    let send = ["send", "s", "hello", "--id", "m", "--timeout", "2m", "--node"];
    let sent = owner.start_with_token(&[&send[..], &[&both]].concat());
    let output = way.pass(sent, "/messages", Loss::Answer, || drop(a.home.get(&["migrate", "s", &b.key])));
    ended(&output, 3, &["message m may have been taken", "--id m", "this was sent by token:ci", "you are uid:"]);
    let rows = b.home.ask(&["timeline", "s"]).rows;
    assert_eq!(rows.iter().filter(|row| row["kind"] == "message").count(), 1);
}
