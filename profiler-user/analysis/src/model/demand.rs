//! What something takes, as a function of the rate.
//!
//! In: what was taken in a second, in groups by rate. Out: a [`Fit`], or that it is no function of the rate. Must not know: what
//! it is of.

use courtside_core::model::profile::{Fit, Form};

use super::{
    isotonic::rising,
    regression::{Group, Line, line, through_origin},
};

/// A line that explains less than this share of the variance is none.
const LEAST_R2: f64 = 0.98;
/// What bends away from the line by more than this share of the highest value is no line.
const MOST_TREND: f64 = 0.05;
/// What falls by more than this share of the mean does not do so by chance, whatever a wide interval says.
const MUCH: f64 = 0.2;

/// It falls as the rate rises: what one more request takes is less than nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Falls {
    /// What was taken in a second at the lowest rate.
    pub at_lowest: f64,
    /// The same at the highest.
    pub at_highest: f64,
}

/// The fit of groups, lowest rate first. Where it falls by more than chance, and by more than `ignore` in a second, it is no fit;
/// where it falls by less, it is the same at all rates.
pub(super) fn fit(groups: &[Group], ignore: f64) -> Result<Fit, Falls> {
    let points: Vec<[f64; 2]> = groups
        .iter()
        .filter(|group| group.rate > 0.0)
        .map(|group| [group.rate, group.value / group.rate])
        .collect();
    let mean = groups.iter().map(|group| group.value).sum::<f64>() / groups.len().max(1) as f64;
    let Some(mut found) = line(groups) else {
        return Ok(constant(mean, points, None));
    };
    let ends = groups.first().zip(groups.last());
    if found.slope < 0.0 {
        let fall = ends.map_or(0.0, |(lowest, highest)| lowest.value - highest.value);
        let is_chance = fall < MUCH * mean
            && found
                .half_slope
                .is_some_and(|half| found.slope + half >= 0.0);
        if let Some((lowest, highest)) = ends
            && !is_chance
            && lowest.value - highest.value > ignore
        {
            return Err(Falls {
                at_lowest: lowest.value,
                at_highest: highest.value,
            });
        }
        return Ok(constant(mean, points, Some(&found)));
    }
    if found.intercept < 0.0 {
        let is_chance = found
            .half(0.0)
            .is_some_and(|half| found.intercept + half >= 0.0);
        match through_origin(groups) {
            Some(other) if is_chance => found = other,
            _ => return Ok(with(&found, bent(groups), points)),
        }
    }
    let is_line = found.r2.is_none_or(|r2| r2 >= LEAST_R2)
        && found.trend.is_none_or(|trend| trend.abs() <= MOST_TREND);
    let form = if is_line { Form::Linear } else { bent(groups) };
    Ok(with(&found, form, points))
}

/// A table, unless values have to be put together to rise.
fn bent(groups: &[Group]) -> Form {
    let values: Vec<f64> = groups.iter().map(|group| group.value).collect();
    if rising(&values) == values {
        Form::Table
    } else {
        Form::Isotonic
    }
}

/// The same at all rates; the interval is that of the line that was found.
fn constant(mean: f64, points: Vec<[f64; 2]>, line: Option<&Line>) -> Fit {
    let half = line.and_then(|line| Some((line.slope, line.half_slope?)));
    Fit {
        form: Form::Linear,
        per_second: mean,
        points,
        interval95: half.map(|(slope, half)| [slope - half, slope + half]),
        center_per_s: line.map_or(0.0, |line| line.center),
        half95_at_center: line.and_then(|line| line.half_center),
        ..Fit::default()
    }
}

fn with(line: &Line, form: Form, points: Vec<[f64; 2]>) -> Fit {
    Fit {
        form,
        per_request: line.slope,
        per_second: line.intercept,
        r2: line.r2,
        residual: line.residual,
        trend: line.trend,
        interval95: line
            .half_slope
            .map(|half| [line.slope - half, line.slope + half]),
        points,
        center_per_s: line.center,
        half95_at_center: line.half_center,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(points: &[(f64, f64)]) -> Vec<Group> {
        points
            .iter()
            .map(|&(rate, value)| Group {
                rate,
                value,
                blocks: vec![(rate, value); 3],
            })
            .collect()
    }

    #[test]
    fn three_points_on_a_line_are_linear() {
        let fit = fit(&groups(&[(2.0, 2.1), (4.0, 4.1), (6.0, 6.1)]), 0.0).unwrap();
        assert_eq!(fit.form, Form::Linear);
        assert!((fit.per_request - 1.0).abs() < 1e-12 && (fit.per_second - 0.1).abs() < 1e-12);
        assert!(fit.r2.unwrap() > 0.999_999);
        assert!((fit.points[0][1] - 1.05).abs() < 1e-12);
    }

    #[test]
    fn what_bends_is_a_table_and_what_falls_in_between_is_made_to_rise() {
        let square = [(1.0, 1.0), (2.0, 4.0), (3.0, 9.0), (4.0, 16.0)];
        assert_eq!(fit(&groups(&square), 0.0).unwrap().form, Form::Table);
        let dented = [(1.0, 1.0), (2.0, 4.0), (3.0, 3.0), (4.0, 16.0)];
        assert_eq!(fit(&groups(&dented), 0.0).unwrap().form, Form::Isotonic);
    }

    #[test]
    fn what_falls_is_no_function_of_the_rate_unless_it_is_next_to_nothing() {
        let falls = groups(&[(1.0, 9.0), (2.0, 6.0), (3.0, 3.0)]);
        let expected = Falls {
            at_lowest: 9.0,
            at_highest: 3.0,
        };
        assert_eq!(fit(&falls, 1.0), Err(expected));
        let fit = fit(&falls, 100.0).unwrap();
        assert_eq!((fit.per_request, fit.per_second), (0.0, 6.0));
    }

    #[test]
    fn nothing_at_all_is_nothing() {
        let fit = fit(&groups(&[(1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]), 0.0).unwrap();
        assert_eq!((fit.per_request, fit.per_second, fit.r2), (0.0, 0.0, None));
    }
}
