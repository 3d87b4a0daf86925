//! Yamux for TCP connections, with windows that are bounded.
//!
//! Invariants kept here:
//! - All streams of a connection together can hold [`windows`] bytes that were not read, and no more.
//! - Streams that wait to be taken are at most as many as may be open.
//!
//! libp2p's own adapter lets the windows of one connection grow to 1 GiB and says no other number, hence this one.

use super::small::Coarse;
use crate::{
    Refusal,
    counters::Counters,
    limits::{OWN_STREAMS_PER_CONNECTION, WINDOW_GROWTH_BYTES},
};
use futures_util::{AsyncRead, AsyncWrite, ready};
use libp2p::core::{
    UpgradeInfo,
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
};
use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use yamux::{Connection, ConnectionError, DEFAULT_CREDIT, Mode, Stream};

/// Streams, of both sides, that Yamux itself allows: above what is let in, so that one too many is a reset stream and
/// not a lost connection.
const fn streams_max(streams: usize) -> usize {
    streams + streams / 2 + OWN_STREAMS_PER_CONNECTION
}

/// The most that the streams of one connection hold unread, in bytes.
const fn windows(streams: usize) -> usize {
    streams_max(streams) * DEFAULT_CREDIT as usize + WINDOW_GROWTH_BYTES
}

/// Agrees on Yamux.
#[derive(Clone)]
pub(super) struct Upgrade {
    streams: usize,
    counters: Arc<Counters>,
}

impl Upgrade {
    pub(super) fn new(streams: usize, counters: Arc<Counters>) -> Self {
        Self { streams, counters }
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, io: C, mode: Mode) -> Muxer<C> {
        let mut config = yamux::Config::default();
        // Each setter checks against the other's value, so the one that makes room comes first.
        config.set_max_connection_receive_window(None);
        config.set_max_num_streams(streams_max(self.streams));
        config.set_max_connection_receive_window(Some(windows(self.streams)));
        let io = Coarse::new(io, Arc::clone(&self.counters));
        let connection = Connection::new(io, config, mode);
        Muxer { connection, begun: VecDeque::new(), limit: self.streams, taker: None, counters: self.counters }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(io, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(io, Mode::Client)))
    }
}

/// A Yamux connection as libp2p drives it.
pub(super) struct Muxer<C> {
    connection: Connection<Coarse<C>>,
    /// Yamux only moves while it is asked for the next stream, so streams can come when nobody takes them.
    begun: VecDeque<Stream>,
    limit: usize,
    taker: Option<Waker>,
    counters: Arc<Counters>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.begun.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.taker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready!(self.poll_next(cx))?;
        if self.begun.len() < self.limit {
            self.begun.push_back(stream);
        } else {
            self.counters.refuse(Refusal::Streams, &"a connection", &"too many streams wait to be taken");
        }
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
        // One at a time, so that a peer that begins many does not keep the thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
