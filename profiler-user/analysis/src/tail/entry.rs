//! Which entry is looked at: the one with most requests, as `stat` shows it first.
//!
//! In: snapshots of windows. Out: the busiest entry of all of them. Must not know: events.

use std::collections::BTreeMap;

use courtside_core::{
    model::Snapshot,
    pass::{Consumer, PassWindow},
};

/// Entries that are counted, at most.
const MOST: usize = 4096;

/// Requests by entry.
#[derive(Debug, Default)]
pub struct Entries {
    requests: BTreeMap<(String, u16), u64>,
}

impl Entries {
    /// One more window.
    pub fn add(&mut self, snapshot: &Snapshot) {
        for entry in &snapshot.entries {
            let key = (entry.component.clone(), entry.port);
            if self.requests.len() < MOST || self.requests.contains_key(&key) {
                let sum = self.requests.entry(key).or_default();
                *sum = sum.saturating_add(entry.requests);
            }
        }
    }

    /// Component id and port of the busiest one.
    #[must_use]
    pub fn busiest(&self) -> Option<(String, u16)> {
        let most = self
            .requests
            .iter()
            .rev()
            .max_by_key(|(_, requests)| **requests);
        most.map(|(entry, _)| entry.clone())
    }
}

impl Consumer for Entries {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.add(window.snapshot);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::model::snapshot::Entry;

    use super::*;

    #[test]
    fn the_busiest_over_all_windows_is_chosen() {
        let window = |requests: [u64; 3]| Snapshot {
            entries: [("a", 1), ("b", 1), ("b", 2)]
                .into_iter()
                .zip(requests)
                .map(|((id, port), requests)| Entry {
                    component: id.to_owned(),
                    port,
                    requests,
                    ..Entry::default()
                })
                .collect(),
            ..Snapshot::default()
        };
        let mut entries = Entries::default();
        assert_eq!(entries.busiest(), None);
        entries.add(&window([5, 4, 3]));
        assert_eq!(entries.busiest(), Some(("a".to_owned(), 1)));
        entries.add(&window([1, 1, 5]));
        assert_eq!(entries.busiest(), Some(("b".to_owned(), 2)));
    }
}
