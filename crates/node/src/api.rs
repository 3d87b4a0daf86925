//! The HTTP API of a node.

pub mod wire;
