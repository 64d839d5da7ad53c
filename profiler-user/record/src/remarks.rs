//! What is said about a recording besides its numbers.
//!
//! In: what is damaged, left out or unknown. Out: words. Must not know: where they go.

use courtside_core::units;

/// Takes what is said about the recording besides its numbers.
pub trait Remarks {
    /// Something is damaged, left out or unknown.
    fn say(&self, what: &str);

    /// How many single events were read so far, for windows of another length; none at the end.
    fn progress(&self, _events: Option<u64>) {}
}

/// That something is of a later version of Courtside.
pub(crate) fn later(number: u64, what: &str) -> String {
    let number = units::count(number);
    format!("{what} of kinds that only a newer courtside knows are left out: {number}")
}
