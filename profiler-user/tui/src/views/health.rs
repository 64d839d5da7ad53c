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
    filter::{Filter, contains},
    shown::Shown,
    style::{ACCENT, BAD, CALM, DIM, GOOD, PLAIN, WARN},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
use courtside_core::{
    frame::{PmuState, ProbeState},
    model::{
        snapshot::{Probe, ProgramCost, Snapshot},
        words::LOSSES,
    },
    units,
};

/// The table of probes, those that need attention first.
pub(crate) static SPEC: Spec = Spec {
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

static COLUMNS: [ColumnSpec; 7] = [
    ColumnSpec {
        heading: Probe::NAME,
        min: 16,
        max: 28,
        rank: 0,
        content: Content::Name(|cx, row| &probe(cx, row).name),
    },
    ColumnSpec {
        heading: Probe::STATE,
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
    ColumnSpec {
        heading: ProgramCost::RUNS,
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| Some(cx.shown.per_second(program(cx, row)?.runs?)),
            units::rate,
        ),
    },
    ColumnSpec {
        heading: ProgramCost::PER_RUN,
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
    ColumnSpec {
        heading: ProgramCost::SHARE,
        min: 6,
        max: 6,
        rank: 5,
        content: Content::Number(
            |cx, row| Some(cx.shown.share(program(cx, row)?.run_time_ns?)),
            units::percent,
        ),
    },
    ColumnSpec {
        heading: Probe::HOOK,
        min: 26,
        max: 32,
        rank: 6,
        content: Content::Text(|cx, row| probe(cx, row).hook.clone()),
    },
    ColumnSpec {
        heading: Probe::REASON,
        min: 16,
        max: 60,
        rank: 2,
        content: Content::Text(|cx, row| probe(cx, row).reason.clone()),
    },
];

/// What Courtside itself took in the window, user space and programs together, as a share of one core; at least, where
/// the programs were not measured.
pub(crate) fn own_cpu(shown: &Shown) -> String {
    let (bound, ns) = shown.snapshot.cost.own();
    format!("{bound}{}", units::percent(shown.share(ns)))
}

/// Events lost in the window, all classes together.
pub(crate) fn lost(snapshot: &Snapshot) -> u64 {
    snapshot.quality.lost_in_all()
}

/// Draws summary, table, and the reason of the selected probe.
pub(crate) fn draw(
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
    let quality = &shown.snapshot.quality;
    let lost = &quality.lost;
    let losses = LOSSES.iter().filter_map(|loss| {
        let count = *lost.get(loss.class).filter(|&&count| count > 0)?;
        let count = units::count(count).replace(' ', "\u{a0}");
        let what = Span::styled(format!("✗\u{a0}{count} {}", loss.meaning_in(quality)), BAD);
        Some(vec![what, Span::raw(format!(" ({})", loss.remedy))])
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
    let kernel = cost.programs_ns();
    let kernel = kernel.map_or("not measured (--program-cost)".to_owned(), |ns| {
        units::percent(shown.share(ns))
    });
    vec![Span::raw(format!(
        "{} of one core: user space {}, kernel programs {kernel}; memory {}, kernel maps {}",
        own_cpu(shown),
        units::percent(shown.share(cost.user_cpu_ns)),
        units::bytes(cost.rss_bytes),
        units::bytes(cost.map_bytes),
    ))]
}

fn midlife(shown: &Shown) -> Vec<Span<'static>> {
    let quality = &shown.snapshot.quality;
    let mut told = vec![match quality.midlife_connections {
        0 => Span::styled("no connection is older than the attach", DIM),
        count => Span::raw(format!(
            "{} connections older than the attach; their first turn is not counted",
            units::count(count)
        )),
    }];
    if quality.folded_remotes > 0 {
        told.push(Span::raw(format!(
            "; about {} remote ends shown as one",
            units::count(quality.folded_remotes)
        )));
    }
    told
}

fn bounds(shown: &Shown) -> Vec<Span<'static>> {
    let text = "≥\u{a0}some counts are lower bounds: it is not known which answer belongs to which request";
    let bounded = shown.snapshot.quality.lower_bound;
    bounded
        .then(|| Span::styled(text, WARN))
        .into_iter()
        .collect()
}
