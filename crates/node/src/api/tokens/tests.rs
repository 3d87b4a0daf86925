use super::*;

#[test]
fn lines_are_names_and_tokens() {
    let token = "0123456789abcdef0123456789abcdef";
    let tokens = Tokens::parse(&format!("# who\n\nci   {token}\nann {token}x\n")).unwrap();
    assert_eq!(tokens.name_of(token), Some("ci"));
    assert_eq!(tokens.name_of(&format!("{token}x")), Some("ann"));
    assert_eq!(tokens.name_of(&token[1..]), None);
    assert_eq!(tokens.name_of(""), None);
}

#[test]
fn what_is_no_list_of_tokens_is_refused() {
    let token = "0123456789abcdef0123456789abcdef";
    for (text, why) in [
        (String::new(), "no token"),
        ("ci".into(), "line 1"),
        ("ci short".into(), "32 to 1024"),
        (format!("c/i {token}"), "name"),
        (format!("ci {token}\nci {token}x"), "another token named ci"),
    ] {
        let error = Tokens::parse(&text).unwrap_err();
        assert!(error.contains(why), "{text:?}: {error}");
    }
}
