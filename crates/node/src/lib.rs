//! Carries agents: home, supervisor, API, metrics; and the client of that API.

pub mod api;
pub mod client;
pub mod home;
