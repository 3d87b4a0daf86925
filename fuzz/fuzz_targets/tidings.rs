#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    igor_protocol::fuzz::tidings(bytes);
});
