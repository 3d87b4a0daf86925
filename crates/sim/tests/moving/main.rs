//! What a move sends: little in the pause, nothing twice, nothing that the target has; and what is never kept.

#[path = "../harness/mod.rs"]
mod harness;
mod pair;

use igor_protocol::{
    Hash, Manifest,
    archive::Part,
    custody::Status,
    transfer::{Frame, Reason},
};
use igor_spine::{
    custody::{Failed, Taken},
    moving::Cut,
};
use pair::{Pair, STATE_BYTES, Side, WASM_BYTES};

fn status(pair: &Pair, side: &Side) -> Status {
    side.steward.status(pair.agent).expect("it reads")
}

fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).expect("few")
}

#[test]
fn the_state_goes_ahead_and_comes_back_as_what_changed() {
    let pair = Pair::new();
    pair.lives(&pair.a, 6);
    let (moved, taken) = pair.moves(&pair.a, &pair.b, None);
    let moved = moved.expect("a move");
    assert!(matches!(taken, Ok(Taken::Accepted(_))), "{taken:?}");
    assert!(bytes(moved.bytes) > WASM_BYTES + STATE_BYTES, "all of it goes over the first time: {moved:?}");
    assert!(moved.last_bytes < 4_000, "no state goes over in the pause: {moved:?}");
    assert_eq!(pair.journal(&pair.a), pair.journal(&pair.b));
    assert_eq!(status(&pair, &pair.b), Status::Custodian);
    pair.lives(&pair.b, 6);
    let (moved, taken) = pair.moves(&pair.b, &pair.a, None);
    let moved = moved.expect("a move");
    assert!(matches!(taken, Ok(Taken::Accepted(_))), "{taken:?}");
    assert!(bytes(moved.bytes) < STATE_BYTES / 4, "what it has is not sent again: {moved:?}");
    assert_eq!(pair.journal(&pair.a), pair.journal(&pair.b));
    pair.restores(&pair.a);
}

#[test]
fn cut_anywhere_a_move_goes_on_where_it_was() {
    let whole = Pair::new();
    whole.lives(&whole.a, 6);
    whole.moves(&whole.a, &whole.b, None).0.expect("a move");
    let frames = whole.frames();
    assert!(frames > 20, "too few frames to mean anything: {frames}");
    for cut in 0..frames {
        let pair = Pair::new();
        pair.lives(&pair.a, 6);
        let (moved, _) = pair.moves(&pair.a, &pair.b, Some(cut));
        let first = pair.blob_bytes();
        if !pair.b.commits(pair.agent).is_empty() {
            // Whatever a cut leaves can be gone on from, where an owner orders that.
            pair.restores(&pair.twin(&pair.b));
        }
        match (moved, status(&pair, &pair.a)) {
            (Err(Failed::Before(_)), Status::Custodian) => {
                let (moved, taken) = pair.moves(&pair.a, &pair.b, None);
                moved.unwrap_or_else(|why| panic!("cut after frame {cut}: {why}"));
                assert!(matches!(taken, Ok(Taken::Accepted(_))), "cut after frame {cut}: {taken:?}");
            }
            (Err(Failed::Unanswered(_)), Status::Given(_)) => {
                pair.pursues(&pair.a, &pair.b).unwrap_or_else(|why| panic!("cut after frame {cut}: {why}"));
            }
            (moved, status) => panic!("cut after frame {cut}: {moved:?}, {status:?}"),
        }
        let ended = (status(&pair, &pair.a), status(&pair, &pair.b));
        assert_eq!(ended, (Status::Elsewhere, Status::Custodian), "cut after frame {cut}");
        assert_eq!(pair.journal(&pair.a), pair.journal(&pair.b), "cut after frame {cut}");
        pair.restores(&pair.b);
        // Nothing that was kept is sent again: bodies aside, which are small here, and at most one state that was there
        // before the checkpoint that names it.
        let (sent, most) = (first + pair.blob_bytes(), WASM_BYTES + 2 * STATE_BYTES + 8_000);
        assert!(sent <= most, "cut after frame {cut}: {sent} bytes of blobs were sent");
    }
}

/// Two nodes, the first of which gave its agent to the other and never heard the answer.
fn unanswered() -> Pair {
    let whole = Pair::new();
    whole.lives(&whole.a, 2);
    whole.moves(&whole.a, &whole.b, None).0.expect("a move");
    let pair = Pair::new();
    pair.lives(&pair.a, 2);
    let (moved, taken) = pair.moves(&pair.a, &pair.b, Some(whole.frames() - 1));
    assert!(matches!(moved, Err(Failed::Unanswered(_))), "{moved:?}");
    assert!(matches!(taken, Ok(Taken::Accepted(_))), "{taken:?}");
    pair
}

#[test]
fn who_missed_the_answer_hears_it_also_when_the_agent_has_gone_on() {
    let pair = unanswered();
    let c = pair.third();
    pair.lives(&pair.b, 1);
    pair.moves(&pair.b, &c, None).0.expect("a move");
    pair.lives(&c, 1);
    assert!(matches!(status(&pair, &pair.a), Status::Given(_)));
    pair.pursues(&pair.a, &pair.b).expect("the answer of then");
    assert_eq!(status(&pair, &pair.a), Status::Elsewhere);
    pair.moves(&c, &pair.a, None).0.expect("it may come back");
    assert_eq!(pair.journal(&pair.a), pair.journal(&c));
}

#[test]
fn who_answers_nothing_holds_nobody_with_words() {
    let pair = unanswered();
    let ended = pair.pursues_in_vain(&pair.a);
    assert!(matches!(ended, Err(Failed::Unanswered(Cut::Unexpected { .. }))), "{ended:?}");
    pair.pursues(&pair.a, &pair.b).expect("who has an answer gives it");
    assert_eq!(status(&pair, &pair.a), Status::Elsewhere);
}

#[test]
fn what_nobody_signed_is_not_kept() {
    let pair = Pair::new();
    pair.lives(&pair.a, 6);
    let unsealed = pair.unsealed();
    let frames = vec![pair.offer(), pair.program(), Frame::Commit(unsealed.clone()), Frame::Reached(unsealed.next())];
    let (taken, answers) = pair.says(frames);
    assert!(taken.is_err(), "{taken:?}");
    assert!(answers.contains(&Frame::Have(unsealed.next())), "it is verified: {answers:?}");
    assert_eq!(pair.b.commits(pair.agent), [], "and not kept");
}

#[test]
fn a_body_that_the_manifest_does_not_allow_costs_no_memory() {
    let pair = Pair::new();
    let most = Manifest::default().limits.state_bytes;
    for (total, is_taken) in [(most, true), (most + 1, false)] {
        let body = Part { hash: Hash([7; 32]), total, offset: 0, bytes: vec![0; 4096] };
        let (taken, answers) = pair.says(vec![pair.offer(), pair.program(), Frame::Part(body)]);
        match taken {
            Err(_) => assert!(is_taken, "its rest is waited for: {answers:?}"),
            Ok(taken) => {
                assert!(matches!(&taken, Taken::Refused(_, refusal) if refusal.reason == Reason::History), "{taken:?}");
                assert!(!is_taken);
            }
        }
    }
}

#[test]
fn a_copy_that_another_history_contradicts_gives_way_and_is_kept_as_evidence() {
    let pair = Pair::new();
    pair.lives(&pair.a, 2);
    let liar = pair.twin(&pair.a);
    pair.lives(&liar, 1);
    pair.lives(&pair.a, 6);
    pair.copies(&liar, &pair.b);
    let poisoned = pair.journal(&pair.b);
    assert_eq!(pair.journal(&liar), poisoned, "a copy of the lie");
    assert!(!pair.journal(&pair.a).starts_with(&poisoned));

    let (moved, taken) = pair.moves(&pair.a, &pair.b, None);
    moved.expect("the true one is not kept out");
    assert!(matches!(taken, Ok(Taken::Accepted(_))), "{taken:?}");
    assert_eq!(pair.journal(&pair.a), pair.journal(&pair.b));
    assert_eq!(pair.b.aside(), [poisoned], "what its custodian signed beside it is kept");
    pair.restores(&pair.b);
}

#[test]
fn a_longer_history_does_not_give_way() {
    let pair = Pair::new();
    pair.lives(&pair.a, 2);
    let rolled_back = pair.twin(&pair.a);
    pair.lives(&pair.a, 9);
    pair.lives(&rolled_back, 1);
    pair.copies(&pair.a, &pair.b);
    let before = pair.journal(&pair.b);
    let (moved, _) = pair.moves(&rolled_back, &pair.b, None);
    assert!(matches!(&moved, Err(Failed::Refused(refusal)) if refusal.reason == Reason::History), "{moved:?}");
    assert_eq!((pair.journal(&pair.b), pair.b.aside()), (before, vec![]));
}

#[test]
fn a_node_that_had_custody_keeps_its_history() {
    let pair = Pair::new();
    pair.lives(&pair.a, 2);
    pair.moves(&pair.a, &pair.b, None).0.expect("a move");
    let twin = pair.twin(&pair.b);
    pair.lives(&pair.b, 1);
    pair.lives(&twin, 9);
    pair.copies(&pair.b, &pair.a);
    let before = pair.journal(&pair.a);
    // B signed two: A, which had custody, is no cache of either.
    let (moved, _) = pair.moves(&twin, &pair.a, None);
    assert!(matches!(&moved, Err(Failed::Refused(refusal)) if refusal.reason == Reason::History), "{moved:?}");
    assert_eq!((pair.journal(&pair.a), pair.a.aside()), (before, vec![]));
}
