use super::*;
use tracing::Level;

#[test]
fn what_is_asked_for_is_told() {
    let told = |text, target| {
        let targets = targets(text, LevelFilter::WARN).expect(text);
        [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]
            .into_iter()
            .rfind(|level| targets.would_enable(target, level))
    };
    assert_eq!(told("", "igor_node"), Some(Level::WARN));
    assert_eq!(told("off", "igor_node"), None);
    assert_eq!(told("INFO", "igor_node"), Some(Level::INFO));
    assert_eq!(told("igor_node=debug", "igor_node::node"), Some(Level::DEBUG));
    assert_eq!(told("igor_node=debug", "igor_store"), Some(Level::WARN), "elsewhere it stays as it is");
    assert_eq!(told("error, igor_store=trace", "igor_store"), Some(Level::TRACE));
    assert_eq!(told("error, igor_store=trace", "igor_node"), Some(Level::ERROR));
}

#[test]
fn what_asks_for_nothing_is_named() {
    for (text, part) in [
        ("debgu", "debgu"),
        ("info,igor_node=loud", "igor_node=loud"),
        ("igor_node", "igor_node"),
        ("=debug", "=debug"),
        ("igor node=debug", "igor node=debug"),
        ("info,", ""),
        ("7", "7"),
        ("igor_node=", "igor_node="),
    ] {
        assert_eq!(targets(text, LevelFilter::WARN).err(), Some(part), "{text}");
    }
}
