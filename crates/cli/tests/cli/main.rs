//! The binary from outside: what it prints, how it exits, and that nothing is lost.

mod begins;
mod bucket;
mod contract;
mod control;
mod costs;
mod delete;
mod demo;
mod files;
mod forged;
mod home;
mod hosts;
mod imports;
mod lives;
mod lost;
mod moves;
mod node;
mod orders;
mod refused;
mod release;
mod runtimes;
mod scripts;
mod senders;
mod sent_on;
mod silent;
mod survival;
mod takeover;
mod wander;

#[path = "../cluster/mod.rs"]
mod cluster;
// The demo looks at processes from outside in the same way. Not all that it needs is needed here.
#[allow(dead_code)]
#[path = "../../src/verb/demo/stage.rs"]
mod stage;
