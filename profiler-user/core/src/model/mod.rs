//! From Frames to Snapshots: what a window of raw facts means in users' words.
//!
//! In: a [`crate::frame::Frame`] and a [`View`] of it. Out: a [`Snapshot`], the same for the same input.
//! Must not know: the kernel, the file system, the clock, how anything is shown.

pub mod blame;
mod components;
pub mod difference;
mod directory;
pub mod dist;
mod edges;
mod entries;
pub mod exchange;
pub mod fields;
pub mod finding;
pub mod fold;
pub mod idle;
pub mod inference;
pub mod interference;
pub mod judgement;
mod ledger;
pub mod locks;
mod names;
pub mod nodes;
pub mod placement;
pub mod prediction;
pub mod profile;
pub mod recut;
pub mod reference;
pub mod resolve;
pub mod scaling;
mod schema;
pub mod snapshot;
pub mod spec;
pub mod status;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod threads;
pub mod turnarounds;
pub mod view;
pub mod visible;
pub mod words;

pub use blame::Blame;
pub use directory::who_is_who;
pub use finding::Finding;
pub use fold::{REMEMBERED_WINDOWS, State, fold};
pub use locks::{Holder, Lock};
pub use schema::{SCHEMA_NAMES, schema_json};
pub use snapshot::Snapshot;
pub use view::{EntryWish, GroupBy, Selection, View};
