//! Taking messages, but no more than a tick should.

use crate::{agent::Next, context::Context};

/// The messages of one tick.
///
/// An inbox may hold more than fits a tick's limits, and a tick over its limits is undone, only to meet the same
/// messages again. So a tick takes some, and asks for another one where there may be more.
///
/// ```
/// # use igor_sdk::{Batch, Context, Next};
/// # fn handle(_: &[u8]) {}
/// fn tick(context: &mut impl Context) -> Next {
///     let mut batch = Batch::default();
///     while let Some(message) = batch.next(context) {
///         handle(&message);
///     }
///     batch.then()
/// }
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    count: usize,
    bytes: usize,
    emptied: bool,
}

impl Batch {
    /// A tick takes no more messages than this.
    pub const MESSAGES_MAX: usize = 64;
    /// Nor any more once it has taken so many bytes, which is half of what a run may observe by default.
    pub const BYTES_MAX: usize = 512 * 1024;

    /// The next message of this tick; `None` when there is none, or enough have been taken.
    pub fn next(&mut self, context: &mut impl Context) -> Option<Vec<u8>> {
        if self.count == Self::MESSAGES_MAX || self.bytes >= Self::BYTES_MAX {
            return None;
        }
        let message = context.next_message();
        match &message {
            Some(body) => {
                self.count += 1;
                self.bytes += body.len();
            }
            None => self.emptied = true,
        }
        message
    }

    /// What to do next: wait where the inbox was found empty, else come back for what it may still hold.
    #[must_use]
    pub fn then(&self) -> Next {
        if self.emptied { Next::Wait } else { Next::MoreWork }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{Agent, mock::Node};

    #[derive(Serialize, Deserialize)]
    struct Taker(Vec<usize>);

    impl Agent for Taker {
        fn init(_: &mut impl Context) -> Self {
            Taker(Vec::new())
        }

        fn tick(&mut self, context: &mut impl Context) -> Next {
            let mut batch = Batch::default();
            let mut count = 0;
            while batch.next(context).is_some() {
                count += 1;
            }
            self.0.push(count);
            batch.then()
        }
    }

    #[test]
    fn many_messages_take_several_ticks() {
        let mut node = Node::<Taker>::start();
        (0..130).for_each(|_| node.host.send("x"));
        node.settle();
        assert_eq!(node.agent.0, [64, 64, 2]);
    }

    #[test]
    fn large_messages_take_several_ticks() {
        let mut node = Node::<Taker>::start();
        (0..20).for_each(|_| node.host.send(vec![0; 64 * 1024]));
        node.settle();
        assert_eq!(node.agent.0, [8, 8, 4]);
    }
}
