//! From the bytes of a program to something that runs.

use crate::{
    cache::Cache,
    check,
    compile::Compiler,
    engine::{self, Stack},
    error::{Error, Host},
    guest::WasmProgram,
    host::{self, Ctx},
    rewrite,
};
use igor_protocol::{Hash, Manifest};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use wasmtime::{Engine, Linker, Module};

/// Makes programs out of bytes. One for a process is enough; it may be shared between threads.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<Ctx>,
    cache: Cache,
    compiler: Compiler,
    /// Programs in use, so that all agents of one program share its code.
    in_use: Mutex<HashMap<Hash, Weak<Module>>>,
}

impl Sandbox {
    /// A sandbox that keeps compiled programs in the directory `cache` (made where it is not there, private to this
    /// user) and compiles with `compiler`.
    pub fn open(cache: &Path, compiler: Compiler, stack: Stack) -> Result<Self, Error> {
        let engine = engine::engine(stack)?;
        let linker = host::linker(&engine)?;
        let cache = Cache::open(cache, &engine)?;
        Ok(Self { engine, linker, cache, compiler, in_use: Mutex::default() })
    }

    /// Checks a program against its manifest, compiles it unless the cache has it, and links it.
    ///
    /// Blocks: for at most the compiler's time limit if the program is new, else for a moment. Call it where that
    /// stops nobody.
    pub fn load(&self, program: &[u8], manifest: &Manifest) -> Result<WasmProgram, Error> {
        let checked = check::check(program, manifest)?;
        let module = self.module(program, checked.start)?;
        // The check has compared every import with the table that the linker is made from.
        let linked = self.linker.instantiate_pre(&module).map_err(|e| Host::Artifact(e.to_string()))?;
        Ok(WasmProgram::new(module, linked, manifest.limits, checked.can_checkpoint))
    }

    fn module(&self, program: &[u8], start: Option<u32>) -> Result<Arc<Module>, Error> {
        let hash = Hash::of_blob(program);
        if let Some(module) = self.find(hash)? {
            return Ok(module);
        }
        // Compiling waits for a slot; the program may be there by then.
        let turn = self.compiler.turn();
        if let Some(module) = self.find(hash)? {
            return Ok(module);
        }
        let artifact = match start {
            Some(function) => turn.compile(&rewrite::export_start(program, function)?)?,
            None => turn.compile(program)?,
        };
        let module = self.cache.put(&self.engine, hash, &artifact)?;
        Ok(self.share(hash, module))
    }

    /// The program, if it is in use or in the cache.
    fn find(&self, hash: Hash) -> Result<Option<Arc<Module>>, Error> {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).and_then(Weak::upgrade);
        if in_use.is_some() {
            return Ok(in_use);
        }
        Ok(self.cache.get(&self.engine, hash)?.map(|module| self.share(hash, module)))
    }

    fn share(&self, hash: Hash, module: Module) -> Arc<Module> {
        let module = Arc::new(module);
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|_, module| module.strong_count() > 0);
        in_use.insert(hash, Arc::downgrade(&module));
        module
    }
}
