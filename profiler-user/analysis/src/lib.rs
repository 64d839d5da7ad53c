//! What measurements say.
//!
//! In: what was measured, as snapshots. Out: answers, the same for the same input. Must not know: the kernel, the file
//! system, the clock, how anything is shown.

#![forbid(unsafe_code)]

pub mod diff;
pub mod findings;
pub mod guard;
pub mod infer;
pub mod model;
pub mod scale;
pub mod tail;
