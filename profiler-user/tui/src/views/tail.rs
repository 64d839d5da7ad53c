//! Tail: why the slowest requests of a recording are slow, held against the median part by part.
//!
//! In: what was found in the whole recording. Out: a table of differences, and the selected one and the slowest requests in
//! full. Must not know: keys, other views, how a request is followed.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    filter::contains,
    style::{ACCENT, BAD, DIM, PLAIN, STRONG, WARN},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
use courtside_core::{
    model::{
        fields::Heading,
        tail::{By, Difference, Exemplar, Tail},
        visible::visible,
    },
    parts::Part,
    units::{count, duration, duration_f64, percent, signed_percent},
};

/// The table, what is most first.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 2,
    len: |cx| {
        cx.whole
            .tail
            .told()
            .map_or(0, |tail| tail.differences.len())
    },
    id: |cx, row| {
        difference(cx, row).map_or_else(String::new, |one| {
            format!("{} {}", one.component.as_deref().unwrap_or(""), one.part)
        })
    },
    matches: |cx, row, filter| {
        let place = place(cx, row);
        let what = difference(cx, row).map_or_else(String::new, |one| words(&one.part));
        let by = by(cx, row);
        filter.matches(
            |word| contains(&place, word) || contains(&what, word) || contains(&by, word),
            |key, value| (key == "name").then(|| contains(&place, value)),
        )
    },
    busy: |_, _| true,
};

fn difference<'a>(cx: &'a Context, row: usize) -> Option<&'a Difference> {
    cx.whole.tail.told()?.differences.get(row)
}

/// Where it is.
fn place(cx: &Context, row: usize) -> String {
    let component = difference(cx, row).and_then(|one| one.component.as_deref());
    component.map_or_else(|| "between them".to_owned(), |id| name(cx, id))
}

/// What people call a component: the window on the screen may not list it.
fn name(cx: &Context, id: &str) -> String {
    text::clip(&visible(cx.shown.name(&visible(id))), 40)
}

/// A part of a request's time in words.
fn words(part: &str) -> String {
    let known = Part::ALL
        .into_iter()
        .find(|known| known.field().strip_suffix("_ns") == Some(part));
    known.map_or_else(
        || visible(part).into_owned(),
        |part| part.words().to_owned(),
    )
}

fn by(cx: &Context, row: usize) -> String {
    difference(cx, row).map_or_else(String::new, |one| by_whom(cx, &one.by))
}

/// Whose doing it is, the greatest first.
fn by_whom(cx: &Context, by: &[By]) -> String {
    let more = by.iter().filter(|by| by.ns > 0.0).take(3);
    let named: Vec<String> = more
        .map(|by| format!("{} {}", name(cx, &by.component), duration_f64(by.ns)))
        .collect();
    named.join(", ")
}

/// A time that may be less than nothing.
fn signed(ns: f64) -> String {
    match ns {
        0.0 => "0".to_owned(),
        ns if ns < 0.0 => format!("-{}", duration_f64(-ns)),
        ns => duration_f64(ns),
    }
}

static COLUMNS: [ColumnSpec; 8] = [
    ColumnSpec {
        heading: Heading {
            title: "WHERE",
            help: "component that a request passed; between them: network, and what cannot be placed",
        },
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Text(place),
    },
    ColumnSpec {
        heading: Heading {
            title: "WHAT",
            help: "part of the request's time there",
        },
        min: 10,
        max: 12,
        rank: 1,
        content: Content::Text(|cx, row| {
            difference(cx, row).map_or_else(String::new, |one| words(&one.part))
        }),
    },
    ColumnSpec {
        heading: Heading {
            title: "MORE",
            help: "how much more of it the slowest requests have than the median, a request",
        },
        min: 8,
        max: 8,
        rank: 1,
        content: Content::Number(|cx, row| Some(difference(cx, row)?.more_ns), signed),
    },
    ColumnSpec {
        heading: Heading {
            title: "SHARE",
            help: "of the whole difference",
        },
        min: 6,
        max: 6,
        rank: 2,
        content: Content::Number(|cx, row| difference(cx, row)?.share, signed_percent),
    },
    ColumnSpec {
        heading: Heading {
            title: "SLOW",
            help: "how much the slowest have of it, a request",
        },
        min: 8,
        max: 8,
        rank: 4,
        content: Content::Number(|cx, row| Some(difference(cx, row)?.slow_ns), signed),
    },
    ColumnSpec {
        heading: Heading {
            title: "MEDIAN",
            help: "how much the middle fifth of all requests has of it",
        },
        min: 8,
        max: 8,
        rank: 4,
        content: Content::Number(|cx, row| Some(difference(cx, row)?.median_ns), signed),
    },
    ColumnSpec {
        heading: Heading {
            title: "SEEN IN",
            help: "how many of the slowest have more of it than any request of the middle; what only a few have is no rule",
        },
        min: 7,
        max: 7,
        rank: 5,
        content: Content::Number(
            |cx, row| Some(difference(cx, row)?.seen_in as f64),
            |seen| count(seen as u64),
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "BY WHOM",
            help: "of run queue: whom the CPU was given to; of sleep: whose thread ended it",
        },
        min: 12,
        max: 60,
        rank: 3,
        content: Content::Text(by),
    },
];

/// Draws what it is about, the table, and below it the selected difference and the slowest requests.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let Some(tail) = cx.whole.tail.told() else {
        return;
    };
    let width = usize::from(area.width).saturating_sub(1);
    let mut head = head(cx, tail, width);
    head.truncate(usize::from(area.height) / 3);
    let rest = usize::from(area.height).saturating_sub(head.len());
    let selected = rows
        .get(table.position(&SPEC, cx, rows))
        .and_then(|&row| difference(cx, row));
    let mut below = below(cx, tail, selected, width);
    below.truncate(rest.saturating_sub(rows.len().min(rest / 2) + 2));
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Min(1),
        Constraint::Length(below.len() as u16),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    table::draw(frame, middle, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(below), bottom);
}

fn head(cx: &Context, tail: &Tail, width: usize) -> Vec<Line<'static>> {
    let entry = match tail.port {
        0 => name(cx, &tail.entry),
        port => format!("{}:{port}", name(cx, &tail.entry)),
    };
    let lost = tail
        .source
        .lost
        .values()
        .copied()
        .fold(0, u64::saturating_add);
    let time = |ns: f64| duration_f64(ns).replace(' ', "\u{a0}");
    let mut words = vec![
        Span::styled(entry, STRONG),
        Span::styled(
            format!(
                ", the whole recording: the slowest {}, {} of {} requests, took",
                percent(tail.slow_share),
                count(tail.slow.count),
                count(tail.requests)
            ),
            PLAIN,
        ),
        Span::styled(format!(" {}", time(tail.slow.mean_ns)), STRONG),
        Span::styled(" on average, the median".to_owned(), PLAIN),
        Span::styled(format!(" {}", time(tail.median.mean_ns)), STRONG),
        Span::styled(
            format!(
                ". Of all: p99 {}, max {}.",
                time(tail.service_ns.p99_ns as f64),
                time(tail.service_ns.max_ns as f64)
            ),
            PLAIN,
        ),
    ];
    if tail.untimed > 0 {
        let said = format!(
            " {} more have no time: several were open at once on their connection.",
            count(tail.untimed)
        );
        words.push(Span::styled(said, WARN));
    }
    if lost > 0 {
        words.push(Span::styled(format!(" Lost {}.", count(lost)), BAD));
    }
    let mut lines = text::wrap(&Span::raw(""), 1, &words, width);
    lines.push(Line::default());
    lines
}

/// The selected difference in full, the slowest requests, and what has to be known.
fn below(
    cx: &Context,
    tail: &Tail,
    selected: Option<&Difference>,
    width: usize,
) -> Vec<Line<'static>> {
    const INDENT: usize = 10;
    let said = |label: &str, text: &str, style: Style| {
        let label = Span::styled(format!(" {label}"), ACCENT);
        let text = visible(text).into_owned();
        text::wrap(&label, INDENT, &[Span::styled(text, style)], width)
    };
    let mut lines = vec![Line::default()];
    if let Some(selected) = selected {
        lines.extend(said("selected", &selected.says, STRONG));
        let seen = format!(
            "{} of {} slow requests have more of it than any of the middle",
            count(selected.seen_in),
            count(tail.slow.count)
        );
        lines.extend(said("seen in", &seen, PLAIN));
        let by = by_whom(cx, &selected.by);
        if !by.is_empty() {
            lines.extend(said("by whom", &by, PLAIN));
        }
    }
    for (place, exemplar) in tail.exemplars.iter().enumerate() {
        let label = if place == 0 { "slowest" } else { "" };
        lines.extend(said(label, &one(cx, exemplar), PLAIN));
    }
    for not_told in &tail.not_told {
        lines.extend(said("not told", &not_told.says, DIM));
    }
    for remark in &tail.remarks {
        lines.extend(said("note", remark, DIM));
    }
    lines
}

/// One request: how long it took, the greatest parts of that, and who woke it.
fn one(cx: &Context, exemplar: &Exemplar) -> String {
    let mut all: Vec<(f64, String)> = Vec::new();
    for court in &exemplar.courts {
        let court = &court.court;
        let component = name(cx, &court.component);
        let own = court.parts.into_iter();
        all.extend(own.map(|(part, ns)| (ns, format!("{component} {}", part.words()))));
        let remote_ns = court.turnaround_ns - court.parts.total_ns();
        all.push((remote_ns, component.clone()));
        all.push((
            court.unread_ns.unwrap_or(0.0),
            format!("{component} unread"),
        ));
        all.push((court.held_ns.unwrap_or(0.0), format!("{component} held")));
    }
    all.push((exemplar.network_ns, "network".to_owned()));
    all.push((exemplar.other_ns, "other".to_owned()));
    all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let least_ns = exemplar.service_ns as f64 / 20.0;
    let great: Vec<String> = all
        .into_iter()
        .filter(|(ns, _)| *ns >= least_ns)
        .take(3)
        .map(|(ns, what)| format!("{what} {}", duration_f64(ns).replace(' ', "\u{a0}")))
        .collect();
    let woken = exemplar.waker.as_ref().map_or_else(String::new, |waker| {
        format!("; woken by {}", name(cx, &waker.component))
    });
    format!(
        "{}: {}{woken}",
        duration(exemplar.service_ns).replace(' ', "\u{a0}"),
        great.join(", ")
    )
}
