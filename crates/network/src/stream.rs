//! A transfer: frames both ways on one stream, with back-pressure.
//!
//! Invariants kept here:
//! - At most one frame is in memory per direction, and [`STEP_BYTES`] of those that may wait; a peer is read no faster
//!   than frames are asked for.
//! - What goes out is cut into steps of [`STEP_BYTES`], whatever the frames are: small ones cost a peer no more than
//!   large ones.
//! - Whoever waits, waits for a bounded time: for a frame to begin ([`Times::idle`](crate::Times::idle)), for it to be
//!   whole ([`Times::frame`](crate::Times::frame)), for the peer to take what is sent. A peer that
//!   began the stream has to bring a least amount on average ([`Times::transfer`](crate::Times::transfer)).
//! - The end is said; whatever else ends the stream is an error on the other side. Dropping it aborts.

use crate::{
    Error, Refusal, Times,
    bucket::Bucket,
    counters::Counters,
    frame::{self, Assembly, Step},
    limits::{RATE_BYTES_MIN, TRANSFER_BYTES_PER_SECOND_MIN},
};
use futures_util::{AsyncWriteExt, io as halves};
use igor_protocol::NodeId;
use std::{any::Any, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How much is written at once, before the pace and the time limits are looked at again.
const STEP_BYTES: usize = 16 << 10;

/// One side of a transfer.
#[derive(Debug)]
pub struct Stream {
    sender: Sender,
    receiver: Receiver,
}

/// The half that sends.
#[derive(Debug)]
pub struct Sender {
    shared: Shared,
    io: halves::WriteHalf<libp2p::Stream>,
    pace: Pace,
    /// Whole frames that were not written yet.
    step: Vec<u8>,
    /// Nothing may follow: the end was said, or a send was given up half-way.
    over: bool,
}

/// The half that receives.
#[derive(Debug)]
pub struct Receiver {
    shared: Shared,
    io: halves::ReadHalf<libp2p::Stream>,
    pace: Pace,
    assembly: Assembly,
    /// How long it waited for the peer, and for how many bytes.
    waited: Duration,
    received_bytes: u64,
}

/// Who began a stream, where that was the peer: then it has to keep up.
pub(crate) trait Begun: Send + Sync {
    /// It did not.
    fn is_slow(&self);
}

/// What both halves have, and hold until the last of them is dropped.
#[derive(Clone)]
struct Shared {
    peer: NodeId,
    frame_bytes: usize,
    idle: Duration,
    frame: Duration,
    transfer: Duration,
    counters: Arc<Counters>,
    begun: Option<Arc<dyn Begun>>,
    _held: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.peer.fmt(f)
    }
}

impl Stream {
    /// `begun` is the peer if it began it; `held` is what its being open counts against.
    pub(crate) fn new(
        io: libp2p::Stream,
        peer: NodeId,
        frame_bytes: usize,
        times: &Times,
        counters: Arc<Counters>,
        begun: Option<Arc<dyn Begun>>,
        held: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let (read, write) = futures_util::AsyncReadExt::split(io);
        let Times { idle, frame, transfer, .. } = *times;
        let shared = Shared { peer, frame_bytes, idle, frame, transfer, counters, begun, _held: held };
        let sender = Sender { shared: shared.clone(), io: write, pace: Pace(None), step: Vec::new(), over: false };
        let assembly = Assembly::new(frame_bytes);
        let receiver =
            Receiver { shared, io: read, pace: Pace(None), assembly, waited: Duration::ZERO, received_bytes: 0 };
        Self { sender, receiver }
    }

    /// Who is on the other side.
    pub fn peer(&self) -> NodeId {
        self.sender.shared.peer
    }

    /// See [`Sender::feed`].
    pub async fn feed(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.sender.feed(frame).await
    }

    /// See [`Sender::send`].
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.sender.send(frame).await
    }

    /// See [`Sender::finish`].
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.sender.finish().await
    }

    /// See [`Receiver::receive`].
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.receiver.receive().await
    }

    /// Slows both directions down to so many bytes per second, but not below [`RATE_BYTES_MIN`]; none: no limit.
    pub fn limit_rate(&mut self, bytes_per_second: Option<u32>) {
        self.sender.pace = Pace::new(bytes_per_second);
        self.receiver.pace = Pace::new(bytes_per_second);
    }

    /// The two halves, for two tasks. The stream ends when both are dropped.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Ends it at once. The peer sees a stream that was cut off.
    pub fn abort(self) {}
}

impl Sender {
    /// Takes one frame, which may wait here until the next [`Sender::send`]; waits itself while the peer does not take
    /// what is due. Empty and too large ones are refused.
    ///
    /// If it is dropped before it is done the stream can send nothing more.
    pub async fn feed(&mut self, frame: &[u8]) -> Result<(), Error> {
        let peer = self.shared.peer;
        let header = frame::header(frame, self.shared.frame_bytes).map_err(|why| Error::Stream { peer, why })?;
        self.write(&[&header, frame], false).await
    }

    /// As [`Sender::feed`], and hands over all that waits here.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        let peer = self.shared.peer;
        let header = frame::header(frame, self.shared.frame_bytes).map_err(|why| Error::Stream { peer, why })?;
        self.write(&[&header, frame], true).await
    }

    /// Says that no more frames follow, and hands over all that waits here.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.write(&[&frame::END], true).await?;
        self.over = true;
        let closed = timeout(self.shared.idle, self.io.close()).await;
        self.shared.in_time(closed.map(|closed| closed.map_err(Into::into)), self.shared.idle)
    }

    async fn write(&mut self, parts: &[&[u8]], all: bool) -> Result<(), Error> {
        if std::mem::replace(&mut self.over, true) {
            return Err(self.shared.error(frame::Error::Ended));
        }
        // Whole frames wait, no parts of them: a peer gives one that began little time.
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.step.len() + bytes > STEP_BYTES {
            self.write_step().await?;
        }
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(STEP_BYTES - self.step.len()));
                self.step.extend_from_slice(now);
                rest = later;
                if self.step.len() == STEP_BYTES {
                    self.write_step().await?;
                }
            }
        }
        if all || bytes > STEP_BYTES {
            self.write_step().await?;
        }
        if all {
            let flushed = timeout(self.shared.idle, self.io.flush()).await;
            self.shared.in_time(flushed.map(|flushed| flushed.map_err(Into::into)), self.shared.idle)?;
        }
        self.over = false;
        Ok(())
    }

    async fn write_step(&mut self) -> Result<(), Error> {
        self.pace.wait(self.step.len()).await;
        let wrote = timeout(self.shared.idle, self.io.write_all(&self.step)).await;
        self.shared.in_time(wrote.map(|wrote| wrote.map_err(Into::into)), self.shared.idle)?;
        self.step.clear();
        Ok(())
    }
}

impl Receiver {
    /// The next frame; nothing once the peer has said that it was the last. If it is dropped before it is done nothing
    /// is lost.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut deadline = None;
        loop {
            let limit = match deadline {
                None if !self.assembly.is_begun() => self.shared.idle,
                None => *deadline.insert(self.shared.frame),
                Some(left) => left,
            };
            let began = Instant::now();
            let step = timeout(limit, self.assembly.step(&mut self.io)).await;
            let waited = began.elapsed();
            self.waited += waited;
            if let Some(left) = &mut deadline {
                *left = left.saturating_sub(waited);
            }
            // Waiting for its own pace is not the peer's slowness, so it is outside of what was measured.
            match self.shared.in_time(step, limit)? {
                Step::Some(bytes) => self.pace.wait(bytes).await,
                Step::Frame(frame) => {
                    self.received_bytes += frame.len() as u64;
                    let allowed =
                        self.shared.transfer + Duration::from_secs(self.received_bytes / TRANSFER_BYTES_PER_SECOND_MIN);
                    if self.shared.begun.is_some() && self.waited > allowed {
                        return Err(self.shared.error(frame::Error::Slow(allowed)));
                    }
                    return Ok(Some(frame));
                }
                Step::End => return Ok(None),
            }
        }
    }
}

impl Shared {
    fn error(&self, why: frame::Error) -> Error {
        match &why {
            frame::Error::TooLarge { .. } => self.counters.refuse(Refusal::TooLarge, &self.peer, &why),
            frame::Error::Slow(_) => {
                self.counters.refuse(Refusal::Slow, &self.peer, &why);
                if let Some(peer) = &self.begun {
                    peer.is_slow();
                }
            }
            frame::Error::Cut | frame::Error::Ended | frame::Error::Io(_) => {}
        }
        Error::Stream { peer: self.peer, why }
    }

    fn in_time<T, E>(&self, result: Result<Result<T, frame::Error>, E>, limit: Duration) -> Result<T, Error> {
        result.unwrap_or(Err(frame::Error::Slow(limit))).map_err(|why| self.error(why))
    }
}

/// Bytes per second, where there is a limit.
#[derive(Debug)]
struct Pace(Option<Bucket>);

impl Pace {
    fn new(bytes_per_second: Option<u32>) -> Self {
        let bucket = |rate: u32| {
            let rate = rate.max(RATE_BYTES_MIN);
            Bucket::new(rate / 4, rate, Instant::now().into_std())
        };
        Self(bytes_per_second.map(bucket))
    }

    async fn wait(&mut self, bytes: usize) {
        let Some(bucket) = &mut self.0 else { return };
        // Steps are at most 16 KiB, a quarter of the lowest rate: the bucket can hold them.
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        while !bucket.take(count, Instant::now().into_std()) {
            sleep(bucket.wait(count, Instant::now().into_std())).await;
        }
    }
}
