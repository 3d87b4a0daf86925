//! How a state is written down: one byte with its version, then postcard.
//!
//! postcard has one encoding for each value and no room for whim, which is what a checkpoint root needs. (A state
//! with a `HashMap` still has an order that depends on its history; `BTreeMap` has none such.)

use std::fmt;

use crate::agent::Agent;

/// Why a state could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// There is not even a version byte.
    Empty,
    /// A version that [`Agent::upgrade`] does not read.
    Version {
        /// The version of the state.
        found: u8,
        /// The version of the program.
        expected: u8,
    },
    /// The version is right and the bytes are not.
    Malformed,
    /// Bytes are left after the state.
    TrailingBytes(usize),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Empty => write!(f, "the state is empty"),
            StateError::Version { found, expected } => {
                write!(f, "the state has a version that this program does not read: found={found} expected={expected}")
            }
            StateError::Malformed => write!(f, "the state does not decode as this agent's type"),
            StateError::TrailingBytes(count) => write!(f, "bytes are left after the state: count={count}"),
        }
    }
}

impl std::error::Error for StateError {}

/// The bytes of a state, as they go into a checkpoint.
///
/// # Panics
/// When the type's own `Serialize` fails, or needs lengths that are not known in advance. In a guest that is a trap
/// with this cause in the log, and the checkpoint is refused.
pub fn encode_state<A: Agent>(state: &A) -> Vec<u8> {
    match postcard::to_extend(state, vec![A::STATE_VERSION]) {
        Ok(bytes) => bytes,
        Err(error) => panic!("the agent's state cannot be written: {error}"),
    }
}

/// Reads back what [`encode_state`] wrote, all of it or nothing.
pub fn decode_state<A: Agent>(bytes: &[u8]) -> Result<A, StateError> {
    let (&version, body) = bytes.split_first().ok_or(StateError::Empty)?;
    if version != A::STATE_VERSION {
        return A::upgrade(version, body).ok_or(StateError::Version { found: version, expected: A::STATE_VERSION });
    }
    match postcard::take_from_bytes(body) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(StateError::TrailingBytes(rest.len())),
        Err(_) => Err(StateError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{Context, Next};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Notes {
        lines: Vec<String>,
        count: u64,
    }

    impl Agent for Notes {
        const STATE_VERSION: u8 = 2;

        fn init(_: &mut impl Context) -> Self {
            Notes { lines: Vec::new(), count: 0 }
        }

        fn tick(&mut self, _: &mut impl Context) -> Next {
            Next::Wait
        }

        fn upgrade(version: u8, state: &[u8]) -> Option<Self> {
            // Version 1 was the count alone.
            let count = postcard::from_bytes(state).ok()?;
            (version == 1).then_some(Notes { lines: Vec::new(), count })
        }
    }

    fn notes() -> Notes {
        Notes { lines: vec!["one".into(), "two".into()], count: 300 }
    }

    #[test]
    fn a_state_comes_back() {
        let bytes = encode_state(&notes());
        assert_eq!(bytes, b"\x02\x02\x03one\x03two\xac\x02");
        assert_eq!(decode_state::<Notes>(&bytes), Ok(notes()));
    }

    #[test]
    fn an_older_state_is_upgraded() {
        assert_eq!(decode_state::<Notes>(&[1, 7]), Ok(Notes { lines: Vec::new(), count: 7 }));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let bytes = encode_state(&notes());
        assert_eq!(decode_state::<Notes>(&[]), Err(StateError::Empty));
        assert_eq!(decode_state::<Notes>(&[9, 0]), Err(StateError::Version { found: 9, expected: 2 }));
        for cut in 1..bytes.len() {
            assert_eq!(decode_state::<Notes>(&bytes[..cut]), Err(StateError::Malformed), "cut at {cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode_state::<Notes>(&longer), Err(StateError::TrailingBytes(1)));
    }
}
