//! Which things have been silent for longest, where no event marks their end.
//!
//! In: what is used, again and again. Out: what to forget, when there is too much. The kernel has no hook for the end of a
//! Unix or UDP socket that is there on all kernels, so recency decides: a connection that is used is never forgotten
//! while fewer than half of the bound are used after it. Must not know: what is forgotten.

use std::hash::Hash;

use foldhash::HashMap;

/// How many connections are remembered whose end no event marks: more hardly exist at a time, and each takes some hundred
/// bytes.
pub const MOST: usize = 1 << 16;

/// The order in which things were used last.
#[derive(Clone, Debug)]
pub struct Idle<K> {
    used: HashMap<K, u64>,
    clock: u64,
    most: usize,
}

impl<K: Eq + Hash> Default for Idle<K> {
    fn default() -> Self {
        Self::keeping(MOST)
    }
}

impl<K: Eq + Hash> Idle<K> {
    /// Forgets when there are more than this number.
    #[must_use]
    pub fn keeping(most: usize) -> Self {
        Self {
            used: HashMap::default(),
            clock: 0,
            most: most.max(1),
        }
    }

    /// It is used now. Returns what is to be forgotten: mostly nothing, at times the older half.
    pub fn uses(&mut self, key: K) -> Vec<K> {
        self.clock += 1;
        self.used.insert(key, self.clock);
        if self.used.len() <= self.most {
            return Vec::new();
        }
        let mut times: Vec<u64> = self.used.values().copied().collect();
        let (_, middle, _) = times.select_nth_unstable(self.most / 2);
        let middle = *middle;
        let forgotten = self.used.extract_if(|_, time| *time <= middle);
        let mut forgotten: Vec<(K, u64)> = forgotten.collect();
        // Whoever forgets in this order does the same each time.
        forgotten.sort_unstable_by_key(|(_, time)| *time);
        forgotten.into_iter().map(|(key, _)| key).collect()
    }

    /// It has ended.
    pub fn ends(&mut self, key: &K) {
        self.used.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let mut idle = Idle::keeping(100);
        let mut alive = std::collections::BTreeSet::new();
        for n in 1..10_000u32 {
            for key in [0, n] {
                alive.insert(key);
                for gone in idle.uses(key) {
                    assert!(alive.remove(&gone));
                }
            }
            assert!(alive.contains(&0) && alive.contains(&n));
            assert!(alive.len() <= 101, "{}", alive.len());
        }
        idle.ends(&0);
        assert!(!idle.used.contains_key(&0));
    }
}
