//! Who may run an agent, carried out: [`igor_protocol::custody::step`] decides, this crate makes it so.
//!
//! ```text
//!   an event ──► step (pure) ──► actions, in order ──► keystore, journal, host, peers
//! ```
//!
//! Invariants kept here:
//! - One event of an agent at a time; its actions are done in order, each durable before the next.
//! - An action that fails leaves the rest undone, and the agent stopped: what was kept is finished at the next event, and
//!   the host is told that there is something to finish ([`Host::unsettled`]).
//! - To a journal that is here one writes at a time: whoever has the agent's [`Lease`], else the steward. What was asked
//!   of the store before is waited for in between.
//! - Nothing is told to another node that is not durable here.
//! - After a restart no life of an agent begins, and nobody is given it, before peers were asked what they know of it and
//!   had the time to answer, and what they said was taken in ([`Steward::wake`], [`Steward::waited`]).

mod awake;
mod books;
mod delete;
mod entrance;
mod file;
mod give;
mod known;
mod lease;
mod notes;
mod offered;
mod seams;
mod shared;
mod steward;
mod take;

pub use delete::NotDeleted;
pub use entrance::Coming;
pub use file::{Arrived, NotArrived};
pub use give::{Failed, Moved, Progress};
pub use lease::{Lease, Leased};
pub use seams::{Admission, Host, Peers};
pub use shared::Succession;
pub use steward::{Error, Steward};
pub use take::Taken;
