//! Who talks to whom over time, without flicker (VTTIF, Gupta 2008; the window, thresholds and patience are this project's).
//!
//! In: bytes by pair for each update. Out: sets of edges, each when it had stayed. Must not know: what the ends are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Updates that are averaged.
pub(super) const WINDOW: usize = 20;
/// An edge appears from this part of the greatest on (a tenth),
const APPEARS: u128 = 10;
/// and goes below this part (a twentieth).
const GOES: u128 = 20;
/// Updates that edges have to stay for.
const PATIENCE: usize = 3;
/// Sets of edges that are kept, at most.
const MOST_REPORTS: usize = 256;

/// From whom to whom.
pub(super) type Pair = (u32, u32);

/// Edges over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Smoothed {
    window: VecDeque<BTreeMap<Pair, u64>>,
    sums: BTreeMap<Pair, u64>,
    on: BTreeSet<Pair>,
    same: usize,
    /// Each set that stayed, with the number of the update that told it.
    reports: Vec<(usize, BTreeSet<Pair>)>,
    updates: usize,
}

impl Smoothed {
    /// Bytes of one update.
    pub(super) fn update(&mut self, bytes: &BTreeMap<Pair, u64>) {
        for (pair, bytes) in bytes {
            let sum = self.sums.entry(*pair).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        self.window.push_back(bytes.clone());
        if self.window.len() > WINDOW
            && let Some(oldest) = self.window.pop_front()
        {
            for (pair, bytes) in oldest {
                if let Some(sum) = self.sums.get_mut(&pair) {
                    *sum = sum.saturating_sub(bytes);
                }
            }
        }
        let most = u128::from(self.sums.values().copied().max().unwrap_or(0));
        let mut on = self.on.clone();
        for (pair, sum) in &self.sums {
            let sum = u128::from(*sum);
            if sum > 0 && sum * APPEARS >= most {
                on.insert(*pair);
            } else if sum * GOES < most || most == 0 {
                on.remove(pair);
            }
        }
        self.sums.retain(|_, sum| *sum > 0);
        on.retain(|pair| self.sums.contains_key(pair));
        self.same = if on == self.on && self.updates > 0 {
            self.same.saturating_add(1)
        } else {
            1
        };
        self.on = on;
        let news = self.reports.last().is_none_or(|(_, last)| *last != self.on);
        if self.same >= PATIENCE && news && self.reports.len() < MOST_REPORTS {
            self.reports.push((self.updates, self.on.clone()));
        }
        self.updates += 1;
    }

    /// Each set of edges that stayed, with the number of the update that told it; the first is what there was at first.
    pub(super) fn reports(&self) -> &[(usize, BTreeSet<Pair>)] {
        &self.reports
    }
}

/// Pairs with at least a tenth of the greatest.
pub(super) fn edges(bytes: &BTreeMap<Pair, u64>) -> BTreeSet<Pair> {
    let most = u128::from(bytes.values().copied().max().unwrap_or(0));
    let enough = |bytes: u64| bytes > 0 && u128::from(bytes) * APPEARS >= most;
    let enough = bytes.iter().filter(|(_, bytes)| enough(**bytes));
    enough.map(|(pair, _)| *pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u32 = 8;

    fn ring(bytes: u64) -> BTreeMap<Pair, u64> {
        (0..N).map(|i| ((i, (i + 1) % N), bytes)).collect()
    }

    fn all(bytes: u64) -> BTreeMap<Pair, u64> {
        let pairs = (0..N).flat_map(|i| (0..N).map(move |j| (i, j)));
        pairs
            .filter(|(i, j)| i != j)
            .map(|pair| (pair, bytes))
            .collect()
    }

    /// When something was told, and how many edges there were.
    fn told(updates: impl IntoIterator<Item = BTreeMap<Pair, u64>>) -> Vec<(usize, usize)> {
        let mut smoothed = Smoothed::default();
        for update in updates {
            smoothed.update(&update);
        }
        let reports = smoothed.reports.iter();
        reports
            .map(|(update, edges)| (*update, edges.len()))
            .collect()
    }

    fn then(
        first: &BTreeMap<Pair, u64>,
        second: &BTreeMap<Pair, u64>,
        count: usize,
    ) -> Vec<BTreeMap<Pair, u64>> {
        let mut updates = vec![first.clone(); 40];
        updates.extend(vec![second.clone(); count]);
        updates
    }

    #[test]
    fn a_step_is_told_once() {
        let (ring, all) = (ring(1_000_000), all(1_000_000));
        // The change is at update 40: told 3 later, and 21 later where old edges have to leave the window first.
        assert_eq!(told(then(&ring, &all, 60)), [(2, 8), (43, 56)]);
        assert_eq!(told(then(&all, &ring, 60)), [(2, 56), (61, 8)]);
    }

    #[test]
    fn flicker_is_one_set_of_edges() {
        let flicker = (0..100).map(|n| {
            if n % 2 == 0 {
                ring(1_000_000)
            } else {
                all(1_000_000)
            }
        });
        assert_eq!(told(flicker), [(3, 56)]);
    }

    #[test]
    fn chatter_of_3_per_cent_is_no_edge_and_size_does_not_matter() {
        let mut noisy = all(30_000);
        noisy.extend(ring(1_030_000));
        assert_eq!(told(vec![noisy; 50]), [(2, 8)]);
        let small = told(then(&ring(1_000_000), &all(1_000_000), 60));
        let large = told(then(&ring(10_000_000), &all(10_000_000), 60));
        assert_eq!(small, large);
    }

    #[test]
    fn nothing_has_no_edges() {
        assert_eq!(told(vec![BTreeMap::new(); 10]), [(2, 0)]);
        assert_eq!(edges(&BTreeMap::new()), BTreeSet::new());
        assert_eq!(edges(&[((0, 1), 0)].into()), BTreeSet::new());
        let pairs: BTreeMap<Pair, u64> = [((0, 1), 100), ((1, 0), 10), ((2, 0), 9)].into();
        assert_eq!(edges(&pairs), [(0, 1), (1, 0)].into());
    }
}
