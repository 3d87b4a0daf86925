use super::*;

fn refused(code: &str, status: u16) -> Error {
    Error::Refused { status, code: code.into(), message: String::new(), retry_after: None }
}

fn not_found(code: &str) -> Error {
    Error::NotFound { code: code.into(), message: String::new() }
}

#[test]
fn an_unknown_agent_may_appear_but_not_for_ever() {
    let mut attempts = Attempts::default();
    assert!(attempts.go_on_after(&not_found("unknown_agent")));
    let long_ago = Instant::now().checked_sub(APPEARS_WITHIN).unwrap();
    attempts.unknown_since = Some(long_ago);
    assert!(!attempts.go_on_after(&not_found("unknown_agent")));
    // It was seen to be on its way since.
    attempts.unknown_since = Some(long_ago);
    assert!(attempts.go_on_after(&refused("starting", 503)));
    assert!(attempts.go_on_after(&not_found("unknown_agent")));
}

#[test]
fn what_is_refused_for_good_is_not_tried_again() {
    let mut attempts = Attempts::default();
    assert!(!attempts.go_on_after(&not_found("unknown_message")));
    assert!(!attempts.go_on_after(&refused("conflict", 409)));
}
