//! What `guard` tells as tables: what is read back is what was told.

use courtside_core::model::interference::{
    Action, DecidedBy, Effect, EventKind, Expected, INTERFERENCE_SCHEMA, Interference, Signal,
    Suspect,
};

use super::*;
use crate::parquet::Told;

fn line(event: EventKind, windows: u64) -> Interference {
    Interference {
        schema: INTERFERENCE_SCHEMA.to_owned(),
        time_unix_ns: windows * 1_000_000_000,
        event,
        victim: "program:redis".to_owned(),
        signal: Some(Signal::RunQueuePerRequest),
        value: Some(812_000.5),
        expected: Some(Expected {
            median: 140_000.0,
            upper: 210_000.0,
            ..Expected::default()
        }),
        sigmas: Some(45.3),
        self_inflicted: false,
        suspects: Vec::new(),
        action: None,
        effect: None,
        reason: "because".to_owned(),
        windows,
        lost: 3,
    }
}

#[test]
fn lines_and_suspects_are_tables_that_join_by_time_and_victim() {
    let slow = Interference {
        suspects: vec![
            Suspect {
                component: "program:hog".to_owned(),
                score: 0.95,
                decided_by: DecidedBy::Blame,
                blamed_ns: Some(154_000_000),
                ..Suspect::default()
            },
            Suspect {
                component: "program:x".to_owned(),
                ..Suspect::default()
            },
        ],
        ..line(EventKind::Anomaly, 63)
    };
    let judged = Interference {
        action: Some(Action {
            kind: "weight".to_owned(),
            component: "program:hog".to_owned(),
            cgroup: "/hog".to_owned(),
            file: "/hog/cpu.idle".to_owned(),
            before: "0".to_owned(),
            after: "1".to_owned(),
            until_unix_ns: None,
            dry_run: false,
        }),
        effect: Some(Effect {
            before: 812_000.5,
            after: 150_000.0,
            sigmas: None,
            worked: true,
        }),
        signal: None,
        value: None,
        expected: None,
        sigmas: None,
        ..line(EventKind::Judged, 70)
    };
    let mut tables = Told::new().unwrap();
    let mut pieces = Vec::new();
    for line in [&slow, &judged] {
        pieces.extend(tables.add(line).unwrap());
    }
    pieces.extend(tables.finish().unwrap());
    let mut files = files([pieces]);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["interference.parquet", "suspects.parquet"]
    );
    let lines = read_parquet(files.remove("interference.parquet").unwrap());
    let suspects = read_parquet(files.remove("suspects.parquet").unwrap());
    assert_eq!((lines.len(), suspects.len()), (2, 2));
    let text = |text: &str| Cell::Text(text.to_owned());
    for (name, wanted) in [
        ("window", Cell::Count(62)),
        ("event", text("anomaly")),
        ("signal", text("run_queue_per_request")),
        ("value", Cell::Real(812_000.5)),
        ("expected_upper", Cell::Real(210_000.0)),
        ("self_inflicted", Cell::Flag(false)),
        ("effect_worked", Cell::Null),
        ("action_file", Cell::Null),
        ("lost", Cell::Count(3)),
    ] {
        assert_eq!(lines[0][name], wanted, "{name}");
    }
    for (name, wanted) in [
        ("signal", Cell::Null),
        ("value", Cell::Null),
        ("action_kind", text("weight")),
        ("action_file", text("/hog/cpu.idle")),
        ("effect_after", Cell::Real(150_000.0)),
        ("effect_worked", Cell::Flag(true)),
    ] {
        assert_eq!(lines[1][name], wanted, "{name}");
    }
    for (name, wanted) in [
        ("time_unix_ns", lines[0]["time_unix_ns"].clone()),
        ("victim", lines[0]["victim"].clone()),
        ("place", Cell::Count(1)),
        ("component", text("program:hog")),
        ("decided_by", text("blame")),
        ("blamed_ns", Cell::Count(154_000_000)),
        ("exposure_ns", Cell::Null),
    ] {
        assert_eq!(suspects[0][name], wanted, "{name}");
    }
    assert_eq!(suspects[1]["place"], Cell::Count(2));
}
