//! A fit as a function that can be asked at any rate.
//!
//! In: a [`Fit`]. Out: what is taken in a second at a rate, and how far that may be off. Must not know: what it is of.

use courtside_core::model::profile::{Fit, Form};

use super::{
    isotonic::rising,
    regression::{Group, line},
};

/// What is taken in a second, by the rate. It never falls with the rate and is never below 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Curve {
    /// Slope and intercept.
    line: (f64, f64),
    /// Where it is no line: rates and values, lowest first.
    knots: Vec<(f64, f64)>,
    /// Beyond the last knot.
    tail: f64,
    center: f64,
    half_center: f64,
    half_slope: f64,
    /// Whether it is known how far it may be off.
    pub is_sure: bool,
}

impl Curve {
    pub fn of(fit: &Fit) -> Self {
        let half_slope = fit.interval95.map(|[low, high]| (high - low) / 2.0);
        let mut curve = Self {
            line: (fit.per_request.max(0.0), fit.per_second.max(0.0)),
            center: fit.center_per_s,
            half_center: fit.half95_at_center.unwrap_or(0.0),
            half_slope: half_slope.unwrap_or(0.0),
            is_sure: half_slope.is_some(),
            ..Self::default()
        };
        if fit.form != Form::Linear {
            let rates = fit.points.iter().map(|point| point[0]);
            let totals: Vec<f64> = fit.points.iter().map(|[rate, each]| rate * each).collect();
            curve.knots = rates.zip(rising(&totals)).collect();
            curve.tail = tail(&curve.knots);
        }
        curve
    }

    /// What is taken in a second.
    pub fn value(&self, rate: f64) -> f64 {
        let (Some(&first), Some(&last)) = (self.knots.first(), self.knots.last()) else {
            return self.line.1 + self.line.0 * rate;
        };
        if rate >= last.0 {
            return last.1 + self.tail * (rate - last.0);
        }
        if rate <= first.0 {
            let start = self.line.1.min(first.1);
            return start + (first.1 - start) * (rate / first.0).clamp(0.0, 1.0);
        }
        let next = self.knots.partition_point(|knot| knot.0 <= rate);
        match (self.knots.get(next.wrapping_sub(1)), self.knots.get(next)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (rate - a.0) / (b.0 - a.0),
            _ => last.1,
        }
    }

    /// How far that may be off, 95 in 100.
    pub fn half(&self, rate: f64) -> f64 {
        libm::hypot(self.half_center, self.half_slope * (rate - self.center))
    }
}

/// The slope beyond the last knot: of the line through the upper half of them, and one more; through the last three at least.
fn tail(knots: &[(f64, f64)]) -> f64 {
    let upper = (knots.len() / 2 + 1).max(3).min(knots.len());
    let groups: Vec<Group> = knots
        .iter()
        .rev()
        .take(upper)
        .map(|&(rate, value)| Group {
            rate,
            value,
            blocks: Vec::new(),
        })
        .collect();
    line(&groups).map_or(0.0, |line| line.slope.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(form: Form, points: &[[f64; 2]]) -> Curve {
        Curve::of(&Fit {
            form,
            per_request: 2.0,
            per_second: 5.0,
            points: points.to_vec(),
            ..Fit::default()
        })
    }

    #[test]
    fn a_line_is_drawn_on_and_a_table_goes_through_its_points() {
        let points = [[10.0, 1.0], [20.0, 1.0], [30.0, 2.0]];
        let line = fit(Form::Linear, &points);
        assert_eq!((line.value(10.0), line.value(100.0)), (25.0, 205.0));
        let table = fit(Form::Table, &points);
        assert_eq!((table.value(10.0), table.value(20.0)), (10.0, 20.0));
        assert_eq!((table.value(25.0), table.value(30.0)), (40.0, 60.0));
        // Below the first point towards the intercept, beyond the last along the line through the last three.
        assert_eq!((table.value(0.0), table.value(5.0)), (5.0, 7.5));
        assert!((table.value(40.0) - 85.0).abs() < 1e-9);
    }

    #[test]
    fn what_falls_is_put_together() {
        let curve = fit(Form::Isotonic, &[[10.0, 3.0], [20.0, 1.0], [30.0, 1.0]]);
        assert_eq!((curve.value(10.0), curve.value(20.0)), (25.0, 25.0));
        assert_eq!(curve.value(30.0), 30.0);
    }
}
