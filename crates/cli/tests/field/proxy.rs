//! A way between two nodes that takes its time, and that can be cut.
//!
//! Invariants kept here:
//! - Bytes come out in order, each so long after it went in; a reader that is ahead of that waits, so memory is bounded.
//! - When a way is closed its connections end at once on both sides, and new ones end as they begin.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Bytes that are read at once, and pieces that may be under way in each direction.
const PIECE_BYTES: usize = 16 << 10;
const PIECES_MAX: usize = 256;
/// How often somebody who connects is looked for.
const ACCEPT_EVERY: Duration = Duration::from_millis(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The way to one node from another.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
    accepting: Option<JoinHandle<()>>,
}

struct Way {
    to: SocketAddr,
    delay: Duration,
    open: AtomicBool,
    over: AtomicBool,
    /// Both ends of every connection that goes on.
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens at `at` and leads to `to`.
    pub(crate) fn start(at: SocketAddr, to: SocketAddr, delay: Duration) -> Result<Self, String> {
        let listen = || {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>((listener.local_addr()?, listener))
        };
        let (address, listener) = listen().map_err(|e| format!("a proxy at {at}: {e}"))?;
        let (open, over) = (AtomicBool::new(true), AtomicBool::new(false));
        let way = Arc::new(Way { to, delay, open, over, streams: Mutex::default() });
        let accepting = {
            let way = way.clone();
            thread::spawn(move || way.accept(&listener))
        };
        Ok(Self { address, way, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and lets no new one through.
    pub(crate) fn close(&self) {
        self.way.open.store(false, Ordering::SeqCst);
        self.way.end_all();
    }

    /// Lets connections through again.
    pub(crate) fn open(&self) {
        self.way.open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.over.store(true, Ordering::SeqCst);
        self.close();
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Way {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((near, _)) => {
                    let way = self.clone();
                    // A connection that cannot be made ends, which is all that the node would see elsewhere too.
                    thread::spawn(move || drop(way.connect(near)));
                }
                Err(_) => thread::sleep(ACCEPT_EVERY),
            }
        }
    }

    fn connect(self: &Arc<Self>, near: TcpStream) -> io::Result<()> {
        near.set_nonblocking(false)?;
        if !self.open.load(Ordering::SeqCst) {
            return Ok(());
        }
        let far = TcpStream::connect_timeout(&self.to, CONNECT_WITHIN)?;
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
        }
        {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that ended leave room.
            streams.retain(|stream| stream.take_error().is_ok_and(|e| e.is_none()) && stream.peer_addr().is_ok());
            streams.extend([near.try_clone()?, far.try_clone()?]);
        }
        if !self.open.load(Ordering::SeqCst) {
            self.end_all();
            return Ok(());
        }
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let (send, due) = sync_channel(PIECES_MAX);
            let end = (from.try_clone()?, to.try_clone()?);
            let delay = self.delay;
            thread::spawn(move || read(from, &send, delay));
            thread::spawn(move || {
                write(to, &due);
                // Whichever way ends takes the other with it.
                for stream in [end.0, end.1] {
                    drop(stream.shutdown(Shutdown::Both));
                }
            });
        }
        Ok(())
    }

    fn end_all(&self) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// What is on its way, and when it arrives.
type Piece = (Instant, Vec<u8>);

fn read(mut from: TcpStream, send: &SyncSender<Piece>, delay: Duration) {
    let mut room = vec![0; PIECE_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut room) {
        if send.send((Instant::now() + delay, room[..bytes].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, due: &Receiver<Piece>) {
    while let Ok((at, bytes)) = due.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}
