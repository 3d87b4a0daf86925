//! The smallest useful agent: it counts its ticks, says so in its log, and answers every message with its count.

use std::time::Duration;

use igor_sdk::{Agent, Batch, Context, Next, Trigger, UnixNanos, log};
use serde::{Deserialize, Serialize};

/// All that the agent remembers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    born: UnixNanos,
    ticks: u64,
    messages: u64,
    restarts: u64,
}

impl Agent for Heartbeat {
    fn init(context: &mut impl Context) -> Self {
        Heartbeat { born: context.now(), ticks: 0, messages: 0, restarts: 0 }
    }

    fn tick(&mut self, context: &mut impl Context) -> Next {
        self.ticks += 1;
        let age = self.age(context);
        if context.trigger() == Trigger::Resumed {
            self.restarts += 1;
            let gap = context.resumed_gap();
            log!(context, "tick {}, {} s old, back after {} ms", self.ticks, age.as_secs(), gap.as_millis());
        } else {
            log!(context, "tick {}, {} s old", self.ticks, age.as_secs());
        }

        let mut batch = Batch::default();
        while batch.next(context).is_some() {
            self.messages += 1;
            let answer = format!("tick {}, message {}, restart {}", self.ticks, self.messages, self.restarts);
            if let Err(error) = context.reply(answer.as_bytes()) {
                log!(context, "no reply to message {}: {error}", self.messages);
            }
        }
        batch.then()
    }
}

impl Heartbeat {
    fn age(&self, context: &mut impl Context) -> Duration {
        context.now().since(self.born)
    }
}

igor_sdk::agent!(Heartbeat);

#[cfg(test)]
mod tests {
    use igor_sdk::mock::Node;

    use super::*;

    #[test]
    fn it_beats_and_answers() {
        let mut node = Node::<Heartbeat>::start();
        node.tick();
        node.host.send("are you there?");
        node.tick();
        node.restart();
        node.tick();
        assert_eq!(node.host.logs, ["tick 1, 1 s old", "tick 2, 1 s old", "tick 3, 61 s old, back after 60000 ms"]);
        assert_eq!(node.host.replies(), ["tick 2, message 1, restart 0"]);
    }

    #[test]
    fn many_messages_take_several_ticks() {
        let mut node = Node::<Heartbeat>::start();
        for n in 0..100 {
            node.host.send(format!("{n}"));
        }
        assert_eq!(node.tick(), Next::MoreWork);
        assert_eq!(node.host.inbox.len(), 36);
        node.settle();
        assert_eq!((node.agent.ticks, node.agent.messages), (2, 100));
        assert_eq!(node.host.replies().len(), 100);
    }
}
