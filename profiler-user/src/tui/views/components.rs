//! Components: how much each serves, how long it keeps the ball, and what that time is made of.
//!
//! In: the snapshot's components. Out: a table. Must not know: keys, other views.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    widgets::Paragraph,
};

use super::{
    component_busy, component_count, component_id, component_matches, component_name, request,
    show_duration, show_ratio,
};
use crate::{
    model::snapshot::Component,
    tui::{
        shown::{kind, mean, mean_parts, quantile},
        table::{self, Column, Content, Context, Spec, TableState},
    },
    units,
};

fn component<'a>(cx: &'a Context, row: usize) -> &'a Component {
    &cx.shown.snapshot.components[row]
}

/// The table.
pub(in crate::tui) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: component_count,
    id: component_id,
    matches: component_matches,
    busy: component_busy,
};

/// Draws the table, and beneath it where a request's time went.
pub(in crate::tui) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let mut below = request::lines(
        cx.shown,
        usize::from(area.width),
        usize::from(area.height / 3),
    );
    below.extend(request::legend(usize::from(area.width)));
    // The table comes first: what stands beneath it only takes room that is left over.
    let spare = usize::from(area.height).saturating_sub(rows.len().min(8) + 2);
    below.truncate(spare);
    let [upper, lower] =
        Layout::vertical([Constraint::Min(1), Constraint::Length(below.len() as u16)]).areas(area);
    let upper = Rect {
        height: upper.height.saturating_sub(1),
        ..upper
    };
    table::draw(frame, upper, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(below), lower);
}

static COLUMNS: [Column; 10] = [
    Column {
        title: "COMPONENT",
        help: "service: unit, container, program or remote end",
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Name(component_name),
    },
    Column {
        title: "REQ/s",
        help: "requests served per second",
        min: 7,
        max: 7,
        rank: 1,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(component(cx, row).requests.served)),
            units::rate,
        ),
    },
    Column {
        title: "SVC p50",
        help: "service time, arrival of a request to its reply: half are faster",
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| quantile(&component(cx, row).requests.service_ns, |dist| dist.p50_ns),
            show_duration,
        ),
    },
    Column {
        title: "p99",
        help: "service time: 99 in 100 are faster",
        min: 7,
        max: 7,
        rank: 3,
        content: Content::Number(
            |cx, row| quantile(&component(cx, row).requests.service_ns, |dist| dist.p99_ns),
            show_duration,
        ),
    },
    Column {
        title: "TURNAROUND",
        help: "mean time the ball is in its court, arrival of a message to its next send",
        min: 10,
        max: 10,
        rank: 1,
        content: Content::Number(
            |cx, row| mean(&component(cx, row).turnaround.each_ns),
            show_duration,
        ),
    },
    Column {
        title: "PARTS",
        help: "what the turnaround is made of",
        min: 8,
        max: 42,
        rank: 2,
        content: Content::Parts(|cx, row| mean_parts(&component(cx, row).turnaround)),
    },
    Column {
        title: "RT/req",
        help: "roundtrips it makes for one request at the entry",
        min: 6,
        max: 6,
        rank: 4,
        content: Content::Number(|cx, row| cx.shown.roundtrips_per_request(row), show_ratio),
    },
    Column {
        title: "CPI",
        help: "cycles per instruction; - where no counter counts",
        min: 5,
        max: 5,
        rank: 5,
        content: Content::Number(
            |cx, row| component(cx, row).counters.and_then(|c| c.cpi),
            show_ratio,
        ),
    },
    Column {
        title: "REQ/s, PAST",
        help: "requests served per second, newest at the right",
        min: 12,
        max: 30,
        rank: 7,
        content: Content::History(|cx, row, windows| {
            let past = cx.shown.components.last(&component(cx, row).id, windows);
            past.map(|sample| sample.map(|s| s.served_per_second))
                .collect()
        }),
    },
    Column {
        title: "KIND",
        help: "what it is known by",
        min: 9,
        max: 9,
        rank: 8,
        content: Content::Text(|cx, row| kind(component(cx, row)).to_owned()),
    },
];
