//! The threads of a [`super::Disk`]: the log, the mover, and the writer of blobs.
//!
//! Invariants: the log thread alone orders and writes commits, removals and local values; it answers them only after the
//! sync of their group; a thread that ends with an error leaves the store poisoned, and every later request fails.

use super::{
    blob,
    core::Core,
    home::Home,
    local::Local,
    log::{Log, Pending, Staged},
    mover,
    spares::Spares,
    table::{Held, Shared},
};
use crate::{Error, files::Rule};
use igor_protocol::{AgentId, Hash};
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

/// Blobs that are written before their names are synced, at most.
const REQUESTS_PER_SYNC: usize = 64;

pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What the log thread does, in the order in which it is asked.
pub(crate) enum ToLog {
    Append(Pending, Answer<()>),
    /// With a value that is durable if and only if the commit is.
    AppendNoting(Pending, Local, Answer<()>),
    Local(Local, Answer<()>),
    Remove(AgentId, Answer<()>),
    /// Answered when what came before is.
    Settle(Answer<()>),
    Watermarks {
        covered: u64,
        held: Vec<Held>,
        answer: SyncSender<Result<(), Error>>,
    },
    Stop,
}

pub(crate) enum ToMover {
    /// There may be a full segment, a file of a removed journal, or a spare may be missing.
    Look,
    Stop,
}

pub(crate) enum ToFiles {
    PutBlob(Vec<u8>, Answer<Hash>),
    RemoveBlobs(Vec<Hash>, Answer<()>),
    Stop,
}

/// The ends of the channels, and the threads.
pub(crate) struct Threads {
    pub(crate) log: Sender<ToLog>,
    pub(crate) files: Sender<ToFiles>,
    mover: Sender<ToMover>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn start(core: Core) -> Result<Self, Error> {
        let Core { home, table, spares, log, .. } = core;
        let (to_log, for_log) = channel();
        let (to_mover, for_mover) = channel();
        let (to_files, for_files) = channel();
        let mut threads = Self { log: to_log.clone(), files: to_files, mover: to_mover.clone(), handles: Vec::new() };
        let mover = Mover { home: home.clone(), table, spares: spares.clone(), log: to_log };
        threads.spawn(&home, "igor-log", move || run_log(log, &for_log, &to_mover))?;
        threads.spawn(&home, "igor-mover", move || mover.run(&for_mover))?;
        let files_home = home.clone();
        threads.spawn(&home, "igor-files", move || run_files(&files_home, &spares, &for_files))?;
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
        drop(self.files.send(ToFiles::Stop));
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
        let mut removed = false;
        while let Some(current) = request {
            match current {
                ToLog::Append(commit, answer) => order(&mut log, |log| log.stage(&commit), answer, &mut waiting),
                ToLog::AppendNoting(commit, local, answer) => {
                    order(&mut log, |log| log.stage_noting(&commit, &local), answer, &mut waiting);
                }
                ToLog::Local(local, answer) => order(&mut log, |log| log.stage_local(&local), answer, &mut waiting),
                ToLog::Remove(agent, answer) => {
                    removed = true;
                    order(&mut log, |log| log.stage_removal(agent), answer, &mut waiting);
                }
                ToLog::Settle(answer) => waiting.push(answer),
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
        if removed || log.segment_number() != segment {
            drop(mover.send(ToMover::Look));
        }
    }
}

fn order(
    log: &mut Log,
    stage: impl Fn(&mut Log) -> Result<Staged, Error>,
    answer: Answer<()>,
    waiting: &mut Vec<Answer<()>>,
) {
    let staged = match stage(log) {
        Ok(Staged::FlushFirst) => {
            settle(log, waiting);
            stage(log)
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
        // Whoever stopped waiting does not know the fate of what it asked for, as its documentation says.
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
        let Some(moved) = mover::copy(&self.home, &self.table, &self.spares)? else { return self.spares.is_full() };
        mover::finish(&self.home, &self.table, moved, |covered, held| {
            let (answer, answered) = sync_channel(1);
            let gone = || Error::Poisoned { why: "the log's thread is gone".into() };
            self.log.send(ToLog::Watermarks { covered, held, answer }).map_err(|_| gone())?;
            answered.recv().unwrap_or_else(|_| Err(gone()))
        })?;
        self.spares.is_full()
    }
}

fn run_files(home: &Home, spares: &Spares, requests: &Receiver<ToFiles>) {
    while let Ok(first) = requests.recv() {
        let mut blobs = Vec::new();
        let mut request = Some(first);
        for more in (0..REQUESTS_PER_SYNC).rev() {
            let Some(current) = request else { break };
            match current {
                ToFiles::PutBlob(bytes, answer) => blobs.push((blob::write(home, spares, &bytes), answer)),
                ToFiles::RemoveBlobs(hashes, answer) => drop(answer.send(blob::remove(home, &hashes))),
                ToFiles::Stop => return name_blobs(home, blobs),
            }
            // Those that came meanwhile share the sync of the directory.
            request = if more > 0 { requests.try_recv().ok() } else { None };
        }
        name_blobs(home, blobs);
    }
}

/// Makes the names of written blobs durable and answers everyone who waits for one.
fn name_blobs(home: &Home, blobs: Vec<(Result<Hash, Error>, Answer<Hash>)>) {
    let mut named = Ok(());
    if !blobs.is_empty() && home.rules.keep(Rule::BlobAfterName) {
        named = blob::sync_names(home).map_err(|e| e.to_string());
    }
    for (written, answer) in blobs {
        let poisoned = |why: &String| Error::Poisoned { why: why.clone() };
        drop(answer.send(written.and_then(|hash| named.as_ref().map(|()| hash).map_err(poisoned))));
    }
}
