use super::*;

/// A home with these files of AWS's tools.
fn home(credentials: &str, config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    home
}

fn find(home: &tempfile::TempDir, variables: &[(&str, &str)]) -> Result<Aws, Error> {
    Aws::find(&|name| match variables.iter().find(|(variable, _)| *variable == name) {
        Some((_, value)) => Some((*value).to_owned()),
        None if name == "HOME" => Some(home.path().to_str().unwrap().to_owned()),
        None => None,
    })
}

fn keys(aws: &Aws) -> (&str, &str, Option<&str>) {
    match &aws.source {
        Source::Keys { id, secret, token } => (id, secret, token.as_deref()),
        _ => panic!("these are not keys"),
    }
}

const CREDENTIALS: &str = "[default]\naws_access_key_id = D\naws_secret_access_key = DS\n\
                           [work]\naws_access_key_id=W\naws_secret_access_key=WS\naws_session_token=WT\n";
const CONFIG: &str = "[default]\nregion = eu-west-1\n[profile work]\nregion = us-west-2\nendpoint_url = https://s3.work\n\
                      [profile sso]\nsso_session = corp\n[profile half]\naws_access_key_id = H\n";

#[test]
fn files_are_read_by_profile() {
    let home = home(CREDENTIALS, CONFIG);
    let aws = find(&home, &[]).unwrap();
    assert_eq!(keys(&aws), ("D", "DS", None));
    assert_eq!((aws.region.as_deref(), aws.endpoint.as_deref()), (Some("eu-west-1"), None));
    let aws = find(&home, &[("AWS_PROFILE", "work")]).unwrap();
    assert_eq!(keys(&aws), ("W", "WS", Some("WT")));
    assert_eq!((aws.region.as_deref(), aws.endpoint.as_deref()), (Some("us-west-2"), Some("https://s3.work")));
}

#[test]
fn the_environment_wins_over_files() {
    let home = home(CREDENTIALS, CONFIG);
    let variables = [
        ("AWS_ACCESS_KEY_ID", "E"),
        ("AWS_SECRET_ACCESS_KEY", "ES"),
        ("AWS_REGION", "ap-south-1"),
        ("AWS_ENDPOINT_URL", "https://all"),
        ("AWS_ENDPOINT_URL_S3", "https://s3"),
        ("AWS_PROFILE", "work"),
    ];
    let aws = find(&home, &variables).unwrap();
    // The token of a profile is not that of other keys.
    assert_eq!(keys(&aws), ("E", "ES", None));
    assert_eq!((aws.region.as_deref(), aws.endpoint.as_deref()), (Some("ap-south-1"), Some("https://s3")));
    // An empty variable is one that is not set.
    let aws = find(&home, &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]).unwrap();
    assert_eq!(keys(&aws), ("D", "DS", None));
}

#[test]
fn other_files_are_read_where_they_are_named() {
    let home = home(CREDENTIALS, CONFIG);
    let other = home.path().join("other");
    std::fs::write(&other, "[default]\naws_access_key_id = O\naws_secret_access_key = OS\n").unwrap();
    let aws = find(&home, &[("AWS_SHARED_CREDENTIALS_FILE", other.to_str().unwrap())]).unwrap();
    assert_eq!(keys(&aws), ("O", "OS", None));
}

#[test]
fn a_platform_gives_credentials_where_there_are_no_keys() {
    let home = home("", "");
    let aws = find(&home, &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), ("AWS_ROLE_ARN", "arn")]).unwrap();
    assert!(matches!(aws.source, Source::WebIdentity { session: None, .. }));
    let aws = find(&home, &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")]).unwrap();
    assert!(matches!(aws.source, Source::ContainerPath(path) if path == "/v2/x"));
    let aws = find(&home, &[("AWS_EC2_METADATA_DISABLED", "true")]).unwrap();
    assert!(matches!(aws.source, Source::Instance));
    assert!(aws.instance_disabled);
    let places = aws.looked.join(", ");
    for place in
        ["AWS_ACCESS_KEY_ID", ".aws/credentials [default]", ".aws/config [default]", "AWS_ROLE_ARN", "_FULL_URI"]
    {
        assert!(places.contains(place), "{place}: {places}");
    }
}

#[test]
fn what_is_half_there_is_an_error_that_says_so() {
    let home = home(CREDENTIALS, CONFIG);
    for (variables, why) in [
        (vec![("AWS_ACCESS_KEY_ID", "E")], "AWS_SECRET_ACCESS_KEY is not set"),
        (vec![("AWS_SECRET_ACCESS_KEY", "E")], "AWS_ACCESS_KEY_ID is not set"),
        (vec![("AWS_PROFILE", "nobody")], "has this profile"),
        (vec![("AWS_PROFILE", "sso")], "aws configure export-credentials --profile sso"),
        (vec![("AWS_PROFILE", "half")], "aws_secret_access_key is not set"),
    ] {
        let said = find(&home, &variables).err().unwrap().to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_understood_is_named() {
    let home = home("nonsense\n", "");
    let said = find(&home, &[]).err().unwrap().to_string();
    assert!(said.contains(".aws/credentials: line 1"), "{said}");
    let big = home.path().join(".aws/credentials");
    std::fs::write(&big, vec![b'#'; 300 << 10]).unwrap();
    let said = find(&home, &[]).err().unwrap().to_string();
    assert!(said.contains("longer than"), "{said}");
    std::fs::write(&big, [0xff, 0xfe]).unwrap();
    let said = find(&home, &[]).err().unwrap().to_string();
    assert!(said.contains("cannot read"), "{said}");
}
