//! Reading Yamux frames no faster than their cost allows.
//!
//! Yamux keeps each data frame that nobody has read yet in an allocation of its own, so a window full of one-byte
//! frames costs its reader about a hundred times the window. Here small data frames are counted on their way to Yamux
//! and, past a rate that honest peers do not reach, reading waits: the peer is slowed down, nothing breaks.
//!
//! Invariant: Yamux gets at most `burst + rate x time` data frames below
//! [`SMALL_FRAME_BYTES`](crate::limits::SMALL_FRAME_BYTES) from a connection.

use crate::{Refusal, bucket::Bucket, counters::Counters, limits};
use futures_util::{AsyncRead, AsyncWrite, ready};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep};

/// Version, type, flags (2), stream (4), length (4).
const HEADER_BYTES: usize = 12;
/// The type of data frames; only they have bytes after the header.
const DATA: u8 = 0;

/// An encrypted connection, between Noise and Yamux.
pub(super) struct Coarse<C> {
    inner: C,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    body_bytes: u32,
    pace: Bucket,
    owed: u32,
    waiting: Option<Pin<Box<Sleep>>>,
    counters: Arc<Counters>,
}

impl<C> Coarse<C> {
    pub(super) fn new(inner: C, counters: Arc<Counters>) -> Self {
        let pace = Bucket::new(limits::SMALL_FRAME_BURST, limits::SMALL_FRAMES_PER_SECOND, Instant::now().into_std());
        Self {
            inner,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            body_bytes: 0,
            pace,
            owed: 0,
            waiting: None,
            counters,
        }
    }

    /// Follows the frames through what was read; gives how many small ones began in it.
    fn follow(&mut self, mut bytes: &[u8]) -> u32 {
        let mut small = 0;
        while !bytes.is_empty() {
            if self.body_bytes > 0 {
                let skipped = bytes.len().min(usize::try_from(self.body_bytes).unwrap_or(usize::MAX));
                self.body_bytes -= u32::try_from(skipped).unwrap_or(self.body_bytes);
                bytes = &bytes[skipped..];
                continue;
            }
            let part = bytes.len().min(HEADER_BYTES - self.header_bytes);
            self.header[self.header_bytes..][..part].copy_from_slice(&bytes[..part]);
            self.header_bytes += part;
            bytes = &bytes[part..];
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                if self.header[1] == DATA {
                    let [.., a, b, c, d] = self.header;
                    self.body_bytes = u32::from_be_bytes([a, b, c, d]);
                    small += u32::from(self.body_bytes < limits::SMALL_FRAME_BYTES);
                }
            }
        }
        small
    }

    /// Ready once what was read so far is within the rate.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            let part = self.owed.min(limits::SMALL_FRAME_BURST);
            if part == 0 {
                return Poll::Ready(());
            }
            let now = Instant::now().into_std();
            if self.pace.take(part, now) {
                self.owed -= part;
                continue;
            }
            self.counters.refuse(Refusal::SmallFrames, &"a connection", &"too many tiny frames; they wait");
            self.waiting = Some(Box::pin(sleep(self.pace.wait(part, now))));
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Coarse<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pace(cx));
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let small = self.follow(&buffer[..read]);
        self.owed = self.owed.saturating_add(small);
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Coarse<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
