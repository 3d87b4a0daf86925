//! Streams between two machines: in order, with delay, bounded, and cut in the middle.
//!
//! Invariants kept here:
//! - What was sent comes in order, or the stream is cut: then some last frames never come.
//! - A stream over which nothing comes for `PATIENCE` is lost to whoever waits.

use super::net::{Net, PATIENCE};
use igor_protocol::Nanos;
use igor_spine::moving::{Cut, Link};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::Notify;

/// Frames on the way in one direction, at most; then the sender waits.
const FRAMES_MAX: usize = 16;
/// How often a stream that stands still is looked at.
const LOOK_AGAIN: Nanos = Nanos::from_millis(50);

/// Both directions of a stream.
pub struct Wire {
    ends: [usize; 2],
    /// Towards each end.
    pipes: [Pipe; 2],
    changed: Arc<Notify>,
    /// Cut after so many more frames.
    cut_after: Option<u32>,
}

#[derive(Default)]
struct Pipe {
    frames: VecDeque<(Nanos, Vec<u8>)>,
    latest: Nanos,
    closed: Option<&'static str>,
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a stream.
pub struct SimLink {
    net: Net,
    wire: Arc<Mutex<Wire>>,
    /// Which end: what comes in is in the pipe of this number.
    end: usize,
}

/// A new stream from one machine to another.
pub(super) fn pair(net: &Net, from: usize, to: usize) -> (SimLink, SimLink) {
    let (pipes, changed) = (Default::default(), Arc::default());
    let wire = Arc::new(Mutex::new(Wire { ends: [from, to], pipes, changed, cut_after: None }));
    let end = |end| SimLink { net: net.clone(), wire: wire.clone(), end };
    (end(0), end(1))
}

/// Whether a stream begins or ends at a machine.
pub(super) fn is_of(wire: &Mutex<Wire>, node: usize) -> bool {
    lock(wire).ends.contains(&node)
}

/// A machine at one end is gone. With `silent` the other end does not hear of it.
pub(super) fn gone(wire: &Mutex<Wire>, node: usize, silent: bool) {
    let mut wire = lock(wire);
    let end = usize::from(wire.ends[1] == node);
    // What is on the way to it is gone with it; what it sent still comes, unless its power was cut.
    wire.pipes[end].frames.clear();
    if silent {
        wire.ends[end] = usize::MAX;
    } else {
        wire.pipes[1 - end].closed = Some("the other side closed it");
    }
    wire.changed.notify_waiters();
}

/// Cuts a stream after so many more frames; at once what is on the way is lost. Says whether it was whole.
pub(super) fn cut(wire: &Mutex<Wire>, frames: u32) -> bool {
    let mut wire = lock(wire);
    let whole = wire.pipes.iter().all(|pipe| pipe.closed.is_none()) && wire.cut_after.is_none();
    if whole {
        wire.cut_after = Some(frames);
        if frames == 0 {
            wire.cut_now();
        }
    }
    whole
}

impl Wire {
    fn cut_now(&mut self) {
        for pipe in &mut self.pipes {
            pipe.frames.clear();
            pipe.closed = Some("it was cut");
        }
        self.changed.notify_waiters();
    }
}

impl SimLink {
    /// For who cuts it.
    pub(super) fn wire(&self) -> Weak<Mutex<Wire>> {
        Arc::downgrade(&self.wire)
    }

    /// Waits until the stream changed, or a time is over.
    async fn changed(&self, changed: &Notify, time: Nanos) {
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = self.net.kernel.sleep(time) => {}
        }
    }

    fn lost(why: &str) -> Cut {
        Cut::Lost(why.to_owned())
    }
}

impl Link for SimLink {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Cut> {
        let begun = self.net.kernel.now();
        loop {
            let changed = {
                let mut wire = lock(&self.wire);
                if let Some(why) = wire.pipes[self.end].closed {
                    return Err(Self::lost(why));
                }
                let (from, to) = (wire.ends[self.end], wire.ends[1 - self.end]);
                let out = 1 - self.end;
                if wire.pipes[out].frames.len() < FRAMES_MAX || to == usize::MAX {
                    if to != usize::MAX {
                        let way = self.net.way(from, to, bytes.len());
                        let pipe = &mut wire.pipes[out];
                        pipe.latest = pipe.latest.max(self.net.kernel.now().saturating_add(way));
                        let latest = pipe.latest;
                        pipe.frames.push_back((latest, bytes));
                    }
                    wire.cut_after = wire.cut_after.map(|frames| frames.saturating_sub(1));
                    if wire.cut_after == Some(0) {
                        wire.cut_now();
                    }
                    wire.changed.notify_waiters();
                    return Ok(());
                }
                wire.changed.clone()
            };
            if self.net.kernel.now() > begun.saturating_add(PATIENCE) {
                return Err(Self::lost("the other side takes nothing"));
            }
            self.changed(&changed, LOOK_AGAIN.saturating_add(LOOK_AGAIN)).await;
        }
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Cut> {
        let begun = self.net.kernel.now();
        loop {
            let now = self.net.kernel.now();
            let until = begun.saturating_add(PATIENCE);
            let (changed, wait) = {
                let mut wire = lock(&self.wire);
                let (me, other) = (wire.ends[self.end], wire.ends[1 - self.end]);
                let blocked = other != usize::MAX && self.net.is_blocked(other, me);
                let pipe = &mut wire.pipes[self.end];
                let wait = match (pipe.frames.front(), pipe.closed) {
                    (None, Some(why)) if !blocked => return Err(Self::lost(why)),
                    (Some((at, _)), _) if *at <= now && !blocked => {
                        let (_, bytes) = pipe.frames.pop_front().unwrap_or_default();
                        wire.changed.notify_waiters();
                        return Ok(bytes);
                    }
                    (Some((at, _)), _) if !blocked => at.saturating_sub(now),
                    _ if blocked => LOOK_AGAIN,
                    _ => until.saturating_sub(now),
                };
                (wire.changed.clone(), wait)
            };
            if now >= until {
                return Err(Self::lost("nothing came for too long"));
            }
            self.changed(&changed, wait.min(until.saturating_sub(now)).max(Nanos(1))).await;
        }
    }
}

impl Drop for SimLink {
    fn drop(&mut self) {
        let mut wire = lock(&self.wire);
        // Whoever is without power says nothing.
        if wire.ends[self.end] != usize::MAX {
            let pipe = &mut wire.pipes[1 - self.end];
            pipe.closed = pipe.closed.or(Some("the other side closed it"));
            wire.changed.notify_waiters();
        }
    }
}
