//! The short answer of `infer`, while it is measured: how fast each process goes round, in what shape, what is worst.
//!
//! In: an [`Inference`]. Out: a few lines, none wider than the screen. Must not know: how often they are shown.

use courtside_core::{
    model::{
        inference::{Inference, Process},
        visible::visible,
    },
    units::{UNKNOWN, count, duration, percent, rate},
};

use super::{
    super::{
        Style,
        text::{BOLD, DIM, Line, PLAIN, WARN, clip, flow, joined},
    },
    grid, heading, name, plain,
};

/// Processes that are shown, at most: the lines have to fit on a screen.
const MAX_ROWS: usize = 12;
/// Width of what is worst where the screen's is not known.
const WIDE: usize = 100;

/// The answer so far in a few lines, with a newline at the end.
#[must_use]
pub fn brief(inference: &Inference, style: Style) -> String {
    let topology = &inference.topology;
    let lost = !inference.source.lost.is_empty();
    let mut lines = heading(inference, style);
    let shape = Line::new(BOLD, visible(&topology.shape).into_owned());
    let fits = plain(format!("match {}", percent(topology.match_score)));
    lines.extend(flow(vec![shape, fits], "   ", style.width));
    let width = style.width.unwrap_or(WIDE);
    if let Some(worst) = inference.findings.first() {
        // The rest is for the whole answer.
        let first = worst.says.split(';').next().unwrap_or_default();
        lines.push(Line::new(WARN, clip(first, width)));
    }
    if lost {
        let said = "events were lost: counts are too low, and times may be wrong";
        lines.push(Line::new(WARN, clip(said, width)));
    }
    let rows = inference.processes.iter().take(MAX_ROWS).map(row);
    let columns = [
        ("PROCESS", false, 0),
        ("ITER", true, 0),
        ("/s", true, 0),
        ("ON-CPU", true, 1),
        ("RUN Q", true, 1),
        ("WAITS", true, 1),
        ("MOST FOR", false, 2),
    ];
    let mut table = grid(&columns, rows.collect()).lines(style.width);
    let more = inference.processes.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        table.push(Line::new(DIM, format!("{more} more processes")));
    }
    joined([lines, table], style)
}

/// What there is to say before anything can be told.
#[must_use]
pub fn not_yet(why: &str, style: Style) -> String {
    let said = format!("cannot tell yet: {}", visible(why));
    let line = Line::new(PLAIN, clip(&said, style.width.unwrap_or(WIDE)));
    joined([vec![line]], style)
}

fn row(process: &Process) -> Vec<Line> {
    let turns = process.iterations.by_turn.as_ref();
    let told = |text: Option<String>| plain(text.unwrap_or_else(|| UNKNOWN.to_owned()));
    let time = &process.time;
    let (waits_ns, most) = time.waits();
    vec![
        plain(name(&process.id)),
        told(turns.map(|by| count(by.count))),
        told(turns.map(|by| rate(by.mean_per_s))),
        plain(duration(time.on_cpu_ns)),
        plain(duration(time.run_queue_ns)),
        plain(duration(waits_ns)),
        plain(most.map_or_else(String::new, name)),
    ]
}

#[cfg(test)]
mod tests {
    use courtside_core::model::inference::{ByTurn, InferenceSource, ReceiveWait};

    use super::*;

    #[test]
    fn a_few_lines_that_fit_tell_rates_and_waits_and_what_was_lost() {
        let mut inference = Inference::default();
        inference.topology.shape = "ring".to_owned();
        inference.source = InferenceSource {
            lost: [("events".to_owned(), 7)].into(),
            ..InferenceSource::default()
        };
        for rank in 0..40 {
            let mut process = Process {
                id: format!("rank{rank}/{rank}"),
                ..Process::default()
            };
            process.iterations.by_turn = Some(ByTurn {
                count: 250,
                mean_per_s: 25.0,
            });
            process.time.receive_wait = vec![ReceiveWait {
                from: "rank7/7".to_owned(),
                not_sent_ns: 3_000_000,
                in_flight_ns: 1_000_000,
                transfer_ns: 0,
            }];
            inference.processes.push(process);
        }
        let style = Style {
            width: Some(60),
            ..Style::default()
        };
        let text = brief(&inference, style);
        for words in [
            "ring",
            "lost 7",
            "250",
            "25.0",
            "4.00 ms",
            "28 more",
            "events were lost",
        ] {
            assert!(text.contains(words), "{words} in:\n{text}");
        }
        assert!(text.lines().count() < 24, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        let none = not_yet(&"no messages ".repeat(30), style);
        assert!(none.starts_with("cannot tell yet: no messages") && none.lines().count() == 1);
    }
}
