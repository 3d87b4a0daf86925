//! One thread for a whole cluster: tasks that belong to machines, virtual time, and an order that the seed chooses.
//!
//! Invariants kept here:
//! - What is polled next follows from the seed and from what happened before, and from nothing else.
//! - Time moves by a little with every poll and every look at a clock, and to the next timer when nothing is ready.
//! - Of a machine that is down nothing is polled; of one that is paused nothing until it goes on.

use super::dice::{Dice, mix};
use igor_protocol::Nanos;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// What looking at a clock costs, so that runs take time.
const LOOK: Nanos = Nanos(37);
/// The longest time that a poll takes beside that, in nanoseconds.
const POLL_NS_MAX: u64 = 2_000;

/// What runs.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId {
    slot: usize,
    serial: u64,
}

/// Which machine a task belongs to; none: the world outside of the cluster.
pub type Owner = Option<usize>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Paused,
    Down,
}

/// The scheduler. Clones are the same one.
#[derive(Clone)]
pub struct Kernel(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

struct State {
    now: Nanos,
    dice: Dice,
    slots: Vec<Slot>,
    free: Vec<usize>,
    serial: u64,
    ready: Vec<TaskId>,
    timers: BTreeMap<(Nanos, u64), Waker>,
    gates: Vec<Gate>,
    parked: Vec<TaskId>,
    steps: u64,
    trace: u64,
}

struct Slot {
    serial: u64,
    owner: Owner,
    /// Taken out while it is polled.
    work: Option<Work>,
    waker: Option<Arc<TaskWaker>>,
}

struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.woken).push(self.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    /// A cluster of so many machines, all up.
    pub fn new(seed: u64, machines: usize) -> Self {
        let state = State {
            now: Nanos(1),
            dice: Dice::new(seed, 1),
            slots: Vec::new(),
            free: Vec::new(),
            serial: 0,
            ready: Vec::new(),
            timers: BTreeMap::new(),
            gates: vec![Gate::Open; machines],
            parked: Vec::new(),
            steps: 0,
            trace: seed,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), woken: Arc::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Runs something as a task of its own.
    pub fn spawn(&self, owner: Owner, work: impl Future<Output = ()> + Send + 'static) -> TaskId {
        let mut state = self.state();
        state.serial += 1;
        let serial = state.serial;
        let slot = state.free.pop().unwrap_or(state.slots.len());
        let id = TaskId { slot, serial };
        let waker = TaskWaker { id, queued: AtomicBool::new(true), woken: self.0.woken.clone() };
        let filled = Slot { serial, owner, work: Some(Box::pin(work)), waker: Some(Arc::new(waker)) };
        if slot == state.slots.len() {
            state.slots.push(filled);
        } else {
            state.slots[slot] = filled;
        }
        lock(&self.0.woken).push(id);
        id
    }

    /// Drops all tasks of a machine. Nothing of it is polled until [`Kernel::power_on`].
    pub fn kill(&self, machine: usize) {
        let dropped: Vec<Option<Work>> = {
            let mut state = self.state();
            state.gates[machine] = Gate::Down;
            let of: Vec<usize> = (0..state.slots.len())
                .filter(|slot| state.slots[*slot].owner == Some(machine) && state.slots[*slot].work.is_some())
                .collect();
            of.into_iter().map(|slot| state.vacate(slot)).collect()
        };
        drop(dropped);
    }

    /// Drops all tasks.
    pub fn clear(&self) {
        let slots = std::mem::take(&mut self.state().slots);
        drop(slots);
        let timers = std::mem::take(&mut self.state().timers);
        drop(timers);
    }

    /// Polls nothing of a machine any more, since it went down in the middle of a step. It still has to be killed.
    pub fn halt(&self, machine: usize) {
        self.state().gates[machine] = Gate::Down;
    }

    /// A machine is up.
    pub fn power_on(&self, machine: usize) {
        self.state().gates[machine] = Gate::Open;
    }

    /// Polls nothing of a machine until [`Kernel::resume`]. Says whether it ran.
    pub fn pause(&self, machine: usize) -> bool {
        let gate = &mut self.state().gates[machine];
        let ran = *gate == Gate::Open;
        if ran {
            *gate = Gate::Paused;
        }
        ran
    }

    /// A paused machine goes on where it was.
    pub fn resume(&self, machine: usize) {
        let mut state = self.state();
        if state.gates[machine] == Gate::Paused {
            state.gates[machine] = Gate::Open;
            let parked = std::mem::take(&mut state.parked);
            lock(&self.0.woken).extend(parked);
        }
    }

    /// Whether a machine is paused.
    pub fn is_paused(&self, machine: usize) -> bool {
        self.state().gates[machine] == Gate::Paused
    }

    /// The time since the cluster began, which no machine sees as it is.
    pub fn now(&self) -> Nanos {
        self.state().now
    }

    /// As a program looks at its clock.
    pub fn look(&self) -> Nanos {
        let mut state = self.state();
        state.now = state.now.saturating_add(LOOK);
        state.now
    }

    /// Polls so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// A digest of all that was scheduled and noted so far.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// Adds something that happened to the trace.
    pub fn note(&self, what: u64) {
        let mut state = self.state();
        state.trace = mix(state.trace ^ what);
    }

    /// Comes back once the cluster's time has reached `moment`.
    pub fn sleep_until(&self, moment: Nanos) -> Sleep {
        Sleep { kernel: self.clone(), moment, timer: None }
    }

    /// Comes back after this time.
    pub fn sleep(&self, time: Nanos) -> Sleep {
        self.sleep_until(self.now().saturating_add(time))
    }

    /// Polls one task. False if nothing can happen any more.
    pub fn step(&self) -> bool {
        let Some((id, mut work, waker)) = self.next() else { return false };
        waker.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(waker);
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        let mut state = self.state();
        let there = state.slots[id.slot].serial == id.serial && state.slots[id.slot].waker.is_some();
        let done = match polled {
            Poll::Pending if there => {
                state.slots[id.slot].work = Some(work);
                None
            }
            _ => {
                if there {
                    state.vacate(id.slot);
                }
                Some(work)
            }
        };
        drop(state);
        drop(done);
        true
    }

    fn next(&self) -> Option<(TaskId, Work, Arc<TaskWaker>)> {
        let mut state = self.state();
        let state = &mut *state;
        loop {
            while let Some(entry) = state.timers.first_entry() {
                if entry.key().0 > state.now {
                    break;
                }
                entry.remove().wake();
            }
            let mut woken = lock(&self.0.woken);
            // tokio draws lots for whom it wakes first where several wait: the order here is the seed's alone.
            woken.sort_unstable_by_key(|id| id.serial);
            for id in woken.drain(..) {
                let slot = &state.slots[id.slot];
                match slot.owner.map_or(Gate::Open, |machine| state.gates[machine]) {
                    _ if slot.serial != id.serial => {}
                    Gate::Open => state.ready.push(id),
                    Gate::Paused => state.parked.push(id),
                    Gate::Down => {}
                }
            }
            drop(woken);
            while !state.ready.is_empty() {
                let at = state.dice.index(state.ready.len());
                let id = state.ready.swap_remove(at);
                let slot = &mut state.slots[id.slot];
                if slot.serial != id.serial {
                    continue;
                }
                match slot.owner.map_or(Gate::Open, |machine| state.gates[machine]) {
                    Gate::Paused => {
                        state.parked.push(id);
                        continue;
                    }
                    Gate::Down => continue,
                    Gate::Open => {}
                }
                let (Some(work), Some(waker)) = (slot.work.take(), slot.waker.clone()) else { continue };
                state.steps += 1;
                state.now = Nanos(state.now.0 + 1 + state.dice.below(POLL_NS_MAX));
                state.trace = mix(state.trace ^ id.serial ^ state.now.0.rotate_left(32));
                return Some((id, work, waker));
            }
            let (next, _) = *state.timers.keys().next()?;
            state.now = state.now.max(next);
        }
    }
}

impl State {
    fn vacate(&mut self, slot: usize) -> Option<Work> {
        self.free.push(slot);
        let slot = &mut self.slots[slot];
        slot.serial = 0;
        slot.waker = None;
        slot.work.take()
    }
}

/// See [`Kernel::sleep_until`].
pub struct Sleep {
    kernel: Kernel,
    moment: Nanos,
    timer: Option<(Nanos, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let kernel = self.kernel.clone();
        let mut state = kernel.state();
        if state.now >= self.moment {
            return Poll::Ready(());
        }
        let key = if let Some(key) = self.timer {
            key
        } else {
            state.serial += 1;
            (self.moment, state.serial)
        };
        self.timer = Some(key);
        state.timers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            self.kernel.state().timers.remove(&key);
        }
    }
}
