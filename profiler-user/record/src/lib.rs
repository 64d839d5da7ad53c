//! Recordings: Frames (and whatever other records there may be) in an append-only file, and back.
//!
//! In: [`Frame`](courtside_core::frame::Frame)s. Out: a file that is readable up to its last whole record however writing ended,
//! and from it the same Frames again, byte for byte, with what is damaged named. docs/recording.md has the bytes.
//! Must not know: aya, where frames come from, what they mean, the clock.

mod by_number;
mod error;
mod events;
#[cfg(test)]
mod events_tests;
mod flight;
mod format;
mod keep;
mod known;
mod read;
mod read_at;
mod read_events;
mod recorded;
#[cfg(test)]
mod recorded_tests;
mod recut;
mod remarks;
mod scan;
#[cfg(test)]
mod tests;
mod write;

pub use by_number::{ByNumber, Folded};
pub use error::{Fault, OpenError, ReadError, Reason, WriteError};
pub use events::{MAX_EVENTS, encode as encode_events};
pub use flight::{Bounds, MIN_SIZE_BYTES, Recorder};
pub use format::{Header, Kind, Limit, MAX_PAYLOAD, VERSION, ViewWish};
pub use keep::{KeepError, Ring, keep};
pub use read::{Record, RecordedWindow, Recording, other_part};
pub use read_at::ReadAt;
pub use read_events::Events;
pub use recorded::Recorded;
pub use remarks::Remarks;
pub use write::{Summary, Writer};
