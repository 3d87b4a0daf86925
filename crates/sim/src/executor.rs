//! One thread that polls a few futures in turn, and can stop at any await point: that is a crash.

use crate::world::SimWorld;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Whether anything was woken since the last look.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a simulated process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Run<T> {
    /// The main future is done.
    Done(T),
    /// The process was killed after so many polls.
    Crashed,
}

/// Polls `main` and `others` in turn until `main` is done, or kills them all after `polls` polls of `main`.
///
/// When all wait, virtual time moves on.
///
/// # Panics
///
/// If nothing can happen any more: that is a deadlock.
pub fn run<T>(
    world: &SimWorld,
    polls: Option<u64>,
    main: impl Future<Output = T>,
    others: &mut [Pin<Box<dyn Future<Output = ()> + '_>>],
) -> (Run<T>, u64) {
    let mut main = Box::pin(main);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    let mut done = vec![false; others.len()];
    let (mut polled, mut stuck) = (0, 0);
    loop {
        if polls.is_some_and(|limit| polled >= limit) {
            return (Run::Crashed, polled);
        }
        polled += 1;
        if let Poll::Ready(value) = main.as_mut().poll(&mut context) {
            return (Run::Done(value), polled);
        }
        for (other, done) in others.iter_mut().zip(&mut done) {
            *done = *done || other.as_mut().poll(&mut context).is_ready();
        }
        let woken = flag.0.swap(false, Ordering::Relaxed);
        stuck = if woken || world.advance() { 0 } else { stuck + 1 };
        assert!(stuck < 2, "deadlock: everything waits and time stands still");
    }
}

/// A point at which a process may crash.
pub fn point() -> impl Future<Output = ()> + Send {
    let mut reached = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut reached, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}
