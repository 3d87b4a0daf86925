//! Servers for tests of object storage, on loopback only.
//!
//! - [`weed`]: SeaweedFS as a process of its own, whose conditional writes hold.
//! - [`Liar`]: a small S3 in the test's process, which lies as told.
//! - [`Faulty`]: a proxy in the test's process, which breaks requests as told.
//!
//! All of them end with the value that stands for them; SeaweedFS also ends where the test's process is killed.

mod faulty;
mod liar;

pub use faulty::{Fault, Faulty};
pub use igor_weed::{ACCESS_KEY, BUCKET, ENVIRONMENT, SECRET_KEY, Weed};
pub use liar::{Conditions, Liar, Listings};
use std::io::Write;

/// Starts SeaweedFS, or says loudly on stderr that there is none and gives nothing. Where `CI` is `true`, a missing one is
/// a failure.
///
/// # Panics
///
/// If it does not start, or is missing where `CI` is `true`.
pub fn weed() -> Option<Weed> {
    let Some(binary) = igor_weed::find() else {
        let how = "scripts/weed installs it; or set IGOR_WEED";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "SeaweedFS is missing: {how}");
        // Not by a macro: those are silent in a test that passes.
        let said =
            format!("\nSKIPPED: there is no SeaweedFS here, so nothing was tested against a real server ({how})\n");
        drop(std::io::stderr().write_all(said.as_bytes()));
        return None;
    };
    Some(Weed::start(&binary).unwrap_or_else(|why| panic!("{why}")))
}
