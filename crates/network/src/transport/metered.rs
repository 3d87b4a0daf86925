//! A multiplexed connection whose streams are counted, paced and limited, whatever multiplexes it.
//!
//! Invariants kept here:
//! - At most `streams` streams that the peer began are open; one more is reset before anything is read from it.
//! - New streams of the peer are taken at a bounded rate; others wait in the multiplexer, where they are bounded too.
//! - Every byte is counted once.

use crate::{Refusal, bucket::Bucket, counters::Counters, limits};
use futures_util::{AsyncRead, AsyncWrite, ready};
use libp2p::{
    PeerId,
    core::muxing::{StreamMuxer, StreamMuxerEvent},
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep};

/// What multistream-select says where no protocol suits: length, `na`, newline.
const NO_PROTOCOL: [u8; 4] = *b"\x03na\n";
/// More than this is never written only to agree on a protocol.
const NEGOTIATION_BYTES_MAX: u64 = 1 << 10;

/// A multiplexer under limits.
pub(super) struct Metered<M> {
    inner: Pin<Box<M>>,
    peer: PeerId,
    /// Cloned into each stream that the peer began, so that its count says how many are open.
    open: Arc<()>,
    streams: usize,
    pace: Bucket,
    waiting: Option<Pin<Box<Sleep>>>,
    counters: Arc<Counters>,
}

impl<M> Metered<M> {
    pub(super) fn new(inner: M, peer: PeerId, streams: usize, counters: Arc<Counters>) -> Self {
        let pace = Bucket::new(limits::STREAM_BURST, limits::STREAMS_PER_SECOND, Instant::now().into_std());
        Self { inner: Box::pin(inner), peer, open: Arc::new(()), streams, pace, waiting: None, counters }
    }

    /// Ready once another stream may be taken.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            let wait = self.pace.wait(1, Instant::now().into_std());
            if wait.is_zero() {
                return Poll::Ready(());
            }
            self.counters.refuse(Refusal::StreamRate, &self.peer, &"streams are begun too fast; they wait");
            self.waiting = Some(Box::pin(sleep(wait)));
        }
    }
}

impl<M: StreamMuxer<Substream: Unpin>> StreamMuxer for Metered<M> {
    type Substream = Stream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_pace(cx));
            let inner = ready!(this.inner.as_mut().poll_inbound(cx))?;
            this.pace.take(1, Instant::now().into_std());
            this.counters.streams_in(1);
            if Arc::strong_count(&this.open) > this.streams {
                this.counters.refuse(Refusal::Streams, &this.peer, &"too many open streams on one connection");
                drop(inner);
                continue;
            }
            let begun_by_peer = Some((Arc::clone(&this.open), this.peer));
            return Poll::Ready(Ok(Stream::new(inner, begun_by_peer, &this.counters)));
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(self.inner.as_mut().poll_outbound(cx))?;
        self.counters.streams_out(1);
        Poll::Ready(Ok(Stream::new(inner, None, &self.counters)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.as_mut().poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.inner.as_mut().poll(cx)
    }
}

/// A stream whose bytes are counted.
pub(super) struct Stream<S> {
    inner: S,
    begun_by_peer: Option<(Arc<()>, PeerId)>,
    counters: Arc<Counters>,
    written_bytes: u64,
    last_written: [u8; 4],
}

impl<S> Stream<S> {
    fn new(inner: S, begun_by_peer: Option<(Arc<()>, PeerId)>, counters: &Arc<Counters>) -> Self {
        Self { inner, begun_by_peer, counters: Arc::clone(counters), written_bytes: 0, last_written: [0; 4] }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.counters.bytes_out(bytes.len() as u64);
        self.written_bytes += bytes.len() as u64;
        if self.written_bytes <= NEGOTIATION_BYTES_MAX {
            let tail = &bytes[bytes.len().saturating_sub(4)..];
            self.last_written.rotate_left(tail.len());
            self.last_written[4 - tail.len()..].copy_from_slice(tail);
        }
    }
}

impl<S> Drop for Stream<S> {
    /// libp2p does not tell when no protocol could be agreed on, so it is seen here: "no" was the last word.
    fn drop(&mut self) {
        let Some((_, peer)) = &self.begun_by_peer else { return };
        if self.written_bytes <= NEGOTIATION_BYTES_MAX && self.last_written == NO_PROTOCOL {
            self.counters.refuse(Refusal::Protocol, peer, &"it asked for a protocol or version that is not known here");
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.counters.bytes_in(read as u64);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
