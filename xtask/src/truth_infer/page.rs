//! The page docs/infer-truth.md.
//!
//! In: what was told and what was so. Out: Markdown. Must not know: how either was found.

use std::fmt::Write as _;

use super::run::{Answer, Counted, Iterations, Row};
use super::{CPUS, Plan};
use crate::bench::Machine;

/// Furthest that a prediction may be off when load from outside is removed.
const TARGET: f64 = 0.05;

/// All of it.
pub fn page(machine: &Machine, busy: f64, plan: Plan, minutes: f64, rows: &[Row]) -> String {
    let mut page = format!(
        "# What is inferred of parallel applications, and what is so\n\n\
         Written by `cargo xtask truth infer`, in {minutes:.0} minutes. {}, Linux {}, {} CPUs; before it, {:.1} % of all CPU time \
         was used by others.\n\n\
         Ranks of `courtside-workload patterns` take turns on {CPUS} CPUs, each {} times: {} ms of CPU time, then messages to its \
         neighbours. Beside them runs nothing, or a busy loop on one or on both of these CPUs. Each run is recorded with single \
         events, and `courtside infer` is asked what it was, and how long it would have taken without the loop. Only then the \
         same ranks run by themselves, {} times, and are timed by their own clocks.\n",
        machine.cpu,
        machine.kernel,
        machine.cpus,
        busy * 100.0,
        plan.iterations,
        plan.compute_ms,
        plan.alone,
    );
    let mut missed = Vec::new();
    counts(&mut page, rows, plan, &mut missed);
    predictions(&mut page, rows, &mut missed);
    page += "\n## What was missed\n\n";
    if missed.is_empty() {
        page += "Nothing of what was measured.\n";
    }
    for line in &missed {
        let _ = writeln!(page, "- {line}");
    }
    page
}

/// How a row is called.
fn name(row: &Row) -> String {
    let Row { case, load, .. } = row;
    format!("{} of {}, {load} loaded", case.shape, case.ranks)
}

fn answers<'a>(rows: &'a [Row], missed: &mut Vec<String>) -> Vec<(&'a Row, &'a Answer)> {
    let mut found = Vec::new();
    for row in rows {
        match &row.answer {
            Ok(answer) => found.push((row, answer)),
            Err(why) => missed.push(format!("{}: {why}", name(row))),
        }
    }
    found
}

fn counts(page: &mut String, rows: &[Row], plan: Plan, missed: &mut Vec<String>) {
    *page += "\n## What it did\n\n\
              A message is counted when it is sent; over each connection the two ranks say once who they are, which is counted \
              with them. Iterations are the most of any rank by each rule: by turn, by gap, by blocking.\n\n\
              | application | CPUs loaded | shape | ranks | messages | of | iterations by turn, gap, blocking | of | events |\n\
              |---|--:|---|--:|--:|--:|--:|--:|--:|\n";
    for (row, answer) in answers(rows, missed) {
        let (own, told) = (&answer.own, &answer.told);
        let sent = own.messages() + own.connections();
        let most = |rule: fn(&Iterations) -> &Option<Counted>| {
            let each = told.processes.iter();
            let counted = each.filter_map(|process| rule(&process.iterations).as_ref());
            let most = counted.map(|counted| counted.count).max();
            most.map_or_else(|| "-".to_owned(), |most| most.to_string())
        };
        let also = if told.topology.also.is_empty() {
            String::new()
        } else {
            format!(" (also {})", told.topology.also.join(", "))
        };
        let _ = writeln!(
            page,
            "| {} of {} | {} | {}{also} | {} | {} | {sent} | {}, {}, {} | {} | {} |",
            row.case.shape,
            row.case.ranks,
            row.load,
            told.topology.shape,
            told.processes.len(),
            told.messages(),
            most(|rules| &rules.by_turn),
            most(|rules| &rules.by_gap),
            most(|rules| &rules.by_blocking),
            plan.iterations,
            told.events(),
        );
        let is_named = told.topology.shape == row.case.shape
            || told.topology.also.iter().any(|name| name == row.case.shape);
        if !is_named {
            missed.push(format!(
                "{}: it was called {}",
                name(row),
                told.topology.shape
            ));
        }
        if told.messages() != sent {
            missed.push(format!(
                "{}: {} messages of {sent}",
                name(row),
                told.messages()
            ));
        }
        let ranks: Vec<u32> = own.ranks.iter().map(|rank| rank.tgid).collect();
        let processes: Vec<u32> = told.processes.iter().map(|process| process.tgid).collect();
        if ranks != processes {
            missed.push(format!(
                "{}: the processes {processes:?} instead of {ranks:?}",
                name(row)
            ));
        }
    }
}

fn predictions(page: &mut String, rows: &[Row], missed: &mut Vec<String>) {
    let _ = write!(
        page,
        "\n## What would be without the load\n\n\
         Seconds. Predicted: `without` the loop, and `no_outside_load` where there was none. Alone: the median of runs by \
         themselves, by the application's own clock, with the shortest and the longest. The self-check is the same simulation with \
         nothing changed; where it is off by more than 5 %, nothing is predicted. What the window holds beside the ranks' own \
         time (connecting, the last words) is taken off what is predicted. To be reached: {:.0} %.\n\n\
         | application | CPUs loaded | took | predicted | alone | spread | off | self-check, as recorded | self-check, put anew |\n\
         |---|--:|--:|--:|--:|---|--:|--:|--:|\n",
        TARGET * 100.0
    );
    for row in rows {
        let Ok(answer) = &row.answer else {
            continue;
        };
        let own_ns = answer.own.wall_ns();
        let beside_ns = answer.what.measured_ns.saturating_sub(own_ns);
        let alone_ns = row
            .alone_ns
            .get(row.alone_ns.len() / 2)
            .copied()
            .unwrap_or_default();
        let predicted = answer
            .what
            .predicted_ns
            .map(|ns| ns.saturating_sub(beside_ns));
        let off = predicted.map(|ns| ns as f64 / alone_ns.max(1) as f64 - 1.0);
        let range = [row.alone_ns.first(), row.alone_ns.last()];
        let [least, most] = range.map(|ns| seconds(ns.copied().unwrap_or_default()));
        let check = |of: fn(&super::run::SelfCheck) -> f64| {
            let check = answer.told.self_check.as_ref();
            check.map_or_else(|| "-".to_owned(), |check| percent(of(check)))
        };
        let _ = writeln!(
            page,
            "| {} of {} | {} | {} | {} | {} | {least} to {most} | {} | {} | {} |",
            row.case.shape,
            row.case.ranks,
            row.load,
            seconds(own_ns),
            predicted.map_or_else(|| "not told".to_owned(), seconds),
            seconds(alone_ns),
            off.map_or_else(|| "-".to_owned(), percent),
            check(|check| check.replay_error),
            check(|check| check.rescheduled_error),
        );
        match off {
            None => missed.push(format!("{}: not told: {}", name(row), answer.what.says)),
            Some(off) if off.abs() > TARGET => {
                missed.push(format!("{}: off by {}", name(row), percent(off)));
            }
            Some(_) => {}
        }
    }
}

fn seconds(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e9)
}

fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::case;
    use super::*;

    fn row(predicted_ns: Option<u64>) -> Row {
        let own = serde_json::from_value(serde_json::json!({
            "iterations": 10,
            "edges": [[0, 1], [1, 0]],
            "ranks": [
                { "tgid": 7, "messages": 10, "elapsed": { "wall_ns": 2_000_000_000_u64 } },
                { "tgid": 8, "messages": 10, "elapsed": { "wall_ns": 1_900_000_000_u64 } },
            ],
        }));
        let told = serde_json::from_value(serde_json::json!({
            "processes": [
                { "tgid": 7, "iterations": { "by_turn": { "count": 10 }, "by_gap": null, "by_blocking": { "count": 3 } } },
                { "tgid": 8, "iterations": { "by_turn": { "count": 9 }, "by_gap": { "count": 8 }, "by_blocking": { "count": 1 } } },
            ],
            "topology": { "shape": "ring", "also": ["pipeline"] },
            "what_if": [],
            "self_check": { "rescheduled_error": 0.01, "replay_error": -0.004 },
            "network": [{ "messages": 11 }, { "messages": 10 }],
            "source": { "events": 99 },
        }));
        Row {
            case: case("ring", 2, None),
            load: 1,
            answer: Ok(Answer {
                own: own.unwrap(),
                told: told.unwrap(),
                what: super::super::run::Scenario {
                    scenario: "without: x".to_owned(),
                    predicted_ns,
                    measured_ns: 2_100_000_000,
                    says: "because".to_owned(),
                },
            }),
            alone_ns: vec![900_000_000, 1_000_000_000, 1_100_000_000],
        }
    }

    fn machine() -> Machine {
        Machine {
            cpu: "a CPU".to_owned(),
            cpus: 2,
            kernel: "6.18".to_owned(),
            load: String::new(),
            day: String::new(),
        }
    }

    #[test]
    fn what_is_beside_the_ranks_is_taken_off() {
        let text = page(
            &machine(),
            0.01,
            super::super::QUICK,
            1.0,
            &[row(Some(1_140_000_000))],
        );
        assert!(
            text.contains("| ring of 2 | 1 | 2.000 | 1.040 | 1.000 | 0.900 to 1.100 | +4.0 % | -0.4 % | +1.0 % |"),
            "{text}"
        );
        assert!(
            text.contains("| ring of 2 | 1 | ring (also pipeline) | 2 | 21 | 21 | 10, 8, 3 |"),
            "{text}"
        );
        assert!(text.contains("Nothing of what was measured."), "{text}");
    }

    #[test]
    fn what_is_not_told_or_too_far_off_is_missed() {
        let rows = [row(None), row(Some(1_200_000_000))];
        let text = page(&machine(), 0.01, super::super::QUICK, 1.0, &rows);
        assert!(text.contains("not told: because"), "{text}");
        assert!(text.contains("off by +10.0 %"), "{text}");
        let failed = Row {
            answer: Err("no such file".to_owned()),
            ..row(None)
        };
        let text = page(&machine(), 0.01, super::super::QUICK, 1.0, &[failed]);
        assert!(
            text.contains("- ring of 2, 1 loaded: no such file"),
            "{text}"
        );
    }
}
