//! How bytes travel: QUIC, and TCP with Noise and Yamux; both under the same limits.
//!
//! Invariants kept here:
//! - A connection that comes out of here has an authenticated peer, and finished its handshake in time.
//! - What a peer may send before it is read is bounded by the windows set here, for each stream and each connection.
//! - Streams are counted and paced before libp2p sees them ([`metered`]).

mod metered;
mod small;
mod yamux;

use crate::{Config, Error, counters::Counters, limits};
use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OrTransport, timeout::TransportTimeoutError},
        upgrade::Version,
    },
    noise, quic, tcp,
};
use metered::Metered;
use std::{io, sync::Arc, time::Duration};

/// Both transports of a node.
pub(crate) fn build(config: &Config, counters: &Arc<Counters>) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Error> {
    let noise = noise::Config::new(&config.key).map_err(|e| Error::Config(format!("the node's key: {e}")))?;
    let streams = config.limits.streams_per_connection;
    let (in_tcp, in_quic) = (Arc::clone(counters), Arc::clone(counters));
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        // Not the lazy version: whoever connects waits until the other side knows its key too, so that both notice when
        // it is the same one.
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux::Upgrade::new(streams, Arc::clone(counters)))
        .timeout(config.times.handshake)
        .map_err(|error| match error {
            TransportTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            error => io::Error::other(error),
        })
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(Metered::new(muxer, peer, streams, in_tcp))));
    let quic = quic::tokio::Transport::new(quic_config(config))
        .map_err(|error| match error {
            quic::Error::HandshakeTimedOut => io::ErrorKind::TimedOut.into(),
            error => io::Error::other(error),
        })
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(Metered::new(muxer, peer, streams, in_quic))));
    let both = OrTransport::new(quic, tcp).map(|either, _| either.into_inner());
    #[expect(clippy::redundant_closure_for_method_calls, reason = "libp2p does not say the type's name")]
    let both = both.map_err(|either| either.into_inner());
    Ok(both.boxed())
}

fn quic_config(config: &Config) -> quic::Config {
    let mut quic = quic::Config::new(&config.key);
    quic.handshake_timeout = config.times.handshake;
    // Pings find a silent peer; this is for connections whose pings nobody reads any more.
    let idle = config.times.ping_interval + config.times.ping * 2;
    quic.max_idle_timeout = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
    quic.keep_alive_interval = config.times.ping_interval.max(Duration::from_millis(1));
    // Twice as many as are let in, so that a peer is refused before it has to wait.
    quic.max_concurrent_stream_limit = u32::try_from(config.limits.streams_per_connection * 2).unwrap_or(u32::MAX);
    quic.max_stream_data = limits::STREAM_WINDOW_BYTES;
    quic.max_connection_data = limits::CONNECTION_WINDOW_BYTES;
    quic
}
