//! Distributions: what a user sees of one.
//!
//! In: values, or [`DistRaw`], counts by bucket of the wire types' geometry. Out: [`Dist`] with quantiles.
//! Must not know: what the durations are of.

use std::collections::BTreeMap;

use courtside_wire::hist::{HIST_BUCKETS, bounds_of, bucket_of};

use super::snapshot::Dist;
use crate::frame::DistRaw;

/// A distribution in the making.
#[derive(Clone, Debug, Default)]
pub struct DistBuilder {
    raw: DistRaw,
    buckets: BTreeMap<u16, u64>,
}

impl DistBuilder {
    /// Adds a value.
    pub fn add(&mut self, ns: u64) {
        let raw = &mut self.raw;
        raw.min_ns = if self.buckets.is_empty() {
            ns
        } else {
            raw.min_ns.min(ns)
        };
        raw.max_ns = raw.max_ns.max(ns);
        raw.sum_ns = raw.sum_ns.saturating_add(ns);
        // There are 304 buckets.
        let bucket = u16::try_from(bucket_of(ns)).unwrap_or(u16::MAX);
        *self.buckets.entry(bucket).or_default() += 1;
    }

    /// What it has become.
    #[must_use]
    pub fn finish(self) -> DistRaw {
        DistRaw {
            buckets: self.buckets.into_iter().collect(),
            ..self.raw
        }
    }
}

/// Number of values.
#[must_use]
pub fn count(raw: &DistRaw) -> u64 {
    raw.buckets
        .iter()
        .fold(0, |sum, &(_, count)| sum.saturating_add(count))
}

impl From<&DistRaw> for Dist {
    fn from(raw: &DistRaw) -> Self {
        let (Some(&(first, _)), Some(&(last, _))) = (raw.buckets.first(), raw.buckets.last())
        else {
            return Self::default();
        };
        let count = count(raw);
        let mean_ns = raw.sum_ns / count.max(1);
        // The kernel writes buckets and extremes one after the other, and two CPUs may do so at once: a window may close in
        // between, or an extreme get lost. Where the mean shows that, it is the outer bound of the bucket.
        let (low, high) = bounds(first);
        let min_ns = raw.min_ns.clamp(low, high);
        let min_ns = if mean_ns < min_ns { low } else { min_ns };
        let (low, high) = bounds(last);
        let max_ns = raw.max_ns.clamp(low, high).max(min_ns);
        let max_ns = if mean_ns > max_ns { high } else { max_ns };
        let quantile = |q: f64| {
            let rank = ((count as f64 * q).ceil() as u64).clamp(1, count.max(1));
            let mut seen = 0u64;
            for &(bucket, n) in &raw.buckets {
                seen = seen.saturating_add(n);
                if seen >= rank {
                    let (low, high) = bounds(bucket);
                    let (low, high) = (low.max(min_ns), high.min(max_ns));
                    return low + high.saturating_sub(low) / 2;
                }
            }
            max_ns
        };
        Self {
            count,
            sum_ns: raw.sum_ns,
            min_ns,
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            max_ns,
            buckets: raw
                .buckets
                .iter()
                .map(|&(b, n)| (bounds(b).1.min(max_ns), n))
                .collect(),
        }
    }
}

/// Bounds of a bucket; a number beyond the geometry (a damaged recording) is the last bucket.
fn bounds(bucket: u16) -> (u64, u64) {
    bounds_of(usize::from(bucket).min(HIST_BUCKETS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::frames::raw;
    use crate::frame::merge_dist as merge;

    #[test]
    fn nothing_is_all_zero() {
        assert_eq!(Dist::from(&DistRaw::default()), Dist::default());
    }

    #[test]
    fn one_value_is_every_quantile() {
        let dist = Dist::from(&raw([1_234_567]));
        assert_eq!(
            (dist.count, dist.sum_ns, dist.min_ns, dist.max_ns),
            (1, 1_234_567, 1_234_567, 1_234_567)
        );
        assert_eq!((dist.p50_ns, dist.p99_ns), (1_234_567, 1_234_567));
        assert_eq!(dist.buckets, [(1_234_567, 1)]);
    }

    #[test]
    fn quantiles_are_within_the_promised_error() {
        // A spread over seven orders of magnitude, in no order.
        let mut x = 1u64;
        let mut values: Vec<u64> = (0..10_000)
            .map(|_| {
                x = x
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (1u64 << (x >> 59)) | ((x >> 40) % (1 << (x >> 59)))
            })
            .collect();
        let dist = Dist::from(&raw(values.iter().copied()));
        values.sort_unstable();
        for (q, got) in [(0.5, dist.p50_ns), (0.9, dist.p90_ns), (0.99, dist.p99_ns)] {
            let exact = values[(q * 10_000.0) as usize - 1] as f64;
            assert!(
                (got as f64 - exact).abs() <= 0.0625 * exact,
                "{q}: {got} for {exact}"
            );
        }
        assert_eq!((dist.min_ns, dist.max_ns), (values[0], values[9_999]));
        assert_eq!(dist.buckets.iter().map(|b| b.1).sum::<u64>(), 10_000);
        assert!(dist.buckets.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn merged_is_the_same_as_measured_together() {
        let mut merged = raw([5, 100, 1 << 50]);
        merge(&mut merged, &raw([100, 7_000]));
        merge(&mut merged, &DistRaw::default());
        assert_eq!(merged, raw([5, 100, 100, 7_000, 1 << 50]));
        let mut empty = DistRaw::default();
        merge(&mut empty, &raw([9]));
        assert_eq!(empty, raw([9]));
    }

    #[test]
    fn the_mean_is_between_the_extremes_even_if_one_was_lost() {
        let mut lost = raw([1_300, 1_310, 1_390, 1_520]);
        lost.min_ns = 1_520;
        assert_eq!(Dist::from(&lost).min_ns, 1_280);
        let mut lost = raw([1_300, 1_310, 1_320]);
        lost.min_ns = 1_320;
        lost.max_ns = 1_300;
        let dist = Dist::from(&lost);
        assert_eq!((dist.min_ns, dist.max_ns), (1_280, 1_407));
    }

    #[test]
    fn damaged_input_gives_ordered_numbers() {
        let dist = Dist::from(&DistRaw {
            sum_ns: u64::MAX,
            min_ns: 900,
            max_ns: 0,
            buckets: vec![(20, u64::MAX), (9_999, u64::MAX)],
        });
        assert!(
            dist.min_ns <= dist.p50_ns && dist.p50_ns <= dist.p99_ns && dist.p99_ns <= dist.max_ns
        );
    }
}
