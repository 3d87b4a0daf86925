//! Buckets for tests.
#![allow(dead_code)] // each test uses a part

use bytes::Bytes;
use igor_bucket::{Address, Options, Remote};
use igor_bucket_testing::{ACCESS_KEY, BUCKET, SECRET_KEY};
use igor_store::bucket::Failure;
use std::time::Duration;

/// Long enough for the slowest machine, short enough to notice what hangs.
pub(crate) const HANGS: Duration = Duration::from_mins(2);

pub(crate) fn options(endpoint: &str) -> Options {
    // A slow machine is no fault of the bucket's.
    Options { endpoint: Some(endpoint.to_owned()), request_limit: Duration::from_mins(1), ..Options::default() }
}

/// A part of the bucket that all test servers have.
pub(crate) fn open(endpoint: &str, prefix: &str) -> Remote {
    open_with(&options(endpoint), &format!("s3://{BUCKET}/{prefix}"), ACCESS_KEY, SECRET_KEY)
}

pub(crate) fn open_with(options: &Options, address: &str, access_key: &str, secret_key: &str) -> Remote {
    let address: Address = address.parse().expect("an address");
    let environment = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some(access_key.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(secret_key.to_owned()),
        _ => None,
    };
    Remote::open(&address, options, &environment).expect("credentials")
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What a refused request said.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Err(Failure::Refused { why }) => why,
        other => panic!("{other:?} is not refused"),
    }
}

/// What was seen of a request whose fate is not known.
#[track_caller]
pub(crate) fn unknown<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Err(Failure::Unknown { why }) => why,
        other => panic!("{other:?} is not unknown"),
    }
}
