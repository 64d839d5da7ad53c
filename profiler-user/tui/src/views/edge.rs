//! One edge: every number of it, and its latency beside the service time at the other end.
//!
//! In: an edge of the snapshot. Out: a picture. Must not know: keys, the table of edges.

use ratatui::{
    Frame,
    layout::{Constraint, Flex, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{edges, turnaround::PICTURES};
use crate::{
    chart, histogram,
    shown::{Shown, edge_id, mean, service},
    style::{ACCENT, DIM, PLAIN, STRONG, WARN},
    table::Context,
    text,
};
use courtside_core::{
    model::snapshot::{Dist, Edge},
    units,
};

/// Draws one edge of the snapshot.
pub(crate) fn draw(frame: &mut Frame, area: Rect, cx: &Context, row: usize) {
    let shown = cx.shown;
    let edge = &shown.snapshot.edges[row];
    let head = head(cx, row, usize::from(area.width));
    let [top, pictures] =
        Layout::vertical([Constraint::Length(head.len() as u16), Constraint::Min(0)]).areas(area);
    frame.render_widget(Paragraph::new(head), top);
    let (past_height, charts) = match pictures.height {
        0..=9 => (0, pictures.height),
        height => (4, (height - 4).min(PICTURES)),
    };
    let [charts, past] =
        Layout::vertical([Constraint::Length(charts), Constraint::Length(past_height)])
            .flex(Flex::Start)
            .areas(pictures);
    match &edge.service_ns {
        Some(service) if area.width >= 72 => {
            let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
            draw_dist(
                frame,
                left,
                " Latency, send to arrival of the reply",
                &edge.latency_ns,
            );
            draw_dist(frame, right, " Service time at the other end", service);
        }
        _ => draw_dist(
            frame,
            charts,
            " Latency, send to arrival of the reply",
            &edge.latency_ns,
        ),
    }
    draw_past(frame, past, shown, edge);
}

fn head(cx: &Context, row: usize, width: usize) -> Vec<Line<'static>> {
    let shown = cx.shown;
    let edge = &shown.snapshot.edges[row];
    let half = width.saturating_sub(18) / 2;
    let who = [
        Span::styled(text::clip(shown.name(&edge.from), half), STRONG),
        Span::styled(" ──▶ ", DIM),
        Span::styled(text::clip(shown.name(&edge.to), half), STRONG),
        Span::styled(format!("  {}", service(edge)), DIM),
    ];
    let mut lines = vec![
        Line::from_iter(std::iter::once(Span::raw(" ")).chain(who)),
        Line::default(),
    ];

    let per_second = |count| units::rate(shown.per_second(count));
    let bytes = |bytes: u64| format!("{}/s", units::bytes_f64(shown.per_second(bytes)));
    let known = |ns: Option<f64>| ns.map_or(units::UNKNOWN.to_owned(), units::duration_f64);
    let bound = if edge.lower_bound { "≥ " } else { "" };
    let mut facts = vec![
        (
            "roundtrips",
            format!("{bound}{}/s", per_second(edge.roundtrips)),
        ),
        (
            "per request",
            format!("{bound}{}", units::ratio(edge.roundtrips_per_request)),
        ),
        ("latency mean", known(mean(&edge.latency_ns))),
        (
            "service mean",
            known(edge.service_ns.as_ref().and_then(mean)),
        ),
        ("network mean", known(edges::network(cx, row))),
        ("minimum RTT", known(edge.min_rtt_ns.map(|ns| ns as f64))),
        ("sent", bytes(edge.bytes_sent)),
        ("received", bytes(edge.bytes_received)),
        (
            "messages sent",
            format!("{}/s", per_second(edge.messages_sent)),
        ),
        (
            "messages received",
            format!("{}/s", per_second(edge.messages_received)),
        ),
        ("retransmits", units::count(edge.retransmits)),
    ];
    if edge.untimed > 0 {
        facts.push(("untimed", format!("{bound}{}/s", per_second(edge.untimed))));
    }
    if let Some(pieces) = &edge.receiving_ns {
        facts.push(("receiving mean", known(mean(pieces))));
    }
    let connects = &edge.connects;
    if connects.count + connects.failed > 0 {
        facts.push(("connects", units::count(connects.count)));
        facts.push(("connects failed", units::count(connects.failed)));
        facts.push(("connect mean", known(mean(&connects.latency_ns))));
        facts.push(("SYNs sent again", units::count(connects.syn_retransmits)));
    }
    if edge.acceptor_only {
        facts.push(("measured at", "the acceptor".to_owned()));
    }
    lines.extend(grid(&facts, width));
    lines.push(Line::default());
    if edge.lower_bound {
        let why = "counts are lower bounds: several requests were open at once, a connection is older than the attach, or its \
                   two ends count differently";
        let text = [Span::styled(format!("≥ {why}"), WARN)];
        lines.extend(text::wrap(&Span::raw(""), 1, &text, width));
        lines.push(Line::default());
    }
    lines
}

/// Names and values in as many columns as fit.
fn grid(facts: &[(&'static str, String)], width: usize) -> Vec<Line<'static>> {
    const NAME: usize = 18;
    const VALUE: usize = units::WIDTH + 4;
    let columns = (width.saturating_sub(1) / (NAME + VALUE + 2)).max(1);
    let rows = facts.len().div_ceil(columns);
    let line = |row: usize| {
        let mut spans = vec![Span::raw(" ")];
        for (name, value) in facts.iter().skip(row).step_by(rows) {
            spans.push(Span::styled(format!("{name:<NAME$}"), DIM));
            spans.push(Span::styled(format!("{value:>VALUE$}   "), PLAIN));
        }
        Line::from(spans)
    };
    (0..rows).map(line).collect()
}

fn draw_dist(frame: &mut Frame, area: Rect, title: &'static str, dist: &Dist) {
    let (width, height) = (
        usize::from(area.width).saturating_sub(4),
        usize::from(area.height),
    );
    let chart = histogram::lines(dist, width, height.saturating_sub(1));
    let mut lines = vec![Line::styled(title, ACCENT)];
    if dist.count == 0 {
        lines.push(Line::styled(" none timed in this window", DIM));
    } else if chart.is_empty() {
        return;
    }
    lines.extend(
        chart
            .into_iter()
            .map(|line| Line::from_iter(std::iter::once(Span::raw(" ")).chain(line.spans))),
    );
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_past(frame: &mut Frame, area: Rect, shown: &Shown, edge: &Edge) {
    const NAME: usize = 14;
    let width = usize::from(area.width).saturating_sub(NAME + 3);
    let id = edge_id(edge);
    let past = |value: fn(&super::super::shown::EdgeSample) -> Option<f64>| {
        let past = shown.edges.last(&id, width);
        let past: Vec<Option<f64>> = past.map(|sample| sample.and_then(value)).collect();
        chart::sparkline(&past, width)
    };
    let line =
        |name: &str, spark| Line::from(vec![Span::styled(format!(" {name:<NAME$}"), DIM), spark]);
    let lines = vec![
        Line::default(),
        line(
            "roundtrips/s",
            past(|sample| Some(sample.roundtrips_per_second)),
        ),
        line("latency p50", past(|sample| sample.p50_ns)),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}
