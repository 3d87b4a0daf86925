use super::*;

#[test]
fn sections_and_settings_are_read() {
    let ini = Ini::parse(
        "\u{feff}# a comment\n[default]\naws_access_key_id = AKIA/+=x\r\nREGION=eu-west-1 # near\n\n; another\n\
         [profile  work ] ; mine\nregion =\tus-east-1\ns3 =\n  max_concurrent_requests = 20\nregion = us-west-2\n",
    )
    .unwrap();
    let default = ini.section("default").unwrap();
    assert_eq!(default["aws_access_key_id"], "AKIA/+=x");
    assert_eq!(default["region"], "eu-west-1");
    let work = ini.section("profile work").unwrap();
    assert_eq!((work["region"].as_str(), work["s3"].as_str()), ("us-west-2", ""));
    assert_eq!(work.get("max_concurrent_requests"), None);
    assert_eq!(ini.section("work"), None);
    assert_eq!(Ini::parse("").unwrap(), Ini::default());
}

#[test]
fn what_is_neither_is_named_by_its_line() {
    for (text, why) in [
        ("a = b\n", "line 1: stands before the first [section]"),
        ("[default]\nnonsense\n", "line 2: is not `key = value`"),
        ("[default\n", "line 1: a section has no `]`"),
        ("[default] x\n", "line 1: something stands behind the `]`"),
        ("\n  a = b\n", "line 2: is indented, but belongs to nothing"),
    ] {
        assert_eq!(Ini::parse(text).unwrap_err(), why);
    }
}
