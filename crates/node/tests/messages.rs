//! Messages through the API: once each, in order, with their replies, whatever is sent again and whenever.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{ECHO, Running, agent_file, creation, temporary, within};
use igor_node::{
    Creation, Wishes,
    api::wire::{MessageAnswer, MessageState, Outgoing, Taken},
    client::{self, Client, Lines, LinesError, Progress, SentAs, send_lines},
};
use igor_protocol::{Body, Entry, Seq, entry::MessageId};
use igor_store::Store;
use std::{sync::Arc, time::Duration};

const LONG: Duration = Duration::from_secs(20);

fn message(id: &str, body: &str) -> Outgoing {
    Outgoing::new(MessageId::Opaque(id.into()), body.as_bytes())
}

fn numbered(n: u64, body: &str) -> Outgoing {
    Outgoing::new(MessageId::Numbered { stream: "s".into(), n }, body.as_bytes())
}

#[track_caller]
fn taken(answer: &MessageAnswer) -> Taken {
    match answer {
        MessageAnswer::Taken(taken) => *taken,
        MessageAnswer::Refused { .. } => panic!("{answer:?}"),
    }
}

#[track_caller]
fn refused(answer: &MessageAnswer) -> (u16, &str) {
    match answer {
        MessageAnswer::Refused { status, error } => (*status, &error.code),
        MessageAnswer::Taken(_) => panic!("{answer:?}"),
    }
}

async fn send(client: &Client, messages: Vec<Outgoing>) -> Vec<MessageAnswer> {
    within(client.send("e", messages)).await.unwrap()
}

/// The bodies of all messages in the journal, in order.
fn bodies(running: &Running, name: &str) -> Vec<String> {
    let agent = running.node.resolve(name).unwrap().unwrap();
    let mut bodies = Vec::new();
    for commit in running.node.store().read(agent, Seq(0)).unwrap() {
        for (_, _, bytes) in commit.unwrap().entries() {
            if let Body::Message(message) = Entry::decode(bytes).unwrap().body
                && let igor_protocol::entry::Content::Inline(body) = message.body
            {
                bodies.push(String::from_utf8(body).unwrap());
            }
        }
    }
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_is_signed_and_the_same_id_is_the_same_message() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let life = running.create(creation("e", ECHO)).await;
    let first = taken(&send(&running.client, vec![message("1", "hello")]).await[0]);
    assert!(!first.duplicate);
    assert!(first.is_signed_by(&running.node.id(), &life.agent()));
    assert!(!Taken { seq: Seq(first.sealed_seq.0 + 1), ..first }.is_signed_by(&running.node.id(), &life.agent()));
    assert!(!Taken { head: igor_protocol::Hash([1; 32]), ..first }.is_signed_by(&running.node.id(), &life.agent()));
    let again = taken(&send(&running.client, vec![message("1", "hello")]).await[0]);
    assert!(again.duplicate && again.seq == first.seq);
    // While it is open, and after it was closed, another body is another message.
    assert_eq!(refused(&send(&running.client, vec![message("1", "other")]).await[0]), (409, "conflict"));
    let status = within(running.client.message("e", "1", LONG)).await.unwrap();
    assert_eq!((status.state, status.seq, status.reply.as_deref()), (MessageState::Closed, first.seq, Some("hello")));
    assert_eq!(refused(&send(&running.client, vec![message("1", "other")]).await[0]), (409, "conflict"));
    // Within one batch as well, each is answered by itself.
    let answers =
        send(&running.client, vec![message("2", "a"), message("2", "b"), message("2", "a"), message("3", "c")]).await;
    assert!(!taken(&answers[0]).duplicate && taken(&answers[2]).duplicate && !taken(&answers[3]).duplicate);
    assert_eq!(refused(&answers[1]), (409, "conflict"));
    assert_eq!(bodies(&running, "e"), ["hello", "a", "c"]);
    running.close().await;
}

// One thread: the request is not interrupted while it hands its messages over.
#[tokio::test(flavor = "current_thread")]
async fn a_batch_is_committed_together_and_keeps_its_order() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    running.create(creation("e", ECHO)).await;
    running.client.pause("e").await.unwrap();
    let batch: Vec<_> = (1..=200).map(|n| numbered(n, &n.to_string())).collect();
    let answers = send(&running.client, batch).await;
    let seqs: Vec<_> = answers.iter().map(|answer| taken(answer).seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    let agent = running.node.resolve("e").unwrap().unwrap();
    let commits = running.node.store().read(agent, seqs[0]).unwrap();
    let holding = commits.filter(|commit| commit.as_ref().unwrap().first() <= seqs[199]).count();
    assert!(holding <= 4, "{holding} commits for 200 messages: each is a wait for the disk");
    assert_eq!(bodies(&running, "e"), (1..=200).map(|n: u64| n.to_string()).collect::<Vec<_>>());
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_have_no_gaps() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    running.create(creation("e", ECHO)).await;
    let client = &running.client;
    assert_eq!(client.stream_highest("e", "s").await.unwrap(), 0);
    let answers = send(client, vec![numbered(2, "b"), numbered(1, "a"), numbered(2, "b"), numbered(4, "d")]).await;
    assert_eq!(refused(&answers[0]), (409, "gap"));
    assert_eq!(refused(&answers[3]), (409, "gap"));
    taken(&answers[1]);
    taken(&answers[2]);
    assert_eq!(client.stream_highest("e", "s").await.unwrap(), 2);
    assert_eq!(client.stream_highest("e", "other").await.unwrap(), 0);
    assert!(taken(&send(client, vec![numbered(1, "a")]).await[0]).duplicate);
    assert_eq!(bodies(&running, "e"), ["a", "b"]);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_inbox_says_so_and_recovers() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let mut small = creation("e", ECHO);
    small.manifest.limits.inbox_messages = 3;
    running.create(small).await;
    running.client.pause("e").await.unwrap();
    let batch: Vec<_> = (1..=5).map(|n| message(&n.to_string(), "x")).collect();
    let answers = send(&running.client, batch.clone()).await;
    assert!(answers[..3].iter().all(|answer| !taken(answer).duplicate));
    assert_eq!((refused(&answers[3]), refused(&answers[4])), ((429, "inbox_full"), (429, "inbox_full")));
    // The same again: what was taken stays taken, the rest still does not fit.
    let again = send(&running.client, batch.clone()).await;
    assert!(taken(&again[0]).duplicate);
    assert_eq!(refused(&again[4]), (429, "inbox_full"));
    assert_eq!(running.client.agent("e").await.unwrap().open_messages, 3);
    running.client.resume("e").await.unwrap();
    within(running.client.message("e", "3", LONG)).await.unwrap();
    let rest = send(&running.client, batch).await;
    assert!(taken(&rest[0]).duplicate && !taken(&rest[3]).duplicate && !taken(&rest[4]).duplicate);
    assert_eq!(bodies(&running, "e").len(), 5);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_gets_the_reply_and_who_comes_later_reads_it() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let agent = running.create(creation("e", ECHO)).await.agent();
    running.client.pause("e").await.unwrap();
    send(&running.client, vec![message("slow/1", "héllo"), message("large", &"y".repeat(20_000))]).await;
    let open = running.client.message("e", "slow/1", Duration::ZERO).await.unwrap();
    assert_eq!((open.state, open.reply), (MessageState::Open, None));
    let waiting = tokio::spawn({
        let client = running.client.clone();
        async move { client.message("e", "slow/1", LONG).await }
    });
    running.client.resume("e").await.unwrap();
    let closed = within(waiting).await.unwrap().unwrap();
    assert_eq!((closed.state, closed.reply.as_deref()), (MessageState::Closed, Some("héllo")));
    // A reply that is a blob of its own, and one that is no text.
    let large = within(running.client.message("e", "large", LONG)).await.unwrap();
    assert_eq!(large.reply.map(|reply| reply.len()), Some(20_000));
    let binary = Outgoing::new(MessageId::Opaque("binary".into()), &[0xff, 0, 7]);
    assert!(binary.body_base64.is_some());
    send(&running.client, vec![binary]).await;
    let reply = within(running.client.message("e", "binary", LONG)).await.unwrap();
    assert_eq!(reply.reply_bytes().unwrap(), Some(vec![0xff, 0, 7]));
    running.close().await;

    // Another process, later.
    let running = Running::open(home.path()).await;
    running.node.start(agent, Wishes::default()).await.unwrap();
    let later = within(running.client.message("e", "slow/1", Duration::ZERO)).await.unwrap();
    assert_eq!(later, closed);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_fails_three_ticks_is_closed_as_failed() {
    let wat = ECHO.replace(
        "(drop (call $reply (i32.const 1024) (local.get $length)))",
        "(if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 33)) (then unreachable))
         (drop (call $reply (i32.const 1024) (local.get $length)))",
    );
    let home = temporary();
    let running = Running::open(home.path()).await;
    running.create(creation("e", &wat)).await;
    send(&running.client, vec![message("bad", "!"), message("good", "ok")]).await;
    let bad = within(running.client.message("e", "bad", LONG)).await.unwrap();
    assert_eq!((bad.state, &bad.reply), (MessageState::Failed, &None));
    assert!(bad.cause.as_deref().is_some_and(|cause| cause.contains("trap")), "{bad:?}");
    let good = within(running.client.message("e", "good", LONG)).await.unwrap();
    assert_eq!((good.state, good.reply.as_deref()), (MessageState::Closed, Some("ok")));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_learns_that_the_life_is_over() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let life = running.create(creation("e", ECHO)).await;
    running.client.pause("e").await.unwrap();
    send(&running.client, vec![message("1", "x")]).await;
    let waiting = tokio::spawn({
        let client = running.client.clone();
        async move { client.message("e", "1", LONG).await }
    });
    life.stop().await;
    let gone = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(&gone, client::Error::Refused { status: 503, code, .. } if code == "not_running"), "{gone}");
    assert!(gone.is_passing());
    let refused = within(running.client.send("e", vec![message("2", "y")])).await.unwrap_err();
    assert!(matches!(&refused, client::Error::Refused { status: 503, code, .. } if code == "not_running"), "{refused}");
    running.close().await;
}

fn lines(count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|n| format!("line {n}").into_bytes()).collect()
}

fn plan(lines: &[Vec<u8>]) -> Lines<'_> {
    Lines { agent: "e", stream: "file", lines, rate: None, patience: Some(LONG) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_sent_once_over_restarts_and_a_full_inbox() {
    let home = temporary();
    let lines = lines(1500);
    let running = Running::open(home.path()).await;
    let mut small = creation("e", ECHO);
    // The inbox is full most of the time.
    small.manifest.limits.inbox_messages = 100;
    let agent = running.create(small).await.agent();
    let socket = running.client.clone();
    let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let sender = tokio::spawn({
        let (client, lines) = (socket.clone(), lines.clone());
        async move {
            let tell = move |progress| {
                let stops = matches!(progress, Progress::Committed(_));
                told.send(progress).unwrap();
                if stops {
                    tokio::task::block_in_place(|| may_go_on.recv()).unwrap();
                }
            };
            send_lines(&client, plan(&lines), &mut SentAs::default(), tell).await
        }
    });
    let (mut running, mut restarts) = (Some(running), 0);
    // Each time that some more are committed, the node goes away under the sender, and comes back once it noticed.
    while let Some(progress) = within(telling.recv()).await {
        let Progress::Committed(done) = progress else { continue };
        if done == 1500 || done <= restarts * 300 {
            go_on.send(()).unwrap();
            continue;
        }
        restarts += 1;
        running.take().unwrap().close().await;
        go_on.send(()).unwrap();
        assert!(matches!(within(telling.recv()).await, Some(Progress::Waiting(_))));
        let opened = Running::open(home.path()).await;
        opened.node.start(agent, Wishes::default()).await.unwrap();
        running = Some(opened);
    }
    assert_eq!(within(sender).await.unwrap().unwrap(), 1500);
    assert_eq!(restarts, 5);
    let running = running.unwrap();
    let all: Vec<_> = lines.iter().map(|line| String::from_utf8(line.clone()).unwrap()).collect();
    assert_eq!(bodies(&running, "e"), all);
    // The same again sends nothing; fewer lines under the same name are another file.
    let again = within(send_lines(&socket, plan(&lines), &mut SentAs::default(), |_| {})).await.unwrap();
    assert_eq!(again, 0);
    let fewer = within(send_lines(&socket, plan(&lines[..10]), &mut SentAs::default(), |_| {})).await.unwrap_err();
    assert!(matches!(fewer, LinesError::OtherStream { highest: 1500, lines: 10 }), "{fewer}");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_cannot_be_taken_end_the_sending() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    running.create(creation("e", ECHO)).await;
    let mut lines = lines(10);
    lines[6] = vec![b'x'; 100_000];
    let refused = within(send_lines(&running.client, plan(&lines), &mut SentAs::default(), |_| {})).await.unwrap_err();
    assert!(matches!(&refused, LinesError::Refused { line: 7, .. }), "{refused}");
    assert_eq!(bodies(&running, "e").len(), 6);
    // Too long for any request.
    lines[6] = vec![0xff; 2 << 20];
    let refused = within(send_lines(&running.client, plan(&lines), &mut SentAs::default(), |_| {})).await.unwrap_err();
    assert!(matches!(&refused, LinesError::Refused { line: 7, .. }), "{refused}");
    let stranger = Lines { agent: "nobody", ..plan(&lines) };
    let unknown = within(send_lines(&running.client, stranger, &mut SentAs::default(), |_| {})).await.unwrap_err();
    assert!(matches!(&unknown, LinesError::Refused { source: client::Error::NotFound { .. }, .. }), "{unknown}");
    let socket = running.client.clone();
    running.close().await;
    let alone = Lines { patience: Some(Duration::from_millis(50)), ..plan(&lines) };
    let given_up = within(send_lines(&socket, alone, &mut SentAs::default(), |_| {})).await.unwrap_err();
    assert!(matches!(&given_up, LinesError::OutOfPatience { .. }), "{given_up}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_strategy_reports_over_the_api() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let strategy = Creation { name: "e".into(), program: agent_file("strategy/strategy.wasm"), ..creation("e", ECHO) };
    running.create(strategy).await;
    let csv = agent_file("strategy/prices/msft-daily.csv");
    let lines: Vec<_> = csv.split(|byte| *byte == b'\n').take(300).map(<[u8]>::to_vec).collect();
    within(send_lines(&running.client, plan(&lines), &mut SentAs::default(), |_| {})).await.unwrap();
    send(&running.client, vec![message("r", "report")]).await;
    let report = within(running.client.message("e", "r", LONG)).await.unwrap();
    let report: serde_json::Value = serde_json::from_str(&report.reply.unwrap()).unwrap();
    for field in ["prices", "position", "cash", "trades", "profit"] {
        assert!(!report[field].is_null(), "{report}");
    }
    let info = Arc::new(running.client.agent("e").await.unwrap());
    assert_eq!(info.open_messages, 0);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_wait_for_an_agent_that_is_created_meanwhile() {
    let home = temporary();
    let running = Running::open(home.path()).await;
    let (noticed, mut notice) = tokio::sync::mpsc::unbounded_channel();
    let sender = tokio::spawn({
        let (client, lines) = (running.client.clone(), lines(20));
        async move {
            send_lines(&client, plan(&lines), &mut SentAs::default(), |progress| noticed.send(progress).unwrap()).await
        }
    });
    // The node answers, and does not know the agent.
    let first = within(notice.recv()).await.unwrap();
    assert!(matches!(&first, Progress::Waiting(why) if why.contains("no agent e")), "{first:?}");
    running.create(creation("e", ECHO)).await;
    assert_eq!(within(sender).await.unwrap().unwrap(), 20);
    assert_eq!(bodies(&running, "e").len(), 20);
    running.close().await;
}
