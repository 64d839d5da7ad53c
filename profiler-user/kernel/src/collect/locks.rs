//! Locks: totals by futex, read at two instants, to the futexes by which each image slept between, and who had them.
//!
//! In: totals now and before. Out: futexes by image, those that cost most. Pure. Must not know: maps, components.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use courtside_core::frame::{Holder, Lock, add_locks};
use courtside_wire::{HolderKey, HolderStats, LockKey, LockStats};

use super::names::text;

/// Totals by futex, and by futex and thread that had it.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub locks: HashMap<LockKey, LockStats>,
    pub holders: HashMap<HolderKey, HolderStats>,
}

/// Those that need not be kept.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unwanted {
    pub locks: Vec<LockKey>,
    pub holders: Vec<HolderKey>,
}

/// From so many entries on those are forgotten to which nothing was added in the last window.
const CROWDED: usize = 1024;

impl Totals {
    /// What was added since, by image.
    pub(super) fn since(&self, before: &Self) -> BTreeMap<u32, Vec<Lock>> {
        let mut holders: HashMap<LockKey, Vec<Holder>> = HashMap::new();
        for (key, stats) in &self.holders {
            let told_ns = before.holders.get(key).map_or(0, |b| b.wait_ns);
            let wait_ns = stats.wait_ns.saturating_sub(told_ns);
            if wait_ns > 0 {
                holders.entry(key.lock).or_default().push(Holder {
                    tid: key.tid,
                    comm: text(&stats.comm),
                    wait_ns,
                });
            }
        }
        let mut by_image: BTreeMap<u32, Vec<Lock>> = BTreeMap::new();
        for (key, stats) in &self.locks {
            let before = before.locks.get(key).copied().unwrap_or_default();
            let waits = stats.waits.saturating_sub(before.waits);
            if waits == 0 {
                continue;
            }
            let wait_ns = stats.wait_ns.saturating_sub(before.wait_ns);
            let with_ball_ns = stats.with_ball_ns.saturating_sub(before.with_ball_ns);
            by_image.entry(key.image).or_default().push(Lock {
                address: key.address,
                tgid: key.tgid,
                waits,
                wait_ns,
                // They are not added to at one instant.
                with_ball_ns: with_ball_ns.min(wait_ns),
                holders: fit(holders.remove(key).unwrap_or_default(), wait_ns),
            });
        }
        for locks in by_image.values_mut() {
            let all = std::mem::take(locks);
            add_locks(locks, &all);
        }
        by_image
    }

    /// Where there are many, those to which nothing was added since.
    pub(super) fn idle(&self, before: &Self) -> Unwanted {
        let locks = self.locks.iter().filter(|(key, stats)| {
            let told = before.locks.get(key);
            told.is_some_and(|before| before.waits == stats.waits)
        });
        let holders = self.holders.iter().filter(|(key, stats)| {
            let told = before.holders.get(key);
            told.is_some_and(|before| before.wait_ns == stats.wait_ns)
        });
        let mut unwanted = Unwanted::default();
        if self.locks.len() > CROWDED {
            unwanted.locks = locks.map(|(key, _)| *key).collect();
        }
        if self.holders.len() > CROWDED {
            unwanted.holders = holders.map(|(key, _)| *key).collect();
        }
        unwanted
    }

    /// Those of images that are done.
    pub(super) fn of(&self, images: &BTreeSet<u32>) -> Unwanted {
        let is_of = |key: &LockKey| images.contains(&key.image);
        let locks = self.locks.keys().filter(|key| is_of(key));
        let holders = self.holders.keys().filter(|key| is_of(&key.lock));
        Unwanted {
            locks: locks.copied().collect(),
            holders: holders.copied().collect(),
        }
    }

    /// Forgets some.
    pub(super) fn forget(&mut self, unwanted: &Unwanted) {
        for key in &unwanted.locks {
            self.locks.remove(key);
        }
        for key in &unwanted.holders {
            self.holders.remove(key);
        }
    }
}

/// Holders that had it for no longer than was waited: they and the sleeps are not read at one instant.
fn fit(mut holders: Vec<Holder>, wait_ns: u64) -> Vec<Holder> {
    holders.sort_by_key(|holder| (std::cmp::Reverse(holder.wait_ns), holder.tid));
    let mut left_ns = wait_ns;
    for holder in &mut holders {
        holder.wait_ns = holder.wait_ns.min(left_ns);
        left_ns -= holder.wait_ns;
    }
    holders.retain(|holder| holder.wait_ns > 0);
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(image: u32, address: u64) -> LockKey {
        LockKey {
            address,
            image,
            tgid: 40,
        }
    }

    fn lock(image: u32, address: u64, waits: u64) -> (LockKey, LockStats) {
        let stats = LockStats {
            waits,
            wait_ns: 10 * waits,
            with_ball_ns: 5 * waits,
            ..LockStats::default()
        };
        (key(image, address), stats)
    }

    fn holder(image: u32, address: u64, tid: u32, wait_ns: u64) -> (HolderKey, HolderStats) {
        let mut comm = [0; 16];
        comm[..2].copy_from_slice(b"w1");
        let lock = key(image, address);
        let key = HolderKey { lock, tid, pad: 0 };
        (key, HolderStats { wait_ns, comm })
    }

    #[test]
    fn only_what_was_added_counts_and_nobody_had_it_for_longer_than_was_waited() {
        let before = Totals {
            locks: HashMap::from([lock(2, 8, 5), lock(2, 16, 7)]),
            holders: HashMap::from([holder(2, 8, 41, 50)]),
        };
        let now = Totals {
            locks: HashMap::from([lock(2, 8, 13), lock(2, 16, 7), lock(3, 8, 1)]),
            holders: HashMap::from([holder(2, 8, 41, 110), holder(2, 8, 42, 30)]),
        };
        let by_image = now.since(&before);
        assert_eq!(by_image.keys().copied().collect::<Vec<_>>(), [2, 3]);
        let [lock] = &by_image[&2][..] else {
            panic!("{by_image:?}");
        };
        assert_eq!((lock.address, lock.waits, lock.wait_ns), (8, 8, 80));
        assert_eq!(lock.with_ball_ns, 40);
        let holders: Vec<_> = lock
            .holders
            .iter()
            .map(|w| (w.tid, w.comm.as_str(), w.wait_ns))
            .collect();
        assert_eq!(holders, [(41, "w1", 60), (42, "w1", 20)]);
        assert!(by_image[&3][0].holders.is_empty());
    }

    #[test]
    fn what_is_done_goes_and_what_is_idle_where_there_is_a_crowd() {
        let few = Totals {
            locks: HashMap::from([lock(2, 8, 1), lock(3, 8, 1)]),
            holders: HashMap::from([holder(3, 8, 41, 1)]),
        };
        assert_eq!(few.idle(&few), Unwanted::default());
        let done = few.of(&BTreeSet::from([3]));
        assert_eq!(done.locks, [key(3, 8)]);
        assert_eq!(done.holders.len(), 1);
        let many = |waits| Totals {
            locks: (0..2000)
                .map(|n| lock(2, n, 1))
                .chain([lock(2, 7, waits)])
                .collect(),
            holders: (0..2000).map(|n| holder(2, 8, n, 1)).collect(),
        };
        let mut now = many(2);
        now.locks.extend([lock(2, 5000, 1)]);
        let idle = now.idle(&many(1));
        assert_eq!((idle.locks.len(), idle.holders.len()), (1999, 2000));
        now.forget(&idle);
        assert_eq!((now.locks.len(), now.holders.len()), (2, 0));
    }
}
