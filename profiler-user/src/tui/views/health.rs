//! Health: how far the numbers can be trusted, and what measuring costs.
//!
//! In: the snapshot's quality and cost. Out: a summary and a table of probes. Must not know: keys, other views.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    frame::{PmuState, ProbeState},
    model::{
        snapshot::{Probe, ProgramCost, Snapshot},
        words::LOSSES,
    },
    tui::{
        filter::{Filter, contains},
        shown::Shown,
        style::{ACCENT, BAD, CALM, DIM, GOOD, PLAIN, WARN},
        table::{self, Column, Content, Context, Spec, TableState},
        text,
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
    busy: |_, _| true,
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
        ProbeState::Attached => ("✓", "attached", CALM, 1),
        ProbeState::Disabled => ("–", "disabled", DIM, 0),
    }
}

static COLUMNS: [Column; 7] = [
    Column {
        title: "PROBE",
        help: "program in the kernel",
        min: 16,
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
        min: 26,
        max: 32,
        rank: 6,
        content: Content::Text(|cx, row| probe(cx, row).hook.clone()),
    },
    Column {
        title: "REASON",
        help: "why it does not work in full; the selected one is shown in full below",
        min: 16,
        max: 60,
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
    let width = usize::from(area.width).saturating_sub(1);
    let position = table.position(&SPEC, cx, rows);
    let reason = rows.get(position).map_or("", |&row| &probe(cx, row).reason);
    let mut reason = match reason {
        "" => Vec::new(),
        reason => text::wrap(
            &Span::raw(""),
            1,
            &[Span::styled(reason.to_owned(), PLAIN)],
            width,
        ),
    };
    // Half of the screen belongs to the probes; the lines that matter less are cut off.
    let mut summary = summary(cx.shown, width);
    summary.truncate(usize::from(area.height / 2));
    reason.truncate(usize::from(area.height / 6));
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(summary.len() as u16 + 1),
        Constraint::Min(2),
        Constraint::Length(reason.len() as u16),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(summary), top);
    table::draw(frame, middle, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(reason), bottom);
}

/// Everything about trust and cost, the most important first.
fn summary(shown: &Shown, width: usize) -> Vec<Line<'static>> {
    const TITLE: usize = 11;
    let mut facts = vec![("Probes", probes(shown))];
    // One title for all losses, a line for each.
    let titles = std::iter::once("Lost").chain(std::iter::repeat(""));
    facts.extend(titles.zip(losses(shown)));
    facts.extend([
        ("Counters", counters(shown)),
        ("Own cost", cost(shown)),
        ("Midlife", midlife(shown)),
        ("Bounds", bounds(shown)),
    ]);
    let lines = facts.into_iter().filter(|(_, spans)| !spans.is_empty());
    let lines = lines.flat_map(|(title, spans)| {
        text::wrap(
            &Span::styled(format!(" {title}"), ACCENT),
            TITLE,
            &spans,
            width,
        )
    });
    lines.collect()
}

fn probes(shown: &Shown) -> Vec<Span<'static>> {
    let kinds = [
        ProbeState::Failed,
        ProbeState::Degraded,
        ProbeState::Attached,
        ProbeState::Disabled,
    ];
    let counted = kinds.into_iter().filter_map(|kind| {
        let probes = &shown.snapshot.quality.probes;
        let count = probes.iter().filter(|probe| probe.state == kind).count();
        let (sign, name, style, _) = state(kind);
        let text = format!("{sign}\u{a0}{}\u{a0}{name}   ", units::count(count as u64));
        (count > 0).then(|| Span::styled(text, style))
    });
    counted.collect()
}

fn losses(shown: &Shown) -> Vec<Vec<Span<'static>>> {
    let lost = &shown.snapshot.quality.lost;
    let losses = LOSSES.iter().filter_map(|loss| {
        let count = *lost.get(loss.class).filter(|&&count| count > 0)?;
        let count = units::count(count).replace(' ', "\u{a0}");
        let what = Span::styled(format!("✗\u{a0}{count} {}", loss.meaning), BAD);
        Some(vec![what, Span::raw(format!(" ({})", loss.mend))])
    });
    let mut losses: Vec<_> = losses.collect();
    if losses.is_empty() {
        losses.push(vec![Span::styled("✓ nothing", GOOD)]);
    }
    losses
}

fn counters(shown: &Shown) -> Vec<Span<'static>> {
    let pmu = &shown.snapshot.quality.pmu;
    let ratio = pmu.running_ratio.map_or("part".to_owned(), units::percent);
    let (text, style) = match pmu.state {
        PmuState::Ok => ("✓\u{a0}counting all the time".to_owned(), GOOD),
        PmuState::Multiplexed => (
            format!("≈\u{a0}counting {ratio} of the time, values are scaled"),
            WARN,
        ),
        PmuState::None => ("–\u{a0}none".to_owned(), PLAIN),
        PmuState::Disabled => ("–\u{a0}disabled".to_owned(), PLAIN),
    };
    let mut spans = vec![Span::styled(text, style)];
    if !pmu.reason.is_empty() {
        spans.push(Span::raw(format!(": {}", pmu.reason)));
    }
    spans
}

fn cost(shown: &Shown) -> Vec<Span<'static>> {
    let cost = &shown.snapshot.cost;
    let programs: Option<u64> = cost.programs.iter().map(|p| p.run_time_ns).sum();
    let programs = programs.filter(|_| !cost.programs.is_empty());
    let kernel = programs.map_or("not measured".to_owned(), |ns| {
        units::percent(shown.share(ns))
    });
    vec![Span::raw(format!(
        "{} of one core: user space {}, kernel programs {kernel}; memory {}, kernel maps {}",
        units::percent(own_cpu(shown)),
        units::percent(shown.share(cost.user_cpu_ns)),
        units::bytes(cost.rss_bytes),
        units::bytes(cost.map_bytes),
    ))]
}

fn midlife(shown: &Shown) -> Vec<Span<'static>> {
    vec![match shown.snapshot.quality.midlife_connections {
        0 => Span::styled("no connection is older than the attach", DIM),
        count => Span::raw(format!(
            "{} connections older than the attach; their first turn is not counted",
            units::count(count)
        )),
    }]
}

fn bounds(shown: &Shown) -> Vec<Span<'static>> {
    let text = "≥\u{a0}some counts are lower bounds: which answer belongs to which request cannot be known";
    let bounded = shown.snapshot.quality.lower_bound;
    bounded
        .then(|| Span::styled(text, WARN))
        .into_iter()
        .collect()
}
