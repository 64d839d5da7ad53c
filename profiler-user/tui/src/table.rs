//! Tables: columns that give way as the screen narrows, rows that are formatted only when visible, sorting, selection.
//!
//! In: a [`Spec`], what is shown, and the [`TableState`]. Out: the order of rows, and cells.
//! Must not know: which view it draws, keys.

use std::cmp::Ordering;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    text::{Line, Span, Text},
    widgets::{Cell, Row, Scrollbar, ScrollbarOrientation, ScrollbarState, Table},
};

use super::{
    chart,
    filter::Filter,
    shown::Shown,
    style::{ACCENT, DIM, PLAIN, SELECTED, STRONG},
    text,
    whole::Whole,
};
use courtside_core::{model::fields::Heading, units::UNKNOWN};

/// What a view reads: what is shown, and the component that the view is about, if it is about one.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub shown: &'a Shown,
    /// What is known of the whole recording.
    pub whole: &'a Whole,
    pub target: Option<usize>,
}

/// A table of one kind of rows; a row is an index into the snapshot.
pub(super) struct Spec {
    pub columns: &'static [ColumnSpec],
    /// Column sorted by at first.
    pub sort: usize,
    pub len: fn(&Context) -> usize,
    /// Identity of a row, by which a selection follows it.
    pub id: fn(&Context, usize) -> String,
    pub matches: fn(&Context, usize, &Filter) -> bool,
    /// Rows that stand above their equals.
    pub busy: fn(&Context, usize) -> bool,
}

/// One column.
pub(super) struct ColumnSpec {
    /// What stands above it, and what it means, for the help.
    pub heading: Heading,
    /// Narrowest useful width.
    pub min: u16,
    /// Widest useful width; spare room is shared out in proportion to what is missing to it.
    pub max: u16,
    /// Columns with a larger number give way first; 0 stays always.
    pub rank: u8,
    pub content: Content,
}

/// What a column shows and what it is sorted by.
pub(super) enum Content {
    /// A name, clipped in the middle.
    Name(for<'a> fn(&'a Context, usize) -> &'a str),
    /// Any short text.
    Text(fn(&Context, usize) -> String),
    /// A number, right-aligned; unknown ones come last in either order.
    Number(fn(&Context, usize) -> Option<f64>, fn(f64) -> String),
    /// A text sorted by a number.
    Marked(
        fn(&Context, usize) -> Option<f64>,
        fn(&Context, usize) -> Span<'static>,
        Alignment,
    ),
    /// The parts of a time as a bar.
    Parts(fn(&Context, usize) -> Option<courtside_core::parts::Parts<f64>>),
    /// The past, the newest at the right; the last argument is the largest number of windows that is wanted.
    History(fn(&Context, usize, usize) -> Vec<Option<f64>>),
}

/// What the user chose in one table.
#[derive(Clone, Debug)]
pub(super) struct TableState {
    pub sort: usize,
    pub reversed: bool,
    /// Identity of the selected row and the position it had; none until the user moves.
    pub selected: Option<(String, usize)>,
}

impl TableState {
    pub fn new(spec: &Spec) -> Self {
        Self {
            sort: spec.sort,
            reversed: false,
            selected: None,
        }
    }

    /// Sorts by the next column that can be sorted by.
    pub fn next_sort(&mut self, spec: &Spec) {
        let sortable =
            |content: &Content| !matches!(content, Content::Parts(_) | Content::History(_));
        let count = spec.columns.len();
        let next = (1..=count)
            .map(|step| (self.sort + step) % count)
            .find(|&i| sortable(&spec.columns[i].content));
        self.sort = next.unwrap_or(self.sort);
        self.reversed = false;
    }

    /// Position of the selected row; the nearest one if it is gone, the first until the user moves.
    pub fn position(&self, spec: &Spec, cx: &Context, rows: &[usize]) -> usize {
        let Some((id, position)) = &self.selected else {
            return 0;
        };
        rows.iter()
            .position(|&row| (spec.id)(cx, row) == *id)
            .unwrap_or_else(|| (*position).min(rows.len().saturating_sub(1)))
    }

    /// Selects a position.
    pub fn select(&mut self, spec: &Spec, cx: &Context, rows: &[usize], position: usize) {
        let position = position.min(rows.len().saturating_sub(1));
        self.selected = rows
            .get(position)
            .map(|&row| ((spec.id)(cx, row), position));
    }
}

enum Key<'a> {
    Text(&'a str),
    Owned(String),
    Number(Option<f64>),
}

/// The rows that match, in the order shown: largest number first, texts from A to Z, unknown always last.
pub(super) fn rows(spec: &Spec, cx: &Context, state: &TableState, filter: &Filter) -> Vec<usize> {
    let matching =
        (0..(spec.len)(cx)).filter(|&row| filter.is_empty() || (spec.matches)(cx, row, filter));
    let key = |row| match &spec.columns[state.sort].content {
        Content::Name(name) => Key::Text(name(cx, row)),
        Content::Text(text) => Key::Owned(text(cx, row)),
        Content::Number(value, _) | Content::Marked(value, ..) => Key::Number(value(cx, row)),
        Content::Parts(_) | Content::History(_) => Key::Number(None),
    };
    let mut keyed: Vec<(Key, usize)> = matching.map(|row| (key(row), row)).collect();
    keyed.sort_by_cached_key(|&(_, row)| !(spec.busy)(cx, row));
    let turn = |order: Ordering| {
        if state.reversed {
            order.reverse()
        } else {
            order
        }
    };
    keyed.sort_by(|(a, _), (b, _)| match (a, b) {
        (Key::Text(a), Key::Text(b)) => turn(a.cmp(b)),
        (Key::Owned(a), Key::Owned(b)) => turn(a.cmp(b)),
        (Key::Number(Some(a)), Key::Number(Some(b))) => turn(b.total_cmp(a)),
        (Key::Number(a), Key::Number(b)) => b.is_some().cmp(&a.is_some()),
        _ => Ordering::Equal,
    });
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// Where a table of so many rows goes, and so many lines beneath it after an empty one. The table comes first: what stands
/// beneath it only takes room that is left over.
pub(super) fn above(area: Rect, rows: usize, below: usize) -> [Rect; 2] {
    let spare = usize::from(area.height).saturating_sub(rows.min(8) + 3);
    let height = below.min(spare) as u16;
    let [upper, _, lower] = Layout::vertical([
        Constraint::Min(1),
        Constraint::Length(height.min(1)),
        Constraint::Length(height),
    ])
    .areas(area);
    [upper, lower]
}

/// Draws header and visible rows; the selected row is kept in the middle where the table is longer than the screen.
pub(super) fn draw(
    frame: &mut Frame,
    area: Rect,
    spec: &Spec,
    cx: &Context,
    state: &TableState,
    rows: &[usize],
) {
    if area.is_empty() {
        return;
    }
    let height = usize::from(area.height.saturating_sub(1));
    let position = state.position(spec, cx, rows);
    let first = position
        .saturating_sub(height / 2)
        .min(rows.len().saturating_sub(height));
    let long = rows.len() > height;
    let spacing = if area.width < 100 { 1 } else { 2 };
    // Two columns for the mark before the first, one for the scroll bar at the right.
    let fitted = fit(spec.columns, area.width.saturating_sub(3), spacing);

    let header = fitted
        .iter()
        .map(|&(i, width)| header(&spec.columns[i], width, state, i));
    let header = Row::new(marked(header, Span::raw("  ")));
    let visible = rows.iter().enumerate().skip(first).take(height);
    let body = visible.map(|(at, &row)| {
        let selected = at == position;
        let mark = Span::styled(if selected { "▸ " } else { "  " }, ACCENT);
        let cells = fitted
            .iter()
            .map(|&(i, width)| cell(&spec.columns[i], width, cx, row, selected));
        Row::new(marked(cells, mark))
    });
    let widths = fitted
        .iter()
        .enumerate()
        .map(|(at, &(_, width))| if at == 0 { width + 2 } else { width });
    let table = Table::new(body.collect::<Vec<_>>(), widths.map(Constraint::Length))
        .header(header)
        .column_spacing(spacing);
    let table_area = Rect {
        width: area.width.saturating_sub(1),
        ..area
    };
    frame.render_widget(table, table_area);
    if long && height > 2 {
        let bar = Scrollbar::new(ScrollbarOrientation::VerticalRight)
            .begin_symbol(None)
            .end_symbol(None)
            .track_symbol(Some("│"))
            .thumb_symbol("█")
            .style(DIM);
        let mut bar_state = ScrollbarState::new(rows.len().saturating_sub(height))
            .viewport_content_length(height)
            .position(first);
        let bar_area = Rect {
            y: area.y + 1,
            height: area.height - 1,
            ..area
        };
        frame.render_stateful_widget(bar, bar_area, &mut bar_state);
    }
}

/// The cells of a row, the first one behind a mark.
fn marked(
    lines: impl Iterator<Item = Line<'static>>,
    mark: Span<'static>,
) -> impl Iterator<Item = Cell<'static>> {
    lines.enumerate().map(move |(at, mut line)| {
        if at == 0 {
            line.spans.insert(0, mark.clone());
        }
        Cell::from(Text::from(line))
    })
}

/// Width below which names say nothing.
const NAME: u16 = 8;
/// Columns of a larger rank give way before names shrink.
const DEAR: u8 = 3;

/// Which columns are shown, and how wide: those of the largest rank go first, spare room is shared out.
fn fit(columns: &[ColumnSpec], room: u16, spacing: u16) -> Vec<(usize, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let mut least: Vec<u16> = columns.iter().map(|column| column.min).collect();
    let need =
        |kept: &[usize], least: &[u16]| -> u16 { kept.iter().map(|&i| least[i] + spacing).sum() };
    for dear in [DEAR, 0] {
        while need(&kept, &least) > room {
            let Some((at, &last)) = kept
                .iter()
                .enumerate()
                .max_by_key(|(_, i)| columns[**i].rank)
            else {
                break;
            };
            if columns[last].rank <= dear {
                break;
            }
            kept.remove(at);
        }
        if need(&kept, &least) > room {
            for (least, column) in least.iter_mut().zip(columns) {
                if column.rank == 0 {
                    *least = NAME.min(column.min);
                }
            }
        }
    }
    let spare = room.saturating_sub(need(&kept, &least));
    let wanted: Vec<f64> = kept
        .iter()
        .map(|&i| f64::from(columns[i].max - least[i]))
        .collect();
    let total = wanted.iter().sum::<f64>().min(f64::from(spare));
    let extra = chart::apportion(&wanted, total as usize);
    let widths = kept.iter().zip(extra);
    widths
        .map(|(&i, extra)| (i, least[i] + extra as u16))
        .collect()
}

fn alignment(content: &Content) -> Alignment {
    match content {
        Content::Number(..) => Alignment::Right,
        Content::Marked(_, _, alignment) => *alignment,
        _ => Alignment::Left,
    }
}

fn header(column: &ColumnSpec, width: u16, state: &TableState, index: usize) -> Line<'static> {
    let room = usize::from(width);
    let mut line = Line::from(text::clip_end(column.heading.title, room));
    if state.sort == index {
        // The arrow replaces a letter only where the title leaves it no room.
        let title = text::clip_end(column.heading.title, room.saturating_sub(1));
        let arrow = if state.reversed { '▴' } else { '▾' };
        line = Line::from(format!("{title}{arrow}")).style(STRONG);
    }
    line.patch_style(ACCENT)
        .alignment(alignment(&column.content))
}

fn cell(
    column: &ColumnSpec,
    width: u16,
    cx: &Context,
    row: usize,
    selected: bool,
) -> Line<'static> {
    let room = usize::from(width);
    let line = match &column.content {
        Content::Name(name) => {
            let style = if selected { SELECTED } else { STRONG };
            Line::from(Span::styled(text::clip(name(cx, row), room), style))
        }
        Content::Text(text) => Line::from(text::clip_end(&text(cx, row), room)),
        Content::Number(value, show) => Line::from(match value(cx, row) {
            None => Span::styled(UNKNOWN, DIM),
            Some(value) => {
                let style = if value == 0.0 { DIM } else { PLAIN };
                Span::styled(show(value), style)
            }
        }),
        Content::Marked(_, show, _) => Line::from(show(cx, row)),
        Content::Parts(parts) => match parts(cx, row) {
            Some(parts) => Line::from(chart::parts_bar(&parts, room)),
            None => Line::from(Span::styled(UNKNOWN, DIM)),
        },
        Content::History(past) => Line::from(chart::sparkline(&past(cx, row, room), room)),
    };
    line.alignment(alignment(&column.content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(title: &'static str, min: u16, max: u16, rank: u8) -> ColumnSpec {
        ColumnSpec {
            heading: Heading { title, help: "" },
            min,
            max,
            rank,
            content: Content::Text(|_, _| String::new()),
        }
    }

    #[test]
    fn columns_give_way_by_rank_and_share_spare_room() {
        let columns = [
            column("name", 8, 18, 0),
            column("rate", 7, 7, 1),
            column("bar", 10, 40, 3),
            column("cpi", 5, 5, 2),
        ];
        let widths = |room| fit(&columns, room, 1);
        assert_eq!(widths(34), [(0, 8), (1, 7), (2, 10), (3, 5)]);
        assert_eq!(widths(33), [(0, 18), (1, 7), (3, 5)]);
        assert_eq!(widths(12), [(0, 11)]);
        assert_eq!(widths(0), [(0, 8)]);
        let wide: u16 = widths(50).iter().map(|(_, width)| width + 1).sum();
        assert_eq!(wide, 50);
        let widest: Vec<u16> = widths(200).iter().map(|(_, width)| *width).collect();
        assert_eq!(widest, [18, 7, 40, 5]);
    }
}
