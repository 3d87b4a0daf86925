//! Carries agents: supervisor, API, metrics.
