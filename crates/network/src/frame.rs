//! Frames: how long, then as many bytes. Everything that igor sends on a stream is in them.
//!
//! ```text
//! [length: 4 bytes, big-endian, 1..=max] [that many bytes]    and again
//! [0]                                                         nothing follows
//! ```
//!
//! Invariants kept here:
//! - The length is checked before anything is allocated for it, and memory grows with what has come, not with what was
//!   announced.
//! - An end without the zero is a cut, never taken for an end.
//! - A read that is dropped half-way loses nothing: the next one goes on where it was.

use futures_util::{AsyncRead, AsyncReadExt};
use std::{io, time::Duration};

/// How much is read at once; what a frame that has only been announced may cost.
const STEP_BYTES: usize = 16 << 10;
/// The header that ends the frames.
pub(crate) const END: [u8; 4] = [0; 4];

/// Why frames cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A frame says that it is longer than allowed.
    #[error("a frame of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What it says.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// It ended in the middle, or without saying that it is the end.
    #[error("cut off before its end")]
    Cut,
    /// Nothing, or too little, came or went in time.
    #[error("nothing moved for {0:?}")]
    Slow(Duration),
    /// More was sent after the end, or after a send that was given up half-way.
    #[error("used after its end")]
    Ended,
    /// The connection failed.
    #[error("connection failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        // Multiplexers report a reset or a lost connection in various ways; to a caller all of them are a cut.
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::WriteZero => Self::Cut,
            _ => Self::Io(error),
        }
    }
}

/// The header of a frame, or why its content may not be sent.
pub(crate) fn header(content: &[u8], max: usize) -> Result<[u8; 4], Error> {
    let too_large = || Error::TooLarge { bytes: content.len() as u64, max };
    if content.is_empty() || content.len() > max {
        return Err(too_large());
    }
    Ok(u32::try_from(content.len()).map_err(|_| too_large())?.to_be_bytes())
}

/// A frame that is being put together.
#[derive(Debug)]
pub(crate) struct Assembly {
    max: usize,
    head: [u8; 4],
    head_bytes: usize,
    body: Vec<u8>,
    body_bytes: usize,
    ended: bool,
}

/// What a step of reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes of a frame that is not whole.
    Some(usize),
    /// A whole frame.
    Frame(Vec<u8>),
    /// The end.
    End,
}

impl Assembly {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, head: [0; 4], head_bytes: 0, body: vec![], body_bytes: 0, ended: false }
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_begun(&self) -> bool {
        self.head_bytes > 0
    }

    /// Reads once. Dropped before it is done it has read nothing.
    pub(crate) async fn step(&mut self, io: &mut (impl AsyncRead + Unpin)) -> Result<Step, Error> {
        if self.ended {
            return Ok(Step::End);
        }
        if self.head_bytes < self.head.len() {
            let read = io.read(&mut self.head[self.head_bytes..]).await?;
            if read == 0 {
                return Err(Error::Cut);
            }
            self.head_bytes += read;
            if self.head == END && self.head_bytes == self.head.len() {
                self.ended = true;
                return Ok(Step::End);
            }
            self.check()?;
            return Ok(Step::Some(read));
        }
        // Room for the next step only. What is not filled yet is not part of the frame, also if this read is given up.
        let missing = self.length() - self.body_bytes;
        self.body.resize(self.body_bytes + missing.min(STEP_BYTES), 0);
        let read = io.read(&mut self.body[self.body_bytes..]).await?;
        if read == 0 {
            return Err(Error::Cut);
        }
        self.body_bytes += read;
        if read < missing {
            return Ok(Step::Some(read));
        }
        (self.head_bytes, self.body_bytes) = (0, 0);
        Ok(Step::Frame(std::mem::take(&mut self.body)))
    }

    fn length(&self) -> usize {
        usize::try_from(u32::from_be_bytes(self.head)).unwrap_or(usize::MAX)
    }

    fn check(&self) -> Result<(), Error> {
        let whole = self.head_bytes == self.head.len();
        if whole && self.length() > self.max {
            return Err(Error::TooLarge { bytes: u32::from_be_bytes(self.head).into(), max: self.max });
        }
        Ok(())
    }
}

/// Reads one frame; nothing at the end.
pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Option<Vec<u8>>, Error> {
    let mut assembly = Assembly::new(max);
    loop {
        match assembly.step(io).await? {
            Step::Some(_) => {}
            Step::Frame(frame) => return Ok(Some(frame)),
            Step::End => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
