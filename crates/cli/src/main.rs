//! The binary `igor`.
fn main() {}
