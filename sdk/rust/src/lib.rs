//! Write an Igor agent: a program that outlives the process, and the machine, that runs it.
//!
//! An agent is its state and its tick. The state is a type that serde can write; the tick is a function that reads
//! messages, the clock and the wallet through a [`Context`] and changes the state. [`agent!`] makes the module's
//! exports from them. Everything that a tick sees is in the agent's journal, so after a crash, or on another
//! machine, it goes on from exactly the state that it had; a tick never runs by halves.
//!
//! ```
//! use igor_sdk::{Agent, Batch, Context, Next, log};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Counter {
//!     seen: u64,
//! }
//!
//! impl Agent for Counter {
//!     fn init(_: &mut impl Context) -> Self {
//!         Counter { seen: 0 }
//!     }
//!
//!     fn tick(&mut self, context: &mut impl Context) -> Next {
//!         let mut batch = Batch::default();
//!         while let Some(message) = batch.next(context) {
//!             self.seen += 1;
//!             log!(context, "message {} has {} bytes", self.seen, message.len());
//!         }
//!         batch.then()
//!     }
//! }
//!
//! igor_sdk::agent!(Counter);
//!
//! // The same agent in a test, on a host made of plain values.
//! let mut node = igor_sdk::mock::Node::<Counter>::start();
//! node.host.send("hello");
//! node.settle();
//! node.restart();
//! assert_eq!(node.agent.seen, 1);
//! ```
//!
//! What an agent must not do is remember anything outside its state: no statics, no files, no clock but
//! [`Context::now`]. The functions below it are described in `docs/abi.md`.

mod agent;
mod batch;
mod context;
mod exports;
#[cfg(target_arch = "wasm32")]
mod imports;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
mod state;

pub use agent::{Agent, Next};
pub use batch::Batch;
pub use context::{Context, Listed, Microcredits, MigrateError, ReplyError, Trigger, UnixNanos};
pub use state::{StateError, decode_state, encode_state};

/// What [`agent!`] expands to; not for use by hand.
#[doc(hidden)]
pub mod private {
    pub use crate::exports::Slot;
    #[cfg(target_arch = "wasm32")]
    pub use crate::imports::{World, log_panics};
}
