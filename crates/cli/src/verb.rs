//! The verbs, one module each (two where they are two ends of one thing).

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod logs;
pub(crate) mod migrate;
pub(crate) mod node;
pub(crate) mod order;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod show;
pub(crate) mod standby;
pub(crate) mod takeover;
pub(crate) mod timeline;
pub(crate) mod verify;
