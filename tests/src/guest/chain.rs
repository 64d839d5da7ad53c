//! Chain: load → web → app → store, and what each tier's time was made of.
//!
//! In: a built `courtside`. Out: the parts, measured and true. Must not know: how long the work takes on this machine.

use std::fs;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::harness::{Host, list, number};

/// The tiers wait for a timer or a lock far longer than an emulated machine takes for a call.
const WORK: [&str; 9] = [
    "relay",
    "--requests",
    "20",
    "--web",
    "spin=20ms,sleep=15ms,calls=2",
    "--app",
    "spin=15ms,sleep=10ms,lock=20ms,calls=1",
    "--store",
    "spin=20ms,sleep=20ms",
];
/// Word of the kernel's command line: the machine's clock counts instructions.
const COUNTS: &str = "courtside.counts";

/// Of the whole, in per cent, that may be booked on the other side of a boundary: a program reads the clock some time before
/// its call is a send to the kernel. Where the clock counts instructions six in ten thousand is the most that was seen; else
/// what the host does meanwhile lies between the two, two in a hundred with a load average of 6.
fn tolerance_percent() -> anyhow::Result<u64> {
    Ok(if counts_instructions()? { 1 } else { 5 })
}

/// Whether the machine's clock counts instructions.
pub fn counts_instructions() -> anyhow::Result<bool> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    Ok(command_line.split_whitespace().any(|word| word == COUNTS))
}

/// Roundtrips are exact, and the parts of every tier's turnaround are what the tier says they were.
///
/// # Errors
/// Names the tier and the part that differs.
pub fn parts_are_true(host: &Host) -> anyhow::Result<Value> {
    let measured = host.measure(&WORK)?;
    let snapshot = &measured.snapshot;
    ensure!(
        snapshot.lost_counts().is_empty(),
        "lost: {:?}",
        snapshot.lost_counts()
    );
    let (mut figures, mut wrong) = (Vec::new(), Vec::new());
    for (from, to, roundtrips) in [
        ("load", "web", 20),
        ("web", "app", 40),
        ("app", "store", 40),
    ] {
        let edge = snapshot.edge(from, to)?;
        for path in ["roundtrips", "service_ns/count"] {
            let found = number(edge, path)?;
            ensure!(
                found == roundtrips,
                "{from} → {to} {path}: {found}, truth {roundtrips}"
            );
        }
    }
    for tier in list(&measured.answer, "tiers") {
        let name = tier["name"].as_str().unwrap_or_default();
        let turnaround = &snapshot.component(name)?["turnaround"];
        let truth = |fields: &[&str]| -> anyhow::Result<u64> {
            let mut sum = 0;
            for direction in ["to_next", "to_caller"] {
                for field in fields {
                    sum += number(&tier[direction], field)?;
                }
            }
            Ok(sum)
        };
        let turns = number(tier, "requests")? + number(tier, "calls")?;
        let counted = number(turnaround, "count")?;
        ensure!(
            counted == turns,
            "{name}: {counted} turnarounds, truth {turns}"
        );
        let unprompted = number(turnaround, "unprompted_count")?;
        ensure!(unprompted == 0, "{name}: {unprompted} sends unprompted");
        let whole = truth(&["total_ns"])?;
        let allowed = whole * tolerance_percent()? / 100;
        for (part, fields) in [
            ("on_cpu_ns", &["on_cpu_ns"] as &[&str]),
            ("run_queue_ns", &["run_queue_ns"]),
            ("sleep_ns", &["timer_ns", "lock_ns"]),
            ("block_io_ns", &["disk_ns"]),
            ("queued_ns", &[]),
            ("total_ns", &["total_ns"]),
        ] {
            let (found, truth) = (number(turnaround, part)?, truth(fields)?);
            figures.push(json!({ "tier": name, "part": part, "measured": found, "truth": truth }));
            if found.abs_diff(truth) > allowed {
                wrong.push(format!(
                    "{name} {part}: {found}, truth {truth}, allowed difference {allowed}"
                ));
            }
        }
    }
    let figures = Value::Array(figures);
    ensure!(wrong.is_empty(), "{}; of {figures}", wrong.join(" | "));
    Ok(figures)
}

/// A thread that its timer wakes was handed nothing by the thread of its process that the timer's interrupt falls on.
///
/// # Errors
/// Says what was counted instead.
pub fn timer_hands_nothing_over(host: &Host) -> anyhow::Result<Value> {
    let measured = host.measure(&["interrupted", "--ticks", "10"])?;
    let lost = measured.snapshot.lost_counts();
    ensure!(lost.is_empty(), "lost: {lost:?}");
    let ticks = number(&measured.answer, "ticks")?;
    let turnaround = &measured.snapshot.component("in-busy")?["turnaround"];
    let count = number(turnaround, "count")?;
    let unprompted = number(turnaround, "unprompted_count")?;
    ensure!(
        (count, unprompted) == (1, ticks),
        "{count} turnarounds and {unprompted} unprompted sends, truth 1 and {ticks}"
    );
    Ok(json!({ "ticks": ticks }))
}
