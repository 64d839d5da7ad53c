//! A guard beside: what it says is served, and it is kept going between windows and ended with the agent.

use std::sync::Mutex;

use courtside_core::model::interference::{EventKind, INTERFERENCE_SCHEMA, Interference, Signal};

use super::*;

/// Says that web is slowed by a hog in each window, and notes what it is asked to do.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    windows: u64,
    kept: u64,
    ended: bool,
    /// Said with the next window.
    more: Vec<Interference>,
}

fn line(event: EventKind, reason: &str) -> Interference {
    Interference {
        schema: INTERFERENCE_SCHEMA.to_owned(),
        time_unix_ns: 1,
        event,
        victim: "program:web".to_owned(),
        signal: Some(Signal::RunQueuePerRequest),
        value: Some(2.0),
        expected: None,
        sigmas: None,
        self_inflicted: false,
        suspects: Vec::new(),
        action: None,
        effect: None,
        reason: reason.to_owned(),
        windows: 1,
        lost: 0,
    }
}

impl Guards for Noting {
    fn window(&mut self, _: &Frame, _: &Snapshot) -> Vec<Interference> {
        let mut noted = self.0.lock().unwrap();
        noted.windows += 1;
        std::mem::take(&mut noted.more)
    }

    fn keep(&mut self) -> Vec<Interference> {
        self.0.lock().unwrap().kept += 1;
        Vec::new()
    }

    fn end(&mut self) -> Vec<Interference> {
        self.0.lock().unwrap().ended = true;
        vec![line(EventKind::Released, "the guard ends")]
    }

    fn standing(&self) -> Standing {
        let slow = Slow {
            victim: "program:web".to_owned(),
            signal: Signal::RunQueuePerRequest,
            excused: false,
            by: Some("program:load".to_owned()),
        };
        Standing {
            windows: self.0.lock().unwrap().windows,
            judged: 1,
            learning: 2,
            slow: vec![slow],
            limits: 0,
        }
    }
}

fn guarded(noting: &Noting) -> Served {
    start(Options {
        guard: Some(Guarding {
            guards: Box::new(noting.clone()),
            begun: Begun {
                act: "dry_run".to_owned(),
                spec: Some("usual.json".to_owned()),
            },
        }),
        ..options()
    })
}

fn lines(page: &str) -> Vec<Interference> {
    let lines = body(page).lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_guard_says_is_a_page_metrics_and_in_the_status() {
    let noting = Noting::default();
    let served = guarded(&noting);
    assert_eq!(body(&served.get("/interference", "")), "");
    noting.0.lock().unwrap().more = vec![
        line(EventKind::Anomaly, "one"),
        line(EventKind::Cleared, "two"),
    ];
    served.window(frames::chain(10));
    let page = served.get("/interference", "");
    assert!(page.contains("application/jsonl"), "{page}");
    let told = lines(&page);
    let reasons: Vec<&str> = told.iter().map(|line| line.reason.as_str()).collect();
    assert_eq!(reasons, ["one", "two"]);
    let metrics = served.get("/metrics", "");
    for (series, count) in [
        (
            "courtside_interference{component=\"program:web\",signal=\"run_queue_per_request\",by=\"program:load\"}",
            1,
        ),
        ("courtside_interference_events_total{event=\"anomaly\"}", 1),
        ("courtside_interference_events_total{event=\"cleared\"}", 1),
        ("courtside_interference_events_total{event=\"capped\"}", 0),
        ("courtside_guard_services{standing=\"judged\"}", 1),
        ("courtside_guard_services{standing=\"learning\"}", 2),
        ("courtside_guard_limits", 0),
    ] {
        assert_eq!(number(&metrics, series), count, "{series}");
    }
    let status: Status = serde_json::from_str(body(&served.get("/status", ""))).unwrap();
    let guard = status.guard.unwrap();
    assert_eq!(
        (guard.act.as_str(), guard.spec.as_deref()),
        ("dry_run", Some("usual.json"))
    );
    assert_eq!((guard.interference, guard.excused, guard.lines), (1, 0, 2));
    drop(served);
    let noted = noting.0.lock().unwrap();
    assert_eq!(noted.windows, 1);
    assert!(noted.kept >= noted.windows && noted.ended);
}

#[test]
fn without_a_guard_there_is_no_page_and_no_number_of_it() {
    let served = start(options());
    served.window(frames::chain(10));
    let page = served.get("/interference", "");
    assert_eq!(code(&page), "404");
    assert!(body(&page).contains("--guard"), "{page}");
    let metrics = served.get("/metrics", "");
    assert!(!metrics.contains("courtside_interference"));
    assert!(!metrics.contains("courtside_guard"));
    let status: Status = serde_json::from_str(body(&served.get("/status", ""))).unwrap();
    assert_eq!(status.guard, None);
}

/// However much is told, what is kept is bounded: the oldest lines go, and are counted.
#[test]
fn only_the_newest_lines_are_kept_and_all_are_counted() {
    const LINES: u64 = 5000;
    let noting = Noting::default();
    let served = guarded(&noting);
    let long = "x".repeat(1000);
    noting.0.lock().unwrap().more = (0..LINES)
        .map(|n| line(EventKind::Refused, &format!("{n} {long}")))
        .collect();
    served.window(frames::chain(10));
    let page = served.get("/interference", "");
    assert!(body(&page).len() <= 1 << 20);
    let told = lines(&page);
    let last = LINES - 1;
    assert!(
        told.last()
            .is_some_and(|line| line.reason.starts_with(&format!("{last} ")))
    );
    let status: Status = serde_json::from_str(body(&served.get("/status", ""))).unwrap();
    let guard = status.guard.unwrap();
    assert_eq!((guard.lines, guard.kept_lines), (LINES, told.len() as u64));
    assert!(guard.kept_lines < LINES);
}
