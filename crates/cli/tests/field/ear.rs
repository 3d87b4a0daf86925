//! The killer's own record: every tick that a node announced, as it announced it.

use crate::{NAME, audit::Announced};
use igor_node::{api::wire::Event, client::Client};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Before a node that did not answer is asked again, and how often the ear looks whether it is done.
const PAUSE: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A tick, and who announced it in which epoch.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) node: usize,
    pub(crate) epoch: String,
    pub(crate) tick: Announced,
}

/// Listens to one node, through all its lives.
pub(crate) struct Ear {
    told: Arc<Mutex<Vec<Told>>>,
    over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Ear {
    pub(crate) fn open(client: Client, node: usize) -> Self {
        let (told, over) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let listening = {
            let (told, over) = (told.clone(), over.clone());
            thread::spawn(move || {
                if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    runtime.block_on(listen(&client, node, &told, &over));
                }
            })
        };
        Self { told, over, listening: Some(listening) }
    }

    /// Ends it, and gives what was heard, in order.
    pub(crate) fn close(&mut self) -> Vec<Told> {
        self.over.store(true, Ordering::Relaxed);
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        drop(self.close());
    }
}

async fn listen(client: &Client, node: usize, told: &Mutex<Vec<Told>>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        // It is not there, or the agent is not.
        let Ok(mut events) = client.events(NAME).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut next = Box::pin(events.next());
        loop {
            let event = match tokio::time::timeout(LOOK_EVERY, &mut next).await {
                Ok(Ok(Some(event))) => event,
                Ok(_) => break,
                Err(_) if over.load(Ordering::Relaxed) => return,
                Err(_) => continue,
            };
            if let Event::Tick { tick, seq, head, epoch, .. } = event {
                let tick = Announced { tick: tick.0, seq: seq.0, head: head.to_string() };
                told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { node, epoch: epoch.to_string(), tick });
            }
            drop(next);
            next = Box::pin(events.next());
        }
    }
}
