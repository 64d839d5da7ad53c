//! Futexes by which the threads of an image slept, and how several windows of them are one.
//!
//! In: sleeps by futex. Out: the busiest of them, as many as are kept. Must not know: the kernel, components.

use serde::{Deserialize, Serialize};

use super::merge::plus;

/// So many futexes of an image are kept: those that cost it most.
const MOST_LOCKS: usize = 16;
/// So many threads that had it are kept of each: those that had it for most of the time.
const MOST_HOLDERS: usize = 4;

/// Sleeps by one futex that ended in the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Where the word lies in the memory of the process.
    pub address: u64,
    /// The process whose threads slept.
    pub tgid: u32,
    /// How many ended.
    pub waits: u64,
    /// For how long, of what lies in this window.
    pub wait_ns: u64,
    /// Of that: while the thread had a message.
    pub with_ball_ns: u64,
    /// Who had it meanwhile, the longest time first: threads of the same process that woke others by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// A thread that had a futex, and let it go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id.
    pub tid: u32,
    /// What it was called when it first let it go.
    pub comm: String,
    /// Of the lock's `wait_ns`: while this thread had it.
    pub wait_ns: u64,
}

impl Lock {
    /// The same futex: the address means something within its process only.
    fn id(&self) -> (u32, u64) {
        (self.tgid, self.address)
    }

    /// Adds sleeps by the same futex.
    fn add(&mut self, more: &Self) {
        plus(&mut self.waits, more.waits);
        plus(&mut self.wait_ns, more.wait_ns);
        plus(&mut self.with_ball_ns, more.with_ball_ns);
        self.holders.extend_from_slice(&more.holders);
        self.holders.sort_by_key(|holder| holder.tid);
        self.holders.dedup_by(|next, kept| {
            let same = next.tid == kept.tid;
            if same {
                plus(&mut kept.wait_ns, next.wait_ns);
            }
            same
        });
        self.holders
            .sort_by_key(|holder| (std::cmp::Reverse(holder.wait_ns), holder.tid));
        self.holders.truncate(MOST_HOLDERS);
    }
}

/// Adds futexes to futexes, and keeps those that cost most: first by what threads waited with a message, then in all.
pub fn add_locks(sum: &mut Vec<Lock>, more: &[Lock]) {
    sum.extend_from_slice(more);
    sum.sort_by_key(Lock::id);
    sum.dedup_by(|next, kept| {
        let same = next.id() == kept.id();
        if same {
            kept.add(next);
        }
        same
    });
    let cost = |lock: &Lock| std::cmp::Reverse((lock.with_ball_ns, lock.wait_ns));
    sum.sort_by_key(|lock| (cost(lock), lock.id()));
    sum.truncate(MOST_LOCKS);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(tgid: u32, address: u64, wait_ns: u64, holders: &[(u32, u64)]) -> Lock {
        let holders = holders.iter().map(|&(tid, wait_ns)| Holder {
            tid,
            comm: format!("t{tid}"),
            wait_ns,
        });
        Lock {
            address,
            tgid,
            waits: 1,
            wait_ns,
            with_ball_ns: 0,
            holders: holders.collect(),
        }
    }

    #[test]
    fn the_same_futex_is_one_and_the_same_address_elsewhere_another() {
        let mut sum = vec![lock(1, 8, 10, &[(5, 10)])];
        add_locks(
            &mut sum,
            &[
                lock(1, 8, 30, &[(6, 25), (5, 5)]),
                lock(2, 8, 100, &[]),
                lock(1, 16, 7, &[]),
            ],
        );
        let told: Vec<_> = sum
            .iter()
            .map(|lock| (lock.tgid, lock.address, lock.waits, lock.wait_ns))
            .collect();
        assert_eq!(told, [(2, 8, 1, 100), (1, 8, 2, 40), (1, 16, 1, 7)]);
        let holders: Vec<_> = sum[1].holders.iter().map(|w| (w.tid, w.wait_ns)).collect();
        assert_eq!(holders, [(6, 25), (5, 15)]);
    }

    #[test]
    fn what_was_waited_with_a_message_comes_first_and_only_so_many_are_kept() {
        let many: Vec<Lock> = (1..100).map(|n| lock(1, n, n, &[])).collect();
        let held_up = Lock {
            with_ball_ns: 1,
            ..lock(1, 1000, 1, &[])
        };
        let mut sum = Vec::new();
        add_locks(&mut sum, &many);
        add_locks(&mut sum, &[held_up]);
        assert_eq!(sum.len(), MOST_LOCKS);
        assert_eq!((sum[0].address, sum[1].address), (1000, 99));
        let crowd: Vec<(u32, u64)> = (1..20).map(|n| (n, u64::MAX)).collect();
        add_locks(&mut sum, &[lock(1, 1000, u64::MAX, &crowd)]);
        assert_eq!(sum[0].holders.len(), MOST_HOLDERS);
        assert_eq!(sum[0].wait_ns, u64::MAX);
    }
}
