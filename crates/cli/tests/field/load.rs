//! Two senders who go on through everything: one sends numbered lines, one asks questions with ids of its own.
//!
//! A sender does not know where the agent is. It tries one home after the other, each time with the same command; that
//! each message is processed once is the nodes' promise.

use crate::{NAME, stage::Stage};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Lines a second.
const RATE: &str = "40";
/// So long a sender goes on with a node that takes nothing.
const GIVE_UP_AFTER: &str = "2s";
const PAUSE: Duration = Duration::from_millis(50);

/// What the senders are told: to go on, to come to an end, or to leave it.
const ON: u8 = 0;
const FINISH: u8 = 1;
const LEAVE: u8 = 2;

/// The senders. Dropped before they are done, they leave it.
pub(crate) struct Load {
    told: Arc<AtomicU8>,
    sending: Option<JoinHandle<Result<String, String>>>,
    asking: Option<JoinHandle<Result<u64, String>>>,
}

/// What they sent.
pub(crate) struct Sent {
    pub(crate) stream: String,
    pub(crate) lines: u64,
    pub(crate) questions: u64,
}

impl Load {
    /// Begins to send `lines` lines, and a question now and then.
    pub(crate) fn begin(stages: &[Stage], folder: &Path, lines: usize, ask_every: Duration) -> Result<Self, String> {
        let file = folder.join("lines.csv");
        // Real prices, over and over.
        let prices = include_str!("../../../../agents/strategy/prices/msft-daily.csv");
        let text = prices.lines().cycle().take(lines).fold(String::new(), |text, line| text + line + "\n");
        fs::write(&file, text).map_err(|e| e.to_string())?;
        let told = Arc::new(AtomicU8::new(ON));
        let sender = |name: &str| {
            let log = folder.join(name);
            stages.iter().map(|stage| stage.logging(&log, "warn")).collect::<Vec<_>>()
        };
        let (sender, asker) = (sender("sender.log"), sender("asker.log"));
        let sending = {
            let (told, file) = (told.clone(), file.to_string_lossy().into_owned());
            thread::spawn(move || send(&sender, &file, &told))
        };
        let asking = {
            let told = told.clone();
            thread::spawn(move || ask(&asker, &told, ask_every))
        };
        Ok(Self { told, sending: Some(sending), asking: Some(asking) })
    }

    /// Comes back once everything is sent and answered.
    pub(crate) fn finish(mut self, lines: usize) -> Result<Sent, String> {
        self.told.store(FINISH, Ordering::Relaxed);
        let gone = "a sender failed";
        let questions = self.asking.take().ok_or(gone)?.join().map_err(|_| gone)??;
        let stream = self.sending.take().ok_or(gone)?.join().map_err(|_| gone)??;
        Ok(Sent { stream, lines: u64::try_from(lines).unwrap_or(u64::MAX), questions })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.told.store(LEAVE, Ordering::Relaxed);
        drop(self.asking.take().map(JoinHandle::join));
        drop(self.sending.take().map(JoinHandle::join));
    }
}

/// Sends all lines; once told to stop, as fast as they are taken. Gives the name of their stream.
fn send(stages: &[Stage], file: &str, told: &AtomicU8) -> Result<String, String> {
    for stage in stages.iter().cycle() {
        let mut args = vec!["send", NAME, "--lines", file, "--timeout", GIVE_UP_AFTER];
        let then = told.load(Ordering::Relaxed);
        if then == LEAVE {
            break;
        }
        if then == ON {
            args.extend(["--rate", RATE]);
        }
        let mut actor = stage.start(&args)?;
        while actor.ended()?.is_none() {
            if told.load(Ordering::Relaxed) != then {
                actor.kill()?;
                break;
            }
            thread::sleep(PAUSE);
        }
        let (status, rows) = actor.end()?;
        match (status.code(), rows.last().and_then(|row| row["stream"].as_str())) {
            (Some(0), Some(stream)) => return Ok(stream.to_owned()),
            // Wrong usage, or damage: no other node would make that good.
            (Some(2 | 4), _) => return Err(format!("sending the lines ended with {status}")),
            _ => {}
        }
    }
    Err("not all lines were sent".to_owned())
}

/// The id of a question.
pub(crate) fn question(n: u64) -> String {
    format!("question-{n}")
}

/// Asks again and again, each question until it is answered. What the agent has seen never becomes less.
fn ask(stages: &[Stage], told: &AtomicU8, every: Duration) -> Result<u64, String> {
    let (mut n, mut seen) = (0, 0);
    while told.load(Ordering::Relaxed) == ON {
        let id = question(n);
        for stage in stages.iter().cycle() {
            if told.load(Ordering::Relaxed) == LEAVE {
                return Err("a question was not answered".to_owned());
            }
            let answer = stage.ask(&["call", NAME, "report", "--id", &id, "--timeout", GIVE_UP_AFTER])?;
            if let (Some(0), Some(row)) = (answer.code, answer.rows.last()) {
                let reply = row["reply"].as_str().unwrap_or_default();
                let reply: Value = serde_json::from_str(reply).map_err(|e| e.to_string())?;
                let prices = reply["prices"].as_u64().ok_or("a reply without prices")?;
                if prices < seen {
                    return Err(format!("the agent had seen {seen} prices, and now {prices}"));
                }
                (n, seen) = (n + 1, prices);
                break;
            }
            if matches!(answer.code, Some(2 | 4)) {
                return Err(format!("a question ended with {:?}: {}", answer.code, answer.said));
            }
            thread::sleep(PAUSE);
        }
        thread::sleep(every);
    }
    Ok(n)
}
