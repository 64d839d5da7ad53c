//! What runs for long: a measurement, the thread that it runs on, and what is kept of it.
//!
//! In: wishes and a view. Out: windows, one after the other, on a channel or into a recording. Must not know: the command
//! line, the screen.

pub mod actuator;
pub mod keeper;
pub mod live;
pub mod measure;
pub mod recorder;
