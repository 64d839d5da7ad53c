//! The table of `diff`: what was compared, what changed, and what is only in one of both.
//!
//! In: a [`Diff`]. Out: text for a terminal or a file. Must not know: when a number has changed.

use courtside_core::{
    model::{
        difference::{Change, Diff, Recorded},
        finding::Evidence,
        visible::visible,
    },
    units::{UNKNOWN, count, duration, percent},
};

use super::Style;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};

/// Most changes that are shown.
const MAX_ROWS: usize = 40;
const NAME_WIDTH: usize = 28;
/// Most components that are named which only one has.
const MAX_NAMES: usize = 12;

/// The comparison as text, with a newline at the end.
#[must_use]
pub fn render(diff: &Diff, style: Style) -> String {
    let blocks = [
        recordings(diff, style),
        changes(diff, style),
        summary(diff, style),
    ];
    joined(blocks, style)
}

fn recordings(diff: &Diff, style: Style) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, recorded) in [("A", &diff.a), ("B", &diff.b)] {
        let mut title = Line::new(BOLD, name);
        title.push(PLAIN, format!("  {}", clip(&visible(&recorded.file), 60)));
        let lost = format!("lost {}", count(recorded.lost));
        let pieces = vec![
            title,
            Line::new(
                PLAIN,
                format!(
                    "{} in {} windows",
                    duration(recorded.duration_ns),
                    count(recorded.windows)
                ),
            ),
            Line::new(PLAIN, format!("{} requests", count(recorded.requests))),
            Line::new(if recorded.lost > 0 { WARN } else { PLAIN }, lost),
        ];
        lines.extend(flow(pieces, "   ", style.width));
    }
    lines
}

fn changes(diff: &Diff, style: Style) -> Vec<Line> {
    if diff.changes.is_empty() {
        return Vec::new();
    }
    let column = |title: &str, right, rank| GridColumn {
        title: Line::new(HEAD, title),
        right,
        rank,
    };
    let grid = Grid {
        columns: vec![
            column("WHERE", false, 0),
            column("WHAT", false, 0),
            column("A", true, 1),
            column("B", true, 1),
            column("CHANGE", true, 0),
            column("95 IN 100", true, 3),
            column("p", true, 2),
            column("", false, 0),
        ],
        rows: diff.changes.iter().take(MAX_ROWS).map(row).collect(),
    };
    let mut lines = grid.lines(style.width);
    let more = diff.changes.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        lines.push(Line::new(
            DIM,
            format!("… {more} more changes (all of them: -F json)"),
        ));
    }
    lines
}

fn row(change: &Change) -> Vec<Line> {
    let name = |id: &str| {
        let name = id.split_once(':').map_or(id, |(_, name)| name);
        clip(&visible(name), NAME_WIDTH)
    };
    let place = match &change.edge {
        Some(edge) => format!("{} → {}", name(&edge.from), name(&edge.to)),
        None => name(&change.component),
    };
    let value = |value: f64| {
        let evidence = Evidence {
            name: String::new(),
            value,
            unit: change.unit.clone(),
        };
        Line::new(PLAIN, evidence.how_much())
    };
    let (style, verdict) = match change.worse {
        Some(true) => (ALARM, "worse"),
        Some(false) => (PLAIN, "better"),
        None => (DIM, ""),
    };
    let between = match change.interval95 {
        Some([low, high]) => format!("{} … {}", signed(low), signed(high)),
        None => UNKNOWN.to_owned(),
    };
    let p = if change.p < 0.0001 {
        "<0.0001".to_owned()
    } else {
        format!("{:.4}", change.p)
    };
    vec![
        Line::new(PLAIN, place),
        Line::new(PLAIN, visible(&change.field).into_owned()),
        value(change.a),
        value(change.b),
        Line::new(
            style,
            change.ratio.map_or_else(|| UNKNOWN.to_owned(), signed),
        ),
        Line::new(PLAIN, between),
        Line::new(PLAIN, p),
        Line::new(style, verdict),
    ]
}

/// A ratio as a change: `+25%`, `-3.1%`; from three times on as a factor.
pub(super) fn signed(ratio: f64) -> String {
    match ratio - 1.0 {
        more if more >= 2.0 => format!("×{}", courtside_core::units::ratio(Some(ratio))),
        more if more >= 0.0 => format!("+{}", percent(more)),
        less => format!("-{}", percent(-less)),
    }
}

fn summary(diff: &Diff, style: Style) -> Vec<Line> {
    let mut texts = Vec::new();
    let compared = format!("{} numbers compared", count(diff.compared));
    let least = percent(diff.ignore_below);
    texts.push(match diff.changes.len() {
        0 => format!(
            "{compared}: none changed by {least} or more and by more than its windows scatter."
        ),
        n => format!(
            "{compared}: {} changed by {least} or more and by more than windows scatter. A and B are medians over windows.",
            count(n as u64)
        ),
    });
    if let Some(limit) = diff.fail_above {
        let limit = percent(limit);
        texts.push(if diff.worse {
            format!("Something got worse by more than {limit}: exit status 3.")
        } else {
            format!("Nothing got worse by more than {limit}.")
        });
    }
    for (name, recorded) in [("A", &diff.a), ("B", &diff.b)] {
        if !recorded.only_here.is_empty() {
            texts.push(format!("Only in {name}: {}.", only(recorded)));
        }
    }
    let words = |text: &String| -> Vec<Line> {
        text.split_whitespace()
            .map(|word| Line::new(DIM, clip(word, 80)))
            .collect()
    };
    texts
        .iter()
        .flat_map(|text| flow(words(text), " ", style.width))
        .collect()
}

fn only(recorded: &Recorded) -> String {
    let ids = &recorded.only_here;
    let names: Vec<_> = ids.iter().take(MAX_NAMES).map(|id| visible(id)).collect();
    match ids.len().saturating_sub(MAX_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::model::{difference::DIFF_SCHEMA, finding::Between};

    use super::*;

    fn diff() -> Diff {
        let recorded = |file: &str, only: &[&str]| Recorded {
            file: file.to_owned(),
            live: false,
            windows: 60,
            duration_ns: 60_000_000_000,
            requests: 72_240,
            lost: 0,
            only_here: only.iter().map(|&id| id.to_owned()).collect(),
        };
        let change = |field: &str, edge: Option<&str>, worse| Change {
            component: "program:app".to_owned(),
            edge: edge.map(|to| Between {
                from: "program:app".to_owned(),
                to: to.to_owned(),
            }),
            field: field.to_owned(),
            unit: "ns".to_owned(),
            a: 1_310_000.0,
            b: 1_640_000.0,
            ratio: Some(1.25),
            interval95: Some([1.24, 1.26]),
            p: 1e-9,
            worse,
            says: String::new(),
        };
        Diff {
            schema: DIFF_SCHEMA.to_owned(),
            a: recorded("before.rec", &[]),
            b: recorded("after.rec", &["program:new\u{1b}[31m"]),
            compared: 48,
            changes: vec![
                change("service_ns", None, Some(true)),
                change("latency_ns", Some("container:store"), Some(true)),
                change("turnaround.run_queue_ns", None, None),
            ],
            worse: true,
            ignore_below: 0.1,
            fail_above: Some(0.1),
        }
    }

    #[test]
    fn what_changed_stands_in_rows_and_controls_no_terminal() {
        let text = render(&diff(), Style::default());
        insta::assert_snapshot!(text);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn no_change_is_said_in_words() {
        let same = Diff {
            changes: Vec::new(),
            worse: false,
            ..diff()
        };
        let text = render(&same, Style::default());
        assert!(
            text.contains("48 numbers compared: none changed by 10% or more"),
            "{text}"
        );
        assert!(
            text.contains("Nothing got worse by more than 10%."),
            "{text}"
        );
    }

    #[test]
    fn a_ratio_is_a_change_in_per_cent_or_a_factor() {
        let shown = [1.0, 1.25, 0.969, 2.9, 3.0, 11.0].map(signed);
        assert_eq!(shown, ["+0%", "+25%", "-3.1%", "+190%", "×3.00", "×11.00"]);
    }
}
