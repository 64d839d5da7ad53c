//! The page of results that are made up.

use super::super::courtside::{Point, Profile, Saturation};
use super::super::plan::FULL;
use super::*;

fn machine() -> Machine {
    Machine {
        cpu: "a CPU".to_owned(),
        cpus: 2,
        kernel: "6.18".to_owned(),
        load: "0.01".to_owned(),
        day: "2026-01-01".to_owned(),
    }
}

fn load(mean_ms: f64) -> Load {
    Load {
        count: 1000.0,
        mean_ns: mean_ms * 1e6,
        p50_ns: mean_ms * 0.8e6,
        p95_ns: mean_ms * 2e6,
        p99_ns: mean_ms * 3e6,
        ..Load::default()
    }
}

fn at(predicted_ms: f64, measured_ms: [f64; 3]) -> AtRate {
    let mut predicted = Point::default();
    predicted.base.mean_ns = Some(predicted_ms * 0.7e6);
    predicted.with_remote_invocation = predicted.base.clone();
    predicted.full = Times {
        mean_ns: Some(predicted_ms * 1e6),
        p50_ns: Some(predicted_ms * 0.8e6),
        p95_ns: Some(predicted_ms * 2e6),
        p99_ns: Some(predicted_ms * 3e6),
        ..Times::default()
    };
    AtRate {
        per_s: 500.0,
        predicted,
        runs: measured_ms.map(load).to_vec(),
    }
}

fn most(predicted: f64, real: f64, resource: &str) -> Most {
    Most {
        predicted: Some(Saturation {
            rate_per_s: predicted,
            resource: resource.to_owned(),
            ..Saturation::default()
        }),
        unknown: None,
        real_per_s: vec![real * 0.99, real * 1.01],
    }
}

fn results(chain: Chain, resource: &str) -> Results {
    let placed = |what, rate, ms| Placed {
        what,
        most: most(rate, rate, "cpu"),
        at: at(ms, [ms; 3]),
    };
    Results {
        chain: Outcome::Done(chain),
        bounds: vec![
            (
                "pool",
                Outcome::Done(Bound {
                    expected: "threads",
                    most: most(1800.0, 1800.0, resource),
                    at: at(2.0, [2.0; 3]),
                    note: "four threads".to_owned(),
                }),
            ),
            ("quota", Outcome::Skipped("it is not permitted".to_owned())),
        ],
        placed: Outcome::Done([placed("one", 900.0, 2.0), placed("two", 700.0, 3.0)]),
        minutes: 17.0,
    }
}

fn made(predicted_ms: f64, saturation: f64, resource: &str) -> (String, Vec<String>) {
    let chain = Chain {
        profile: Profile::default(),
        recorded: Vec::new(),
        most: most(saturation, 1000.0, "cpu"),
        rates: vec![at(predicted_ms, [3.9, 4.0, 4.1])],
    };
    let before = Before {
        busy: 0.01,
        seconds: 3.0,
    };
    page(&machine(), &before, &FULL, false, &results(chain, resource))
}

#[test]
fn what_is_within_the_targets_is_not_missed() {
    let (page, missed) = made(4.2, 1020.0, "threads");
    // What cannot be measured here is said, and nothing else.
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(missed[0].contains("it is not permitted"));
    assert!(page.contains(
        "| 500/s, 50 % | mean | 2.94 ms | 2.94 ms | 4.20 ms | 4.00 ms (3.90 ms–4.10 ms) | +5.0 % |"
    ));
    assert!(page.contains("one is predicted to be better, and is."));
    assert!(page.contains("| pool | threads | yes | 1800/s |"));
}

#[test]
fn what_is_missed_stands_there_in_words() {
    let (page, missed) = made(3.0, 1100.0, "cpu");
    let has = |text: &str| missed.iter().any(|line| line.contains(text));
    assert!(
        has("mean: 3.00 ms predicted, 4.00 ms measured, off by -25.0 %; the target is 9 %"),
        "{missed:?}"
    );
    assert!(
        has("P95: 6.00 ms predicted, 8.00 ms measured"),
        "{missed:?}"
    );
    assert!(
        has("three tiers, saturation: 1100/s predicted, 1000/s measured, off by +10.0 %"),
        "{missed:?}"
    );
    assert!(
        has("bound by its pool: cpu of the node is named, and not threads"),
        "{missed:?}"
    );
    assert!(missed.iter().all(|line| page.contains(line.as_str())));
}

#[test]
fn where_nothing_is_predicted_the_reason_stands_there() {
    let chain = Chain {
        profile: Profile::default(),
        recorded: Vec::new(),
        most: most(1000.0, 1000.0, "cpu"),
        rates: Vec::new(),
    };
    let mut results = results(chain, "threads");
    let (_, pool) = &mut results.bounds[0];
    let Outcome::Done(bound) = pool else {
        panic!("there is a pool");
    };
    bound.most.predicted = None;
    bound.most.unknown = Some("others take all of it".to_owned());
    let before = Before {
        busy: 0.01,
        seconds: 3.0,
    };
    let (_, missed) = page(&machine(), &before, &FULL, false, &results);
    let expected = "bound by its pool: nothing is named (others take all of it), and not threads";
    assert!(
        missed.iter().any(|line| line.ends_with(expected)),
        "{missed:?}"
    );
}

#[test]
fn what_failed_says_nothing_and_is_said_to() {
    let results = Results {
        chain: Outcome::Failed("no such file".to_owned()),
        bounds: Vec::new(),
        placed: Outcome::NotAsked,
        minutes: 0.0,
    };
    let before = Before {
        busy: 0.0,
        seconds: 3.0,
    };
    let (page, missed) = page(&machine(), &before, &FULL, true, &results);
    assert!(page.contains("no such file") && page.contains("Not measured this time"));
    assert!(page.contains("quick run"));
    assert_eq!(missed.len(), 1);
}
