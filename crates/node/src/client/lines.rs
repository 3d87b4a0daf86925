//! Sends the lines of a stream, each once, whatever happens to the node on the way.
//!
//! The node keeps the highest number of each stream in its journal. So the sender keeps nothing: it asks for that
//! number, goes on with the next line, and asks again after anything that it did not expect. It waits for a node that is
//! not there and for an agent that is being created.
//!
//! Invariants kept here:
//! - Line `n` is only ever sent as number `n` of the stream, so that a repeat is known as one.
//! - Once lines were taken from one sender, or may have been, none is sent as another: to a node, the numbers of another
//!   sender's stream say nothing of this one's.
//! - A line counts as done only when the node said that it is committed.

use super::{Attempts, Client, Error, SentAs};
use crate::api::wire::{BATCH_MAX, BODY_BYTES_MAX, MessageAnswer, Outgoing};
use igor_protocol::entry::MessageId;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Shortest and longest pause between attempts.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Room in a request for what is not body: names, numbers and their JSON.
const OVERHEAD_PER_MESSAGE: usize = 256;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The agent, by its name or id.
    pub agent: &'a str,
    /// The stream that the lines are numbered in; the same lines have the same stream.
    pub stream: &'a str,
    /// The lines, in order.
    pub lines: &'a [Vec<u8>],
    /// Lines a second; none for as fast as they are taken.
    pub rate: Option<f64>,
    /// How long to go on without any progress; none for ever.
    pub patience: Option<Duration>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many lines are committed.
    Committed(u64),
    /// It waits, for this reason, and tries again.
    Waiting(String),
}

/// Why not all lines were sent.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The node refuses and would refuse again.
    #[error("line {line}: {source}")]
    Refused {
        /// The first line that is not committed, counted from 1.
        line: u64,
        /// Why.
        source: Error,
    },
    /// Nothing went on for as long as was asked.
    #[error(
        "nothing was taken for {seconds} s; {committed} lines are committed, and the same command sends the rest: {last}"
    )]
    OutOfPatience {
        /// How long was waited.
        seconds: u64,
        /// Lines that are committed.
        committed: u64,
        /// The last reason to wait.
        last: String,
    },
    /// The node has more of this stream than there are lines.
    #[error(
        "the node has {highest} messages of this stream, but there are only {lines} lines: another file had this stream's name"
    )]
    OtherStream {
        /// What the node has.
        highest: u64,
        /// How many lines there are.
        lines: u64,
    },
}

/// What to do after an attempt.
enum Next {
    /// Lines up to this one are committed; go on.
    Committed(u64),
    /// Nothing is wrong for good: ask again after a pause.
    Wait(String, Option<Duration>),
}

/// Sends all lines and returns how many were sent by this call; the others were there before. To go on at another node,
/// call it with the same `sent_as`.
pub async fn send_lines(
    client: &Client,
    what: Lines<'_>,
    sent_as: &mut SentAs,
    mut tell: impl FnMut(Progress),
) -> Result<u64, LinesError> {
    let total = what.lines.len() as u64;
    let mut committed: Option<u64> = None;
    let mut first: Option<u64> = None;
    let mut pause = PAUSE_MIN;
    let mut moved = Instant::now();
    let mut pace = what.rate.map(Pace::new);
    let mut attempts = Attempts::default();
    loop {
        let attempt = match committed {
            None => highest(client, &what, sent_as).await.map(Next::Committed),
            Some(done) if done >= total => return Ok(done.saturating_sub(first.unwrap_or(done))),
            Some(done) => {
                let batch = match &mut pace {
                    Some(pace) => pace.next_batch(what.lines.len()).await,
                    None => BATCH_MAX,
                };
                send(client, &what, done, batch, sent_as).await
            }
        };
        let next = match attempt {
            Ok(next) => {
                attempts = Attempts::default();
                next
            }
            Err(e) if attempts.go_on_after(&e) => waiting_for(e),
            Err(source) => return Err(LinesError::Refused { line: committed.unwrap_or(0) + 1, source }),
        };
        match next {
            Next::Committed(done) if done > total => {
                return Err(LinesError::OtherStream { highest: done, lines: total });
            }
            Next::Committed(done) => {
                if committed.is_none_or(|before| done > before) {
                    (pause, moved) = (PAUSE_MIN, Instant::now());
                    tell(Progress::Committed(done));
                }
                first.get_or_insert(done);
                committed = Some(done);
            }
            Next::Wait(why, at_least) => {
                if let Some(patience) = what.patience.filter(|patience| moved.elapsed() > *patience) {
                    let committed = committed.or(first).unwrap_or(0);
                    return Err(LinesError::OutOfPatience { seconds: patience.as_secs(), committed, last: why });
                }
                tell(Progress::Waiting(why));
                sleep(pause.max(at_least.unwrap_or_default()).min(PAUSE_MAX)).await;
                pause = (pause * 2).min(PAUSE_MAX);
                committed = None;
            }
        }
    }
}

/// How far the stream is, where the sender is the one that sent it so far.
async fn highest(client: &Client, what: &Lines<'_>, sent_as: &mut SentAs) -> Result<u64, Error> {
    let sender = client.sender().await?;
    sent_as.check(&sender)?;
    let highest = client.stream_highest(what.agent, what.stream).await?;
    if highest > 0 {
        sent_as.is_by(&sender);
    }
    Ok(highest)
}

async fn send(client: &Client, what: &Lines<'_>, done: u64, most: usize, sent_as: &mut SentAs) -> Result<Next, Error> {
    let mut bytes = 0;
    let rest = usize::try_from(done).map_or(&[][..], |done| &what.lines[done..]);
    let fits = |line: &&Vec<u8>| {
        // Base64 is the longest form of a line; a string with escapes may be longer, so count it as it will stand.
        bytes += OVERHEAD_PER_MESSAGE + json_len(line);
        bytes <= BODY_BYTES_MAX
    };
    // A line that fits no request is sent alone, so that the node says why it is too long.
    let count = rest.iter().take(most.min(BATCH_MAX)).take_while(fits).count().max(1);
    let numbered = rest.iter().take(count).zip(done + 1..);
    let batch =
        numbered.map(|(line, n)| Outgoing::new(MessageId::Numbered { stream: what.stream.to_owned(), n }, line));
    let answers = client.send_as(what.agent, batch.collect(), sent_as).await?;
    let taken = answers.iter().take_while(|answer| matches!(answer, MessageAnswer::Taken(_))).count() as u64;
    let refused = answers.into_iter().find_map(|answer| match answer {
        MessageAnswer::Refused { status, error } => Some((status, error)),
        MessageAnswer::Taken(_) => None,
    });
    match refused {
        _ if taken > 0 => Ok(Next::Committed(done + taken)),
        Some((status, error)) => {
            // A gap means that the node knows less than it said (it lost nothing that it acknowledged): ask again.
            let passes = matches!(status, 429 | 503) || error.code == "gap";
            let (code, message) = (error.code, error.message);
            if passes {
                Ok(Next::Wait(message, None))
            } else {
                Err(Error::Refused { status, code, message, retry_after: None })
            }
        }
        None => Ok(Next::Committed(done)),
    }
}

fn waiting_for(error: Error) -> Next {
    match error {
        Error::Refused { message, retry_after, .. } => Next::Wait(message, retry_after),
        other => Next::Wait(other.to_string(), None),
    }
}

/// The length of a line in a request.
fn json_len(line: &[u8]) -> usize {
    match std::str::from_utf8(line) {
        Ok(text) => serde_json::to_string(text).map_or(usize::MAX / 2, |json| json.len()),
        Err(_) => line.len().div_ceil(3) * 4,
    }
}

/// Keeps a rate: so many lines may have been sent by now.
struct Pace {
    rate: f64,
    since: Instant,
    allowed: f64,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { rate: rate.max(0.001), since: Instant::now(), allowed: 0.0 }
    }

    /// Waits until at least one line may be sent, and says how many may.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // small, positive
    async fn next_batch(&mut self, lines: usize) -> usize {
        sleep_until(self.since + Duration::from_secs_f64((1.0 - self.allowed).max(0.0) / self.rate)).await;
        let now = Instant::now();
        self.allowed += (now - self.since).as_secs_f64() * self.rate;
        self.since = now;
        let batch = (self.allowed.floor().max(1.0) as usize).min(BATCH_MAX).min(lines.max(1));
        // What a pause saved up is not sent at once later.
        self.allowed = (self.allowed - batch as f64).clamp(-1.0, 1.0);
        batch
    }
}
