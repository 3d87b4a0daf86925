//! Who the API lets in, what it refuses, and in which words.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{COUNTER, ECHO, Running, creation, exchange, raw, temporary, within};
use igor_node::{
    Error,
    api::{
        Limits,
        wire::{BATCH_MAX, BODY_BYTES_MAX, MessageAnswer, MessageState, Outgoing},
    },
    client::{self, Address, Client, SentAs},
};
use igor_protocol::{Hash, Seq, entry::MessageId};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A request as curl would send it, on a connection that ends with it.
fn request(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

/// Checks the status, the code and that there are words.
#[track_caller]
fn refused(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status} {code}: {answer}");
    assert!(answer.contains("application/json"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect(answer);
    assert_eq!(body["error"]["code"], code, "{answer}");
    assert!(body["error"]["message"].as_str().is_some_and(|words| words.len() > 10), "{answer}");
}

fn message(id: &str, body: &[u8]) -> Outgoing {
    Outgoing::new(MessageId::Opaque(id.into()), body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_and_other_hosts_are_refused() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let socket = running.server.socket().clone();
    let get = "GET /v1/node";
    for (headers, status, code) in [
        (vec!["host: localhost", "origin: http://localhost"], 403, "web_page"),
        (vec!["host: localhost", "origin: null"], 403, "web_page"),
        (vec!["host: localhost", "sec-fetch-site: cross-site"], 403, "web_page"),
        (vec!["host: evil.example"], 403, "wrong_host"),
        (vec!["host: localhost.evil.example"], 403, "wrong_host"),
        (vec!["host: 127.0.0.1.evil.example:80"], 403, "wrong_host"),
        (vec!["host:"], 403, "wrong_host"),
        (vec![], 400, "wrong_host"),
    ] {
        refused(&raw(&socket, &request(get, &headers, "")).await, status, code);
    }
    for host in ["host: localhost", "host: LOCALHOST:80", "host: [::1]:7", "host: 127.0.0.1"] {
        let answer = raw(&socket, &request(get, &[host], "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    let elsewhere = raw(&socket, &request("GET http://evil.example/v1/node", &["host: localhost"], "")).await;
    refused(&elsewhere, 403, "wrong_host");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_of_this_api_is_refused() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    running.create(creation("e", ECHO)).await;
    let socket = running.server.socket().clone();
    let post = "POST /v1/agents/e/messages";
    let many = format!(r#"{{"messages":[{}]}}"#, vec![r#"{"id":"a","body":""}"#; BATCH_MAX + 1].join(","));
    let long_id = format!(r#"{{"messages":[{{"id":"{}","body":""}}]}}"#, "x".repeat(129));
    for (line, body, status, code) in [
        ("GET /v1/nowhere", "", 404, "unknown_path"),
        ("GET /", "", 404, "unknown_path"),
        ("DELETE /v1/node", "", 405, "wrong_method"),
        ("GET /v1/agents/nobody", "", 404, "unknown_agent"),
        ("GET /v1/agents/igor1qqqq", "", 404, "unknown_agent"),
        ("GET /v1/agents/%ff", "", 400, "bad_path"),
        ("GET /v1/agents/e/journal?from=-1", "", 400, "bad_query"),
        ("GET /v1/agents/e/journal?form=1", "", 400, "bad_query"),
        ("GET /v1/agents/e/messages/a?wait=61", "", 400, "bad_query"),
        ("GET /v1/agents/e/messages/a", "", 404, "unknown_message"),
        ("GET /v1/blobs/xyz", "", 400, "bad_path"),
        ("POST /v1/agents/nobody/messages", "{}", 404, "unknown_agent"),
        ("POST /v1/agents/e/orders", "not an order", 400, "bad_order"),
        (post, "", 400, "bad_json"),
        (post, "{", 400, "bad_json"),
        (post, r#"{"messages":[{"id":"a","body":"","extra":1}]}"#, 400, "bad_json"),
        (post, r#"{"messages":[{"stream":"s","n":-1,"body":""}]}"#, 400, "bad_json"),
        (post, r#"{"messages":[]}"#, 400, "batch_size"),
        (post, many.as_str(), 400, "batch_size"),
        (post, r#"{"messages":[{"body":"x"}]}"#, 400, "bad_message"),
        (post, r#"{"messages":[{"id":"a"}]}"#, 400, "bad_message"),
        (post, r#"{"messages":[{"id":"a","stream":"s","n":1,"body":""}]}"#, 400, "bad_message"),
        (post, r#"{"messages":[{"id":"a","body":"","body_base64":""}]}"#, 400, "bad_message"),
        (post, r#"{"messages":[{"id":"a","body_base64":"?"}]}"#, 400, "bad_message"),
        (post, r#"{"messages":[{"id":"","body":""}]}"#, 400, "bad_message"),
        (post, r#"{"messages":[{"stream":"s","n":0,"body":""}]}"#, 400, "bad_message"),
        (post, long_id.as_str(), 400, "bad_message"),
    ] {
        refused(&raw(&socket, &request(line, &["host: localhost"], body)).await, status, code);
    }
    let absent = format!("GET /v1/blobs/{}", Hash::of_blob(b"nothing"));
    refused(&raw(&socket, &request(&absent, &["host: localhost"], "")).await, 404, "unknown_blob");
    // A bad message in a batch means that none of it is taken.
    let mixed = r#"{"messages":[{"id":"good","body":"x"},{"id":"bad"}]}"#;
    refused(&raw(&socket, &request(post, &["host: localhost"], mixed)).await, 400, "bad_message");
    let good = running.client.message("e", "good", Duration::ZERO).await.unwrap_err();
    assert!(matches!(good, client::Error::NotFound { .. }), "{good}");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    running.create(creation("e", ECHO)).await;
    let socket = running.server.socket().clone();
    let post = "POST /v1/agents/e/messages";
    // A body that says its length, and one that does not.
    let said = format!(
        "{post} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        BODY_BYTES_MAX + 1
    );
    refused(&raw(&socket, said.as_bytes()).await, 413, "body_too_large");
    let mut chunked =
        format!("{post} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")
            .into_bytes();
    let chunk = vec![b' '; 1 << 16];
    for _ in 0..=BODY_BYTES_MAX / chunk.len() {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(&chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    refused(&raw(&socket, &chunked).await, 413, "body_too_large");
    // Below HTTP: the status is all there is.
    let long = format!("GET /v1/node HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(raw(&socket, long.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET /v1/node HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert!(raw(&socket, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert!(raw(&socket, b"\x16\x03\x01 this is no HTTP\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    // One message that the agent's manifest does not take: by itself, not the whole request.
    let limit = igor_protocol::Manifest::default().limits.message_bytes as usize;
    let answers = running.client.send("e", vec![message("big", &vec![b'x'; limit + 1]), message("small", b"x")]);
    let answers = within(answers).await.unwrap();
    assert!(matches!(&answers[0], MessageAnswer::Refused { status: 413, error } if error.code == "too_large"));
    assert!(matches!(&answers[1], MessageAnswer::Taken(_)));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_slow_or_too_much_is_cut_off() {
    let home = temporary();
    let short = Duration::from_millis(500);
    let limits = Limits { connections: 2, header_within: short, body_within: short, ..Limits::default() };
    let running = Running::open_with(home.path(), limits).await;
    running.create(creation("e", ECHO)).await;
    let socket = running.server.socket().clone();
    // A header that never ends: closed, and nothing was done.
    let mut slow = UnixStream::connect(&socket).await.unwrap();
    slow.write_all(b"GET /v1/node HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut rest = Vec::new();
    drop(within(slow.read_to_end(&mut rest)).await);
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "), "{rest:?}");
    // A connection that says nothing.
    let mut silent = UnixStream::connect(&socket).await.unwrap();
    drop(within(silent.read_to_end(&mut rest)).await);
    // A body that does not come.
    let slow =
        b"POST /v1/agents/e/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{";
    refused(&raw(&socket, slow).await, 408, "too_slow");
    // Two followers have all places; a third caller is turned away, until one goes.
    let follow = || running.client.journal("e", Seq(0), true);
    let (mut one, two) = (follow().await.unwrap(), follow().await.unwrap());
    assert!(within(one.next()).await.unwrap().is_some());
    let turned_away = running.client.node().await.unwrap_err();
    assert!(
        matches!(&turned_away, client::Error::Refused { status: 503, code, .. } if code == "too_many_connections"),
        "{turned_away}"
    );
    drop((one, two));
    within(async {
        while running.client.node().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.close().await;
}

fn write_tokens(home: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let path = home.join("tokens");
    std::fs::write(&path, format!("ci {TOKEN}\nann {TOKEN}-2\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let toml = "[api]\nlisten = \"127.0.0.1:0\"\ntokens = \"tokens\"\nhosts = [\"node.example\"]\n";
    std::fs::write(home.join("node.toml"), toml).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_a_token_is_needed_and_is_the_sender() {
    let home = temporary();
    write_tokens(home.path(), 0o600);
    let running = Running::open(home.path()).await;
    running.create(creation("e", ECHO)).await;
    let address = running.server.tcp().expect("it listens");
    let connect = || async { TcpStream::connect(address).await.unwrap() };
    let get = "GET /v1/node";
    for authorization in
        [vec![], vec!["authorization: Bearer wrong"], vec!["authorization: Basic abc"], vec!["authorization: Bearer "]]
    {
        let headers: Vec<_> = std::iter::once("host: localhost").chain(authorization).collect();
        refused(&exchange(connect().await, &request(get, &headers, "")).await, 401, "no_token");
    }
    let bearer = format!("authorization: Bearer {TOKEN}");
    // The metrics and paths that there are not need it as well.
    refused(&exchange(connect().await, &request("GET /metrics", &["host: localhost"], "")).await, 401, "no_token");
    refused(&exchange(connect().await, &request("GET /nowhere", &["host: localhost"], "")).await, 401, "no_token");
    refused(&exchange(connect().await, &request(get, &["host: evil.example", &bearer], "")).await, 403, "wrong_host");
    let page = ["host: localhost", "origin: http://localhost", &bearer];
    refused(&exchange(connect().await, &request(get, &page, "")).await, 403, "web_page");
    for host in ["host: node.example:99", "host: localhost", "host: 127.0.0.1"] {
        let answer = exchange(connect().await, &request(get, &[host, &bearer], "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    // The same id of two senders is two messages; each reads its own only.
    let tcp = |token: &str| Client::new(Address::Tcp { address, token: token.into() });
    let (ci, ann) = (tcp(TOKEN), tcp(&format!("{TOKEN}-2")));
    for (client, body) in [(&ci, b"from ci".as_slice()), (&ann, b"from ann")] {
        let answers = client.send("e", vec![message("1", body)]).await.unwrap();
        assert!(matches!(&answers[0], MessageAnswer::Taken(taken) if !taken.duplicate), "{answers:?}");
        let status = within(client.message("e", "1", Duration::from_secs(20))).await.unwrap();
        assert_eq!((status.state, status.reply_bytes().unwrap().as_deref()), (MessageState::Closed, Some(body)));
    }
    let other = running.client.message("e", "1", Duration::ZERO).await.unwrap_err();
    assert!(matches!(other, client::Error::NotFound { .. }), "{other}");
    // So who sends again what was sent, or may have been, does so as the same sender or not at all.
    assert_eq!((ci.sender().await.unwrap(), ann.sender().await.unwrap()), ("token:ci".into(), "token:ann".into()));
    let mut sent_as = SentAs::default();
    let unknown = ann.send_as("nobody", vec![message("2", b"x")], &mut sent_as).await.unwrap_err();
    assert!(unknown.did_nothing() && sent_as.sender().is_none(), "{unknown}");
    ci.send_as("e", vec![message("2", b"x")], &mut sent_as).await.unwrap();
    let refused = ann.send_as("e", vec![message("2", b"x")], &mut sent_as).await.unwrap_err();
    assert!(
        matches!(&refused, client::Error::Refused { status: 409, code, .. } if code == "other_sender"),
        "{refused}"
    );
    let never = ann.message("e", "2", Duration::ZERO).await.unwrap_err();
    assert!(matches!(never, client::Error::NotFound { .. }), "{never}");
    let again = ci.send_as("e", vec![message("2", b"x")], &mut sent_as).await.unwrap();
    assert!(matches!(&again[0], MessageAnswer::Taken(taken) if taken.duplicate), "{again:?}");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_over_tcp_take_no_places_of_the_socket() {
    let home = temporary();
    write_tokens(home.path(), 0o600);
    let limits = Limits { connections: 1, tcp_connections: 2, ..Limits::default() };
    let running = Running::open_with(home.path(), limits).await;
    let address = running.server.tcp().expect("it listens");
    // Two who say nothing have all places there are over TCP, and more than there are at the socket.
    let silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let third = TcpStream::connect(address).await.unwrap();
    refused(&exchange(third, &request("GET /v1/node", &["host: localhost"], "")).await, 503, "too_many_connections");
    running.client.node().await.unwrap();
    // Nor does who is turned away there.
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(TcpStream::connect(address).await.unwrap());
    }
    running.client.node().await.unwrap();
    drop((silent, waiting));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_others_can_read_are_refused() {
    let home = temporary();
    write_tokens(home.path(), 0o640);
    let node = common::open_node(home.path()).await;
    let refused = igor_node::api::serve(&node, Limits::default()).await.err().unwrap();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
    write_tokens(home.path(), 0o600);
    std::fs::write(home.path().join("tokens"), "ci short\n").unwrap();
    let refused = igor_node::api::serve(&node, Limits::default()).await.err().unwrap();
    assert!(matches!(&refused, Error::Tokens { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_was_left_behind_is_replaced() {
    let home = temporary();
    let socket = home.path().canonicalize().unwrap().join("node.sock");
    // As a killed process leaves it: a file that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let stale = Client::new(Address::Socket(socket.clone())).node().await.unwrap_err();
    assert!(matches!(stale, client::Error::Unreachable { .. }), "{stale}");
    let running = Running::open(home.path()).await;
    assert_eq!(running.server.socket(), &socket);
    let info = running.client.node().await.unwrap();
    assert_eq!((info.node, info.pid), (running.node.id(), std::process::id()));
    running.close().await;
    assert!(!socket.exists(), "a clean end leaves no socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journal_blobs_and_events_are_those_of_the_store() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let life = running.create(creation("c", COUNTER)).await;
    let mut events = running.client.events("c").await.unwrap();
    let mut followed = running.client.journal("c", Seq(0), true).await.unwrap();
    let first = within(followed.next()).await.unwrap().unwrap();
    assert_eq!((first.agent(), first.first()), (life.agent(), Seq(0)));
    assert!(within(events.next()).await.unwrap().is_some());
    assert_eq!(running.client.stop("c").await.unwrap(), "stopped");
    // What was followed is the whole journal; both streams end with the life.
    let mut end = first.end();
    while let Some(commit) = within(followed.next()).await.unwrap() {
        assert_eq!(commit.start(), end);
        end = commit.end();
    }
    let info = running.client.agent("c").await.unwrap();
    assert_eq!((info.seq.next(), info.head), (end.next, end.head));
    let mut last = None;
    while let Some(event) = within(events.next()).await.unwrap() {
        last = Some(event);
    }
    assert!(matches!(last, Some(igor_node::api::wire::Event::Stopped { .. })), "{last:?}");
    // From the middle, without following.
    let mut rest = running.client.journal("c", Seq(3), false).await.unwrap();
    let mut seen = within(rest.next()).await.unwrap().unwrap();
    assert!(seen.first() <= Seq(3) && seen.next() > Seq(3));
    while let Some(commit) = within(rest.next()).await.unwrap() {
        assert_eq!(commit.start(), seen.end());
        seen = commit;
    }
    assert_eq!(seen.end(), end);
    let program = running.client.blob(info.program, 1 << 20).await.unwrap().unwrap();
    assert_eq!(Hash::of_blob(&program), info.program);
    assert_eq!(running.client.blob(Hash::of_blob(b"nothing"), 1 << 20).await.unwrap(), None);
    assert!(matches!(running.client.blob(info.program, 10).await, Err(client::Error::Protocol { .. })));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_happened() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let wishes = igor_node::Wishes { ticks: Some(7), ..Default::default() };
    let life = running.node.create(creation("c", COUNTER), wishes).await.unwrap();
    within(life.over()).await;
    let text = running.client.metrics().await.unwrap();
    for line in [
        r#"igor_ticks_total{agent="c",outcome="ok"} 7"#,
        r#"igor_ticks_total{agent="c",outcome="trap"} 0"#,
        r#"igor_starts_total{agent="c"} 1"#,
        r#"igor_checkpoint_state_bytes{agent="c"} 4.0"#,
        r#"igor_running{agent="c"} 0.0"#,
        r#"igor_open_messages{agent="c"} 0.0"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains(r#"igor_commit_seconds_count{agent="c"}"#) && text.ends_with("# EOF\n"), "{text}");
    let life = running.node.start(life.agent(), wishes).await.unwrap();
    within(life.over()).await;
    let text = running.client.metrics().await.unwrap();
    assert!(text.contains(r#"igor_starts_total{agent="c"} 2"#), "{text}");
    assert!(text.contains(r#"igor_api_requests_total{status="200"} 1"#), "{text}");
    running.close().await;
}
