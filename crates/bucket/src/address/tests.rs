use super::*;
use igor_protocol::fuzz::run;

#[test]
fn addresses_are_read_and_written_alike() {
    for (given, provider, bucket, prefix) in [
        ("s3://agents", Provider::S3, "agents", ""),
        ("s3://agents/eu/prod", Provider::S3, "agents", "eu/prod"),
        ("gs://my.bucket_1/Igor", Provider::Google, "my.bucket_1", "Igor"),
        ("az://container/p", Provider::Azure, "container", "p"),
    ] {
        let address: Address = given.parse().unwrap();
        assert_eq!((address.provider(), address.bucket(), address.prefix()), (provider, bucket, prefix));
        assert_eq!(address.to_string(), given);
    }
    assert_eq!("s3://agents/".parse::<Address>().unwrap().to_string(), "s3://agents");
    assert_eq!("s3://agents/eu/".parse::<Address>().unwrap().to_string(), "s3://agents/eu");
}

#[test]
fn a_wrong_address_says_what_to_write() {
    for (given, way_out) in [
        ("agents", "write s3://BUCKET/PREFIX"),
        ("https://s3.amazonaws.com/agents", "`endpoint`"),
        ("s3a://agents/x", "write s3://agents/x"),
        ("gcs://agents", "write gs://agents"),
        ("abfss://container@account.dfs.core.windows.net", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("file:///var/lib/igor", "this disk"),
        ("s3://", "has no bucket"),
        ("s3:///prefix", "has no bucket"),
        ("s3://key:secret@agents", "leave out user"),
        ("s3://localhost:9000/agents", "`endpoint`"),
        ("s3://Agents", "3 to 63"),
        ("s3://ag", "3 to 63"),
        ("s3://-agents", "begins and ends"),
        ("s3://agents--use1-az4--x-s3", "general purpose"),
        ("s3://agents/a//b", "none of them empty"),
        ("s3://agents//", "none of them empty"),
        ("s3://agents/../b", "none of them empty"),
        ("s3://agents/a b", "none of them empty"),
    ] {
        let said = given.parse::<Address>().unwrap_err().to_string();
        assert!(said.contains(way_out), "{given}: {said}");
    }
    let long = format!("s3://agents/{}", "a".repeat(257));
    assert!(long.parse::<Address>().unwrap_err().to_string().contains("longer than 256"));
}

#[test]
fn names_in_the_bucket_are_keys_under_the_prefix() {
    let address: Address = "s3://agents/eu".parse().unwrap();
    assert_eq!(address.name("a/b"), "eu/a/b");
    assert_eq!(address.key("eu/a/b"), Some("a/b"));
    assert_eq!(address.key("europe/a"), None);
    let whole: Address = "s3://agents".parse().unwrap();
    assert_eq!((whole.name("a/b").as_str(), whole.key("a/b")), ("a/b", Some("a/b")));
}

#[test]
fn what_is_an_address_is_written_as_it_was_read() {
    const ITERATIONS: u64 = 20_000;
    let property = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Ok(address) = text.parse::<Address>() else { return false };
        assert_eq!(address.to_string(), text.strip_suffix('/').unwrap_or(text));
        true
    };
    let samples = ["s3://agents/eu/prod", "gs://my.bucket_1", "az://container/p"];
    let taken = run(property, &samples.map(|sample| sample.as_bytes().to_vec()), 5, ITERATIONS);
    assert!(taken > 0 && taken < ITERATIONS, "{taken} were taken: it tests nothing");
}
