//! Disk: who reads and writes through the block layer, how much, how fast, and behind whom.
//!
//! In: the snapshot's components. Out: a table. Must not know: keys, other views.

use super::{
    component_busy, component_count, component_id, component_matches, component_name, show_duration,
};
use crate::{
    shown::quantile,
    table::{ColumnSpec, Content, Context, Spec},
};
use courtside_core::{
    model::{
        fields::Heading,
        snapshot::{Component, Cpu, Disk},
    },
    units,
};

fn component<'a>(cx: &'a Context, row: usize) -> &'a Component {
    &cx.shown.snapshot.components[row]
}

fn disk<'a>(cx: &'a Context, row: usize) -> &'a Disk {
    &component(cx, row).disk
}

/// The table.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: component_count,
    id: component_id,
    matches: component_matches,
    busy: component_busy,
};

static COLUMNS: [ColumnSpec; 12] = [
    ColumnSpec {
        heading: Heading {
            title: "COMPONENT",
            help: "service: unit, container or program",
        },
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Name(component_name),
    },
    ColumnSpec {
        heading: Heading {
            title: "TOTAL/s",
            help: "bytes read and written per second",
        },
        min: 8,
        max: 8,
        rank: 7,
        content: Content::Number(
            |cx, row| {
                let disk = disk(cx, row);
                Some(cx.shown.per_second(disk.read_bytes + disk.write_bytes))
            },
            units::bytes_f64,
        ),
    },
    ColumnSpec {
        heading: Disk::READ,
        min: 7,
        max: 7,
        rank: 1,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(disk(cx, row).read_bytes)),
            units::bytes_f64,
        ),
    },
    ColumnSpec {
        heading: Disk::WRITTEN,
        min: 7,
        max: 7,
        rank: 1,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(disk(cx, row).write_bytes)),
            units::bytes_f64,
        ),
    },
    ColumnSpec {
        heading: Disk::READS,
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(disk(cx, row).reads)),
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Disk::WRITES,
        min: 8,
        max: 8,
        rank: 4,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(disk(cx, row).writes)),
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Disk::P50,
        min: 7,
        max: 7,
        rank: 3,
        content: Content::Number(
            |cx, row| quantile(&disk(cx, row).latency_ns, |dist| dist.p50_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Disk::P99,
        min: 7,
        max: 7,
        rank: 2,
        content: Content::Number(
            |cx, row| quantile(&disk(cx, row).latency_ns, |dist| dist.p99_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Disk::MAX,
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| quantile(&disk(cx, row).latency_ns, |dist| dist.max_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "BEHIND",
            help: "whose requests, started before, its own waited behind most, and for how much of their time at most",
        },
        min: 10,
        max: 24,
        rank: 4,
        content: Content::Text(|cx, row| {
            let disk = disk(cx, row);
            let most = disk.queued_behind.as_ref().and_then(|by| by.first());
            most.map_or_else(
                || units::UNKNOWN.to_owned(),
                |most| {
                    let share = most.ns as f64 / disk.latency_ns.sum_ns.max(1) as f64;
                    let name = cx.shown.name(&most.component);
                    format!("{} {name}", units::percent(share))
                },
            )
        }),
    },
    ColumnSpec {
        heading: Cpu::BLOCK_IO,
        min: 7,
        max: 7,
        rank: 5,
        content: Content::Number(
            |cx, row| Some(cx.shown.share(component(cx, row).cpu.block_io_ns)),
            units::percent,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "BYTES/s, PAST",
            help: "bytes read and written per second, newest at the right",
        },
        min: 13,
        max: 40,
        rank: 8,
        content: Content::History(|cx, row, windows| {
            let past = cx.shown.components.last(&component(cx, row).id, windows);
            past.map(|sample| sample.map(|s| s.disk_bytes_per_second))
                .collect()
        }),
    },
];
