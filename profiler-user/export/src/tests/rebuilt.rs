//! Tables back to snapshots: whatever a table forgot would be missing here.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Cell, Rows};
use courtside_core::fixture::snapshots::WITHOUT_POLLS;
use courtside_core::model::fields::{Field, Fields};
use courtside_core::model::finding::{Evidence, Finding};
use courtside_core::model::snapshot::{
    Component, Connects, Cost, Counters, Court, Cpu, Disk, Dist, Edge, Entry, Host, Pmu, Polls,
    Probe, ProgramCost, Quality, Recipient, Requests, SCHEMA, Snapshot, Turnaround,
    TurnaroundCounters, Waits, Window,
};
use courtside_core::model::words::LOSSES;
use courtside_core::model::{Holder, Lock};
use courtside_core::parts::Part;

type Row = BTreeMap<String, Cell>;

fn cell(row: &Row, name: &str) -> Json {
    match row.get(name).unwrap_or_else(|| panic!("no column {name}")) {
        Cell::Null => Json::Null,
        Cell::Count(n) => json!(n),
        Cell::Real(x) => json!(x),
        Cell::Flag(yes) => json!(yes),
        Cell::Text(text) => json!(text),
        Cell::Counts(list) => json!(list),
    }
}

/// Those fields of an object that have columns of their own names, or a distribution of theirs, after the prefix.
fn object<T: Fields>(row: &Row, prefix: &str) -> Json {
    let value = |field: &Field| {
        let column = format!("{prefix}{}", field.name);
        let base = column.strip_suffix("_ns").unwrap_or(&column);
        if row.contains_key(&column) {
            Some(cell(row, &column))
        } else if row.contains_key(&format!("{base}_bucket_count")) {
            Some(dist(row, base))
        } else {
            None
        }
    };
    let pairs = T::FIELDS.iter();
    let pairs = pairs.filter_map(|field| Some((field.name.to_owned(), value(field)?)));
    Json::Object(pairs.collect())
}

/// The same, or null if its first column is.
fn object_or_null<T: Fields>(row: &Row, prefix: &str) -> Json {
    match &row[&format!("{prefix}{}", T::FIELDS[0].name)] {
        Cell::Null => Json::Null,
        _ => object::<T>(row, prefix),
    }
}

/// With the parts of its turnarounds.
fn with_parts(mut object: Json, row: &Row, prefix: &str) -> Json {
    for part in Part::ALL {
        object[part.field()] = cell(row, &format!("{prefix}{}", part.field()));
    }
    object
}

fn dist(row: &Row, prefix: &str) -> Json {
    let mut dist = object::<Dist>(row, &format!("{prefix}_"));
    if dist["count"].is_null() {
        return Json::Null;
    }
    let list = |what: &str| cell(row, &format!("{prefix}_bucket_{what}"));
    let (upper, count) = (list("upper_ns"), list("count"));
    let (upper, count) = (upper.as_array().unwrap(), count.as_array().unwrap());
    assert_eq!(upper.len(), count.len());
    dist["buckets"] = upper
        .iter()
        .zip(count)
        .map(|(u, n)| json!([u, n]))
        .collect();
    dist
}

fn with(mut object: Json, more: &[(&str, Json)]) -> Json {
    for (name, value) in more {
        object[*name] = value.clone();
    }
    object
}

pub(super) fn snapshots(tables: &BTreeMap<&str, Rows>) -> Vec<Snapshot> {
    let windows = tables["windows"].iter();
    windows.map(|row| snapshot(tables, row)).collect()
}

fn snapshot(tables: &BTreeMap<&str, Rows>, window: &Row) -> Snapshot {
    let of = |table: &str, wanted: &[(&str, &Cell)]| -> Vec<Row> {
        let here = |row: &&Row| {
            row["window"] == window["window"] && wanted.iter().all(|(name, v)| row[*name] == **v)
        };
        tables[table].iter().filter(here).cloned().collect()
    };
    let lost: Map<String, Json> = LOSSES
        .iter()
        .map(|loss| {
            (
                loss.class.to_owned(),
                cell(window, &format!("lost_{}", loss.class)),
            )
        })
        .collect();
    assert_eq!(window["lost_other"], Cell::Count(0));
    let protocols: Map<String, Json> = of("protocols", &[])
        .iter()
        .filter_map(|row| Some((cell(row, "name").as_str()?.to_owned(), cell(row, "calls"))))
        .collect();

    let components = of("components", &[]).into_iter().map(|row| {
        let own = [("component", &row["id"])];
        let processes = of("processes", &own).into_iter();
        let processes =
            processes.map(|row| json!({ "tgid": cell(&row, "tgid"), "comm": cell(&row, "comm") }));
        let recipients = of("turnarounds", &own).into_iter().map(|row| {
            let counters = object_or_null::<TurnaroundCounters>(&row, "");
            let recipient = object::<Recipient>(&row, "");
            with(with_parts(recipient, &row, ""), &[("counters", counters)])
        });
        let blame = of("run_queue_by", &own).into_iter();
        let blame =
            blame.map(|row| json!({ "component": cell(&row, "by"), "ns": cell(&row, "ns") }));
        let blame: Json = match blame.collect() {
            // A table of rows cannot tell nothing from nothing known.
            Json::Array(rows) if rows.is_empty() && cell(&row, "run_queue_ns") != json!(0) => {
                Json::Null
            }
            rows => rows,
        };
        let behind = of("queued_behind", &own).into_iter();
        let behind =
            behind.map(|row| json!({ "component": cell(&row, "by"), "ns": cell(&row, "ns") }));
        let requests = [cell(&row, "disk_reads"), cell(&row, "disk_writes")];
        let behind: Json = match behind.collect() {
            Json::Array(rows) if rows.is_empty() && requests != [json!(0), json!(0)] => Json::Null,
            rows => rows,
        };
        let mut waits = object::<Waits>(&row, "waits_");
        if waits["lock_ns"].is_null() {
            waits = Json::Null;
        }
        let mut polls = object_or_null::<Polls>(&row, "polls_");
        if !polls.is_null() {
            // In words, which have no column.
            polls["reason"] = match polls["lower_bound"] {
                Json::Bool(true) => json!(WITHOUT_POLLS),
                _ => Json::Null,
            };
        }
        let locks = of("locks", &own).into_iter().map(|row| {
            let holder = object_or_null::<Holder>(&row, "holder_");
            with(object::<Lock>(&row, ""), &[("holder", holder)])
        });
        let locks: Json = match locks.collect() {
            Json::Array(rows) if rows.is_empty() && waits.is_null() => Json::Null,
            rows => rows,
        };
        let mut counters = object_or_null::<Counters>(&row, "");
        if !counters.is_null() {
            counters["running_ratio"] = cell(&row, "counters_running_ratio");
        }
        let requests = [
            ("service_ns", dist(&row, "service")),
            ("queued_ns", dist(&row, "queued")),
            (
                "held_ns",
                json!(cell(&row, "held_ns").as_f64().map(|ns| ns as i64)),
            ),
            ("held_unknown", cell(&row, "held_unknown")),
        ];
        let turnaround = [
            ("unprompted_count", cell(&row, "unprompted_count")),
            ("unprompted_ns", cell(&row, "unprompted_ns")),
            (
                "counters",
                object_or_null::<TurnaroundCounters>(&row, "turnaround_"),
            ),
            ("by_recipient", recipients.collect()),
        ];
        with(
            object::<Component>(&row, ""),
            &[
                ("processes", processes.collect()),
                ("waits", waits),
                ("polls", polls),
                ("locks", locks),
                (
                    "cpu",
                    with(object::<Cpu>(&row, ""), &[("run_queue_by", blame)]),
                ),
                ("counters", counters),
                (
                    "disk",
                    with(object::<Disk>(&row, "disk_"), &[("queued_behind", behind)]),
                ),
                (
                    "requests",
                    with(object::<Requests>(&row, "requests_"), &requests),
                ),
                (
                    "turnaround",
                    with(
                        with_parts(
                            object::<Turnaround>(&row, "turnaround_"),
                            &row,
                            "turnaround_",
                        ),
                        &turnaround,
                    ),
                ),
            ],
        )
    });
    let edges = of("edges", &[]).into_iter().map(|row| {
        let connects = [
            ("count", cell(&row, "connect_count")),
            ("latency_ns", dist(&row, "connect")),
            ("syn_retransmits", cell(&row, "syn_retransmits")),
        ];
        let connects = with(object::<Connects>(&row, "connects_"), &connects);
        with(object::<Edge>(&row, ""), &[("connects", connects)])
    });
    let entries = of("entries", &[]).into_iter().map(|row| {
        let courts = of("courts", &[("entry", &row["entry"])]).into_iter();
        let courts = courts.map(|row| with_parts(object::<Court>(&row, ""), &row, ""));
        with(object::<Entry>(&row, ""), &[("courts", courts.collect())])
    });
    let findings = of("findings", &[]).into_iter().map(|row| {
        let evidence = of("evidence", &[("finding", &row["finding"])]).into_iter();
        let evidence = evidence.map(|row| object::<Evidence>(&row, ""));
        let edge = match &row["edge_from"] {
            Cell::Null => Json::Null,
            _ => json!({ "from": cell(&row, "edge_from"), "to": cell(&row, "edge_to") }),
        };
        let more = [("evidence", evidence.collect()), ("edge", edge)];
        with(object::<Finding>(&row, ""), &more)
    });
    let probes = of("probes", &[]).into_iter();
    let programs = of("programs", &[]).into_iter();
    let quality = [
        ("lost", Json::Object(lost)),
        ("unplaced_protocols", Json::Object(protocols)),
        (
            "probes",
            probes.map(|row| object::<Probe>(&row, "")).collect(),
        ),
        ("pmu", object::<Pmu>(window, "pmu_")),
    ];
    let programs = programs.map(|row| object::<ProgramCost>(&row, ""));
    let snapshot = with(
        object::<Snapshot>(window, ""),
        &[
            ("schema", json!(SCHEMA)),
            ("host", object::<Host>(window, "")),
            ("window", object::<Window>(window, "")),
            ("quality", with(object::<Quality>(window, ""), &quality)),
            (
                "cost",
                with(
                    object::<Cost>(window, ""),
                    &[("programs", programs.collect())],
                ),
            ),
            ("components", components.collect()),
            ("edges", edges.collect()),
            ("entries", entries.collect()),
            ("findings", findings.collect()),
        ],
    );
    serde_json::from_value(snapshot).unwrap()
}
