//! The address of a bucket: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
//!
//! It is checked once, here: whoever has an [`Address`] has one whose keys can be written as they are.

#[cfg(test)]
mod tests;

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// Longest prefix, in bytes: with a key of the store's it stays below the 1,024 of S3.
const PREFIX_BYTES_MAX: usize = 256;

const FORMS: &str = "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";

/// Whose protocol a bucket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, and the many that speak its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket, and the prefix in it that is all of this store's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    provider: Provider,
    bucket: String,
    prefix: String,
}

impl Address {
    /// Whose protocol.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The bucket, or container.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all keys begin with, without a slash at its end; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name in the bucket of what the store calls `key`.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// What the store calls the object of this name in the bucket, if it is the store's.
    pub(crate) fn key<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.prefix.is_empty() { Some(name) } else { name.strip_prefix(&self.prefix)?.strip_prefix('/') }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.provider.scheme(), self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Address { given: given.chars().take(200).collect(), why };
        let (scheme, rest) = given.split_once("://").ok_or_else(|| wrong(FORMS.to_owned()))?;
        let provider = match scheme {
            "s3" => Provider::S3,
            "gs" => Provider::Google,
            "az" => Provider::Azure,
            "s3a" | "s3n" => return Err(wrong(format!("write s3://{rest}"))),
            "gcs" => return Err(wrong(format!("write gs://{rest}"))),
            "azure" | "abfs" | "abfss" | "wasb" | "wasbs" | "adl" => {
                return Err(wrong(
                    "write az://CONTAINER/PREFIX, and the account in AZURE_STORAGE_ACCOUNT_NAME".to_owned(),
                ));
            }
            "http" | "https" => {
                return Err(wrong(format!("{FORMS}; the server's own address goes into `endpoint`")));
            }
            "file" => return Err(wrong(format!("{FORMS}; without a bucket, agents are durable on this disk"))),
            _ => return Err(wrong(FORMS.to_owned())),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').filter(|prefix| !prefix.is_empty()).unwrap_or(prefix);
        check_bucket(bucket).map_err(|why| wrong(why.to_owned()))?;
        check_prefix(prefix).map_err(|why| wrong(why.to_owned()))?;
        Ok(Self { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    if bucket.is_empty() {
        return Err("it has no bucket; write SCHEME://BUCKET/PREFIX");
    }
    if bucket.contains(['@', '?', '#', ':']) {
        return Err(
            "leave out user, port and query: the server goes into `endpoint`, credentials into the environment",
        );
    }
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(inner) {
        return Err("the name of a bucket has 3 to 63 of a-z 0-9 . - _");
    }
    let ends = [bucket.as_bytes()[0], bucket.as_bytes()[bucket.len() - 1]];
    if !ends.iter().all(u8::is_ascii_alphanumeric) {
        return Err("the name of a bucket begins and ends with a letter or a digit");
    }
    if bucket.ends_with("--x-s3") {
        return Err("directory buckets do not list in order; take a general purpose bucket");
    }
    Ok(())
}

fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    let byte_fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if prefix.is_empty() {
        return Ok(());
    }
    if prefix.len() > PREFIX_BYTES_MAX {
        return Err("its prefix is longer than 256 bytes");
    }
    let part_fits = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(byte_fits);
    if prefix.split('/').all(part_fits) {
        Ok(())
    } else {
        Err("its prefix has parts of A-Z a-z 0-9 . - _ with one slash between them, none of them empty, `.` or `..`")
    }
}
