//! Counters: what the CPU counted, on a machine that takes a known number of cycles for each instruction.
//!
//! In: a built `courtside`, and that number. Out: the counts. Must not know: how the machine does it.

use std::{os::unix::fs::symlink, process::Command};

use anyhow::{Context as _, ensure};
use perf_event::{Builder, Counter, events::Hardware};
use serde_json::{Value, json};

use crate::harness::{Host, Measured, Running, list, number, workload};

/// Begins the word of the kernel's command line that says how many cycles an instruction takes.
const CPI: &str = "courtside.cpi=";
/// Name of the program that goes round.
const LOOP: &str = "loop";
/// Components that used the CPU for less are not looked at: who is read at a switch has run some instructions more.
const ENOUGH_CYCLES: u64 = 20_000_000;
/// Makes Courtside count the CPU's clock instead, as on machines without a PMU.
const CLOCK_INSTEAD: &str = "COURTSIDE_PMU_CLOCK";
/// As many as no PMU has counters.
const TOO_MANY: usize = 40;

/// How many cycles an instruction takes, where that is known.
#[must_use]
pub fn known(command_line: &str) -> Option<u64> {
    command_line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(CPI)?.parse().ok())
}

/// The cycles per instruction of this machine.
fn truth() -> anyhow::Result<u64> {
    known(&std::fs::read_to_string("/proc/cmdline")?).context("nobody said what is true")
}

/// The workload's loop under a name of its own, by which its component is found after its end, too.
fn looping(host: &Host, name: &str) -> anyhow::Result<Command> {
    let program = host.dir().join(name);
    if !program.exists() {
        symlink(workload()?, &program)?;
    }
    let mut command = Command::new(program);
    command.arg("count");
    Ok(command)
}

/// Whether both are within so many per cent of the truth.
fn close(measured: u64, truth: u64, percent: u64) -> bool {
    measured.abs_diff(truth) * 100 <= truth * percent
}

/// Cycles for each instruction, within two per cent.
fn holds_cpi(counters: &Value) -> anyhow::Result<()> {
    let (cycles, instructions) = (
        number(counters, "cycles")?,
        number(counters, "instructions")?,
    );
    let truth = truth()?;
    ensure!(
        close(cycles, truth * instructions, 2),
        "{cycles} cycles for {instructions} instructions, {truth} for each are true"
    );
    Ok(())
}

/// With the clock in place of the counters, which every machine has: a program's cycles are its time on the CPU.
///
/// # Errors
/// When they are not.
pub fn of_the_clock(host: &Host) -> anyhow::Result<Value> {
    let mut command = looping(host, LOOP)?;
    command.arg("--blind").env(CLOCK_INSTEAD, "1");
    let measured = host.stat(&[], &mut command)?;
    let component = measured.snapshot.component(LOOP)?;
    let pmu = &measured.snapshot.0["quality"]["pmu"];
    let figures = json!({ "pmu": pmu, "counters": component["counters"], "cpu": component["cpu"] });
    ensure!(pmu["state"] == "ok", "{figures}");
    let on_cpu_ns = number(component, "cpu/on_cpu_ns")?;
    for count in ["counters/cycles", "counters/instructions"] {
        // The host may stop the machine between two readings.
        ensure!(close(number(component, count)?, on_cpu_ns, 5), "{figures}");
    }
    Ok(figures)
}

/// Counters of a process are what it counted itself, within one per cent; cache events, which this machine does not
/// count, are unknown, and the reason is told.
///
/// # Errors
/// Names what differs.
pub fn of_a_process(host: &Host) -> anyhow::Result<Value> {
    let measured = host.stat(&[], &mut looping(host, LOOP)?)?;
    let pmu = &measured.snapshot.0["quality"]["pmu"];
    ensure!(pmu["state"] == "ok", "{pmu}");
    ensure!(
        pmu["reason"]
            .as_str()
            .is_some_and(|why| why.contains("cache")),
        "{pmu}"
    );
    let counters = as_it_counted(&measured)?;
    for missing in ["llc_references", "llc_misses"] {
        ensure!(
            counters.get(missing) == Some(&Value::Null),
            "{missing}: {counters}"
        );
    }
    Ok(json!({ "own": measured.answer, "counters": counters }))
}

/// Holds a process to its own counters.
fn as_it_counted(measured: &Measured) -> anyhow::Result<Value> {
    let Measured {
        snapshot, answer, ..
    } = measured;
    let counters = &snapshot.component(LOOP)?["counters"];
    for count in ["cycles", "instructions"] {
        let (found, own) = (number(counters, count)?, number(answer, count)?);
        ensure!(
            close(found, own, 1),
            "{count}: {found}, by its own counter {own}: {counters}"
        );
    }
    holds_cpi(counters)?;
    Ok(counters.clone())
}

/// Two processes that share the CPU: each is charged with its own, and a component with the sum of its processes.
///
/// # Errors
/// Names what differs.
pub fn of_two_that_share(host: &Host) -> anyhow::Result<Value> {
    let mut figures = Vec::new();
    for name in ["other", LOOP] {
        let mut command = looping(host, name)?;
        command.args(["--blind", "--rounds", "100000000000"]);
        let other = Running::start(&mut command)?;
        let measured = host.stat(&[], &mut looping(host, LOOP)?)?;
        drop(other);
        let component = measured.snapshot.component(name)?;
        let counters = &component["counters"];
        holds_cpi(counters)?;
        if name == LOOP {
            let own = number(&measured.answer, "cycles")?;
            let sum = number(counters, "cycles")?;
            ensure!(
                sum > own + own / 2,
                "{sum} cycles of both, {own} of the one"
            );
        } else {
            figures.push(as_it_counted(&measured)?);
            let switches = number(component, "cpu/involuntary_switches")?;
            ensure!(switches > 10, "they did not share: {switches} switches");
        }
        figures.push(counters.clone());
    }
    Ok(Value::Array(figures))
}

/// While the CPU is idle its clock goes on, and nobody is charged: a cycle is a nanosecond here, and all cycles are
/// somebody's time on the CPU.
///
/// # Errors
/// When more is charged than was used.
pub fn of_nobody(host: &Host) -> anyhow::Result<Value> {
    let measured = host.measure(&[
        "thread-pool",
        "--requests",
        "30",
        "--connections",
        "1",
        "--sleep",
        "50ms",
    ])?;
    let snapshot = &measured.snapshot.0;
    let (mut cycles, mut on_cpu_ns) = (0, 0);
    for component in list(snapshot, "components") {
        on_cpu_ns += number(component, "cpu/on_cpu_ns")?;
        if !component["counters"].is_null() {
            cycles += number(component, "counters/cycles")?;
        }
    }
    let wall_ns = number(snapshot, "window/duration_ns")?;
    let figures = json!({ "cycles": cycles, "on_cpu_ns": on_cpu_ns, "wall_ns": wall_ns });
    ensure!(
        on_cpu_ns < wall_ns / 2,
        "the machine was not idle: {figures}"
    );
    ensure!(close(cycles, on_cpu_ns, 5), "{figures}");
    Ok(figures)
}

/// Cycles and instructions of turnarounds, booked between a receive and a send.
///
/// # Errors
/// Names the component for which they are not as they must be.
pub fn of_turnarounds(host: &Host) -> anyhow::Result<Value> {
    let work = ["thread-pool", "--requests", "50", "--spin", "2ms"];
    let measured = host.measure_with(&["--pmu-turnaround"], &work)?;
    let mut figures = Vec::new();
    for component in list(&measured.snapshot.0, "components") {
        let turnaround = &component["turnaround"];
        for sum in list(turnaround, "by_recipient").chain([turnaround]) {
            let counters = &sum["counters"];
            if counters.is_null() || number(counters, "cycles")? < ENOUGH_CYCLES {
                continue;
            }
            holds_cpi(counters).with_context(|| component.to_string())?;
            figures.push(json!({ "component": component["name"], "counters": counters }));
        }
    }
    ensure!(
        figures.len() >= 2,
        "no turnarounds with cycles: {}",
        measured.snapshot.0["components"]
    );
    Ok(Value::Array(figures))
}

/// With more events than the CPU has counters for, each counts some of the time: that is told, and what is shown is what
/// it would have been.
///
/// # Errors
/// When it is not.
pub fn of_too_many(host: &Host) -> anyhow::Result<Value> {
    let alone = host.stat(&[], &mut looping(host, LOOP)?)?;
    let rivals: Vec<Counter> = (0..TOO_MANY).map(|_| rival()).collect::<Result<_, _>>()?;
    let crowded = host.stat(&[], looping(host, LOOP)?.arg("--blind"))?;
    drop(rivals);
    let pmu = &crowded.snapshot.0["quality"]["pmu"];
    let counters = &crowded.snapshot.component(LOOP)?["counters"];
    let figures = json!({ "pmu": pmu, "counters": counters, "alone": alone.answer });
    ensure!(pmu["state"] == "multiplexed", "{figures}");
    let ratio = pmu["running_ratio"].as_f64().context("no ratio")?;
    ensure!(ratio > 0.0 && ratio < 0.9, "{figures}");
    holds_cpi(counters).with_context(|| figures.to_string())?;
    let (found, own) = (
        number(counters, "instructions")?,
        number(&alone.answer, "instructions")?,
    );
    ensure!(close(found, own, 20), "{figures}");
    Ok(figures)
}

/// An event that wants a counter of its CPU all the time.
fn rival() -> std::io::Result<Counter> {
    let mut builder = Builder::new()
        .kind(Hardware::INSTRUCTIONS)
        .any_pid()
        .one_cpu(0);
    builder.include_kernel();
    let mut counter = builder.build()?;
    counter.enable()?;
    Ok(counter)
}
