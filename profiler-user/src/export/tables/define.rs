//! The tables, column by column: of windows and of the measurement itself here, the others below.
//!
//! In: nothing. Out: every table with its columns, each with its getter. Must not know: formats.

mod components;
mod events;
mod traffic;

pub(super) use events::events;

use super::{Column, Getter, Item, Kind, Row, Table, Value};
use crate::frame::{PmuState, ProbeState};
use crate::model::snapshot::{Dist, Probe, Snapshot};
use crate::model::words::LOSSES;
use Value::{Count, Counts, Flag, Null, Real, Text};

const NS: &str = "ns";
const BYTES: &str = "bytes";
const NUMBER: &str = "count";
const NAME: &str = "name";
const RATIO: &str = "ratio";
const YES: &str = "true/false";
const EXACT: &str = "exact";
const QUANTILE: &str = "≤ 6.25 %";
const EXTREME: &str = "≤ 12.5 %, mostly exact; see Errors";
const SCALED: &str = "scaled when multiplexed";
const SUM: &str = "sum exact; see Errors";

/// The distributions' columns: name, unit, meaning, error.
const DIST: [(&str, &str, &str, &str); 9] = [
    ("count", NUMBER, "how many", EXACT),
    ("sum_ns", NS, "sum", EXACT),
    ("min_ns", NS, "smallest; 0 if there is none", EXTREME),
    ("p50_ns", NS, "median", QUANTILE),
    ("p90_ns", NS, "90th percentile", QUANTILE),
    ("p99_ns", NS, "99th percentile", QUANTILE),
    ("max_ns", NS, "largest", EXTREME),
    (
        "bucket_upper_ns",
        NS,
        "upper bound of each bucket that is not empty, ascending",
        QUANTILE,
    ),
    (
        "bucket_count",
        NUMBER,
        "values in each of those buckets",
        EXACT,
    ),
];

/// Every table.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![
        windows(),
        components::components(),
        components::processes(),
        components::turnarounds(),
        traffic::edges(),
        traffic::entries(),
        traffic::courts(),
        probes(),
        programs(),
    ]
}

fn table(
    name: &'static str,
    row_is: &'static str,
    rows: for<'a> fn(&'a Snapshot) -> Vec<Item<'a>>,
) -> Table {
    let mut table = Table {
        name,
        row_is,
        columns: Vec::new(),
        rows,
    };
    table.add(
        "window",
        Kind::Count,
        NUMBER,
        "number of the window, from 0",
        EXACT,
        Box::new(|row| Count(row.window)),
    );
    table
}

impl Table {
    fn add(
        &mut self,
        name: impl Into<String>,
        kind: Kind,
        unit: &'static str,
        meaning: impl Into<String>,
        error: &'static str,
        get: Getter,
    ) {
        self.columns.push(Column {
            name: name.into(),
            kind,
            nullable: false,
            unit,
            meaning: meaning.into(),
            error,
            get,
        });
    }

    /// The column added last may be null.
    fn or_null(&mut self) {
        if let Some(column) = self.columns.last_mut() {
            column.nullable = true;
        }
    }

    /// The columns of a distribution, all null where there is none.
    fn dist(
        &mut self,
        prefix: &str,
        what: &str,
        nullable: bool,
        of: for<'a> fn(Row<'a>) -> Option<&'a Dist>,
    ) {
        for (place, (suffix, unit, meaning, error)) in DIST.into_iter().enumerate() {
            let kind = if place < 7 { Kind::Count } else { Kind::Counts };
            let get: Getter = Box::new(move |row| of(row).map_or(Null, |dist| cell(dist, place)));
            let name = format!("{prefix}_{suffix}");
            self.add(name, kind, unit, format!("{what}: {meaning}"), error, get);
            if nullable {
                self.or_null();
            }
        }
    }
}

fn cell(dist: &Dist, place: usize) -> Value<'static> {
    match place {
        0 => Count(dist.count),
        1 => Count(dist.sum_ns),
        2 => Count(dist.min_ns),
        3 => Count(dist.p50_ns),
        4 => Count(dist.p90_ns),
        5 => Count(dist.p99_ns),
        6 => Count(dist.max_ns),
        7 => Counts(dist.buckets.iter().map(|bucket| bucket.0).collect()),
        _ => Counts(dist.buckets.iter().map(|bucket| bucket.1).collect()),
    }
}

fn snapshot(get: for<'a> fn(&'a Snapshot) -> Value<'a>) -> Getter {
    Box::new(move |row| match row.item {
        Item::Window(snapshot) => get(snapshot),
        _ => Null,
    })
}

fn count(n: Option<u64>) -> Value<'static> {
    n.map_or(Null, Count)
}

fn real(x: Option<f64>) -> Value<'static> {
    x.map_or(Null, Real)
}

fn windows() -> Table {
    let mut t = table("windows", "one window of time", |s| vec![Item::Window(s)]);
    for (name, kind, unit, meaning, get) in [
        (
            "start_unix_ns",
            Kind::Count,
            NS,
            "wall-clock time at which the window began, since 1970",
            snapshot(|s| Count(s.window.start_unix_ns)),
        ),
        (
            "duration_ns",
            Kind::Count,
            NS,
            "its length on the monotonic clock",
            snapshot(|s| Count(s.window.duration_ns)),
        ),
        (
            "tool_version",
            Kind::Text,
            NAME,
            "version of Courtside that made this",
            snapshot(|s| Text(&s.tool_version)),
        ),
        (
            "hostname",
            Kind::Text,
            NAME,
            "name of the host",
            snapshot(|s| Text(&s.host.hostname)),
        ),
        (
            "kernel",
            Kind::Text,
            NAME,
            "kernel release",
            snapshot(|s| Text(&s.host.kernel)),
        ),
        (
            "arch",
            Kind::Text,
            NAME,
            "architecture",
            snapshot(|s| Text(&s.host.arch)),
        ),
        (
            "cpus",
            Kind::Count,
            NUMBER,
            "CPUs online",
            snapshot(|s| Count(s.host.cpus.into())),
        ),
        (
            "boot_id",
            Kind::Text,
            NAME,
            "changes with every boot",
            snapshot(|s| Text(&s.host.boot_id)),
        ),
        (
            "midlife_connections",
            Kind::Count,
            NUMBER,
            "connections older than the attach: their first turn is not counted",
            snapshot(|s| Count(s.quality.midlife_connections)),
        ),
        (
            "lower_bound",
            Kind::Flag,
            YES,
            "some count of this window may be too low",
            snapshot(|s| Flag(s.quality.lower_bound)),
        ),
    ] {
        t.add(name, kind, unit, meaning, EXACT, get);
    }
    for loss in &LOSSES {
        let get: Getter = Box::new(move |row| match row.item {
            Item::Window(snapshot) => {
                Count(snapshot.quality.lost.get(loss.class).copied().unwrap_or(0))
            }
            _ => Null,
        });
        let name = format!("lost_{}", loss.class);
        t.add(name, Kind::Count, NUMBER, loss.meaning, EXACT, get);
    }
    let other = snapshot(|s| {
        let known = |class: &str| LOSSES.iter().any(|loss| loss.class == class);
        let unknown = s.quality.lost.iter().filter(|(class, _)| !known(class));
        Count(unknown.map(|(_, n)| n).sum())
    });
    let meaning = "losses of classes that this version has no words for";
    t.add("lost_other", Kind::Count, NUMBER, meaning, EXACT, other);
    let state = snapshot(|s| {
        Text(match s.quality.pmu.state {
            PmuState::Ok => "ok",
            PmuState::Multiplexed => "multiplexed",
            PmuState::None => "none",
            PmuState::Disabled => "disabled",
        })
    });
    let meaning = "hardware counters: ok, multiplexed, none or disabled";
    t.add("pmu_state", Kind::Text, NAME, meaning, EXACT, state);
    let reason = snapshot(|s| Text(&s.quality.pmu.reason));
    t.add(
        "pmu_reason",
        Kind::Text,
        NAME,
        "why they do not count",
        EXACT,
        reason,
    );
    let ratio = snapshot(|s| real(s.quality.pmu.running_ratio));
    t.add(
        "pmu_running_ratio",
        Kind::Real,
        RATIO,
        "share of the time they counted",
        EXACT,
        ratio,
    );
    t.or_null();
    for (name, unit, meaning, get) in [
        (
            "user_cpu_ns",
            NS,
            "CPU time of Courtside's own process",
            snapshot(|s| Count(s.cost.user_cpu_ns)),
        ),
        (
            "rss_bytes",
            BYTES,
            "its resident memory",
            snapshot(|s| Count(s.cost.rss_bytes)),
        ),
        (
            "map_bytes",
            BYTES,
            "memory of its maps in the kernel",
            snapshot(|s| Count(s.cost.map_bytes)),
        ),
    ] {
        t.add(name, Kind::Count, unit, meaning, "as the kernel says", get);
    }
    t
}

fn probes() -> Table {
    let mut t = table("probes", "one kernel program in one window", |s| {
        s.quality.probes.iter().map(Item::Probe).collect()
    });
    fn probe(get: for<'a> fn(&'a Probe) -> Value<'a>) -> Getter {
        Box::new(move |row| match row.item {
            Item::Probe(it) => get(it),
            _ => Null,
        })
    }
    for (name, meaning, get) in [
        ("name", "name of the program", probe(|p| Text(&p.name))),
        ("hook", "hook it sits on", probe(|p| Text(&p.hook))),
        (
            "state",
            "attached, degraded, failed or disabled",
            probe(|p| {
                Text(match p.state {
                    ProbeState::Attached => "attached",
                    ProbeState::Degraded => "degraded",
                    ProbeState::Failed => "failed",
                    ProbeState::Disabled => "disabled",
                })
            }),
        ),
        ("reason", "why", probe(|p| Text(&p.reason))),
    ] {
        t.add(name, Kind::Text, NAME, meaning, EXACT, get);
    }
    t
}

fn programs() -> Table {
    let mut t = table(
        "programs",
        "what one kernel program cost in one window",
        |s| s.cost.programs.iter().map(Item::Program).collect(),
    );
    let name: Getter = Box::new(|row| match row.item {
        Item::Program(it) => Text(&it.name),
        _ => Null,
    });
    t.add("name", Kind::Text, NAME, "name of the program", EXACT, name);
    let runs: Getter = Box::new(|row| match row.item {
        Item::Program(it) => count(it.runs),
        _ => Null,
    });
    let meaning = "how often it ran; null without --program-cost";
    t.add("runs", Kind::Count, NUMBER, meaning, EXACT, runs);
    t.or_null();
    let time: Getter = Box::new(|row| match row.item {
        Item::Program(it) => count(it.run_time_ns),
        _ => Null,
    });
    let meaning = "how long it ran in all; null without --program-cost";
    t.add(
        "run_time_ns",
        Kind::Count,
        NS,
        meaning,
        "as the kernel says",
        time,
    );
    t.or_null();
    t
}
