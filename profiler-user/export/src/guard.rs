//! What `guard` prints for people: a line for each event, who was suspected most, and what is usual.
//!
//! In: [`Interference`], a [`Spec`]. Out: text for a terminal or a file. Must not know: how it is told who slows whom.

use std::collections::BTreeMap;

use courtside_core::{
    model::{
        interference::{Aggression, DecidedBy, EventKind, Interference, Signal},
        spec::{JobSpec, Spec},
        visible::visible,
    },
    units::{UNKNOWN, count, duration, duration_f64, percent, ratio},
};

use super::Style;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};

const NAME_WIDTH: usize = 28;
/// Suspects that a line names, at most.
const MAX_SUSPECTS: usize = 3;
/// Rows of a table, at most.
const MAX_ROWS: usize = 60;

/// One event: a line, and one below it for each suspect, with a newline at the end.
#[must_use]
pub fn line(event: &Interference, style: Style) -> String {
    let (mark, name) = match event.event {
        EventKind::Anomaly if event.self_inflicted => (WARN, "itself"),
        EventKind::Anomaly => (ALARM, "slow"),
        EventKind::Capped | EventKind::Refused => (WARN, event.event.name()),
        other => (BOLD, other.name()),
    };
    let mut first = Line::new(DIM, clock(event.time_unix_ns));
    first.push(mark, format!("  {name:<9}"));
    if !event.victim.is_empty() {
        first.push(BOLD, short(&event.victim));
    }
    if let Some(signal) = event.signal {
        first.push(PLAIN, format!("  {}", signal.name()));
        if let Some(value) = event.value {
            first.push(PLAIN, format!(" {}", show(signal, value)));
        }
        if let Some(expected) = event.expected {
            let upper = show(signal, expected.upper);
            let median = show(signal, expected.median);
            first.push(DIM, format!(" (mostly {median}, at most {upper})"));
        }
    }
    if let Some(sigmas) = event.sigmas.filter(|_| event.event == EventKind::Anomaly) {
        first.push(mark, format!("  +{sigmas:.0} sigma"));
    }
    let mut pieces = vec![first];
    pieces.push(Line::new(PLAIN, visible(&event.reason).into_owned()));
    let mut lines = flow(pieces, "  ", style.width);
    if let Some(action) = &event.action {
        let dry = if action.dry_run { " (dry run)" } else { "" };
        let text = format!(
            "          {}: {} -> {}{dry}",
            visible(&action.file),
            visible(&action.before),
            visible(&action.after)
        );
        lines.push(Line::new(DIM, text));
    }
    for (place, suspect) in event.suspects.iter().take(MAX_SUSPECTS).enumerate() {
        let mut text = format!(
            "          {}. {}  {} {:.2}",
            place + 1,
            short(&suspect.component),
            suspect.decided_by.name(),
            suspect.score
        );
        if let Some(ns) = suspect.blamed_ns {
            text += &format!("  {}", duration(ns));
        }
        if let Some(ns) = suspect.exposure_ns {
            text += &format!("  at most {}", duration(ns));
        }
        let by_use = suspect.decided_by != DecidedBy::Correlation;
        if let Some(correlation) = suspect.correlation.filter(|_| by_use) {
            text += &format!("  correlation {correlation:.2}");
        }
        lines.push(Line::new(PLAIN, text));
    }
    let more = event.suspects.len().saturating_sub(MAX_SUSPECTS);
    if more > 0 {
        lines.push(Line::new(DIM, format!("          … {more} more (-F json)")));
    }
    joined([lines], style)
}

/// `hh:mm:ss` of the day, UTC.
fn clock(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000 % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn short(id: &str) -> String {
    let name = id.split_once(':').map_or(id, |(_, name)| name);
    clip(&visible(name), NAME_WIDTH)
}

fn show(signal: Signal, value: f64) -> String {
    match signal {
        Signal::LlcMissesPerInstruction => format!("{value:.5}"),
        _ if signal.is_time() => duration_f64(value),
        _ => ratio(Some(value)),
    }
}

/// Who was suspected of slowing whom, and how often, after all events of a recording.
#[must_use]
pub fn summary(events: &[Interference], windows: u64, style: Style) -> String {
    let anomalies: Vec<&Interference> = events
        .iter()
        .filter(|event| event.event == EventKind::Anomaly)
        .collect();
    let own = anomalies
        .iter()
        .filter(|event| event.self_inflicted)
        .count();
    let mut pairs: BTreeMap<(&str, &str), (u64, f64, DecidedBy)> = BTreeMap::new();
    for event in &anomalies {
        let Some(first) = event.suspects.first() else {
            continue;
        };
        let pair = (event.victim.as_str(), first.component.as_str());
        let (times, score, by) = pairs
            .entry(pair)
            .or_insert((0, first.score, first.decided_by));
        *times += 1;
        if first.score > *score {
            (*score, *by) = (first.score, first.decided_by);
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| b.1.1.total_cmp(&a.1.1)));
    let rows = pairs.iter().take(MAX_ROWS);
    let rows: Vec<Vec<Line>> = rows
        .map(|((victim, suspect), (times, score, by))| {
            vec![
                Line::new(PLAIN, short(victim)),
                Line::new(PLAIN, short(suspect)),
                Line::new(PLAIN, count(*times)),
                Line::new(PLAIN, format!("{score:.2}")),
                Line::new(PLAIN, by.name()),
            ]
        })
        .collect();
    let columns = [
        ("SLOWED", false, 0),
        ("FIRST SUSPECT", false, 0),
        ("TIMES", true, 0),
        ("BEST SCORE", true, 1),
        ("DECIDED BY", false, 2),
    ];
    let grid = if rows.is_empty() {
        Vec::new()
    } else {
        grid(&columns, rows, style)
    };
    let more = pairs.len().saturating_sub(MAX_ROWS);
    let rest = if more > 0 {
        format!(" {more} more pairs are in -F json.")
    } else {
        String::new()
    };
    let text = format!(
        "{} windows: {} times something was slower than usual, {} of them by the service itself or its load.{rest}",
        count(windows),
        count(anomalies.len() as u64),
        count(own as u64)
    );
    joined([Vec::new(), grid, words(&text, style)], style)
}

/// Who had most to do with slow services over many windows, the worst first.
#[must_use]
pub fn aggressors(worst: &[Aggression], windows: u64, left_out: u64, style: Style) -> String {
    if worst.is_empty() {
        return String::new();
    }
    let row = |pair: &Aggression| {
        let waited = pair.waited_ns.map_or_else(|| UNKNOWN.to_owned(), duration);
        vec![
            Line::new(PLAIN, short(&pair.victim)),
            Line::new(PLAIN, short(&pair.component)),
            Line::new(PLAIN, count(pair.first)),
            Line::new(PLAIN, count(pair.windows)),
            Line::new(PLAIN, count(pair.slow_windows)),
            Line::new(PLAIN, waited),
            Line::new(PLAIN, format!("{:.2}", pair.score)),
            Line::new(PLAIN, pair.decided_by.name()),
        ]
    };
    let columns = [
        ("SLOWED", false, 0),
        ("MOST AGGRESSIVE", false, 0),
        ("FIRST IN", true, 0),
        ("NAMED IN", true, 1),
        ("SLOW IN", true, 2),
        ("HAD ITS CPU", true, 3),
        ("BEST SCORE", true, 4),
        ("BY", false, 5),
    ];
    let rows = worst.iter().take(MAX_ROWS).map(row).collect();
    let mut text = format!(
        "Of {} windows: those in which it was the first suspect, was named at all, and in which the service was slow. HAD ITS CPU is how \
         long threads of the service were runnable in the windows in which it was named while it had their CPU; the time of disk \
         requests is not in it.",
        count(windows)
    );
    let more = worst.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        text += &format!(" {more} more pairs are in --parquet.");
    }
    if left_out > 0 {
        text += &format!(
            " {} times a pair was left out: there were too many.",
            count(left_out)
        );
    }
    joined(
        [Vec::new(), grid(&columns, rows, style), words(&text, style)],
        style,
    )
}

/// What is usual, as a table.
#[must_use]
pub fn spec(spec: &Spec, style: Style) -> String {
    let row = |job: &JobSpec| {
        let value = |value: f64| Line::new(PLAIN, show(job.signal, value));
        let usable = if job.usable {
            Line::new(PLAIN, "yes")
        } else {
            Line::new(WARN, "too few")
        };
        vec![
            Line::new(PLAIN, short(&job.job)),
            Line::new(PLAIN, job.signal.name()),
            Line::new(PLAIN, count(job.windows)),
            value(job.all.median),
            value(job.all.deviation),
            value(job.all.mean),
            value(job.all.stddev),
            Line::new(
                PLAIN,
                job.requests_per_s_high
                    .map_or_else(|| UNKNOWN.to_owned(), courtside_core::units::rate),
            ),
            Line::new(PLAIN, percent(job.cpu_usage_mean)),
            usable,
        ]
    };
    let columns = [
        ("SERVICE", false, 0),
        ("SIGNAL", false, 0),
        ("WINDOWS", true, 2),
        ("MEDIAN", true, 0),
        ("DEVIATION", true, 1),
        ("MEAN", true, 4),
        ("STDDEV", true, 5),
        ("MOST REQ/s", true, 6),
        ("CPU", true, 7),
        ("USABLE", false, 3),
    ];
    let rows = spec.specs.iter().take(MAX_ROWS).map(row).collect();
    let more = spec.specs.len().saturating_sub(MAX_ROWS);
    let windows: u64 = spec.sources.iter().map(|source| source.windows).sum();
    let lost: u64 = spec.sources.iter().map(|source| source.lost).sum();
    let mut text = format!(
        "Learned from {} windows, {} lost. DEVIATION is the median one from the median.",
        count(windows),
        count(lost)
    );
    if more > 0 {
        text += &format!(" {more} more rows are in -F json.");
    }
    if spec.left_out > 0 {
        text += &format!(" {} series were too many and are left out.", spec.left_out);
    }
    joined([grid(&columns, rows, style), words(&text, style)], style)
}

fn grid(columns: &[(&str, bool, u8)], rows: Vec<Vec<Line>>, style: Style) -> Vec<Line> {
    let column = |&(title, right, rank): &(&str, bool, u8)| GridColumn {
        title: Line::new(HEAD, title),
        right,
        rank,
    };
    let columns = columns.iter().map(column).collect();
    Grid { columns, rows }.lines(style.width)
}

fn words(text: &str, style: Style) -> Vec<Line> {
    let words = text.split_whitespace().map(|word| Line::new(DIM, word));
    flow(words.collect(), " ", style.width)
}

#[cfg(test)]
mod tests {
    use courtside_core::model::interference::{Action, Expected, INTERFERENCE_SCHEMA, Suspect};

    use super::*;

    fn anomaly() -> Interference {
        Interference {
            schema: INTERFERENCE_SCHEMA.to_owned(),
            time_unix_ns: 1_700_000_003_000_000_000,
            event: EventKind::Anomaly,
            victim: "program:redis\u{1b}[31m".to_owned(),
            signal: Some(Signal::RunQueuePerRequest),
            value: Some(812_000.0),
            expected: Some(Expected {
                median: 140_000.0,
                deviation: 10_000.0,
                mean: 150_000.0,
                stddev: 20_000.0,
                samples: 60.0,
                upper: 210_000.0,
            }),
            sigmas: Some(45.3),
            self_inflicted: false,
            suspects: vec![Suspect {
                component: "program:hog".to_owned(),
                score: 0.95,
                decided_by: DecidedBy::Blame,
                correlation: Some(0.4),
                blamed_ns: Some(154_000_000),
                blamed_share: Some(0.95),
                ..Suspect::default()
            }],
            action: None,
            effect: None,
            reason: "95% of what it waited was given to program:hog".to_owned(),
            windows: 63,
            lost: 0,
        }
    }

    #[test]
    fn an_event_is_a_line_that_controls_no_terminal() {
        let text = line(&anomaly(), Style::default());
        assert_eq!(text.lines().count(), 2, "{text}");
        for part in [
            "22:13:23  slow",
            "run_queue_per_request 812 µs (mostly 140 µs, at most 210 µs)",
            "+45 sigma",
            "95% of what it waited",
            "1. hog  blame 0.95  154 ms  correlation 0.40",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn what_is_done_names_the_file_and_both_values() {
        let capped = Interference {
            event: EventKind::Capped,
            action: Some(Action {
                kind: "cap".to_owned(),
                component: "program:hog".to_owned(),
                cgroup: "/hog".to_owned(),
                file: "/sys/fs/cgroup/hog/cpu.max".to_owned(),
                before: "max 100000".to_owned(),
                after: "10000 100000".to_owned(),
                until_unix_ns: None,
                dry_run: true,
            }),
            ..anomaly()
        };
        let text = line(&capped, Style::default());
        let wanted = "/sys/fs/cgroup/hog/cpu.max: max 100000 -> 10000 100000 (dry run)";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn the_worst_are_a_table_and_what_was_not_recorded_is_not_zero() {
        let pair = |component: &str, waited_ns| Aggression {
            victim: "program:redis".to_owned(),
            component: component.to_owned(),
            slow_windows: 40,
            windows: 30,
            first: 20,
            score: 0.953,
            decided_by: DecidedBy::Blame,
            waited_ns,
        };
        let worst = [
            pair("program:hog", Some(1_540_000_000)),
            pair("program:x\u{1b}", None),
        ];
        let text = aggressors(&worst, 60, 0, Style::default());
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let hog = [
            "redis", "hog", "20", "30", "40", "1.54", "s", "0.95", "blame",
        ];
        assert!(rows.iter().any(|row| *row == hog), "{text}");
        assert!(text.contains(UNKNOWN) && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("Of 60 windows"), "{text}");
        assert_eq!(aggressors(&[], 60, 0, Style::default()), "");
    }

    #[test]
    fn a_summary_counts_who_was_first_and_what_was_its_own() {
        let own = Interference {
            self_inflicted: true,
            suspects: Vec::new(),
            ..anomaly()
        };
        let text = summary(&[anomaly(), anomaly(), own], 600, Style::default());
        assert!(
            text.contains("hog                2        0.95  blame"),
            "{text}"
        );
        let said =
            "600 windows: 3 times something was slower than usual, 1 of them by the service itself";
        assert!(text.replace('\n', " ").contains(said), "{text}");
        let nothing = summary(&[], 600, Style::default());
        assert!(nothing.starts_with("600 windows: 0 times"), "{nothing}");
    }
}
