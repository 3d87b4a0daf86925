//! What happens to hosts.

use crate::{
    dice::Dice,
    field::{
        ground::{Ground, Off},
        host::Host,
    },
};
use rustix::process::Signal;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// What happens to the host of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The machine is gone: nothing more comes from it, not even that its connections end.
    Killed,
    /// Its process stands still for a while, and then goes on as if nothing had been.
    Frozen,
    /// No packet comes or goes.
    CutOff,
    /// It does not reach the bucket.
    CutFromBucket,
    /// It does not reach the other nodes.
    CutFromPeers,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::Killed, Self::Frozen, Self::CutOff, Self::CutFromBucket, Self::CutFromPeers];

    /// Half of them kill, a quarter freezes, a quarter cuts.
    pub(crate) fn choose(dice: &mut Dice) -> Self {
        match dice.below(12) {
            0..6 => Self::Killed,
            6..9 => Self::Frozen,
            9 => Self::CutOff,
            10 => Self::CutFromBucket,
            _ => Self::CutFromPeers,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Killed => "its machine gone (packets dropped, SIGKILL)",
            Self::Frozen => "frozen (SIGSTOP), and woken later",
            Self::CutOff => "cut off from everything",
            Self::CutFromBucket => "cut off from the bucket only",
            Self::CutFromPeers => "cut off from its peers only",
        }
    }

    /// Does it. Gives the time from which on it counts.
    pub(crate) fn strike(self, ground: &Ground, host: &mut Host, node: usize) -> Result<Instant, String> {
        let at = Instant::now();
        match self {
            Self::Killed => {
                // It says nothing from here on; the network goes before its sockets are closed.
                host.signal(Signal::STOP)?;
                ground.cut(node, Off::All)?;
                host.kill()?;
            }
            Self::Frozen => host.signal(Signal::STOP)?,
            Self::CutOff => ground.cut(node, Off::All)?,
            Self::CutFromBucket => ground.cut(node, Off::Hub)?,
            Self::CutFromPeers => ground.cut(node, Off::Others)?,
        }
        Ok(at)
    }

    /// Ends it.
    pub(crate) fn mend(self, ground: &Ground, host: &mut Host, node: usize) -> Result<(), String> {
        match self {
            Self::Killed => ground.heal(node).and_then(|()| host.start()),
            Self::Frozen => host.signal(Signal::CONT),
            Self::CutOff | Self::CutFromBucket | Self::CutFromPeers => ground.heal(node),
        }
    }
}

/// Everything that this machine can compute is asked of it, as long as this lives.
pub(crate) struct Busy {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Twice as many threads as there are processors.
    pub(crate) fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let count = 2 * thread::available_parallelism().map_or(1, usize::from);
        let spin = |over: Arc<AtomicBool>| {
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box(Dice::new(1).below(2));
                }
            })
        };
        Self { threads: (0..count).map(|_| spin(over.clone())).collect(), over }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
