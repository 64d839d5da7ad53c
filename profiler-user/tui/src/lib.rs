//! The dashboard: a pure function from what was measured and which keys were pressed to cells on a screen.
//!
//! In: snapshots ([`UiState::observe`]) and keys ([`UiState::key`]). Out: cells ([`render`]) and the [`Action`]s that
//! only the outside can do. Must not know: the terminal, the clock, the file system, tokio, aya, the exporters.

#![forbid(unsafe_code)]

mod chart;
mod filter;
mod graph;
mod help;
mod histogram;
mod history;
mod keys;
mod replay;
mod screen;
mod shown;
mod state;
mod style;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod views;
mod whole;

pub use history::WINDOWS as PAST_WINDOWS;
pub use replay::{Replay, Target};
pub use screen::render;
pub use state::{Action, DashboardView, UiState};
pub use style::Theme;
