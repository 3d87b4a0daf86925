//! Turns among lives on one thread: who never waits for anything goes to the end of the line now and then.
//!
//! A long run yields by itself; this is for many short ones in a row.

use crate::World;
use igor_protocol::Nanos;
use std::{future::poll_fn, mem, task::Poll};

/// Time after which a life lets others go first.
const TURN: Nanos = Nanos::from_millis(1);

/// When the turn of a life began.
#[derive(Debug, Default)]
pub(super) struct Turn {
    began: Nanos,
}

impl Turn {
    /// It has waited for something, and others had their turn.
    pub(super) fn begin<W: World>(&mut self, world: &W) {
        self.began = world.monotonic();
    }

    /// Between two runs: goes to the end of the line if the turn has taken long.
    pub(super) async fn end<W: World>(&mut self, world: &W) {
        if world.monotonic().saturating_sub(self.began) < TURN {
            return;
        }
        let mut over = false;
        poll_fn(|context| {
            if mem::replace(&mut over, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.begin(world);
    }
}
