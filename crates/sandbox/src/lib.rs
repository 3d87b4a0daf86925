//! All of wasmtime: engine, hostcalls, meter, compile child and cache.
