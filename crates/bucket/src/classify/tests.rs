use super::*;

fn answer(status: u16, code: &str) -> Seen {
    Seen::Answer { status, code: code.to_owned(), words: String::new() }
}

/// The client's own error, as it makes one of this answer of a bucket.
fn said(seen: &Seen) -> object_store::Error {
    let (path, source) = ("a".to_owned(), "what the client said".into());
    match seen {
        Seen::Answer { status: 304 | 409 | 412, .. } => object_store::Error::AlreadyExists { path, source },
        Seen::Answer { status: 404, .. } => object_store::Error::NotFound { path, source },
        _ => object_store::Error::Generic { store: "S3", source },
    }
}

fn of(kind: Kind, seen: &Seen) -> Verdict {
    classify(kind, seen, &"s3://agents/eu".parse().unwrap(), &said(seen))
}

#[test]
fn existence_is_an_answer_and_not_a_failure() {
    for status in [412, 304] {
        assert_eq!(of(Kind::Create, &answer(status, "PreconditionFailed")), Verdict::Exists);
    }
    assert_eq!(of(Kind::Create, &answer(409, "BlobAlreadyExists")), Verdict::Exists);
    for (kind, code) in [(Kind::Get, "NoSuchKey"), (Kind::Get, "BlobNotFound"), (Kind::Delete, "BlobNotFound")] {
        assert_eq!(of(kind, &answer(404, code)), Verdict::Absent);
    }
}

#[test]
fn who_gives_credentials_does_not_answer_for_the_bucket() {
    let address = "s3://agents/eu".parse().unwrap();
    let generic = said(&Seen::Nothing);
    for (kind, seen) in [(Kind::Create, answer(412, "")), (Kind::Get, answer(404, "NoSuchKey"))] {
        let verdict = classify(kind, &seen, &address, &generic);
        assert!(matches!(verdict, Verdict::Failed { .. }), "{seen:?}: {verdict:?}");
    }
}

#[test]
fn azure_answers_a_deletion_apart_from_its_batch() {
    let not_found = said(&answer(404, ""));
    let verdict = classify(Kind::Delete, &answer(202, ""), &"az://agents".parse().unwrap(), &not_found);
    assert_eq!(verdict, Verdict::Absent);
}

#[test]
fn what_may_have_happened_is_unknown() {
    for seen in [
        Seen::Sent,
        Seen::Broken { why: "reset".to_owned() },
        answer(200, ""),
        answer(307, "TemporaryRedirect"),
        answer(400, "RequestTimeout"),
        answer(400, "IncompleteBody"),
        answer(403, "rateLimitExceeded"),
        answer(404, ""),
        answer(408, ""),
        // A conflict with a delete under way: there may be no object, so it is not `Exists`.
        answer(409, "ConditionalRequestConflict"),
        answer(409, "OperationAborted"),
        answer(429, ""),
        answer(500, "InternalError"),
        answer(502, ""),
        answer(503, "SlowDown"),
        answer(504, ""),
    ] {
        let verdict = of(Kind::Create, &seen);
        assert!(matches!(verdict, Verdict::Failed { failure: Failure::Unknown { .. }, .. }), "{seen:?}: {verdict:?}");
    }
}

#[test]
fn throttling_is_told_from_breakage() {
    for (seen, expected) in [
        (answer(429, ""), true),
        (answer(503, "SlowDown"), true),
        (answer(403, "rateLimitExceeded"), true),
        (answer(500, "InternalError"), false),
        (Seen::Sent, false),
    ] {
        let Verdict::Failed { throttled, .. } = of(Kind::Get, &seen) else { panic!("{seen:?} is a failure") };
        assert_eq!(throttled, expected, "{seen:?}");
    }
}

#[test]
fn what_had_no_effect_is_refused_with_the_way_out() {
    for (seen, way_out) in [
        (Seen::Nothing, "what the client said"),
        (answer(301, "PermanentRedirect"), "set `region`"),
        (answer(400, "AuthorizationHeaderMalformed"), "set `region`"),
        (answer(400, "InvalidRequest"), "400 InvalidRequest"),
        (answer(401, ""), "s3://agents/eu"),
        (answer(403, "AccessDenied"), "may not do this in s3://agents/eu"),
        (answer(403, "InvalidAccessKeyId"), "credentials are wrong"),
        (answer(403, "SignatureDoesNotMatch"), "credentials are wrong"),
        (answer(403, "RequestTimeTooSkewed"), "clock"),
        (answer(400, "ExpiredToken"), "expired"),
        (answer(404, "NoSuchBucket"), "aws s3 mb s3://agents"),
        (answer(404, "ContainerNotFound"), "no bucket `agents`"),
        (answer(405, "MethodNotAllowed"), "405"),
        (answer(413, "EntityTooLarge"), "413"),
        (answer(501, "NotImplemented"), "known to work"),
    ] {
        let verdict = of(Kind::Create, &seen);
        let Verdict::Failed { failure: Failure::Refused { why }, throttled: false } = verdict else {
            panic!("{seen:?}: {verdict:?}")
        };
        assert!(why.contains(way_out), "{seen:?}: {why}");
    }
}

#[test]
fn a_missing_bucket_is_not_a_missing_object() {
    for kind in [Kind::Get, Kind::Delete, Kind::List] {
        let verdict = of(kind, &answer(404, "NoSuchBucket"));
        assert!(matches!(verdict, Verdict::Failed { failure: Failure::Refused { .. }, .. }), "{kind:?}: {verdict:?}");
    }
    // Nor is the page of a web server that knows of neither.
    let verdict = of(Kind::Get, &answer(404, ""));
    assert!(matches!(verdict, Verdict::Failed { failure: Failure::Unknown { .. }, .. }), "{verdict:?}");
}
