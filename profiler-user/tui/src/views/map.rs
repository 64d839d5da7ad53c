//! The map: who calls whom, with roundtrips per request on the arrows and the time in each court under its name.
//!
//! In: the snapshot's edges. Out: a graph from left to right, or an indented tree where that has no room.
//! Must not know: keys, other views.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    component_busy, component_count, component_id, component_matches, component_name, request,
};
use crate::{
    chart,
    filter::Filter,
    graph::{self, Link, Node, Picture, Placed, Spacing},
    shown::{Shown, kind},
    style::{ACCENT, DIM, LINE, PLAIN, SELECTED, STRONG, WARN},
    table::{ColumnSpec, Content, Context, Spec},
    text,
};
use courtside_core::{
    model::{fields::Heading, snapshot::Court},
    units,
};

/// Rows are components; what the map shows of them is drawn, the columns only explain it.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 0,
    len: component_count,
    id: component_id,
    matches: component_matches,
    busy: component_busy,
};

static COLUMNS: [ColumnSpec; 3] = [
    ColumnSpec {
        heading: Heading {
            title: "on an arrow",
            help: "roundtrips for one request at the entry, or per second (/s) without an entry; ≥ is a lower bound",
        },
        min: 8,
        max: 8,
        rank: 0,
        content: Content::Name(component_name),
    },
    ColumnSpec {
        heading: Heading {
            title: "under a name",
            help: "time of one request in its court, + the time it was unread or held there (− calls in parallel), and the parts of the time in its court",
        },
        min: 8,
        max: 8,
        rank: 0,
        content: Content::Text(|_, _| String::new()),
    },
    ColumnSpec {
        heading: Heading {
            title: "↺",
            help: "drawn already, or a call back to the caller",
        },
        min: 8,
        max: 8,
        rank: 0,
        content: Content::Text(|_, _| String::new()),
    },
];

/// All edges between two components as one.
#[derive(Default)]
struct Arrow {
    roundtrips: u64,
    per_request: Option<f64>,
    lower_bound: bool,
}

impl Arrow {
    fn label(&self, shown: &Shown) -> String {
        let bound = if self.lower_bound { "≥" } else { "" };
        match self.per_request {
            Some(ratio) => format!("{bound}{}", units::ratio(Some(ratio))),
            None => format!(
                "{bound}{}/s",
                units::rate(shown.per_second(self.roundtrips))
            ),
        }
    }
}

/// One line of the tree.
struct Row {
    component: usize,
    /// Who calls it in this line.
    parent: Option<usize>,
    /// For each level above: whether more siblings follow there.
    more: Vec<bool>,
    /// Its own calls are shown elsewhere.
    again: bool,
}

/// Who calls whom, as a tree with every call in exactly one line.
pub(crate) struct Map {
    arrows: BTreeMap<(usize, usize), Arrow>,
    rows: Vec<Row>,
    /// Calls that lead back to a caller.
    back: BTreeSet<(usize, usize)>,
}

impl Map {
    /// The calls in which at least one end matches.
    pub(crate) fn of(cx: &Context, filter: &Filter) -> Self {
        let mut arrows: BTreeMap<(usize, usize), Arrow> = BTreeMap::new();
        let count = component_count(cx);
        let matching: Vec<bool> = (0..count)
            .map(|row| filter.is_empty() || component_matches(cx, row, filter))
            .collect();
        for edge in &cx.shown.snapshot.edges {
            let ends = (cx.shown.component(&edge.from), cx.shown.component(&edge.to));
            let (Some(from), Some(to)) = ends else {
                continue;
            };
            if !(matching[from] || matching[to]) {
                continue;
            }
            let arrow = arrows.entry((from, to)).or_default();
            arrow.roundtrips += edge.roundtrips;
            arrow.lower_bound |= edge.lower_bound;
            if let Some(ratio) = edge.roundtrips_per_request {
                arrow.per_request = Some(arrow.per_request.unwrap_or(0.0) + ratio);
            }
        }
        let mut map = Self {
            arrows,
            rows: Vec::new(),
            back: BTreeSet::new(),
        };
        map.grow(cx);
        map
    }

    /// Walks from the components that no other calls; a circle that is not reached from these begins at its first name.
    fn grow(&mut self, cx: &Context) {
        let name = |&row: &usize| cx.shown.name_at(row);
        let mut calls: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut called = HashSet::new();
        for &(from, to) in self.arrows.keys() {
            calls.entry(from).or_default().push(to);
            calls.entry(to).or_default();
            if from != to {
                called.insert(to);
            }
        }
        for to in calls.values_mut() {
            to.sort_by(|a, b| name(a).cmp(name(b)));
        }
        let mut starts: Vec<usize> = calls.keys().copied().collect();
        starts.sort_by(|a, b| (called.contains(a), name(a)).cmp(&(called.contains(b), name(b))));
        let mut seen = HashSet::new();
        for start in starts {
            if seen.contains(&start) {
                continue;
            }
            // A stack, not recursion: nobody limits how deep services call each other.
            let mut path: Vec<usize> = Vec::new();
            let mut stack = vec![Row {
                component: start,
                parent: None,
                more: Vec::new(),
                again: false,
            }];
            while let Some(mut row) = stack.pop() {
                path.truncate(row.more.len());
                if path.contains(&row.component) {
                    self.back
                        .extend(row.parent.map(|parent| (parent, row.component)));
                }
                row.again = !seen.insert(row.component);
                if !row.again {
                    let to = calls.get(&row.component).map_or(&[][..], Vec::as_slice);
                    for (i, &component) in to.iter().enumerate().rev() {
                        let mut more = row.more.clone();
                        more.push(i + 1 < to.len());
                        stack.push(Row {
                            component,
                            parent: Some(row.component),
                            more,
                            again: false,
                        });
                    }
                }
                path.push(row.component);
                self.rows.push(row);
            }
        }
    }

    /// Components in the order of the tree, each once.
    pub(crate) fn order(&self) -> Vec<usize> {
        self.rows
            .iter()
            .filter(|row| !row.again)
            .map(|row| row.component)
            .collect()
    }
}

/// Time of a request in a component's court, at the entry that serves most.
fn court(shown: &Shown, component: usize) -> Option<&Court> {
    let id = &shown.snapshot.components[component].id;
    shown
        .main_entry()?
        .courts
        .iter()
        .find(|court| court.component == *id)
}

/// Its turnarounds, and what lay unread or was held beside them.
fn court_text(court: &Court) -> String {
    let beside = court.all_ns() - court.turnaround_ns;
    let time = units::duration_f64(court.turnaround_ns);
    if beside.abs() < 1.0 || beside.abs() < 0.01 * court.turnaround_ns {
        return time;
    }
    let sign = if beside < 0.0 { "−" } else { "+" };
    format!("{time} {sign}{}", units::duration_f64(beside.abs()))
}

/// Draws the map with the selected component marked, and beneath it where a request's time went.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    map: &Map,
    selected: Option<usize>,
) {
    let width = usize::from(area.width);
    let mut request = request::lines(cx.shown, width, usize::from(area.height / 3));
    if !request.is_empty() {
        request.extend(request::legend(cx.shown, width));
    }
    let request_height = match request.len() {
        0 => 0,
        lines => lines as u16 + 1,
    };
    let [upper, lower] =
        Layout::vertical([Constraint::Min(1), Constraint::Length(request_height)]).areas(area);
    match picture(cx, map, upper) {
        Some((picture, nodes)) => draw_graph(frame, upper, cx, map, selected, &picture, &nodes),
        None => draw_tree(frame, upper, cx, map, selected),
    }
    let lower = Rect {
        y: lower.y + lower.height.min(1),
        height: lower.height.saturating_sub(1),
        ..lower
    };
    frame.render_widget(Paragraph::new(request), lower);
}

/// Widest name in a box.
const NAME: usize = 18;
/// Longest that arrows grow where there is room.
const STRETCH: usize = 6;
/// More boxes than this are no picture.
const BOXES: usize = 40;

/// The most spacious layout that fits, and the components of its boxes.
fn picture(cx: &Context, map: &Map, area: Rect) -> Option<(Picture, Vec<usize>)> {
    let order = map.order();
    if order.len() > BOXES {
        return None;
    }
    let at = |component| order.iter().position(|&other| other == component);
    let mut links = Vec::new();
    for (&(from, to), arrow) in forward(map) {
        links.push(Link {
            from: at(from)?,
            to: at(to)?,
            label: text::width(&arrow.label(cx.shown)),
        });
    }
    let back = usize::from(!map.back.is_empty());
    let (width, height) = (
        usize::from(area.width).checked_sub(2)?,
        usize::from(area.height).checked_sub(back)?,
    );
    [(3, 1), (3, 0), (2, 0)]
        .into_iter()
        .find_map(|(rows, gap)| {
            let node = |&component: &usize| Node {
                width: text::width(cx.shown.name_at(component))
                    .max(court(cx.shown, component).map_or(0, |c| text::width(&court_text(c))))
                    .clamp("container".len(), NAME),
                rows,
            };
            let nodes: Vec<Node> = order.iter().map(node).collect();
            let tight = Spacing {
                rows: gap,
                columns: 0,
            };
            let picture = graph::lay_out(&nodes, &links, tight)?;
            let spare = width.checked_sub(picture.width)?;
            if picture.height > height {
                return None;
            }
            let columns = (spare / picture.layers.max(2).saturating_sub(1)).min(STRETCH);
            let roomy = graph::lay_out(&nodes, &links, Spacing { columns, ..tight })?;
            Some((roomy, order.clone()))
        })
}

/// The calls that do not lead back.
fn forward(map: &Map) -> impl Iterator<Item = (&(usize, usize), &Arrow)> {
    map.arrows
        .iter()
        .filter(|(ends, _)| !map.back.contains(ends))
}

fn draw_graph(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    map: &Map,
    selected: Option<usize>,
    picture: &Picture,
    nodes: &[usize],
) {
    // A small picture stands a little below the top, not in the corner.
    let spare = area.height.saturating_sub(picture.height as u16 + 1);
    let area = Rect {
        y: area.y + spare / 4,
        height: area.height - spare / 4,
        ..area
    };
    let buffer = frame.buffer_mut();
    let at = |x: usize, y: usize| (area.x + 1 + x as u16, area.y + y as u16);
    for &(x, y, glyph) in &picture.wires {
        let (x, y) = at(x, y);
        buffer[(x, y)].set_char(glyph).set_style(LINE);
    }
    for ((_, arrow), &(x, y)) in forward(map).zip(&picture.labels) {
        let (x, y) = at(x, y);
        let style = if arrow.lower_bound { WARN } else { STRONG };
        buffer.set_string(x, y, arrow.label(cx.shown), style);
    }
    let entry = cx.shown.main_entry().map(|entry| &entry.component);
    for (placed, &component) in picture.boxes.iter().zip(nodes) {
        let chosen = selected == Some(component);
        let is_entry = entry == Some(&cx.shown.snapshot.components[component].id);
        let Placed { width, height, .. } = *placed;
        let room = width - 4;
        let frame_style = if chosen { ACCENT } else { DIM };
        let title = if is_entry { "─ entry " } else { "" };
        let rest = "─".repeat(width - 2 - text::width(title));
        let (x, y) = at(placed.x, placed.y);
        buffer.set_string(x, y, format!("╭{title}{rest}╮"), frame_style);
        let bottom = format!("╰{}╯", "─".repeat(width - 2));
        buffer.set_string(x, y + height as u16 - 1, bottom, frame_style);
        let name_style = if chosen { SELECTED } else { STRONG };
        let name = Span::styled(text::clip(cx.shown.name_at(component), room), name_style);
        let court = court(cx.shown, component);
        let time = match court {
            Some(court) => Line::styled(court_text(court), PLAIN),
            None => Line::styled(kind(&cx.shown.snapshot.components[component]), DIM),
        };
        let bar = court.map_or(Vec::new(), |court| chart::parts_bar(&court.parts, room));
        let mut contents = vec![Line::from(name), time, Line::from(bar)];
        contents.resize(height - 2, Line::default());
        for (row, line) in contents.iter().enumerate() {
            let y = y + 1 + row as u16;
            buffer.set_string(x, y, "│", frame_style);
            buffer.set_string(x + width as u16 - 1, y, "│", frame_style);
            buffer.set_line(x + 2, y, line, room as u16);
        }
    }
    let back: Vec<String> = map
        .back
        .iter()
        .filter_map(|ends| Some((ends, map.arrows.get(ends)?)))
        .map(|(&(from, to), arrow)| {
            let (from, to) = (cx.shown.name_at(from), cx.shown.name_at(to));
            format!("↺ {from} ──{}──▶ {to}", arrow.label(cx.shown))
        })
        .collect();
    if !back.is_empty() {
        let line = text::clip_end(&back.join("   "), usize::from(area.width.saturating_sub(2)));
        buffer.set_string(area.x + 1, area.bottom() - 1, line, DIM);
    }
}

fn draw_tree(frame: &mut Frame, area: Rect, cx: &Context, map: &Map, selected: Option<usize>) {
    let height = usize::from(area.height);
    let chosen = |row: &Row| !row.again && Some(row.component) == selected;
    let position = map.rows.iter().position(chosen).unwrap_or(0);
    let first = position
        .saturating_sub(height / 2)
        .min(map.rows.len().saturating_sub(height));
    let rows = map.rows.iter().skip(first).take(height);
    let lines = rows.map(|row| tree_line(cx, map, row, chosen(row), usize::from(area.width)));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn tree_line(cx: &Context, map: &Map, row: &Row, selected: bool, width: usize) -> Line<'static> {
    let mut branch = String::from(if selected { "▸ " } else { "  " });
    // The right end belongs to the time; what is deeper than the screen is wide keeps its innermost levels.
    let depth = row.more.len();
    let levels = (width.saturating_sub(40) / 3).max(3);
    if let Some((own, above)) = row.more.split_last() {
        for more in &above[depth.saturating_sub(levels).min(above.len())..] {
            branch.push_str(if *more { "│  " } else { "   " });
        }
        branch.push_str(if *own { "├" } else { "└" });
    }
    let arrow = row
        .parent
        .and_then(|parent| map.arrows.get(&(parent, row.component)));
    let (label, style) = match arrow {
        Some(arrow) => {
            let style = if arrow.lower_bound { WARN } else { PLAIN };
            (format!("{:─>6}─▶ ", arrow.label(cx.shown)), style)
        }
        None => (String::new(), PLAIN),
    };
    let time = match court(cx.shown, row.component) {
        Some(court) if !row.again => units::duration_f64(court.turnaround_ns),
        _ if row.again => "↺".to_owned(),
        _ => String::new(),
    };
    let taken = text::width(&branch) + text::width(&label) + units::WIDTH + 3;
    let name = text::clip(cx.shown.name_at(row.component), width.saturating_sub(taken));
    let name_style: Style = match (selected, row.again) {
        (true, _) => SELECTED,
        (_, true) => DIM,
        _ => STRONG,
    };
    let gap = width.saturating_sub(taken + text::width(&name));
    // Times stand beside names in a column of their own, but not across the whole of a wide screen.
    let gap = gap.min(
        44_usize.saturating_sub(text::width(&branch) + text::width(&label) + text::width(&name)),
    );
    Line::from(vec![
        Span::styled(branch, LINE),
        Span::styled(label, style),
        Span::styled(name, name_style),
        Span::raw(" ".repeat(gap)),
        Span::styled(format!(" {time:>width$}", width = units::WIDTH), PLAIN),
    ])
}
