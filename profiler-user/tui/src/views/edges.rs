//! Edges: who talks to whom, how often, how fast, how much.
//!
//! In: the snapshot's edges. Out: a table. Must not know: keys, other views.

use ratatui::{layout::Alignment, text::Span};

use super::{show_duration, show_ratio};
use crate::{
    filter::{Filter, contains},
    shown::{self, edge_id, latency, mean, service},
    style::{DIM, PLAIN, WARN},
    table::{ColumnSpec, Content, Context, Spec},
};
use courtside_core::{
    model::{fields::Heading, snapshot::Edge},
    units,
};

fn edge<'a>(cx: &'a Context, row: usize) -> &'a Edge {
    &cx.shown.snapshot.edges[row]
}

/// The table.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 3,
    len: |cx| cx.shown.snapshot.edges.len(),
    id: |cx, row| edge_id(edge(cx, row)),
    matches,
    busy: |_, _| true,
};

fn matches(cx: &Context, row: usize, filter: &Filter) -> bool {
    let edge = edge(cx, row);
    let ends = [&edge.from, &edge.to];
    let is = |end: &str, word: &str| contains(cx.shown.name(end), word) || contains(end, word);
    let of_either = |test: &dyn Fn(usize) -> bool| {
        ends.iter()
            .filter_map(|end| cx.shown.component(end))
            .any(test)
    };
    let components = &cx.shown.snapshot.components;
    filter.matches(
        |word| is(&edge.from, word) || is(&edge.to, word) || service(edge).contains(word),
        |key, value| {
            Some(match key {
                "name" => is(&edge.from, value) || is(&edge.to, value),
                "from" => is(&edge.from, value),
                "to" => is(&edge.to, value),
                "port" => edge.port.to_string() == value,
                "transport" => edge.transport.name().starts_with(value),
                "kind" => of_either(&|i| shown::kind(&components[i]).starts_with(value)),
                "comm" => of_either(&|i| {
                    let mut processes = components[i].processes.iter();
                    processes.any(|p| contains(&p.comm, value))
                }),
                "tgid" => of_either(&|i| {
                    let mut processes = components[i].processes.iter();
                    processes.any(|p| p.tgid.to_string() == value)
                }),
                _ => return None,
            })
        },
    )
}

/// A count of roundtrips or requests, marked where it is a lower bound.
pub(crate) fn bounded(lower_bound: bool, shown: String) -> Span<'static> {
    if lower_bound {
        Span::styled(format!("≥{shown}"), WARN)
    } else {
        Span::styled(shown, PLAIN)
    }
}

static COLUMNS: [ColumnSpec; 14] = [
    ColumnSpec {
        heading: Heading {
            title: "FROM",
            help: "who asks",
        },
        min: 13,
        max: 24,
        rank: 0,
        content: Content::Name(|cx, row| cx.shown.name(&edge(cx, row).from)),
    },
    ColumnSpec {
        heading: Heading {
            title: "TO",
            help: "who answers",
        },
        min: 13,
        max: 24,
        rank: 0,
        content: Content::Name(|cx, row| cx.shown.name(&edge(cx, row).to)),
    },
    ColumnSpec {
        heading: Heading {
            title: "SERVICE",
            help: "transport, and the port of the end that answers",
        },
        min: 9,
        max: 9,
        rank: 6,
        content: Content::Text(|cx, row| service(edge(cx, row))),
    },
    ColumnSpec {
        heading: Edge::ROUNDTRIPS,
        min: 8,
        max: 8,
        rank: 1,
        content: Content::Marked(
            |cx, row| Some(cx.shown.per_second(edge(cx, row).roundtrips)),
            |cx, row| {
                let edge = edge(cx, row);
                match cx.shown.per_second(edge.roundtrips) {
                    0.0 if !edge.lower_bound => Span::styled("0", DIM),
                    rate => bounded(edge.lower_bound, units::rate(rate)),
                }
            },
            Alignment::Right,
        ),
    },
    ColumnSpec {
        heading: Edge::PER_REQUEST,
        min: 7,
        max: 7,
        rank: 2,
        content: Content::Marked(
            |cx, row| edge(cx, row).roundtrips_per_request,
            |cx, row| match edge(cx, row).roundtrips_per_request {
                None => Span::styled(units::UNKNOWN, DIM),
                Some(ratio) => bounded(edge(cx, row).lower_bound, show_ratio(ratio)),
            },
            Alignment::Right,
        ),
    },
    ColumnSpec {
        heading: Edge::P50,
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Marked(
            |cx, row| latency(edge(cx, row), |dist| dist.p50_ns),
            |cx, row| match latency(edge(cx, row), |dist| dist.p50_ns) {
                Some(ns) => Span::styled(show_duration(ns), PLAIN),
                None if edge(cx, row).untimed > 0 => Span::styled("untimed", WARN),
                None => Span::styled(units::UNKNOWN, DIM),
            },
            Alignment::Right,
        ),
    },
    ColumnSpec {
        heading: Edge::P90,
        min: 7,
        max: 7,
        rank: 7,
        content: Content::Number(
            |cx, row| latency(edge(cx, row), |dist| dist.p90_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Edge::P99,
        min: 7,
        max: 7,
        rank: 3,
        content: Content::Number(
            |cx, row| latency(edge(cx, row), |dist| dist.p99_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "NETWORK",
            help: "mean latency minus the mean service time at the other end",
        },
        min: 7,
        max: 7,
        rank: 9,
        content: Content::Number(network, units::duration_f64),
    },
    ColumnSpec {
        heading: Edge::SENT,
        min: 7,
        max: 7,
        rank: 8,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(edge(cx, row).bytes_sent)),
            units::bytes_f64,
        ),
    },
    ColumnSpec {
        heading: Edge::RECEIVED,
        min: 7,
        max: 7,
        rank: 8,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(edge(cx, row).bytes_received)),
            units::bytes_f64,
        ),
    },
    ColumnSpec {
        heading: Edge::RETRANSMITS,
        min: 5,
        max: 5,
        rank: 5,
        content: Content::Marked(
            |cx, row| Some(edge(cx, row).retransmits as f64),
            |cx, row| match edge(cx, row).retransmits {
                0 => Span::styled("0", DIM),
                count => Span::styled(units::count(count), WARN),
            },
            Alignment::Right,
        ),
    },
    ColumnSpec {
        heading: Edge::RTT,
        min: 7,
        max: 7,
        rank: 10,
        content: Content::Number(
            |cx, row| edge(cx, row).min_rtt_ns.map(|ns| ns as f64),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "RT/s, PAST",
            help: "roundtrips per second, newest at the right",
        },
        min: 10,
        max: 30,
        rank: 11,
        content: Content::History(|cx, row, windows| {
            let id = edge_id(edge(cx, row));
            let past = cx.shown.edges.last(&id, windows);
            past.map(|sample| sample.map(|s| s.roundtrips_per_second))
                .collect()
        }),
    },
];

/// Mean latency not spent at the other end, where that end is on this host.
pub(crate) fn network(cx: &Context, row: usize) -> Option<f64> {
    let edge = edge(cx, row);
    latency(edge, |dist| dist.p50_ns)?;
    Some(mean(&edge.latency_ns)? - mean(edge.service_ns.as_ref()?)?)
}
