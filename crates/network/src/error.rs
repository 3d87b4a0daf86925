//! What can go wrong for a caller, and why peers are refused.
//!
//! Invariant: [`Refusal`] is closed, so that counters and logs by reason are bounded.

use crate::{frame, message};
use igor_protocol::NodeId;
use libp2p::Multiaddr;
use std::{fmt, io, time::Duration};

/// Why the network did not do what was asked, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error("the network's configuration is refused: {0}")]
    Config(String),
    /// A listen address cannot be used.
    #[error("cannot listen on {address}: {why}; choose another address or stop who uses it")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        why: String,
    },
    /// No address is known: name one among the bootstrap peers, or wait until the peer connects.
    #[error("no address of node {0} is known; add one that ends in /p2p/ID to the bootstrap peers")]
    Unknown(NodeId),
    /// The lists do not allow this peer.
    #[error("node {0} is refused by this node's own lists; change them to reach it")]
    Unlisted(NodeId),
    /// All known addresses failed.
    #[error("node {peer} cannot be reached: {why}")]
    Unreachable {
        /// Which peer.
        peer: NodeId,
        /// What the attempts ended with.
        why: String,
    },
    /// The peer speaks another version.
    #[error("node {peer} does not speak {protocol}; one of the two needs an update")]
    Unsupported {
        /// Which peer.
        peer: NodeId,
        /// The protocol that it does not know.
        protocol: &'static str,
    },
    /// The peer answered that it will not.
    #[error("node {peer} refused: {why}")]
    Refused {
        /// Which peer.
        peer: NodeId,
        /// Its reason.
        why: message::Why,
    },
    /// No answer in time: whether the peer acted on the request is unknown.
    #[error("node {peer} did not answer within {after:?}")]
    TimedOut {
        /// Which peer.
        peer: NodeId,
        /// The limit.
        after: Duration,
    },
    /// The connection or stream ended: whether the peer acted on what was sent is unknown.
    #[error("the stream with node {peer} failed: {why}")]
    Stream {
        /// Which peer.
        peer: NodeId,
        /// How.
        why: frame::Error,
    },
    /// The peer sent what is not an answer.
    #[error("node {peer} sent what cannot be read: {why}")]
    Malformed {
        /// Which peer.
        peer: NodeId,
        /// What is wrong with it.
        why: igor_protocol::codec::Error,
    },
    /// A request that is larger than peers take.
    #[error("the message is too large to send: {0}")]
    TooLarge(igor_protocol::codec::Error),
    /// The operating system refuses what the network needs.
    #[error("the network cannot start: {0}")]
    System(#[from] io::Error),
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Why a peer, or something that it sent, was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $($(#[doc = $doc])* $name,)*
        }

        impl Refusal {
            /// All of them, in the order of their counters.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// The word for logs and the label for metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// On the deny list.
    Denied = "denied",
    /// Not on the allow list of a private node.
    Unlisted = "unlisted",
    /// A key that no node can have.
    WrongKey = "wrong_key",
    /// No handshake, or a broken one.
    Handshake = "handshake",
    /// A handshake that was not finished in time.
    HandshakeSlow = "handshake_slow",
    /// Too many unfinished handshakes, of one address or in all.
    Handshakes = "handshakes",
    /// Too many connections begun in a short time, by one address or by all.
    HandshakeRate = "handshake_rate",
    /// Too many connections in all.
    Connections = "connections",
    /// Too many connections of this peer.
    PeerConnections = "peer_connections",
    /// Too many open streams on one connection.
    Streams = "streams",
    /// Streams begun faster than allowed: they wait.
    StreamRate = "stream_rate",
    /// Tiny frames sent faster than allowed: they wait.
    SmallFrames = "small_frames",
    /// A protocol, or a version of one, that this node does not speak.
    Protocol = "protocol",
    /// Too many requests being answered, of this peer or in all.
    Requests = "requests",
    /// Requests sent faster than allowed.
    RequestRate = "request_rate",
    /// Too many transfers, of this peer or in all, or another one too soon after one that was too slow.
    Transfers = "transfers",
    /// A frame that says it is larger than allowed.
    TooLarge = "too_large",
    /// A frame whose content cannot be read.
    Malformed = "malformed",
    /// A stream on which nothing, or too little, came or went in time.
    Slow = "slow",
    /// So much was refused that the peer's connections were closed.
    Flood = "flood",
    /// Pings were not answered: the connection was closed.
    Silent = "silent",
    /// Somebody else has this node's key.
    Impostor = "impostor",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Refusal {}
