#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| haksa_fuzz::signed_query(data));
