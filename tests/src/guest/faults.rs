//! Faults: what the world does to a measurement, and cannot be done to a host that others use.
//!
//! In: a built `courtside`. Out: how much was compared. Must not know: how a measurement bears it.

use std::{
    env,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::{Value, json};

use crate::harness::{Host, Measured, Snapshot, courtside, finish, list, number, workload};

/// First argument of this program when it is to set the clock between workloads.
pub const UNDER_CLOCKS: &str = "--under-clocks";
/// An hour back, a day forward.
const STEPS_S: [i64; 2] = [-3600, 86_400];
/// Messages between the steps.
const MESSAGES: u64 = 301;
/// How long a window is asked to be.
const INTERVAL: &str = "200ms";

/// The clock is set back and forward while it is measured: all is counted, no time is longer than it was, windows follow one
/// another without a gap, and the recording can be read, exported, cut anew and reported on.
///
/// # Errors
/// Names what is wrong.
pub fn clock_is_set(host: &Host) -> anyhow::Result<Value> {
    let begun = (Instant::now(), SystemTime::now());
    let file = host.dir().join("clock.rec");
    let mut record = Command::new(courtside()?);
    record.args(["record", "--events", "-i", INTERVAL, "-o"]);
    record.arg(&file).arg("--").args(under_clocks()?);
    let output = finish(record)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    let length = begun.0.elapsed();

    let windows = exported(&file, &["-F", "ndjson", "-o", "-"])?;
    let lengths = even(&windows, begun, length)?;
    let cut_anew = exported(&file, &["-F", "ndjson", "-i", "70ms", "-o", "-"])?;
    even(&cut_anew, begun, length).context("cut anew")?;
    for windows in [&windows, &cut_anew] {
        counted(windows, length)?;
    }
    let whole = exported(&file, &["-F", "json", "-o", "-"])?;
    counted(&whole, length).context("as one window")?;
    for format in ["csv", "parquet", "perfetto"] {
        let to = host.dir().join(format);
        succeeds(
            Command::new(courtside()?)
                .arg("export")
                .arg(&file)
                .args(["-F", format, "-o"])
                .arg(to),
        )?;
    }
    let page = host.dir().join("clock.html");
    succeeds(
        Command::new(courtside()?)
            .arg("report")
            .arg(&file)
            .arg("-o")
            .arg(page),
    )?;

    let begun = (Instant::now(), SystemTime::now());
    let Measured { snapshot, .. } =
        host.stat(&[], Command::new(env::current_exe()?).arg(UNDER_CLOCKS))?;
    let length = begun.0.elapsed();
    let snapshot = [snapshot];
    even(&snapshot, begun, length).context("stat")?;
    counted(&snapshot, length).context("stat")?;
    Ok(json!({
        "windows": windows.len(), "cut_anew": cut_anew.len(), "longest_ns": lengths,
        "roundtrips": MESSAGES * (STEPS_S.len() as u64 + 1),
    }))
}

fn under_clocks() -> anyhow::Result<[String; 2]> {
    let own = env::current_exe()?;
    let own = own.to_str().context("our path is no text")?;
    Ok([own.to_owned(), UNDER_CLOCKS.to_owned()])
}

fn succeeds(command: &mut Command) -> anyhow::Result<()> {
    let mut own = Command::new(command.get_program());
    own.args(command.get_args());
    let output = finish(own)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

/// A recording as snapshots.
fn exported(file: &Path, options: &[&str]) -> anyhow::Result<Vec<Snapshot>> {
    let mut command = Command::new(courtside()?);
    command.arg("export").arg(file).args(options);
    let output = finish(command)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success() && said.is_empty(),
        "{options:?}: {said}"
    );
    let windows = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    windows.map(|window| Ok(Snapshot(window?))).collect()
}

/// Windows follow one another without a gap, within the time that went by on the monotonic clock, and their time stamps go
/// on from the clock as it was when it began. Returns the length of the longest.
fn even(
    windows: &[Snapshot],
    (_, begun): (Instant, SystemTime),
    length: Duration,
) -> anyhow::Result<u64> {
    let begun = u64::try_from(begun.duration_since(UNIX_EPOCH)?.as_nanos())?;
    let length = u64::try_from(length.as_nanos())?;
    let mut until = None;
    let mut longest = 0;
    for window in windows {
        let start = number(&window.0, "window/start_unix_ns")?;
        let duration = number(&window.0, "window/duration_ns")?;
        ensure!(
            until.is_none_or(|until| until == start),
            "a window begins at {start}, the one before ends at {until:?}"
        );
        ensure!(
            start >= begun && start + duration <= begun + length,
            "{duration} ns from {start}, which is not in the {length} ns from {begun}"
        );
        until = Some(start + duration);
        longest = longest.max(duration);
    }
    ensure!(until.is_some(), "no window");
    Ok(longest)
}

/// All messages are counted, and no latency is longer than all of it.
fn counted(windows: &[Snapshot], length: Duration) -> anyhow::Result<()> {
    for window in windows {
        let lost = window.lost_counts();
        ensure!(lost.is_empty(), "lost {lost:?}");
    }
    let truth = MESSAGES * (STEPS_S.len() as u64 + 1);
    let length = u64::try_from(length.as_nanos())?;
    for field in [
        "roundtrips",
        "messages_sent",
        "messages_received",
        "service_ns/count",
    ] {
        let mut sum = 0;
        for window in windows {
            for edge in window.edges("clock-client", "clock-server") {
                // In a short window the server may not have answered yet.
                let told = |path: &str| match path.split_once('/') {
                    Some((dist, _)) if edge[dist].is_null() => Ok(0),
                    _ => number(edge, path),
                };
                sum += told(field)?;
                for dist in ["latency_ns/max_ns", "service_ns/max_ns"] {
                    let longest = told(dist)?;
                    ensure!(longest < length, "{dist}: {longest} of {length}");
                }
            }
        }
        ensure!(sum == truth, "{field}: {sum}, truth {truth}");
    }
    for window in windows {
        for component in list(&window.0, "components") {
            for path in ["turnaround/total_ns", "cpu/on_cpu_ns"] {
                let time = number(component, path)?;
                // Many threads of a component may have it at once.
                ensure!(
                    time < 16 * length,
                    "{path}: {time} of {length}: {component}"
                );
            }
        }
    }
    Ok(())
}

/// Plays, sets the clock, plays again; and puts the clock right in the end.
///
/// # Errors
/// When the clock cannot be set, or a workload fails.
pub fn under_clocks_play() -> anyhow::Result<()> {
    play()?;
    for step in STEPS_S {
        step_clock(step)?;
        play()?;
    }
    step_clock(-STEPS_S.iter().sum::<i64>())
}

fn play() -> anyhow::Result<()> {
    let messages = MESSAGES.to_string();
    let mut game = Command::new(workload()?);
    game.args(["ping-pong", "--name", "clock", "--messages", &messages]);
    let status = game.status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

fn step_clock(by_s: i64) -> anyhow::Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let tv_sec = now.tv_sec + by_s;
    Ok(clock_settime(
        ClockId::Realtime,
        Timespec { tv_sec, ..now },
    )?)
}

/// Programs that have one process id and one port, one after the other, are told apart.
///
/// # Errors
/// Names the program whose count is wrong.
pub fn same_again(host: &Host) -> anyhow::Result<Value> {
    const LIVES: u64 = 60;
    let lives = LIVES.to_string();
    let churn = ["churn", "--exec", "--again", "--name", "again"];
    let Measured {
        snapshot, answer, ..
    } = host.measure(&[&churn[..], &["--lives", &lives]].concat())?;
    let lost = snapshot.lost_counts();
    ensure!(lost.is_empty(), "lost {lost:?}");
    for client in 0..10 {
        let edge = snapshot.edge(&format!("again-{client}"), "again-server")?;
        for field in ["roundtrips", "service_ns/count"] {
            let found = number(edge, field)?;
            ensure!(
                found == LIVES / 10,
                "{field}: {found}, truth {}: {edge}",
                LIVES / 10
            );
        }
    }
    let again = number(&answer, "again")?;
    ensure!(again == LIVES, "{answer}");
    Ok(json!({ "lives": LIVES, "again": again }))
}
