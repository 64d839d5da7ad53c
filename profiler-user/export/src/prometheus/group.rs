//! Sums by key: counters and histograms of one group.
//!
//! In: what a window says of a key. Out: sums. Must not know: which keys there are, how they are written.

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

/// A histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) sum_ns: u64,
    /// Values in each bucket, the last one without a bound; not cumulative.
    pub(super) counts: [u64; BUCKETS + 1],
}

impl Sizes {
    fn add(&mut self, more: &Dist) {
        self.sum_ns = self.sum_ns.saturating_add(more.sum_ns);
        for &(upper_ns, count) in &more.buckets {
            if let Some(sum) = self.counts.get_mut(bucket_of(upper_ns)) {
                *sum = sum.saturating_add(count);
            }
        }
    }

    fn merge(&mut self, more: &Self) {
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
    /// `None` until it is known once.
    pub(super) counters: Vec<Option<u64>>,
    pub(super) histograms: Vec<Sizes>,
}

impl Sums {
    /// Adds what a window says.
    pub(super) fn add<T>(&mut self, group: &Group<T>, item: &T) {
        self.counters.resize(group.counters.len(), None);
        self.histograms
            .resize_with(group.histograms.len(), Sizes::default);
        for (sum, counter) in self.counters.iter_mut().zip(group.counters) {
            *sum = both(*sum, (counter.get)(item));
        }
        for (sum, histogram) in self.histograms.iter_mut().zip(group.histograms) {
            if let Some(dist) = (histogram.get)(item) {
                sum.add(dist);
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
            sizes.add(&Dist::from(&raw([value])));
            let expected = bounds
                .iter()
                .position(|bound| value <= *bound)
                .unwrap_or(BUCKETS);
            assert_eq!(sizes.counts[expected], 1, "{value}");
            assert_eq!((sizes.count(), sizes.sum_ns), (1, value));
        }
    }

    #[test]
    fn what_is_not_known_is_nothing_and_what_was_known_stays() {
        assert_eq!(both(None, None), None);
        assert_eq!(both(None, Some(3)), Some(3));
        assert_eq!(both(Some(3), None), Some(3));
        assert_eq!(both(Some(u64::MAX), Some(3)), Some(u64::MAX));
    }
}
