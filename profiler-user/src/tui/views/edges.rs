//! Edges: who talks to whom, how often, how fast, how much.
//!
//! In: the snapshot's edges. Out: a table. Must not know: keys, other views.

use ratatui::{layout::Alignment, text::Span};

use super::{show_duration, show_ratio};
use crate::{
    model::snapshot::Edge,
    tui::{
        filter::{Filter, contains},
        shown::{self, edge_id, mean, quantile, service},
        style::{DIM, PLAIN, WARN},
        table::{Column, Content, Context, Spec},
    },
    units,
};

fn edge<'a>(cx: &'a Context, row: usize) -> &'a Edge {
    &cx.shown.snapshot.edges[row]
}

/// The table.
pub(in crate::tui) static SPEC: Spec = Spec {
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
                "transport" => shown::transport(edge.transport).starts_with(value),
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

/// A count of roundtrips, marked where it is a lower bound.
pub(in crate::tui) fn bounded(edge: &Edge, shown: String) -> Span<'static> {
    if edge.lower_bound {
        Span::styled(format!("≥{shown}"), WARN)
    } else {
        Span::styled(shown, PLAIN)
    }
}

static COLUMNS: [Column; 14] = [
    Column {
        title: "FROM",
        help: "who asks",
        min: 13,
        max: 24,
        rank: 0,
        content: Content::Name(|cx, row| cx.shown.name(&edge(cx, row).from)),
    },
    Column {
        title: "TO",
        help: "who answers",
        min: 13,
        max: 24,
        rank: 0,
        content: Content::Name(|cx, row| cx.shown.name(&edge(cx, row).to)),
    },
    Column {
        title: "SERVICE",
        help: "transport and the port of who answers",
        min: 9,
        max: 9,
        rank: 6,
        content: Content::Text(|cx, row| service(edge(cx, row))),
    },
    Column {
        title: "RT/s",
        help: "roundtrips per second; ≥ where counts are a lower bound",
        min: 8,
        max: 8,
        rank: 1,
        content: Content::Marked(
            |cx, row| Some(cx.shown.per_second(edge(cx, row).roundtrips)),
            |cx, row| {
                let edge = edge(cx, row);
                match cx.shown.per_second(edge.roundtrips) {
                    0.0 => Span::styled("0", DIM),
                    rate => bounded(edge, units::rate(rate)),
                }
            },
            Alignment::Right,
        ),
    },
    Column {
        title: "RT/req",
        help: "roundtrips for one request at the entry",
        min: 7,
        max: 7,
        rank: 2,
        content: Content::Marked(
            |cx, row| edge(cx, row).roundtrips_per_request,
            |cx, row| match edge(cx, row).roundtrips_per_request {
                None => Span::styled(units::UNKNOWN, DIM),
                Some(ratio) => bounded(edge(cx, row), show_ratio(ratio)),
            },
            Alignment::Right,
        ),
    },
    Column {
        title: "p50",
        help: "latency, send of a request to arrival of its reply: half are faster",
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| quantile(&edge(cx, row).latency_ns, |dist| dist.p50_ns),
            show_duration,
        ),
    },
    Column {
        title: "p90",
        help: "latency: 9 in 10 are faster",
        min: 7,
        max: 7,
        rank: 7,
        content: Content::Number(
            |cx, row| quantile(&edge(cx, row).latency_ns, |dist| dist.p90_ns),
            show_duration,
        ),
    },
    Column {
        title: "p99",
        help: "latency: 99 in 100 are faster",
        min: 7,
        max: 7,
        rank: 3,
        content: Content::Number(
            |cx, row| quantile(&edge(cx, row).latency_ns, |dist| dist.p99_ns),
            show_duration,
        ),
    },
    Column {
        title: "NETWORK",
        help: "mean latency less the mean service time at the other end",
        min: 7,
        max: 7,
        rank: 9,
        content: Content::Number(network, units::duration_f64),
    },
    Column {
        title: "SENT/s",
        help: "bytes per second from who asks",
        min: 7,
        max: 7,
        rank: 8,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(edge(cx, row).bytes_sent)),
            units::bytes_f64,
        ),
    },
    Column {
        title: "RECV/s",
        help: "bytes per second back to who asks",
        min: 7,
        max: 7,
        rank: 8,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(edge(cx, row).bytes_received)),
            units::bytes_f64,
        ),
    },
    Column {
        title: "RETR",
        help: "TCP segments sent again in this window",
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
    Column {
        title: "RTT",
        help: "smallest roundtrip time the kernel knows of the connections",
        min: 7,
        max: 7,
        rank: 10,
        content: Content::Number(
            |cx, row| edge(cx, row).min_rtt_ns.map(|ns| ns as f64),
            show_duration,
        ),
    },
    Column {
        title: "RT/s, PAST",
        help: "roundtrips per second, newest at the right",
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
pub(in crate::tui) fn network(cx: &Context, row: usize) -> Option<f64> {
    let edge = edge(cx, row);
    Some(mean(&edge.latency_ns)? - mean(edge.service_ns.as_ref()?)?)
}
