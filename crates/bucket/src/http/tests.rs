use super::*;
use igor_protocol::fuzz::run;

#[test]
fn the_words_of_an_error_are_found() {
    let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>it is\nso</Message></Error>";
    assert_eq!(element(body, "Code").as_deref(), Some("NoSuchKey"));
    assert_eq!(element(body, "Message").as_deref(), Some("it is so"));
    assert_eq!(element(body, "Resource"), None);
    assert_eq!(element("<Code>without end", "Code"), None);
}

#[test]
fn whatever_a_server_says_its_words_are_short_and_plain() {
    const ITERATIONS: u64 = 20_000;
    let property = |bytes: &[u8]| {
        let Some(words) = element(&String::from_utf8_lossy(bytes), "Code") else { return false };
        assert!(words.chars().count() <= WORDS_MAX && !words.contains(char::is_control), "{words:?}");
        true
    };
    let samples = [format!("<Error><Code>{}</Code></Error>", "long".repeat(100)), "<Code>\u{7}ä</Code>".to_owned()];
    let taken = run(property, &samples.map(String::into_bytes), 5, ITERATIONS);
    assert!(taken > 0 && taken < ITERATIONS, "{taken} were taken: it tests nothing");
}
