//! `cargo xtask bench kernels`: what a roundtrip costs by each kind of hook, in emulated machines whose clock counts
//! instructions.
//!
//! In: some of the kernels. Out: docs/overhead-kernels.md. Must not know: how a machine finds out
//! (`tests/src/guest/cost.rs`).

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::kernels::{KERNELS, Kernel};
use super::machine::{self, Asked};
use super::{image, matrix};
use crate::{packages, sh};

/// Kernels that differ in their hooks.
const WANTED: [&str; 6] = ["5.10", "6.1", "6.12", "7.2", "6.1-arm64", "6.12-arm64"];

/// Boot them, and write the page.
pub fn bench() -> Result<()> {
    let mut page = String::from(HEAD);
    let mut summary = String::new();
    let mut details = String::new();
    for name in WANTED {
        let kernel = KERNELS
            .iter()
            .find(|kernel| kernel.name == name)
            .with_context(|| format!("no kernel {name}"))?;
        let (release, told) = ask(kernel)?;
        let probes = &found(&told, "check")?["probes"];
        let cost = found(&told, "cost")?;
        let ways = ways(cost, &sends_by(probes));
        rows(&mut summary, name, cost, &ways);
        programs(&mut details, &release, cost, &ways);
    }
    page.push_str(&summary);
    page.push_str(&details);
    let path = sh::root().join("docs/overhead-kernels.md");
    fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{page}");
    eprintln!("xtask: written to docs/overhead-kernels.md");
    Ok(())
}

const HEAD: &str = "# What Courtside costs by kind of hook

Written by `cargo xtask bench kernels`. One CPU, emulated so that each instruction takes a nanosecond of the machine's clock:
times are numbers of instructions, the same on any host. Only ratios mean something: no cache misses, no branch is
mispredicted, and what takes an instruction long takes it a nanosecond here. [overhead.md](overhead.md) has real times.

A roundtrip is one of a TCP ping-pong over loopback, client and server taking turns on that CPU; medians of three.
The kernel itself takes one way or another from run to run (with nothing attached 29 400 or 32 800 instructions on 6.12), so a
tenth of difference in a roundtrip is none; the instructions a run of each program, below, do not vary.

| kernel | sends seen by | measured | instructions a roundtrip | ratio | added |
|---|---|---|--:|--:|--:|
";

fn ask(kernel: &Kernel) -> Result<(String, machine::Told)> {
    packages::need("The machines", &[kernel.arch.emulator()])?;
    let image = image::build(kernel.arch)?;
    let release = kernel.fetch()?;
    eprintln!("\nxtask: Linux {release}");
    let told = machine::boot(kernel, &image, Asked::Cost)?;
    if let Some(why) = &told.failed {
        bail!("{release}: {why}");
    }
    Ok((release, told))
}

/// The figures of one test.
fn found<'a>(told: &'a machine::Told, test: &str) -> Result<&'a Value> {
    let result = told.results.iter().find(|result| result["test"] == test);
    match result {
        Some(result) if result["ok"] == true => Ok(&result["figures"]),
        Some(result) => bail!("{test}: {}", result["error"]),
        None => bail!("the machine said nothing of {test}"),
    }
}

/// The ways that are different on this kernel, and the kind of hook that told of sends.
fn ways<'a>(cost: &'a Value, usual: &str) -> Vec<(&'a str, String)> {
    let names = cost["ways"].as_array().into_iter().flatten();
    names
        .filter_map(|way| way["way"].as_str())
        .filter_map(|way| {
            let hook = match way {
                "nothing attached" => "-",
                // Elsewhere kprobes are what is used anyway, or tracepoints tell of sends.
                _ if way.contains("kprobes") && usual != "fexit" => return None,
                _ if way.contains("kprobes") => "kprobe",
                _ if way.contains("counters") && !pmu(cost, way) => return None,
                _ => usual,
            };
            Some((way, hook.to_owned()))
        })
        .collect()
}

/// What a roundtrip took in each way.
fn rows(page: &mut String, kernel: &str, cost: &Value, ways: &[(&str, String)]) {
    let mut base = None;
    for way in cost["ways"].as_array().into_iter().flatten() {
        let known = ways.iter().find(|(name, _)| way["way"] == *name);
        let (Some((name, hook)), Some(took)) = (known, median(&way["ns"])) else {
            continue;
        };
        let before = *base.get_or_insert(took);
        let _ = writeln!(
            page,
            "| {kernel} | {hook} | {name} | {took} | {:.2} | {} |",
            ratio(took, before),
            took.saturating_sub(before),
        );
    }
}

/// Whether the machine had counters when measured in this way.
fn pmu(cost: &Value, way: &str) -> bool {
    let account = cost["accounts"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|account| account["way"] == way);
    account.is_some_and(|account| account["pmu"] == "ok" || account["pmu"] == "multiplexed")
}

/// The kind of hook that tells of sends.
fn sends_by(probes: &Value) -> String {
    let hook = probes
        .as_array()
        .into_iter()
        .flatten()
        .filter(|probe| matrix::text(probe, "serves").starts_with("sends"))
        .find_map(|probe| matrix::text(probe, "hook").split(':').next());
    hook.unwrap_or("-").to_owned()
}

/// What each program took, of those that ran for the roundtrips.
fn programs(page: &mut String, release: &str, cost: &Value, ways: &[(&str, String)]) {
    let roundtrips = cost["roundtrips"].as_u64().unwrap_or(1);
    for account in cost["accounts"].as_array().into_iter().flatten() {
        let Some((way, _)) = ways.iter().find(|(way, _)| account["way"] == *way) else {
            continue;
        };
        let _ = write!(
            page,
            "\n### {way}, Linux {release}\n\n| program | runs a roundtrip | instructions a run |\n|---|--:|--:|\n"
        );
        for program in account["programs"].as_array().into_iter().flatten() {
            let (Some(runs), Some(took)) =
                (program["runs"].as_u64(), program["run_time_ns"].as_u64())
            else {
                continue;
            };
            // What ran less often has nothing to do with roundtrips.
            if runs * 2 >= roundtrips {
                let _ = writeln!(
                    page,
                    "| `{}` | {:.1} | {} |",
                    matrix::text(program, "name"),
                    ratio(runs, roundtrips),
                    took / runs
                );
            }
        }
    }
}

fn median(times: &Value) -> Option<u64> {
    let mut times: Vec<u64> = times.as_array()?.iter().filter_map(Value::as_u64).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio is shown with two places"
)]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}
