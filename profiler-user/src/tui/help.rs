//! Help: what the view's columns mean, and what the keys do.
//!
//! In: the view's table, a width, whether it is a recording. Out: lines. Must not know: the state beyond that.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    filter::KEYS,
    state::View,
    style::{ACCENT, PARTS, PLAIN, STRONG},
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
    ("R", "keep the last five minutes as a recording"),
    ("e", "export what is shown as JSON to the current folder"),
    ("+ -", "longer, shorter windows"),
];

const REPLAY_HELP: [(&str, &str); 6] = [
    ("Space", "stop, go on"),
    ("t T", "next, previous window"),
    (
        "J",
        "jump: 14:03:22, +90s, -5m, 50%, or a window's number from 0",
    ),
    ("+ -", "faster, slower"),
    ("r", "from the beginning"),
    ("e", "export what is shown as JSON to the current folder"),
];

const LAST_HELP: [(&str, &str); 4] = [
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend"),
    ("?", "this help; any other key closes it"),
    ("q Ctrl-C", "quit"),
];

const PART_HELP: [&str; 5] = [
    "executing",
    "runnable, waiting for a CPU",
    "waiting for the block layer",
    "locks, timers, page faults and other waits after the message was read",
    "the message waits unread: nobody has picked it up",
];

/// The help of a view, wrapped to `width` columns.
pub(super) fn lines(view: View, width: usize, replay: bool) -> Vec<Line<'static>> {
    let columns = view.spec().columns;
    let mut lines = vec![heading(
        &format!("{}: {}", view.names().0, view.purpose()),
        width,
    )];
    for column in columns {
        entry(&mut lines, column.title, ACCENT, column.help, width);
    }
    if columns
        .iter()
        .any(|column| matches!(column.content, Content::Parts(_)))
    {
        lines.push(Line::default());
        lines.push(heading("Parts of a turnaround", width));
        for (part, help) in PARTS.iter().zip(PART_HELP) {
            entry(
                &mut lines,
                &format!("{} {}", part.glyph.repeat(2), part.name),
                part.style,
                help,
                width,
            );
        }
    }
    lines.push(Line::default());
    lines.push(heading("Keys", width));
    let here = if replay { &REPLAY_HELP[..] } else { &LIVE_HELP };
    for &(keys, what) in KEY_HELP.iter().chain(here).chain(&LAST_HELP) {
        entry(&mut lines, keys, ACCENT, what, width);
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
