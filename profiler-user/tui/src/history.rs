//! The recent past of every component and edge, for sparklines and charts.
//!
//! In: one sample a window for each key. Out: the last [`WINDOWS`] samples, gaps where there was none.
//! Must not know: snapshots' shape beyond the numbers handed in, how anything is drawn.

use std::collections::{HashMap, VecDeque};

/// How many windows are remembered.
pub const WINDOWS: usize = 120;

/// The past of many things of one kind. Each ring ends with the newest window; memory is bounded by the keys seen
/// in the last [`WINDOWS`] windows.
#[derive(Clone, Debug)]
pub(super) struct History<T> {
    rings: HashMap<String, VecDeque<Option<T>>>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self {
            rings: HashMap::new(),
        }
    }
}

impl<T: Clone> History<T> {
    /// Appends one window. Keys without a sample get a gap; keys with nothing but gaps are forgotten.
    pub fn push(&mut self, samples: impl Iterator<Item = (String, T)>) {
        for ring in self.rings.values_mut() {
            if ring.len() == WINDOWS {
                ring.pop_front();
            }
            ring.push_back(None);
        }
        for (key, sample) in samples {
            let ring = self
                .rings
                .entry(key)
                .or_insert_with(|| VecDeque::from([None]));
            if let Some(last) = ring.back_mut() {
                *last = Some(sample);
            }
        }
        self.rings
            .retain(|_, ring| ring.iter().any(Option::is_some));
    }

    /// The newest `count` windows of a key, oldest first.
    pub fn last(&self, key: &str, count: usize) -> impl Iterator<Item = Option<&T>> {
        let ring = self.rings.get(key);
        let skip = ring.map_or(0, |ring| ring.len().saturating_sub(count));
        ring.into_iter().flatten().skip(skip).map(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(history: &History<u32>, key: &str, count: usize) -> Vec<Option<u32>> {
        history
            .last(key, count)
            .map(Option::<&u32>::copied)
            .collect()
    }

    #[test]
    fn a_missing_window_is_a_gap() {
        let mut history = History::default();
        history.push([("a".to_owned(), 1)].into_iter());
        history.push(std::iter::empty());
        history.push([("a".to_owned(), 3), ("b".to_owned(), 7)].into_iter());
        assert_eq!(values(&history, "a", 9), [Some(1), None, Some(3)]);
        assert_eq!(values(&history, "a", 2), [None, Some(3)]);
        assert_eq!(values(&history, "b", 9), [Some(7)]);
        assert_eq!(values(&history, "c", 9), []);
    }

    #[test]
    fn what_is_long_gone_is_forgotten() {
        let mut history = History::default();
        history.push([("a".to_owned(), 1)].into_iter());
        for _ in 0..WINDOWS {
            assert!(history.rings.contains_key("a"));
            history.push(std::iter::empty());
        }
        assert!(history.rings.is_empty());
    }
}
