//! The tables of `infer`: each process of a parallel application, who talks to whom, what would have been, what is wrong.
//!
//! In: an [`Inference`], a [`Compared`], a [`Calibration`]. Out: text for a terminal or a file. Must not know: how anything
//! is told.

mod brief;

use courtside_core::{
    model::{
        finding::Severity,
        inference::{Calibration, Compared, Inference, Process, Scenario},
        visible::visible,
    },
    units::{
        UNKNOWN, bytes_f64, count, duration, duration_f64, percent, rate, ratio, signed_percent,
    },
};

pub use brief::{brief, not_yet};

use super::Style;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};

/// Processes, pairs and scenarios that are shown, at most.
const MAX_ROWS: usize = 32;
/// With more processes the matrix is not shown.
const MAX_MATRIX: usize = 12;
/// Longer names are cut.
const NAME_WIDTH: usize = 24;
/// Changes of the topology that are shown, at most.
const MAX_CHANGES: usize = 10;
/// The self-check is off by so much: say it loudly.
const OFF: f64 = 0.05;

/// The answer as text, with a newline at the end.
#[must_use]
pub fn render(inference: &Inference, style: Style) -> String {
    let blocks = [
        heading(inference, style),
        findings(inference, style),
        processes(inference, style),
        topology(inference, style),
        matrix(inference, style),
        scenarios(inference, style),
        imbalance(inference, style),
        remarks(&inference.remarks, style),
    ];
    joined(blocks, style)
}

pub(super) fn name(id: &str) -> String {
    clip(&visible(id), NAME_WIDTH)
}

fn plain(text: impl Into<String>) -> Line {
    Line::new(PLAIN, text)
}

fn grid(columns: &[(&str, bool, u8)], rows: Vec<Vec<Line>>) -> Grid {
    let column = |&(title, right, rank): &(&str, bool, u8)| GridColumn {
        title: Line::new(HEAD, title),
        right,
        rank,
    };
    Grid {
        columns: columns.iter().map(column).collect(),
        rows,
    }
}

fn heading(inference: &Inference, style: Style) -> Vec<Line> {
    let source = &inference.source;
    let lost = source.lost.values().copied().fold(0, u64::saturating_add);
    let mut title = Line::new(BOLD, clip(&visible(&source.file), 60));
    title.push(
        PLAIN,
        format!("  {} processes", count(inference.processes.len() as u64)),
    );
    let pieces = vec![
        title,
        plain(format!(
            "{} from first to last message",
            duration(source.application_ns)
        )),
        plain(format!(
            "{} in {} windows, {} events",
            duration(source.duration_ns),
            count(source.windows),
            count(source.events)
        )),
        Line::new(
            if lost > 0 { WARN } else { PLAIN },
            format!("lost {}", count(lost)),
        ),
    ];
    flow(pieces, "   ", style.width)
}

fn findings(inference: &Inference, style: Style) -> Vec<Line> {
    let mut lines = Vec::new();
    for finding in &inference.findings {
        let color = match finding.severity {
            Severity::Bad => ALARM,
            Severity::Warn => WARN,
            Severity::Info => PLAIN,
        };
        let mut line = Line::new(color, format!("{:<5}", finding.severity.name()));
        line.push(PLAIN, visible(&finding.says).into_owned());
        lines.extend(flow(vec![line], "", style.width));
        lines.push(Line::new(DIM, format!("     {}", visible(&finding.remedy))));
    }
    lines
}

fn processes(inference: &Inference, style: Style) -> Vec<Line> {
    let length_ns = inference.source.application_ns;
    let rows = inference
        .processes
        .iter()
        .take(MAX_ROWS)
        .map(|process| row(process, length_ns));
    let columns = [
        ("PROCESS", false, 0),
        ("ITER", true, 0),
        ("/s", true, 1),
        ("GAP", true, 4),
        ("BLOCK", true, 4),
        ("ON-CPU", true, 0),
        ("RUN Q", true, 0),
        ("RECV", true, 0),
        ("FROM", false, 2),
        ("DISK", true, 3),
        ("OTHER", true, 3),
        ("COURT", true, 2),
        ("SLACK", true, 3),
        ("CRITICAL", true, 1),
    ];
    let mut lines = grid(&columns, rows.collect()).lines(style.width);
    let more = inference.processes.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        lines.push(Line::new(
            DIM,
            format!("… {more} more processes (all of them: -F json)"),
        ));
    }
    lines
}

fn row(process: &Process, length_ns: u64) -> Vec<Line> {
    let iterations = &process.iterations;
    let time = &process.time;
    let number = |value: Option<u64>| plain(value.map_or_else(|| UNKNOWN.to_owned(), count));
    let (waits, most) = time.waits();
    let most = most.map_or_else(String::new, name);
    let busy = |ns: u64| {
        let long = length_ns > 0 && ns as f64 >= 0.5 * length_ns as f64;
        Line::new(if long { WARN } else { PLAIN }, duration(ns))
    };
    let throttled_ns = time.throttled_ns.unwrap_or(0);
    let others = [throttled_ns, time.lock_ns, time.send_wait_ns, time.other_ns];
    let critical = process.critical_share;
    vec![
        plain(name(&process.id)),
        number(iterations.by_turn.as_ref().map(|by| by.count)),
        plain(
            iterations
                .by_turn
                .as_ref()
                .map_or_else(|| UNKNOWN.to_owned(), |by| rate(by.mean_per_s)),
        ),
        number(iterations.by_gap.as_ref().map(|by| by.count)),
        number(iterations.by_blocking.as_ref().map(|by| by.count)),
        plain(duration(time.on_cpu_ns)),
        busy(time.run_queue_ns),
        busy(waits),
        plain(most),
        plain(duration(time.block_io_ns)),
        plain(duration(others.into_iter().fold(0, u64::saturating_add))),
        plain(duration(process.court.queue_corrected_ns)),
        plain(
            process
                .slack_ns
                .map_or_else(|| UNKNOWN.to_owned(), duration),
        ),
        plain(critical.map_or_else(|| UNKNOWN.to_owned(), percent)),
    ]
}

fn topology(inference: &Inference, style: Style) -> Vec<Line> {
    let topology = &inference.topology;
    let mut shape = Line::new(BOLD, visible(&topology.shape).into_owned());
    if !topology.dimensions.is_empty() {
        let extents: Vec<String> = topology.dimensions.iter().map(u64::to_string).collect();
        shape.push(PLAIN, format!(" {}", extents.join(" × ")));
    }
    let mut pieces = vec![shape];
    pieces.push(plain(format!("match {}", percent(topology.match_score))));
    if !topology.also.is_empty() {
        pieces.push(plain(format!(
            "also: {}",
            visible(&topology.also.join(", "))
        )));
    }
    pieces.push(plain(format!(
        "{} edges",
        count(topology.edges.len() as u64)
    )));
    let periods = inference
        .processes
        .iter()
        .filter_map(|process| process.period.as_ref());
    let best = periods.max_by(|a, b| a.confidence.total_cmp(&b.confidence));
    if let Some(period) = best {
        pieces.push(plain(format!(
            "repeats every {} ± {} (confidence {})",
            duration_f64(period.period_ns),
            duration_f64(period.resolution_ns),
            ratio(Some(period.confidence))
        )));
    }
    let mut lines = flow(pieces, "   ", style.width);
    for change in topology.changes.iter().take(MAX_CHANGES) {
        lines.push(plain(format!(
            "at {} it became {}: {} edges more, {} fewer",
            duration(change.at_ns),
            visible(&change.shape),
            change.edges_added.len(),
            change.edges_removed.len()
        )));
    }
    lines
}

fn matrix(inference: &Inference, style: Style) -> Vec<Line> {
    let topology = &inference.topology;
    if topology.processes.len() > MAX_MATRIX {
        return Vec::new();
    }
    let names: Vec<String> = topology
        .processes
        .iter()
        .map(|id| clip(&visible(id), 12))
        .collect();
    let mut columns = vec![("BYTES/s FROM \\ TO", false, 0)];
    columns.extend(names.iter().map(|name| (name.as_str(), true, 1)));
    let cell = |rate: &f64| match *rate {
        0.0 => Line::new(DIM, "·"),
        rate => plain(bytes_f64(rate)),
    };
    let rows = topology.bytes_per_s.iter().zip(&names).map(|(row, name)| {
        let mut line = vec![plain(name.as_str())];
        line.extend(row.iter().map(cell));
        line
    });
    grid(&columns, rows.collect()).lines(style.width)
}

fn scenarios(inference: &Inference, style: Style) -> Vec<Line> {
    let rows: Vec<_> = inference
        .what_if
        .iter()
        .take(MAX_ROWS)
        .map(scenario)
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = [
        ("WHAT IF", false, 0),
        ("WHO", false, 2),
        ("WOULD TAKE", true, 0),
        ("TOOK", true, 1),
        ("SPEED-UP", true, 0),
        ("BOUNDED BY", false, 2),
    ];
    let mut lines = grid(&columns, rows).lines(style.width);
    for scenario in &inference.what_if {
        if scenario.predicted_ns.is_none() {
            lines.push(Line::new(
                DIM,
                format!(
                    "{}: {}",
                    visible(&scenario.scenario),
                    visible(&scenario.says)
                ),
            ));
        }
    }
    if let Some(check) = &inference.self_check {
        let off = check.replay_error.abs().max(check.rescheduled_error.abs());
        let text = format!(
            "self-check, nothing changed: {} with waits as recorded ({}), {} put on the CPUs anew ({})",
            duration(check.replay_ns),
            signed(check.replay_error),
            duration(check.rescheduled_ns),
            signed(check.rescheduled_error)
        );
        lines.push(Line::new(if off > OFF { WARN } else { PLAIN }, text));
    }
    let tolerance = &inference.latency_tolerance;
    let known = tolerance
        .iter()
        .any(|tolerance| tolerance.added_ns.is_some());
    let unknown = tolerance.iter().find_map(|one| one.unknown.as_ref());
    if let Some(why) = unknown.filter(|_| !known) {
        lines.push(Line::new(
            DIM,
            format!("how much longer messages may take: {}", visible(why)),
        ));
        return lines;
    }
    let tolerance: Vec<String> = tolerance
        .iter()
        .map(|tolerance| {
            let added = tolerance
                .added_ns
                .map_or_else(|| "> 1 s".to_owned(), duration);
            format!("{added} for {}", percent(tolerance.slower))
        })
        .collect();
    if !tolerance.is_empty() {
        lines.push(plain(format!(
            "messages may take longer by: {}",
            tolerance.join(", ")
        )));
    }
    lines
}

pub(super) fn signed(error: f64) -> String {
    let size = signed_percent(error);
    if error > 0.0 && !size.starts_with('<') {
        format!("+{size}")
    } else {
        size
    }
}

fn scenario(scenario: &Scenario) -> Vec<Line> {
    let who = match scenario.processes.as_slice() {
        [one] => name(one),
        [] => UNKNOWN.to_owned(),
        some => format!("{} processes", some.len()),
    };
    let fast = scenario.speedup.is_some_and(|speedup| speedup >= 1.1);
    vec![
        plain(clip(&visible(&scenario.scenario), 40)),
        plain(who),
        plain(
            scenario
                .predicted_ns
                .map_or_else(|| UNKNOWN.to_owned(), duration),
        ),
        plain(duration(scenario.measured_ns)),
        Line::new(
            if fast { ALARM } else { PLAIN },
            scenario
                .speedup
                .map_or_else(|| UNKNOWN.to_owned(), |s| format!("×{}", ratio(Some(s)))),
        ),
        plain(
            scenario
                .bounded_by
                .as_deref()
                .map_or_else(String::new, name),
        ),
    ]
}

fn imbalance(inference: &Inference, style: Style) -> Vec<Line> {
    let imbalance = &inference.imbalance;
    let factor = |name: &str, value: Option<f64>| {
        plain(format!(
            "{name} {}",
            value.map_or_else(|| UNKNOWN.to_owned(), percent)
        ))
    };
    let mut lines = flow(
        vec![
            factor("parallel efficiency", imbalance.parallel_efficiency),
            factor("= load balance", imbalance.load_balance),
            factor("× serialisation", imbalance.serialisation_efficiency),
            factor("× transfer", imbalance.transfer_efficiency),
            plain(format!(
                "court times deviate by {}",
                duration_f64(imbalance.deviation_ns)
            )),
        ],
        "   ",
        style.width,
    );
    if let Some(why) = &imbalance.unknown {
        lines.push(Line::new(DIM, visible(why).into_owned()));
    }
    lines
}

fn remarks(remarks: &[String], _style: Style) -> Vec<Line> {
    let line = |remark: &String| Line::new(DIM, visible(remark).into_owned());
    remarks.iter().map(line).collect()
}

/// A comparison as text.
#[must_use]
pub fn compared(compared: &Compared, style: Style) -> String {
    let mut lines = vec![
        plain(format!(
            "A  {}  {}",
            clip(&visible(&compared.a), 60),
            visible(&compared.shape_a)
        )),
        plain(format!(
            "B  {}  {}",
            clip(&visible(&compared.b), 60),
            visible(&compared.shape_b)
        )),
    ];
    let distance = compared.fingerprint_distance;
    lines.push(match (distance, &compared.fingerprint_unknown) {
        (Some(distance), _) => plain(format!(
            "fingerprints differ by {} of 1",
            ratio(Some(distance))
        )),
        (None, why) => plain(format!(
            "fingerprints: cannot tell: {}",
            visible(why.as_deref().unwrap_or("unknown"))
        )),
    });
    lines.push(match compared.time_ratio {
        Some(times) => Line::new(
            BOLD,
            format!(
                "an iteration takes {} times as long in B",
                ratio(Some(times))
            ),
        ),
        None => plain("how much longer an iteration takes cannot be told"),
    });
    let rows: Vec<Vec<Line>> = compared
        .pairs
        .iter()
        .take(MAX_ROWS)
        .map(|pair| {
            vec![
                plain(name(&pair.a)),
                plain(name(&pair.b)),
                plain(format!("×{}", ratio(Some(pair.time_ratio)))),
            ]
        })
        .collect();
    let pairs = if rows.is_empty() {
        Vec::new()
    } else {
        let columns = [
            ("IN A", false, 0),
            ("IN B", false, 0),
            ("TIMES AS LONG", true, 0),
        ];
        grid(&columns, rows).lines(style.width)
    };
    joined([lines, pairs, remarks(&compared.remarks, style)], style)
}

/// A calibration as text.
#[must_use]
pub fn calibrated(calibration: &Calibration, style: Style) -> String {
    let rows = calibration
        .points
        .iter()
        .map(|point| vec![plain(rate(point.rate_per_s)), plain(percent(point.kept))]);
    let columns = [("ITERATIONS/s", true, 0), ("KEPT UNDER LOAD", true, 0)];
    let points = grid(&columns, rows.collect()).lines(style.width);
    let said = match &calibration.slowdown {
        None => Vec::new(),
        Some(slowdown) => vec![
            Line::new(
                BOLD,
                format!(
                    "{} would take {} times as long under this load (with the same work done; by the plain rule {})",
                    clip(&visible(&slowdown.file), 60),
                    ratio(Some(slowdown.work_conserving)),
                    ratio(Some(slowdown.plain))
                ),
            ),
            plain(format!(
                "{} of its time is at rates outside of those calibrated",
                percent(slowdown.outside)
            )),
        ],
    };
    joined([points, said, remarks(&calibration.remarks, style)], style)
}

#[cfg(test)]
mod tests {
    use courtside_core::model::inference::{ByTurn, Iterations, SelfCheck, Tolerance, Topology};

    use super::*;

    #[test]
    fn the_table_says_what_is_known_and_what_is_not() {
        let inference = Inference {
            processes: vec![Process {
                id: "rank0/7\u{1b}[31m".to_owned(),
                iterations: Iterations {
                    by_turn: Some(ByTurn {
                        count: 199,
                        mean_per_s: 99.5,
                    }),
                    ..Iterations::default()
                },
                ..Process::default()
            }],
            topology: Topology {
                processes: vec!["rank0/7".to_owned()],
                bytes_per_s: vec![vec![0.0]],
                shape: "ring".to_owned(),
                match_score: 1.0,
                also: vec!["torus".to_owned()],
                ..Topology::default()
            },
            what_if: vec![Scenario {
                scenario: "no_disk_wait".to_owned(),
                says: "cannot tell, because it polls".to_owned(),
                ..Scenario::default()
            }],
            latency_tolerance: vec![Tolerance {
                slower: 0.01,
                added_ns: None,
                unknown: Some("cannot tell: it comes out wrong".to_owned()),
            }],
            self_check: Some(SelfCheck {
                replay_error: -0.004,
                ..SelfCheck::default()
            }),
            ..Inference::default()
        };
        let text = render(&inference, Style::default());
        for words in [
            "199",
            "ring   match 100%   also: torus",
            "no_disk_wait: cannot tell, because it polls",
            "how much longer messages may take: cannot tell: it comes out wrong",
            "-0.4%",
        ] {
            assert!(text.contains(words), "{words} in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(text.ends_with('\n'));
        let tolerance = |slower: f64, added_ns: Option<u64>| Tolerance {
            slower,
            added_ns,
            unknown: added_ns
                .is_none()
                .then(|| "a second more is less".to_owned()),
        };
        let some = Inference {
            what_if: inference.what_if.clone(),
            latency_tolerance: vec![tolerance(0.01, Some(600_000_000)), tolerance(0.05, None)],
            ..Inference::default()
        };
        let text = render(&some, Style::default());
        assert!(text.contains("600 ms for 1.0%, > 1 s for 5.0%"), "{text}");
        let nothing = compared(&Compared::default(), Style::default());
        assert!(nothing.contains("cannot tell"));
        assert!(calibrated(&Calibration::default(), Style::default()).contains("KEPT UNDER LOAD"));
    }
}
