//! One component and the CPUs: whom it waited for, who waited for it, and what each of its threads did.
//!
//! In: one component of the snapshot, its threads where somebody looked at them. Out: a drawn screen. Must not know: keys, other
//! views, how threads are read.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::neighbours::{NOT_RECORDED, second, waited, who};
use crate::{
    chart,
    shown::kind,
    style::{ACCENT, DIM, LINE, PLAIN, STRONG},
    table::Context,
    text,
};
use courtside_core::{
    model::{
        snapshot::{Component, ComponentKind},
        threads::{Thread, Threads},
    },
    units::{UNKNOWN, count, per_second, percent, rate},
};

/// Rows of each list of components, at most: the rest is one row.
const MOST_NAMED: usize = 4;
/// Columns of a name.
const NAME: usize = 26;
/// Columns of a bar, at most.
const BAR: usize = 40;
/// Why no CPU has a line of its own.
const NO_CORES: &str = "Who ran on which CPU, and who waited there, is not kept for each CPU: that would slow every switch. CPU is where a thread was, or had been last, when it was looked at.";

/// Draws everything about the component in this row; whether it is a recording.
pub(crate) fn draw(frame: &mut Frame, area: Rect, cx: &Context, row: usize, recorded: bool) {
    let Some(component) = cx.shown.snapshot.components.get(row) else {
        return;
    };
    let width = usize::from(area.width).saturating_sub(1);
    let height = usize::from(area.height);
    let mut lines = pairs(cx, component, row, width);
    if component.kind != ComponentKind::Remote {
        lines.push(Line::default());
        lines.push(heading("Its threads", width));
        let notes = sentence(NO_CORES, DIM, width);
        let room = height.saturating_sub(lines.len() + notes.len());
        lines.extend(threads(cx, component, recorded, width, room));
        lines.extend(notes);
    }
    lines.truncate(height);
    frame.render_widget(Paragraph::new(lines), area);
}

fn heading(text: &str, width: usize) -> Line<'static> {
    Line::styled(text::clip_end(&format!(" {text}"), width), ACCENT)
}

fn sentence(text: impl Into<String>, style: Style, width: usize) -> Vec<Line<'static>> {
    let words = [Span::styled(text.into(), style)];
    text::wrap(&Span::raw(""), 1, &words, width)
}

/// Whom it waited for, and who waited for it.
fn pairs(cx: &Context, component: &Component, row: usize, width: usize) -> Vec<Line<'static>> {
    let name = text::clip(cx.shown.name_at(row), width.saturating_sub(14));
    let words = [
        Span::styled(name, STRONG),
        Span::styled(format!("  {}", kind(component)), DIM),
    ];
    let mut lines = text::wrap(&Span::raw(""), 1, &words, width);
    if component.kind == ComponentKind::Remote {
        let said = "It is on another host: its threads are not seen from here.";
        lines.extend(sentence(said, DIM, width));
        return lines;
    }
    let cpu = &component.cpu;
    let mut said = format!(
        "It was on a CPU for {} a second, and ready to run without one for {}.",
        second(cx, cpu.on_cpu_ns),
        second(cx, cpu.run_queue_ns)
    );
    let waited = waited(component);
    if waited.is_none() {
        said += &format!(" Cannot tell whom it waited for: {NOT_RECORDED}.");
    }
    lines.extend(sentence(said, PLAIN, width));
    if let Some(waited) = waited.filter(|waited| waited.total_ns > 0) {
        lines.push(heading("It waited while these were on the CPU", width));
        let by: Vec<(&str, u64)> = who(cx, &waited);
        lines.extend(bars(cx, &by, width));
    }
    let behind = waited_for_it(cx, component);
    if !behind.is_empty() {
        lines.push(heading("These waited while it was on the CPU", width));
        lines.extend(bars(cx, &behind, width));
    }
    lines
}

/// Who waited while a component was on the CPU, longest first.
fn waited_for_it<'a>(cx: &'a Context, component: &Component) -> Vec<(&'a str, u64)> {
    let others = cx.shown.snapshot.components.iter();
    let others = others.filter(|other| other.id != component.id);
    let mut all: Vec<(&str, u64)> = others
        .filter_map(|other| {
            let mut by = other.cpu.run_queue_by.iter().flatten();
            let blame = by.find(|blame| blame.component == component.id)?;
            (blame.ns > 0).then_some((cx.shown.name(&other.id), blame.ns))
        })
        .collect();
    all.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    all
}

/// Each with its time a second.
fn bars(cx: &Context, all: &[(&str, u64)], width: usize) -> Vec<Line<'static>> {
    let named = NAME.min(width / 3);
    let bar_room = width.saturating_sub(named + 16).min(BAR);
    let line = |name: &str, ns: u64| {
        let name = text::clip(name, named);
        let pad = " ".repeat(named.saturating_sub(text::width(&name)));
        Line::from(vec![
            Span::styled(format!("   {name}{pad}"), PLAIN),
            Span::raw(format!("{:>9}  ", second(cx, ns))),
            Span::styled(chart::share_bar(cx.shown.share(ns), bar_room), LINE),
        ])
    };
    let shown = if all.len() > MOST_NAMED {
        MOST_NAMED - 1
    } else {
        all.len()
    };
    let (first, rest) = all.split_at(shown);
    let mut lines: Vec<Line> = first.iter().map(|(name, ns)| line(name, *ns)).collect();
    if !rest.is_empty() {
        let sum = rest
            .iter()
            .fold(0u64, |sum, (_, ns)| sum.saturating_add(*ns));
        let name = format!("{} more", count(rest.len() as u64));
        lines.push(line(&name, sum));
    }
    lines
}

/// What a letter of `/proc` stands for.
fn state(thread: &Thread) -> String {
    match thread.state {
        'R' => "runs or is ready".to_owned(),
        'S' | 'I' => "sleeps".to_owned(),
        'D' => "waits for a disk or the kernel".to_owned(),
        'T' | 't' => "is stopped".to_owned(),
        'Z' | 'X' => "has ended".to_owned(),
        other => format!("state {other}"),
    }
}

/// The threads, those first that used or wanted a CPU most; or why there are none.
fn threads(
    cx: &Context,
    component: &Component,
    recorded: bool,
    width: usize,
    room: usize,
) -> Vec<Line<'static>> {
    let looked = cx.shown.threads.as_deref();
    let Some(looked) = looked.filter(|looked| looked.component == component.id) else {
        let said = if recorded {
            "A recording does not tell threads one by one; courtside top does."
        } else {
            "Nobody has looked at them in this window."
        };
        return sentence(said, DIM, width);
    };
    if looked.threads.is_empty() {
        return sentence("All of them have ended.", DIM, width);
    }
    let mut all: Vec<&Thread> = looked.threads.iter().collect();
    all.sort_by_key(|thread| {
        let used = thread.used.unwrap_or_default();
        let wanted = used.on_cpu_ns.saturating_add(used.waited_ns);
        (std::cmp::Reverse(wanted), thread.tid)
    });
    let mut lines = vec![Line::styled(
        text::clip_end(
            "        TID  NAME              CPU   ON-CPU     RUNQ   RUNS/s  NOW",
            width,
        ),
        DIM,
    )];
    let shown = room.saturating_sub(2).max(1);
    let some = if all.len() > shown || looked.more > 0 {
        shown.saturating_sub(1).max(1).min(all.len())
    } else {
        all.len()
    };
    let (first, rest) = all.split_at(some);
    lines.extend(first.iter().map(|thread| line(looked, thread, width)));
    let more = (rest.len() as u64).saturating_add(looked.more);
    if more > 0 {
        let said = format!(
            "   {} more that used less, or were not looked at",
            count(more)
        );
        lines.push(Line::styled(text::clip_end(&said, width), DIM));
    }
    lines
}

fn line(looked: &Threads, thread: &Thread, width: usize) -> Line<'static> {
    let used = thread.used.zip(looked.between_ns.filter(|ns| *ns > 0));
    let share = |ns: u64, of: u64| percent(ns as f64 / of as f64);
    let [on_cpu, waited, runs] = used.map_or_else(
        || [UNKNOWN; 3].map(str::to_owned),
        |(used, ns)| {
            [
                share(used.on_cpu_ns, ns),
                share(used.waited_ns, ns),
                rate(per_second(used.runs, ns)),
            ]
        },
    );
    let cpu = thread
        .cpu
        .map_or_else(|| UNKNOWN.to_owned(), |cpu| cpu.to_string());
    let name = text::clip(&thread.comm, 16);
    let pad = " ".repeat(16usize.saturating_sub(text::width(&name)));
    let text = format!(
        " {:>10}  {name}{pad} {cpu:>4} {on_cpu:>8} {waited:>8} {runs:>8}  {}",
        thread.tid,
        state(thread)
    );
    Line::styled(text::clip_end(&text, width), PLAIN)
}
