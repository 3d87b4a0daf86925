//! Opening a bucket: what is missing or wrong is said before anything is sent.

use igor_bucket::{Address, Error, Options, Remote};

fn open(address: &str, options: &Options, variables: &[(&str, &str)]) -> Result<Remote, Error> {
    let address: Address = address.parse()?;
    Remote::open(&address, options, &|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

fn with(endpoint: &str) -> Options {
    Options { endpoint: Some(endpoint.to_owned()), ..Options::default() }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "a-secret")];

#[track_caller]
fn says(result: Result<Remote, Error>, words: &[&str]) {
    let said = result.err().expect("an error").to_string();
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    assert!(!said.contains("a-secret"), "{said}");
}

#[test]
fn missing_credentials_name_every_place() {
    let places = [
        "s3://agents",
        "AWS_ACCESS_KEY_ID",
        "/h/.aws/credentials [default]",
        "/h/.aws/config [default]",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ];
    says(open("s3://agents", &with("http://127.0.0.1:9000"), &[("HOME", "/h")]), &places);
    says(open("s3://agents", &Options::default(), &[("HOME", "/h"), ("AWS_EC2_METADATA_DISABLED", "true")]), &places);
    says(open("gs://agents", &with("http://127.0.0.1:9000"), &[]), &["GOOGLE_APPLICATION_CREDENTIALS", "gcloud"]);
    says(open("az://agents", &Options::default(), &[]), &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"]);
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    for endpoint in
        ["http://127.0.0.1:9000", "http://localhost:9000/", "http://[::1]:9000", "https://minio.example.org"]
    {
        open("s3://agents", &with(endpoint), &KEYS).unwrap();
    }
    says(open("s3://agents", &with("http://minio.example.org"), &KEYS), &["plain HTTP", "allow_http = true"]);
    let allowed = Options { http_allowed: true, ..with("http://minio.example.org") };
    open("s3://agents", &allowed, &KEYS).unwrap();
    // From the environment as well.
    let [id, secret] = KEYS;
    let variables = [id, secret, ("AWS_ENDPOINT_URL_S3", "http://10.0.0.1:9000")];
    says(open("s3://agents", &Options::default(), &variables), &["http://10.0.0.1:9000", "plain HTTP"]);
}

#[test]
fn a_wrong_endpoint_says_what_to_write() {
    for endpoint in ["minio.example.org", "127.0.0.1:9000", "ftp://x", "", "http://"] {
        says(open("s3://agents", &with(endpoint), &KEYS), &["https://HOST"]);
    }
    says(open("s3://agents", &with("https://id:a-key@minio.example.org"), &KEYS), &["leave out user"]);
}

#[test]
fn google_and_azure_open_with_what_their_tools_use() {
    let azure = [("AZURE_STORAGE_ACCOUNT_NAME", "account"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")];
    open("az://agents/p", &Options::default(), &azure).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        r#"{"type":"authorized_user","client_id":"id","client_secret":"a-secret","refresh_token":"token"}"#,
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    open("gs://agents/p", &Options::default(), &[("GOOGLE_APPLICATION_CREDENTIALS", path)]).unwrap();
    std::fs::write(file.path(), "nonsense").unwrap();
    says(open("gs://agents/p", &Options::default(), &[("GOOGLE_APPLICATION_CREDENTIALS", path)]), &["gs://agents/p"]);
}

#[test]
fn a_bucket_of_the_same_name_at_another_server_is_another_one() {
    let server = |address: &str, options: &Options, variables: &[(&str, &str)]| {
        open(address, options, variables).unwrap().server().to_owned()
    };
    let [id, secret] = KEYS;
    let at = |endpoint| server("s3://agents", &Options::default(), &[id, secret, ("AWS_ENDPOINT_URL", endpoint)]);
    let amazon = server("s3://agents", &Options::default(), &KEYS);
    let (one, other) = (at("https://one.example.org"), at("https://other.example.org"));
    assert!(amazon != one && one != other, "{amazon} {one} {other}");
    assert_eq!(server("s3://agents", &with("https://one.example.org"), &KEYS), one, "whoever names it");
    let account = |name| {
        server(
            "az://agents",
            &Options::default(),
            &[("AZURE_STORAGE_ACCOUNT_NAME", name), ("AZURE_STORAGE_ACCOUNT_KEY", "aWdvcg==")],
        )
    };
    assert_ne!(account("one"), account("other"));
}
