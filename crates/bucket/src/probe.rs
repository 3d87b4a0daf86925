//! Asks a bucket, before it is used for the first time, whether it keeps what the shared store rests on.
//!
//! ```text
//! sequence ─► create · again · bytes unchanged · absent · replace · list · delete · create after it ─► race ─► clean up
//! ```
//!
//! Invariants kept here:
//! - A bucket passes only if every check was seen to hold; one whose requests fail is not judged.
//! - What is written is under `probe/<random>/`, and deleted afterwards, also where a check failed. What a kill leaves
//!   there is a few small objects that nobody reads.
//! - A race that was seen once is proof; a race that was not seen is none. So this finds servers that ignore conditions or
//!   check before they act, not one that errs once in a million.

mod race;
mod sequence;

use bytes::Bytes;
use igor_store::bucket::{Bucket, Created, Failure};

/// How often an unanswered request is sent again before the bucket counts as out of reach.
const ATTEMPTS_MAX: u32 = 8;
/// Objects of the probe are shorter than this.
const OBJECT_BYTES_MAX: u64 = 1024;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Creators of one object at once. More find more, and take longer.
    pub racers: usize,
    /// How often they race, each time for another object.
    pub rounds: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { racers: 8, rounds: 10 }
    }
}

/// What was seen of a bucket that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was checked in sequence, in order.
    pub checks: Vec<Check>,
    /// Rounds in which one of all racers created the object, and its bytes were there.
    pub rounds: usize,
    /// Rounds that were not judged, because a racer got no answer.
    pub rounds_unclear: usize,
    /// How often a listing had to be asked for until it showed what was created: 1 is at once.
    pub listings: u32,
    /// Objects that could not be deleted again.
    pub left: Vec<String>,
}

/// One thing that a bucket must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// An object that is not there can be created.
    Create,
    /// It cannot be created again.
    CreateAgain,
    /// The refused creation changed nothing.
    Unchanged,
    /// What is not there is said to be not there.
    Absent,
    /// An object can be replaced, and the new bytes are read.
    Replace,
    /// A listing shows what there is, in order, and from an offset on.
    List,
    /// What was deleted is not there.
    Delete,
    /// What is not there can be deleted.
    DeleteAbsent,
    /// What was deleted can be created again.
    CreateAfterDelete,
    /// Of many creators at once one wins, and the bytes are the winner's.
    Race,
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Create => "create an object",
            Self::CreateAgain => "create it again",
            Self::Unchanged => "read it after the second creation",
            Self::Absent => "read what is not there",
            Self::Replace => "replace it",
            Self::List => "list",
            Self::Delete => "read it after it was deleted",
            Self::DeleteAbsent => "delete what is not there",
            Self::CreateAfterDelete => "create it after it was deleted",
            Self::Race => "race",
        })
    }
}

/// Why a bucket is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not keep what two nodes with one agent rest on.
    #[error(
        "this bucket cannot keep agents safe. Check `{check}`: {expected} was expected, {saw} was seen. Use a server \
         whose conditional writes hold: Amazon S3, Google Cloud Storage, Azure Blob Storage, MinIO, Ceph and SeaweedFS \
         do; Garage 2.5 and s3s-fs do not"
    )]
    Broken {
        /// Which check failed.
        check: Check,
        /// What must be seen.
        expected: String,
        /// What was.
        saw: String,
    },
    /// It could not be judged.
    #[error("could not probe the bucket. Check `{check}`: {failure}")]
    Failed {
        /// Which check could not be made.
        check: Check,
        /// Why.
        failure: Failure,
    },
}

/// Checks a bucket in sequence and under a race.
pub async fn probe(bucket: &impl Bucket, plan: Plan) -> Result<Report, Refusal> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Refusal::Failed {
        check: Check::Create,
        failure: Failure::Unknown { why: format!("no random name to be had: {error}") },
    })?;
    let mut run = Run { bucket, root: format!("probe/{}/", hex::encode(random)), keys: vec![] };
    let seen = run.all(plan).await;
    let left = run.clean_up().await;
    seen.map(|report| Report { left, ..report })
}

/// A probe under way.
struct Run<'b, B> {
    bucket: &'b B,
    root: String,
    /// What may have been created.
    keys: Vec<String>,
}

impl<B: Bucket> Run<'_, B> {
    async fn all(&mut self, plan: Plan) -> Result<Report, Refusal> {
        let (checks, listings) = self.sequence().await?;
        let (rounds, rounds_unclear) = self.race(plan).await?;
        Ok(Report { checks, rounds, rounds_unclear, listings, left: vec![] })
    }

    fn key(&mut self, name: &str) -> String {
        let key = format!("{}{name}", self.root);
        if !self.keys.contains(&key) {
            self.keys.push(key.clone());
        }
        key
    }

    /// Creates as the store does: sends the same bytes until their fate is known, and knows its own by comparing.
    async fn create(&self, check: Check, key: &str, bytes: &'static str) -> Result<Created, Refusal> {
        let mut sent_before = false;
        for attempt in 0.. {
            match self.bucket.create(key, Bytes::from_static(bytes.as_bytes())).await {
                Ok(Created::Exists) if sent_before => match self.read(check, key).await? {
                    Some(there) if there == bytes => return Ok(Created::New),
                    Some(_) => return Ok(Created::Exists),
                    None => {}
                },
                Ok(created) => return Ok(created),
                Err(failure) => self.wait(check, attempt, failure).await?,
            }
            sent_before = true;
            if attempt >= ATTEMPTS_MAX {
                break;
            }
        }
        let saw = "that it is there by one request and is not by the other".to_owned();
        Err(Refusal::Broken { check, expected: "one answer".to_owned(), saw })
    }

    async fn read(&self, check: Check, key: &str) -> Result<Option<Bytes>, Refusal> {
        let mut attempt = 0;
        loop {
            match self.bucket.get(key, OBJECT_BYTES_MAX).await {
                Ok(object) => return Ok(object),
                Err(failure) => self.wait(check, attempt, failure).await?,
            }
            attempt += 1;
        }
    }

    async fn replace(&self, check: Check, key: &str, bytes: &'static str) -> Result<(), Refusal> {
        let mut attempt = 0;
        while let Err(failure) = self.bucket.replace(key, Bytes::from_static(bytes.as_bytes())).await {
            self.wait(check, attempt, failure).await?;
            attempt += 1;
        }
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Refusal> {
        let mut attempt = 0;
        loop {
            match self.bucket.list(prefix, after).await {
                Ok(keys) => return Ok(keys),
                Err(failure) => self.wait(Check::List, attempt, failure).await?,
            }
            attempt += 1;
        }
    }

    async fn delete(&self, check: Check, key: &str) -> Result<(), Refusal> {
        let mut attempt = 0;
        while let Err(failure) = self.bucket.delete(key).await {
            self.wait(check, attempt, failure).await?;
            attempt += 1;
        }
        Ok(())
    }

    /// Waits before the next attempt, where there is to be one.
    async fn wait(&self, check: Check, attempt: u32, failure: Failure) -> Result<(), Refusal> {
        if !matches!(failure, Failure::Unknown { .. }) || attempt + 1 >= ATTEMPTS_MAX {
            return Err(Refusal::Failed { check, failure });
        }
        self.bucket.pause(attempt).await;
        Ok(())
    }

    /// Deletes what was created; what could not be is returned.
    async fn clean_up(&self) -> Vec<String> {
        let mut left = vec![];
        for key in &self.keys {
            let mut done = self.bucket.delete(key).await;
            if matches!(done, Err(Failure::Unknown { .. })) {
                self.bucket.pause(0).await;
                done = self.bucket.delete(key).await;
            }
            if done.is_err() {
                left.push(key.clone());
            }
        }
        left
    }
}

/// What was seen of an object, in words.
fn words(object: Option<&Bytes>) -> String {
    match object {
        None => "no object".to_owned(),
        Some(bytes) => format!("`{}`", String::from_utf8_lossy(bytes)),
    }
}

fn expect<T: PartialEq>(check: Check, saw: &T, expected: &T, words: impl Fn(&T) -> String) -> Result<(), Refusal> {
    if saw == expected {
        return Ok(());
    }
    Err(Refusal::Broken { check, expected: words(expected), saw: words(saw) })
}
