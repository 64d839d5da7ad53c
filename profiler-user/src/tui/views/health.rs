//! Health: how far the numbers can be trusted, and what measuring costs.
//!
//! In: the snapshot's quality and cost. Out: a summary and a table of probes. Must not know: keys, other views.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use crate::{
    frame::{PmuState, ProbeState},
    model::snapshot::{Probe, ProgramCost, Snapshot},
    tui::{
        chart,
        filter::{Filter, contains},
        shown::Shown,
        style::{ACCENT, BAD, DIM, GOOD, PLAIN, WARN},
        table::{self, Column, Content, Context, Spec, TableState},
    },
    units,
};

/// The table of probes, those that need attention first.
pub(in crate::tui) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: |cx| cx.shown.snapshot.quality.probes.len(),
    id: |cx, row| probe(cx, row).name.clone(),
    matches,
};

fn probe<'a>(cx: &'a Context, row: usize) -> &'a Probe {
    &cx.shown.snapshot.quality.probes[row]
}

fn program<'a>(cx: &'a Context, row: usize) -> Option<&'a ProgramCost> {
    let name = &probe(cx, row).name;
    let mut programs = cx.shown.snapshot.cost.programs.iter();
    programs.find(|program| program.name == *name)
}

fn matches(cx: &Context, row: usize, filter: &Filter) -> bool {
    let probe = probe(cx, row);
    filter.matches(
        |word| {
            contains(&probe.name, word)
                || contains(&probe.hook, word)
                || contains(&probe.reason, word)
        },
        |key, value| match key {
            "name" => Some(contains(&probe.name, value)),
            "hook" => Some(contains(&probe.hook, value)),
            "state" => Some(state(probe.state).1.starts_with(value)),
            _ => None,
        },
    )
}

/// Sign, name, style and urgency of a state.
fn state(state: ProbeState) -> (&'static str, &'static str, Style, u8) {
    match state {
        ProbeState::Failed => ("✗", "failed", BAD, 3),
        ProbeState::Degraded => ("≈", "degraded", WARN, 2),
        ProbeState::Attached => ("✓", "attached", GOOD, 1),
        ProbeState::Disabled => ("–", "disabled", DIM, 0),
    }
}

static COLUMNS: [Column; 7] = [
    Column {
        title: "PROBE",
        help: "program in the kernel",
        min: 12,
        max: 28,
        rank: 0,
        content: Content::Name(|cx, row| &probe(cx, row).name),
    },
    Column {
        title: "STATE",
        help: "attached, degraded (a lesser hook, or a field missing), failed, disabled",
        min: 10,
        max: 10,
        rank: 1,
        content: Content::Marked(
            |cx, row| Some(f64::from(state(probe(cx, row).state).3)),
            |cx, row| {
                let (sign, name, style, _) = state(probe(cx, row).state);
                Span::styled(format!("{sign} {name}"), style)
            },
            Alignment::Left,
        ),
    },
    Column {
        title: "RUNS/s",
        help: "how often it runs; - unless measured",
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(program(cx, row)?.runs?)),
            units::rate,
        ),
    },
    Column {
        title: "PER RUN",
        help: "mean time of one run; - unless measured",
        min: 7,
        max: 7,
        rank: 3,
        content: Content::Number(
            |cx, row| {
                let program = program(cx, row)?;
                let runs = program.runs.filter(|&runs| runs > 0)?;
                Some(program.run_time_ns? as f64 / runs as f64)
            },
            super::show_duration,
        ),
    },
    Column {
        title: "CPU",
        help: "time in it; 100% is one core; - unless measured",
        min: 6,
        max: 6,
        rank: 5,
        content: Content::Number(
            |cx, row| Some(cx.shown.share(program(cx, row)?.run_time_ns?)),
            units::percent,
        ),
    },
    Column {
        title: "HOOK",
        help: "where it sits in the kernel",
        min: 12,
        max: 32,
        rank: 6,
        content: Content::Text(|cx, row| probe(cx, row).hook.clone()),
    },
    Column {
        title: "REASON",
        help: "why it does not work in full; the selected one is shown in full below",
        min: 16,
        max: 80,
        rank: 2,
        content: Content::Text(|cx, row| probe(cx, row).reason.clone()),
    },
];

/// What Courtside itself took in the window, user space and measured programs together, as a share of one core.
pub(in crate::tui) fn own_cpu(shown: &Shown) -> f64 {
    let cost = &shown.snapshot.cost;
    let programs: u64 = cost.programs.iter().filter_map(|p| p.run_time_ns).sum();
    shown.share(cost.user_cpu_ns + programs)
}

/// Events lost in the window, all classes together.
pub(in crate::tui) fn lost(snapshot: &Snapshot) -> u64 {
    snapshot.quality.lost.values().sum()
}

/// Draws summary, table, and the reason of the selected probe.
pub(in crate::tui) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let position = table.position(&SPEC, cx, rows);
    let reason = rows.get(position).map_or("", |&row| &probe(cx, row).reason);
    let reason_height = match reason {
        "" => 0,
        reason => (chart::width(reason) / usize::from(area.width.max(1)) + 2).min(4) as u16,
    };
    let summary = summary(cx.shown);
    // Wrapping at words takes a little more room than the text alone.
    let usable = usize::from(area.width).saturating_sub(8).max(1);
    let lines: usize = summary
        .iter()
        .map(|line| line.width().div_ceil(usable))
        .sum();
    let summary = Paragraph::new(summary).wrap(Wrap { trim: false });
    // Half of the screen belongs to the probes; the lines that matter less are cut off.
    let summary_height = (lines as u16 + 1).min(area.height / 2);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(summary_height),
        Constraint::Min(2),
        Constraint::Length(reason_height),
    ])
    .areas(area);
    let top = Rect {
        height: top.height.saturating_sub(1),
        ..top
    };
    frame.render_widget(summary, top);
    table::draw(frame, middle, &SPEC, cx, table, rows);
    let reason: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let reason = Paragraph::new(vec![Line::default(), Line::from(format!(" {reason}"))]);
    frame.render_widget(reason.wrap(Wrap { trim: false }), bottom);
}

fn summary(shown: &Shown) -> Vec<Line<'static>> {
    let snapshot = &shown.snapshot;
    let quality = &snapshot.quality;
    let title = |title: &str| Span::styled(format!(" {title:<9} "), ACCENT);

    let mut probes = vec![title("Probes")];
    for kind in [
        ProbeState::Failed,
        ProbeState::Degraded,
        ProbeState::Attached,
        ProbeState::Disabled,
    ] {
        let count = quality.probes.iter().filter(|p| p.state == kind).count();
        let (sign, name, style, _) = state(kind);
        if count > 0 {
            probes.push(Span::styled(format!("{sign} {count} {name}   "), style));
        }
    }

    let mut lost_line = vec![title("Lost")];
    if lost(snapshot) == 0 {
        lost_line.push(Span::styled("✓ nothing", GOOD));
    }
    let mut classes: Vec<_> = quality.lost.iter().collect();
    classes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (class, &count) in classes {
        let class = class.replace('_', " ");
        lost_line.push(match count {
            0 => Span::styled(format!("  {class} 0"), DIM),
            count => Span::styled(format!("✗ {class} {}  ", units::count(count)), BAD),
        });
    }

    let pmu = &quality.pmu;
    let (word, style) = match pmu.state {
        PmuState::Ok => ("✓ counting all the time", GOOD),
        PmuState::Multiplexed => ("≈ multiplexed, values are scaled", WARN),
        PmuState::None => ("– none", PLAIN),
        PmuState::Disabled => ("– disabled", PLAIN),
    };
    let mut counters = vec![title("Counters"), Span::styled(word, style)];
    if let Some(ratio) = pmu
        .running_ratio
        .filter(|_| pmu.state == PmuState::Multiplexed)
    {
        counters.push(Span::raw(format!(
            ", counting {} of the time",
            units::percent(ratio)
        )));
    }
    if !pmu.reason.is_empty() {
        counters.push(Span::raw(format!(
            ": {}",
            chart::clip_end(&pmu.reason, 200)
        )));
    }

    let cost = &snapshot.cost;
    let programs: Option<u64> = cost.programs.iter().map(|p| p.run_time_ns).sum();
    let kernel = programs.map_or("not measured".to_owned(), |ns| {
        units::percent(shown.share(ns))
    });
    let cost = vec![
        title("Own cost"),
        Span::raw(format!(
            "{} of one core: user space {}, kernel programs {kernel}; memory {}, kernel maps {}",
            units::percent(own_cpu(shown)),
            units::percent(shown.share(cost.user_cpu_ns)),
            units::bytes(cost.rss_bytes),
            units::bytes(cost.map_bytes),
        )),
    ];

    let midlife = match quality.midlife_connections {
        0 => Span::styled("none older than the attach", DIM),
        count => Span::raw(format!(
            "{} older than the attach; their first turn is not counted",
            units::count(count)
        )),
    };
    let mut lines = vec![
        probes,
        lost_line,
        counters,
        cost,
        vec![title("Midlife"), midlife],
    ];
    if quality.lower_bound {
        let text =
            "≥ some counts are lower bounds: which answer belongs to which request cannot be known";
        lines.push(vec![title("Bounds"), Span::styled(text, WARN)]);
    }
    lines.into_iter().map(Line::from).collect()
}
