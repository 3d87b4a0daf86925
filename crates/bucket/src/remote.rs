//! A bucket on the network.
//!
//! Invariants kept here:
//! - A call makes one request for what it is asked to do; a listing may take several, each of which is counted. Only what
//!   is overtaken is sent once more beside that, the same bytes, where it does no harm however late either of the two
//!   arrives: to read, to list, and to create what is small.
//! - Its future ends within its limit, whatever the server does; dropping it ends the request.
//! - A key that is not one is refused before anything is sent.

use crate::classify::{Verdict, classify};
use crate::counters::{Counters, Kind};
use crate::http::Call;
use crate::provider::{Client, open};
use crate::{Address, Environment, Error, Options, Snapshot};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::future::select;
use igor_store::bucket::{Bucket, Created, Failure, KEY_BYTES_MAX, PAGE_KEYS_MAX};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of an answer that is not an object: 1,000 keys of 1 KiB with all that is said of each, and to spare.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Parts that a server may cut one page of a listing into.
const LISTING_PARTS_MAX: usize = 100;
/// Bytes that are set aside for an object before the first of it came.
const AHEAD_BYTES_MAX: u64 = 1 << 20;
/// Ends of the names of those servers that have buckets, where the machine itself is asked for credentials.
const STORAGE: [&str; 3] = [".amazonaws.com", "storage.googleapis.com", ".core.windows.net"];
/// What has more bytes is not sent twice at once: the two would have to share the way there.
const TWICE_BYTES_MAX: u64 = 64 << 10;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A bucket, or a prefix in one, reached over the network. Clones share connections and counts.
#[derive(Clone)]
pub struct Remote {
    client: Arc<dyn Client>,
    address: Address,
    server: String,
    options: Options,
    metadata: Option<String>,
    counters: Arc<Counters>,
}

impl Remote {
    /// Finds credentials and makes the client. Nothing is sent yet: [`probe`](crate::probe()) tells whether the bucket is
    /// there and keeps what it must.
    pub fn open(address: &Address, options: &Options, environment: &Environment<'_>) -> Result<Self, Error> {
        let opened = open(address, options, environment)?;
        Ok(Self {
            client: opened.client,
            address: address.clone(),
            server: opened.server,
            options: options.clone(),
            metadata: opened.metadata,
            counters: Arc::default(),
        })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// At which server it is, by the options, the environment or the files of the provider's tools.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What was asked of it so far.
    pub fn counts(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// How long it has answered nothing that it should have, if that is so.
    pub fn silent_for(&self) -> Option<Duration> {
        self.counters.silent_for()
    }

    fn path(&self, key: &str) -> Result<Path, Verdict> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let part_fits = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(fits);
        let wrong = |why: &str| {
            let key: String = key.chars().take(80).collect();
            let failure = Failure::Refused { why: format!("`{key}` is not a key: {why}") };
            Verdict::Failed { failure, throttled: false }
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(wrong(&format!("it is longer than {KEY_BYTES_MAX} bytes")));
        }
        if !key.split('/').all(part_fits) {
            return Err(wrong(
                "it has parts of a-z 0-9 . - _ with one slash between them, none of them empty, `.` or `..`",
            ));
        }
        Path::parse(self.address.name(key)).map_err(|error| wrong(&error.to_string()))
    }

    /// Makes a request that sends or reads so many bytes, within a limit, and says what came of it.
    async fn once<T>(
        &self,
        kind: Kind,
        call: &Arc<Call>,
        (limit, bytes): (Duration, u64),
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Verdict> {
        let pending = self.counters.begin(bytes);
        let answer = tokio::time::timeout(limit, call.run(request)).await;
        let (server, seen) = call.seen();
        let verdict = match answer {
            Ok(Ok(done)) => {
                pending.answered(true);
                return Ok(done);
            }
            Ok(Err(error)) => classify(kind, &seen, &self.address, &error),
            Err(_) => too_slow(limit),
        };
        pending.answered(matches!(verdict, Verdict::Exists | Verdict::Absent));
        Err(self.with_places(&server, verdict))
    }

    /// Makes a request that sends so many bytes, and the same once more where that is overtaken: after the way was cut its
    /// connection may hang for as long again, while the bucket answers on others. The first answer counts.
    async fn ask<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        kind: Kind,
        answer_bytes_max: usize,
        bytes: u64,
        request: impl Fn() -> F,
    ) -> Result<(T, Arc<Call>), Verdict> {
        let (begun, limit) = (Instant::now(), self.options.limit(bytes));
        let attempt = |limit| {
            let (call, request) = (Call::new(answer_bytes_max), request());
            self.counters.sent(kind, bytes);
            async move { self.once(kind, &call, (limit, bytes), request).await.map(|done| (done, call)) }
        };
        let mut first = pin!(attempt(limit));
        tokio::select! {
            biased;
            done = &mut first => return done,
            () = self.counters.overtaken(begun), if bytes <= TWICE_BYTES_MAX => {}
        }
        let again = pin!(attempt(limit.saturating_sub(begun.elapsed())));
        let (done, other) = select(first, again).await.factor_first();
        match done {
            Err(Verdict::Failed { failure, throttled }) => match other.await {
                // What one of the two was refused the other may have done.
                Err(Verdict::Failed { failure: Failure::Refused { .. }, .. }) => {
                    Err(Verdict::Failed { failure, throttled })
                }
                other => other,
            },
            done => done,
        }
    }

    /// Where it was the machine that was asked, for credentials, a failure says where else they were looked for.
    fn with_places(&self, server: &str, verdict: Verdict) -> Verdict {
        let is_storage = STORAGE.iter().any(|end| server.ends_with(end));
        let Some(looked) = self.metadata.as_ref().filter(|_| !is_storage) else { return verdict };
        let add = |why: String| format!("no credentials in {looked}: {why}");
        match verdict {
            Verdict::Failed { failure: Failure::Unknown { why }, throttled } => {
                Verdict::Failed { failure: Failure::Unknown { why: add(why) }, throttled }
            }
            Verdict::Failed { failure: Failure::Refused { why }, throttled } => {
                Verdict::Failed { failure: Failure::Refused { why: add(why) }, throttled }
            }
            other => other,
        }
    }

    /// Counts a failure; what only some kinds of request can answer is not understood from the others.
    fn failed(&self, verdict: Verdict) -> Failure {
        let (failure, throttled) = match verdict {
            Verdict::Failed { failure, throttled } => (failure, throttled),
            Verdict::Exists | Verdict::Absent => {
                (Failure::Unknown { why: "an answer to what was not asked".to_owned() }, false)
            }
        };
        self.counters.failed(&failure, throttled);
        failure
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Verdict> {
        let path = self.path(key)?;
        let (length, payload) = (bytes.len() as u64, PutPayload::from_bytes(bytes));
        let put = || self.client.put_opts(&path, payload.clone(), PutOptions::from(PutMode::Create));
        self.ask(Kind::Create, ANSWER_BYTES_MAX, length, put).await.map(|_| ())
    }

    async fn write(&self, key: &str, bytes: Bytes) -> Result<(), Verdict> {
        let path = self.path(key)?;
        let length = bytes.len() as u64;
        self.counters.sent(Kind::Replace, length);
        let put = self.client.put_opts(&path, PutPayload::from_bytes(bytes), PutOptions::from(PutMode::Overwrite));
        let limit = (self.options.limit(length), length);
        self.once(Kind::Replace, &Call::new(ANSWER_BYTES_MAX), limit, put).await.map(|_| ())
    }

    async fn read(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, Verdict> {
        let path = self.path(key)?;
        // What is let in may be the answer of who gives credentials, too.
        let answer_bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).max(ANSWER_BYTES_MAX);
        let (answer, call) = match self.ask(Kind::Get, answer_bytes_max, 0, || self.client.get(&path)).await {
            Ok(answer) => answer,
            Err(Verdict::Absent) => return Ok(None),
            Err(verdict) => return Err(verdict),
        };
        let length = answer.meta.size;
        if length > bytes_max {
            let failure = Failure::TooLarge { key: key.to_owned(), bytes: length, max: bytes_max };
            return Err(Verdict::Failed { failure, throttled: false });
        }
        let body = whole(answer.into_stream(), length);
        let bytes = self.once(Kind::Get, &call, (self.options.limit(length), length), body).await?;
        self.counters.received(length);
        Ok(Some(bytes))
    }

    async fn page(&self, prefix: &str, after: &str) -> Result<Vec<String>, Verdict> {
        let all = self.address.name(prefix);
        let mut keys: Vec<String> = vec![];
        let mut offset = (after > prefix).then(|| self.address.name(after));
        let mut page_token = None;
        // Beyond all that begin with the prefix.
        if after > prefix && !after.starts_with(prefix) {
            return Ok(keys);
        }
        for _ in 0..LISTING_PARTS_MAX {
            let options = PaginatedListOptions {
                offset: offset.take(),
                max_keys: Some(PAGE_KEYS_MAX - keys.len()),
                page_token: page_token.take(),
                ..PaginatedListOptions::default()
            };
            let asked = (!all.is_empty()).then_some(all.as_str());
            let list = || self.client.list_paginated(asked, options.clone());
            let (part, _) = self.ask(Kind::List, ANSWER_BYTES_MAX, 0, list).await?;
            let names: Vec<&str> = part.result.objects.iter().map(|object| object.location.as_ref()).collect();
            for key in names.into_iter().filter_map(|name| self.address.key(name)) {
                if keys.last().is_some_and(|last| key <= last.as_str()) {
                    let why =
                        "it lists keys out of order; a bucket must list them in the order of their bytes".to_owned();
                    return Err(Verdict::Failed { failure: Failure::Refused { why }, throttled: false });
                }
                if key.starts_with(prefix) && key > after {
                    keys.push(key.to_owned());
                }
            }
            if keys.len() >= PAGE_KEYS_MAX || part.page_token.is_none() {
                keys.truncate(PAGE_KEYS_MAX);
                return Ok(keys);
            }
            page_token = part.page_token;
        }
        let why = format!("a listing that goes on after {LISTING_PARTS_MAX} parts");
        Err(Verdict::Failed { failure: Failure::Unknown { why }, throttled: false })
    }

    async fn remove(&self, key: &str) -> Result<(), Verdict> {
        let path = self.path(key)?;
        self.counters.sent(Kind::Delete, 0);
        let call = Call::new(ANSWER_BYTES_MAX);
        match self.once(Kind::Delete, &call, (self.options.request_limit, 0), self.client.delete(&path)).await {
            Ok(()) | Err(Verdict::Absent) => Ok(()),
            Err(verdict) => Err(verdict),
        }
    }
}

impl Bucket for Remote {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Failure> {
        match self.put(key, bytes).await {
            Ok(()) => Ok(Created::New),
            Err(Verdict::Exists) => {
                self.counters.existed();
                Ok(Created::Exists)
            }
            Err(verdict) => Err(self.failed(verdict)),
        }
    }

    async fn replace(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        self.write(key, bytes).await.map_err(|verdict| self.failed(verdict))
    }

    async fn get(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, Failure> {
        self.read(key, bytes_max).await.map_err(|verdict| self.failed(verdict))
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Failure> {
        self.page(prefix, after).await.map_err(|verdict| self.failed(verdict))
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.remove(key).await.map_err(|verdict| self.failed(verdict))
    }

    async fn pause(&self, attempt: u32) {
        tokio::time::sleep(pause(attempt, getrandom::u32().unwrap_or(u32::MAX))).await;
    }
}

/// Between half of the step and all of it, by chance; each step is twice the one before.
fn pause(attempt: u32, chance: u32) -> Duration {
    let step = PAUSE_MIN.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX);
    step / 2 + (step / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

fn too_slow(limit: Duration) -> Verdict {
    let failure = Failure::Unknown { why: format!("no answer within {} s", limit.as_secs_f32()) };
    Verdict::Failed { failure, throttled: false }
}

/// Collects the body of an object of this length, and no more.
async fn whole(
    mut body: impl futures_util::Stream<Item = object_store::Result<Bytes>> + Unpin,
    length: u64,
) -> object_store::Result<Bytes> {
    let wrong = |why: &str| object_store::Error::Generic { store: "bucket", source: why.to_owned().into() };
    let mut bytes = BytesMut::with_capacity(usize::try_from(length.min(AHEAD_BYTES_MAX)).unwrap_or_default());
    while let Some(part) = body.try_next().await? {
        if (bytes.len() + part.len()) as u64 > length {
            return Err(wrong("the object is longer than was said"));
        }
        bytes.extend_from_slice(&part);
    }
    if bytes.len() as u64 == length { Ok(bytes.freeze()) } else { Err(wrong("the object is shorter than was said")) }
}
