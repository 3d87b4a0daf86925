//! Which bucket this is: an id that is drawn when a bucket is used first, and stays in it.
//!
//! Invariant kept here: of all nodes that use a bucket first one draws its id, and all others find that.

use crate::bucket::{Bucket, Created, Failure};
use igor_protocol::{codec, entry::StoreId};
use minicbor::{Decode, Encode};

const KEY: &str = "igor";
const VERSION: u8 = 1;
/// Longest such object, in bytes.
const BYTES_MAX: u64 = 128;
/// Times that a request is sent before the bucket counts as out of reach.
const ATTEMPTS_MAX: u32 = 5;

#[derive(Encode, Decode)]
struct Identity {
    #[n(0)]
    version: u8,
    #[n(1)]
    id: StoreId,
}

/// Why it is not known which bucket this is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIdentified {
    /// It does not answer, or refuses.
    #[error(transparent)]
    Bucket(#[from] Failure),
    /// What stands where its id is to be is none.
    #[error("the object `{KEY}` in the bucket is not one of this igor ({0}); use another bucket, or another prefix")]
    Strange(String),
}

/// The id of a bucket, if it has one.
pub async fn identity<B: Bucket>(bucket: &B) -> Result<Option<StoreId>, NotIdentified> {
    let mut attempt = 0;
    loop {
        match bucket.get(KEY, BYTES_MAX).await {
            Ok(found) => return found.map(|bytes| decode(&bytes)).transpose(),
            Err(Failure::Unknown { .. }) if attempt < ATTEMPTS_MAX => {
                bucket.pause(attempt).await;
                attempt += 1;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Asks a bucket which one it is, once. Says whether it answered at all.
pub async fn answers<B: Bucket>(bucket: &B) -> bool {
    bucket.get(KEY, BYTES_MAX).await.is_ok()
}

/// Gives a bucket this id, unless it has one. Returns the one that it has.
pub async fn identify<B: Bucket>(bucket: &B, drawn: StoreId) -> Result<StoreId, NotIdentified> {
    let bytes = codec::encode(&Identity { version: VERSION, id: drawn });
    let mut attempt = 0;
    loop {
        match bucket.create(KEY, bytes.clone().into()).await {
            Ok(Created::New) => return Ok(drawn),
            Ok(Created::Exists) => {
                if let Some(id) = identity(bucket).await? {
                    return Ok(id);
                }
                if attempt >= ATTEMPTS_MAX {
                    return Err(NotIdentified::Strange("it is said to be there, and is not".into()));
                }
                bucket.pause(attempt).await;
            }
            Err(Failure::Unknown { .. }) if attempt < ATTEMPTS_MAX => bucket.pause(attempt).await,
            Err(failure) => return Err(failure.into()),
        }
        attempt += 1;
    }
}

fn decode(bytes: &[u8]) -> Result<StoreId, NotIdentified> {
    let max = usize::try_from(BYTES_MAX).unwrap_or(usize::MAX);
    match codec::decode::<Identity>("id of a bucket", bytes, max) {
        Ok(Identity { version: VERSION, id }) => Ok(id),
        Ok(Identity { version, .. }) => Err(NotIdentified::Strange(format!("its version is {version}"))),
        Err(error) => Err(NotIdentified::Strange(error.to_string())),
    }
}
