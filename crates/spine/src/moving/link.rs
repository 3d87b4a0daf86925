//! The stream between two nodes, as moving needs it: a real one over the network, or a simulated one.

use igor_protocol::transfer::{self, Frame};
use std::future::Future;

/// A stream of byte strings to one other node, each at most [`transfer::FRAME_BYTES_MAX`] long.
pub trait Link: Send {
    /// Takes one that may wait for the next [`Link::send`], so that many small ones go together; waits itself while the
    /// other side does not keep up.
    fn feed(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Cut>> + Send {
        self.send(bytes)
    }

    /// Sends one at once, after all that were fed before; waits while the other side does not keep up.
    fn send(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Cut>> + Send;

    /// The next one.
    fn receive(&mut self) -> impl Future<Output = Result<Vec<u8>, Cut>> + Send;
}

/// Why a stream came to its end before the talk did.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The connection was lost, or the other side was silent for too long or closed it.
    #[error("the connection to the other node was lost: {0}")]
    Lost(String),
    /// What came is not a frame.
    #[error("the other node sent what is not a frame: {0}")]
    Frame(#[from] transfer::Error),
    /// A frame that does not belong here.
    #[error("the other node sent {got} where {wanted} was due")]
    Unexpected {
        /// What came.
        got: &'static str,
        /// What was due.
        wanted: &'static str,
    },
}

impl Cut {
    /// A frame came that does not belong here.
    pub const fn unexpected(got: &Frame, wanted: &'static str) -> Self {
        Self::Unexpected { got: got.name(), wanted }
    }
}

/// Sends a frame at once.
pub async fn send(link: &mut impl Link, frame: &Frame) -> Result<(), Cut> {
    link.send(frame.encode()).await
}

/// Receives a frame.
pub async fn receive(link: &mut impl Link) -> Result<Frame, Cut> {
    Ok(Frame::decode(&link.receive().await?)?)
}
