//! How far a mean can be trusted.
//!
//! In: values in the order of time. Out: an interval. Must not know: what the values are.

/// Fewer values say nothing about how they scatter.
const MIN_VALUES: u64 = 5;
/// Values that are more alike than this count as this much alike.
const MOST_ALIKE: f64 = 0.95;

/// Quantile 0.975 of Student's distribution: with the normal distribution's scatter known only from so many degrees of
/// freedom, 95 of 100 values lie within so many standard deviations. From a table, and in between linear in 1 / freedom.
pub(super) fn t975(freedom: f64) -> f64 {
    const TABLE: [(f64, f64); 16] = [
        (1.0, 12.706),
        (2.0, 4.303),
        (3.0, 3.182),
        (4.0, 2.776),
        (5.0, 2.571),
        (6.0, 2.447),
        (7.0, 2.365),
        (8.0, 2.306),
        (9.0, 2.262),
        (10.0, 2.228),
        (12.0, 2.179),
        (15.0, 2.131),
        (20.0, 2.086),
        (30.0, 2.042),
        (60.0, 2.000),
        (1e9, 1.960),
    ];
    let mut below = TABLE[0];
    for above in TABLE {
        if freedom <= above.0 {
            let (low, high) = (1.0 / below.0, 1.0 / above.0);
            let way = if low > high {
                (low - 1.0 / freedom.max(1.0)) / (low - high)
            } else {
                1.0
            };
            return below.1 + way * (above.1 - below.1);
        }
        below = above;
    }
    below.1
}

/// Values, by their sums: memory does not grow with them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Series {
    count: u64,
    /// The first value; the sums are of differences to it, which keeps them exact.
    first: f64,
    last: f64,
    sum: f64,
    squares: f64,
    /// Products of each with the one before.
    pairs: f64,
}

impl Series {
    /// The next value.
    pub fn add(&mut self, value: f64) {
        if self.count == 0 {
            self.first = value;
        }
        let by = value - self.first;
        self.pairs += by * (self.last - self.first);
        self.last = value;
        self.sum += by;
        self.squares += by * by;
        self.count += 1;
    }

    /// Where the mean of all such values lies, with 95 in 100. Values that are like the one before by r count for
    /// (1 − r) / (1 + r) each (Bayley and Hammersley, 1946). None for fewer than five.
    #[must_use]
    pub fn interval95(&self) -> Option<[f64; 2]> {
        let n = self.count as f64;
        let mean = self.sum / n;
        let spread = (self.squares - n * mean * mean).max(0.0);
        if self.count < MIN_VALUES {
            return None;
        }
        let ends = self.last - self.first;
        let alike = if spread > 0.0 {
            (self.pairs - mean * (2.0 * self.sum - ends) + (n - 1.0) * mean * mean) / spread
        } else {
            0.0
        };
        let alike = alike.clamp(0.0, MOST_ALIKE);
        let counts = (n * (1.0 - alike) / (1.0 + alike)).max(2.0);
        let error = t975(counts - 1.0) * (spread / (n - 1.0) / counts).sqrt();
        let mean = self.first + mean;
        Some([(mean - error).max(0.0), mean + error])
    }
}

/// The same of values that have nothing to do with each other, such as runs; none for fewer than three.
pub(super) fn interval_of_runs(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() >= 3).then(|| {
        let error = t975(n - 1.0) * (spread / (n - 1.0) / n).sqrt();
        [(mean - error).max(0.0), mean + error]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_table_and_between() {
        for (freedom, t) in [(1.0, 12.706), (4.0, 2.776), (30.0, 2.042), (1e12, 1.96)] {
            assert!((t975(freedom) - t).abs() < 1e-3, "{freedom}");
        }
        // 40 is in printed tables, and not in this one.
        assert!((t975(40.0) - 2.021).abs() < 2e-3);
        assert!(t975(0.5) >= 12.7 && t975(11.0) < 2.228 && t975(11.0) > 2.179);
    }

    #[test]
    fn values_that_are_alike_tell_less() {
        let of = |values: &[f64]| {
            let mut series = Series::default();
            values.iter().for_each(|value| series.add(*value));
            series.interval95()
        };
        // Mean 3, standard deviation √2.5, four degrees of freedom, and every second value on the other side.
        let [low, high] = of(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        let error = 2.776 * (2.5f64 / 5.0).sqrt();
        assert!((low - (3.0 - error)).abs() < 1e-9 && (high - (3.0 + error)).abs() < 1e-9);
        let wide = |values: &[f64]| of(values).map(|[low, high]| high - low).unwrap();
        let climbing: Vec<f64> = (0..40).map(|i| 100.0 + f64::from(i)).collect();
        let shuffled: Vec<f64> = (0..40).map(|i| 100.0 + f64::from(i * 17 % 40)).collect();
        assert!(wide(&climbing) > 2.0 * wide(&shuffled));
        assert_eq!(of(&[7.0; 9]), Some([7.0, 7.0]));
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn three_runs_have_an_interval_and_two_have_none() {
        let [low, high] = interval_of_runs(&[9.0, 10.0, 11.0]).unwrap();
        let error = 4.303 / 3f64.sqrt();
        assert!((low - (10.0 - error)).abs() < 1e-9 && (high - (10.0 + error)).abs() < 1e-9);
        assert_eq!(interval_of_runs(&[9.0, 10.0]), None);
        assert_eq!(interval_of_runs(&[]), None);
    }
}
