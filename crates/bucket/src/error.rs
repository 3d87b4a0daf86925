//! Why a bucket cannot be used: each names what to write or do instead.

use std::path::PathBuf;

/// Why a bucket cannot be opened. Nothing was sent yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address has none of the known forms.
    #[error("`{given}` is not the address of a bucket: {why}")]
    Address {
        /// What was written.
        given: String,
        /// What to write instead.
        why: String,
    },
    /// The endpoint is not one, or goes over plain HTTP to another machine.
    #[error("endpoint `{given}`: {why}")]
    Endpoint {
        /// What was written.
        given: String,
        /// What to write instead.
        why: String,
    },
    /// There are no credentials.
    #[error("no credentials for {address}; looked at: {looked}. Set {set}")]
    Missing {
        /// For which bucket.
        address: String,
        /// Every place.
        looked: String,
        /// What would do.
        set: String,
    },
    /// There are credentials, but they cannot be used.
    #[error("credentials in {place}: {why}")]
    Credentials {
        /// Where they are.
        place: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A file of credentials cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why, with the line where it is one.
        why: String,
    },
    /// There is nothing to check a server's certificate against.
    #[error("found no trusted certificates on this machine: install ca-certificates, or set SSL_CERT_FILE ({why})")]
    Roots {
        /// What was seen.
        why: String,
    },
    /// The client of this kind of storage refused its settings.
    #[error("cannot use {address}: {why}")]
    Settings {
        /// For which bucket.
        address: String,
        /// What it said.
        why: String,
    },
}
