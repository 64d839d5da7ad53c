//! Turnaround of one component: what its time is made of, to whom it sends, how long each took, how that changed.
//!
//! In: the target component of the context. Out: a table of recipients and pictures. Must not know: keys.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    chart,
    filter::contains,
    histogram,
    shown::{kind, mean, mean_parts, quantile},
    style::{ACCENT, DIM, PLAIN, STRONG, ink},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
use courtside_core::{
    model::{
        fields::Heading,
        snapshot::{Component, Recipient, Turnaround},
        words::mean_held,
    },
    parts::Parts,
    units,
};

/// The table of recipients.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: |cx| target(cx).map_or(0, |component| component.turnaround.by_recipient.len()),
    id: |cx, row| recipient(cx, row).map_or_else(String::new, |recipient| recipient.to.clone()),
    matches: |cx, row, filter| {
        let name = recipient(cx, row).map_or("", |recipient| cx.shown.name(&recipient.to));
        filter.matches(
            |word| contains(name, word),
            |key, value| (key == "to").then(|| contains(name, value)),
        )
    },
    busy: |_, _| true,
};

fn target<'a>(cx: &Context<'a>) -> Option<&'a Component> {
    cx.shown.snapshot.components.get(cx.target?)
}

fn recipient<'a>(cx: &Context<'a>, row: usize) -> Option<&'a Recipient> {
    target(cx)?.turnaround.by_recipient.get(row)
}

static COLUMNS: [ColumnSpec; 7] = [
    ColumnSpec {
        heading: Recipient::TO,
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Name(|cx, row| recipient(cx, row).map_or("", |r| cx.shown.name(&r.to))),
    },
    ColumnSpec {
        heading: Heading {
            title: "SHARE",
            help: "of the component's time in court",
        },
        min: 6,
        max: 6,
        rank: 2,
        content: Content::Number(
            |cx, row| {
                let total = target(cx)?.turnaround.total_ns as f64;
                (total > 0.0).then_some(recipient(cx, row)?.total_ns as f64 / total)
            },
            units::percent,
        ),
    },
    ColumnSpec {
        heading: Recipient::COUNT,
        min: 7,
        max: 7,
        rank: 5,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(recipient(cx, row)?.count)),
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Recipient::MEAN,
        min: 7,
        max: 7,
        rank: 1,
        content: Content::Number(
            |cx, row| {
                let recipient = recipient(cx, row).filter(|r| r.count > 0)?;
                Some(recipient.total_ns as f64 / recipient.count as f64)
            },
            units::duration_f64,
        ),
    },
    ColumnSpec {
        heading: Recipient::P50,
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| quantile(&recipient(cx, row)?.each_ns, |dist| dist.p50_ns),
            super::show_duration,
        ),
    },
    ColumnSpec {
        heading: Recipient::P99,
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| quantile(&recipient(cx, row)?.each_ns, |dist| dist.p99_ns),
            super::show_duration,
        ),
    },
    ColumnSpec {
        heading: Recipient::PARTS,
        min: 8,
        max: 60,
        rank: 3,
        content: Content::Parts(|cx, row| {
            let recipient = recipient(cx, row).filter(|r| r.count > 0)?;
            Some(recipient.parts.real())
        }),
    },
];

/// Rows beyond which a picture shows nothing more.
pub(super) const PICTURES: u16 = 16;

/// Draws the view.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let Some(component) = target(cx) else {
        return;
    };
    let head = head(cx, component, usize::from(area.width));
    let turnaround = &component.turnaround;
    let head_height = head.len() as u16;
    // Half of what is left belongs to the pictures, if that is enough to draw any.
    let rest = area.height.saturating_sub(head_height);
    let table_height = match turnaround.by_recipient.len() {
        0 => 0,
        _ if rest < 12 => rest,
        recipients => (recipients as u16 + 2).min(rest / 2),
    };
    let [top, middle, pictures] = Layout::vertical([
        Constraint::Length(head_height),
        Constraint::Length(table_height),
        Constraint::Min(0),
    ])
    .areas(area);
    let pictures = Rect {
        height: pictures.height.min(PICTURES),
        ..pictures
    };
    frame.render_widget(Paragraph::new(head), top);
    table::draw(frame, middle, &SPEC, cx, table, rows);
    if turnaround.count == 0 || pictures.height < 5 {
        return;
    }
    let past = |width| {
        let past = cx.shown.components.last(&component.id, width);
        past.map(|sample| sample.and_then(|s| s.parts))
            .collect::<Vec<_>>()
    };
    if area.width >= 72 {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(pictures);
        draw_each(frame, left, turnaround);
        draw_past(frame, right, &past(120));
    } else if pictures.height >= 14 {
        let [upper, lower] = Layout::vertical([Constraint::Fill(1); 2]).areas(pictures);
        draw_each(frame, upper, turnaround);
        draw_past(frame, lower, &past(120));
    } else {
        draw_each(frame, pictures, turnaround);
    }
}

/// Who it is, its turnaround in numbers, and in parts.
fn head(cx: &Context, component: &Component, width: usize) -> Vec<Line<'static>> {
    let turnaround = &component.turnaround;
    let processes = match component.processes.as_slice() {
        [] => String::new(),
        [one] => format!("  {} {}", text::clip(&one.comm, 16), one.tgid),
        many => format!("  {} processes", units::count(many.len() as u64)),
    };
    let name = cx.target.map_or("", |target| cx.shown.name_at(target));
    let who = [
        Span::styled(text::clip(name, width.saturating_sub(12)), STRONG),
        Span::styled(format!("  {}{processes}", kind(component)), DIM),
    ];
    let mut lines = text::wrap(&Span::raw(""), 1, &who, width);

    let mut numbers = Vec::new();
    let mut number = |name: &str, value: String| {
        numbers.push(Span::styled(format!("{name} "), DIM));
        numbers.push(Span::styled(
            format!("{}   ", value.replace(' ', "\u{a0}")),
            PLAIN,
        ));
    };
    let each = &turnaround.each_ns;
    match mean(each) {
        None => number("turnarounds", "none in this window".to_owned()),
        Some(mean) => {
            number("turnaround mean", units::duration_f64(mean));
            number("p50", units::duration(each.p50_ns));
            number("p90", units::duration(each.p90_ns));
            number("p99", units::duration(each.p99_ns));
            number("max", units::duration(each.max_ns));
            let rate = cx.shown.per_second(turnaround.count);
            number("count", format!("{}/s", units::rate(rate)));
        }
    }
    let requests = &component.requests;
    if let Some(mean) = mean(&requests.queued_ns) {
        number("requests unread", units::duration_f64(mean));
    }
    if requests.held_ns.is_some() {
        number("held", mean_held(requests));
    } else if let Some(reason) = requests.held_unknown {
        number("held", format!("not known: {}", reason.meaning()));
    }
    if requests.untimed > 0 {
        let of = units::count(requests.served);
        number(
            "untimed",
            format!("{} of {of}", units::count(requests.untimed)),
        );
    }
    if turnaround.unprompted_count > 0 {
        let rate = units::rate(cx.shown.per_second(turnaround.unprompted_count));
        number("unprompted sends", format!("{rate}/s"));
    }
    lines.extend(text::wrap(&Span::raw(""), 1, &numbers, width));

    if let Some(parts) = mean_parts(turnaround) {
        let room = width.saturating_sub(2);
        let mut bar = vec![Span::raw(" ")];
        bar.extend(chart::parts_bar(&parts, room));
        let mut legend = Vec::new();
        for (part, ns) in parts {
            let time = match ns {
                0.0 => "0".to_owned(),
                ns => units::duration_f64(ns).replace(' ', "\u{a0}"),
            };
            if ns == 0.0 && !part.is_usual() {
                continue;
            }
            legend.push(Span::styled(part.glyph(), ink(part)));
            legend.push(Span::styled(format!("\u{a0}{}\u{a0}", part.name()), DIM));
            legend.push(Span::styled(format!("{time}   "), PLAIN));
        }
        lines.push(Line::default());
        lines.push(Line::from(bar));
        lines.extend(text::wrap(&Span::raw(""), 1, &legend, width));
    }
    lines.push(Line::default());
    lines
}

/// How long each turnaround took.
fn draw_each(frame: &mut Frame, area: Rect, turnaround: &Turnaround) {
    let (width, height) = (
        usize::from(area.width).saturating_sub(4),
        usize::from(area.height),
    );
    let mut lines = vec![Line::styled(" How long each took", ACCENT)];
    let chart = histogram::lines(&turnaround.each_ns, width, height.saturating_sub(1));
    lines.extend(chart.into_iter().map(indented));
    frame.render_widget(Paragraph::new(lines), area);
}

fn indented(mut line: Line<'static>) -> Line<'static> {
    line.spans.insert(0, Span::raw(" "));
    line
}

/// How the mean and its parts changed from window to window.
fn draw_past(frame: &mut Frame, area: Rect, samples: &[Option<Parts<f64>>]) {
    const LABELS: usize = units::WIDTH + 1;
    let width = usize::from(area.width).saturating_sub(LABELS + 2);
    let rows = usize::from(area.height).saturating_sub(3);
    let (chart, max) = chart::areas(samples, width, rows);
    let shown = samples.len().min(width);
    let mut lines = vec![Line::styled(format!(" Mean, last {shown} windows"), ACCENT)];
    for (row, line) in chart.into_iter().enumerate() {
        let label = if row == 0 {
            units::duration_f64(max)
        } else {
            String::new()
        };
        let mut spans = vec![
            Span::styled(format!("{label:>LABELS$}"), DIM),
            Span::styled("│", DIM),
        ];
        spans.extend(line.spans);
        lines.push(Line::from(spans));
    }
    lines.push(Line::styled(
        format!("{:>LABELS$}└{}", "0", "─".repeat(width)),
        DIM,
    ));
    lines.push(Line::styled(
        format!("{:>1$}", "now", LABELS + 1 + width),
        DIM,
    ));
    frame.render_widget(Paragraph::new(lines), area);
}
