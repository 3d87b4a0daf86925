//! How much peers may take, each and together. The defaults, as constants with what they are for.
//!
//! What the transport holds for peers is at most connections x (windows + streams x buffers); docs/network.md has the
//! sum.

use crate::message::MESSAGE_BYTES_MAX;

/// Connections in all, without those that listed peers (bootstrap, allow list) make: these are always let in.
pub const CONNECTIONS_MAX: usize = 64;
/// Connections of one peer: two that meet half-way, and one of the other transport.
pub const CONNECTIONS_PER_PEER: usize = 4;
/// Incoming connections in all whose handshake is not finished.
pub const HANDSHAKES_MAX: usize = 64;
/// Incoming connections of one address (IPv4, or the first 64 bits of IPv6) whose handshake is not finished.
pub const HANDSHAKES_PER_ADDRESS: usize = 8;
/// Incoming connections that one address may begin at once.
pub const HANDSHAKE_BURST: u32 = 32;
/// Incoming connections that one address may begin, per second, in the long run.
pub const HANDSHAKES_PER_SECOND: u32 = 4;
/// Incoming connections that all addresses together may begin at once: what a handshake costs is bounded as well.
pub const HANDSHAKE_BURST_IN_ALL: u32 = 256;
/// Incoming connections that all addresses together may begin, per second, in the long run.
pub const HANDSHAKES_PER_SECOND_IN_ALL: u32 = 64;
/// Addresses whose rate is remembered; while as many are busy, others are refused.
pub const ADDRESSES_MAX: usize = 4096;
/// Open streams of one connection, of any protocol, that the peer began.
pub const STREAMS_PER_CONNECTION: usize = 24;
/// Open streams of one Yamux connection that this node may begin; libp2p and the limits of peers keep it below.
pub const OWN_STREAMS_PER_CONNECTION: usize = 16;
/// Streams that a peer may begin at once on one connection.
pub const STREAM_BURST: u32 = 128;
/// Streams that a peer may begin on one connection, per second, in the long run; more wait.
pub const STREAMS_PER_SECOND: u32 = 128;
/// Streams of one connection that are still agreeing on a protocol.
pub const NEGOTIATIONS_MAX: usize = 8;
/// Requests of one peer that are being answered.
pub const REQUESTS_PER_PEER: usize = 8;
/// Requests of all peers that are being answered.
pub const REQUESTS_MAX: usize = 256;
/// Requests that a peer may send at once.
pub const REQUEST_BURST: u32 = 64;
/// Requests of one peer per second, in the long run.
pub const REQUESTS_PER_SECOND: u32 = 32;
/// Incoming transfers of one peer: twice as many as a node has going out to one at once.
pub const TRANSFERS_PER_PEER: usize = 4;
/// Incoming transfers of all listed peers.
pub const TRANSFERS_MAX: usize = 16;
/// Incoming transfers of all other peers, who keep no listed one out.
pub const TRANSFERS_OF_STRANGERS_MAX: usize = 8;
/// The least that a peer's transfer must bring on average, in bytes per second, beyond
/// [`Times::transfer`](crate::Times::transfer): whoever drips keeps others waiting.
pub const TRANSFER_BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// Refused streams after which a peer's connections are closed; they are forgotten at
/// [`FORGIVEN_PER_SECOND`].
pub const STRIKES_MAX: u32 = 256;
/// Refused streams that are forgotten each second.
pub const FORGIVEN_PER_SECOND: u32 = 16;
/// Largest frame of a transfer, in bytes. Its reader holds one at a time.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// What a peer may send on one stream before it is read, in bytes (QUIC; Yamux has 256 KiB, which may grow).
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// What a peer may send on one connection before it is read, in bytes (QUIC).
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// By how much the windows of all streams of a Yamux connection may grow, in bytes.
pub const WINDOW_GROWTH_BYTES: usize = 2 << 20;
/// Data frames below [`SMALL_FRAME_BYTES`] that a Yamux connection may send at once: each costs its reader far more
/// memory than it has bytes.
pub const SMALL_FRAME_BURST: u32 = 1024;
/// Small data frames of a Yamux connection per second, in the long run; more wait.
pub const SMALL_FRAMES_PER_SECOND: u32 = 1024;
/// What counts as a small data frame, in bytes.
pub const SMALL_FRAME_BYTES: u32 = 256;
/// Peers that are remembered, connected or not.
pub const PEERS_MAX: usize = 512;
/// Addresses that are remembered of one peer.
pub const ADDRESSES_PER_PEER: usize = 16;
/// Peers found by mDNS that are connected to by themselves.
pub const FOUND_MAX: usize = 64;
/// The least that a transfer may be slowed down to, in bytes per second: a frame must still be whole in time.
pub const RATE_BYTES_MIN: u32 = 64 << 10;
/// Log lines about refusals for one reason, at once and then one per second; the next one says how many were left out.
pub const LOG_BURST: u32 = 8;

/// The limits that whoever starts a network may set. [`Default`] has the constants of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// See [`CONNECTIONS_PER_PEER`].
    pub connections_per_peer: usize,
    /// See [`HANDSHAKES_MAX`].
    pub handshakes: usize,
    /// See [`HANDSHAKES_PER_ADDRESS`].
    pub handshakes_per_address: usize,
    /// See [`HANDSHAKE_BURST`].
    pub handshake_burst: u32,
    /// See [`HANDSHAKES_PER_SECOND`].
    pub handshakes_per_second: u32,
    /// See [`STREAMS_PER_CONNECTION`].
    pub streams_per_connection: usize,
    /// See [`REQUESTS_PER_PEER`].
    pub requests_per_peer: usize,
    /// See [`REQUESTS_MAX`].
    pub requests: usize,
    /// See [`REQUEST_BURST`].
    pub request_burst: u32,
    /// See [`REQUESTS_PER_SECOND`].
    pub requests_per_second: u32,
    /// See [`TRANSFERS_PER_PEER`].
    pub transfers_per_peer: usize,
    /// See [`TRANSFERS_MAX`].
    pub transfers: usize,
    /// See [`TRANSFERS_OF_STRANGERS_MAX`].
    pub transfers_of_strangers: usize,
    /// See [`FRAME_BYTES_MAX`]. Both sides must agree on it; at least [`MESSAGE_BYTES_MAX`].
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            connections_per_peer: CONNECTIONS_PER_PEER,
            handshakes: HANDSHAKES_MAX,
            handshakes_per_address: HANDSHAKES_PER_ADDRESS,
            handshake_burst: HANDSHAKE_BURST,
            handshakes_per_second: HANDSHAKES_PER_SECOND,
            streams_per_connection: STREAMS_PER_CONNECTION,
            requests_per_peer: REQUESTS_PER_PEER,
            requests: REQUESTS_MAX,
            request_burst: REQUEST_BURST,
            requests_per_second: REQUESTS_PER_SECOND,
            transfers_per_peer: TRANSFERS_PER_PEER,
            transfers: TRANSFERS_MAX,
            transfers_of_strangers: TRANSFERS_OF_STRANGERS_MAX,
            frame_bytes: FRAME_BYTES_MAX,
        }
    }
}

impl Limits {
    /// What makes no sense, in words.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let counts = [
            self.connections_per_peer,
            self.handshakes,
            self.handshakes_per_address,
            self.streams_per_connection,
            self.requests_per_peer,
            self.requests,
            self.transfers_per_peer,
            self.transfers,
            self.transfers_of_strangers,
        ];
        let rates = [self.handshake_burst, self.handshakes_per_second, self.request_burst, self.requests_per_second];
        if counts.contains(&0) || rates.contains(&0) {
            return Some("a limit of zero lets nobody in; use the allow list for that");
        }
        if self.streams_per_connection > 256 {
            return Some("more than 256 streams on one connection");
        }
        if !(MESSAGE_BYTES_MAX..=16 << 20).contains(&self.frame_bytes) {
            return Some("frames are between 64 KiB and 16 MiB");
        }
        None
    }
}
