//! Clock and entropy of one machine, from one start to the next.

use super::{
    dice::Dice,
    kernel::{Kernel, Sleep},
};
use igor_protocol::{Nanos, Timestamp};
use igor_spine::World;
use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

/// When every cluster begins, by a clock that is right.
const BEGINS: i64 = 1_700_000_000_000_000_000;

/// How far a machine's wall clock is off, in nanoseconds. It outlives restarts.
pub type Skew = Arc<AtomicI64>;

/// What a machine sees of time. Its monotonic clock counts from its start, whatever its wall clock does.
pub struct NodeWorld {
    kernel: Kernel,
    booted: Nanos,
    skew: Skew,
    dice: Mutex<Dice>,
}

impl NodeWorld {
    /// The clocks of a machine that starts now.
    pub fn new(kernel: Kernel, skew: Skew, dice: Dice) -> Self {
        let booted = kernel.now();
        Self { kernel, booted, skew, dice: Mutex::new(dice) }
    }

    /// Comes back after this time.
    pub fn sleep(&self, time: Nanos) -> Sleep {
        self.kernel.sleep(time)
    }

    /// Comes back after a time that the seed chooses.
    pub fn doze(&self, from: Nanos, to: Nanos) -> Sleep {
        let time = self.dice.lock().unwrap_or_else(PoisonError::into_inner).within(from.0, to.0);
        self.kernel.sleep(Nanos(time))
    }
}

impl World for NodeWorld {
    fn wall_clock(&self) -> Timestamp {
        let right = BEGINS.saturating_add_unsigned(self.kernel.look().0);
        Timestamp(right.saturating_add(self.skew.load(Ordering::Relaxed)).try_into().unwrap_or(0))
    }

    fn monotonic(&self) -> Nanos {
        self.kernel.look().saturating_sub(self.booted)
    }

    fn sleep_until(&self, moment: Nanos) -> impl Future<Output = ()> + Send {
        self.kernel.sleep_until(self.booted.saturating_add(moment))
    }

    fn random(&self, buffer: &mut [u8]) {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&dice.number().to_le_bytes()[..chunk.len()]);
        }
    }
}
