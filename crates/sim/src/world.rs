//! Virtual time and seeded entropy.

use crate::random::Random;
use igor_protocol::{Nanos, Timestamp};
use igor_spine::World;
use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// A clock that moves only when it is read or when the executor says so.
#[derive(Debug)]
pub struct SimWorld(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Nanos,
    wall: Timestamp,
    /// Moments that someone sleeps until.
    timers: Vec<Nanos>,
    /// Who sleeps, until when.
    sleepers: Vec<(Nanos, Waker)>,
    random: Random,
}

/// What reading the clock costs, so that runs take time.
const READ: Nanos = Nanos(37);

impl SimWorld {
    /// A world that begins at some wall-clock time.
    pub fn new(seed: u64, wall: Timestamp) -> Self {
        let random = Random::new(seed);
        Self(Mutex::new(State { now: Nanos(1), wall, timers: Vec::new(), sleepers: Vec::new(), random }))
    }

    /// Moves time on to the next moment that someone sleeps until. False if nobody sleeps.
    pub fn advance(&self) -> bool {
        let mut state = self.lock();
        let Some(next) = state.timers.iter().copied().min() else { return false };
        state.timers.retain(|timer| *timer > next);
        if next > state.now {
            let step = next.saturating_sub(state.now);
            state.now = next;
            state.wall = state.wall.after(step);
        }
        state.sleepers.retain(|(until, waker)| {
            if *until <= next {
                waker.wake_by_ref();
            }
            *until > next
        });
        true
    }

    /// So much time passes in which nobody here does anything.
    pub fn pass(&self, time: Nanos) {
        let mut state = self.lock();
        state.now = state.now.saturating_add(time);
        state.wall = state.wall.after(time);
    }

    /// A process ends: nobody sleeps any more, and the monotonic clock may begin anew.
    pub fn restart(&self, wall_jump_back: Nanos) {
        let mut state = self.lock();
        state.timers.clear();
        state.sleepers.clear();
        state.wall = Timestamp(state.wall.0.saturating_sub(wall_jump_back.0));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World for SimWorld {
    fn wall_clock(&self) -> Timestamp {
        self.lock().wall
    }

    fn monotonic(&self) -> Nanos {
        let mut state = self.lock();
        state.now = state.now.saturating_add(READ);
        state.wall = state.wall.after(READ);
        state.now
    }

    fn sleep_until(&self, moment: Nanos) -> impl Future<Output = ()> + Send {
        Sleep { world: self, moment, registered: false }
    }

    fn random(&self, buffer: &mut [u8]) {
        self.lock().random.fill(buffer);
    }
}

struct Sleep<'a> {
    world: &'a SimWorld,
    moment: Nanos,
    registered: bool,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.lock();
        if state.now >= self.moment {
            return Poll::Ready(());
        }
        // Whoever polled it last is woken, also where it is one of many that are only looked at when they are.
        state.sleepers.retain(|(until, waker)| *until != self.moment || !waker.will_wake(context.waker()));
        state.sleepers.push((self.moment, context.waker().clone()));
        if !self.registered {
            state.timers.push(self.moment);
            drop(state);
            self.registered = true;
        }
        Poll::Pending
    }
}
