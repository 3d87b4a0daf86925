//! The mock node ticks for the right reasons and keeps the limits.

use serde::{Deserialize, Serialize};

use super::*;

/// Does what its messages say, and remembers why it was ticked.
#[derive(Serialize, Deserialize)]
struct Puppet {
    triggers: Vec<String>,
}

impl Agent for Puppet {
    fn init(_: &mut impl Context) -> Self {
        Puppet { triggers: Vec::new() }
    }

    fn tick(&mut self, context: &mut impl Context) -> Next {
        let gap = context.resumed_gap();
        self.triggers.push(format!("{:?} {}", context.trigger(), gap.as_secs()));
        let Some(order) = context.next_message() else {
            return Next::Wait;
        };
        match order.as_slice() {
            b"more" => return Next::MoreWork,
            b"wake" => {
                let time = context.now() + Duration::from_millis(2500);
                context.wake_at(time);
            }
            b"finish" => context.finish(),
            b"flood" => (0..17).for_each(|_| context.log(&"x".repeat(5000))),
            _ => {}
        }
        Next::Wait
    }
}

fn seconds(node: &Node<Puppet>) -> i64 {
    (node.host.now.0 - Host::default().now.0) / 1_000_000_000
}

#[test]
fn ticks_have_their_reasons() {
    let mut node = Node::<Puppet>::start();
    node.tick();
    node.host.send("more");
    node.tick();
    node.tick();
    node.restart();
    node.tick();
    node.tick();
    assert_eq!(node.agent.triggers, ["Interval 0", "Message 0", "MoreWork 0", "Resumed 60", "Interval 0"]);
    assert_eq!(seconds(&node), 62);
}

#[test]
fn a_wake_comes_at_its_time() {
    let mut node = Node::<Puppet>::start();
    node.host.send("wake");
    (0..5).for_each(|_| _ = node.tick());
    assert_eq!(node.agent.triggers, ["Message 0", "Interval 0", "Interval 0", "Wake 0", "Interval 0"]);
    assert_eq!(node.host.wake, None);
}

#[test]
fn replies_go_to_the_message_of_this_tick() {
    let mut host = Host::default();
    assert_eq!(host.reply(b"x"), Err(ReplyError::OutsideTick));
    host.send("first");
    host.begin(Trigger::Message, Duration::ZERO);
    assert_eq!(host.reply(b"x"), Err(ReplyError::NoMessage));
    assert_eq!(host.next_message().as_deref(), Some(&b"first"[..]));
    assert_eq!(host.reply(&vec![0; BODY_BYTES_MAX + 1]), Err(ReplyError::TooLarge));
    assert_eq!(host.reply(b"answer"), Ok(()));
    assert_eq!(host.reply(b"again"), Err(ReplyError::AlreadyReplied));
    assert_eq!(host.next_message(), None);
    host.begin(Trigger::Interval, Duration::ZERO);
    assert_eq!(host.reply(b"late"), Err(ReplyError::NoMessage));
    assert_eq!(host.replies(), ["answer"]);
}

#[test]
fn a_line_is_cut_at_a_character() {
    let mut host = Host::default();
    host.log(&format!("{}é", "x".repeat(LOG_LINE_BYTES_MAX - 1)));
    assert_eq!(host.logs[0].len(), LOG_LINE_BYTES_MAX - 1);
}

#[test]
#[should_panic(expected = "log limit")]
fn a_flood_of_log_lines_fails_the_run() {
    let mut node = Node::<Puppet>::start();
    node.host.send("flood");
    node.tick();
}

#[test]
#[should_panic(expected = "observation limit")]
fn a_run_observes_no_more_than_its_limit() {
    Host::default().random(&mut vec![0; OBSERVED_RUN_BYTES_MAX + 1]);
}

#[test]
#[should_panic(expected = "has ended itself")]
fn an_ended_agent_is_not_ticked() {
    let mut node = Node::<Puppet>::start();
    node.host.send("finish");
    node.settle();
    assert!(node.host.finished);
    node.tick();
}

#[test]
fn randomness_and_time_move_on() {
    let mut host = Host::default();
    let (mut one, mut two) = ([0; 16], [0; 16]);
    host.random(&mut one);
    host.random(&mut two);
    assert_ne!(one, two);
    assert!(host.now() < host.now());
    assert_eq!(host.receipt(0), None);
    assert_eq!(host.receipt_count(), 0);
}
