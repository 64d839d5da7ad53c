//! The section Neighbours: who waited for whom, what is not known, and what guard said.

use courtside_core::{
    fixture::snapshots::{empty, normal, overflowing},
    model::{
        Blame, Snapshot,
        blame::{IDLE, UNKNOWN},
        interference::{
            DecidedBy, EventKind, Expected, INTERFERENCE_SCHEMA, Interference, Signal, Suspect,
        },
    },
};

use super::super::{Judged, Report};

const MS: u64 = 1_000_000;

/// In a second web waits 800 ms for a CPU: 640 for a hog, 80 for app, 30 for itself, 4 for nobody; 46 are not known.
fn slowed() -> Snapshot {
    let mut snapshot = normal(0);
    for component in &mut snapshot.components {
        component.cpu.run_queue_ns = 0;
        component.cpu.run_queue_by = Some(Vec::new());
    }
    let web = snapshot.components.iter_mut().find(|c| c.name == "web");
    let cpu = &mut web.unwrap().cpu;
    cpu.run_queue_ns = 800 * MS;
    cpu.run_queue_by = Some(
        [
            ("program:hog<b>", 640),
            ("program:app", 80),
            ("unit:web", 30),
            (IDLE, 4),
            (UNKNOWN, 46),
        ]
        .map(|(component, ms)| Blame {
            component: component.to_owned(),
            ns: ms * MS,
        })
        .into(),
    );
    snapshot
}

fn section(whole: &Snapshot, judged: Option<Judged>) -> String {
    let mut report = Report::default();
    report.add(whole);
    if let Some(judged) = judged {
        report.set_guard(judged);
    }
    let page = report.finish("shop", whole).unwrap();
    let (_, section) = page.split_once("<section id=\"neighbours\">").unwrap();
    section.split_once("</section>").unwrap().0.to_owned()
}

#[test]
fn who_slowed_whom_is_a_picture_and_a_table() {
    let section = section(&slowed(), None);
    assert!(section.contains("<svg class=\"heat\""), "{section}");
    for said in [
        "web waited and hog&lt;b&gt; had the CPU: 640 ms a second, 80% of all that it waited",
        "web waited and app had the CPU: 80.0 ms a second, 10% of all that it waited",
        "web waited and its own threads had the CPU: 30.0 ms a second",
        "web waited and nobody knows who had the CPU: 46.0 ms a second",
        "<td class=\"n\">720 ms</td>",
        "a selection hides some",
    ] {
        assert!(section.contains(said), "{said}: {section}");
    }
    // One row: the others waited for nobody.
    assert_eq!(section.matches("<td class=\"wrap\">web</td>").count(), 1);
    assert!(!section.contains("<b>"), "{section}");
}

#[test]
fn what_is_not_known_or_did_not_happen_is_said() {
    let calm = section(&empty(), None);
    assert!(calm.contains("was not recorded"), "{calm}");
    let mut calm = slowed();
    for component in &mut calm.components {
        component.cpu.run_queue_by = Some(Vec::new());
    }
    assert!(section(&calm, None).contains("No component waited for a CPU"));
    let many = section(&overflowing(0), None);
    assert!(many.len() < 60_000, "{}", many.len());
}

fn line(event: EventKind, signal: Signal) -> Interference {
    Interference {
        schema: INTERFERENCE_SCHEMA.to_owned(),
        time_unix_ns: 1_764_000_100_000_000_000,
        event,
        victim: "unit:web".to_owned(),
        signal: Some(signal),
        value: Some(664_000.0),
        expected: Some(Expected {
            median: 83_000.0,
            upper: 125_000.0,
            ..Expected::default()
        }),
        sigmas: Some(41.0),
        self_inflicted: false,
        suspects: Vec::new(),
        action: None,
        effect: None,
        reason: "80% of what it waited was given to program:hog".to_owned(),
        windows: 97,
        lost: 0,
    }
}

#[test]
fn what_guard_says_rests_on_what_it_learned() {
    let judged = |lines: Vec<Interference>| Judged {
        lines,
        left_out: 0,
        windows: 90,
        needed: 60,
    };
    let short = section(&slowed(), Some(judged(Vec::new())));
    assert!(short.contains("cannot be told from 90 windows"), "{short}");
    let learned = line(EventKind::Learned, Signal::RunQueuePerRequest);
    let usual = section(&slowed(), Some(judged(vec![learned.clone()])));
    assert!(
        usual.contains("In 90 windows nothing was slower"),
        "{usual}"
    );
    let mut slow = line(EventKind::Anomaly, Signal::RunQueuePerRequest);
    slow.suspects = vec![Suspect {
        component: "program:hog<b>".to_owned(),
        score: 0.8,
        decided_by: DecidedBy::Blame,
        correlation: Some(0.93),
        blamed_ns: Some(1_900 * MS),
        ..Suspect::default()
    }];
    let told = section(&slowed(), Some(judged(vec![learned, slow])));
    for said in [
        "<b>web</b>: run queue for each request 664 µs, mostly 83.0 µs, at most 125 µs. 80% of what it waited was given to program:hog.",
        "1. hog&lt;b&gt;, by blame 0.80, had the CPU for 1.90 s, correlation 0.93",
        "who slowed it already then is not seen",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}
