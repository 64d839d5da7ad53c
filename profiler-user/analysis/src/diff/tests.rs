//! Changes of known size put into windows, and none.

use courtside_core::{
    fixture::snapshots,
    model::{Finding, Snapshot, finding::Severity},
    parts::Part,
};

use super::*;

const LIMITS: Limits = Limits {
    ignore_below: 0.1,
    fail_above: Some(0.1),
};

/// A recording of normal windows, each unlike the one before, and changed a little.
fn side(file: &str, windows: u64, change: impl Fn(u64, &mut Snapshot)) -> Side {
    let mut side = Side::new(file.to_owned());
    for n in 0..windows {
        let mut snapshot = snapshots::normal(17 * n);
        change(n, &mut snapshot);
        side.add(&snapshot);
    }
    side
}

fn plain(file: &str, windows: u64) -> Side {
    side(file, windows, |_, _| {})
}

/// The time of `app`'s requests, times so much.
fn slower(by: f64) -> Side {
    side("b.rec", 40, |_, snapshot| {
        for component in &mut snapshot.components {
            if component.name == "app" {
                let service = &mut component.requests.service_ns;
                service.sum_ns = (service.sum_ns as f64 * by) as u64;
            }
        }
    })
}

#[test]
fn the_same_recording_twice_has_no_changes() {
    let diff = compare(&plain("a.rec", 40), &plain("a.rec", 40), LIMITS).unwrap();
    assert_eq!(diff.changes, []);
    assert!(!diff.worse && diff.compared > 10);
    assert_eq!((diff.a.windows, diff.a.requests > 0), (40, true));
}

#[test]
fn what_got_slower_is_told_with_how_much_and_is_worse_above_the_limit() {
    let diff = compare(&plain("a.rec", 40), &slower(1.25), LIMITS).unwrap();
    assert_eq!(diff.changes.len(), 1, "{:#?}", diff.changes);
    let change = &diff.changes[0];
    assert_eq!(
        (change.component.as_str(), change.field.as_str()),
        ("program:app", "service_ns")
    );
    assert!((change.ratio.unwrap() - 1.25).abs() < 0.02, "{change:?}");
    let [low, high] = change.interval95.unwrap();
    assert!((low..=high).contains(&1.25) && change.p < 0.001);
    assert!(
        change.says.starts_with("app: service time is 25% more, "),
        "{}",
        change.says
    );
    assert!(diff.worse);
    let lenient = Limits {
        fail_above: Some(0.3),
        ..LIMITS
    };
    let diff = compare(&plain("a.rec", 40), &slower(1.25), lenient).unwrap();
    assert!(!diff.worse && diff.changes.len() == 1);
    // The other way round it got better.
    let better = compare(&slower(1.25), &plain("a.rec", 40), LIMITS).unwrap();
    assert_eq!(better.changes[0].worse, Some(false));
    assert!(!better.worse);
}

#[test]
fn where_some_windows_have_nothing_the_limit_is_held_to_the_medians() {
    let key = Key {
        component: "program:app".to_owned(),
        to: None,
        field: Field::Unread,
    };
    let a = [[0.0; 15].as_slice(), [100.0; 25].as_slice()].concat();
    let changed = |b: f64| change(&key, &(a.clone(), vec![b; 40]), 0.001, true);
    let little = changed(105.0);
    assert_eq!((little.ratio, little.worse), (None, Some(true)));
    assert!(!is_worse(&little, 0.1) && is_worse(&little, 0.01));
    assert!(is_worse(&changed(120.0), 0.1));
    // What was nothing before has no share that it grew by.
    let from_nothing = change(&key, &(vec![0.0; 40], vec![5.0; 40]), 0.001, true);
    assert!(is_worse(&from_nothing, 10.0));
}

#[test]
fn a_change_of_less_than_what_is_ignored_is_left_out() {
    let told = |ignore_below| {
        let limits = Limits {
            ignore_below,
            fail_above: None,
        };
        compare(&plain("a.rec", 40), &slower(1.05), limits).unwrap()
    };
    assert_eq!(told(0.1).changes, []);
    let diff = told(0.02);
    assert_eq!(diff.changes.len(), 1);
    assert!(diff.worse);
}

#[test]
fn more_requests_are_a_change_but_neither_better_nor_worse() {
    let busier = side("b.rec", 40, |_, snapshot| snapshot.window.duration_ns /= 2);
    let diff = compare(&plain("a.rec", 40), &busier, LIMITS).unwrap();
    assert!(!diff.changes.is_empty() && !diff.worse);
    let rates = diff
        .changes
        .iter()
        .all(|c| c.field == "requests_per_s" && c.worse.is_none());
    assert!(rates, "{:#?}", diff.changes);
}

#[test]
fn a_part_says_why_and_one_that_is_next_to_nothing_is_left_out() {
    let longer = |share: u64| {
        side("b.rec", 40, move |_, snapshot| {
            for component in &mut snapshot.components {
                if component.name == "app" {
                    let turnaround = &mut component.turnaround;
                    let more = turnaround.total_ns * share / 100;
                    turnaround.parts[Part::RunQueue] += more;
                    turnaround.total_ns += more;
                }
            }
        })
    };
    let diff = compare(&plain("a.rec", 40), &longer(50), LIMITS).unwrap();
    let fields: Vec<_> = diff.changes.iter().map(|c| c.field.as_str()).collect();
    assert_eq!(fields, ["turnaround_ns", "turnaround.run_queue_ns"]);
    assert_eq!(diff.changes[1].worse, None);
    assert!((diff.changes[0].ratio.unwrap() - 1.5).abs() < 0.02);
    let diff = compare(&plain("a.rec", 40), &longer(3), LIMITS).unwrap();
    assert_eq!(diff.changes, []);
}

#[test]
fn more_roundtrips_and_a_slower_edge_name_the_edge() {
    let more = side("b.rec", 40, |_, snapshot| {
        for edge in snapshot
            .edges
            .iter_mut()
            .filter(|edge| edge.to.ends_with("store"))
        {
            edge.roundtrips_per_request = edge.roundtrips_per_request.map(|n| n * 2.0);
            edge.latency_ns.sum_ns *= 3;
        }
    });
    let diff = compare(&plain("a.rec", 40), &more, LIMITS).unwrap();
    let told: Vec<_> = diff
        .changes
        .iter()
        .map(|c| {
            let edge = c.edge.as_ref().unwrap();
            (c.field.as_str(), edge.to.ends_with("store"), c.ratio)
        })
        .collect();
    assert_eq!(
        told.iter().map(|(field, ..)| *field).collect::<Vec<_>>(),
        ["latency_ns", "roundtrips_per_request"]
    );
    assert!(told.iter().all(|(_, store, _)| *store) && diff.worse);
    assert!((told[0].2.unwrap() - 3.0).abs() < 0.05 && (told[1].2.unwrap() - 2.0).abs() < 0.05);
}

#[test]
fn a_finding_that_was_not_there_is_a_change_for_the_worse() {
    let found = side("b.rec", 40, |_, snapshot| {
        snapshot.findings.push(Finding {
            rule: "run_queue".to_owned(),
            severity: Severity::Warn,
            component: "program:app".to_owned(),
            edge: None,
            says: String::new(),
            evidence: Vec::new(),
            confidence: 0.9,
            remedy: String::new(),
            at_stake_ns: None,
        });
    });
    let diff = compare(&plain("a.rec", 40), &found, LIMITS).unwrap();
    assert_eq!(diff.changes.len(), 1, "{:#?}", diff.changes);
    let change = &diff.changes[0];
    assert_eq!(change.field, "findings.run_queue");
    assert_eq!((change.a, change.b, change.ratio), (0.0, 1.0, None));
    assert_eq!(change.worse, Some(true));
    assert!(diff.worse);
    assert_eq!(
        change.says,
        "app: the finding run_queue is in 100% of the windows, and was in 0%"
    );
}

/// What is measured now, of normal windows.
fn now(windows: u64) -> Side {
    let mut side = Side::now();
    (0..windows).for_each(|n| side.add(&snapshots::normal(17 * n)));
    side
}

#[test]
fn what_is_measured_now_is_compared_as_a_recording_is_and_says_so() {
    let diff = compare(&plain("a.rec", 40), &now(40), LIMITS).unwrap();
    let recorded = compare(&plain("a.rec", 40), &plain("b.rec", 40), LIMITS).unwrap();
    assert_eq!(
        (diff.compared, &diff.changes),
        (recorded.compared, &recorded.changes)
    );
    assert_eq!((diff.b.file.as_str(), diff.b.live), ("now", true));
    assert!(!diff.a.live && !recorded.b.live);
    let brief = compare(&plain("a.rec", 40), &now(14), LIMITS).unwrap_err();
    let said = brief.to_string();
    assert!(
        said.starts_with("14 windows were measured, and at least 15"),
        "{said}"
    );
    assert!(said.ends_with("with: courtside diff A -d 60s"), "{said}");
    let strange = side("a.rec", 40, |_, snapshot| {
        snapshot.components.clear();
        snapshot.edges.clear();
    });
    let said = compare(&strange, &now(40), LIMITS).unwrap_err().to_string();
    assert!(
        said.contains("in the one there are none, now ") && said.contains("program:app,"),
        "{said}"
    );
    assert!(said.ends_with("courtside diff A --group-by comm"), "{said}");
}

#[test]
fn what_cannot_be_compared_says_why() {
    let short = compare(&plain("a.rec", 40), &plain("b.rec", 3), LIMITS).unwrap_err();
    assert!(
        short.to_string().starts_with("b.rec has 3 windows"),
        "{short}"
    );
    let other = side("b.rec", 40, |_, snapshot| {
        for component in &mut snapshot.components {
            component.id.push_str("-new");
        }
        snapshot.edges.clear();
    });
    let nothing = compare(&plain("a.rec", 40), &other, LIMITS)
        .unwrap_err()
        .to_string();
    assert!(
        nothing.contains("program:app,") && nothing.contains("program:app-new"),
        "{nothing}"
    );
}
