//! Courtside's library: hook → maps → collect → [`frame::Frame`] → fold → [`model::Snapshot`] → screen, file.
//!
//! Its parts are crates of their own, in the folders beside this one. Here they come together: the command line, and one
//! name for all of them, for tests and fuzzers.

pub mod cli;

pub use courtside_agent as agent;
pub use courtside_analysis as analysis;
#[cfg(test)]
pub use courtside_core::fixture;
pub use courtside_core::{event, frame, model, parts, pass, stream, units};
pub use courtside_export as export;
pub use courtside_kernel::{collect, probe, sys};
pub use courtside_record as record;
pub use courtside_tui as tui;
