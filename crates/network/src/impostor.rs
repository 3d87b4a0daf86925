//! Telling a node that reached itself from one that met somebody else with its key.
//!
//! A connection that turns out to be with our own key has two ends. If we are both, one attempt of ours and one that
//! came in belong together; whatever has no other half was with somebody else.
//!
//! Invariants kept here:
//! - Reaching oneself, which shared lists of bootstrap peers make ordinary, is never called an impostor: in doubt it is
//!   not one.
//! - What is remembered is bounded.

use libp2p::Multiaddr;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Most events of a kind that wait for their other half.
const EVENTS_MAX: usize = 64;

/// Ends of connections with our own key.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// The two halves come at most so far apart.
    patience: Duration,
    reached: VecDeque<(Instant, Multiaddr)>,
    heard: VecDeque<(Instant, Multiaddr)>,
    /// Incoming handshakes that failed without saying whose key it was: the side that connected sometimes hangs up
    /// before the other has seen its key.
    failed: VecDeque<Instant>,
}

impl Mirror {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, reached: VecDeque::new(), heard: VecDeque::new(), failed: VecDeque::new() }
    }

    /// An attempt of ours ended at our own key.
    pub(crate) fn reached(&mut self, address: Multiaddr, now: Instant) {
        push(&mut self.reached, (now, address));
    }

    /// Somebody with our own key came in.
    pub(crate) fn heard(&mut self, address: Multiaddr, now: Instant) {
        push(&mut self.heard, (now, address));
    }

    /// Something that came in went away before its key was seen.
    pub(crate) fn failed(&mut self, now: Instant) {
        push(&mut self.failed, now);
    }

    /// Where an impostor is, once that is sure.
    pub(crate) fn impostor(&mut self, now: Instant) -> Option<Multiaddr> {
        let patience = self.patience;
        let near = |a: Instant, b: Instant| a.max(b).duration_since(a.min(b)) <= patience;
        while let Some((at, _)) = self.reached.front()
            && now.saturating_duration_since(*at) > patience
        {
            let (at, address) = self.reached.pop_front()?;
            if let Some(index) = self.heard.iter().position(|(heard, _)| near(*heard, at)) {
                self.heard.remove(index);
            } else if let Some(index) = self.failed.iter().position(|failed| near(*failed, at)) {
                self.failed.remove(index);
            } else {
                return Some(address);
            }
        }
        while let Some((at, _)) = self.heard.front()
            && now.saturating_duration_since(*at) > patience * 2
        {
            let (at, address) = self.heard.pop_front()?;
            // Its other half may still be young; then it is used up here.
            match self.reached.iter().position(|(reached, _)| near(*reached, at)) {
                Some(index) => drop(self.reached.remove(index)),
                None => return Some(address),
            }
        }
        None
    }
}

fn push<T>(events: &mut VecDeque<T>, event: T) {
    if events.len() == EVENTS_MAX {
        events.pop_front();
    }
    events.push_back(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is found after these events, each at its second: `r`eached, `h`eard, `f`ailed.
    fn check(events: &[(u32, char)], expected: usize) {
        let start = Instant::now();
        let mut mirror = Mirror::new(5 * SECOND);
        let mut found = 0;
        for second in 0..60 {
            let now = start + second * SECOND;
            for (_, kind) in events.iter().filter(|(at, _)| *at == second) {
                let address = Multiaddr::empty();
                match kind {
                    'r' => mirror.reached(address, now),
                    'h' => mirror.heard(address, now),
                    _ => mirror.failed(now),
                }
            }
            while mirror.impostor(now).is_some() {
                found += 1;
            }
        }
        assert_eq!(found, expected, "{events:?}");
    }

    #[test]
    fn reaching_oneself_is_ordinary() {
        check(&[], 0);
        check(&[(1, 'f')], 0);
        check(&[(1, 'r'), (1, 'h')], 0);
        check(&[(1, 'h'), (3, 'r')], 0);
        check(&[(1, 'r'), (6, 'h')], 0);
        check(&[(1, 'r'), (2, 'f')], 0);
        check(&[(1, 'r'), (2, 'h'), (3, 'r'), (4, 'h'), (5, 'h'), (6, 'r')], 0);
    }

    #[test]
    fn half_of_a_connection_is_somebody_else() {
        check(&[(1, 'r')], 1);
        check(&[(1, 'h')], 1);
        check(&[(1, 'r'), (7, 'h')], 2);
        check(&[(1, 'r'), (2, 'h'), (3, 'h')], 1);
        check(&[(1, 'h'), (2, 'f')], 1);
    }
}
