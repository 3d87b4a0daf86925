#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    igor_network::fuzz::frames(bytes);
});
