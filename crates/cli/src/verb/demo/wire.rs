//! A wire between two ends that can be cut: it passes on what comes over TCP, and breaks, or holds everything back, when
//! it is told to.
//!
//! Invariant: it neither reads nor changes what it passes on. The nodes know each other by their keys, not by it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
};

const PIECE_BYTES: usize = 4 << 10;
/// No cut is due.
const NEVER: u64 = u64::MAX;

/// A wire to a port of this machine.
pub(super) struct Wire {
    pub(super) port: u16,
    state: Arc<State>,
    task: AbortHandle,
}

struct State {
    to: u16,
    /// Whoever connects is let through.
    open: AtomicBool,
    /// How many more bytes go there until the wire breaks.
    left: AtomicU64,
    broken: Notify,
    cuts: AtomicU64,
    /// Nothing comes through, and nobody is told.
    held: watch::Sender<bool>,
}

impl Wire {
    /// A wire that ends at this port.
    pub(super) fn to(port: u16, open: bool) -> Result<Self, String> {
        let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?.port(), TcpListener::from_std(listener)?))
        });
        let (own, listener) = bound.map_err(|e| format!("a port of 127.0.0.1: {e}"))?;
        let (left, cuts) = (AtomicU64::new(NEVER), AtomicU64::new(0));
        let (broken, held) = (Notify::new(), watch::Sender::new(false));
        let state = Arc::new(State { to: port, open: open.into(), left, broken, cuts, held });
        let task = Handle::current().spawn(accept(listener, state.clone())).abort_handle();
        Ok(Self { port: own, state, task })
    }

    /// Lets through whoever connects from now on.
    pub(super) fn open(&self) {
        self.state.open.store(true, Ordering::Relaxed);
    }

    /// Breaks once, after so many more bytes have gone there.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::Relaxed);
    }

    /// Holds everything back from now on, or lets it through again.
    pub(super) fn hold(&self, held: bool) {
        self.state.held.send_replace(held);
    }

    /// How often it broke.
    pub(super) fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.state.broken.notify_waiters();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((from, _)) = listener.accept().await {
        if state.open.load(Ordering::Relaxed) {
            let state = state.clone();
            tokio::spawn(async move { drop(pass(from, &state).await) });
        }
    }
}

/// Passes on until one side ends, or the wire breaks; then both sides see the end of the connection.
async fn pass(from: TcpStream, state: &State) -> io::Result<()> {
    let broken = state.broken.notified();
    drop(state.held.subscribe().wait_for(|held| !held).await);
    let to = TcpStream::connect(("127.0.0.1", state.to)).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = broken => Ok(()),
        there = copy(from_read, to_write, state, |bytes| state.may_pass(bytes)) => there,
        back = copy(to_read, from_write, state, |_| true) => back,
    }
}

impl State {
    /// Counts bytes that go there. False where the wire breaks before they do.
    fn may_pass(&self, bytes: usize) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left == NEVER {
            return true;
        }
        let rest = left.checked_sub(bytes as u64);
        self.left.store(rest.unwrap_or(NEVER), Ordering::Relaxed);
        if rest.is_none() {
            self.cuts.fetch_add(1, Ordering::Relaxed);
            self.broken.notify_waiters();
        }
        rest.is_some()
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    may_pass: impl Fn(usize) -> bool,
) -> io::Result<()> {
    let (mut piece, mut held) = (vec![0; PIECE_BYTES], state.held.subscribe());
    loop {
        let bytes = from.read(&mut piece).await?;
        if bytes == 0 || !may_pass(bytes) {
            return Ok(());
        }
        // It lives as long as the state does.
        drop(held.wait_for(|held| !held).await);
        to.write_all(&piece[..bytes]).await?;
    }
}
