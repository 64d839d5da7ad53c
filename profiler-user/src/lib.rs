//! Courtside's library: hook → maps → collect → [`frame::Frame`] → fold → [`model::Snapshot`] → screen, file.

pub mod cli;
pub mod collect;
pub mod event;
pub mod export;
pub mod frame;
pub mod model;
pub mod probe;
pub mod record;
pub mod sys;
pub mod tui;
pub mod units;
