//! The threads of a [`super::Disk`]: the log, the mover, and the writer of blobs.
//!
//! Invariants: the log thread alone orders and writes commits; it answers a commit only after the sync of its
//! group; a thread that ends with an error leaves the store poisoned, and every later request fails.

use super::{
    core::Core,
    home::Home,
    log::{Log, Pending, Staged},
    mover, small,
    spares::Spares,
    table::{Held, Shared},
};
use crate::{Error, files::Rule};
use igor_protocol::Hash;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::oneshot;

/// After this long without a commit the last group is closed.
const IDLE: Duration = Duration::from_millis(100);
/// How often the mover looks whether a full disk has room again.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What the log thread does, in the order in which it is asked.
pub(crate) enum ToLog {
    Append(Pending, Answer<()>),
    Watermarks { covered: u64, held: Vec<Held>, answer: SyncSender<Result<(), Error>> },
    Stop,
}

pub(crate) enum ToMover {
    /// There may be a full segment, or a spare may be missing.
    Look,
    Stop,
}

pub(crate) enum ToBlobs {
    Put(Vec<u8>, Answer<Hash>),
    Stop,
}

/// The ends of the channels, and the threads.
pub(crate) struct Threads {
    pub(crate) log: Sender<ToLog>,
    pub(crate) blobs: Sender<ToBlobs>,
    mover: Sender<ToMover>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn start(core: Core) -> Result<Self, Error> {
        let Core { home, table, spares, log } = core;
        let (to_log, for_log) = channel();
        let (to_mover, for_mover) = channel();
        let (to_blobs, for_blobs) = channel();
        let mut threads = Self { log: to_log.clone(), blobs: to_blobs, mover: to_mover.clone(), handles: Vec::new() };
        let mover = Mover { home: home.clone(), table, spares: spares.clone(), log: to_log };
        threads.spawn(&home, "igor-log", move || run_log(log, &for_log, &to_mover))?;
        threads.spawn(&home, "igor-mover", move || mover.run(&for_mover))?;
        let blobs_home = home.clone();
        threads.spawn(&home, "igor-blobs", move || run_blobs(&blobs_home, &spares, &for_blobs))?;
        drop(threads.mover.send(ToMover::Look));
        Ok(threads)
    }

    fn spawn(&mut self, home: &Home, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let handle = thread::Builder::new().name(name.into()).spawn(body).map_err(|e| home.error("", e))?;
        self.handles.push(handle);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The mover goes first, since it asks the log.
        drop(self.mover.send(ToMover::Stop));
        drop(self.blobs.send(ToBlobs::Stop));
        let log = self.handles.drain(..).rev().fold(None, |last, handle| {
            drop(last.map(JoinHandle::join));
            Some(handle)
        });
        drop(self.log.send(ToLog::Stop));
        drop(log.map(JoinHandle::join));
    }
}

fn run_log(mut log: Log, requests: &Receiver<ToLog>, mover: &Sender<ToMover>) {
    let mut waiting: Vec<Answer<()>> = Vec::new();
    loop {
        let first = if log.is_closed() {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(IDLE)
        };
        let mut request = match first {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => {
                if log.close_idle().is_err() {
                    // Poisoned: what comes next is told so.
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let segment = log.segment_number();
        while let Some(current) = request {
            match current {
                ToLog::Append(commit, answer) => append(&mut log, &commit, answer, &mut waiting),
                ToLog::Watermarks { covered, held, answer } => {
                    settle(&mut log, &mut waiting);
                    drop(answer.send(log.write_watermarks(covered, &held)));
                }
                ToLog::Stop => {
                    settle(&mut log, &mut waiting);
                    drop(log.close_idle());
                    return;
                }
            }
            request = requests.try_recv().ok();
        }
        settle(&mut log, &mut waiting);
        if log.segment_number() != segment {
            drop(mover.send(ToMover::Look));
        }
    }
}

fn append(log: &mut Log, commit: &Pending, answer: Answer<()>, waiting: &mut Vec<Answer<()>>) {
    let staged = match log.stage(commit) {
        Ok(Staged::FlushFirst) => {
            settle(log, waiting);
            log.stage(commit)
        }
        staged => staged,
    };
    match staged {
        Ok(_) if !log.rules().keep(Rule::AcknowledgeAfterSync) => drop(answer.send(Ok(()))),
        Ok(_) => waiting.push(answer),
        Err(e) => drop(answer.send(Err(e))),
    }
}

/// Makes the open group durable and answers everyone who waits for it.
fn settle(log: &mut Log, waiting: &mut Vec<Answer<()>>) {
    let flushed = log.flush();
    for answer in waiting.drain(..) {
        let result = match &flushed {
            Ok(()) => Ok(()),
            Err(e) => Err(Error::Poisoned { why: e.to_string() }),
        };
        // Whoever stopped waiting does not know the fate of its commit, as its documentation says.
        drop(answer.send(result));
    }
}

struct Mover {
    home: Arc<Home>,
    table: Shared,
    spares: Arc<Spares>,
    log: Sender<ToLog>,
}

impl Mover {
    fn run(self, requests: &Receiver<ToMover>) {
        let mut again = false;
        loop {
            let request = if again {
                requests.recv_timeout(RETRY)
            } else {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            if matches!(request, Ok(ToMover::Stop) | Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            again = match self.step() {
                Ok(full) => full,
                Err(Error::Full { .. }) => true,
                Err(e) => {
                    // What the log holds is safe. But it would grow without end, and what cannot be moved is
                    // damaged, so say it now and not later.
                    self.home.poison(e.to_string());
                    return;
                }
            };
        }
    }

    /// Says whether the disk is full, so that it has to be tried again.
    fn step(&self) -> Result<bool, Error> {
        self.spares.prepare()?;
        mover::step(&self.home, &self.table, |covered, held| {
            let (answer, answered) = sync_channel(1);
            let gone = || Error::Poisoned { why: "the log's thread is gone".into() };
            self.log.send(ToLog::Watermarks { covered, held, answer }).map_err(|_| gone())?;
            answered.recv().unwrap_or_else(|_| Err(gone()))
        })?;
        self.spares.is_full()
    }
}

fn run_blobs(home: &Home, spares: &Spares, requests: &Receiver<ToBlobs>) {
    while let Ok(ToBlobs::Put(bytes, answer)) = requests.recv() {
        let mut written = vec![(small::write_blob(home, spares, &bytes), answer)];
        let mut stop = false;
        // Those that came meanwhile share the sync of the directory.
        while written.len() < 64 {
            match requests.try_recv() {
                Ok(ToBlobs::Put(bytes, answer)) => written.push((small::write_blob(home, spares, &bytes), answer)),
                Ok(ToBlobs::Stop) => {
                    stop = true;
                    break;
                }
                Err(_) => break,
            }
        }
        let mut named = Ok(());
        if home.rules.keep(Rule::BlobAfterName) {
            named = small::sync_blob_names(home).map_err(|e| e.to_string());
        }
        for (result, answer) in written {
            let poisoned = |why: &String| Error::Poisoned { why: why.clone() };
            drop(answer.send(result.and_then(|hash| named.as_ref().map(|()| hash).map_err(poisoned))));
        }
        if stop {
            return;
        }
    }
}
