//! The views Tail and Parallel: they are in recordings only, ask once, and say what cannot be told.

use courtside_core::{
    model::{
        finding::{Finding, Severity},
        inference::{
            ByTurn, Inference, InferenceSource, Process, ReceiveWait, SelfCheck, Time, Topology,
        },
        snapshot::Court,
        tail::{By, Difference, Exemplar, Tail, TailCourt, TailGroup, Waker},
    },
    parts::{Part, Parts},
};

use super::*;

const MS: f64 = 1e6;

fn by(component: &str, ns: f64) -> By {
    By {
        component: component.to_owned(),
        ns,
    }
}

fn difference(component: Option<&str>, part: &str, more_ns: f64, by: Vec<By>) -> Difference {
    Difference {
        component: component.map(str::to_owned),
        part: part.to_owned(),
        more_ns,
        slow_ns: more_ns + 0.1 * MS,
        median_ns: 0.1 * MS,
        share: Some(more_ns / (9.0 * MS)),
        seen_in: 12,
        says: format!("{} more of {part}", component.unwrap_or("network")),
        by,
    }
}

fn slowest() -> Tail {
    let court = Court {
        component: "program:app".to_owned(),
        turnaround_ns: 8.0 * MS,
        parts: [(Part::OnCpu, 1.0 * MS), (Part::RunQueue, 7.0 * MS)]
            .into_iter()
            .collect::<Parts<f64>>(),
        ..Court::default()
    };
    Tail {
        entry: "unit:web".to_owned(),
        port: 80,
        requests: 1234,
        untimed: 7,
        slow_share: 0.0105,
        threshold_ns: 9_000_000,
        slow: TailGroup {
            count: 13,
            mean_ns: 12.2 * MS,
            ..TailGroup::default()
        },
        median: TailGroup {
            count: 247,
            mean_ns: 3.2 * MS,
            ..TailGroup::default()
        },
        differences: vec![
            difference(
                Some("program:app"),
                "run_queue",
                6.9 * MS,
                vec![by("program:h\u{202E}og", 6.5 * MS), by("unknown", 0.4 * MS)],
            ),
            difference(
                Some("container:store"),
                "sleep",
                2.4 * MS,
                vec![by("program:batch", 2.4 * MS)],
            ),
            difference(None, "network", -0.3 * MS, Vec::new()),
        ],
        exemplars: vec![Exemplar {
            service_ns: 19_000_000,
            courts: vec![TailCourt {
                court,
                ..TailCourt::default()
            }],
            network_ns: 11.0 * MS,
            waker: Some(Waker {
                component: "program:batch".to_owned(),
                tid: 7,
                ..Waker::default()
            }),
            ..Exemplar::default()
        }],
        remarks: vec!["7 requests have no time.".to_owned()],
        ..Tail::default()
    }
}

/// A ring of this many processes, of which the third holds the others up.
fn ring(size: u32) -> Inference {
    let id = |n: u32| format!("rank{n}/{}", 4700 + n);
    let process = |n: u32| Process {
        id: id(n),
        name: format!("rank{n}"),
        tgid: 4700 + n,
        component: format!("program:rank{n}"),
        threads: 1,
        iterations: courtside_core::model::inference::Iterations {
            by_turn: Some(ByTurn {
                count: 200,
                mean_per_s: 14.5 - f64::from(n) / 100.0,
            }),
            ..Default::default()
        },
        time: Time {
            wall_ns: 14_000_000_000,
            on_cpu_ns: if n == 2 {
                12_900_000_000
            } else {
                2_000_000_000
            },
            run_queue_ns: 400_000_000,
            receive_wait: if n == 2 {
                Vec::new()
            } else {
                vec![ReceiveWait {
                    from: id((n + size - 1) % size),
                    not_sent_ns: 9_000_000_000,
                    in_flight_ns: 200_000_000,
                    transfer_ns: 0,
                }]
            },
            ..Time::default()
        },
        polls: n == 3,
        slack_ns: (n != 3).then_some(120_000_000),
        critical_share: Some(if n == 2 { 0.91 } else { 0.03 }),
        ..Process::default()
    };
    let rate = |row: u32, column: u32| {
        if column == (row + 1) % size {
            65_536.0
        } else if row == (column + 1) % size {
            9_000.0
        } else {
            0.0
        }
    };
    Inference {
        source: InferenceSource {
            application_ns: 13_900_000_000,
            lost: [("events".to_owned(), u64::from(size / 10))].into(),
            ..InferenceSource::default()
        },
        processes: (0..size).map(process).collect(),
        topology: Topology {
            processes: (0..size).map(id).collect(),
            bytes_per_s: (0..size)
                .map(|row| (0..size).map(|column| rate(row, column)).collect())
                .collect(),
            shape: "ring".to_owned(),
            match_score: 1.0,
            dimensions: vec![u64::from(size)],
            also: vec!["torus 2x2".to_owned()],
            ..Topology::default()
        },
        self_check: Some(SelfCheck {
            replay_error: -0.003,
            ..SelfCheck::default()
        }),
        findings: vec![Finding {
            rule: "imbalance".to_owned(),
            severity: Severity::Warn,
            component: "program:rank2".to_owned(),
            edge: None,
            says: "rank2/4702 holds everyone up: 9.20 s of 14.0 s".to_owned(),
            evidence: Vec::new(),
            confidence: 0.9,
            remedy: "give it less to do".to_owned(),
            at_stake_ns: None,
        }],
        remarks: vec!["Launchers are left out.".to_owned()],
        ..Inference::default()
    }
}

const SIZES: [(u16, u16); 4] = [(40, 20), (80, 24), (120, 40), (200, 50)];

fn screens(state: &UiState) -> String {
    SIZES
        .map(|(width, height)| screen(state, width, height))
        .join("\n")
}

#[test]
fn what_all_of_a_recording_tells_is_asked_for_once() {
    let mut state = recorded(3);
    assert_eq!(press(&mut state, "0"), Some(Action::Ask));
    assert_eq!(state.view, DashboardView::Tail);
    assert!(screen(&state, 80, 24).contains("Following every single event"));
    assert_eq!(press(&mut state, "\t"), None);
    assert_eq!(state.view, DashboardView::Parallel);
    assert!(screen(&state, 80, 24).contains("Following every single event"));
    assert_eq!(press(&mut state, "10"), None);
    let why = "x.rec has no single events, which tell one request from another".to_owned();
    state.answer(Err(why.clone()), Err(why));
    assert!(screen(&state, 120, 24).contains("Cannot tell: x.rec has no single events"));
    // From the last view on to the first one.
    assert_eq!(press(&mut state, "\t\t"), None);
    assert_eq!(state.view, DashboardView::Components);
    // What is measured now has no such views.
    let mut live = seen(snapshots::normal, 1, FULL);
    assert_eq!(press(&mut live, "0"), None);
    assert_eq!(live.view, DashboardView::Components);
    live.key(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT));
    assert_eq!(live.view, DashboardView::Neighbours);
}

fn answered(inference: Inference) -> UiState {
    let mut state = recorded(3);
    press(&mut state, "0");
    state.answer(Ok(slowest()), Ok(inference));
    state
}

#[test]
fn why_the_slowest_are_slow_is_shown() {
    let mut state = answered(ring(4));
    insta::assert_snapshot!("tail", screens(&state));
    let shown = screen(&state, 120, 40);
    assert!(shown.contains("h<202E>og") && !shown.contains('\u{202E}'));
    press(&mut state, "?");
    insta::assert_snapshot!("tail_help", screen(&state, 80, 50));
    press(&mut state, "?/batch\n");
    assert!(screen(&state, 120, 40).contains("1/1"));
    press(&mut state, "\x1bj\n");
    assert_eq!(state.view, DashboardView::Turnaround);
    assert_eq!(state.target.as_deref(), Some("container:store"));
    press(&mut state, "\x1b");
    assert_eq!(state.view, DashboardView::Tail);
}

#[test]
fn what_a_parallel_application_does_is_shown() {
    let mut state = answered(ring(4));
    press(&mut state, "\t");
    insta::assert_snapshot!("parallel", screens(&state));
    press(&mut state, "?");
    insta::assert_snapshot!("parallel_help", screen(&state, 80, 50));
    press(&mut state, "?/tgid:4703\n");
    assert!(screen(&state, 120, 40).contains("polls: its waiting is CPU time"));
    let mut state = answered(ring(40));
    press(&mut state, "\t");
    insta::assert_snapshot!("parallel_many", screens(&state));
}

#[test]
fn nothing_breaks_at_any_size_or_in_ascii() {
    let mut state = answered(ring(20));
    for keys in ["", "\t"] {
        press(&mut state, keys);
        for width in 1..=160 {
            screen(&state, width, 1 + (width * 7) % 45);
        }
    }
    state.theme = Theme {
        color: false,
        ascii: true,
    };
    for keys in ["0", "\t"] {
        press(&mut state, keys);
        let shown = screen(&state, 120, 40);
        assert!(shown.is_ascii(), "{shown}");
        // The hint for the help, and no more.
        assert!(shown.matches('?').count() <= 1, "{shown}");
    }
    // Nothing at all was found.
    let mut state = recorded(3);
    press(&mut state, "0");
    state.answer(Ok(Tail::default()), Ok(Inference::default()));
    assert!(screen(&state, 80, 24).contains("differ in nothing"));
    press(&mut state, "\t");
    screen(&state, 80, 24);
}
