//! Why a program is not loaded. A refusal is about the program and stays until program or manifest change; a host
//! error is about this machine.

use crate::{compile::SECONDS_VARIABLE, engine::RUNTIME_ID};
use std::{fmt, io, path::PathBuf, time::Duration};

/// Why a program is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be run as it is, here or elsewhere.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This machine failed; the program may be fine.
    #[error(transparent)]
    Host(#[from] Host),
}

/// What is wrong with a program, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than any program may be.
    #[error("the program is too large: {bytes} bytes, at most {max} are allowed; strip debug sections or split it")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Does not begin as a module does.
    #[error("not a WebAssembly module: it does not begin with \\0asm; give the .wasm file that the compiler wrote")]
    NotWasm,
    /// A component, not a core module.
    #[error("this is a WebAssembly component; agents are core modules: build for wasm32-unknown-unknown or wasip1")]
    Component,
    /// A module that breaks the rules of WebAssembly, or uses a proposal that is not available here.
    #[error(
        "not a valid module: {0}; agents are core WebAssembly without threads, 64-bit or several memories, exceptions, \
         GC; if the file was cut short, build it again"
    )]
    Invalid(Text),
    /// An export that the node needs is not there.
    #[error("the module does not export {name}; export it with the type {wanted}")]
    MissingExport {
        /// Its name.
        name: &'static str,
        /// The type that it must have.
        wanted: String,
    },
    /// An export that the node would call has another type.
    #[error("the module exports {name} as {found}; it must be {wanted}")]
    WrongExport {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: Text,
        /// What it must be.
        wanted: String,
    },
    /// Some of the exports for checkpoints, but not all.
    #[error(
        "the module exports {has} but not {lacks}; export all four of agent_checkpoint, agent_checkpoint_ptr, agent_resume and agent_alloc (or malloc), or none"
    )]
    HalfCheckpoint {
        /// One that is there.
        has: &'static str,
        /// One that is not.
        lacks: &'static str,
    },
    /// An import that the manifest does not grant.
    #[error(
        "the module imports {module}.{name}, which its manifest does not grant; add to agent.toml: [capabilities] {capability} = true"
    )]
    NotGranted {
        /// The import's module.
        module: &'static str,
        /// The import's name.
        name: &'static str,
        /// The key of the capability.
        capability: &'static str,
    },
    /// An import that there is not.
    #[error("the module imports {module}.{name}, which does not exist; docs/abi.md lists what an agent may import")]
    UnknownImport {
        /// The import's module.
        module: Text,
        /// The import's name.
        name: Text,
    },
    /// An import of another type.
    #[error("the module imports {module}.{name} as {found}; it is {wanted}")]
    WrongImport {
        /// The import's module.
        module: &'static str,
        /// The import's name.
        name: &'static str,
        /// What the module takes it for.
        found: Text,
        /// What it is.
        wanted: String,
    },
    /// An import of something that is not a function.
    #[error(
        "the module imports the {kind} {module}.{name}; agents import functions only: define and export it instead"
    )]
    ImportedThing {
        /// Memory, table, global or tag.
        kind: &'static str,
        /// The import's module.
        module: Text,
        /// The import's name.
        name: Text,
    },
    /// The memory is larger at the start than it may become.
    #[error(
        "the module's memory begins with {bytes} bytes, its limit is {limit}; add to agent.toml: [limits] memory_bytes = {bytes}"
    )]
    MemoryTooLarge {
        /// What it begins with.
        bytes: u64,
        /// `limits.memory_bytes`.
        limit: u64,
    },
    /// The tables are larger at the start than they may become.
    #[error(
        "the module's tables begin with {elements} elements, their limit is {limit}; add to agent.toml: [limits] table_elements = {elements}"
    )]
    TablesTooLarge {
        /// What they begin with, together.
        elements: u64,
        /// `limits.table_elements`.
        limit: u32,
    },
    /// The module has a name that is Igor's.
    #[error("the module exports {0}, a name that Igor needs for itself; rename the export")]
    ReservedExport(&'static str),
    /// The start function is not the module's own.
    #[error("the module's start function is an import; call it from a function of the module")]
    StartIsImported,
    /// Compiling took too long.
    #[error(
        "compiling the module took more than {0:?}; make it smaller, split large functions, or set {SECONDS_VARIABLE} to more seconds"
    )]
    CompileTime(Duration),
    /// Compiling failed: too much memory, or a fault of the compiler.
    #[error(
        "compiling the module failed within {memory_bytes} bytes of memory: {why}; make it smaller or split large functions"
    )]
    Compile {
        /// The memory that it had.
        memory_bytes: u64,
        /// What became of the compiler.
        why: Text,
    },
    /// The compiled program is larger than is kept.
    #[error("the compiled module is larger than {0} bytes; make it smaller")]
    ArtifactTooLarge(usize),
}

/// What failed on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Host {
    /// The engine does not start with its configuration.
    #[error("the runtime {RUNTIME_ID} does not start on this machine: {0}")]
    Engine(String),
    /// The compiler's process does not start or cannot be spoken to.
    #[error("the compiler `{program}` could not be run: {why}")]
    Compiler {
        /// The executable.
        program: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The cache of compiled programs cannot be read or written.
    #[error("the cache of compiled programs cannot be used: {why}; check owner, mode and space of path=`{path}`")]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// What the compiler gave is not loaded, though its check was good.
    #[error("a compiled program is not accepted by the runtime: {0}")]
    Artifact(String),
}

/// Longest [`Text`], in bytes.
const TEXT_BYTES_MAX: usize = 200;

/// Text that came from a module: printable and of bounded length, whatever the module says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Escapes what is not printable and cuts what is too long.
    pub fn new(text: &str) -> Self {
        let mut safe = String::new();
        for character in text.chars() {
            let mut escaped = character.escape_debug();
            // Quotes and backslashes are harmless and more readable as they are.
            let plain = matches!(character, '"' | '\'' | '\\').then_some(character);
            let bytes: usize = plain.map_or_else(|| escaped.clone().map(char::len_utf8).sum(), char::len_utf8);
            if safe.len() + bytes > TEXT_BYTES_MAX {
                safe.push_str("...");
                break;
            }
            match plain {
                Some(character) => safe.push(character),
                None => safe.extend(escaped.by_ref()),
            }
        }
        Self(safe)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
