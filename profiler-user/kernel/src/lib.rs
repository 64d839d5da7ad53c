//! What is measured on this host.
//!
//! In: the running kernel. Out: [`courtside_core::frame::Frame`]s, single events, what can be measured here. Must not
//! know: components, entries, how anything is shown or kept.

pub mod collect;
pub mod probe;
pub mod sys;
