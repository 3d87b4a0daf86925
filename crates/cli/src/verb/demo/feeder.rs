//! Sends the prices to an agent that moves: each line once, wherever the agent lives.
//!
//! The sender is `igor send --lines`, which outlives the kills of a node. Where it learns that the agent has left or has
//! ended, it is started again at the node that the last one names. Which lines are there already, the agent's journal
//! knows.

use super::{
    NAME,
    host::going_on,
    stage::{Actor, Answer, Stage},
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A node that the agent may live at.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) socket: PathBuf,
}

/// What there is to send, and how.
pub(super) struct Feed {
    /// Whose commands it gives; it talks to one of the places.
    pub(super) sender: Stage,
    pub(super) places: Vec<Place>,
    pub(super) lines: String,
    /// Lines a second, until it is told to hurry.
    pub(super) rate: &'static str,
}

/// The sender at work.
pub(super) struct Feeder {
    thread: Option<JoinHandle<Result<String, String>>>,
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    again: AtomicBool,
    hurry: AtomicBool,
    stop: AtomicBool,
}

impl Feeder {
    /// Begins to send, at the first of the places.
    pub(super) fn begin(feed: Feed) -> Self {
        let orders = Arc::new(Orders::default());
        let given = orders.clone();
        Self { thread: Some(thread::spawn(move || feed.send(&given))), orders }
    }

    /// A node is there again: whoever sends need not find out by itself, with pauses that grow.
    pub(super) fn again(&self) {
        self.orders.again.store(true, Ordering::Relaxed);
    }

    /// Sends the rest as fast as it is taken.
    pub(super) fn hurry(&self) {
        self.orders.hurry.store(true, Ordering::Relaxed);
    }

    /// Whether it has ended, with or without all lines sent.
    pub(super) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all lines are there. Gives the stream's name.
    pub(super) fn finish(&mut self) -> Result<String, String> {
        let thread = self.thread.take().ok_or("the sender has ended")?;
        thread.join().map_err(|_| "the sender failed".to_owned())?
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody wants to know any more.
            drop(thread.join());
        }
    }
}

impl Feed {
    fn send(self, orders: &Orders) -> Result<String, String> {
        let mut place = 0;
        loop {
            orders.again.store(false, Ordering::Relaxed);
            let hurry = orders.hurry.load(Ordering::Relaxed);
            let args = ["send", NAME, "--lines", &self.lines, "--rate", self.rate];
            let args = if hurry { &args[..4] } else { &args[..] };
            let mut sender = self.sender.at(&self.places[place].socket).start(args)?;
            if let Some(stream) = wait(&mut sender, orders, hurry)? {
                return Ok(stream);
            }
            drop(sender);
            place = self.find(place, orders)?;
        }
    }

    /// Where the agent lives now. Each node that it has left says who has it, while it is there.
    fn find(&self, from: usize, orders: &Orders) -> Result<usize, String> {
        let mut place = from;
        loop {
            check(orders)?;
            let shown = self.sender.at(&self.places[place].socket).ask(&["show", NAME]).and_then(Answer::last);
            let shown = shown.unwrap_or_default();
            let lives = ["running", "idle"].iter().any(|status| shown["status"] == *status);
            let custodian = shown["custodian"].as_str();
            match custodian.and_then(|key| self.places.iter().position(|other| other.key == key)) {
                Some(there) if there != place => place = there,
                // It is here, as far as is known here: it may be starting, moving, or out of money.
                Some(_) if lives => return Ok(place),
                Some(_) => thread::sleep(LOOK_EVERY),
                // Nobody answers there: it was switched off for good, perhaps, and others know more.
                None => {
                    place = (place + 1) % self.places.len();
                    thread::sleep(LOOK_EVERY);
                }
            }
        }
    }
}

/// Waits for the end of a sender, or until another one is to take its place. Gives the stream's name where all lines are there.
fn wait(sender: &mut Actor, orders: &Orders, hurries: bool) -> Result<Option<String>, String> {
    loop {
        check(orders)?;
        if (!hurries && orders.hurry.load(Ordering::Relaxed)) || orders.again.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match sender.ended()? {
            Some(status) if status.success() => {
                let (_, rows) = sender.end()?;
                let stream = rows.last().and_then(|row| row["stream"].as_str());
                return stream
                    .map(|stream| Some(stream.to_owned()))
                    .ok_or_else(|| "`igor send` names no stream".to_owned());
            }
            Some(_) => return Ok(None),
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

fn check(orders: &Orders) -> Result<(), String> {
    if orders.stop.load(Ordering::Relaxed) { Err("the sender was stopped".to_owned()) } else { going_on() }
}
