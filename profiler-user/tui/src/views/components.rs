//! Components: how much each serves, how long it keeps the ball, and what that time is made of.
//!
//! In: the snapshot's components. Out: a table. Must not know: keys, other views.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    text::Span,
    widgets::Paragraph,
};

use super::{
    component_busy, component_count, component_id, component_matches, component_name,
    edges::bounded, request, show_duration, show_ratio,
};
use crate::{
    shown::{kind, mean, mean_parts, service_time},
    style::DIM,
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
};
use courtside_core::{
    model::{
        fields::Heading,
        snapshot::{Component, Counters, Requests, Turnaround},
    },
    units,
};

fn component<'a>(cx: &'a Context, row: usize) -> &'a Component {
    &cx.shown.snapshot.components[row]
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

/// Draws the table, and beneath it where a request's time went.
pub(crate) fn draw(
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
    below.extend(request::legend(cx.shown, usize::from(area.width)));
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

static COLUMNS: [ColumnSpec; 12] = [
    ColumnSpec {
        heading: Component::NAME,
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Name(component_name),
    },
    ColumnSpec {
        heading: Requests::SERVED,
        min: 8,
        max: 8,
        rank: 1,
        content: Content::Marked(
            |cx, row| Some(cx.shown.per_second(component(cx, row).requests.served)),
            |cx, row| {
                let requests = &component(cx, row).requests;
                match cx.shown.per_second(requests.served) {
                    0.0 if !requests.lower_bound => Span::styled("0", DIM),
                    rate => bounded(requests.lower_bound, units::rate(rate)),
                }
            },
            Alignment::Right,
        ),
    },
    ColumnSpec {
        heading: Requests::P50,
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| service_time(component(cx, row), |dist| dist.p50_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Requests::P99,
        min: 7,
        max: 7,
        rank: 3,
        content: Content::Number(
            |cx, row| service_time(component(cx, row), |dist| dist.p99_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Requests::UNREAD,
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| mean(&component(cx, row).requests.queued_ns),
            units::duration_f64,
        ),
    },
    ColumnSpec {
        heading: Requests::HELD,
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| {
                let requests = &component(cx, row).requests;
                let served = (requests.served > 0).then_some(requests.served)?;
                Some(requests.held_ns? as f64 / served as f64)
            },
            |ns| {
                if ns == 0.0 {
                    "0".to_owned()
                } else {
                    units::duration_f64(ns)
                }
            },
        ),
    },
    ColumnSpec {
        heading: Turnaround::MEAN,
        min: 10,
        max: 10,
        rank: 1,
        content: Content::Number(
            |cx, row| mean(&component(cx, row).turnaround.each_ns),
            show_duration,
        ),
    },
    ColumnSpec {
        heading: Turnaround::PARTS,
        min: 8,
        max: 42,
        rank: 2,
        content: Content::Parts(|cx, row| mean_parts(&component(cx, row).turnaround)),
    },
    ColumnSpec {
        heading: Heading {
            title: "RT/req",
            help: "roundtrips it makes for one request at the entry; ≥ is a lower bound",
        },
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Marked(
            |cx, row| cx.shown.roundtrips_per_request(row),
            |cx, row| match cx.shown.roundtrips_per_request(row) {
                None => Span::styled(units::UNKNOWN, DIM),
                Some(ratio) => bounded(cx.shown.at_least(row), show_ratio(ratio)),
            },
            Alignment::Right,
        ),
    },
    ColumnSpec {
        heading: Counters::CPI,
        min: 5,
        max: 5,
        rank: 5,
        content: Content::Number(
            |cx, row| component(cx, row).counters.and_then(|c| c.cpi),
            show_ratio,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "REQ/s, PAST",
            help: "requests served per second, newest at the right",
        },
        min: 12,
        max: 30,
        rank: 7,
        content: Content::History(|cx, row, windows| {
            let past = cx.shown.components.last(&component(cx, row).id, windows);
            past.map(|sample| sample.map(|s| s.served_per_second))
                .collect()
        }),
    },
    ColumnSpec {
        heading: Component::KIND,
        min: 9,
        max: 9,
        rank: 8,
        content: Content::Text(|cx, row| kind(component(cx, row)).to_owned()),
    },
];
