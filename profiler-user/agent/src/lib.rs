//! What runs for long: a measurement, the thread that it runs on, what is kept of it, and what is served of it.
//!
//! In: wishes and a view. Out: windows, one after the other, on a channel, into a recording or over HTTP. Must not know:
//! the command line, the screen.

pub mod actuator;
pub mod hours;
pub mod judging;
pub mod keeper;
pub mod live;
pub mod measure;
pub mod queue;
pub mod recorder;
pub mod serve;
