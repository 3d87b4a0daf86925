use super::*;

#[test]
fn the_runtime_id_names_the_engine_that_is_built_in() {
    let lock = include_str!("../../../../Cargo.lock").parse::<toml::Table>().expect("a lock file");
    let packages = lock.get("package").and_then(toml::Value::as_array).expect("packages");
    let versions: Vec<_> = packages
        .iter()
        .filter(|package| package.get("name").and_then(toml::Value::as_str) == Some("wasmtime"))
        .filter_map(|package| package.get("version").and_then(toml::Value::as_str))
        .collect();
    assert_eq!(versions.len(), 1, "one wasmtime");
    assert_eq!(RUNTIME_ID, format!("wasmtime-{}/igor-cfg-1/abi-1", versions[0]));
}

/// What the fuel and the results of guests depend on. If this fails, raise `cfg` in the runtime id.
#[test]
fn the_runtime_id_stands_for_this_configuration() {
    let engine = engine(Stack::Live).expect("an engine");
    assert!(engine.get_consume_fuel());
    assert_eq!(engine.get_cranelift_nan_canonicalization(), Some(true));
    assert!(engine.get_relaxed_simd_deterministic());
    assert_eq!(engine.get_strategy(), Some(Strategy::Cranelift));
    assert_eq!(engine.get_wasm_features(), FEATURES);
    assert_eq!((engine.get_memory_reservation(), engine.get_memory_may_move()), (4 << 30, false));
    assert_eq!((engine.get_max_wasm_stack(), STACK_BYTES), (1 << 20, 1 << 20));
}
