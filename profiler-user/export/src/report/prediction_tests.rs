//! The page of `model predict`: where values are drawn, what is said where there are none, that no name leaves its place.

use courtside_core::model::prediction::{Placed, RestsOn, Saturation};

use super::*;

const HOSTILE: &str = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--";
const MS: f64 = 1e6;

fn answer(mean_ms: f64, p95_ms: Option<f64>) -> Predicted {
    Predicted {
        throughput_per_s: Some(100.0),
        mean_ns: Some(mean_ms * MS),
        mean_interval95_ns: p95_ms.map(|_| [mean_ms * 0.9 * MS, mean_ms * 1.1 * MS]),
        p50_ns: p95_ms.map(|_| mean_ms * MS),
        p95_ns: p95_ms.map(|ms| ms * MS),
        p99_ns: p95_ms.map(|ms| ms * 1.5 * MS),
        reason: None,
    }
}

fn none(why: &str) -> Predicted {
    Predicted {
        reason: Some(why.to_owned()),
        ..Predicted::default()
    }
}

/// Four rates, at one of which the simulation has no answer.
pub(in super::super) fn four() -> Prediction {
    let point = |rate: f64, base: f64, full: Predicted| PredictionPoint {
        rate_per_s: rate,
        inside_fitted_range: rate <= 300.0,
        utilisation: vec![
            Utilisation {
                node: "web01".to_owned(),
                resource: Resource::Cpu,
                component: None,
                share: rate / 500.0,
            },
            Utilisation {
                node: "web01".to_owned(),
                resource: Resource::Threads,
                component: Some("program:store".to_owned()),
                share: rate / 2000.0,
            },
        ],
        base: answer(base, None),
        with_remote_invocation: none("what messages cost is not known"),
        full,
    };
    Prediction {
        entry: "program:web:80".to_owned(),
        rests_on: RestsOn {
            recordings: 3,
            windows: 180,
            requests: 36_000,
            lost: 0,
        },
        rate_range_per_s: [100.0, 300.0],
        placement: vec![Placed {
            component: "program:web".to_owned(),
            node: "web01".to_owned(),
            replicas: 1,
        }],
        saturation: Some(Saturation {
            rate_per_s: 500.0,
            resource: Resource::Cpu,
            node: Some("web01".to_owned()),
            interval95: Some([450.0, 550.0]),
            says: "at 500 requests a second nothing is left of the CPUs of web01".to_owned(),
            ..Saturation::default()
        }),
        points: vec![
            point(400.0, 2.5, answer(4.0, Some(8.0))),
            point(100.0, 1.0, answer(1.0, Some(2.0))),
            point(200.0, 1.5, answer(2.0, Some(4.0))),
            point(300.0, 2.0, none("the simulation did not settle")),
        ],
        assumed: vec!["Requests come in at random.".to_owned()],
        ..Prediction::default()
    }
}

pub(in super::super) const SEEN: [MeasuredResponse; 2] = [
    MeasuredResponse {
        rate_per_s: 100.0,
        requests: 6_000,
        mean_ns: None,
        cpu_share: 0.2,
    },
    MeasuredResponse {
        rate_per_s: 200.0,
        requests: 12_000,
        mean_ns: Some(2.5 * MS),
        cpu_share: 0.4,
    },
];

/// Long and hostile names everywhere.
pub(in super::super) fn hostile() -> Prediction {
    let mut all = four();
    let long = format!("{HOSTILE}{}", "a-very-long-name-".repeat(12));
    all.entry = format!("program:{long}");
    all.assumed = vec![long.clone()];
    for placed in &mut all.placement {
        placed.component = format!("container:{long}");
        placed.node.clone_from(&long);
    }
    for point in &mut all.points {
        point.base = none(&long);
        point.with_remote_invocation = none(&long);
        for (n, used) in point.utilisation.iter_mut().enumerate() {
            used.node = format!("{n}{long}");
        }
    }
    if let Some(end) = &mut all.saturation {
        end.node = Some(long.clone());
        end.says = long;
    }
    all
}

fn page(all: &Prediction) -> String {
    let measured = Measured {
        points: &SEEN,
        is_elsewhere: false,
    };
    prediction(all, measured)
}

#[test]
fn rates_stand_where_they_belong_and_a_model_without_an_answer_breaks_its_line() {
    let page = page(&four());
    // The axis to the right ends where it saturates, at 500; that upwards at 8 ms. At 200/s: 60 + 360 x 200 / 500, and
    // 224 - 200 x 2 / 8.
    assert!(
        page.contains(
            "cx=\"204.0\" cy=\"174.0\" r=\"4\"><title>200/s, mean, full: 2.00 ms</title>"
        ),
        "{page}"
    );
    assert!(page.contains("d=\"M132.0 199.0 L204.0 174.0 M348.0 124.0\""));
    assert!(page.contains("d=\"M132.0 199.0 L204.0 186.5 L276.0 174.0 L348.0 161.5\""));
    assert!(page.contains(
        "<li>At 300/s full has neither mean nor percentile: the simulation did not settle.</li>"
    ));
    // What was measured: a circle at 224 - 200 x 2.5 / 8, and none where nothing was timed.
    assert!(page.contains("<circle class=\"hollow\" cx=\"204.0\" cy=\"161.5\""));
    assert_eq!(page.matches("<circle class=\"hollow\"").count(), 1);
    assert!(page.contains("<li>Measured at 100/s, no request was timed.</li>"));
    // Use of the CPUs: 224 - 200 x 200 / 500.
    assert!(
        page.contains("cx=\"204.0\" cy=\"144.0\" r=\"4\"><title>200/s, cpu of web01: 40%</title>")
    );
    assert!(page.contains("threads of store"));
}

#[test]
fn where_it_ends_is_an_upright_line_with_its_name_and_what_was_not_fitted_is_shaded() {
    let page = page(&four());
    assert_eq!(
        page.matches("<line class=\"upright guess\" x1=\"420.0\" x2=\"420.0\"")
            .count(),
        2
    );
    assert_eq!(page.matches(">500/s: cpu of web01</text>").count(), 2);
    assert_eq!(
        page.matches("class=\"outside\" x=\"60.0\" width=\"72.0\"")
            .count(),
        2
    );
    assert_eq!(
        page.matches("class=\"outside\" x=\"276.0\" width=\"144.0\"")
            .count(),
        2
    );
    for says in [
        "saturates at 500/s",
        "With 95 in 100 it lies between 450 and 550/s",
        "outside the fitted rates",
        "+remote: what messages cost is not known.",
        "<li>Requests come in at random.</li>",
        "36 000 requests",
    ] {
        assert!(page.contains(says), "{says}");
    }
    let mut far = four();
    if let Some(end) = &mut far.saturation {
        end.rate_per_s = 5000.0;
    }
    let page = self::page(&far);
    assert!(!page.contains("<line class=\"upright") && page.contains("It saturates at 5 000/s"));
}

#[test]
fn measured_times_of_other_machines_are_called_so_and_none_are_made_up() {
    let elsewhere = Measured {
        points: &SEEN,
        is_elsewhere: true,
    };
    assert!(prediction(&four(), elsewhere).contains("measured where the profile was recorded"));
    let alone = prediction(&four(), Measured::default());
    assert!(
        alone.contains("the profile holds none") && !alone.contains("<circle class=\"hollow\"")
    );
}

#[test]
fn no_name_leaves_its_place_and_nothing_is_fetched() {
    let page = page(&hostile());
    for harm in ["<script", "<img", "</style><"] {
        let known = usize::from(harm == "</style><");
        assert_eq!(page.matches(harm).count(), known, "{harm}");
    }
    for way in ["@import", "url(", "http://", "https://", "NaN"] {
        assert!(!page.contains(way), "{way}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_page_about_nothing_says_why_and_one_about_much_is_bounded() {
    let page = prediction(
        &Prediction {
            saturation_unknown: Some("other programs fill the CPUs".to_owned()),
            ..Prediction::default()
        },
        Measured::default(),
    );
    assert!(page.ends_with("</html>") && !page.contains("<svg"));
    for says in [
        "There is nothing to draw: no rate was asked for",
        "it saturates cannot be told: other programs fill the CPUs.",
        "Nothing is said to be taken for true.",
    ] {
        assert!(page.contains(says), "{says}");
    }
    let mut many = four();
    let point = many.points[0].clone();
    let rates = (1..=1000).map(|rate| PredictionPoint {
        rate_per_s: f64::from(rate),
        utilisation: (0..9)
            .map(|node| Utilisation {
                node: format!("node{node}"),
                share: f64::from(node) / 10.0,
                ..Utilisation::default()
            })
            .collect(),
        ..point.clone()
    });
    many.points = rates.collect();
    let page = self::page(&many);
    assert!(page.contains("300 of 1000 rates are shown"));
    assert!(page.contains("6 of 9 resources have a line"));
    assert!(page.len() < 1_500_000, "{}", page.len());
}
