//! The reader of recordings on any bytes.

#![no_main]

#[path = "../src/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::recording(bytes));
