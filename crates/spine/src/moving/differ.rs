//! What a state has in common with an earlier one, block by block.
//!
//! Invariants kept here:
//! - The pieces cover the state from where it is asked for to its end, in order, without gaps.
//! - A block is the same only if all its bytes are.
//!
//! Blocks are compared at the same place only. A state that grows at its front shares nothing from there on; that costs
//! bytes that go ahead, and no pause.

/// The unit of comparison.
const BLOCK_BYTES: usize = 4 << 10;

/// A piece of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins.
    pub(super) offset: usize,
    /// Its length.
    pub(super) bytes: usize,
    /// Whether the earlier state has the same bytes there.
    pub(super) same: bool,
}

/// The pieces of `state` from `from` on, against an earlier state. Those that differ are at most `piece_bytes` long.
pub(super) fn pieces<'a>(
    earlier: &'a [u8],
    state: &'a [u8],
    from: usize,
    piece_bytes: usize,
) -> impl Iterator<Item = Piece> + 'a {
    let mut at = from.min(state.len());
    std::iter::from_fn(move || {
        let begun = at;
        let mut kind = None;
        while at < state.len() {
            let end = (at + BLOCK_BYTES).min(state.len());
            let same = earlier.get(at..end) == Some(&state[at..end]);
            let fits = same || end - begun <= piece_bytes;
            if !fits || kind.is_some_and(|kind| kind != same) {
                break;
            }
            (kind, at) = (Some(same), end);
        }
        kind.map(|same| Piece { offset: begun, bytes: at - begun, same })
    })
}

#[cfg(test)]
mod tests;
