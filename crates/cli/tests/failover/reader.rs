//! Another process that reads the agent's journal from the bucket, as soon as it is there.

use igor_bucket::{Address, Options, Remote};
use igor_bucket_testing::{BUCKET, ENVIRONMENT};
use igor_protocol::{AgentId, Body, Entry, Epoch, KeyPair, Seq, entry::Call, slot::Nonce};
use igor_store::{
    Store,
    disk::{self, Disk},
    shared::{BUNDLE_SLOTS_MIN, Shared, Wing, identity},
};
use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A tick that stands in the bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) epoch: Epoch,
    pub(crate) at: Instant,
}

/// What was read.
#[derive(Default)]
struct Known {
    /// The first tick of each epoch that has any.
    first: Vec<Read>,
    /// The journal's end.
    next: Seq,
    head: String,
    failed: Option<String>,
}

#[derive(Default)]
struct Page {
    known: Mutex<Known>,
    changed: Condvar,
    over: AtomicBool,
}

/// Reads on until it is dropped.
pub(crate) struct Reader {
    page: Arc<Page>,
    reading: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads the journal of an agent, with a cache in this directory.
    pub(crate) fn begin(endpoint: &str, folder: &Path, agent: AgentId) -> Result<Self, String> {
        let address: Address = format!("s3://{BUCKET}").parse().map_err(|e| format!("{e}"))?;
        let options = Options { endpoint: Some(endpoint.to_owned()), ..Options::default() };
        let set =
            |name: &str| ENVIRONMENT.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let bucket = Remote::open(&address, &options, &set).map_err(|e| e.to_string())?;
        let disk = Disk::open(folder, &disk::Options::default()).map_err(|e| e.to_string())?;
        let page = Arc::new(Page::default());
        let reading = {
            let page = page.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let read = runtime.map_err(|e| e.to_string());
                let read = read.and_then(|runtime| runtime.block_on(read_on(bucket, disk, agent, &page)));
                if let Err(why) = read {
                    page.lock().failed = Some(why);
                }
                page.changed.notify_all();
            })
        };
        Ok(Self { page, reading: Some(reading) })
    }

    /// The epoch of the last tick that was read.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.page.lock().first.last().map(|read| read.epoch)
    }

    /// How many epochs have ticks.
    pub(crate) fn epochs(&self) -> usize {
        self.page.lock().first.len()
    }

    /// The journal's end, as far as it was read: the position after the last entry, and the head there.
    pub(crate) fn end(&self) -> (u64, String) {
        let known = self.page.lock();
        (known.next.0, known.head.clone())
    }

    /// How far it came, and why not further.
    pub(crate) fn in_words(&self) -> String {
        let known = self.page.lock();
        format!("{:?}, to {}, {}", known.first.last(), known.next, known.failed.as_deref().unwrap_or("going on"))
    }

    /// Waits for a tick of a later epoch.
    pub(crate) fn after(&self, epoch: Epoch, within: Duration) -> Result<Read, String> {
        let deadline = Instant::now() + within;
        let mut known = self.page.lock();
        loop {
            if let Some(read) = known.first.iter().find(|read| read.epoch > epoch) {
                return Ok(*read);
            }
            if let Some(why) = &known.failed {
                return Err(format!("the bucket cannot be read any more: {why}"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no tick after epoch {epoch} within {} s", within.as_secs()));
            }
            known = self.page.changed.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.page.over.store(true, Ordering::Relaxed);
        drop(self.reading.take().map(JoinHandle::join));
    }
}

impl Page {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_on(bucket: Remote, disk: Disk, agent: AgentId, page: &Page) -> Result<(), String> {
    let id = identity(&bucket).await.map_err(|e| e.to_string())?.ok_or("the bucket has no identity")?;
    // It never writes: who it is does not matter.
    let key = Arc::new(KeyPair::from_seed(&[99; 32]));
    let wing = Wing { bucket, id, key, nonce: Nonce([99; 16]), bundle_slots_min: BUNDLE_SLOTS_MIN };
    let store = Shared::open(Arc::new(disk), Some(wing)).map_err(|e| e.to_string())?;
    let mut next = Seq(0);
    while !page.over.load(Ordering::Relaxed) {
        // What is there, not what comes while it is read.
        store.attach(agent, Some(next.next()), u64::MAX).await.map_err(|e| e.to_string())?;
        let at = Instant::now();
        let tail = store.tail(agent).map_err(|e| e.to_string())?;
        let Some(tail) = tail.filter(|tail| tail.next > next) else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        for commit in store.read(agent, next).map_err(|e| e.to_string())? {
            let commit = commit.map_err(|e| e.to_string())?;
            let ticks = commit.entries().filter_map(|(_, _, bytes)| match Entry::decode(bytes).ok()?.body {
                Body::Run(run) => Some(matches!(run.call, Call::Tick(_))),
                _ => None,
            });
            if ticks.filter(|tick| *tick).count() > 0 {
                let mut known = page.lock();
                if known.first.last().is_none_or(|last| last.epoch < commit.epoch()) {
                    known.first.push(Read { epoch: commit.epoch(), at });
                }
            }
        }
        next = tail.next;
        let mut known = page.lock();
        (known.next, known.head) = (tail.next, tail.head.to_string());
        drop(known);
        page.changed.notify_all();
    }
    Ok(())
}
