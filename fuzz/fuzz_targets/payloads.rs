//! The reader of recordings, and all behind it, on bytes whose checksums are right.

#![no_main]

#[path = "../src/checksums.rs"]
mod checksums;
#[path = "../src/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    checksums::mend(&mut bytes);
    exercise::recording(&bytes);
});
