//! The screen: status, tabs, the view, hints.
//!
//! In: a [`UiState`]. Out: cells. Must not know: the terminal, the clock; never changes the state.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    help,
    state::{DashboardView, UiState},
    style::{self, ACCENT, BAD, DIM, GOOD, PLAIN, SELECTED, STRONG, WARN},
    table, text,
    views::{self, map::Map},
};
use courtside_core::{frame::PmuState, model::words::unmatched, units};

/// Smallest screen that anything useful fits on.
const SMALLEST: (u16, u16) = (30, 8);

/// Draws the whole screen.
pub fn render(frame: &mut Frame, state: &UiState) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("terminal too small, {}×{} needed", SMALLEST.0, SMALLEST.1);
        let text = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
        frame.render_widget(text, area);
    } else {
        draw(frame, area, state);
    }
    style::degrade(frame.buffer_mut(), state.theme);
}

fn draw(frame: &mut Frame, area: Rect, state: &UiState) {
    let status = status(state, area);
    let [top, tabs_area, body, bottom] = Layout::vertical([
        Constraint::Length(status.len() as u16),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(status), top);
    frame.render_widget(tabs(state, tabs_area.width), tabs_area);
    let body = Rect {
        y: body.y + 1,
        height: body.height.saturating_sub(1),
        ..body
    };
    draw_body(frame, body, state);
    frame.render_widget(footer(state, bottom.width), bottom);
}

fn draw_body(frame: &mut Frame, area: Rect, state: &UiState) {
    if let Some(first) = state.help {
        let lines = help::lines(state.view, usize::from(area.width), state.replay.is_some());
        let last = lines.len().saturating_sub(usize::from(area.height)) as u16;
        frame.render_widget(Paragraph::new(lines).scroll((first.min(last), 0)), area);
        return;
    }
    let cx = state.context();
    let rows = state.rows();
    if let Some(text) = nothing(state, &rows) {
        let text = Paragraph::new(text).style(DIM).centered();
        let middle = Rect {
            y: area.y + area.height / 3,
            height: area.height - area.height / 3,
            ..area
        };
        frame.render_widget(text.wrap(ratatui::widgets::Wrap { trim: true }), middle);
        return;
    }
    match state.view {
        DashboardView::Findings => views::findings::draw(frame, area, &cx, state.table(), &rows),
        DashboardView::Health => views::health::draw(frame, area, &cx, state.table(), &rows),
        DashboardView::Turnaround => {
            views::turnaround::draw(frame, area, &cx, state.table(), &rows);
        }
        DashboardView::Map => {
            let map = Map::of(&cx, &state.filter);
            views::map::draw(frame, area, &cx, &map, state.selected());
        }
        DashboardView::Components => {
            views::components::draw(frame, area, &cx, state.table(), &rows);
        }
        DashboardView::Cpu if state.open => draw_open(frame, area, state),
        DashboardView::Cpu => views::cpu::draw(frame, area, &cx, state.table(), &rows),
        DashboardView::Edges if state.open => draw_open(frame, area, state),
        DashboardView::Neighbours if state.open => draw_open(frame, area, state),
        DashboardView::Tail => views::tail::draw(frame, area, &cx, state.table(), &rows),
        DashboardView::Parallel => views::parallel::draw(frame, area, &cx, state.table(), &rows),
        DashboardView::Neighbours => {
            views::neighbours::draw(frame, area, &cx, state.table(), &rows);
        }
        view => table::draw(frame, area, view.spec(), &cx, state.table(), &rows),
    }
}

/// Draws the selected edge or component by itself, or says that it is not there in this window.
fn draw_open(frame: &mut Frame, area: Rect, state: &UiState) {
    let cx = state.context();
    let pinned = state.table().selected.as_ref().map(|(id, _)| id);
    let row = state
        .selected()
        .filter(|&row| Some(&(state.view.spec().id)(&cx, row)) == pinned);
    let nothing = match (row, state.view) {
        (Some(row), DashboardView::Neighbours) => {
            return views::victim::draw(frame, area, &cx, row);
        }
        (Some(row), DashboardView::Cpu) => {
            let recorded = state.replay.is_some();
            return views::threads::draw(frame, area, &cx, row, recorded);
        }
        (Some(row), _) => return views::edge::draw(frame, area, &cx, row),
        (None, DashboardView::Cpu | DashboardView::Neighbours) => {
            " This component did nothing in this window. Esc goes back."
        }
        (None, _) => " No traffic on this edge in this window. Esc goes back.",
    };
    frame.render_widget(Paragraph::new(nothing).style(DIM), area);
}

/// What to say instead of an empty table.
fn nothing(state: &UiState, rows: &[usize]) -> Option<String> {
    let target = state.context().target;
    match state.view {
        _ if !rows.is_empty() => return None,
        DashboardView::Health if state.filter.is_empty() => return None,
        DashboardView::Turnaround if target.is_some() => return None,
        DashboardView::Edges | DashboardView::Cpu | DashboardView::Neighbours if state.open => {
            return None;
        }
        _ => {}
    }
    let words = match state.view {
        DashboardView::Tail => state.whole.tail.words(),
        DashboardView::Parallel => state.whole.parallel.words(),
        _ => None,
    };
    if let Some(words) = words {
        return Some(words);
    }
    Some(if state.shown().windows == 0 {
        "Measuring the first window…".to_owned()
    } else if state.view == DashboardView::Turnaround && state.target.is_some() {
        "This component did nothing in this window. Esc goes back, ← → go to others.".to_owned()
    } else if !state.filter.is_empty() {
        format!(
            "Nothing matches “{}”. Esc clears the filter.",
            state.filter_text
        )
    } else if let Some(said) = unmatched(&state.shown().snapshot) {
        said
    } else if state.view == DashboardView::Findings {
        views::findings::NOTHING.to_owned()
    } else if state.view == DashboardView::Tail {
        "The slowest requests differ in nothing from the median.".to_owned()
    } else {
        "No traffic seen yet.\nComponents appear as soon as one of them sends, receives or runs."
            .to_owned()
    })
}

/// A piece of a line that may be said shorter, or not at all where room is short.
struct Piece {
    long: Line<'static>,
    short: Line<'static>,
    /// Pieces of the largest rank shorten first, and go first.
    rank: u8,
}

impl Piece {
    fn new(long: impl Into<String>, short: impl Into<String>, style: Style, rank: u8) -> Self {
        Self {
            long: Line::styled(long.into(), style),
            short: Line::styled(short.into(), style),
            rank,
        }
    }
}

/// As many pieces as fit, shortened as little as possible, two columns apart. The flag tells whether all are there.
fn fit(pieces: &[Piece], room: usize) -> (Line<'static>, bool) {
    // 0 = gone, 1 = short, 2 = long.
    let mut sizes = vec![2_u8; pieces.len()];
    let line = |sizes: &[u8]| {
        let mut spans = Vec::new();
        for (piece, size) in pieces.iter().zip(sizes) {
            let text = match size {
                0 => continue,
                1 => &piece.short,
                _ => &piece.long,
            };
            if text.width() > 0 {
                spans.push(Span::raw(if spans.is_empty() { " " } else { "  " }));
                spans.extend(
                    text.spans
                        .iter()
                        .map(|span| span.clone().patch_style(text.style)),
                );
            }
        }
        Line::from(spans)
    };
    for limit in [2, 1] {
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(pieces[i].rank));
        for i in order {
            if line(&sizes).width() <= room {
                break;
            }
            if pieces[i].rank > 0 || limit == 2 {
                sizes[i] = limit - 1;
            }
        }
    }
    (line(&sizes), !sizes.contains(&0))
}

/// The status: one line, or two where one has no room for all of it.
fn status(state: &UiState, area: Rect) -> Vec<Line<'static>> {
    let shown = state.shown();
    let snapshot = &shown.snapshot;
    let interval = units::duration(state.interval.as_nanos() as u64);
    // A round interval needs no fraction.
    let interval = interval
        .replace(".00", "")
        .replace(".0", "")
        .replace(' ', "");
    let (word, style) = if state.replay.is_some() {
        ("REPLAY", GOOD)
    } else if state.paused() {
        (
            " PAUSED ",
            WARN.add_modifier(ratatui::style::Modifier::REVERSED),
        )
    } else {
        ("LIVE", GOOD)
    };
    let (long, short) = match &state.replay {
        Some(replay) => {
            let at = format!("{}/{}", replay.number, replay.windows.saturating_sub(1));
            let how = if replay.playing {
                replay.speed_text()
            } else {
                "stopped".to_owned()
            };
            let clock = replay.clock(snapshot.window.start_unix_ns);
            (format!(" {clock}  {at}  {how}"), format!(" {clock} {at}"))
        }
        None => (format!(" {interval}"), format!(" {interval}")),
    };
    let [live, live_short] =
        [long, short].map(|rest| Line::from(vec![Span::styled(word, style), Span::raw(rest)]));
    let kernel = &snapshot.host.kernel;
    let release: String = kernel.split(['-', '+']).next().unwrap_or("").to_owned();
    let host = text::clip(&snapshot.host.hostname, 20);
    let count = |count: usize, one: &str, many: &str| {
        format!(
            "{} {}",
            units::count(count as u64),
            if count == 1 { one } else { many }
        )
    };
    let (components, edges) = (snapshot.components.len(), snapshot.edges.len());
    let counts = [
        format!(
            "{}  {}",
            count(components, "component", "components"),
            count(edges, "edge", "edges")
        ),
        format!(
            "{} {}",
            count(components, "comp", "comp"),
            count(edges, "edge", "edges")
        ),
    ];
    let [counts, counts_short] = counts;
    let mut identity = vec![
        Piece::new("courtside", "", STRONG, 5),
        Piece {
            long: live,
            short: live_short,
            rank: 0,
        },
        Piece::new(
            format!("{host} {}", text::clip(kernel, 24)),
            format!("{} {}", text::clip(&host, 12), text::clip(&release, 8)),
            PLAIN,
            3,
        ),
        Piece::new(counts, counts_short, PLAIN, 2),
    ];

    let lost = views::health::lost(snapshot);
    let midlife = snapshot.quality.midlife_connections;
    let own = views::health::own_cpu(shown);
    let (pmu, pmu_style) = match snapshot.quality.pmu.state {
        PmuState::Ok => ("PMU ok".to_owned(), PLAIN),
        PmuState::Multiplexed => {
            let ratio = snapshot
                .quality
                .pmu
                .running_ratio
                .map_or(String::new(), units::percent);
            (format!("PMU {ratio}"), WARN)
        }
        PmuState::None => ("PMU none".to_owned(), DIM),
        PmuState::Disabled => ("PMU off".to_owned(), DIM),
    };
    let failed = snapshot.quality.probes.iter().filter(|probe| {
        use courtside_core::frame::ProbeState::{Degraded, Failed};
        matches!(probe.state, Degraded | Failed)
    });
    let failed = failed.count() as u64;
    let when = |bad: bool, style| if bad { style } else { DIM };
    let probes = match failed {
        0 => Line::default(),
        n => Line::styled(format!("probes ≈{n}"), WARN),
    };
    let findings = &snapshot.findings;
    // The first one may be what makes a worse one.
    let worst = findings.iter().map(|finding| finding.severity).max();
    identity.extend(worst.map(|worst| {
        let number = DashboardView::Findings.key();
        let said = count(findings.len(), "finding", "findings");
        let style = views::findings::severity(worst).1;
        Piece::new(format!("{said}: key {number}"), said, style, 1)
    }));
    let trust = [
        Piece::new(
            format!("lost {}", units::count(lost)),
            format!("lost {}", units::count(lost)),
            when(lost > 0, BAD),
            0,
        ),
        Piece {
            long: probes.clone(),
            short: probes,
            rank: 1,
        },
        Piece::new(
            format!("midlife {}", units::count(midlife)),
            format!("mid {}", units::count(midlife)),
            when(midlife > 0, PLAIN),
            4,
        ),
        Piece::new(format!("self {own}"), format!("self {own}"), DIM, 3),
        Piece::new(pmu.clone(), pmu, pmu_style, 4),
    ];

    let room = usize::from(area.width);
    let (left, left_whole) = fit(&identity, room);
    let (right, right_whole) = fit(&trust, room);
    let gap = room.saturating_sub(left.width() + right.width() + 1);
    if left.width() + right.width() + 3 <= room && left_whole && right_whole {
        return vec![join(left, gap, right)];
    }
    let all: Vec<Piece> = identity.into_iter().chain(trust).collect();
    let (line, whole) = fit(&all, room);
    if whole || area.height < 12 {
        return vec![line];
    }
    vec![left, right]
}

fn join(mut left: Line<'static>, gap: usize, right: Line<'static>) -> Line<'static> {
    left.spans.push(Span::raw(" ".repeat(gap)));
    left.spans.extend(right.spans);
    left
}

/// The views by number, the current one marked; at the right the entry.
fn tabs(state: &UiState, width: u16) -> Line<'static> {
    let room = usize::from(width);
    let tab = |view: DashboardView, name: &str| {
        let text = match name {
            "" => format!(" {} ", view.key()),
            name => format!(" {} {name} ", view.key()),
        };
        let style = if view == state.view { SELECTED } else { PLAIN };
        Span::styled(text, style)
    };
    let names: [fn(DashboardView, bool) -> &'static str; 3] = [
        |view, _| view.names().0,
        |view, _| view.names().1,
        |view, current| if current { view.names().0 } else { "" },
    ];
    let candidates = names.map(|name| {
        let views = state.views().iter();
        Line::from_iter(views.map(|&view| tab(view, name(view, view == state.view))))
    });
    let line = candidates
        .iter()
        .find(|line| line.width() <= room)
        .unwrap_or(&candidates[2]);
    let entry = state.shown().main_entry().map_or(String::new(), |entry| {
        let name = text::clip(state.shown().name(&entry.component), 20);
        match entry.port {
            0 => format!("entry {name} "),
            port => format!("entry {name}:{port} "),
        }
    });
    let right = Line::from(Span::styled(entry, DIM));
    match room.checked_sub(line.width() + right.width() + 1) {
        Some(gap) => join(line.clone(), gap + 1, right),
        None => line.clone(),
    }
}

/// The bottom line: what is being typed, what just happened, or what the keys do; at the right the position.
fn footer(state: &UiState, width: u16) -> Line<'static> {
    let room = usize::from(width);
    let rows = state.rows();
    let position = state
        .table()
        .position(state.view.spec(), &state.context(), &rows);
    let position = match rows.len() {
        0 => String::new(),
        n => format!("{}/{n} ", position + 1),
    };
    let typing = state.replay.as_ref().and_then(|r| r.typing.as_ref());
    let left = if let (Some(text), None) = (typing, &state.message) {
        Line::from(vec![
            Span::styled(" J ", ACCENT),
            Span::styled(text::clip_end(text, room.saturating_sub(12)), STRONG),
            Span::styled("▏", ACCENT),
            Span::styled("  14:03:22, +90s, -5m, 50%, or a number", DIM),
        ])
    } else if state.editing {
        let hint = "  words or key:value, Enter keeps, Esc clears";
        Line::from(vec![
            Span::styled(" / ", ACCENT),
            Span::styled(
                text::clip_end(&state.filter_text, room.saturating_sub(12)),
                STRONG,
            ),
            Span::styled("▏", ACCENT),
            Span::styled(hint, DIM),
        ])
    } else if let Some(message) = &state.message {
        let style = if message.bad { BAD } else { GOOD };
        Line::styled(format!(" {}", message.text), style)
    } else if state.help.is_some() {
        Line::styled(" j k scroll, any other key closes", DIM)
    } else {
        hints(state, room.saturating_sub(position.len() + 1))
    };
    let mut line = Line::default();
    let mut left_room = room.saturating_sub(position.len() + 1);
    for span in left.spans {
        let text = text::clip_end(&span.content, left_room);
        left_room -= text::width(&text);
        line.spans
            .push(Span::styled(text, left.style.patch(span.style)));
    }
    line.spans.push(Span::raw(" ".repeat(left_room + 1)));
    line.spans.push(Span::styled(position, DIM));
    line
}

fn hints(state: &UiState, room: usize) -> Line<'static> {
    let key = |key: &'static str, what: &'static str, rank| {
        let line = Line::from(vec![
            Span::styled(key, ACCENT),
            Span::styled(format!(" {what}"), DIM),
        ]);
        Piece {
            short: line.clone(),
            long: line,
            rank,
        }
    };
    let filter = if state.filter.is_empty() {
        key("/", "filter", 3)
    } else {
        let text = format!("filter “{}”", text::clip(&state.filter_text, 24));
        let line = Line::from(vec![
            Span::styled(text, WARN),
            Span::styled(" Esc clears", DIM),
        ]);
        Piece {
            short: line.clone(),
            long: line,
            rank: 1,
        }
    };
    if state.replay.is_some() {
        let pieces = [
            key("q", "quit", 2),
            key("?", "help", 1),
            filter,
            key("Space", if state.paused() { "go on" } else { "stop" }, 3),
            key("t T", "step", 4),
            key("J", "jump", 5),
            key("+ -", "speed", 6),
            key("e", "export", 7),
        ];
        return fit(&pieces, room).0;
    }
    let pieces = [
        key("q", "quit", 2),
        key("?", "help", 1),
        filter,
        key("Space", if state.paused() { "go on" } else { "pause" }, 4),
        key("s", "sort", 5),
        key("r", "reset", 8),
        key("e", "export", 7),
        key("+ -", "interval", 9),
    ];
    fit(&pieces, room).0
}
