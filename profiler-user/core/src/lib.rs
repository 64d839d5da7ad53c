//! What a window holds and what it means.
//!
//! In: raw facts of one window ([`frame::Frame`]), single events ([`event::Event`]). Out: a [`model::Snapshot`], the same
//! for the same input. Must not know: the kernel, the file system, the clock, how anything is shown.

pub mod event;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod frame;
pub mod model;
pub mod parts;
pub mod pass;
pub mod stream;
pub mod units;
