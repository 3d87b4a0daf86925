//! Whether a call that failed is worth another attempt.

use super::Error;
use std::time::Duration;
use tokio::time::Instant;

/// How long a node that answers may not know an agent: `igor run` serves the API before it has created the agent.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);

/// The attempts of one call to an agent that may be about to appear.
#[derive(Debug, Default)]
pub struct Attempts {
    unknown_since: Option<Instant>,
}

impl Attempts {
    /// Whether to try again after this error: it is [passing](Error::is_passing), or the node does not know the agent,
    /// for no longer than 2 s so far.
    pub fn go_on_after(&mut self, error: &Error) -> bool {
        match error {
            Error::NotFound { code, .. } if code == "unknown_agent" => {
                self.unknown_since.get_or_insert_with(Instant::now).elapsed() < APPEARS_WITHIN
            }
            _ => {
                self.unknown_since = None;
                error.is_passing()
            }
        }
    }
}

#[cfg(test)]
mod tests;
