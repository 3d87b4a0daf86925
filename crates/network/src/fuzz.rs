//! One property for each decoder of what comes from peers; [`igor_protocol::fuzz::run`] gives them bytes.
//!
//! Invariants kept here:
//! - A property never panics but where the decoder under test is wrong.
//! - What decodes is encoded to the same bytes again.

#![allow(clippy::missing_panics_doc)] // a property says by a panic that it does not hold

use crate::{
    Request, Response,
    frame::{self, Assembly, Step},
    message, seen,
};
use futures_util::{AsyncReadExt, FutureExt};
use igor_protocol::fuzz::Property;

/// The properties of this crate by name.
pub const PROPERTIES: [(&str, Property); 4] =
    [("request", request), ("response", response), ("seen", seen), ("frames", frames)];

/// [`Request::decode`]: one request, one byte string; what is known is not newer.
pub fn request(bytes: &[u8]) -> bool {
    let newer = message::is_newer(bytes);
    Request::decode(bytes).is_ok_and(|request| {
        assert!(!newer, "{request:?} is known and newer");
        assert_eq!(request.encode().as_deref(), Ok(bytes), "read and written again, but not the same");
        true
    })
}

/// [`Response::decode`]: one response, one byte string.
pub fn response(bytes: &[u8]) -> bool {
    Response::decode(bytes).is_ok_and(|response| {
        assert_eq!(response.encode().as_deref(), Ok(bytes), "read and written again, but not the same");
        true
    })
}

/// The list of addresses of `/igor/seen/1`: one list, one byte string.
pub fn seen(bytes: &[u8]) -> bool {
    seen::decode(bytes).is_ok_and(|addresses| {
        assert_eq!(seen::encode(&addresses), bytes, "read and written again, but not the same");
        true
    })
}

/// Frames: the same ones whatever pieces they come in, none too large, and written to the same bytes again.
pub fn frames(bytes: &[u8]) -> bool {
    const MAX: usize = 64;
    let whole = read(bytes, bytes.len());
    assert_eq!(whole, read(bytes, 3), "in pieces of 3 bytes they are others");
    whole.is_some_and(|frames| {
        let mut written = vec![];
        for content in &frames {
            written.extend(frame::header(content, MAX).expect("it was read under the same limit"));
            written.extend(content);
        }
        written.extend(frame::END);
        assert_eq!(written, bytes[..written.len()], "read and written again, but not the same");
        true
    })
}

/// The frames up to the end, if there is one.
fn read(bytes: &[u8], piece: usize) -> Option<Vec<Vec<u8>>> {
    let (mut assembly, mut frames, mut rest) = (Assembly::new(64), vec![], bytes);
    loop {
        let part = rest.len().min(piece.max(1));
        let mut io = (&rest[..part]).take(part as u64);
        // Reading from memory is always ready.
        let step = assembly.step(&mut io).now_or_never()?.ok()?;
        let left = usize::try_from(io.limit()).unwrap_or(0);
        rest = &rest[part - left..];
        match step {
            Step::Some(_) => {}
            Step::Frame(frame) => frames.push(frame),
            Step::End => return Some(frames),
        }
    }
}
