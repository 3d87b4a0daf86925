//! Measures a run and stops it: the time in guest code and hostcalls is billed, waiting is not.

use crate::World;
use igor_protocol::Nanos;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// The time that a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Took {
    /// Inside the guest and its synchronous hostcalls.
    pub(crate) busy: Nanos,
    /// Everything else between start and end.
    pub(crate) waited: Nanos,
}

/// Polls `run` until it ends or `stop` says why it must not go on. `stop` sees the billable time so far,
/// whenever the run yields. A run that is stopped is dropped.
pub(crate) async fn metered<W: World, R, C>(
    world: &W,
    run: impl Future<Output = R>,
    stop: impl Fn(Nanos) -> Option<C>,
) -> (Result<R, C>, Took) {
    let started = world.monotonic();
    let mut busy = Nanos::ZERO;
    let mut run = pin!(run);
    let ended = poll_fn(|context| {
        let before = world.monotonic();
        let polled = run.as_mut().poll(context);
        let now = world.monotonic();
        busy = busy.saturating_add(now.saturating_sub(before));
        match polled {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => stop(busy).map_or(Poll::Pending, |why| Poll::Ready(Err(why))),
        }
    })
    .await;
    let whole = world.monotonic().saturating_sub(started);
    (ended, Took { busy, waited: whole.saturating_sub(busy) })
}
