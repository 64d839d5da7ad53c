//! Of which services it was learned here what is usual: at most so many, since names may come and go for as long as a guard
//! watches.
//!
//! In: services, and the windows that had enough of them. Out: whose place another one takes. Must not know: what is usual.

use std::collections::BTreeMap;

/// Each with the last window that had enough of it.
#[derive(Debug)]
pub(super) struct Learned {
    last: BTreeMap<String, u64>,
    most: usize,
}

impl Learned {
    pub(super) fn new(most: usize) -> Self {
        Self {
            last: BTreeMap::new(),
            most,
        }
    }

    /// A service that was learned has enough in this window.
    pub(super) fn see(&mut self, id: &str, window: u64) {
        if let Some(last) = self.last.get_mut(id) {
            *last = window;
        }
    }

    /// One more was learned. The one that was not seen for longest has to go if there are too many.
    pub(super) fn add(&mut self, id: &str, window: u64) -> Option<String> {
        self.last.insert(id.to_owned(), window);
        if self.last.len() <= self.most {
            return None;
        }
        let others = self.last.iter().filter(|(other, _)| *other != id);
        let oldest = others.min_by_key(|(_, last)| **last)?.0.clone();
        self.last.remove(&oldest);
        Some(oldest)
    }
}
