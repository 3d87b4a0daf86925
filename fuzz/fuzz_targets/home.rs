#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    igor_store::fuzz::home(bytes);
});
