use super::*;
use clap::CommandFactory;

#[test]
fn the_tree_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_examples() {
    for verb in Cli::command().get_subcommands() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:"), "{} has no examples", verb.get_name());
    }
}

#[test]
fn durations() {
    for (text, nanos) in
        [("0", 0), ("10ms", 10_000_000), ("1s", 1_000_000_000), ("5m", 300_000_000_000), ("7ns", 7), ("3us", 3_000)]
    {
        assert_eq!(duration(text), Ok(Nanos(nanos)), "{text}");
    }
    for text in ["", "s", "10", "-1s", "1.5s", "1 s", "1d", "18446744073709551615s", "99999999999999999999ns"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn prices() {
    assert_eq!(price("0.001"), Ok(1_000_000));
    assert_eq!(price("0.000000001"), Ok(1));
    for (text, why) in [
        ("0", "above zero"),
        ("0.0", "above zero"),
        ("-1", "digits"),
        ("0.0000000001", "multiple of 0.000000001"),
        ("0.0010000001", "multiple of 0.000000001"),
        ("18446744073.709551616", "too large"),
        ("999999999999999999999", "too large"),
        ("cheap", "digits"),
    ] {
        assert!(price(text).is_err_and(|e| e.contains(why)), "{text}: {:?}", price(text));
    }
}

#[test]
fn amounts_to_fund() {
    assert_eq!(some_credits("1.5").map(Credits::units), Ok(1_500_000_000_000_000_000));
    for text in ["0", "0.000", "-3", "1e3", "9999999999999999999999"] {
        assert!(some_credits(text).is_err(), "{text}");
    }
}
