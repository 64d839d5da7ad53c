//! From Frames to Snapshots. Pure: no kernel, no file system, no clock.

pub mod snapshot;

pub use snapshot::Snapshot;
