//! One file a format: Snapshot → text.
//!
//! In: a [`crate::model::Snapshot`]. Out: strings. Must not know: files, screens, clocks.

pub mod json;
mod map;
pub mod table;
mod text;

pub use table::Style;
