//! CPU: who runs, who waits for a CPU, and how well the CPU works for them.
//!
//! In: the snapshot's components. Out: a table. Must not know: keys, other views.

use super::{
    component_busy, component_count, component_id, component_matches, component_name,
    show_duration, show_ratio,
};
use crate::table::{ColumnSpec, Content, Context, Spec};
use courtside_core::{
    model::{
        fields::Heading,
        snapshot::{Component, Counters, Cpu},
    },
    units,
};

fn component<'a>(cx: &'a Context, row: usize) -> &'a Component {
    &cx.shown.snapshot.components[row]
}

fn counters(cx: &Context, row: usize) -> Option<Counters> {
    component(cx, row).counters
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

/// Events per thousand instructions.
fn per_thousand(events: Option<u64>, counters: Counters) -> Option<f64> {
    let per_instruction = events? as f64 / counters.instructions as f64;
    per_instruction
        .is_finite()
        .then_some(per_instruction * 1000.0)
}

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
        heading: Cpu::ON_CPU,
        min: 7,
        max: 7,
        rank: 1,
        content: Content::Number(
            |cx, row| Some(cx.shown.share(component(cx, row).cpu.on_cpu_ns)),
            units::percent,
        ),
    },
    ColumnSpec {
        heading: Cpu::RUN_QUEUE,
        min: 7,
        max: 7,
        rank: 2,
        content: Content::Number(
            |cx, row| Some(cx.shown.share(component(cx, row).cpu.run_queue_ns)),
            units::percent,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "WAIT",
            help: "mean wait for a CPU at each switch",
        },
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| {
                let cpu = component(cx, row).cpu;
                let switches = cpu.voluntary_switches + cpu.involuntary_switches;
                (switches > 0).then(|| cpu.run_queue_ns as f64 / switches as f64)
            },
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Cpu::VOLUNTARY,
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| {
                Some(
                    cx.shown
                        .per_second(component(cx, row).cpu.voluntary_switches),
                )
            },
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Cpu::INVOLUNTARY,
        min: 7,
        max: 7,
        rank: 5,
        content: Content::Number(
            |cx, row| {
                Some(
                    cx.shown
                        .per_second(component(cx, row).cpu.involuntary_switches),
                )
            },
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Counters::CPI,
        min: 5,
        max: 5,
        rank: 3,
        content: Content::Number(|cx, row| counters(cx, row)?.cpi, show_ratio),
    },
    ColumnSpec {
        heading: Heading {
            title: "LLC MPKI",
            help: "last-level cache misses per thousand instructions",
        },
        min: 8,
        max: 8,
        rank: 7,
        content: Content::Number(
            |cx, row| {
                let counters = counters(cx, row)?;
                per_thousand(counters.llc_misses, counters)
            },
            show_ratio,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "LLC MISS",
            help: "last-level cache misses per reference",
        },
        min: 8,
        max: 8,
        rank: 9,
        content: Content::Number(
            |cx, row| {
                let counters = counters(cx, row)?;
                let references = counters
                    .llc_references
                    .filter(|&references| references > 0)?;
                Some(counters.llc_misses? as f64 / references as f64)
            },
            units::percent,
        ),
    },
    ColumnSpec {
        heading: Counters::INSTRUCTIONS,
        min: 7,
        max: 7,
        rank: 10,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(counters(cx, row)?.instructions)),
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "ON-CPU, PAST",
            help: "time on a CPU, newest at the right",
        },
        min: 12,
        max: 40,
        rank: 8,
        content: Content::History(|cx, row, windows| {
            let past = cx.shown.components.last(&component(cx, row).id, windows);
            past.map(|sample| sample.map(|s| s.on_cpu)).collect()
        }),
    },
    ColumnSpec {
        heading: Component::PROCESSES,
        min: 9,
        max: 9,
        rank: 11,
        content: Content::Number(
            |cx, row| Some(component(cx, row).processes.len() as f64),
            |count| units::count(count as u64),
        ),
    },
];
