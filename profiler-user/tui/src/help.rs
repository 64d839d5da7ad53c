//! Help: what the keys do, and what the view's columns mean.
//!
//! In: the view's table, a width, whether it is a recording. Out: lines. Must not know: the state beyond that.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use courtside_core::{model::fields::Heading, parts::Part};

use super::{
    filter::KEYS,
    state::DashboardView,
    style::{ACCENT, PLAIN, STRONG, ink},
    table::Content,
    text,
};

/// Keys that do the same in a recording.
const KEY_HELP: [(&str, &str); 7] = [
    ("Tab 1–9", "next view, view by number"),
    ("↑ ↓ j k", "move; PgUp PgDn by pages, g G to the ends"),
    ("← → h l", "previous, next component in Turnaround"),
    ("Enter", "open what is selected"),
    ("Esc", "back; clears the filter"),
    ("/", "filter by words that must all match"),
    ("s S", "sort by the next column, reverse"),
];

const LIVE_HELP: [(&str, &str); 5] = [
    ("Space", "pause the screen; measuring goes on"),
    ("r", "measure anew: forget the past"),
    ("R", "keep the last five minutes as courtside-TIME.rec"),
    ("e", "export what is shown as courtside-TIME.json"),
    ("+ -", "longer, shorter windows"),
];

const REPLAY_HELP: [(&str, &str); 7] = [
    (
        "0",
        "view Tail, and Tab from there view Parallel: they follow every event",
    ),
    ("Space", "stop, go on"),
    ("t T", "next, previous window"),
    (
        "J",
        "jump: 14:03:22, +90s, -5m, 50%, or a window's number from 0",
    ),
    ("+ -", "faster, slower"),
    ("r", "from the beginning"),
    ("e", "export what is shown as courtside-TIME.json"),
];

const LAST_HELP: [(&str, &str); 4] = [
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend"),
    ("?", "this help; any other key closes it"),
    ("q Ctrl-C", "quit"),
];

/// The help of a view, wrapped to `width` columns.
pub(super) fn lines(view: DashboardView, width: usize, replay: bool) -> Vec<Line<'static>> {
    // First: they are what it was opened for, and must be seen without scrolling.
    let mut lines = vec![heading("Keys", width)];
    let here = if replay { &REPLAY_HELP[..] } else { &LIVE_HELP };
    for &(keys, what) in KEY_HELP.iter().chain(here).chain(&LAST_HELP) {
        entry(&mut lines, keys, ACCENT, what, width);
    }
    let columns = view.spec().columns;
    lines.push(Line::default());
    let title = format!("{}: {}", view.names().0, view.purpose());
    lines.push(heading(&title, width));
    for column in columns {
        let Heading { title, help } = column.heading;
        entry(&mut lines, title, ACCENT, help, width);
    }
    if columns
        .iter()
        .any(|column| matches!(column.content, Content::Parts(_)))
    {
        lines.push(Line::default());
        lines.push(heading("Parts of a turnaround", width));
        for part in Part::ALL {
            entry(
                &mut lines,
                &format!("{} {}", part.glyph().repeat(2), part.name()),
                ink(part),
                part.meaning(),
                width,
            );
        }
    }
    lines.push(Line::default());
    lines.push(heading("Filter", width));
    let keys = KEYS.map(|key| format!("{key}:")).join(" ");
    let words = "redis matches names; name:web port:6379 must both match; keys are";
    entry(&mut lines, "/", ACCENT, &format!("{words} {keys}"), width);
    lines
}

fn heading(text: &str, width: usize) -> Line<'static> {
    Line::styled(text::clip_end(&format!(" {text}"), width), STRONG)
}

/// A term and its explanation beside it.
fn entry(
    lines: &mut Vec<Line<'static>>,
    term: &str,
    style: Style,
    explanation: &str,
    width: usize,
) {
    const TERM: usize = 18;
    let term = Span::styled(format!("  {term}"), style);
    let explanation = Span::styled(explanation.to_owned(), PLAIN);
    lines.extend(text::wrap(
        &term,
        TERM,
        &[explanation],
        width.saturating_sub(1),
    ));
}
