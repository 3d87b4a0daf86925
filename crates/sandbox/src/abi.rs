//! What an agent may import and must export: the whole of `docs/abi.md` as one table.
//!
//! Invariants kept here:
//! - A function that is not in [`IMPORTS`] does not exist for guests; the linker defines exactly these (a test
//!   compares).
//! - Every import names the capability that it needs, so that a check before compiling is enough.

use igor_protocol::manifest::Capabilities;
use std::fmt;
use wasmparser::ValType;

/// The module that agents import Igor's own functions from.
pub(crate) const IGOR: &str = "igor";
/// The module of the WASI subset.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";
/// The name under which the start function is exported after it was taken from the start section.
pub(crate) const START: &str = "igor:start";
/// The memory that hostcalls read and write.
pub(crate) const MEMORY: &str = "memory";

/// What a function takes and gives, in the letters of [`signature`]: `i` is i32, `I` is i64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: &'static str,
    pub(crate) results: &'static str,
}

/// A type such as `("ii", "i")`.
const fn signature(params: &'static str, results: &'static str) -> Signature {
    Signature { params, results }
}

impl Signature {
    /// Whether a function of a module has exactly this type.
    pub(crate) fn is(self, params: &[ValType], results: &[ValType]) -> bool {
        let same = |letters: &str, types: &[ValType]| {
            letters.len() == types.len()
                && letters.bytes().zip(types).all(|(letter, ty)| letter_of(*ty) == Some(letter))
        };
        same(self.params, params) && same(self.results, results)
    }
}

const fn letter_of(ty: ValType) -> Option<u8> {
    match ty {
        ValType::I32 => Some(b'i'),
        ValType::I64 => Some(b'I'),
        _ => None,
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, letters: &str| {
            f.write_str("(")?;
            for (position, letter) in letters.bytes().enumerate() {
                let comma = if position == 0 { "" } else { ", " };
                write!(f, "{comma}{}", if letter == b'i' { "i32" } else { "i64" })?;
            }
            f.write_str(")")
        };
        list(f, self.params)?;
        f.write_str(" -> ")?;
        list(f, self.results)
    }
}

/// What the manifest must grant before a function can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Clock,
    Randomness,
    Log,
    Wallet,
    Messages,
    Migrate,
}

impl Needs {
    /// Whether it is granted.
    pub(crate) const fn granted_by(self, capabilities: Capabilities) -> bool {
        match self {
            Self::Nothing => true,
            Self::Clock => capabilities.clock,
            Self::Randomness => capabilities.randomness,
            Self::Log => capabilities.log,
            Self::Wallet => capabilities.wallet,
            Self::Messages => capabilities.messages,
            Self::Migrate => capabilities.migrate,
        }
    }

    /// Its key in the section `[capabilities]` of `agent.toml`.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Clock => "clock",
            Self::Randomness => "randomness",
            Self::Log => "log",
            Self::Wallet => "wallet",
            Self::Messages => "messages",
            Self::Migrate => "migrate",
        }
    }
}

/// A function that guests may import.
pub(crate) struct Import {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) signature: Signature,
    pub(crate) needs: Needs,
}

const fn igor(name: &'static str, params: &'static str, results: &'static str, needs: Needs) -> Import {
    Import { module: IGOR, name, signature: signature(params, results), needs }
}

const fn wasi(name: &'static str, params: &'static str, needs: Needs) -> Import {
    Import { module: WASI, name, signature: signature(params, "i"), needs }
}

/// Everything that a guest may import.
pub(crate) const IMPORTS: &[Import] = &[
    igor("clock_now", "", "I", Needs::Clock),
    igor("rand_bytes", "ii", "i", Needs::Randomness),
    igor("log_emit", "ii", "", Needs::Log),
    igor("wallet_balance", "", "I", Needs::Wallet),
    igor("wallet_receipt_count", "", "i", Needs::Wallet),
    igor("wallet_receipt", "iii", "i", Needs::Wallet),
    igor("node_price", "", "I", Needs::Wallet),
    igor("message_next", "ii", "i", Needs::Messages),
    igor("message_reply", "ii", "i", Needs::Messages),
    igor("node_draining", "", "i", Needs::Migrate),
    igor("node_list", "ii", "i", Needs::Migrate),
    igor("migrate_to", "ii", "i", Needs::Migrate),
    igor("trigger", "", "i", Needs::Nothing),
    igor("resumed_gap", "", "I", Needs::Nothing),
    igor("wake_at", "I", "", Needs::Nothing),
    igor("finish", "", "", Needs::Nothing),
    wasi("clock_time_get", "iIi", Needs::Clock),
    wasi("clock_res_get", "ii", Needs::Clock),
    wasi("poll_oneoff", "iiii", Needs::Clock),
    wasi("random_get", "ii", Needs::Randomness),
    wasi("fd_write", "iiii", Needs::Log),
    wasi("sched_yield", "", Needs::Nothing),
    Import { module: WASI, name: "proc_exit", signature: signature("i", ""), needs: Needs::Nothing },
    wasi("args_sizes_get", "ii", Needs::Nothing),
    wasi("args_get", "ii", Needs::Nothing),
    wasi("environ_sizes_get", "ii", Needs::Nothing),
    wasi("environ_get", "ii", Needs::Nothing),
    wasi("fd_read", "iiii", Needs::Nothing),
    wasi("fd_close", "i", Needs::Nothing),
    wasi("fd_seek", "iIii", Needs::Nothing),
    wasi("fd_fdstat_get", "ii", Needs::Nothing),
    wasi("fd_fdstat_set_flags", "ii", Needs::Nothing),
    wasi("fd_prestat_get", "ii", Needs::Nothing),
    wasi("fd_prestat_dir_name", "iii", Needs::Nothing),
    // Libraries import these although their programs never get as far as a file or a socket. They always fail, with
    // `nosys`.
    wasi("fd_advise", "iIIi", Needs::Nothing),
    wasi("fd_allocate", "iII", Needs::Nothing),
    wasi("fd_datasync", "i", Needs::Nothing),
    wasi("fd_fdstat_set_rights", "iII", Needs::Nothing),
    wasi("fd_filestat_get", "ii", Needs::Nothing),
    wasi("fd_filestat_set_size", "iI", Needs::Nothing),
    wasi("fd_filestat_set_times", "iIIi", Needs::Nothing),
    wasi("fd_pread", "iiiIi", Needs::Nothing),
    wasi("fd_pwrite", "iiiIi", Needs::Nothing),
    wasi("fd_readdir", "iiiIi", Needs::Nothing),
    wasi("fd_renumber", "ii", Needs::Nothing),
    wasi("fd_sync", "i", Needs::Nothing),
    wasi("fd_tell", "ii", Needs::Nothing),
    wasi("path_create_directory", "iii", Needs::Nothing),
    wasi("path_filestat_get", "iiiii", Needs::Nothing),
    wasi("path_filestat_set_times", "iiiiIIi", Needs::Nothing),
    wasi("path_link", "iiiiiii", Needs::Nothing),
    wasi("path_open", "iiiiiIIii", Needs::Nothing),
    wasi("path_readlink", "iiiiii", Needs::Nothing),
    wasi("path_remove_directory", "iii", Needs::Nothing),
    wasi("path_rename", "iiiiii", Needs::Nothing),
    wasi("path_symlink", "iiiii", Needs::Nothing),
    wasi("path_unlink_file", "iii", Needs::Nothing),
    wasi("sock_accept", "iii", Needs::Nothing),
    wasi("sock_recv", "iiiiii", Needs::Nothing),
    wasi("sock_send", "iiiii", Needs::Nothing),
    wasi("sock_shutdown", "ii", Needs::Nothing),
];

/// A function that the node calls.
pub(crate) struct Export {
    pub(crate) name: &'static str,
    /// The types that it may have.
    pub(crate) signatures: &'static [Signature],
    pub(crate) required: bool,
}

const fn optional(name: &'static str, signatures: &'static [Signature]) -> Export {
    Export { name, signatures, required: false }
}

const UNIT: Signature = signature("", "");

/// Everything that the node may call, in the names of [`crate::guest`].
pub(crate) const EXPORTS: &[Export] = &[
    Export { name: "agent_init", signatures: &[UNIT], required: true },
    Export { name: "agent_tick", signatures: &[signature("", "i"), UNIT], required: true },
    optional("agent_checkpoint", &[signature("", "i")]),
    optional("agent_checkpoint_ptr", &[signature("", "i")]),
    optional("agent_resume", &[signature("ii", "")]),
    optional("agent_alloc", &[signature("i", "i")]),
    optional("_initialize", &[UNIT]),
];

/// What allocates room for a state where `agent_alloc` is not exported. Only then is its type looked at.
pub(crate) const MALLOC: Export = optional("malloc", &[signature("i", "i")]);
