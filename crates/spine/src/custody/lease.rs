//! The right to run an agent, as a thing that one life at a time has.
//!
//! ```text
//!   none ──► out: the agent is being opened, runs, or ends ──► given back ──► none
//!             └─ taken back: whoever has it ends at once ──┘
//! ```
//!
//! Invariants kept here:
//! - There is a lease from before anything of a life is there until nothing of it is left: it is had while an agent is
//!   opened, and dropped when the last of its life is gone. So whoever takes it back waits for all of that.
//! - Dropping one waits for nobody: a life can end while custody waits for its end.

use tokio::sync::watch;

/// The right to run an agent. Only the [`Steward`](super::Steward) makes one; whoever has it may append to the agent's
/// journal, and nobody else does. It is given back by dropping it.
#[derive(Debug)]
pub struct Lease {
    revoked: watch::Receiver<bool>,
    /// Those who wait for the end see that this is gone.
    _out: watch::Sender<()>,
}

/// Something of a life, and the lease that it has.
///
/// Dropped in the order of the fields: a lease is not given back before nothing of the life is left.
#[derive(Debug)]
pub struct Leased<T> {
    /// What lives, or is about to.
    pub life: T,
    /// Its right to.
    pub lease: Lease,
}

/// The other end of a [`Lease`].
#[derive(Debug)]
pub(super) struct Tenant {
    revoke: watch::Sender<bool>,
    out: watch::Receiver<()>,
}

impl Lease {
    pub(super) fn new() -> (Self, Tenant) {
        let ((revoke, revoked), (out_here, out)) = (watch::channel(false), watch::channel(()));
        (Self { revoked, _out: out_here }, Tenant { revoke, out })
    }

    /// Whether it is to be given back at once.
    pub fn is_revoked(&self) -> bool {
        *self.revoked.borrow()
    }

    /// Comes back when it is to be given back at once: what runs is dropped then, in the middle of whatever it does.
    pub async fn revoked(&self) {
        // Without the other end nobody is left who could.
        if self.revoked.clone().wait_for(|revoked| *revoked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Does this, unless the lease is to be given back before it is done.
    pub async fn unless_revoked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.revoked() => None,
            done = work => Some(done),
        }
    }
}

impl Tenant {
    /// Whether it was given back.
    pub(super) fn is_over(&self) -> bool {
        self.out.has_changed().is_err()
    }

    /// Takes it back; returns once it was given back.
    pub(super) async fn take_back(&mut self) {
        self.revoke.send_replace(true);
        // Nothing is ever sent: the change is that the lease is gone.
        while self.out.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests;
