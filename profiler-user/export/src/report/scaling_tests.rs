//! The page of `scale`: where values are drawn, what is said where there are none, that no name leaves its place.

use courtside_core::model::scaling::Unknown;

use super::*;
use crate::scale::tests::scaling as three;

const HOSTILE: &str = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--";

/// Without the law, so that the axes end at the largest size.
fn without_law() -> Scaling {
    Scaling {
        usl: None,
        usl_unknown: Some("there are 2 sizes; measure at least three".to_owned()),
        ..three()
    }
}

/// Everything there can be, with long and hostile names.
pub(in super::super) fn hostile() -> Scaling {
    let mut all = three();
    let long = format!("{HOSTILE}{}", "a-very-long-name-".repeat(12));
    all.entry = Some(format!("program:{long}"));
    for text in [&mut all.says, &mut all.notes[0]] {
        text.clone_from(&long);
    }
    all.inflation[1].event.clone_from(&long);
    all.inflation[1].factor = None;
    let cause = &mut all.causes[0];
    cause.component = Some(long.clone());
    for text in [
        &mut cause.says,
        &mut cause.remedy,
        &mut cause.evidence[0].name,
        &mut all.needed[0].says,
    ] {
        text.clone_from(&long);
    }
    for size in &mut all.points {
        size.file = format!("/tmp/{long}.rec");
        size.lost = 1284;
        size.latency_ns = None;
        size.throughput_interval95 =
            Some([size.throughput_per_s * 0.9, size.throughput_per_s * 1.1]);
        size.unknown = vec![Unknown {
            field: "latency_ns".to_owned(),
            why: long.clone(),
        }];
    }
    if let Some(usl) = &mut all.usl {
        usl.interval_unknown = Some(long);
    }
    all
}

/// As many sizes as a large machine has, each with all its events.
pub(in super::super) fn large() -> Scaling {
    let mut all = three();
    let size = all.points[0].clone();
    let by_law = |n: u32| {
        let n = f64::from(n);
        12_345_678.0 * n / (1.0 + 0.05 * (n - 1.0) + 0.0001 * n * (n - 1.0))
    };
    all.points = (1..=48)
        .map(|n| {
            let mut size = size.clone();
            size.n = n * 4;
            size.cores = Some(n * 4);
            size.throughput_per_s = by_law(size.n);
            size.throughput_per_worker_per_s = by_law(size.n) / f64::from(size.n);
            size.speedup = by_law(size.n) / by_law(1);
            size.efficiency = size.speedup / f64::from(size.n);
            size
        })
        .collect();
    all.inflation = (0..60)
        .map(|event| Inflation {
            event: format!("event_number_{event}"),
            n: 192,
            base_per_task: 3.0,
            per_task: 3.0 * f64::from(event),
            factor: Some(f64::from(event)),
            loss_share: (event % 2 == 0).then_some(0.01),
        })
        .collect();
    all.causes = vec![all.causes[0].clone(); 30];
    all.usl = None;
    all
}

#[test]
fn sizes_stand_where_they_belong() {
    let page = scaling(&without_law());
    // The axis to the right ends at 4, that upwards at 4: 60 + 360 x 2 / 4 and 224 - 200 x 1.7 / 4.
    assert!(
        page.contains("cx=\"240.0\" cy=\"139.0\" r=\"4\"><title>2: 1.70</title>"),
        "{page}"
    );
    // The ideal goes from corner to corner.
    assert!(page.contains("d=\"M60.0 224.0 L420.0 24.0\""));
    // Efficiency: 224 - 200 x 0.85.
    assert!(page.contains("cx=\"240.0\" cy=\"54.0\" r=\"4\"><title>2: 85%</title>"));
    assert!(page.contains("No scalability law: there are 2 sizes; measure at least three."));
    assert!(!page.contains("class=\"upright") && !page.contains("Universal Scalability Law"));
    assert!(page.contains("<h1>How web&lt;001B&gt;[31m:80 scales</h1>"));
}

#[test]
fn the_law_has_a_curve_and_a_best_size_that_is_marked_as_a_guess_beyond_what_was_measured() {
    let page = scaling(&three());
    // The axis goes on to the best size.
    assert!(page.contains("<line class=\"upright guess\" x1=\"420.0\" x2=\"420.0\""));
    assert!(page.contains(">best by the law: 6.87</text>"));
    assert!(page.contains("with 2 650/s, beyond what was measured: a guess."));
    assert!(page.contains("No intervals: three points make three numbers."));
    // One alone does 1 000 a second there, and S(1) is 1: 60 + 360 / 6.87 and 224 - 200 / 4.
    let start = format!("d=\"M{:.1} 174.0 L", 60.0 + 360.0 / 6.87);
    assert_eq!(page.matches(&start).count(), 2, "{start}");
    let mut far = three();
    if let Some(usl) = &mut far.usl {
        usl.best_n = Some(40.0);
    }
    let page = scaling(&far);
    assert!(!page.contains("class=\"upright") && page.contains(", to the right of the picture."));
}

#[test]
fn a_latency_that_is_not_known_breaks_the_line_and_has_its_reason_below() {
    let mut all = without_law();
    all.points[1].latency_ns = None;
    all.points[1].unknown.push(Unknown {
        field: "latency_ns".to_owned(),
        why: "no request was timed".to_owned(),
    });
    let page = scaling(&all);
    // 1.24 ms on an axis up to 1.5 ms: 224 - 200 x 1.24 / 1.5.
    assert!(page.contains("d=\"M150.0 58.7 M420.0 58.7\""), "{page}");
    assert!(page.contains("<li>Not known at 2: no request was timed.</li>"));
    for size in &mut all.points {
        size.latency_ns = None;
    }
    let page = scaling(&all);
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("There is nothing to draw.") && page.contains("Not known at 1, 4: "));
}

#[test]
fn what_grew_and_why_stand_below_with_their_shares() {
    let page = scaling(&three());
    // Four times as much on an axis up to five times: 50 ln 4 / ln 5.
    assert!(page.contains("<span class=\"neither\" style=\"left:50.00%;width:43.07%\">"));
    assert!(page.contains("voluntary_switches") && page.contains("×4.00"));
    assert!(page.contains("<span class=\"worse\" style=\"width:20.00%\">"));
    for says in [
        "930 µs → ",
        "1. context switches",
        "up to 20% of the loss",
        "49% sure",
        "switches per task more",
        "What is needed for the rest",
        "cpu cache, memory bandwidth?",
        "up to 70% of the loss",
        "Throughput is what was asked for and answered.",
        "Not known: cpi: no hardware counters.",
        "0.1765",
        "60% of the ideal",
    ] {
        assert!(page.contains(says), "{says}");
    }
}

#[test]
fn no_name_leaves_its_place_and_nothing_is_fetched() {
    let page = scaling(&hostile());
    for harm in ["<script", "<img", "</style><"] {
        let known = usize::from(harm == "</style><");
        assert_eq!(page.matches(harm).count(), known, "{harm}");
    }
    for way in ["@import", "url(", "http://", "https://", "NaN"] {
        assert!(!page.contains(way), "{way}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("lost 3 852"));
}

#[test]
fn a_page_about_nothing_says_why_and_one_about_much_is_bounded() {
    let page = scaling(&Scaling::default());
    assert!(page.ends_with("</html>") && !page.contains("<svg"));
    for says in [
        "There is nothing to draw: no size was measured.",
        "No cause is named",
        "Nothing was counted",
    ] {
        assert!(page.contains(says), "{says}");
    }
    let page = scaling(&large());
    assert!(page.len() < 400_000, "{}", page.len());
    assert!(page.contains("40 of 60 events are shown") && page.contains("20 of 30 causes"));
    // Tens of millions a second have short marks.
    assert!(page.contains(">10 M</text>"), "{page}");
}
