//! How much slower an application gets under load, by its rate of iterations (Gupta 2008: slowdown mapping).
//!
//! In: answers for pairs of recordings without and with load, and for an application. Out: the mapping, and what it says by
//! two rules. Must not know: recordings.

use std::fmt;

use courtside_core::model::{
    inference::{CALIBRATION_SCHEMA, Calibration, CalibrationPoint, Inference, Slowdown},
    visible::visible,
};

/// Why nothing can be calibrated.
#[derive(Debug, PartialEq, Eq)]
pub enum CannotCalibrate {
    /// A recording has no iterations.
    NoIterations {
        /// Its file.
        file: String,
    },
    /// Its rate does not get less.
    NotSlower {
        /// The file of the pair that should be slower.
        file: String,
    },
}

impl fmt::Display for CannotCalibrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIterations { file } => write!(
                f,
                "no process in {} has iterations; record for longer with: courtside record --events -o FILE -- COMMAND",
                visible(file)
            ),
            Self::NotSlower { file } => write!(
                f,
                "{} is not slower than the recording that it is held against; give the one without load first: --pair UNLOADED LOADED",
                visible(file)
            ),
        }
    }
}

impl std::error::Error for CannotCalibrate {}

/// Fits the mapping, and applies it to an application's rates.
///
/// # Errors
/// A recording has no iterations, or the load made nothing slower.
pub fn calibrate(
    pairs: &[(Inference, Inference)],
    application: Option<&Inference>,
) -> Result<Calibration, CannotCalibrate> {
    let mut points = Vec::new();
    for (free, loaded) in pairs {
        let (free_rate, loaded_rate) = (rate(free)?, rate(loaded)?);
        if loaded_rate > free_rate {
            return Err(CannotCalibrate::NotSlower {
                file: loaded.source.file.clone(),
            });
        }
        points.push(CalibrationPoint {
            rate_per_s: free_rate,
            kept: loaded_rate / free_rate,
        });
    }
    points.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    let slowdown = application
        .map(|application| slowdown(&points, application))
        .transpose()?;
    let mut remarks = vec![
        "it holds for the load and the host that it was calibrated with; the ranking of applications is surer than the numbers"
            .to_owned(),
    ];
    if points.len() < 2 {
        remarks.push("one pair is no mapping: the same share is kept at each rate".to_owned());
    }
    if let Some(slowdown) = &slowdown
        && slowdown.outside > 0.0
    {
        remarks.push(
            "some rates lie outside of those calibrated; for them the nearest counts".to_owned(),
        );
    }
    Ok(Calibration {
        schema: CALIBRATION_SCHEMA.to_owned(),
        points,
        slowdown,
        remarks,
    })
}

/// Iterations a second: the greatest of its processes, since those that are loaded miss some.
fn rate(inference: &Inference) -> Result<f64, CannotCalibrate> {
    let rates = inference.processes.iter().filter_map(|process| {
        let turn = process.iterations.by_turn.as_ref()?;
        (turn.mean_per_s > 0.0).then_some(turn.mean_per_s)
    });
    rates
        .max_by(f64::total_cmp)
        .ok_or_else(|| CannotCalibrate::NoIterations {
            file: inference.source.file.clone(),
        })
}

fn slowdown(points: &[CalibrationPoint], of: &Inference) -> Result<Slowdown, CannotCalibrate> {
    rate(of)?;
    let busiest = of.processes.iter().max_by_key(|process| {
        process
            .iterations
            .by_turn
            .as_ref()
            .map_or(0, |turn| turn.count)
    });
    // Time without iterations is time, too.
    let rates: &[f64] = busiest.map_or(&[][..], |process| &process.iterations.series.rates_per_s);
    if rates.is_empty() {
        return Err(CannotCalibrate::NoIterations {
            file: of.source.file.clone(),
        });
    }
    let mut kept: Vec<f64> = rates.iter().map(|rate| kept_at(points, *rate)).collect();
    let (plain, work_conserving) = both_rules(&kept);
    let inside = |rate: &f64| {
        let (first, last) = (points.first(), points.last());
        first.is_some_and(|point| point.rate_per_s <= *rate)
            && last.is_some_and(|point| point.rate_per_s >= *rate)
    };
    let outside = rates.iter().filter(|rate| !inside(rate)).count();
    kept.sort_by(f64::total_cmp);
    let count = kept.len() as f64;
    let mut cdf: Vec<(f64, f64)> = Vec::new();
    for (place, kept) in kept.into_iter().enumerate() {
        let share = (place + 1) as f64 / count;
        match cdf.last_mut() {
            Some((last, sum)) if *last == kept => *sum = share,
            _ => cdf.push((kept, share)),
        }
    }
    Ok(Slowdown {
        file: of.source.file.clone(),
        plain,
        work_conserving,
        cdf,
        outside: outside as f64 / count,
    })
}

/// Times as long: from the mean of the shares kept in equal pieces of time, and with the same work done.
fn both_rules(kept: &[f64]) -> (f64, f64) {
    let count = kept.len().max(1) as f64;
    let mean = kept.iter().sum::<f64>() / count;
    let conserving = kept.iter().map(|kept| 1.0 / kept).sum::<f64>() / count;
    (1.0 / mean, conserving)
}

/// The share kept at a rate: a straight line between points, the nearest beyond them.
fn kept_at(points: &[CalibrationPoint], rate: f64) -> f64 {
    let above = points.partition_point(|point| point.rate_per_s < rate);
    let before = above.checked_sub(1).and_then(|place| points.get(place));
    match (before, points.get(above)) {
        (Some(a), Some(b)) => {
            let share = (rate - a.rate_per_s) / (b.rate_per_s - a.rate_per_s);
            a.kept + share * (b.kept - a.kept)
        }
        (Some(only), None) | (None, Some(only)) => only.kept,
        (None, None) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::model::inference::{ByTurn, Iterations, Process, Series};

    use super::*;

    fn run(rates: &[f64]) -> Inference {
        let mean_per_s = rates.iter().sum::<f64>() / rates.len() as f64;
        Inference {
            processes: vec![Process {
                iterations: Iterations {
                    by_turn: Some(ByTurn {
                        count: 100,
                        mean_per_s,
                    }),
                    series: Series {
                        rates_per_s: rates.to_vec(),
                        ..Series::default()
                    },
                    ..Iterations::default()
                },
                ..Process::default()
            }],
            ..Inference::default()
        }
    }

    #[test]
    fn half_the_time_at_half_and_half_at_a_tenth_is_6_times_and_not_3_33() {
        let (plain, conserving) = both_rules(&[0.5, 0.1]);
        assert!((plain - 3.333).abs() < 0.001 && (conserving - 6.0).abs() < 1e-9);
        // NAS IS keeps 0.065 of its speed and took 15.5 times as long; MG 0.103, where the rule is far off.
        assert!((both_rules(&[0.065]).0 - 15.4).abs() < 0.02);
        assert!((both_rules(&[0.103]).0 - 9.7).abs() < 0.02);
    }

    #[test]
    fn an_application_is_mapped_rate_by_rate() {
        let pairs = [(run(&[10.0]), run(&[5.0])), (run(&[100.0]), run(&[10.0]))];
        let found = calibrate(&pairs, Some(&run(&[10.0, 100.0]))).unwrap();
        assert_eq!(found.points[1].kept, 0.1);
        let slowdown = found.slowdown.unwrap();
        assert!((slowdown.plain - 3.333).abs() < 0.001);
        assert!((slowdown.work_conserving - 6.0).abs() < 1e-9);
        assert_eq!(slowdown.outside, 0.0);
        let beyond = calibrate(&pairs, Some(&run(&[1000.0])))
            .unwrap()
            .slowdown
            .unwrap();
        assert_eq!((beyond.outside, beyond.cdf), (1.0, vec![(0.1, 1.0)]));
        assert_eq!(kept_at(&found.points, 55.0), 0.3);
        // Half of the time without an iteration: the nearest point counts for it, and it is said.
        let pauses = calibrate(&pairs, Some(&run(&[0.0, 100.0, 100.0, 0.0])))
            .unwrap()
            .slowdown
            .unwrap();
        assert_eq!(pauses.outside, 0.5);
        let [slow, usual] = pauses.cdf[..] else {
            panic!("{:?}", pauses.cdf);
        };
        assert!((slow.0 - 0.1).abs() < 1e-9 && slow.1 == 0.5);
        assert_eq!(usual, (0.5, 1.0));
        assert!((pauses.work_conserving - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_load_that_slows_nothing_down_is_refused() {
        let wrong = [(run(&[5.0]), run(&[10.0]))];
        let error = calibrate(&wrong, None).unwrap_err().to_string();
        assert!(error.contains("--pair UNLOADED LOADED"), "{error}");
        let mut none = [(Inference::default(), run(&[10.0]))];
        none[0].0.source.file = "a\u{1b}[31m.rec".to_owned();
        let error = calibrate(&none, None).unwrap_err().to_string();
        assert!(error.contains("has iterations") && !error.contains('\u{1b}'));
    }
}
