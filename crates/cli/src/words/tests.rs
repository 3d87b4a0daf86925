use super::*;

#[test]
fn durations_in_words() {
    for (nanos, words) in [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (51_200, "51 us"),
        (1_250_000, "1.2 ms"),
        (1_000_000_000, "1 s"),
        (9_900_000_000, "9.9 s"),
        (61_000_000_000, "1 min 1 s"),
        (3_600_000_000_000, "1 h"),
        (12_000_000_000_000, "3 h 20 min"),
        (200_000_000_000_000, "2 d 7 h"),
    ] {
        assert_eq!(duration(Nanos(nanos)), words);
    }
}

#[test]
fn money_in_words() {
    for (amount, words) in [
        ("0", "nothing"),
        ("10", "10 credits"),
        ("1", "1 credit"),
        ("9.9999965", "9.999996 credits"),
        ("0.0125", "0.0125 credits"),
        ("12345.678", "12345 credits"),
        ("99.5", "99.5 credits"),
        ("0.000051", "51 microcredits"),
        ("0.0000000512", "51.2 nanocredits"),
        ("0.000000005123", "5.12 nanocredits"),
        ("0.000000000000000007", "7 units"),
        ("0.000000000000000001", "1 unit"),
    ] {
        assert_eq!(money(amount.parse().unwrap()), words, "{amount}");
    }
}

#[test]
fn moments_are_rfc_3339() {
    assert_eq!(time(Timestamp(1_700_000_000_123_456_789)), "2023-11-14T22:13:20.123456789Z");
}

#[test]
fn text_from_outside_cannot_move_the_cursor() {
    assert_eq!(safe("a\x1b[2Jb\nc", 80), "a\u{fffd}[2Jb\u{fffd}c");
    assert_eq!(safe("abcdef", 3), "abc...");
    assert_eq!(safe("price\t12\r\u{9b}2J", 80), "price\t12\u{fffd}\u{fffd}2J");
}

#[test]
fn counts_and_sizes() {
    assert_eq!(
        (count(1, "tick"), count(2, "entry"), count(0, "kill")),
        ("1 tick".into(), "2 entries".into(), "0 kills".into())
    );
    assert_eq!((bytes(812), bytes(49_415)), ("812 bytes".into(), "48 KiB".into()));
}
