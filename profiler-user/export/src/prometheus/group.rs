//! Sums by key: counters and histograms of one group.
//!
//! In: what a window says of a key. Out: sums. Must not know: which keys there are, how they are written.

use std::collections::BTreeMap;

use courtside_core::model::snapshot::Dist;

use super::family::Group;

/// The bounds of a histogram's buckets are one below powers of two, from this one: 4.1 microseconds.
const FIRST_POWER: u32 = 12;
/// To this one: 17 seconds.
const LAST_POWER: u32 = 34;
/// Buckets with a bound.
pub(super) const BUCKETS: usize = (LAST_POWER - FIRST_POWER + 1) as usize;

/// The largest value of each bucket with a bound. Where values are measured in buckets of an eighth of an octave, none of
/// them has values on both sides of such a bound: counts are exact.
pub(super) fn bounds_ns() -> impl Iterator<Item = u64> {
    (FIRST_POWER..=LAST_POWER).map(|power| (1u64 << power) - 1)
}

/// The bucket of values up to this one; [`BUCKETS`] if it is beyond all bounds.
fn bucket_of(upper_ns: u64) -> usize {
    let bits = u64::BITS - upper_ns.leading_zeros();
    let bucket = bits.max(FIRST_POWER).saturating_sub(FIRST_POWER);
    (bucket as usize).min(BUCKETS)
}

/// How finely native histograms divide: 2^3 buckets for each power of two, as the kernel's do.
pub(super) const SCHEMA: i32 = 3;

/// Where the kernel divides powers of two, it does so by eight.
const KERNEL_POWER: u32 = 3;

/// The bucket of a native histogram in which the middle of the kernel's bucket is that ends at this value or contains it, in
/// seconds: bucket n ends at 2^(n/8). `None` for zero.
fn fine_bucket_of(upper_ns: u64) -> Option<i32> {
    let power = upper_ns.checked_ilog2()?;
    let width = 1u64 << power.saturating_sub(KERNEL_POWER);
    let lower_ns = upper_ns & !(width - 1);
    let middle_ns = lower_ns as f64 + (upper_ns - lower_ns) as f64 / 2.0;
    let buckets = f64::from(1u32 << SCHEMA);
    Some(((middle_ns / 1e9).log2() * buckets).ceil() as i32)
}

/// Counts for a native histogram; those of buckets with values only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fine {
    pub(super) zeros: u64,
    pub(super) counts: BTreeMap<i32, u64>,
}

impl Fine {
    fn add(&mut self, dist: &Dist) {
        for &(upper_ns, count) in &dist.buckets {
            let sum = match fine_bucket_of(upper_ns) {
                Some(bucket) => self.counts.entry(bucket).or_default(),
                None => &mut self.zeros,
            };
            *sum = sum.saturating_add(count);
        }
    }

    fn merge(&mut self, more: &Self) {
        self.zeros = self.zeros.saturating_add(more.zeros);
        for (&bucket, &count) in &more.counts {
            let sum = self.counts.entry(bucket).or_default();
            *sum = sum.saturating_add(count);
        }
    }
}

/// The window that is added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    /// When it began.
    pub(super) start_ns: u64,
    /// Native histograms are wanted.
    pub(super) native: bool,
}

/// A histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) sum_ns: u64,
    /// Values in each bucket, the last one without a bound; not cumulative.
    pub(super) counts: [u64; BUCKETS + 1],
    /// The same for a native histogram, where one is wanted.
    pub(super) fine: Option<Box<Fine>>,
}

impl Sizes {
    fn add(&mut self, more: &Dist, now: Now) {
        if now.native {
            self.fine.get_or_insert_default().add(more);
        }
        self.sum_ns = self.sum_ns.saturating_add(more.sum_ns);
        for &(upper_ns, count) in &more.buckets {
            if let Some(sum) = self.counts.get_mut(bucket_of(upper_ns)) {
                *sum = sum.saturating_add(count);
            }
        }
    }

    fn merge(&mut self, more: &Self) {
        if let Some(more) = &more.fine {
            self.fine.get_or_insert_default().merge(more);
        }
        self.sum_ns = self.sum_ns.saturating_add(more.sum_ns);
        for (sum, more) in self.counts.iter_mut().zip(more.counts) {
            *sum = sum.saturating_add(more);
        }
    }

    /// How many values.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }
}

/// All sums of one key, in the order of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// When they were 0; `None` before there is anything.
    pub(super) since_ns: Option<u64>,
    /// `None` until it is known once.
    pub(super) counters: Vec<Option<u64>>,
    pub(super) histograms: Vec<Sizes>,
}

impl Sums {
    /// Adds what a window says.
    pub(super) fn add<T>(&mut self, group: &Group<T>, item: &T, now: Now) {
        self.since_ns.get_or_insert(now.start_ns);
        self.counters.resize(group.counters.len(), None);
        self.histograms
            .resize_with(group.histograms.len(), Sizes::default);
        for (sum, counter) in self.counters.iter_mut().zip(group.counters) {
            *sum = both(*sum, (counter.get)(item));
        }
        for (sum, histogram) in self.histograms.iter_mut().zip(group.histograms) {
            if let Some(dist) = (histogram.get)(item) {
                sum.add(dist, now);
            }
        }
    }

    /// Adds what another key had.
    pub(super) fn merge(&mut self, more: &Self) {
        if self.counters.is_empty() {
            self.clone_from(more);
            return;
        }
        for (sum, more) in self.counters.iter_mut().zip(&more.counters) {
            *sum = both(*sum, *more);
        }
        for (sum, more) in self.histograms.iter_mut().zip(&more.histograms) {
            sum.merge(more);
        }
    }
}

/// The sum of what is known.
fn both(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::fixture::frames::raw;

    use super::*;

    #[test]
    fn every_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let bounds: Vec<u64> = bounds_ns().collect();
        for value in (0..63).flat_map(|power| {
            let power = 1u64 << power;
            [power - 1, power, power + 1, power + power / 3]
        }) {
            let mut sizes = Sizes::default();
            sizes.add(&Dist::from(&raw([value])), Now::default());
            let expected = bounds
                .iter()
                .position(|bound| value <= *bound)
                .unwrap_or(BUCKETS);
            assert_eq!(sizes.counts[expected], 1, "{value}");
            assert_eq!((sizes.count(), sizes.sum_ns), (1, value));
        }
    }

    /// What the kernel tells of a value is the bucket of an eighth of a power of two that it is in.
    #[test]
    fn in_a_native_histogram_a_value_is_off_by_no_more_than_half_a_bucket_of_the_kernel() {
        let now = Now {
            start_ns: 0,
            native: true,
        };
        let base = 2f64.powf(1.0 / 8.0);
        for value in (0..63).flat_map(|power| {
            let power = 1u64 << power;
            [
                power,
                power + 1,
                power + power / 3,
                power + power / 2 + power / 5,
            ]
        }) {
            let mut sizes = Sizes::default();
            sizes.add(&Dist::from(&raw([value])), now);
            let fine = sizes.fine.unwrap();
            assert_eq!((fine.zeros, fine.counts.len()), (0, 1));
            let (&bucket, &count) = fine.counts.first_key_value().unwrap();
            assert_eq!(count, 1);
            let upper_ns = base.powi(bucket) * 1e9;
            let lower_ns = upper_ns / base;
            let value = value as f64;
            let (low, high) = (lower_ns / 1.0626, upper_ns * 1.0626);
            assert!(low < value && value <= high, "{value}: {low} to {high}");
        }
        let mut sizes = Sizes::default();
        sizes.add(&Dist::from(&raw([0, 0, 1, 1_000_000_000])), now);
        let mut twice = sizes.clone();
        twice.merge(&sizes);
        let fine = twice.fine.unwrap();
        assert_eq!(fine.zeros, 4);
        // A second is the end of bucket 0; a nanosecond is 2^-29.9.
        assert_eq!(fine.counts, BTreeMap::from([(-239, 2), (0, 2)]));
        assert_eq!(Sizes::default().fine, None);
    }

    #[test]
    fn what_is_not_known_is_nothing_and_what_was_known_stays() {
        assert_eq!(both(None, None), None);
        assert_eq!(both(None, Some(3)), Some(3));
        assert_eq!(both(Some(3), None), Some(3));
        assert_eq!(both(Some(u64::MAX), Some(3)), Some(u64::MAX));
    }
}
