//! What several rounds say together: median, least, greatest, and an interval for the median.
//!
//! In: one figure a round. Out: what may be said of it, and whether a limit is kept. Pure. Must not know: what the
//! figure is.

/// As many rounds as an interval of 95 % asks for: with five, even the least and the greatest hold only 94 %.
pub const ROUNDS_FOR_INTERVAL: u32 = 6;

/// Median, least and greatest, and where the median lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many rounds there were.
    pub rounds: usize,
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// Least and greatest value that the true median has with 95 %: values of rounds, whatever their distribution.
    /// With too few rounds for that, the least and the greatest.
    pub interval: [f64; 2],
}

impl Spread {
    /// Of one value a round; not numbers where there is none.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        };
        let last = values.len().wrapping_sub(1);
        let left_out = left_out(values.len());
        Self {
            rounds: values.len(),
            median,
            least: at(0),
            greatest: at(last),
            interval: [at(left_out), at(last.wrapping_sub(left_out))],
        }
    }

    /// Width of the interval as a share of the median.
    pub fn width(&self) -> f64 {
        let [low, high] = self.interval;
        (high - low) / self.median.abs()
    }

    /// Whether the interval is one of 95 %, and narrower than this share of the median.
    pub fn is_narrow(&self, share: f64) -> bool {
        self.rounds >= ROUNDS_FOR_INTERVAL as usize && self.width() < share
    }

    /// Every value taken through a function that keeps or reverses their order.
    pub fn map(self, of: impl Fn(f64) -> f64) -> Self {
        let ordered = |[a, b]: [f64; 2]| if a <= b { [a, b] } else { [b, a] };
        let [least, greatest] = ordered([of(self.least), of(self.greatest)]);
        Self {
            rounds: self.rounds,
            median: of(self.median),
            least,
            greatest,
            interval: ordered(self.interval.map(of)),
        }
    }

    /// Whether it is at most this.
    pub fn at_most(&self, limit: f64) -> Verdict {
        let [low, high] = self.interval;
        if high <= limit {
            Verdict::Reached
        } else if low > limit {
            Verdict::Missed
        } else {
            Verdict::NotTold
        }
    }

    /// Whether it is at least this.
    pub fn at_least(&self, limit: f64) -> Verdict {
        self.map(|value| -value).at_most(-limit)
    }
}

/// How many values of so many are left out at either end, so that the median lies between the others with 95 %: each
/// value lies below the true median as often as a coin falls on one side.
fn left_out(values: usize) -> usize {
    let mut chance = 0.5_f64.powi(i32::try_from(values).unwrap_or(i32::MAX));
    let mut below = chance;
    let mut out = 0;
    for count in 1..=values {
        chance *= (values - count + 1) as f64 / count as f64;
        below += chance;
        if below > 0.025 {
            break;
        }
        out = count;
    }
    out
}

/// Whether a target was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval says so.
    Reached,
    /// The whole interval says the contrary.
    Missed,
    /// Neither.
    NotTold,
}

impl Verdict {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Missed => "**missed**",
            Self::NotTold => "not told: the interval lies on both sides",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Spread {
        Spread::of(values.iter().copied())
    }

    #[test]
    fn spread_of_an_odd_and_an_even_number_of_values() {
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Spread {
                rounds: 3,
                median: 2.0,
                least: 1.0,
                greatest: 3.0,
                interval: [1.0, 3.0],
            }
        );
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn the_interval_of_the_median_is_that_of_the_sign_test() {
        // Known from tables: the ranks of the 95 % interval of a median.
        for (rounds, low, high) in [
            (6, 1.0, 6.0),
            (8, 1.0, 8.0),
            (9, 2.0, 8.0),
            (10, 2.0, 9.0),
            (20, 6.0, 15.0),
            (40, 14.0, 27.0),
            (50, 18.0, 33.0),
        ] {
            let spread = Spread::of((1..=rounds).map(f64::from));
            assert_eq!(spread.interval, [low, high], "{rounds} rounds");
        }
    }

    #[test]
    fn few_rounds_are_never_narrow_enough() {
        assert!(!of(&[1.0; 5]).is_narrow(0.05));
        assert!(of(&[1.0; 6]).is_narrow(0.05));
        assert!(!of(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.06]).is_narrow(0.05));
    }

    #[test]
    fn a_limit_inside_the_interval_is_not_told() {
        let spread = of(&[1.0, 2.0, 3.0]);
        assert_eq!(spread.at_most(3.0), Verdict::Reached);
        assert_eq!(spread.at_most(2.5), Verdict::NotTold);
        assert_eq!(spread.at_most(0.5), Verdict::Missed);
        assert_eq!(spread.at_least(1.0), Verdict::Reached);
        assert_eq!(spread.at_least(1.5), Verdict::NotTold);
        assert_eq!(spread.at_least(3.5), Verdict::Missed);
    }

    #[test]
    fn one_outlier_of_ten_does_not_hide_what_the_others_say() {
        let mut values = [0.9; 10];
        values[3] = 1.7;
        assert_eq!(of(&values).at_most(1.0), Verdict::Reached);
    }

    #[test]
    fn a_map_that_reverses_the_order_keeps_low_below_high() {
        let lost = of(&[0.8, 0.9, 0.95]).map(|ratio| 1.0 - ratio);
        assert!(lost.least < lost.median && lost.median < lost.greatest);
        assert!(lost.interval[0] < lost.interval[1]);
    }
}
