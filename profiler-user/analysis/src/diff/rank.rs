//! Whether two series of values differ by more than they scatter, and by how much.
//!
//! In: values of windows, two series for each number. Out: p, and the ratio with its interval. Must not know: what the values
//! are.
//!
//! Ranks and not means, since one slow window in sixty proves nothing. The test is that of Mann and Whitney (1947), the ratio
//! the median over all pairs of windows (Hodges and Lehmann, 1963), and p is corrected for the many numbers that are compared
//! at once (Holm, 1979).
//!
//! Windows that follow each other are alike, and a test that takes them for independent finds changes where there are none. So
//! each series counts only as so many values as would be independent: n (1 − r) / (1 + r), where r is how much a window is
//! like the one before it (Bayley and Hammersley, 1946). A short series shows too small an r, by (1 + 3 r) / n (Marriott and
//! Pope, 1954); that is added, and half its standard error, 1 / (2 √n), for what chance hides.

/// The values of one number in the windows of each recording.
pub type Pair = (Vec<f64>, Vec<f64>);

/// By how much one number changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The second over the first.
    pub ratio: f64,
    /// Where it lies, 95 times in 100.
    pub interval95: [f64; 2],
}

/// Of the normal distribution: 95 in 100 lie within so many standard deviations.
const Z95: f64 = 1.96;
/// A series in which a window is nearly the one before it: more than this no factor can make good.
const MOST_ALIKE: f64 = 0.95;
/// So rare is what the normal approximation makes too frequent; from here on, p is counted.
const RARE: f64 = 0.01;
/// Up to so many pairs of independent windows p is counted, and not approximated.
const MOST_COUNTED: f64 = 400.0;

/// How likely chance alone makes each of these differences, or a greater one, in any of the numbers (Holm).
#[must_use]
pub fn chances(pairs: &[Pair]) -> Vec<f64> {
    let mut chances: Vec<f64> = pairs.iter().map(|(a, b)| chance(a, b)).collect();
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|&x, &y| chances[x].total_cmp(&chances[y]));
    let mut least = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        let corrected = chances[i] * (order.len() - rank) as f64;
        least = least.max(corrected.min(1.0));
        chances[i] = least;
    }
    chances
}

/// As how many independent windows those of the one and of the other count.
fn independent(a: &[f64], b: &[f64]) -> (f64, f64) {
    let factor = factor(a).max(factor(b));
    (a.len() as f64 / factor, b.len() as f64 / factor)
}

/// Mann and Whitney's test.
fn chance(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let Ranks { ranks, ties } = Ranks::of(&all);
    let u = ranks[..a.len()].iter().sum::<f64>() - n * (n + 1.0) / 2.0;
    // The share of pairs in which it is the other way round.
    let against = u.min(n * m - u) / (n * m);
    let (n, m) = independent(a, b);
    let deviation = (n * m * (n + m + 1.0) / 12.0 * (1.0 - ties)).sqrt();
    let away = ((0.5 - against) * n * m - 0.5).max(0.0);
    if away <= 0.0 {
        return 1.0;
    }
    let chance = libm::erfc(away / deviation / std::f64::consts::SQRT_2);
    if chance > RARE || n * m > MOST_COUNTED {
        return chance;
    }
    let (n, m) = (n as usize, m as usize);
    (2.0 * counted(n, m, (against * (n * m) as f64) as usize)).min(1.0)
}

/// The share of all orders of n and m values in which at most so many pairs are the other way round.
fn counted(n: usize, m: usize, most: usize) -> f64 {
    // `orders[i][u]`: so many choices of i of the places so far have u pairs the other way round.
    let mut orders = vec![vec![0.0_f64; most + 1]; n + 1];
    orders[0][0] = 1.0;
    let mut all = 1.0;
    for place in 0..n + m {
        for i in (1..=n.min(place + 1)).rev() {
            let others_before = place + 1 - i;
            if others_before > m {
                continue;
            }
            for u in others_before..=most {
                orders[i][u] += orders[i - 1][u - others_before];
            }
        }
    }
    for i in 1..=n {
        all *= (m + i) as f64 / i as f64;
    }
    orders[n].iter().sum::<f64>() / all
}

/// The median of b / a over all pairs of windows, and where it lies; none where it is not a number.
#[must_use]
pub fn ratio(a: &[f64], b: &[f64]) -> Option<Ratio> {
    let of = |a: f64, b: f64| if a == b { 1.0 } else { b / a };
    let pairs = a.iter().flat_map(|&a| b.iter().map(move |&b| of(a, b)));
    let mut ratios: Vec<f64> = pairs.collect();
    ratios.sort_by(f64::total_cmp);
    let last = ratios.len().checked_sub(1)?;
    let (n, m) = independent(a, b);
    let share = 0.5 - Z95 * ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    let off = ((share.max(0.0) * ratios.len() as f64) as usize).min(last / 2);
    let ratio = Ratio {
        ratio: median(&ratios),
        interval95: [ratios[off], ratios[last - off]],
    };
    let [low, high] = ratio.interval95;
    [ratio.ratio, low, high]
        .iter()
        .all(|value| value.is_finite())
        .then_some(ratio)
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The ranks of values, from 1; equal ones have the mean of theirs.
struct Ranks {
    ranks: Vec<f64>,
    /// By what share equal values lessen the scatter of ranks.
    ties: f64,
}

impl Ranks {
    fn of(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&x, &y| values[x].total_cmp(&values[y]));
        let mut ranks = vec![0.0; values.len()];
        let (mut below, mut ties) = (0.0, 0.0);
        for equal in order.chunk_by(|&x, &y| values[x] == values[y]) {
            let count = equal.len() as f64;
            for &i in equal {
                ranks[i] = below + f64::midpoint(count, 1.0);
            }
            ties += count * count * count - count;
            below += count;
        }
        Self {
            ranks,
            ties: ties / (below * below * below - below).max(1.0),
        }
    }
}

/// How many windows make one that is independent.
fn factor(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let Ranks { ranks, .. } = Ranks::of(values);
    let mean = f64::midpoint(n, 1.0);
    let all: f64 = ranks.iter().map(|rank| (rank - mean).powi(2)).sum();
    let next: f64 = ranks
        .windows(2)
        .map(|two| (two[0] - mean) * (two[1] - mean))
        .sum();
    if all <= 0.0 {
        return 1.0;
    }
    let seen = next / all;
    let hidden = (1.0 + 3.0 * seen.max(0.0)) / n + 0.5 / n.sqrt();
    let alike = (seen + hidden).clamp(0.0, MOST_ALIKE);
    ((1.0 + alike) / (1.0 - alike)).min(n)
}

#[cfg(test)]
mod tests {
    use super::super::{ALPHA, MIN_WINDOWS};
    use super::*;

    /// A number of the normal distribution (Box and Muller).
    fn normal(rng: &mut fastrand::Rng) -> f64 {
        let (size, angle) = (1.0 - rng.f64(), rng.f64());
        (-2.0 * size.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Values that scatter by a tenth, each keeping so much of the one before.
    fn series(rng: &mut fastrand::Rng, windows: usize, keeps: f64, scale: f64) -> Vec<f64> {
        let mut state = normal(rng);
        let mut next = || {
            state = keeps * state + (1.0 - keeps * keeps).sqrt() * normal(rng);
            scale * (0.1 * state).exp()
        };
        (0..windows).map(|_| next()).collect()
    }

    fn pair(rng: &mut fastrand::Rng, windows: usize, keeps: f64, more: f64) -> Pair {
        let a = series(rng, windows, keeps, 1e6);
        (a, series(rng, windows, keeps, more * 1e6))
    }

    #[test]
    fn the_same_service_twice_gives_a_false_alarm_in_less_than_one_of_twenty_comparisons() {
        for (windows, keeps) in [
            (MIN_WINDOWS, 0.0),
            (MIN_WINDOWS, 0.6),
            (60, 0.0),
            (60, 0.3),
            (60, 0.9),
        ] {
            let mut rng = fastrand::Rng::with_seed(7);
            let alarm = |_: &usize| {
                let pairs: Vec<Pair> = (0..20)
                    .map(|_| pair(&mut rng, windows, keeps, 1.0))
                    .collect();
                chances(&pairs).iter().any(|&chance| chance < ALPHA)
            };
            let alarms = (0..200).filter(alarm).count();
            println!("{windows} windows, each like the last by {keeps}: {alarms} of 200");
            assert!(alarms < 10, "{windows} windows, {keeps}: {alarms}");
        }
    }

    #[test]
    fn a_fifth_more_is_seen_among_many_numbers_and_its_ratio_lies_in_the_interval() {
        let mut rng = fastrand::Rng::with_seed(11);
        let (mut seen, mut covered) = (0, 0);
        for _ in 0..100 {
            let mut pairs: Vec<Pair> = (0..19).map(|_| pair(&mut rng, 60, 0.0, 1.0)).collect();
            pairs.push(pair(&mut rng, 60, 0.0, 1.2));
            seen += usize::from(chances(&pairs)[19] < ALPHA);
            let [low, high] = ratio(&pairs[19].0, &pairs[19].1).unwrap().interval95;
            covered += usize::from((low..high).contains(&1.2));
        }
        assert!(seen >= 99, "{seen}");
        assert!(covered >= 90, "{covered}");
    }

    /// As R has them: `pwilcox(u, n, m)`, and tables of Mann and Whitney's U.
    #[test]
    fn rare_orders_are_counted_as_in_tables() {
        assert!((counted(3, 4, 2) - 4.0 / 35.0).abs() < 1e-12);
        assert!((counted(8, 8, 0) - 1.0 / 12870.0).abs() < 1e-12);
        // Critical value for 10 and 10 at 5 % on both sides is 23.
        assert!(counted(10, 10, 23) < 0.025 && counted(10, 10, 24) > 0.025);
        // For 20 and 20 at 1 % on both sides it is 105.
        assert!(counted(20, 20, 105) < 0.005 && counted(20, 20, 106) > 0.005);
    }

    #[test]
    fn what_is_always_more_is_seen_with_thirty_windows_and_mostly_with_the_fewest() {
        let mut rng = fastrand::Rng::with_seed(3);
        for (windows, numbers, least) in [(MIN_WINDOWS, 30.0, 50), (30, 300.0, 95)] {
            let seen = |_: &u32| {
                let (a, b) = pair(&mut rng, windows, 0.0, 3.0);
                chance(&a, &b) * numbers < ALPHA
            };
            let seen = (0..100).filter(seen).count();
            assert!(seen >= least, "{windows}: {seen}");
        }
    }

    #[test]
    fn what_never_changes_and_what_was_nothing() {
        assert_eq!(chance(&[5.0; 20], &[5.0; 20]), 1.0);
        assert_eq!(ratio(&[5.0; 20], &[5.0; 20]).unwrap().ratio, 1.0);
        assert!(chance(&[0.0; 20], &[3.0; 20]) < 1e-6);
        assert_eq!(ratio(&[0.0; 20], &[3.0; 20]), None);
    }
}
