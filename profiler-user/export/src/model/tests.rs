//! What is shown of a profile, a prediction and a placement.

use courtside_core::model::{
    placement::Method,
    prediction::{Saturation, Utilisation},
    profile::{ProfileSource, ProfiledNode, Unknown},
};

use super::*;

fn cpu(per_request: f64) -> Fit {
    Fit {
        per_request,
        per_second: 2e6,
        r2: Some(0.9991),
        interval95: Some([per_request * 0.98, per_request * 1.02]),
        ..Fit::default()
    }
}

fn fitted() -> Profile {
    Profile {
        entry: "program:web:80".to_owned(),
        rate_range_per_s: [100.0, 400.0],
        sources: vec![ProfileSource {
            file: "low\u{1b}[31m.rec".to_owned(),
            windows: 60,
            requests: 6000,
            rate_per_s: 100.0,
            ..ProfileSource::default()
        }],
        nodes: vec![ProfiledNode {
            other_cpu: Some(cpu(10_000.0)),
            ..ProfiledNode::default()
        }],
        components: vec![ProfiledComponent {
            id: "program:web".to_owned(),
            visits_per_request: Some(1.0),
            cpu: Some(cpu(100_000.0)),
            ..ProfiledComponent::default()
        }],
        edges: vec![ProfiledEdge {
            from: "program:web".to_owned(),
            to: "program:app".to_owned(),
            roundtrips_per_request: Some(2.0),
            ..ProfiledEdge::default()
        }],
        unknown: vec![Unknown {
            field: "components[].threads".to_owned(),
            reason: "recordings hold no number of threads".to_owned(),
        }],
        ..Profile::default()
    }
}

fn predicted(mean_ns: f64) -> Predicted {
    Predicted {
        throughput_per_s: Some(100.0),
        mean_ns: Some(mean_ns),
        mean_interval95_ns: Some([mean_ns * 0.9, mean_ns * 1.1]),
        p50_ns: Some(mean_ns * 0.8),
        p95_ns: Some(mean_ns * 2.0),
        p99_ns: Some(mean_ns * 3.0),
        reason: None,
    }
}

#[test]
fn a_profile_stands_in_rows_and_controls_no_terminal() {
    let text = profile(&fitted(), Style::default());
    assert!(!text.contains('\u{1b}'));
    for words in [
        "profile of program:web:80   fitted from 100 to 400 requests/s",
        "100 µs",
        "0.999  line",
        "web → app",
        "- components[].threads: recordings hold no number of threads",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_prediction_shows_three_models_side_by_side_and_a_curve() {
    let point = |rate_per_s, mean| PredictionPoint {
        rate_per_s,
        inside_fitted_range: rate_per_s < 500.0,
        utilisation: vec![Utilisation {
            node: "web01".to_owned(),
            share: rate_per_s / 1000.0,
            ..Utilisation::default()
        }],
        base: predicted(mean),
        with_remote_invocation: predicted(mean * 1.1),
        full: predicted(mean * 1.2),
    };
    let shown = Prediction {
        entry: "program:web:80".to_owned(),
        rate_range_per_s: [100.0, 400.0],
        saturation: Some(Saturation {
            rate_per_s: 1000.0,
            interval95: Some([980.0, 1020.0]),
            says: "at 1 000 requests a second nothing is left of the CPUs of web01".to_owned(),
            ..Saturation::default()
        }),
        points: vec![point(100.0, 1e6), point(900.0, 4e6)],
        assumed: vec!["Requests come in at random.".to_owned()],
        ..Prediction::default()
    };
    let text = prediction(&shown, Style::default());
    for words in [
        "saturates at 1 000/s",
        "95 in 100: 980 … 1 020",
        "4.00 ms  4.40 ms  4.80 ms",
        "outside",
        "████████████░░░░░░░░░░░░",
        "used at 900/s   web01 cpu 90%",
        "- Requests come in at random.",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let nothing = |unknown: Option<&str>| {
        let shown = Prediction {
            saturation_unknown: unknown.map(str::to_owned),
            ..Prediction::default()
        };
        prediction(&shown, Style::default())
    };
    assert!(nothing(None).contains("no resource is known"));
    assert!(nothing(Some("nothing is left")).contains("cannot be told:\nnothing is left"));
}

#[test]
fn placements_are_compared() {
    let candidate = |method, meets| Candidate {
        method,
        meets,
        throughput_per_s: Some(1234.0),
        nodes: 2,
        cost: 2.0,
        says: (!meets).then(|| "it serves 1 234 a second".to_owned()),
        placement: vec![Placed {
            component: "program:web".to_owned(),
            node: "n1".to_owned(),
            replicas: 1,
        }],
        ..Candidate::default()
    };
    let shown = Placement {
        rate_per_s: 1000.0,
        best: candidate(Method::Annealing, true),
        compared: vec![
            candidate(Method::Annealing, true),
            candidate(Method::AllReplicated, false),
        ],
        ..Placement::default()
    };
    let text = placement(&shown, Style::default());
    for words in ["annealing", "all replicated", "no", "1 234", "n1  web"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
