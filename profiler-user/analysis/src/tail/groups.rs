//! Which requests are kept, in bounded memory: the slowest ones, and a uniform sample of all.
//!
//! In: the anatomy of each request. Out: the slow group, the median group, the service times of all. Must not know: what an
//! anatomy is made of.
//!
//! The threshold of the slow ones adapts to the budget: once there are more, the fastest of them goes. The sample is a
//! bottom-k sketch (Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007): those requests are kept whose
//! numbers have the smallest hashes. So the same recording gives the same answer.

use std::{collections::BTreeMap, rc::Rc};

use courtside_core::model::{dist::DistBuilder, snapshot::Dist};

use super::open::Anatomy;

/// Requests that are kept of each kind.
pub(super) const BUDGET: usize = 4096;

/// Requests by their service time or hash, and then by their number.
type Kept = BTreeMap<(u64, u64), Rc<Anatomy>>;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// How many there were.
    pub(super) count: u64,
    service: DistBuilder,
    slow: Kept,
    sample: Kept,
}

/// The two groups that are held against each other.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) service_ns: Dist,
    /// The slowest first.
    pub(super) slow: Vec<Rc<Anatomy>>,
    pub(super) median: Vec<Rc<Anatomy>>,
}

impl Groups {
    /// One more request.
    pub(super) fn add(&mut self, anatomy: Anatomy) {
        self.count += 1;
        self.service.add(anatomy.service_ns);
        let slow = (anatomy.service_ns, self.count);
        let sampled = (scattered(self.count), self.count);
        let full = |kept: &Kept| kept.len() >= BUDGET;
        let is_slow =
            !full(&self.slow) || self.slow.first_key_value().is_some_and(|(k, _)| *k < slow);
        let is_sampled = !full(&self.sample)
            || self
                .sample
                .last_key_value()
                .is_some_and(|(k, _)| *k > sampled);
        if !is_slow && !is_sampled {
            return;
        }
        let anatomy = Rc::new(anatomy);
        if is_slow {
            self.slow.insert(slow, Rc::clone(&anatomy));
            if self.slow.len() > BUDGET {
                self.slow.pop_first();
            }
        }
        if is_sampled {
            self.sample.insert(sampled, anatomy);
            if self.sample.len() > BUDGET {
                self.sample.pop_last();
            }
        }
    }

    /// The slowest hundredth, as far as it is kept, and the middle fifth of the sample.
    pub(super) fn finish(self) -> Held {
        let wanted = usize::try_from(self.count.div_ceil(100)).unwrap_or(usize::MAX);
        let slow = self.slow.into_values().rev().take(wanted).collect();
        let mut sample: Vec<Rc<Anatomy>> = self.sample.into_values().collect();
        sample.sort_by_key(|anatomy| anatomy.service_ns);
        let (from, to) = (sample.len() * 2 / 5, sample.len() * 3 / 5);
        let many = to.saturating_sub(from).max(1);
        Held {
            service_ns: Dist::from(&self.service.finish()),
            slow,
            median: sample.into_iter().skip(from).take(many).collect(),
        }
    }
}

/// A number's hash, which is as good as random: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn scattered(number: u64) -> u64 {
    let mut hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service_ns: u64) -> Anatomy {
        Anatomy {
            service_ns,
            ..Anatomy::default()
        }
    }

    fn times(group: &[Rc<Anatomy>]) -> Vec<u64> {
        group.iter().map(|anatomy| anatomy.service_ns).collect()
    }

    #[test]
    fn of_few_requests_the_groups_are_exact() {
        let mut groups = Groups::default();
        // 1 to 1000, in no order.
        for n in 0..1000 {
            groups.add(request(n * 387 % 1000 + 1));
        }
        let held = groups.finish();
        assert_eq!(times(&held.slow), (991..=1000).rev().collect::<Vec<_>>());
        assert_eq!(times(&held.median), (401..=600).collect::<Vec<_>>());
        assert_eq!(held.service_ns.count, 1000);
    }

    #[test]
    fn of_many_requests_the_slowest_are_kept_and_the_median_is_near() {
        let mut groups = Groups::default();
        let n = 1_000_000;
        for i in 0..n {
            groups.add(request(i * 387_121 % n + 1));
        }
        assert!(groups.slow.len() <= BUDGET && groups.sample.len() <= BUDGET);
        let held = groups.finish();
        // A hundredth would be 10 000.
        assert_eq!(times(&held.slow), (n - 4095..=n).rev().collect::<Vec<_>>());
        let median = times(&held.median);
        let mean = median.iter().sum::<u64>() / median.len() as u64;
        assert_eq!(median.len(), 819);
        // The median of 4096 is known to 1/(2 sqrt(4096)), one standard deviation.
        assert!(mean.abs_diff(n / 2) < 4 * n / 128, "{mean}");
    }

    #[test]
    fn a_single_request_is_both() {
        let mut groups = Groups::default();
        groups.add(request(7));
        let held = groups.finish();
        assert_eq!((times(&held.slow), times(&held.median)), (vec![7], vec![7]));
    }
}
