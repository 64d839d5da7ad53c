//! CPU: who runs, who waits for a CPU and because of whom, and how well the CPU works for them.
//!
//! In: the snapshot's components. Out: a table, and beneath it whom one component waits for. Must not know: keys, other
//! views.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    component_busy, component_count, component_id, component_matches, component_name,
    show_duration, show_ratio,
};
use crate::{
    style::{DIM, PLAIN, STRONG},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
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

/// Draws the table, and beneath it whom the selected component waits for, or the one that waits longest if none is selected.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let id = table.selected.as_ref().map(|(id, _)| id);
    let selected = rows
        .iter()
        .find(|&&row| Some(&component(cx, row).id) == id)
        .or_else(|| {
            rows.iter().max_by_key(|&&row| {
                let cpu = &component(cx, row).cpu;
                cpu.run_queue_ns.saturating_add(held_back_ns(cpu))
            })
        });
    let below = selected.map_or_else(Vec::new, |&row| waits_for(cx, row, usize::from(area.width)));
    let [upper, lower] = table::above(area, rows.len(), below.len().min(3));
    table::draw(frame, upper, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(below), lower);
}

/// From this share of the time in which it could have run on, a quota of its own is worth a word.
const OWN_QUOTA: f64 = 0.1;

/// For how long a quota of its own held a component back, if that is worth a word.
fn held_back_ns(cpu: &Cpu) -> u64 {
    let held_ns = cpu.throttled_ns.unwrap_or(0);
    let all_ns = held_ns.saturating_add(cpu.run_queue_ns);
    if held_ns as f64 >= all_ns as f64 * OWN_QUOTA {
        held_ns
    } else {
        0
    }
}

/// Who had the CPU while a component was ready to run, each with its share of that time.
fn waits_for(cx: &Context, row: usize, width: usize) -> Vec<Line<'static>> {
    let cpu = &component(cx, row).cpu;
    let by = cpu.run_queue_by.as_deref().unwrap_or_default();
    let held_ns = held_back_ns(cpu);
    let mut words = vec![Span::styled(component_name(cx, row).to_owned(), STRONG)];
    if held_ns > 0 {
        let held = units::percent(cx.shown.share(held_ns));
        let says = format!(" is held back by a CPU quota of its own for {held}.");
        words.push(Span::styled(says, DIM));
    } else if by.is_empty() {
        return Vec::new();
    }
    if !by.is_empty() {
        let it = if held_ns > 0 { " It" } else { "" };
        let waited = units::percent(cx.shown.share(cpu.run_queue_ns));
        let says = format!("{it} is ready to run and waits for {waited}. On the CPU meanwhile:");
        words.push(Span::styled(says, DIM));
    }
    for blame in by {
        let share = blame.ns as f64 / cpu.run_queue_ns.max(1) as f64;
        let name = cx.shown.name(&blame.component).to_owned();
        words.push(Span::styled(format!("  {name}"), PLAIN));
        words.push(Span::styled(
            format!("\u{a0}{}", units::percent(share)),
            DIM,
        ));
    }
    text::wrap(&Span::raw(" "), 1, &words, width)
}

/// Events per thousand instructions.
fn per_thousand(events: Option<u64>, counters: Counters) -> Option<f64> {
    let per_instruction = events? as f64 / counters.instructions as f64;
    per_instruction
        .is_finite()
        .then_some(per_instruction * 1000.0)
}

static COLUMNS: [ColumnSpec; 13] = [
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
            title: "WAITS FOR",
            help: "who had the CPU for most of the time in RUNQ, and the share of it",
        },
        min: 10,
        max: 24,
        rank: 4,
        content: Content::Text(|cx, row| {
            let cpu = &component(cx, row).cpu;
            let most = cpu.run_queue_by.as_ref().and_then(|by| by.first());
            most.map_or_else(
                || units::UNKNOWN.to_owned(),
                |most| {
                    let share = most.ns as f64 / cpu.run_queue_ns.max(1) as f64;
                    let name = cx.shown.name(&most.component);
                    format!("{} {name}", units::percent(share))
                },
            )
        }),
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
                let cpu = &component(cx, row).cpu;
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
