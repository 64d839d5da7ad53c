//! The binary as its users call it: one file for each of its commands, in one program, since each program of tests is linked with
//! all of Courtside.
//!
//! In: command lines, recordings made here. Out: exit status, stdout, stderr, files.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod cli;
mod diff;
mod drawn;
mod fleet;
mod guard;
mod guard_faults;
mod infer;
mod model;
mod scale;
mod shared;
mod tail;
