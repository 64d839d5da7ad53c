//! The Universal Scalability Law through measured points.
//!
//! In: sizes and throughputs. Out: a [`Usl`], or why there is none. Must not know: what was measured.
//!
//! `X(N) = λN / (1 + σ(N−1) + κN(N−1))` (Gunther, Guerrilla Capacity Planning, 2007, chapter 4). `N / X` is linear in
//! `1/λ`, `σ/λ` and `κ/λ`, so that least squares over the relative residuals `X / X̂ − 1` has one minimum, and none of the
//! three is negative there: what would be is 0, and the others are fitted without it (Lawson and Hanson, Solving Least
//! Squares Problems, 1974, chapter 23; with three numbers all choices are tried).

use std::collections::BTreeSet;

use courtside_core::model::scaling::Usl;

use super::stats::t975;

/// Numbers that are fitted: fewer sizes leave one of them open.
const NUMBERS: usize = 3;

/// 1/λ, σ/λ and κ/λ, each times the scale of its column.
type Fit = [f64; NUMBERS];
type Square = [[f64; NUMBERS]; NUMBERS];

/// Fits the law.
///
/// # Errors
/// There are too few sizes, or throughputs are not above 0.
pub fn fit(points: &[(f64, f64)]) -> Result<Usl, String> {
    let sizes: BTreeSet<u64> = points.iter().map(|(n, _)| n.to_bits()).collect();
    if sizes.len() < NUMBERS {
        return Err(format!(
            "the law has three numbers, and there are {} sizes; measure at least three",
            sizes.len()
        ));
    }
    let sound = |(n, x): &(f64, f64)| n.is_finite() && *n >= 1.0 && x.is_finite() && *x > 0.0;
    if !points.iter().all(sound) {
        return Err("a size or a throughput is not above 0".to_owned());
    }
    let largest = points.iter().map(|(n, _)| *n).fold(1.0, f64::max);
    let smallest = points.iter().map(|(n, _)| *n).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|(n, x)| x / n).fold(0.0, f64::max);
    // Columns of about the same size: throughput in units of the best of one, and sizes in units of the largest.
    let scale = [1.0, largest, largest * largest];
    let rows: Vec<Fit> = points
        .iter()
        .map(|(n, x)| {
            let each = x / n / most;
            [
                each,
                each * (n - 1.0) / scale[1],
                each * n * (n - 1.0) / scale[2],
            ]
        })
        .collect();
    let Some(found) = solve(&rows) else {
        return Err("the points lie on no curve of this form".to_owned());
    };
    let one = found[0];
    // What changes no point by a billionth is rounding.
    let of = |i: usize| Some(found[i] / one).filter(|by| *by > 1e-9).unwrap_or(0.0) / scale[i];
    let lambda = most / one;
    let (sigma, kappa) = (of(1), of(2));
    let best_n = best(sigma, kappa);
    let at = |n: f64| throughput(lambda, sigma, kappa, n);
    let residual = points
        .iter()
        .map(|(n, x)| (at(*n) / x - 1.0).abs())
        .fold(0.0, f64::max);
    let intervals = intervals(&rows, found, scale);
    let interval_unknown = match &intervals {
        Some(_) => None,
        None if points.len() <= NUMBERS => Some(
            "three points make three numbers, and leave nothing to tell how far they scatter; measure more sizes, or each more often"
                .to_owned(),
        ),
        None => Some("the points do not tell the numbers apart".to_owned()),
    };
    Ok(Usl {
        lambda,
        sigma,
        kappa,
        best_n,
        best_throughput_per_s: best_n.map(at),
        extrapolated: best_n.is_some_and(|n| n > largest || n < smallest),
        sigma_interval95: intervals.map(|[sigma, _]| sigma),
        kappa_interval95: intervals.map(|[_, kappa]| kappa),
        interval_unknown,
        points: points.len() as u64,
        residual,
    })
}

/// The law.
#[must_use]
pub fn throughput(lambda: f64, sigma: f64, kappa: f64, n: f64) -> f64 {
    lambda * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

/// Where the law is greatest: its derivative is 0 at `√((1−σ)/κ)`.
fn best(sigma: f64, kappa: f64) -> Option<f64> {
    (kappa > 0.0).then(|| ((1.0 - sigma).max(0.0) / kappa).sqrt().max(1.0))
}

/// The numbers of least residuals, none below 0.
fn solve(rows: &[Fit]) -> Option<Fit> {
    // What one worker does alone is never 0; the other two may be.
    let choices: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[0]];
    let fits = choices
        .iter()
        .filter_map(|columns| least_squares(rows, columns));
    let feasible = fits.filter(|fit| fit[0] > 0.0 && fit.iter().all(|number| *number >= 0.0));
    feasible.min_by(|a, b| residuals(rows, a).total_cmp(&residuals(rows, b)))
}

/// Sum of squares of `X / X̂ − 1`.
fn residuals(rows: &[Fit], fit: &Fit) -> f64 {
    let of = |row: &Fit| dot(row, fit) - 1.0;
    rows.iter().map(|row| of(row) * of(row)).sum()
}

fn dot(a: &Fit, b: &Fit) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What belongs to these columns; the others are 0.
fn least_squares(rows: &[Fit], columns: &[usize]) -> Option<Fit> {
    let has = |i: usize| columns.contains(&i);
    let square = std::array::from_fn(|i| {
        std::array::from_fn(|j| match has(i) && has(j) {
            true => rows.iter().map(|row| row[i] * row[j]).sum(),
            false => f64::from(u8::from(i == j)),
        })
    });
    let right: Fit = std::array::from_fn(|i| match has(i) {
        true => rows.iter().map(|row| row[i]).sum(),
        false => 0.0,
    });
    let inverse = invert(square)?;
    let fit: Fit = std::array::from_fn(|i| dot(&inverse[i], &right));
    fit.iter().all(|number| number.is_finite()).then_some(fit)
}

/// Gauss and Jordan, with the greatest element of each column first.
fn invert(mut a: Square) -> Option<Square> {
    let mut inverse = [[0.0; NUMBERS]; NUMBERS];
    for (i, row) in inverse.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for column in 0..NUMBERS {
        let pivot =
            (column..NUMBERS).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))?;
        if a[pivot][column].abs() < 1e-13 {
            return None;
        }
        a.swap(column, pivot);
        inverse.swap(column, pivot);
        let by = a[column][column];
        for k in 0..NUMBERS {
            a[column][k] /= by;
            inverse[column][k] /= by;
        }
        for i in (0..NUMBERS).filter(|&i| i != column) {
            let by = a[i][column];
            for k in 0..NUMBERS {
                a[i][k] -= by * a[column][k];
                inverse[i][k] -= by * inverse[column][k];
            }
        }
    }
    Some(inverse)
}

/// Where σ and κ lie with 95 in 100, by the scatter of the points around the curve, as for a linear fit (the delta method
/// makes the variance of a quotient of that of its parts).
fn intervals(rows: &[Fit], fit: Fit, scale: Fit) -> Option<[[f64; 2]; 2]> {
    let freedom = rows.len().checked_sub(NUMBERS).filter(|left| *left > 0)?;
    let square = std::array::from_fn(|i| {
        std::array::from_fn(|j| rows.iter().map(|row| row[i] * row[j]).sum())
    });
    let inverse = invert(square)?;
    let variance = residuals(rows, &fit) / freedom as f64;
    let t = t975(freedom as f64);
    let of = |i: usize| {
        let value = fit[i] / fit[0];
        let relative = inverse[i][i] + value * value * inverse[0][0] - 2.0 * value * inverse[0][i];
        let error = t * (variance * relative.max(0.0)).sqrt() / fit[0];
        [
            (value - error).max(0.0) / scale[i],
            (value + error) / scale[i],
        ]
    };
    Some([of(1), of(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within * b.abs().max(1e-12), "{a} {b}");
    }

    fn curve(lambda: f64, sigma: f64, kappa: f64, sizes: &[u32]) -> Vec<(f64, f64)> {
        let at = |n: f64| (n, throughput(lambda, sigma, kappa, n));
        sizes.iter().map(|&n| at(f64::from(n))).collect()
    }

    #[test]
    fn three_points_are_solved_exactly_as_by_hand() {
        // The autograder on 64 cores: 15σ + 240κ = 16/13.258 − 1, 63σ + 4032κ = 64/29.636 − 1.
        let usl = fit(&[(1.0, 0.66), (16.0, 8.75), (64.0, 19.56)]).unwrap();
        near(usl.lambda, 0.66, 1e-9);
        near(usl.sigma, 0.012_252_3, 1e-5);
        near(usl.kappa, 9.613_4e-5, 1e-5);
        near(usl.best_n.unwrap(), 101.4, 1e-3);
        near(usl.best_throughput_per_s.unwrap(), 20.86, 1e-3);
        assert!(usl.extrapolated && usl.residual < 1e-9);
        // Nothing is left to tell how sure that is.
        assert_eq!(usl.sigma_interval95, None);
        assert!(usl.interval_unknown.unwrap().contains("three points"));
    }

    #[test]
    fn what_made_the_points_is_found_again() {
        for (sigma, kappa) in [
            (0.05, 0.001),
            (0.3, 0.0),
            (0.0, 0.02),
            (0.0, 0.0),
            (0.9, 0.1),
        ] {
            let usl = fit(&curve(1000.0, sigma, kappa, &[1, 2, 4, 8, 16, 32])).unwrap();
            near(usl.lambda, 1000.0, 1e-6);
            assert!((usl.sigma - sigma).abs() < 1e-7, "{usl:?}");
            assert!((usl.kappa - kappa).abs() < 1e-8, "{usl:?}");
        }
        // Amdahl with a tenth that only one can do: no best size, and ten times at most.
        let usl = fit(&curve(1.0, 0.1, 0.0, &[1, 2, 4, 8])).unwrap();
        assert_eq!(usl.best_n, None);
        assert!(throughput(usl.lambda, usl.sigma, usl.kappa, 1e3) < 10.0);
    }

    #[test]
    fn nothing_is_fitted_below_0() {
        // More than ideal: caches that grow with the cores.
        let usl = fit(&[(1.0, 1.0), (2.0, 2.4), (4.0, 5.5), (8.0, 12.0)]).unwrap();
        assert_eq!((usl.sigma, usl.kappa), (0.0, 0.0));
        assert_eq!((usl.best_n, usl.best_throughput_per_s), (None, None));
        assert!(usl.lambda > 1.0 && usl.lambda < 1.5);
        // It falls at once: σ alone cannot do that.
        let usl = fit(&[(1.0, 1.0), (2.0, 0.9), (4.0, 0.6), (8.0, 0.3)]).unwrap();
        assert!(usl.kappa > 0.0 && usl.sigma >= 0.0 && usl.best_n.unwrap() < 2.0);
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let mut dice = fastrand::Rng::with_seed(7);
        let (mut holds, rounds) = (0, 400);
        for _ in 0..rounds {
            let mut points = curve(500.0, 0.08, 0.002, &[1, 2, 4, 8, 12, 16]);
            for (_, x) in &mut points {
                // About a normal distribution of 1 %.
                let chance: f64 = (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0;
                *x *= 1.0 + 0.01 * chance;
            }
            let [low, high] = fit(&points).unwrap().sigma_interval95.unwrap();
            holds += usize::from(low <= 0.08 && 0.08 <= high);
        }
        assert!((365..=396).contains(&holds), "{holds} of {rounds}");
    }

    #[test]
    fn too_few_sizes_are_no_curve() {
        for points in [&[(1.0, 1.0), (2.0, 1.9)][..], &[(1.0, 1.0); 5], &[]] {
            assert!(fit(points).unwrap_err().contains("at least three"));
        }
        assert!(fit(&[(1.0, 1.0), (2.0, 0.0), (4.0, 3.0)]).is_err());
        assert!(fit(&[(1.0, 1.0), (2.0, f64::NAN), (4.0, 3.0)]).is_err());
    }
}
