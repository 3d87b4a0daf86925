//! Where agents that begin here are durable.

use serde::Deserialize;

/// `[store]`: a bucket for the journals of agents that begin here. Without `url` they are on this machine's disk only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `s3://BUCKET`, `gs://BUCKET` or `az://CONTAINER`, each with a prefix behind it or without. Credentials come from the
    /// environment or the usual files, never from here.
    pub url: Option<String>,
    /// The server, where it is not the provider's own.
    pub endpoint: Option<String>,
    /// The region of an S3 bucket.
    pub region: Option<String>,
    /// Whether plain HTTP may go to other machines.
    pub allow_http: bool,
}
