//! A line through groups of points, and how sure it is.
//!
//! In: groups of points, each measured at about one rate. Out: the line of least squares, with an intercept. Must not know: what
//! the values are.
//!
//! Two things make values scatter: chance within a recording, and what differs from one recording to another (the speed of the
//! CPU drifts). Blocks of a group show the first, what the line leaves of the groups' means the second. If the second is no more
//! than the first explains (the F test for lack of fit), both are put together, so that few groups still give an interval; if
//! it is more, only the second counts.

/// What was measured at about one rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Group {
    /// Requests a second.
    pub rate: f64,
    /// What was taken in a second.
    pub value: f64,
    /// The same of parts of its time, one after the other.
    pub blocks: Vec<(f64, f64)>,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub slope: f64,
    pub intercept: f64,
    pub r2: Option<f64>,
    /// Root of the mean square that is left, as a share of the mean.
    pub residual: Option<f64>,
    /// How far a parabola leaves the line at most, as a share of the highest value; only where that is more than chance.
    pub trend: Option<f64>,
    /// Half of the interval of the slope, 95 in 100.
    pub half_slope: Option<f64>,
    pub center: f64,
    /// Half of the interval at the center.
    pub half_center: Option<f64>,
}

impl Line {
    /// Half of the interval at a rate, 95 in 100.
    pub fn half(&self, rate: f64) -> Option<f64> {
        Some(libm::hypot(
            self.half_center?,
            self.half_slope? * (rate - self.center),
        ))
    }
}

/// So far from the middle are 2.5 in 100 of Student's distribution: its table, and from 11 degrees of freedom on the expansion
/// of Cornish and Fisher.
pub(super) fn student975(freedom: f64) -> f64 {
    const TABLE: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    const Z: f64 = 1.959_964;
    if freedom < 11.0 {
        let n = (freedom.max(1.0) as usize).min(TABLE.len());
        return TABLE[n - 1];
    }
    let first = (Z.powi(3) + Z) / (4.0 * freedom);
    let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * freedom * freedom);
    Z + first + second
}

/// More than this is less than 5 in 100 of the F distribution, with so many degrees above and some twenty below.
fn lack_of_fit(above: f64) -> f64 {
    const TABLE: [f64; 6] = [4.35, 3.49, 3.10, 2.87, 2.71, 2.60];
    let n = (above.max(1.0) as usize).min(TABLE.len());
    TABLE[n - 1]
}

/// Sums over the means of groups.
struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Sums {
    fn of(groups: &[Group]) -> Self {
        let n = groups.len() as f64;
        let x = groups.iter().map(|group| group.rate).sum::<f64>() / n;
        let y = groups.iter().map(|group| group.value).sum::<f64>() / n;
        let over = |f: &dyn Fn(f64, f64) -> f64| {
            let each = groups
                .iter()
                .map(|group| f(group.rate - x, group.value - y));
            each.sum::<f64>()
        };
        Self {
            n,
            x,
            y,
            xx: over(&|x, _| x * x),
            xy: over(&|x, y| x * y),
            yy: over(&|_, y| y * y),
        }
    }
}

/// The line of least squares; none where all rates are the same.
pub(super) fn line(groups: &[Group]) -> Option<Line> {
    let sums = Sums::of(groups);
    if groups.len() < 2 || sums.xx <= 0.0 {
        return None;
    }
    let slope = sums.xy / sums.xx;
    let intercept = sums.y - slope * sums.x;
    let left = groups
        .iter()
        .map(|group| (group.value - intercept - slope * group.rate).powi(2))
        .sum::<f64>();
    let half = halves(groups, slope, left, sums.n - 2.0);
    Some(Line {
        slope,
        intercept,
        r2: (sums.yy > 0.0).then(|| 1.0 - left / sums.yy),
        residual: (sums.y != 0.0).then(|| (left / sums.n).sqrt() / sums.y.abs()),
        trend: trend(groups, slope),
        half_slope: half.map(|half| half / sums.xx.sqrt()),
        center: sums.x,
        half_center: half.map(|half| half / sums.n.sqrt()),
    })
}

/// The same through nothing at no rate.
pub(super) fn through_origin(groups: &[Group]) -> Option<Line> {
    let sums = Sums::of(groups);
    let xx: f64 = groups.iter().map(|group| group.rate.powi(2)).sum();
    if groups.is_empty() || xx <= 0.0 {
        return None;
    }
    let xy: f64 = groups.iter().map(|group| group.rate * group.value).sum();
    let slope = xy / xx;
    let left = groups
        .iter()
        .map(|group| (group.value - slope * group.rate).powi(2))
        .sum::<f64>();
    let half = halves(groups, slope, left, sums.n - 1.0);
    Some(Line {
        slope,
        intercept: 0.0,
        r2: (sums.yy > 0.0).then(|| 1.0 - left / sums.yy),
        residual: (sums.y != 0.0).then(|| (left / sums.n).sqrt() / sums.y.abs()),
        trend: trend(groups, slope),
        half_slope: half.map(|half| half / xx.sqrt()),
        center: 0.0,
        half_center: half.map(|_| 0.0),
    })
}

/// Sum of squares within groups, along the slope, and its degrees of freedom.
fn within(groups: &[Group], slope: f64) -> (f64, f64) {
    let mut sum = 0.0;
    let mut freedom = 0.0;
    for group in groups {
        let n = group.blocks.len() as f64;
        if n < 2.0 {
            continue;
        }
        let x = group.blocks.iter().map(|block| block.0).sum::<f64>() / n;
        let y = group.blocks.iter().map(|block| block.1).sum::<f64>() / n;
        for block in &group.blocks {
            sum += (block.1 - y - slope * (block.0 - x)).powi(2);
        }
        freedom += n - 1.0;
    }
    (sum, freedom)
}

/// Blocks of a group, in the mean (harmonic).
fn blocks_each(groups: &[Group]) -> f64 {
    let inverse = groups
        .iter()
        .map(|group| 1.0 / (group.blocks.len().max(1) as f64));
    groups.len() as f64 / inverse.sum::<f64>()
}

/// Student's factor times the deviation of a group's mean.
fn halves(groups: &[Group], slope: f64, left: f64, freedom: f64) -> Option<f64> {
    let (inner, inner_freedom) = within(groups, slope);
    let each = blocks_each(groups);
    // Both as variances of one block.
    let between = (freedom > 0.0).then(|| left * each / freedom);
    let inside = (inner_freedom > 0.0).then(|| inner / inner_freedom);
    let (variance, freedom) = match (between, inside) {
        (Some(between), Some(inside)) if between <= inside * lack_of_fit(freedom) => (
            (left * each + inner) / (freedom + inner_freedom),
            freedom + inner_freedom,
        ),
        (Some(between), _) => (between, freedom),
        (None, Some(inside)) => (inside, inner_freedom),
        (None, None) => return None,
    };
    Some(student975(freedom) * (variance / each).sqrt())
}

/// How far a parabola leaves the line; only where it does so by more than blocks scatter.
fn trend(groups: &[Group], slope: f64) -> Option<f64> {
    let sums = Sums::of(groups);
    if groups.len() < 3 {
        return None;
    }
    let (inner, freedom) = within(groups, slope);
    if freedom <= 0.0 {
        return None;
    }
    // What is left of the square of the rate when a line is taken from it.
    let squares: Vec<f64> = groups
        .iter()
        .map(|group| (group.rate - sums.x).powi(2))
        .collect();
    let mean = squares.iter().sum::<f64>() / sums.n;
    let tilt = groups
        .iter()
        .zip(&squares)
        .map(|(group, square)| (group.rate - sums.x) * (square - mean))
        .sum::<f64>()
        / sums.xx;
    let bent: Vec<f64> = groups
        .iter()
        .zip(&squares)
        .map(|(group, square)| square - mean - tilt * (group.rate - sums.x))
        .collect();
    let size: f64 = bent.iter().map(|bent| bent * bent).sum();
    let scale = sums.xx * sums.xx / sums.n;
    if size <= scale * 1e-12 {
        return None;
    }
    let along: f64 = groups
        .iter()
        .zip(&bent)
        .map(|(group, bent)| group.value * bent)
        .sum();
    let bend = along / size;
    let highest = groups
        .iter()
        .map(|group| group.value.abs())
        .fold(0.0, f64::max);
    let deviation = (inner / freedom / blocks_each(groups)).sqrt();
    let is_sure = bend.abs() * size.sqrt() > 3.0 * deviation + 1e-9 * highest;
    let most = bent.iter().map(|bent| bent.abs()).fold(0.0, f64::max);
    (is_sure && highest > 0.0).then(|| bend * most / highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(points: &[(f64, f64)]) -> Vec<Group> {
        points
            .iter()
            .map(|&(rate, value)| Group {
                rate,
                value,
                blocks: vec![(rate, value); 4],
            })
            .collect()
    }

    /// A component's CPU time at three rates, per cent of a CPU: a line of slope 1 and intercept 0.1.
    #[test]
    fn three_points_on_a_line_give_that_line() {
        let line = line(&exact(&[(2.0, 2.1), (4.0, 4.1), (6.0, 6.1)])).unwrap();
        assert!((line.slope - 1.0).abs() < 1e-12 && (line.intercept - 0.1).abs() < 1e-12);
        assert!((line.r2.unwrap() - 1.0).abs() < 1e-12);
        assert!(line.residual.unwrap() < 1e-12 && line.half_slope.unwrap() < 1e-9);
        assert_eq!(line.trend, None);
    }

    #[test]
    fn what_bends_up_has_a_trend_above_zero_and_what_bends_down_one_below() {
        let bent = |power: f64| {
            let points = [1.0, 2.0, 3.0, 4.0_f64].map(|rate| (rate, rate.powf(power)));
            line(&exact(&points)).unwrap().trend.unwrap()
        };
        assert!(bent(2.0) > 0.05 && bent(0.5) < -0.01);
    }

    #[test]
    fn the_same_rate_again_and_again_is_no_line() {
        assert_eq!(line(&exact(&[(5.0, 1.0), (5.0, 2.0)])), None);
        assert_eq!(line(&exact(&[(5.0, 1.0)])), None);
    }

    #[test]
    fn student_has_the_quantiles_of_tables() {
        for (freedom, value) in [(1.0, 12.706), (10.0, 2.228), (20.0, 2.086), (120.0, 1.980)] {
            assert!((student975(freedom) - value).abs() < 0.002, "{freedom}");
        }
    }

    fn normal(rng: &mut fastrand::Rng) -> f64 {
        let (size, angle) = (1.0 - rng.f64(), rng.f64());
        (-2.0 * size.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Known coefficients, noise within recordings, and drift between them or none.
    #[test]
    fn the_interval_holds_the_slope_that_was_put_in() {
        for (rates, drift) in [(3, 0.0), (5, 0.0), (5, 0.03), (8, 0.03)] {
            let mut rng = fastrand::Rng::with_seed(5);
            let mut covered = 0;
            for _ in 0..400 {
                let mut groups = Vec::new();
                for i in 1..=rates {
                    let rate = f64::from(i) * 100.0;
                    let speed = 1.0 + drift * normal(&mut rng);
                    let blocks: Vec<(f64, f64)> = (0..8)
                        .map(|_| {
                            let rate = rate * (1.0 + 0.02 * normal(&mut rng));
                            (rate, (2.0 * rate + 30.0) * speed + 4.0 * normal(&mut rng))
                        })
                        .collect();
                    let mean = |f: fn(&(f64, f64)) -> f64| blocks.iter().map(f).sum::<f64>() / 8.0;
                    groups.push(Group {
                        rate: mean(|block| block.0),
                        value: mean(|block| block.1),
                        blocks,
                    });
                }
                let line = line(&groups).unwrap();
                covered += i32::from((line.slope - 2.0).abs() <= line.half_slope.unwrap());
            }
            println!("{rates} rates, drift {drift}: {covered} of 400");
            assert!(covered >= 360, "{rates} rates, drift {drift}: {covered}");
        }
    }
}
