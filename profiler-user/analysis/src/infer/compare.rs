//! How two runs of an application differ: their fingerprints, and how much longer an iteration takes.
//!
//! In: two answers. Out: a [`Compared`]. Must not know: recordings.

use courtside_core::model::inference::{COMPARED_SCHEMA, Compared, Inference, PairTime, Process};

use super::spectrum::distance;

/// Compares B with A.
#[must_use]
pub fn compare(a: &Inference, b: &Inference) -> Compared {
    let mut remarks = Vec::new();
    if a.processes.len() != b.processes.len() {
        remarks.push(format!(
            "A has {} processes and B {}: those without a partner are left out",
            a.processes.len(),
            b.processes.len()
        ));
    }
    if a.topology.shape != b.topology.shape {
        remarks.push("their shapes differ: they may not be the same application".to_owned());
    }
    let rate = |process: &Process| {
        let turn = process.iterations.by_turn.as_ref();
        turn.map(|turn| turn.mean_per_s).filter(|rate| *rate > 0.0)
    };
    let both = a.processes.iter().zip(&b.processes);
    let pairs: Vec<PairTime> = both
        .filter_map(|(a, b)| {
            Some(PairTime {
                a: a.id.clone(),
                b: b.id.clone(),
                time_ratio: rate(a)? / rate(b)?,
            })
        })
        .collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.time_ratio).collect();
    ratios.sort_by(f64::total_cmp);
    if ratios.is_empty() {
        remarks.push("time_ratio is null: no process has iterations in both".to_owned());
    }
    let (fingerprint_distance, fingerprint_unknown) = fingerprints(a, b);
    Compared {
        schema: COMPARED_SCHEMA.to_owned(),
        a: a.source.file.clone(),
        b: b.source.file.clone(),
        fingerprint_distance,
        fingerprint_unknown,
        time_ratio: median(&ratios),
        pairs,
        shape_a: a.topology.shape.clone(),
        shape_b: b.topology.shape.clone(),
        remarks,
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// The mean distance over pairs of processes that have one in both.
fn fingerprints(a: &Inference, b: &Inference) -> (Option<f64>, Option<String>) {
    let shorter_ns = a.source.application_ns.min(b.source.application_ns);
    let grid_hz = 1e9 / shorter_ns.max(1) as f64;
    let both = a.processes.iter().zip(&b.processes);
    let distances: Vec<f64> = both
        .filter_map(|(a, b)| {
            let (a, b) = (a.period.as_ref()?, b.period.as_ref()?);
            Some(distance(&a.fingerprint, &b.fingerprint, grid_hz))
        })
        .collect();
    if !distances.is_empty() {
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        return (Some(mean), None);
    }
    let why = |name: &str, of: &Inference| {
        let unknown = of
            .processes
            .iter()
            .find_map(|process| process.period_unknown.clone());
        unknown.map(|why| format!("{name}: {why}"))
    };
    let whys: Vec<String> = [why("A", a), why("B", b)].into_iter().flatten().collect();
    let why = if whys.is_empty() {
        "no process has a period in both".to_owned()
    } else {
        whys.join("; ")
    };
    (None, Some(why))
}

#[cfg(test)]
mod tests {
    use courtside_core::model::inference::{ByTurn, InferenceSource, Iterations, Period};

    use super::*;

    fn run(rates: &[f64], hz: Option<f64>) -> Inference {
        let process = |rate: &f64| Process {
            iterations: Iterations {
                by_turn: Some(ByTurn {
                    count: 100,
                    mean_per_s: *rate,
                }),
                ..Iterations::default()
            },
            period: hz.map(|hz| Period {
                fingerprint: vec![(hz, 0.6), (2.0 * hz, 0.4)],
                ..Period::default()
            }),
            period_unknown: hz.is_none().then(|| "the rate does not vary".to_owned()),
            ..Process::default()
        };
        Inference {
            source: InferenceSource {
                application_ns: 20_000_000_000,
                ..InferenceSource::default()
            },
            processes: rates.iter().map(process).collect(),
            ..Inference::default()
        }
    }

    #[test]
    fn an_iteration_that_takes_four_times_as_long_is_told() {
        let a = run(&[400.0, 400.0, 410.0], Some(0.25));
        let b = run(&[100.0, 100.0, 100.0], Some(0.25));
        let found = compare(&a, &b);
        assert_eq!(found.time_ratio, Some(4.0));
        assert!(found.fingerprint_distance.unwrap() < 1e-9);
        let other = compare(&a, &run(&[100.0], Some(1.7)));
        assert_eq!(other.fingerprint_distance, Some(1.0));
        assert_eq!(other.remarks.len(), 1);
    }

    #[test]
    fn what_has_no_period_has_no_distance_and_the_reason() {
        let found = compare(&run(&[1.0], Some(0.25)), &run(&[0.0], None));
        assert_eq!((found.fingerprint_distance, found.time_ratio), (None, None));
        assert_eq!(
            found.fingerprint_unknown.unwrap(),
            "B: the rate does not vary"
        );
    }
}
