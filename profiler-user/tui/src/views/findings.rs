//! Findings: what is wrong, the worst first, and what to do about it.
//!
//! In: the snapshot's findings. Out: a table, and the selected one in full. Must not know: keys, other views, the rules.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::show_duration;
use crate::{
    filter::{Filter, contains},
    style::{ACCENT, BAD, DIM, PLAIN, STRONG, WARN},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
use courtside_core::{
    model::finding::{Finding, Severity},
    units,
};

/// The table, the worst first.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: |cx| cx.shown.snapshot.findings.len(),
    id,
    matches,
    busy: |_, _| true,
};

/// What to say where nothing is found.
pub(crate) const NOTHING: &str = "Nothing found in this window.\nNothing is judged with too few requests, with requests that cannot be told apart, or with losses; docs/patterns.md has the rules.";

fn finding<'a>(cx: &'a Context, row: usize) -> &'a Finding {
    &cx.shown.snapshot.findings[row]
}

fn id(cx: &Context, row: usize) -> String {
    let finding = finding(cx, row);
    let to = finding.edge.as_ref().map_or("", |edge| &edge.to);
    format!("{} {} {to}", finding.rule, finding.component)
}

fn matches(cx: &Context, row: usize, filter: &Filter) -> bool {
    let finding = finding(cx, row);
    let name = cx.shown.name(&finding.component);
    filter.matches(
        |word| {
            contains(name, word) || contains(&finding.rule, word) || contains(&finding.says, word)
        },
        |key, value| match (key, &finding.edge) {
            ("name", _) => Some(contains(name, value)),
            ("from", Some(edge)) => Some(contains(cx.shown.name(&edge.from), value)),
            ("to", Some(edge)) => Some(contains(cx.shown.name(&edge.to), value)),
            _ => None,
        },
    )
}

/// Sign, style and urgency.
pub(crate) fn severity(severity: Severity) -> (&'static str, Style, u8) {
    match severity {
        Severity::Bad => ("✗", BAD, 2),
        Severity::Warn => ("▲", WARN, 1),
        Severity::Info => ("·", PLAIN, 0),
    }
}

static COLUMNS: [ColumnSpec; 6] = [
    ColumnSpec {
        heading: Finding::COMPONENT,
        min: 10,
        max: 24,
        rank: 0,
        content: Content::Name(|cx, row| cx.shown.name(&finding(cx, row).component)),
    },
    ColumnSpec {
        heading: Finding::SEVERITY,
        min: 8,
        max: 8,
        rank: 1,
        content: Content::Marked(
            |cx, row| Some(f64::from(severity(finding(cx, row).severity).2)),
            |cx, row| {
                let how_bad = finding(cx, row).severity;
                let (sign, style, _) = severity(how_bad);
                Span::styled(format!("{sign} {}", how_bad.name()), style)
            },
            Alignment::Left,
        ),
    },
    ColumnSpec {
        heading: Finding::AT_STAKE,
        min: 8,
        max: 8,
        rank: 3,
        content: Content::Number(|cx, row| finding(cx, row).at_stake_ns, show_duration),
    },
    ColumnSpec {
        heading: Finding::SURE,
        min: 5,
        max: 5,
        rank: 5,
        content: Content::Number(|cx, row| Some(finding(cx, row).confidence), units::percent),
    },
    ColumnSpec {
        heading: Finding::RULE,
        min: 10,
        max: 20,
        rank: 4,
        content: Content::Text(|cx, row| finding(cx, row).rule.clone()),
    },
    ColumnSpec {
        heading: Finding::SAYS,
        min: 14,
        max: 160,
        rank: 2,
        content: Content::Text(|cx, row| finding(cx, row).says.clone()),
    },
];

/// The selected one in full.
fn in_full(finding: &Finding, width: usize) -> Vec<Line<'static>> {
    const INDENT: usize = 10;
    let said = |label: &str, text: String, style| {
        let label = Span::styled(format!(" {label}"), ACCENT);
        text::wrap(&label, INDENT, &[Span::styled(text, style)], width)
    };
    let evidence: Vec<String> = finding
        .evidence
        .iter()
        .map(|evidence| {
            // A number and its unit stay together.
            let how_much = evidence.how_much().replace(' ', "\u{a0}");
            format!("{} {how_much}", evidence.what())
        })
        .collect();
    let mut lines = vec![Line::default()];
    lines.extend(said("what", finding.says.clone(), STRONG));
    lines.extend(said("do", finding.remedy.clone(), PLAIN));
    lines.extend(said("rests on", evidence.join(", "), DIM));
    lines
}

/// Draws the table, and below it the selected one in full.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let width = usize::from(area.width).saturating_sub(1);
    let position = table.position(&SPEC, cx, rows);
    let mut below = rows
        .get(position)
        .map_or_else(Vec::new, |&row| in_full(finding(cx, row), width));
    // Two thirds of the screen at most; what it rests on is cut off first.
    below.truncate(usize::from(area.height) * 2 / 3);
    let [top, bottom] = Layout::vertical([
        Constraint::Max(rows.len() as u16 + 1),
        Constraint::Length(below.len() as u16),
    ])
    .areas(area);
    table::draw(frame, top, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(below), bottom);
}
