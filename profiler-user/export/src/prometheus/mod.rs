//! Prometheus: what was measured since the agent began, as counters that scrapers read.
//!
//! In: snapshots, one after the other ([`Totals`]); what the agent says of itself ([`Agent`]). Out: the text formats 0.0.4 and
//! OpenMetrics 1.0, the protobuf format, and OpenTelemetry's message. Must not know: HTTP, clocks, who reads it.
//!
//! A counter is the sum of what the snapshots said: in nanoseconds and whole numbers, so it is exact, and written as seconds
//! by moving the point. At most so many components have series of their own as was asked for; all others are one, `other`. A
//! series whose component is gone is kept for a while and then added to `other`: no sum over series ever falls.

mod blamed;
mod blames;
#[cfg(test)]
mod boards;
mod family;
mod group;
mod guarded;
pub mod otlp;
pub mod protobuf;
mod shown;
#[cfg(test)]
mod tests;
mod totals;
mod whole;
mod write;

pub use family::{FamilyDoc, Kind, families, markdown};
pub use guarded::{Guarded, Slow};
pub use totals::{Series, Totals};
pub use whole::{Agent, Answers, Exporter, Pusher, Recorder};
pub use write::Form;

/// The label of everything that has no series of its own.
pub const OTHER: &str = "other";
