#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pinrelay::fuzzing::filters(data));
