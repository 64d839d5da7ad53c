//! Tables back to snapshots: whatever a table forgot would be missing here.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Cell, Rows};
use crate::model::Snapshot;
use crate::model::snapshot::SCHEMA;
use crate::model::words::LOSSES;

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

/// An object of these cells; `a=b` is column `a` under the name `b`.
fn object(row: &Row, fields: &str) -> Json {
    let pairs = fields.split_whitespace().map(|field| {
        let (column, name) = field.split_once('=').unwrap_or((field, field));
        (name.to_owned(), cell(row, column))
    });
    Json::Object(pairs.collect::<Map<_, _>>())
}

/// An object whose columns all begin with the same.
fn prefixed(row: &Row, prefix: &str, fields: &str) -> Json {
    let fields: Vec<String> = fields
        .split_whitespace()
        .map(|f| format!("{prefix}_{f}={f}"))
        .collect();
    object(row, &fields.join(" "))
}

fn dist(row: &Row, prefix: &str) -> Json {
    let mut dist = prefixed(
        row,
        prefix,
        "count sum_ns min_ns p50_ns p90_ns p99_ns max_ns",
    );
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

fn turnaround_counters(row: &Row, prefix: &str) -> Json {
    let names = ["cycles", "instructions", "cpi"];
    let fields = names.map(|name| format!("{prefix}{name}={name}")).join(" ");
    match &row[&format!("{prefix}cycles")] {
        Cell::Null => Json::Null,
        _ => object(row, &fields),
    }
}

fn with(mut object: Json, more: &[(&str, Json)]) -> Json {
    for (name, value) in more {
        object[*name] = value.clone();
    }
    object
}

const PARTS: &str = "on_cpu_ns run_queue_ns block_io_ns sleep_ns queued_ns";

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
    let list = |rows: Vec<Row>, fields: &str| -> Json {
        rows.iter().map(|row| object(row, fields)).collect()
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

    let components = of("components", &[]).into_iter().map(|row| {
        let own = [("component", &row["id"])];
        let recipients = of("turnarounds", &own).into_iter().map(|row| {
            let fields = format!("to count total_ns {PARTS}");
            let more = [("each_ns", dist(&row, "each")), ("counters", turnaround_counters(&row, ""))];
            with(object(&row, &fields), &more)
        });
        let counters = match &row["cycles"] {
            Cell::Null => Json::Null,
            _ => object(
                &row,
                "cycles instructions llc_references llc_misses cpi counters_running_ratio=running_ratio",
            ),
        };
        let disk = prefixed(&row, "disk", "reads writes read_bytes write_bytes");
        let turnaround = prefixed(&row, "turnaround", &format!("count total_ns {PARTS}"));
        with(
            object(&row, "id name kind"),
            &[
                ("processes", list(of("processes", &own), "tgid comm")),
                (
                    "cpu",
                    object(
                        &row,
                        "on_cpu_ns run_queue_ns block_io_ns voluntary_switches involuntary_switches",
                    ),
                ),
                ("counters", counters),
                ("disk", with(disk, &[("latency_ns", dist(&row, "disk_latency"))])),
                (
                    "requests",
                    json!({
                        "served": cell(&row, "requests_served"),
                        "service_ns": dist(&row, "service"),
                        "queued_ns": dist(&row, "queued"),
                    }),
                ),
                (
                    "turnaround",
                    with(
                        turnaround,
                        &[
                            ("unprompted_count", cell(&row, "unprompted_count")),
                            ("unprompted_ns", cell(&row, "unprompted_ns")),
                            ("each_ns", dist(&row, "turnaround_each")),
                            ("counters", turnaround_counters(&row, "turnaround_")),
                            ("by_recipient", recipients.collect()),
                        ],
                    ),
                ),
            ],
        )
    });
    let edges = of("edges", &[]).into_iter().map(|row| {
        let fields = "from to transport port roundtrips roundtrips_per_request messages_sent \
                      messages_received bytes_sent bytes_received min_rtt_ns retransmits lower_bound acceptor_only";
        let dists = [("latency_ns", dist(&row, "latency")), ("service_ns", dist(&row, "service"))];
        with(object(&row, fields), &dists)
    });
    let entries = of("entries", &[]).into_iter().map(|row| {
        let courts = of("courts", &[("entry", &row["entry"])]);
        let courts = list(courts, &format!("component turnaround_ns {PARTS}"));
        let fields = "component port requests mean_ns network_ns other_ns";
        with(object(&row, fields), &[("courts", courts)])
    });
    let snapshot = with(
        object(window, "tool_version"),
        &[
            ("schema", json!(SCHEMA)),
            ("host", object(window, "hostname kernel arch cpus boot_id")),
            ("window", object(window, "start_unix_ns duration_ns")),
            (
                "quality",
                with(
                    object(window, "midlife_connections lower_bound"),
                    &[
                        ("lost", Json::Object(lost)),
                        ("probes", list(of("probes", &[]), "name hook state reason")),
                        ("pmu", prefixed(window, "pmu", "state reason running_ratio")),
                    ],
                ),
            ),
            (
                "cost",
                with(
                    object(window, "user_cpu_ns rss_bytes map_bytes"),
                    &[(
                        "programs",
                        list(of("programs", &[]), "name runs run_time_ns"),
                    )],
                ),
            ),
            ("components", components.collect()),
            ("edges", edges.collect()),
            ("entries", entries.collect()),
        ],
    );
    serde_json::from_value(snapshot).unwrap()
}
