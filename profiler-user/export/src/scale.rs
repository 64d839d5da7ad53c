//! The table of `scale`: each size, pictures of the speed-up and of what grew, what the loss is made of, and why.
//!
//! In: a [`Scaling`]. Out: text for a terminal or a file. Must not know: how anything is fitted or judged.

use courtside_core::{
    model::{
        finding::Evidence,
        scaling::{Cause, Needed, Scaling, ScalingPoint, TaskUnit},
        visible::visible,
    },
    units::{UNKNOWN, count, duration, duration_f64, percent, rate, ratio},
};

mod pictures;

pub(crate) use pictures::{amount, fitted};

use super::Style;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};

/// The study as text, with a newline at the end.
#[must_use]
pub fn render(scaling: &Scaling, style: Style) -> String {
    let blocks = [
        title(scaling, style),
        sizes(scaling, style),
        pictures::picture(scaling),
        laws(scaling, style),
        factors(scaling, style),
        pictures::growth(scaling, style.width),
        causes(scaling, style),
        words(scaling, style),
    ];
    joined(blocks, style)
}

fn column(title: &str, right: bool, rank: u8) -> GridColumn {
    GridColumn {
        title: Line::new(HEAD, title),
        right,
        rank,
    }
}

/// A text as lines, broken between words.
fn text(style: anstyle::Style, text: &str, width: Option<usize>) -> Vec<Line> {
    let words = text.split_whitespace();
    let words = words.map(|word| Line::new(style, clip(&visible(word), 80)));
    flow(words.collect(), " ", width)
}

fn title(scaling: &Scaling, style: Style) -> Vec<Line> {
    let mut title = Line::new(BOLD, "SCALING");
    title.push(
        PLAIN,
        format!("  {}, {}", scaling.kind.name(), scaling.unit.name()),
    );
    if let Some(entry) = &scaling.entry {
        title.push(PLAIN, format!(" at {}", clip(&visible(entry), 40)));
    }
    let mut lines = vec![title];
    lines.extend(text(PLAIN, &scaling.says, style.width));
    lines
}

fn shown(value: Option<f64>, show: impl Fn(f64) -> String) -> Line {
    match value {
        Some(value) => Line::new(PLAIN, show(value)),
        None => Line::new(DIM, UNKNOWN),
    }
}

fn sizes(scaling: &Scaling, style: Style) -> Vec<Line> {
    let each = scaling.unit.one();
    let grid = Grid {
        columns: vec![
            column("N", true, 0),
            column("TASKS/s", true, 0),
            column("95 IN 100", true, 6),
            column("SPEED-UP", true, 0),
            column("EFFICIENCY", true, 0),
            column("OVERHEAD", true, 2),
            column("EACH/s", true, 7),
            column("LATENCY", true, 3),
            column("BUSY", true, 1),
            column("OTHERS", true, 5),
            column(&format!("CPU/{each}"), true, 1),
            column("GHz", true, 9),
            column("CPI", true, 4),
            column("RUNS", true, 8),
            column("LOST", true, 4),
        ],
        rows: scaling.points.iter().map(row).collect(),
    };
    grid.lines(style.width)
}

fn row(point: &ScalingPoint) -> Vec<Line> {
    let between = point.throughput_interval95.map(|[low, high]| {
        let text = format!("{} … {}", each_second(low), each_second(high));
        Line::new(PLAIN, text)
    });
    let low = if point.efficiency < 0.5 {
        ALARM
    } else if point.efficiency < 0.8 {
        WARN
    } else {
        PLAIN
    };
    vec![
        Line::new(BOLD, count(u64::from(point.n))),
        Line::new(PLAIN, each_second(point.throughput_per_s)),
        between.unwrap_or_else(|| Line::new(DIM, UNKNOWN)),
        Line::new(PLAIN, ratio(Some(point.speedup))),
        Line::new(low, percent(point.efficiency)),
        Line::new(PLAIN, duration_f64(point.overhead_ns_per_task)),
        Line::new(PLAIN, each_second(point.throughput_per_worker_per_s)),
        shown(point.latency_ns, duration_f64),
        shown(point.busy, percent),
        shown(point.others_busy, percent),
        shown(point.on_cpu_ns_per_task, duration_f64),
        shown(point.frequency, |hertz| ratio(Some(hertz / 1e9))),
        shown(point.cpi, |cpi| ratio(Some(cpi))),
        Line::new(PLAIN, count(point.runs)),
        Line::new(if point.lost > 0 { WARN } else { PLAIN }, count(point.lost)),
    ]
}

/// Tasks a second; where that is less than one in a hundred seconds it is not rounded away.
pub(crate) fn each_second(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 0.1 {
        format!("{per_second:.4}")
    } else {
        rate(per_second)
    }
}

fn laws(scaling: &Scaling, style: Style) -> Vec<Line> {
    let mut lines = Vec::new();
    match (&scaling.usl, &scaling.usl_unknown) {
        (Some(usl), _) => {
            let interval = |interval: Option<[f64; 2]>| {
                interval.map_or_else(String::new, |[low, high]| {
                    format!(" ({} … {})", small(low), small(high))
                })
            };
            let mut pieces = vec![
                Line::new(HEAD, "USL"),
                Line::new(PLAIN, format!("one alone {}/s", each_second(usl.lambda))),
                Line::new(
                    PLAIN,
                    format!(
                        "contention {}{}",
                        small(usl.sigma),
                        interval(usl.sigma_interval95)
                    ),
                ),
                Line::new(
                    PLAIN,
                    format!(
                        "coherency {}{}",
                        small(usl.kappa),
                        interval(usl.kappa_interval95)
                    ),
                ),
            ];
            pieces.push(Line::new(
                PLAIN,
                match usl.best_n.zip(usl.best_throughput_per_s) {
                    Some((n, most)) => format!(
                        "best at {} with {}/s{}",
                        rate(n.round()),
                        each_second(most),
                        if usl.extrapolated {
                            ", beyond what was measured"
                        } else {
                            ""
                        }
                    ),
                    None => "more is always better".to_owned(),
                },
            ));
            pieces.push(Line::new(
                PLAIN,
                format!("off by at most {}", percent(usl.residual)),
            ));
            lines.extend(flow(pieces, "   ", style.width));
            let why = usl.interval_unknown.iter();
            lines.extend(
                why.flat_map(|why| text(DIM, &format!("No intervals: {why}."), style.width)),
            );
        }
        (None, Some(why)) => {
            lines.extend(text(
                DIM,
                &format!("No scalability law: {why}."),
                style.width,
            ));
        }
        (None, None) => {}
    }
    if !scaling.karp_flatt.is_empty() {
        let mut pieces = vec![Line::new(HEAD, "SERIAL FRACTION (Karp and Flatt)")];
        let each = scaling.karp_flatt.iter();
        pieces.extend(
            each.map(|(n, fraction)| Line::new(PLAIN, format!("{n}: {}", small(*fraction)))),
        );
        lines.extend(flow(pieces, "   ", style.width));
    }
    lines
}

/// A share that may be small or below 0.
pub(crate) fn small(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.abs() < 0.001 {
        format!("{value:.1e}")
    } else {
        format!("{value:.4}")
    }
}

fn factors(scaling: &Scaling, style: Style) -> Vec<Line> {
    let known = |identity: &&courtside_core::model::scaling::Identity| identity.n != scaling.base_n;
    let by_counters = scaling.identity.iter().any(|each| each.cpi_ratio.is_some());
    let mut columns = vec![column("WHAT IS LEFT AT", true, 0), column("BUSY", true, 0)];
    if by_counters {
        columns.extend([
            column("× FREQUENCY", true, 0),
            column("/ INSTRUCTIONS", true, 0),
            column("/ CPI", true, 0),
        ]);
    } else {
        columns.push(column(
            match scaling.unit {
                TaskUnit::Requests => "/ CPU A REQUEST",
                TaskUnit::Commands => "/ CPU A COMMAND",
            },
            true,
            0,
        ));
    }
    columns.extend([column("= PRODUCT", true, 0), column("MEASURED", true, 0)]);
    let two = |value: f64| format!("{value:.3}");
    let rows: Vec<Vec<Line>> = scaling
        .identity
        .iter()
        .filter(known)
        .map(|each| {
            let mut row = vec![
                Line::new(BOLD, count(u64::from(each.n))),
                shown(each.busy_ratio, two),
            ];
            if by_counters {
                row.extend([
                    shown(each.frequency_ratio, two),
                    shown(each.instruction_ratio, two),
                    shown(each.cpi_ratio, two),
                ]);
            } else {
                row.push(shown(each.work_ratio, two));
            }
            row.extend([
                shown(each.product, two),
                Line::new(PLAIN, two(each.measured)),
            ]);
            row
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    Grid { columns, rows }.lines(style.width)
}

fn causes(scaling: &Scaling, style: Style) -> Vec<Line> {
    let mut lines = Vec::new();
    for (number, cause) in (1..).zip(&scaling.causes) {
        lines.extend(cause_lines(number, cause, style));
    }
    for needed in &scaling.needed {
        lines.extend(needed_lines(needed, style));
    }
    lines
}

fn of_loss(share: f64) -> Line {
    Line::new(WARN, format!("up to {} of the loss", percent(share)))
}

fn cause_lines(number: usize, cause: &Cause, style: Style) -> Vec<Line> {
    let mut title = vec![Line::new(BOLD, format!("{number}. {}", cause.cause.name()))];
    let component = cause.component.as_ref();
    title.extend(component.map(|id| Line::new(PLAIN, clip(&visible(id), 40))));
    title.extend(cause.loss_share.map(of_loss));
    title.push(Line::new(
        DIM,
        format!("sure {}", percent(cause.confidence)),
    ));
    let mut lines = flow(title, "  ", style.width);
    let mut add = |text: Vec<Line>| {
        for line in text {
            let mut indented = Line::new(PLAIN, "   ");
            indented.append(line);
            lines.push(indented);
        }
    };
    let width = style.width.map(|width| width.saturating_sub(3));
    add(text(PLAIN, &format!("{}.", cause.says), width));
    add(text(PLAIN, &format!("{}.", cause.remedy), width));
    let evidence = cause.evidence.iter();
    let pieces = evidence.map(|each: &Evidence| {
        let what = each.what();
        Line::new(DIM, format!("{} {}", visible(&what), each.how_much()))
    });
    add(flow(pieces.collect(), "   ", width));
    lines
}

fn needed_lines(needed: &Needed, style: Style) -> Vec<Line> {
    let names: Vec<&str> = needed.causes.iter().map(|cause| cause.name()).collect();
    let name = match names.as_slice() {
        [] => "? not told apart".to_owned(),
        names => format!("? cannot be told: {}", names.join(", ")),
    };
    let mut title = vec![Line::new(BOLD, name)];
    title.extend(needed.loss_share.map(of_loss));
    let mut lines = flow(title, "  ", style.width);
    let width = style.width.map(|width| width.saturating_sub(3));
    for line in text(PLAIN, &format!("{}.", needed.says), width) {
        let mut indented = Line::new(PLAIN, "   ");
        indented.append(line);
        lines.push(indented);
    }
    lines
}

/// Why fields are null: one sentence for each reason, with all fields that it is of.
pub(crate) fn reasons(scaling: &Scaling) -> Vec<String> {
    // One reason for each field, though it be the same at every size.
    let mut told: Vec<(&str, &str)> = Vec::new();
    let unknown = scaling.points.iter().flat_map(|point| &point.unknown);
    for each in unknown {
        let pair = (each.field.as_str(), each.why.as_str());
        if !told.contains(&pair) {
            told.push(pair);
        }
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (field, why) in told {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, fields)) => fields.push(field),
            None => reasons.push((why, vec![field])),
        }
    }
    let said =
        |(why, fields): (&str, Vec<&str>)| format!("Not known: {}: {why}.", fields.join(", "));
    reasons.into_iter().map(said).collect()
}

fn words(scaling: &Scaling, style: Style) -> Vec<Line> {
    let mut texts = reasons(scaling);
    texts.extend(scaling.notes.iter().cloned());
    let based = scaling.points.iter().map(|point| {
        format!(
            "{}: {} tasks in {}, {} windows",
            point.n,
            count(point.tasks),
            duration(point.duration_ns),
            count(point.windows)
        )
    });
    let based: Vec<String> = based.collect();
    texts.push(format!("It rests on {}.", based.join("; ")));
    let lines = texts.iter().flat_map(|each| text(DIM, each, style.width));
    lines.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use courtside_core::model::scaling::{
        CauseKind, Identity, Inflation, SCALING_SCHEMA, ScalingKind, Unknown, Usl,
    };

    use super::*;

    pub(crate) fn scaling() -> Scaling {
        let point = |n: u32, throughput: f64| ScalingPoint {
            n,
            runs: 1,
            windows: 28,
            duration_ns: 28_000_000_000,
            tasks: (throughput * 28.0) as u64,
            throughput_per_s: throughput,
            throughput_per_worker_per_s: throughput / f64::from(n),
            speedup: throughput / 1000.0,
            efficiency: throughput / 1000.0 / f64::from(n),
            overhead_ns_per_task: f64::from(n) * 1e9 / throughput - 1e6,
            latency_ns: Some(1_240_000.0),
            busy: Some(0.93),
            others_busy: Some(0.04),
            on_cpu_ns_per_task: Some(930_000.0),
            unknown: vec![Unknown {
                field: "cpi".to_owned(),
                why: "no hardware counters".to_owned(),
            }],
            ..ScalingPoint::default()
        };
        let identity = |n: u32, busy: f64, work: f64| Identity {
            n,
            busy_ratio: Some(busy),
            work_ratio: Some(work),
            product: Some(busy / work),
            measured: busy / work,
            ..Identity::default()
        };
        Scaling {
            schema: SCALING_SCHEMA.to_owned(),
            kind: ScalingKind::Strong,
            unit: TaskUnit::Requests,
            entry: Some("program:web\u{1b}[31m:80".to_owned()),
            base_n: 1,
            says: "At 4 it does 2.40 times what it does at 1, 60% of the ideal.".to_owned(),
            points: vec![point(1, 1000.0), point(2, 1700.0), point(4, 2400.0)],
            identity: vec![
                identity(1, 1.0, 1.0),
                identity(2, 0.98, 1.15),
                identity(4, 0.9, 1.5),
            ],
            usl: Some(Usl {
                lambda: 1000.0,
                sigma: 0.15,
                kappa: 0.018,
                best_n: Some(6.87),
                best_throughput_per_s: Some(2650.0),
                extrapolated: true,
                interval_unknown: Some("three points make three numbers".to_owned()),
                points: 3,
                residual: 0.0,
                ..Usl::default()
            }),
            karp_flatt: vec![(2, 0.1765), (4, 0.2222)],
            inflation: vec![
                Inflation {
                    event: "on_cpu_ns".to_owned(),
                    n: 4,
                    base_per_task: 930_000.0,
                    per_task: 1_395_000.0,
                    factor: Some(1.5),
                    loss_share: Some(0.7),
                },
                Inflation {
                    event: "voluntary_switches".to_owned(),
                    n: 4,
                    base_per_task: 2.0,
                    per_task: 8.0,
                    factor: Some(4.0),
                    loss_share: None,
                },
                Inflation {
                    event: "disk_reads".to_owned(),
                    n: 4,
                    base_per_task: 1.0,
                    per_task: 1.01,
                    factor: Some(1.01),
                    loss_share: None,
                },
            ],
            causes: vec![Cause {
                cause: CauseKind::ContextSwitches,
                component: Some("program:app".to_owned()),
                loss_share: Some(0.2),
                confidence: 0.49,
                evidence: vec![Evidence {
                    name: "switches_per_task_more".to_owned(),
                    value: 6.0,
                    unit: "per_request".to_owned(),
                }],
                says: "6.00 switches more for each task at 4".to_owned(),
                remedy: "Look for locks".to_owned(),
            }],
            needed: vec![Needed {
                causes: vec![CauseKind::CpuCache, CauseKind::MemoryBandwidth],
                loss_share: Some(0.7),
                says: "Each task takes 1.50 times the CPU time".to_owned(),
            }],
            notes: vec!["Throughput is what was asked for and answered.".to_owned()],
            ..Scaling::default()
        }
    }

    #[test]
    fn sizes_pictures_factors_and_causes_stand_below_each_other() {
        let style = Style {
            width: Some(100),
            ..Style::default()
        };
        let text = render(&scaling(), style);
        for part in [
            "60% of the ideal",
            "EFFICIENCY",
            "by the law",
            "contention 0.1500",
            "beyond what was measured",
            "2: 0.1765   4: 0.2222",
            "/ CPU A REQUEST",
            "voluntary_switches",
            "×4.00",
            "1. context_switches  program:app  up to 20% of the loss  sure 49%",
            "? cannot be told: cpu_cache, memory_bandwidth  up to 70% of the loss",
            "Not known: cpi: no hardware counters.",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        // What hardly grew is not there, and nothing controls the terminal.
        assert!(
            !text.contains("disk_reads") && !text.contains('\u{1b}'),
            "{text}"
        );
        let wide = text.lines().map(|line| line.chars().count()).max();
        assert!(wide.unwrap() <= 100, "{text}");
    }

    #[test]
    fn on_a_narrow_screen_and_in_ascii_nothing_is_wider_than_the_screen() {
        let style = Style {
            width: Some(80),
            color: false,
            ascii: true,
        };
        let text = render(&scaling(), style);
        assert!(text.is_ascii(), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert_eq!(text.matches('?').count(), 1, "{text}");
    }

    #[test]
    fn without_a_law_the_reason_is_there() {
        let two = Scaling {
            usl: None,
            usl_unknown: Some("there are 2 sizes; measure at least three".to_owned()),
            ..scaling()
        };
        let text = render(&two, Style::default());
        assert!(
            text.contains("No scalability law: there are 2 sizes"),
            "{text}"
        );
        assert!(!text.contains("law 2."), "{text}");
    }
}
