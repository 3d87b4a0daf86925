//! Pieces cover a state, and are right about what is the same.

use super::{BLOCK_BYTES, Piece, pieces};

fn state(blocks: &[u8], rest: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = blocks.iter().flat_map(|byte| vec![*byte; BLOCK_BYTES]).collect();
    bytes.extend(vec![9; rest]);
    bytes
}

fn check(earlier: &[u8], state: &[u8], from: usize) -> Vec<Piece> {
    let found: Vec<_> = pieces(earlier, state, from, 2 * BLOCK_BYTES).collect();
    let mut at = from.min(state.len());
    for piece in &found {
        assert_eq!(piece.offset, at, "{found:?}");
        let range = at..at + piece.bytes;
        assert!(!piece.same || earlier[range.clone()] == state[range], "{piece:?}");
        assert!(piece.same || piece.bytes <= 2 * BLOCK_BYTES, "{piece:?}");
        at += piece.bytes;
    }
    assert_eq!(at, state.len(), "{found:?}");
    found
}

#[test]
fn what_is_the_same_is_found_and_nothing_else() {
    let block = BLOCK_BYTES;
    let (earlier, later) = (state(&[1, 2, 3, 4], 100), state(&[1, 7, 3, 4], 100));
    assert_eq!(
        check(&earlier, &later, 0),
        [
            Piece { offset: 0, bytes: block, same: true },
            Piece { offset: block, bytes: block, same: false },
            Piece { offset: 2 * block, bytes: 2 * block + 100, same: true },
        ]
    );
    assert_eq!(check(&earlier, &earlier, 0), [Piece { offset: 0, bytes: 4 * block + 100, same: true }]);
    assert_eq!(check(&earlier, &later, 3 * block), [Piece { offset: 3 * block, bytes: block + 100, same: true }]);
    assert_eq!(check(&earlier, &later, later.len()), []);
    assert_eq!(check(&earlier, &later, later.len() + 1), []);
    // From where a transfer was cut, which need not be where a block begins.
    let found = check(&earlier, &later, 10);
    assert_eq!(found.iter().map(|piece| piece.same).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn states_of_other_lengths_share_what_they_have() {
    let (short, long) = (state(&[1, 2], 7), state(&[1, 2, 3, 3, 3], 0));
    assert_eq!(check(&short, &long, 0).iter().map(|piece| piece.same).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(check(&long, &short, 0).iter().map(|piece| piece.same).collect::<Vec<_>>(), [true, false]);
    assert_eq!(check(&[], &long, 0).len(), 3);
    assert_eq!(check(&short, &[], 0), []);
}
