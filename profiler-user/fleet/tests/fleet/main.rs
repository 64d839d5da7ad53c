//! The program as its users call it: a made-up fleet, and its known answers.
//!
//! In: command lines, folders made here. Out: what it says, held to what was planted.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be set up fails the test"
)]

mod answers;
mod bad_input;
mod others;
mod shared;
