//! Servers for tests of object storage, on loopback only.
//!
//! - [`Weed`]: SeaweedFS as a process of its own, whose conditional writes hold.
//! - [`Liar`]: a small S3 in the test's process, which lies as told.
//! - [`Faulty`]: a proxy in the test's process, which breaks requests as told.
//!
//! All of them end with the value that stands for them; SeaweedFS also ends where the test's process is killed.

mod faulty;
mod liar;
mod weed;

pub use faulty::{Fault, Faulty};
pub use liar::{Conditions, Liar, Listings};
pub use weed::Weed;

/// The access key that [`Weed`] and [`Liar`] take.
pub const ACCESS_KEY: &str = "igor";
/// Its secret.
pub const SECRET_KEY: &str = "igor-secret-of-tests";
/// Both, as the environment of a process has them.
pub const ENVIRONMENT: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
/// The bucket that they have.
pub const BUCKET: &str = "agents";
