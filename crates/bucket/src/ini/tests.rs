use super::*;
use igor_protocol::fuzz::run;

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

#[test]
fn whatever_a_file_has_is_settings_or_an_error() {
    const ITERATIONS: u64 = 20_000;
    let property = |bytes: &[u8]| {
        let Ok(ini) = Ini::parse(&String::from_utf8_lossy(bytes)) else { return false };
        let settings = ini.0.values().flatten();
        assert!(settings.clone().all(|(key, value)| !key.contains(['=', '\n']) && value.trim() == value));
        true
    };
    let samples = ["[default]\na = b # c\n", "; c\n[profile x]\ns3 =\n  y = z\n[x]\na=b=c\n"];
    let taken = run(property, &samples.map(|sample| sample.as_bytes().to_vec()), 5, ITERATIONS);
    assert!(taken > 0 && taken < ITERATIONS, "{taken} were taken: it tests nothing");
}
