//! Middle and scatter of samples, of one day and over several.
//!
//! In: numbers. Out: [`Moments`]. Must not know: what they are of.

use courtside_core::model::spec::Moments;

/// Of a day that is older by one, each sample counts for so much (CPI2, table 2: about 0.9).
pub(super) const AGE_WEIGHT: f64 = 0.9;
/// The median absolute deviation of normal numbers times this is their standard deviation.
pub const MAD_TO_SIGMA: f64 = 1.4826;

/// The middle of sorted numbers; 0 of none.
fn middle(sorted: &[f64]) -> f64 {
    let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => at(n / 2),
        n => f64::midpoint(at(n / 2 - 1), at(n / 2)),
    }
}

/// The median; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    middle(&sorted)
}

/// Middle and scatter of the samples of one day.
#[must_use]
pub fn moments(values: &[f64]) -> Moments {
    let n = values.len() as f64;
    if values.is_empty() {
        return Moments::default();
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let median = median(values);
    let off: Vec<f64> = values.iter().map(|x| (x - median).abs()).collect();
    Moments {
        samples: n,
        mean,
        stddev: variance.sqrt(),
        median,
        deviation: self::median(&off),
    }
}

/// Over several days, each with its age in days. The weight of a day is 0.9 to the power of its age, and not a factor of its
/// values, as the paper's words would have it: that would make every mean too low.
#[must_use]
pub fn over_days(days: &[(u64, Moments)]) -> Moments {
    let weighted: Vec<(f64, Moments)> = days
        .iter()
        .map(|&(age, day)| (weight(age) * day.samples, day))
        .filter(|(weight, _)| *weight > 0.0)
        .collect();
    let samples: f64 = weighted.iter().map(|(weight, _)| weight).sum();
    if samples <= 0.0 {
        return Moments::default();
    }
    let mean_of = |of: &dyn Fn(&Moments) -> f64| {
        weighted.iter().map(|(w, day)| w * of(day)).sum::<f64>() / samples
    };
    let mean = mean_of(&|day| day.mean);
    let squares = mean_of(&|day| day.stddev * day.stddev + day.mean * day.mean);
    let median = weighted_median(weighted.iter().map(|(w, day)| (*w, day.median)));
    let deviation = weighted_median(
        weighted
            .iter()
            .map(|(w, day)| (*w, day.deviation + (day.median - median).abs())),
    );
    Moments {
        samples,
        mean,
        stddev: (squares - mean * mean).max(0.0).sqrt(),
        median,
        deviation,
    }
}

fn weight(age: u64) -> f64 {
    AGE_WEIGHT.powi(i32::try_from(age.min(1000)).unwrap_or(1000))
}

/// The value below which half of the weight is; between two, if exactly half is.
fn weighted_median(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut sorted: Vec<(f64, f64)> = values.collect();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let half = sorted.iter().map(|(weight, _)| weight).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    let mut lower = None;
    for (weight, value) in sorted {
        if let Some(lower) = lower {
            return f64::midpoint(lower, value);
        }
        sum += weight;
        if (sum - half).abs() <= half * 1e-12 {
            lower = Some(value);
        } else if sum > half {
            return value;
        }
    }
    lower.unwrap_or(0.0)
}

/// A robust standard deviation: by the median deviation, or the plain one where more than half of the samples are the same.
#[must_use]
pub fn sigma(moments: &Moments) -> f64 {
    if moments.deviation > 0.0 {
        MAD_TO_SIGMA * moments.deviation
    } else {
        moments.stddev
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn an_older_day_weighs_less_and_its_values_are_what_they_were() {
        let day = |mean: f64| moments(&vec![mean; 100]);
        let both = over_days(&[(0, day(1.0)), (1, day(2.0))]);
        assert!(close(both.mean, 1.473_684), "{both:?}");
        assert!(close(both.stddev, 0.499_307), "{both:?}");
        assert!(close(both.samples, 190.0));
        assert!(close(both.median, 1.0));
        // Two days of one age: in between.
        assert!(close(
            over_days(&[(1, day(1.0)), (1, day(2.0))]).median,
            1.5
        ));
    }

    #[test]
    fn one_burst_moves_the_deviation_and_not_the_median() {
        let mut values: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i % 5)).collect();
        let quiet = moments(&values);
        values.extend([5000.0; 4]);
        let with_burst = moments(&values);
        assert!(with_burst.stddev > 2.5 * with_burst.mean, "{with_burst:?}");
        assert!((with_burst.median - quiet.median).abs() <= 1.0);
        assert!(with_burst.deviation <= 2.0);
    }

    #[test]
    fn nothing_has_no_middle_and_no_scatter() {
        assert_eq!(moments(&[]), Moments::default());
        assert_eq!(over_days(&[(0, Moments::default())]), Moments::default());
        assert!(close(sigma(&moments(&[1.0, 1.0, 1.0, 5.0])), 3f64.sqrt()));
    }
}
